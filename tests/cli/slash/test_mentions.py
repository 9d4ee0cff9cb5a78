"""`@file`: what is put in, what is not, and what is offered while typing."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine.builders import coding

from loopspec.cli.slash import mentions
from loopspec.cli.slash.mentions import complete, expand
from loopspec.machine.model import Authority, Machine, Place, Rule, ToolDecl


@pytest.fixture
def work(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "a.py").write_text("one\ntwo\nthree\n")
    (root / "src" / "b.py").write_text("b = 1")
    (root / "src" / "deep" / "notes on b.md").write_text("# b\n")
    (root / "with space.txt").write_text("spaced\n")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]\n")
    (root / ".env").write_text("KEY=1\n")
    (root / ".envrc").write_text("export KEY=1\n")
    (tmp_path / "outside.txt").write_text("secret\n")
    (root / "way-out").symlink_to(tmp_path / "outside.txt")
    (root / "way-in").symlink_to(root / "a.py")
    return root


def machine(*deny: Rule) -> Machine:
    tools = {"read": ToolDecl("read", "files.read", effect="read", paths=("path",))}
    return coding(tools=tools, authority=Authority(deny=deny))


def test_a_file_stands_behind_the_message_between_fences(work: Path) -> None:
    text, notes = expand("Look at @a.py, please.", work)
    assert text == (
        "Look at @a.py, please.\n\nFile `a.py`, put in by the person:\n```\none\ntwo\nthree\n```"
    )
    assert notes == ("a.py: 3 lines put in",)


@pytest.mark.parametrize(
    ("typed", "body", "note"),
    [
        ("@a.py:2", "two\n", "a.py, lines 2 to 2: 1 line put in (the file goes on)"),
        ("@a.py:2-3", "two\nthree\n", "a.py, lines 2 to 3: 2 lines put in"),
        ("@a.py:2-99", "two\nthree\n", "a.py, lines 2 to 3: 2 lines put in"),
        ('@"with space.txt"', "spaced\n", "with space.txt: 1 line put in"),
        ('@"a.py":1-2', "one\ntwo\n", "a.py, lines 1 to 2: 2 lines put in (the file goes on)"),
        ("(@src/b.py)", "b = 1\n", "src/b.py: 1 line put in"),
        ("see @src/../a.py.", "one\ntwo\nthree\n", "a.py: 3 lines put in"),
        ("@way-in", "one\ntwo\nthree\n", "a.py: 3 lines put in"),
    ],
)
def test_ranges_spaces_and_punctuation(work: Path, typed: str, body: str, note: str) -> None:
    text, notes = expand(typed, work)
    assert text.startswith(f"{typed}\n\nFile `") and text.endswith(f":\n```\n{body}```")
    assert notes == (note,)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("@nobody", "nobody names no file here; it stays in the message as it is"),
        ("@a.py:9", "a.py has 3 lines; 9 is past its end"),
        ("@a.py:3-2", "a.py:3-2: the range ends before it begins"),
        ("@src", "src is a directory; list it instead"),
        ("@.env", ".env: environment files hold secrets and are not put in"),
        ("@.envrc", ".envrc: environment files hold secrets and are not put in"),
        ("@.git/config", ".git/config: what is in .git is not put in"),
        ("@../outside.txt", "the path '../outside.txt' leads outside the work directory; "
         "give a path relative to the work directory"),
        ("@way-out", "the path 'way-out' leads outside the work directory; "
         "give a path relative to the work directory"),
    ],
)  # fmt: skip
def test_what_is_not_put_in_is_told_and_stays(work: Path, typed: str, why: str) -> None:
    assert expand(typed, work) == (typed, (f"not put in: {why}",))


def test_an_address_is_no_mention(work: Path) -> None:
    assert expand("mail me@a.py or x@y", work) == ("mail me@a.py or x@y", ())


def test_what_the_envelope_denies_to_read_is_refused(work: Path) -> None:
    named = Rule(("*",), paths=("src/**",), reason="not yours", place=Place(7, 5))
    assert expand("@src/b.py", work, machine(named)) == (
        "@src/b.py",
        ("not put in: src/b.py: the spec denies reading it (rule at 7:5): not yours",),
    )
    assert expand("@a.py", work, machine(named))[1] == ("a.py: 3 lines put in",)
    whole = Rule(("read",), place=Place(8, 5))
    assert expand("@a.py", work, machine(whole))[1] == (
        "not put in: a.py: the spec denies reading it (rule at 8:5)",
    )
    writing = Rule(("edit",), paths=("**",), place=Place(9, 5))
    assert expand("@a.py", work, machine(writing))[1] == ("a.py: 3 lines put in",)
    assert expand("@way-in", work, machine(Rule(("*",), paths=("A.PY",))))[1][0].startswith("not put in")


def test_a_binary_file_is_refused(work: Path) -> None:
    (work / "x.bin").write_bytes(b"\0\1\2")
    (work / "latin").write_bytes(b"caf\xe9\n")
    _, notes = expand("@x.bin @latin", work)
    assert notes == (
        "not put in: x.bin is a binary file; only text is put in",
        "not put in: latin is not UTF-8 text; only text is put in",
    )


def test_a_fifo_is_refused_and_not_waited_for(work: Path) -> None:
    os.mkfifo(work / "pipe")
    assert expand("@pipe", work)[1] == (
        "not put in: pipe is not a regular file; only regular files can be used",
    )


def test_sizes_have_limits(work: Path) -> None:
    (work / "big.txt").write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 1000)
    (work / "long.txt").write_text("z" * 70_000)
    _, notes = expand("@big.txt @big.txt:2-11 @long.txt:1 @big.txt:1-900", work)
    assert notes == (
        "not put in: big.txt has 100,100 bytes, and 65,536 are left; name lines: @big.txt:1-200",
        "big.txt, lines 2 to 11: 10 lines put in (the file goes on)",
        "not put in: long.txt: line 1 alone has more than 65,536 bytes",
        "not put in: big.txt:1-900 has more than the 65,536 bytes that are left",
    )
    for n in range(8):
        (work / f"f{n}").write_text("x" * 60_000)
    text, notes = expand(" ".join(f"@f{n}" for n in range(8)), work)
    assert [note.startswith("not put in") for note in notes] == [False] * 4 + [True] * 4
    assert len(text) < mentions.ALL_BYTES + 2000


def test_many_files_are_too_many_and_one_twice_is_one(work: Path) -> None:
    for n in range(25):
        (work / f"f{n}").write_text("x\n")
    _, notes = expand(" ".join(f"@f{n}" for n in range(25)), work)
    assert sum("put in" in n and "not" not in n for n in notes) == mentions.MOST
    assert notes[-1] == "not put in: f24: a message takes 20 files at most"
    assert expand("@a.py and @a.py", work)[1] == ("a.py: 3 lines put in",)


def test_a_pasted_log_of_mentions_is_not_looked_up_to_its_end(tmp_path: Path) -> None:
    text = " ".join(f"@word{n}" for n in range(50_000))
    whole, notes = mentions.expand(text, tmp_path)
    assert whole == text
    assert len(notes) == mentions.LOOKED + 1
    assert notes[-1] == "not put in: whatever is mentioned after the first 200 mentions"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="`\n aF", max_size=40))
def test_a_text_cannot_end_its_fence(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    root = tmp_path_factory.getbasetemp() / "fences"
    root.mkdir(exist_ok=True)
    (root / "f").write_text(body)
    text, _ = expand("@f", root)
    first, fence, *lines = text.removeprefix("@f\n\n").split("\n")
    assert first == "File `f`, put in by the person:" and set(fence) == {"`"} and lines[-1] == fence
    assert not any(line.strip().startswith(fence) for line in lines[:-1])
    assert "\n".join(lines[:-1]).rstrip("\n") == body.rstrip("\n")


def test_a_name_of_control_characters_is_made_printable(work: Path) -> None:
    (work / "e\x1b[31m`").write_text("x\n")
    text, notes = expand('@"e\x1b[31m`"', work)
    assert "File `e\\x1b[31m'`, put in" in text
    assert notes == ("e\\x1b[31m': 1 line put in",)


# ---------------------------------------------------------------- completion


def offered(text: str, work: Path, made: Machine | None = None) -> list[str]:
    return [c.text for c in complete(text, work, made)]


def test_paths_are_offered_without_what_nobody_may_have(work: Path) -> None:
    assert offered("see @", work) == ["@a.py", "@src/", "@way-in", '@"with space.txt"']
    assert offered("@src/", work) == ["@src/b.py", "@src/deep/"]
    assert offered("@src/d", work) == ["@src/deep/"]
    assert offered("@b", work) == ["@src/b.py", '@"src/deep/notes on b.md"']
    assert offered('@"wi', work) == ['@"with space.txt"']
    assert offered("@.", work) == [] and offered("@.git/", work) == [] and offered("@../", work) == []
    assert offered("me@a", work) == [] and offered("@a.py ", work) == []
    denied = machine(Rule(("*",), paths=("src/**",)))
    assert offered("@sr", work, denied) == [] and offered("@b", work, denied) == []


def test_an_offer_replaces_what_was_typed(work: Path) -> None:
    (found,) = complete("look at @src/d", work)
    assert (found.text, found.back) == ("@src/deep/", len("@src/d"))


def test_completion_is_bounded_in_a_large_tree(tmp_path: Path) -> None:
    for n in range(300):
        folder = tmp_path / f"d{n}"
        folder.mkdir()
        for m in range(20):
            (folder / f"file{m}.txt").touch()
    assert len(offered("@", tmp_path)) == mentions.OFFERED
    assert len(offered("@file", tmp_path)) == mentions.OFFERED
    assert len(mentions._below(tmp_path)) <= mentions.SCANNED
