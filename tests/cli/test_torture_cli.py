"""`loopspec torture` from the outside: its table, its exit code, and every loop we ship and teach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from journeys.review import ALONE

from cli.kit import Place, Ran

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "guide"
SHIPPED = ALONE
TAUGHT = sorted(p for p in GUIDE.glob("*.yaml") if "states:" in p.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def table(ran: Ran) -> dict[str, list[int]]:
    """The numbers of each row."""
    rows = ran.out.split("\n\n")[0].splitlines()[1:]
    return {row.split("  ")[0]: [int(number) for number in row.split()[-4:]] for row in rows}


def test_a_loop_is_tortured_whole_and_nothing_differs(place: Place) -> None:
    ran = place.run("torture", GUIDE / "01-hello.yaml", "-p", "Hello", "--scratch", place.path / "s")
    assert (ran.code, ran.err) == (0, ""), ran.out
    rows = table(ran)
    assert rows["entry.before-write"] == [2, 2, 0, 0]
    assert rows["entry.acknowledged"] == [2, 2, 0, 0]
    assert rows["create.after-commit"] == [1, 1, 0, 0]
    assert rows["terminal closed"] == [2, 2, 0, 0]
    assert rows["disk full"] == [2, 2, 0, 0]
    assert all(different == 0 for *_, different in rows.values())
    assert " 0 differences, " in ran.out
    assert list((place.path / "s").iterdir()) == []


def test_the_cases_can_be_named_and_one_of_them_tried(place: Place) -> None:
    spec = GUIDE / "01-hello.yaml"
    named = place.run("torture", spec, "--list", "--again", "1").out.splitlines()
    assert "entry.after-commit#2" in named and "entry.after-commit#2+1" in named
    assert any(name.startswith("term@") for name in named)
    ran = place.run("torture", spec, "--only", "entry.after-commit#2+1")
    assert ran.code == 0, ran.out
    assert table(ran) == {"entry.after-commit (and the resume killed)": [1, 1, 0, 0]}


def test_a_case_that_is_not_reached_is_a_difference_with_the_way_to_see_it_again(place: Place) -> None:
    spec, scratch = GUIDE / "01-hello.yaml", place.path / "s"
    ran = place.run("torture", spec, "--only", "entry.after-write#99", "--scratch", scratch)
    assert ran.code == 1
    (kept,) = scratch.iterdir()
    tail = ran.out.split("\n\n", 2)[2]
    assert tail == (
        "entry.after-write#99: killed (SIGKILL) at entry.after-write#99\n"
        "  the point: expected to be reached again, found not reached, 3 times\n"
        f"  kept: {kept / 'case-3'}\n"
        f"  again: loopspec torture {spec} --scratch {scratch} --only 'entry.after-write#99'\n"
    )


def test_the_work_directory_is_copied_and_never_touched(place: Place) -> None:
    (place.work / "mine.txt").write_text("mine")
    before = os.stat(place.work / "mine.txt")
    case = "entry.acknowledged#1"
    ran = place.run("torture", GUIDE / "01-hello.yaml", "--workdir", place.work, "--only", case)
    assert ran.code == 0
    assert [p.name for p in place.work.iterdir()] == ["mine.txt"]
    assert os.stat(place.work / "mine.txt").st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nothing.yaml"], 2, "there is no file `nothing.yaml`"),
        ([GUIDE / "01-hello.yaml", "--only", "x"], 2, "`x` names no case"),
        ([GUIDE / "01-hello.yaml", "--workdir", "no-such"], 2, "is no directory"),
        ([GUIDE / "wrong" / "03-target.yaml"], 52, "cannot be run as it is"),
    ],
    ids=["no spec", "no case", "no directory", "wrong spec"],
)
def test_what_cannot_be_tortured_is_said_in_one_line(
    place: Place, args: list[str | Path], code: int, message: str
) -> None:
    ran = place.run("torture", *args)
    assert ran.code == code
    assert message in ran.err.splitlines()[-1] and "Traceback" not in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("spec", TAUGHT, ids=lambda path: path.stem)
def test_every_loop_of_the_guide_comes_to_the_same_end(place: Place, spec: Path) -> None:
    ran = whole(place, spec, "--workdir", GUIDE / "desk")
    assert ran.code == 0, ran.out + ran.err


@pytest.mark.slow
@pytest.mark.parametrize("spec", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_loop_comes_to_the_same_end(place: Place, spec: Path) -> None:
    ran = whole(place, spec)
    assert ran.code == 0, ran.out + ran.err


def whole(place: Place, *args: str | Path) -> Ran:
    """Torture a loop that takes minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "loopspec", "torture", *map(str, args)],
        cwd=place.work,
        env=place.env(),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
