"""The guide is true: its files are checked, its commands are run, and it shows what they print.

`LOOPSPEC_GOLDEN=write` writes what the commands print into the guide, without `-n`; lines that still
hold keep their `…`. Read the difference, and put `…` where it differs from run to run.
"""

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.kit import Place
from cli.terminal import Terminal, terminal
from journeys.review import ALONE

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide"
TEXT = (ROOT / "docs" / "guide.md").read_text()
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

STEPS = sorted(p.name for p in GUIDE.glob("*.yaml") if "\nstates:" in p.read_text())
WRONG = sorted(f"wrong/{p.name}" for p in (GUIDE / "wrong").glob("[0-9]*.yaml"))
SCRIPTS = sorted(p for p in GUIDE.rglob("*.yaml") if p.read_text().startswith("script: 1\n"))
SHIPPED = ALONE
UNFORMATTED = "wrong/12-layout.yaml"

PROMPTS = {
    "session? ": r"session\? (.*)",  # what the guide types at this question
    "(Ctrl-D leaves) > ": r"\(Ctrl-D leaves\) > ()",
}


@dataclass(frozen=True)
class Shown:
    """A command of the guide, what it is shown to print, and the exit code it is to have."""

    command: str
    output: str
    code: int


def fences(language: str, text: str = TEXT) -> list[tuple[str, str]]:
    """The blocks of a language: what stands behind its name, and their text."""
    return [(about, block) for lang, about, block in FENCE.findall(text) if lang == language]


