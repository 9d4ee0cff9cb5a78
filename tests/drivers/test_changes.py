"""What changed since a rollback point: told from the records, and nothing is written for it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.slash.sessions import DONE, EDIT, READ, RUN, begun, opened, place

from loopspec.drivers import changes
from loopspec.drivers.changes import Change, Workspace, boundary_of, first_boundary
from loopspec.errors import LoopspecError
from loopspec.performers.snapshots import Stop
from loopspec.performers.snapshots_copy import CopySnapshots
from loopspec.performers.snapshots_git import GitSnapshots
from loopspec.snapshot import Boundary, Snapshot

Record = Callable[[Path, Path], str]


def by_git(work: Path, store: Path) -> str:
    git = shutil.which("git")
    assert git is not None
    return GitSnapshots(git, work, store, Stop()).record("b1")


def by_copy(work: Path, store: Path) -> str:
    store.mkdir(exist_ok=True)
    return CopySnapshots(work, store, Stop()).record("b1")


@pytest.fixture(params=[by_git, by_copy], ids=["git", "copy"])
def record(request: pytest.FixtureRequest) -> Record:
    made: Record = request.param
    return made


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory, with times."""
    found = {}
    for path in sorted(root.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (os.lstat(path).st_mtime_ns, data)
    return found


def test_every_sort_of_change_is_told_and_nothing_is_written(tmp_path: Path, record: Record) -> None:
    work, store = tmp_path / "work", tmp_path / "store"
    (work / "old").mkdir(parents=True)
    (work / "a.txt").write_text("one\ntwo\n")
    (work / "moved.txt").write_text("the same\n")
    (work / "run").write_text("#!/bin/sh\n")
    (work / "link").symlink_to("a.txt")
    (work / "bin").write_bytes(b"\0\1")
    (work / "kept").write_text("kept\n")
    subprocess.run(["git", "init", "-q", work], check=True)
    ref = record(work, store)
    assert Workspace(work, store).changes(ref).changes == ()
    (work / "a.txt").write_text("one\n2\n")
    (work / "moved.txt").rename(work / "new.txt")
    (work / "run").chmod(0o755)
    (work / "link").unlink()
    (work / "link").symlink_to("kept")
    (work / "bin").write_bytes(b"\0\1\2")
    (work / "old").rmdir()
    (work / "fresh").mkdir()
    (work / "e\x1b[2J").write_text("")
    before = tree(tmp_path)
    found = Workspace(work, store).changes(ref)
    assert tree(tmp_path) == before, "nothing was written, in no place"
    assert found.unshown == 0
    diff = ("--- a/a.txt", "+++ b/a.txt", "@@ -1,2 +1,2 @@", " one", "-two", "+2")
    gone = ("--- a/moved.txt", "+++ b/moved.txt", "@@ -1 +0,0 @@", "-the same")
    new = ("--- /dev/null", "+++ b/new.txt", "@@ -0,0 +1 @@", "+the same")
    assert {c.path: c for c in found.changes} == {
        c.path: c
        for c in (
            Change("a.txt", "changed", diff, 1, 1),
            Change("bin", "changed", ("binary: 2 to 3 bytes",)),
            Change("e\x1b[2J", "added", ("empty",), 0, 0),
            Change("fresh/", "added"),
            Change("link", "changed", ("link: `a.txt` to `kept`",)),
            Change("moved.txt", "removed", gone, 0, 1),
            Change("new.txt", "added", new, 1, 0),
            Change("old/", "removed"),
            Change("run", "mode", ("mode 644 to 755",)),
        )
    }
    assert Workspace(work, store).paths(ref) == [c.path for c in found.changes]


def test_what_is_shown_has_limits(tmp_path: Path, record: Record) -> None:
    work, store = tmp_path / "work", tmp_path / "store"
    work.mkdir()
    ref = record(work, store)
    for n in range(60):
        (work / f"f{n:02}").write_text("".join(f"line {m}\n" for m in range(30)))
    (work / "a-large").write_text("x\n" * 800_000)
    found = Workspace(work, store).changes(ref)
    assert len(found.changes) == 61
    assert found.changes[0].lines == ("too large to show as a diff",)
    shown = sum(len(c.lines) for c in found.changes)
    assert shown <= changes.SHOWN_LINES + 1
    assert found.unshown == sum(1 for c in found.changes if not c.lines) > 40
    assert found.changes[len(found.changes) - found.unshown - 1].lines[-1].startswith("[…")


def test_a_record_that_is_not_here_is_told(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for ref in ("git:" + "0" * 40, "copy:nothing", "other:1", ""):
        with pytest.raises(LoopspecError) as caught:
            Workspace(work, tmp_path / "store").changes(ref)
        assert caught.value.place == str(work)
    with pytest.raises(LoopspecError, match="does not exist"):
        store = tmp_path / "store"
        ref = by_copy(work, store)
        work.rmdir()
        Workspace(work, store).changes(ref)


def test_it_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    work, store = tmp_path / "work", tmp_path / "store"
    work.mkdir()
    for n in range(50):
        (work / str(n)).write_text("x")
    ref = by_copy(work, store)
    with pytest.raises(LoopspecError, match="took longer than 0 s"):
        for _ in range(1000):  # the timer has its own thread: it may be late once, not a thousand times
            Workspace(work, store, seconds=0).changes(ref)


def test_the_first_boundary_of_a_session_is_found_in_its_journal(tmp_path: Path) -> None:
    where = place(tmp_path)
    store = opened(where)
    assert begun(where, store, (READ, DONE)).reason == "input"
    assert first_boundary(store, "s1") is None
    assert begun(where, store, (EDIT, RUN, DONE), name="s2").reason == "input"
    first = first_boundary(store, "s2")
    assert first is not None
    found = Workspace(where.work, store.directory).changes(first.ref)
    assert [(c.path, c.how) for c in found.changes] == [("a.txt", "changed"), ("b.txt", "added")]
    store.close()


def test_a_boundary_is_found_by_its_name() -> None:
    some = Snapshot("s", "m", boundaries=(Boundary("b1", "x", 1, 1), Boundary("b2", "y", 2, 2)))
    assert [boundary_of(some, name) for name in ("", "b1", "b3")] == [
        some.boundaries[1],
        some.boundaries[0],
        None,
    ]
    assert boundary_of(Snapshot("s", "m"), "") is None
