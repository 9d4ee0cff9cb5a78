"""Recording the workspace and putting it back: exactly, and without touching the user's git."""

import asyncio
import os
import random
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec import points
from loopspec.effects import CompactContext, RestoreBoundary, TakeBoundary
from loopspec.errors import NotFound
from loopspec.events import (
    BoundaryFailed,
    BoundaryTaken,
    EffectCancelled,
    EffectFailed,
    Kept,
    Live,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
)
from loopspec.hooks import People, Tool
from loopspec.machine.model import Machine
from loopspec.performers import snapshots, workspace
from loopspec.performers.workspace import WorkspacePerformer
from loopspec.snapshot import Call, Snapshot


@dataclass
class Place:
    """A world of which only the two directories matter here."""

    workdir: Path
    directory: Path
    machine: Machine = Machine("m", "1.0.0", "", {}, ())  # noqa: RUF009 - frozen
    people: People | None = None
    snapshot: Snapshot = Snapshot("s", "m")  # noqa: RUF009 - frozen
    items: tuple[Any, ...] = ()

    def args(self, call: Call) -> str:
        return "{}"

    def blob(self, digest: str) -> bytes:
        return b""

    def put_blob(self, data: bytes) -> str:
        return ""

    def watch(self, event: Live) -> None:
        return None

    def partial(self, effect: str, data: bytes) -> None:
        return None

    def last_partial(self, effect: str) -> bytes:
        return b""

    def partial_of(self, seq: int) -> str:
        raise NotFound(f"no attempt failed in {seq}")

    def redact(self, text: str) -> str:
        return text

    def tool(self, use: str) -> Tool:
        raise NotFound(f"no tool {use}")

    def draw(self) -> int:
        return 0


@contextmanager
def without_git(yes: bool = True) -> Iterator[None]:
    before = os.environ["PATH"]
    try:
        if yes:
            os.environ["PATH"] = "/nonexistent"
        yield
    finally:
        os.environ["PATH"] = before


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "work").mkdir()
    (tmp_path / "store").mkdir()
    return Place(tmp_path / "work", tmp_path / "store")


@pytest.fixture(params=["git", "copy"])
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    with without_git(request.param == "copy"):
        yield request.param


def do(place: Place, effect: Any) -> Kept:
    async def story() -> Kept:
        return await WorkspacePerformer().perform(effect, place)

    return asyncio.run(story())


def take(place: Place, boundary: str = "s:1") -> str:
    answer = do(place, TakeBoundary("e1", "working", boundary))
    assert isinstance(answer, BoundaryTaken), answer
    assert answer == BoundaryTaken("e1", boundary, answer.ref, answer.ref.split(":")[0])
    return answer.ref


def back(place: Place, ref: str) -> list[str]:
    answer = do(place, RestoreBoundary("e2", "rolling", "s:1", ref))
    assert isinstance(answer, RollbackDone), answer
    return answer.changed