def shown(text: str) -> list[Shown]:
    """The commands of all console blocks; a number behind `console` is the last one's exit code."""
    found: list[Shown] = []
    for about, block in fences("console", text):
        parts = [p.split("\n", 1) for p in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        codes = [0] * (len(parts) - 1) + [int(about or 0)]
        found += [Shown(c, out, code) for (c, out), code in zip(parts, codes, strict=True)]
    return found


SECTIONS = re.findall(r"^## (\d+\. .+)\n((?:(?!## ).*\n)*)", TEXT, re.MULTILINE)
COMMANDS = [one for _, text in SECTIONS for one in shown(text)]


def like(expected: str, got: str) -> bool:
    """Whether `got` is the expected text, in which `…` is anything within its line."""
    pattern = "[^\n]*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, got) is not None


def answered(term: Terminal, output: str) -> int:
    """Type what the guide types where it is asked; gives back the exit code."""
    for prompt, pattern in PROMPTS.items():
        for typed in re.findall(pattern, output):
            term.until(prompt)
            term.type(f"{typed}\n" if typed else "\x04")
    return term.ends()


def run(place: Place, one: Shown) -> tuple[int, str]:
    """Run a command of the guide as a person does, at a terminal; gives back code and screen."""
    program, *argv = shlex.split(one.command)
    if program == "cat":
        return 0, (place.work / argv[0]).read_text()
    assert program == "loopspec", one.command
    with terminal(place, *argv, columns=100, NO_COLOR="1") as term:
        return answered(term, one.output), term.text


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A copy of the guide's files, and a store."""
    made = Place(tmp_path)
    shutil.copytree(GUIDE, made.work, dirs_exist_ok=True)
    return made


# ------------------------------------------------------------ what the guide shows


@pytest.mark.parametrize(("title", "text"), SECTIONS, ids=[title for title, _ in SECTIONS])
def test_the_commands_of_a_section_print_what_it_shows(place: Place, title: str, text: str) -> None:
    wrong: list[str] = []
    for one in shown(text):
        code, screen = run(place, one)
        if os.environ.get("LOOPSPEC_GOLDEN") == "write" and not like(one.output, screen):
            rewrite(one, screen)
        elif code != one.code or not like(one.output, screen):
            wrong.append(f"$ {one.command}\n{screen}[exit code {code}]\nand the guide: {one}")
    assert not wrong, "\n\n".join([title, *wrong])


def rewrite(one: Shown, screen: str) -> None:
    """Put what a command prints into the guide."""
    known = one.output.splitlines()
    lines = [next((k for k in known if like(k, line)), line) for line in screen.splitlines()]
    page = ROOT / "docs" / "guide.md"
    old, new = f"$ {one.command}\n{one.output}", "\n".join([f"$ {one.command}", *lines, ""])
    assert page.read_text().count(old) == 1
    page.write_text(page.read_text().replace(old, new))


def test_a_yaml_block_of_the_guide_is_a_part_of_its_file() -> None:
    for name, text in fences("yaml"):
        assert name and text.strip(), f"a block that names no file, or is empty:\n{text}"
        assert f"\n{text}" in f"\n{(GUIDE / name).read_text()}", f"{name} does not hold:\n{text}"


def test_the_guide_uses_every_file_and_no_other() -> None:
    commands = " ".join(one.command for one in COMMANDS)
    for name in STEPS:
        assert f"loopspec check {name}" in commands, name
    for name in WRONG:
        assert name in commands, name
    specs = "".join((GUIDE / n).read_text() for n in [*STEPS, *WRONG])
    for script in SCRIPTS:
        assert f"scripted/{script.name}" in specs + commands, script.name
    known = {*STEPS, *WRONG, *(str(p.relative_to(GUIDE)) for p in SCRIPTS)}
    assert {str(p.relative_to(GUIDE)) for p in GUIDE.rglob("*.yaml")} == known


def test_wildcards_stay_within_a_line() -> None:
    assert like("a …\nb", "a 12 s\nb")
    assert like("a …\nb", "a \nb")
    assert not like("a …\nb", "a\n1\nb")
    assert not like("a b", "a  b")
    assert not like("a.b", "axb")


# ------------------------------------------------------------ the files


def test_every_step_and_every_shipped_loop_is_right(place: Place) -> None:
    specs: list[str | Path] = [*STEPS, *SHIPPED]
    ran = place.run("check", *specs)
    assert (ran.code, ran.err) == (0, ""), ran.out
    told = ran.out.splitlines()
    assert [line.split(": right: ")[0] for line in told] == [str(s) for s in specs]


def test_every_accepted_warning_has_a_reason_worth_reading() -> None:
    for path in [*(GUIDE / s for s in STEPS), *SHIPPED]:
        for reason in reasons(yaml.safe_load(path.read_text())):
            assert len(reason.split()) >= 4, f"{path.name}: {reason}"


def reasons(tree: Any) -> list[str]:
    """Every reason of every `accept` in a document."""
    if isinstance(tree, list):
        return [r for item in tree for r in reasons(item)]
    if not isinstance(tree, dict):
        return []
    mine = list(tree.get("accept", {}).values())
    return mine + [r for key, item in tree.items() if key != "accept" for r in reasons(item)]


def test_every_file_is_in_the_one_layout(place: Place) -> None:
    wrong = [w for w in WRONG if w != UNFORMATTED and (GUIDE / w).stat().st_size]
    ran = place.run("fmt", "--check", *STEPS, *wrong, *SHIPPED)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_every_wrong_step_is_refused_but_the_one_about_layout(place: Place) -> None:
    specs = [w for w in WRONG if w != UNFORMATTED]
    ran = place.run("check", *specs)
    assert ran.code == 52
    assert [s for s in specs if f"{s}: right: " in ran.out] == []
    assert place.run("check", UNFORMATTED).code == 0


@pytest.mark.parametrize("path", [*STEPS, *WRONG[1:], *SHIPPED], ids=lambda p: Path(p).name)
def test_the_first_line_leads_an_editor_to_the_schema(path: str | Path) -> None:
    spec = GUIDE / path
    head = spec.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", head)
    assert named is not None, head
    assert (spec.parent / named[1]).resolve() == ROOT / "schemas" / "loopspec-1.schema.json"


FOR_THE_TERMINAL = {"user.called", "compaction.requested"}
"""What the shipped loop takes from a person beyond the guide's, and the states these lead to."""


def test_the_last_step_has_the_shape_of_the_shipped_loop() -> None:
    mine, theirs = (shape(p) for p in (GUIDE / STEPS[-1], ROOT / "specs" / "coding-agent.yaml"))
    del theirs["over_budget"][2]["user.resumed"]  # one way more; extending leads there, too
    theirs["ready"][2].pop("rollback.chosen", None)
    theirs = {p: k for p, k in theirs.items() if not p.startswith("own_call") and p != "working.tidying"}
    for _, _, ways in theirs.values():
        for event in FOR_THE_TERMINAL & set(ways):
            del ways[event]
    assert {path: keys for path, keys in mine.items() if path in theirs} == theirs
    assert set(mine) - set(theirs) == {"working.pausing"}


def shape(path: Path) -> dict[str, tuple[Any, ...]]:
    """Every state of a spec: its kind, and where which events lead (the last of each list)."""
    found: dict[str, tuple[Any, ...]] = {}

    def visit(states: dict[str, Any], around: str) -> None:
        for name, state in states.items():
            ways = {e: sorted(targets(t)) for e, t in state.get("on", {}).items()}
            ways = {e: [t for t in ts if t != "pausing"] for e, ts in ways.items()}
            found[around + name] = (state.get("kind"), state.get("boundary"), ways)
            visit(state.get("states", {}), f"{around}{name}.")

    visit(yaml.safe_load(path.read_text().replace(" on:", " 'on':"))["states"], "")
    return found


def targets(value: Any) -> list[str]:
    """The targets of a transition in any of its forms."""
    if isinstance(value, list):
        return [t for item in value for t in targets(item)]
    return [value if isinstance(value, str) else value["target"]]


# ------------------------------------------------------------ links


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            leads = page.parent / target if target else page
            assert leads.exists(), f"{page.name}: {target}"
            if anchor and leads.suffix == ".md":
                assert anchor in anchors(leads), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.replace(" ", "-") for head in plain}
