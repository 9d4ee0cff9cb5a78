"""Every page is true: its commands are run, its files checked, and they print what it shows."""

import re
from pathlib import Path

import pytest

from docs.pages import ROOT, Command, blocks, commands, run_page, shows

ELSEWHERE = {
    "docs/guide.md": "tests/test_docs.py",
    "docs/simulate.md": "tests/testing/test_page.py",
    "docs/newcomer.md": "tests/docs/test_newcomer.py",
    "docs/looking.md": "tests/test_looking_docs.py",
    "docs/plugins.md": "tests/plugins/test_page.py",
}
"""Pages whose blocks other tests run."""
GENERATED = ("docs/errors", "docs/reference")
"""Folders whose blocks are checked by `tests/test_error_pages.py` and `tests/views/test_reference.py`."""
PAGES = sorted(
    p.relative_to(ROOT).as_posix()
    for p in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    if not p.relative_to(ROOT).as_posix().startswith(GENERATED)
)
RUN = [page for page in PAGES if page not in ELSEWHERE and blocks((ROOT / page).read_text())]
NOT_RUN: dict[str, int] = {
    "README.md": 2,
    "docs/loops/review-loop.md": 2,
    "docs/newcomer.md": 3,
    "docs/performance.md": 1,
    "docs/rescue.md": 2,
    "docs/small-machines.md": 1,
    "docs/testing-models.md": 1,
    "docs/torture.md": 1,
}
"""How many blocks of which page are not run; each says why in the page."""


QUICK = {"README.md", "docs/journeys.md"}
"""Pages that run with every test; the others wait for the long ones, for each starts many processes."""
TRIED = [pytest.param(p, marks=[] if p in QUICK else pytest.mark.slow) for p in RUN]


@pytest.mark.parametrize("page", TRIED)
def test_a_page_does_what_it_shows(page: str, tmp_path: Path) -> None:
    wrong = run_page((ROOT / page).read_text(), tmp_path)
    assert not wrong, "\n\n".join([page, *wrong])


def test_what_is_not_run_is_counted_and_says_why() -> None:
    found = {page: [b for b in blocks((ROOT / page).read_text()) if b.why] for page in PAGES}
    assert {page: len(left) for page, left in found.items() if left} == NOT_RUN
    for page, left in found.items():
        for block in left:
            assert len(block.why.split()) >= 3, f"{page}:{block.line}: {block.why}"


def test_a_test_named_for_a_page_is_there() -> None:
    for page, test in ELSEWHERE.items():
        assert (ROOT / page).is_file() and (ROOT / test).is_file(), page


def test_every_console_block_holds_a_command() -> None:
    for page in PAGES:
        for block in blocks((ROOT / page).read_text()):
            assert block.lang != "console" or commands(block), f"{page}:{block.line}"


def test_no_command_hides_in_another_block() -> None:
    fences = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page in PAGES:
        for language, block in fences.findall((ROOT / page).read_text()):
            if language in ("", "text", "sh", "bash", "shell"):
                assert not re.search(r"^(\$ )?(loopspec|pip|git|python) ", block, re.MULTILINE), page


# ------------------------------------------------------------ the harness notices what is wrong

PAGE = """\
```yaml hello.yaml
loopspec: 1
name: hello
version: 1.0.0
initial: ready
states:
  ready:
    kind: input
    on:
      user.message: {target: done, say: "You said: {{ event.text }}"}
  done: {type: final}
```

```console
$ loopspec check hello.yaml
hello.yaml: right: hello 1.0.0, …
$ loopspec run hello.yaml -p Hi
…
» You said: Hi
…
```
"""


def test_a_page_that_is_true_has_nothing_wrong(tmp_path: Path) -> None:
    assert run_page(PAGE, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("You said: Hi", "You said: Ho"),
        ("right: hello 1.0.0", "right: hello 2.0.0"),
        ("kind: input", "kind: inputs"),
        ("```console\n", "```console 3\n"),
        ("loopspec run", "loopspec walk"),
    ],
)
def test_a_page_that_lies_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    assert run_page(PAGE.replace(old, new), tmp_path) != []


def test_python_and_data_blocks_are_looked_at(tmp_path: Path) -> None:
    page = "```python\nprint(1)\n```\n\n```json\n{}\n```\n\n```yaml\na: 1\n```\n"
    assert run_page(page, tmp_path) == []
    for n, (old, new) in enumerate([("print(1)", "raise SystemExit(2)"), ("{}", "{"), ("a: 1", "a: [")]):
        place = tmp_path / str(n)
        place.mkdir()
        assert len(run_page(page.replace(old, new), place)) == 1
    (tmp_path / "t").mkdir()
    assert len(run_page("```python\ndef test_it():\n    assert 0\n```\n", tmp_path / "t")) == 1


def test_a_marked_block_is_left_out_with_its_reason(tmp_path: Path) -> None:
    page = "<!-- not run: it needs a key -->\n```console\n$ false\n```\n"
    assert run_page(page, tmp_path) == []
    assert [block.why for block in blocks(page)] == ["it needs a key"]


def test_wildcards() -> None:
    assert shows("a\n…\nd\n", "a\nb\nc\nd\n") and shows("a\n…\nd\n", "a\nd\n")
    assert not shows("a\n…\nd\n", "a\nb\n")
    assert shows("a … c\n", "a b c\n") and not shows("a … c\n", "a b\nc\n")
    assert shows("", "anything\n") and not shows("a\n", "a\nb\n")


def test_comments_and_long_lines_of_commands() -> None:
    (block,) = blocks("```console 7\n$ one   # says nothing\n$ two \\\n  more\nout\n```\n")
    assert commands(block) == [Command("one", "", 0), Command("two \\\n  more", "out\n", 7)]