def picture(root: Path, without: tuple[str, ...] = ()) -> dict[str, tuple[str, int, bytes]]:
    """Everything below `root` by path: sort, permission bits, content or link target."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for directory, names, files in os.walk(root):
        names[:] = [n for n in names if n not in without]
        for name in (*names, *files):
            path = Path(directory, name)
            about = path.lstat()
            key, mode = os.path.relpath(path, root), stat.S_IMODE(about.st_mode)
            if stat.S_ISLNK(about.st_mode):
                found[key] = ("link", 0, os.readlink(os.fsencode(path)))
            elif stat.S_ISDIR(about.st_mode):
                found[key] = ("directory", 0, b"")
            else:
                found[key] = ("file", mode, path.read_bytes())
    return found


def fill(work: Path) -> None:
    (work / "src/deep").mkdir(parents=True)
    (work / "empty/inner").mkdir(parents=True)
    (work / "src/a.py").write_text("a = 1\n")
    (work / "src/deep/b.py").write_text("b = 2\n")
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / "private").write_text("p\n")
    (work / "private").chmod(0o600)
    (work / "crlf.txt").write_bytes(b"one\r\ntwo\r\n$Id$\n")
    (work / ".gitattributes").write_text("* text=auto eol=crlf ident\n*.bin filter=lfs\n")
    (work / ".gitignore").write_text("ignored\n")
    (work / "ignored").write_text("i\n")
    (work / "to-file").symlink_to("src/a.py")
    (work / "to-nowhere").symlink_to("../../nowhere")
    (work / "name with\nnewline and ä").write_text("n\n")
    with open(os.fsencode(work) + b"/raw\xff", "wb") as file:
        file.write(b"\0\xff")


def test_everything_comes_back(place: Place, method: str) -> None:
    fill(place.workdir)
    before = picture(place.workdir)
    ref = take(place)
    assert ref.startswith(method + ":")
    assert back(place, ref) == []

    work = place.workdir
    (work / "src/a.py").write_text("a = 2\n")
    shutil.rmtree(work / "src/deep")
    (work / "src/deep").write_text("now a file")
    (work / "run.sh").chmod(0o644)
    (work / "private").chmod(0o640)
    (work / "ignored").unlink()
    (work / "to-file").unlink()
    (work / "to-file").mkdir()
    (work / "to-file" / "x").write_text("x")
    (work / "to-nowhere").unlink()
    (work / "to-nowhere").write_text("y")
    (work / "fresh/below").mkdir(parents=True)
    (work / "fresh/below/c").write_text("c")
    shutil.rmtree(work / "empty")
    (work / "crlf.txt").write_bytes(b"one\ntwo\n")

    assert back(place, ref) == [
        "crlf.txt",
        "empty/",
        "empty/inner/",
        "fresh/",
        "fresh/below/",
        "fresh/below/c",
        "ignored",
        "private",
        "run.sh",
        "src/a.py",
        "src/deep",
        "src/deep/",
        "src/deep/b.py",
        "to-file",
        "to-file/",
        "to-file/x",
        "to-nowhere",
    ]
    assert picture(work) == before


def test_a_directory_that_became_a_link_is_not_followed(place: Place, method: str) -> None:
    (place.workdir / "src").mkdir()
    (place.workdir / "src/a").write_text("a")
    outside = place.workdir.parent / "outside"
    outside.mkdir()
    (outside / "a").write_text("theirs")
    ref = take(place)
    shutil.rmtree(place.workdir / "src")
    (place.workdir / "src").symlink_to("../outside")
    assert back(place, ref) == ["src", "src/", "src/a"]
    assert (place.workdir / "src/a").read_text() == "a"
    assert (outside / "a").read_text() == "theirs"


def test_a_work_directory_that_was_deleted_comes_back(place: Place, method: str) -> None:
    fill(place.workdir)
    before = picture(place.workdir)
    ref = take(place)
    shutil.rmtree(place.workdir)
    back(place, ref)
    assert picture(place.workdir) == before


def test_caches_and_nested_repositories_are_left_alone(place: Place, method: str) -> None:
    work = place.workdir
    for kept in (".git", "sub/.git", "node_modules/p", ".venv", "__pycache__"):
        (work / kept).mkdir(parents=True)
        (work / kept / "HEAD").write_text("theirs")
    (work / "sub/code").write_text("c")
    ref = take(place)
    (work / ".git/HEAD").write_text("theirs, later")
    (work / "sub/.git/index").write_text("new")
    (work / "sub/code").write_text("changed")
    (work / "made/node_modules").mkdir(parents=True)
    (work / "made/x").write_text("x")
    assert back(place, ref) == ["made/x", "sub/code"]
    assert (work / ".git/HEAD").read_text() == "theirs, later"
    assert (work / "sub/.git/index").exists() and (work / "made/node_modules").exists()


def test_what_is_not_recorded_is_never_deleted(place: Place, method: str) -> None:
    work = place.workdir
    (work / "a").write_text("a")
    (work / "b").write_text("b")
    ref = take(place)
    (work / "a").unlink()
    (work / "b").write_text("changed")
    (work / "a/.git").mkdir(parents=True)
    assert do(place, RestoreBoundary("e", "s", "b", ref)) == RollbackFailed(
        "e",
        "a/.git is not recorded and stands where something must be put back; "
        "move it away and roll back again (nothing was changed)",
    )
    assert (work / "b").read_text() == "changed"


def test_a_store_inside_the_work_directory_is_not_part_of_it(tmp_path: Path, method: str) -> None:
    place = Place(tmp_path, tmp_path / ".loopspec")
    place.directory.mkdir()
    (place.directory / "store.db").write_text("1")
    (tmp_path / "a").write_text("a")
    ref = take(place)
    (place.directory / "store.db").write_text("2")
    (tmp_path / "a").write_text("b")
    assert back(place, ref) == ["a"]
    assert (place.directory / "store.db").read_text() == "2"


def test_the_state_before_a_rollback_is_kept_too(place: Place) -> None:
    file = place.workdir / "a"
    file.write_text("old")
    ref = take(place)
    file.write_text("new")
    back(place, ref)
    shadow = next((place.directory / "workspaces").iterdir())
    found = subprocess.run(
        ["git", "--git-dir", str(shadow), "log", "--all", "--format=%s %H"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    undone = next(line.split()[-1] for line in found if line.startswith("before a rollback"))
    assert back(place, f"git:{undone}") == ["a"]
    assert file.read_text() == "new"


def test_an_old_boundary_still_restores_after_newer_ones(place: Place, method: str) -> None:
    file = place.workdir / "a"
    refs = []
    for n in range(3):
        file.write_text(f"{n}")
        refs.append(take(place, f"s/{n}:é"))
    for n in (0, 2, 1):
        back(place, refs[n])
        assert file.read_text() == f"{n}"


def test_acts_that_cannot_be_undone_are_named(place: Place) -> None:
    ref = take(place)
    (place.workdir / "a").touch()
    answer = do(place, RestoreBoundary("e", "s", "b", ref, ("mail sent",)))
    assert answer == RollbackPartial("e", "b", ["a"], ["mail sent"])


def test_many_changes_are_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MAX_CHANGED", 2)
    ref = take(place)
    for n in range(5):
        (place.workdir / f"{n}").touch()
    assert back(place, ref) == ["0", "1", "… and 3 more"]


# ---------------------------------------------------------------- the user's own repository


def user_git(work: Path, *command: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", "-c", "user.name=u", "-c", "user.email=u@x", *command]
    return subprocess.run(
        argv, cwd=work, env=env, capture_output=True, text=True, check=True
    ).stdout


def test_the_users_repository_is_untouched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    work = place.workdir
    monkeypatch.setenv("HOME", "/nonexistent")  # no git identity anywhere
    monkeypatch.setenv("GIT_INDEX_FILE", str(work / ".git/index"))
    monkeypatch.setenv("GIT_DIR", str(work / ".git"))
    fill(work)
    user_git(work, "init", "-q")
    user_git(work, "config", "core.autocrlf", "true")
    user_git(work, "add", "src", "run.sh")
    user_git(work, "commit", "-qm", "one")
    (work / "src/a.py").write_text("staged\n")
    user_git(work, "add", "src/a.py")
    (work / "src/a.py").write_text("staged and changed\n")
    status = user_git(work, "status", "--porcelain")
    (work / ".git/hooks").mkdir(exist_ok=True)
    hook = work / ".git/hooks/post-index-change"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    theirs, all_files = picture(work / ".git"), picture(work, (".git",))

    ref = take(place)
    (work / "src/a.py").write_text("the agent's\n")
    (work / "untracked").write_text("new\n")
    assert back(place, ref) == ["src/a.py", "untracked"]

    assert picture(work / ".git") == theirs
    assert picture(work, (".git",)) == all_files
    hook.unlink()  # it would run now
    assert user_git(work, "status", "--porcelain") == status


# ---------------------------------------------------------------- refusals and faults


def test_what_is_too_large_is_refused(
    place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(place.workdir / "big", "wb") as file:
        file.truncate(snapshots.MAX_BYTES + 1)
    assert do(place, TakeBoundary("e", "s", "b")) == BoundaryFailed(
        "e",
        "big has 104857601 bytes, more than the 104857600 a rollback point can hold; "
        "move it out of the work directory",
    )
    (place.workdir / "big").unlink()
    monkeypatch.setattr(snapshots, "MAX_FILES", 2)
    for n in range(3):
        (place.workdir / f"{n}").touch()
    answer = do(place, TakeBoundary("e", "s", "b"))
    assert isinstance(answer, BoundaryFailed)
    assert answer.reason.startswith("the work directory holds more than 2 files")


@pytest.mark.parametrize(
    "ref",
    [
        "git:" + "0" * 40,
        "git:HEAD",
        "git:--help",
        "copy:missing",
        "copy:../../work",
        "copy:.",
        "git:",
        "",
        "tar:x",
    ],
)
def test_an_unknown_ref_changes_nothing(place: Place, ref: str) -> None:
    (place.workdir / "a").write_text("a")
    take(place)
    answer = do(place, RestoreBoundary("e", "s", "b", ref))
    assert isinstance(answer, RollbackFailed)
    assert "known" in answer.reason
    assert picture(place.workdir) == {"a": ("file", 0o644, b"a")}


def test_a_ref_of_another_work_directory_is_unknown(place: Place, method: str) -> None:
    ref = take(place)
    other = Place(place.workdir.parent / "other", place.directory)
    other.workdir.mkdir()
    (other.workdir / "a").touch()
    assert isinstance(do(other, RestoreBoundary("e", "s", "b", ref)), RollbackFailed)
    assert (other.workdir / "a").exists()


def test_each_ref_is_restored_by_the_method_that_made_it(place: Place) -> None:
    file = place.workdir / "a"
    file.write_text("old")
    by_git = take(place)
    with without_git():
        by_copy = take(place)
        answer = do(place, RestoreBoundary("e", "s", "b", by_git))
        assert isinstance(answer, RollbackFailed) and "no git on PATH" in answer.reason
    file.write_text("new")
    assert back(place, by_copy) == ["a"]
    assert file.read_text() == "old"


def test_a_work_directory_that_is_gone_cannot_be_recorded(place: Place, method: str) -> None:
    place.workdir.rmdir()
    answer = do(place, TakeBoundary("e", "s", "b"))
    assert answer == BoundaryFailed("e", f"the work directory {place.workdir} does not exist")


def test_leftovers_of_a_killed_process_do_no_harm(place: Place) -> None:
    (place.workdir / "a").write_text("1")
    take(place)
    shadow = next((place.directory / "workspaces").iterdir())
    (shadow / "index.lock").touch()
    (shadow / "index.last.lock").touch()
    (shadow / "index.last").write_bytes(b"cut off")
    ref = take(place)
    (place.workdir / "a").write_text("2")
    assert back(place, ref) == ["a"]


def test_a_lock_left_by_a_killed_git_does_no_harm(place: Place) -> None:
    fill(place.workdir)
    take(place)
    (shadow,) = (place.directory / "workspaces").iterdir()
    locks: list[Path] = []

    def lock_every_commit(name: str) -> None:
        """As a `git update-ref` that was killed leaves them: also for the commit about to be named."""
        if name == "boundary.names":
            command = ["git", "cat-file", "--batch-check", "--batch-all-objects"]
            out = subprocess.run(command, env={**os.environ, "GIT_DIR": str(shadow)}, capture_output=True)
            for line in out.stdout.decode().splitlines():
                commit, what, _ = line.split(" ")
                if what == "commit":
                    locks.append(shadow / "refs" / "loopspec" / f"{commit}.lock")
                    locks[-1].parent.mkdir(parents=True, exist_ok=True)
                    locks[-1].touch()

    points.listen(lock_every_commit)
    try:
        ref = take(place, "s:2")
    finally:
        points.listen(None)
    assert locks
    (place.workdir / "more").write_text("x")
    assert back(place, ref) == ["more"]


def test_a_damaged_copy_is_noticed(place: Place) -> None:
    (place.workdir / "a").write_text("old")
    with without_git():
        ref = take(place)
        (place.directory / "copies" / ref.split(":")[1] / "tree" / "a").write_text("odd")
        (place.workdir / "a").write_text("new")
        answer = do(place, RestoreBoundary("e", "s", "b", ref))
    assert answer == RollbackFailed("e", f"the copy of a in {ref} is damaged")


def test_another_effect_is_not_for_this_performer(place: Place) -> None:
    assert do(place, CompactContext("e", "s", 1)) == EffectFailed(
        "e", "the workspace performer does not do CompactContext"
    )


def test_takes_at_the_same_time_do_not_collide(place: Place, method: str) -> None:
    fill(place.workdir)

    async def story() -> list[Kept]:
        one, two = WorkspacePerformer(), WorkspacePerformer()
        takes = [TakeBoundary(f"e{n}", "s", f"b{n}") for n in range(6)]
        return await asyncio.gather(
            *((one, two)[n % 2].perform(each, place) for n, each in enumerate(takes))
        )

    answers = asyncio.run(story())
    assert [type(a) for a in answers] == [BoundaryTaken] * 6
    (place.workdir / "src/a.py").unlink()
    assert isinstance(answers[5], BoundaryTaken)
    assert back(place, answers[5].ref) == ["src/a.py"]


def test_a_cancelled_take_answers_and_leaves_nothing_running(place: Place, method: str) -> None:
    for n in range(300):
        (place.workdir / f"{n}").write_bytes(os.urandom(2000))

    async def story(seconds: float) -> Kept:
        effect = TakeBoundary("e", "s", "b")
        task = asyncio.ensure_future(WorkspacePerformer().perform(effect, place))
        await asyncio.sleep(seconds)
        task.cancel()
        return await task

    for seconds in (0.005, 0.02, 0.05):
        answer = asyncio.run(story(seconds))
        assert isinstance(answer, EffectCancelled | BoundaryTaken)
    left = [p.name for p in place.directory.rglob("index.*")]
    assert [name for name in left if name != "index.last"] == []
    ref = take(place)
    (place.workdir / "7").unlink()
    assert back(place, ref) == ["7"]


# ---------------------------------------------------------------- any history of a work directory

NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "f")
ACTS = ("write", "remove", "rename", "mode", "link", "directory", "tree")


def act(work: Path, rng: random.Random) -> None:
    path, kind = work / rng.choice(NAMES), rng.choice(ACTS)
    present = os.path.lexists(path)
    if kind == "mode" and path.is_file() and not path.is_symlink():
        path.chmod(rng.choice((0o644, 0o755, 0o600, 0o640)))
    elif kind == "rename" and present:
        target = work / rng.choice(NAMES)
        if not os.path.lexists(target) and target.parent.is_dir() and path not in target.parents:
            path.rename(target)
    elif present:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif kind == "write" and not path.is_symlink():
            path.write_text(rng.choice("xyz"))  # often the same size: only its time tells
        else:
            path.unlink()
    elif all(not p.is_symlink() and (p.is_dir() or not p.exists()) for p in path.parents):
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(rng.choice(("a", "../b", "nowhere", "d")))
        elif kind in ("directory", "tree"):
            path.mkdir()
        else:
            path.write_text(rng.choice("xyz"))


@pytest.mark.parametrize("git", [True, False])
@given(seed=st.integers(0, 2**32), before=st.integers(0, 12), after=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_any_changes_are_undone(git: bool, seed: int, before: int, after: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as made, without_git(not git):
        place = Place(Path(made, "work"), Path(made, "store"))
        place.workdir.mkdir()
        for _ in range(before):
            act(place.workdir, rng)
        first, ref = picture(place.workdir), take(place)
        for _ in range(after):
            act(place.workdir, rng)
        second, changed = picture(place.workdir), back(place, ref)
        assert picture(place.workdir) == first
        assert (changed == []) is (first == second)
        assert back(place, ref) == []
