"""docs/simulate.md is true: its loop does what it says, and its tables name what there is."""

import re
from pathlib import Path

import pytest
from cli.kit import Place
from test_docs import fences, like, shown

from loopspec.drivers.sim.faults import GROUPS, NAMES
from loopspec.testing import simulate

PAGE = (Path(__file__).parent.parent.parent / "docs" / "simulate.md").read_text()
COMMANDS = shown(PAGE)


def holds(expected: str, got: str) -> bool:
    """Whether the output shows these lines in this order; a line `…` stands for any number of them."""
    blocks = [block.strip("\n") for block in re.split(r"^…$", expected, flags=re.MULTILINE)]
    lines, at = got.splitlines(), 0
    for block in blocks:
        wanted = block.splitlines()
        for start in range(at, len(lines) - len(wanted) + 1):
            if all(like(w if w[:1] != " " else f"…{w.strip()}…", g) or like(f"{w}…", g)
                   for w, g in zip(wanted, lines[start:], strict=False)):
                at = start + len(wanted)
                break
        else:
            return not wanted
    return True


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    for name, text in fences("yaml", PAGE):
        (made.work / name).write_text(text)
    return made


@pytest.mark.parametrize("one", COMMANDS, ids=[one.command for one in COMMANDS])
def test_a_command_prints_what_the_page_shows(place: Place, one: object) -> None:
    command, output = one.command, one.output  # type: ignore[attr-defined]
    few = ["--faultless", "60", "--jobs", "1"] if "crashes" in command else []
    ran = place.run(*command.split()[1:], *few)
    got = ran.out.replace(" --faultless 60", "")
    assert ran.err == ""
    assert ran.code == (1 if "crashes" in command else 0)
    assert holds(output, got), f"{output}\n--- but it printed\n{got}"


def test_a_page_that_lies_is_noticed() -> None:
    assert holds("a …\n…\nb\n", "a 1\nx\ny\nb\n")
    assert not holds("a …\n…\nc\n", "a 1\nx\ny\nb\n")
    assert not holds("violations 1\n", "violations 0\n")


def test_the_table_names_every_fault_and_its_group() -> None:
    table = PAGE.partition("## The faults")[2].partition("## In a test")[0]
    named = [n.replace("-", "_") for cell in re.findall(r"^\|[^|]*\|([^|]*)\|", table, re.M)
             for n in re.findall(r"`([\w-]+)`", cell)]
    groups = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert sorted(named) == sorted(NAMES)
    assert groups == list(GROUPS)
    assert sorted(n for names in GROUPS.values() for n in names) == sorted(NAMES)


def test_the_test_of_the_page_is_a_test(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = [block for _, block in fences("python", PAGE)]
    assert 'simulate("my-loop.yaml", seeds=200).check()' in text
    monkeypatch.chdir(place.work)
    (place.work / "my-loop.yaml").write_text((place.work / "mailer.yaml").read_text())
    with pytest.raises(AssertionError, match="divide by zero"):
        simulate("my-loop.yaml", seeds=30, faultless=60).check()
