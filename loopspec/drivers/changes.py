"""Changes: how a work directory differs now from what a boundary recorded.

Rules of this file:
1. Nothing is written: neither the work directory, nor the user's git, nor the records themselves.
2. A path was added, removed or changed; that one file became another by a new name is not guessed.
3. All of it has limits: the files whose lines are shown, the lines of each, and the time it may take.
   What is left out is counted.
4. Texts and names are valid Unicode and otherwise as they stand; whoever prints them makes them
   printable.
"""

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loopspec.errors import LoopspecError
from loopspec.events import BoundaryTaken
from loopspec.journal.chain import read
from loopspec.performers.snapshots import (
    Entry,
    Listing,
    SnapshotFailed,
    Stop,
    Stopped,
    compare,
    look,
    printable,
)
from loopspec.performers.snapshots_copy import CopySnapshots
from loopspec.performers.snapshots_git import GitSnapshots
from loopspec.snapshot import Boundary, Snapshot
from loopspec.stores.base import Store
from loopspec.tools.diffs import unified

SECONDS: Final = 20.0
SHOWN_FILES: Final = 40
SHOWN_LINES: Final = 400
LARGE: Final = 1024 * 1024
_FAULTS: Final = (SnapshotFailed, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Change:
    """A path that differs. `how` is `added`, `removed`, `changed` or `mode`; a folder's path ends in `/`.

    `lines` is its diff, or a word on why there is none; empty beyond the limits. `plus` and `minus` count
    lines, -1 where nobody counted.
    """

    path: str
    how: str
    lines: tuple[str, ...] = ()
    plus: int = -1
    minus: int = -1


@dataclass(frozen=True)
class Changes:
    """Everything that differs, by path; of the last `unshown` of them no lines are given."""

    changes: tuple[Change, ...]
    unshown: int = 0


def first_boundary(store: Store, session: str) -> Boundary | None:
    """The first boundary a session ever took, None before there is one; raises `Damaged`.

    The snapshot keeps the newest ones only; the records of all of them stay.
    """
    for row in store.entries(session):
        if b'"boundary.taken"' not in row:
            continue
        entry = read(row)
        if isinstance(entry.event, BoundaryTaken):
            event = entry.event
            return Boundary(event.boundary, event.ref, entry.seq, entry.at, method=event.method)
    return None


def boundary_of(snapshot: Snapshot, name: str) -> Boundary | None:
    """A boundary that can still be gone back to, the newest for an empty name."""
    if not name:
        return snapshot.boundaries[-1] if snapshot.boundaries else None
    return next((b for b in snapshot.boundaries if b.id == name), None)


class Workspace:
    """A work directory as it stands, to be compared with records of it.

    Blocking. What is read of the present is read once; make another one to look again. All methods raise
    `LoopspecError`: when a record is not there, when a directory cannot be read or is too large, when
    it takes longer than `seconds` all in all.
    """

    def __init__(self, workdir: Path, directory: Path, seconds: float = SECONDS) -> None:
        """`directory` is the store's own."""
        self._workdir, self._directory = workdir, directory
        self._seconds = seconds
        self._present: dict[str, Listing] = {}

    def paths(self, ref: str) -> list[str]:
        """The paths that going back to a record would touch, sorted; folders end in `/`."""
        with self._timed() as stop:
            record = _record(ref, self._workdir, self._directory, stop)
            target = record.target(ref)
            plan = compare(self._now(record, target, stop), target)
            return [printable(path) for path in plan.changed]

    def changes(self, ref: str) -> Changes:
        """What is different now from a record."""
        with self._timed() as stop:
            record = _record(ref, self._workdir, self._directory, stop)
            target = record.target(ref)
            now = self._now(record, target, stop)
            return self._compared(record, ref, target, now, stop)

    def _compared(
        self, record: "_Git | _Copy", ref: str, target: Listing, now: Listing, stop: Stop
    ) -> Changes:
        plan = compare(target, now)  # from the record to the present
        how = {path: "removed" for path in (*plan.delete, *(f"{p}/" for p in plan.rmdir))}
        how.update((f"{path}/", "added") for path in plan.mkdir)
        how.update((p, "changed" if p in target.entries else "added") for p in plan.put)
        how.update((path, "mode") for path in plan.chmod)
        found: list[Change] = []
        room, unshown = SHOWN_LINES, 0
        with record.contents(ref, target) as content:
            for path in sorted(how):
                stop.check()
                change = Change(printable(path), how[path])
                if path.endswith("/") or path == "":
                    found.append(change)
                    continue
                if room <= 0 or len(found) >= SHOWN_FILES:
                    unshown += 1
                    found.append(change)
                    continue
                change = self._shown(change, path, target, now, content)
                kept = change.lines[:room]
                if len(kept) < len(change.lines):
                    kept = (*kept, "[… the diff goes on; no more lines are shown]")
                room -= len(kept)
                found.append(Change(change.path, change.how, kept, change.plus, change.minus))
        return Changes(tuple(found), unshown)

    def _shown(
        self,
        change: Change,
        path: str,
        target: Listing,
        now: Listing,
        content: Callable[[str], bytes],
    ) -> Change:
        """A change with its lines."""
        was, is_ = target.entries.get(path), now.entries.get(path)
        if change.how == "mode" and was is not None and is_ is not None:
            return Change(change.path, "mode", (f"mode {was.mode:o} to {is_.mode:o}",))
        before = content(path) if was is not None else b""
        after = b""
        if is_ is not None:
            got = _content(self._workdir / path, is_.link, LARGE + 1)
            after = b"" if got is None else got
        if (was is not None and was.link) or (is_ is not None and is_.link):
            text = f"link: {_target(was, before)} to {_target(is_, after)}"
            return Change(change.path, change.how, (text,))
        if max(len(before), len(after)) > LARGE:
            return Change(change.path, change.how, ("too large to show as a diff",))
        old, new = _text(before), _text(after)
        if old is None or new is None:
            return Change(change.path, change.how, (f"binary: {len(before):,} to {len(after):,} bytes",))
        if not old and not new:
            return Change(change.path, change.how, ("empty",), 0, 0)
        lines = tuple(unified(change.path, old, new).split("\n"))
        body = [line for line in lines if not line.startswith(("---", "+++"))]
        plus = sum(line.startswith("+") for line in body)
        minus = sum(line.startswith("-") for line in body)
        if lines and lines[-1].startswith("[…"):
            plus = minus = -1
        return Change(change.path, change.how, lines, plus, minus)

    def _now(self, record: "_Git | _Copy", target: Listing, stop: Stop) -> Listing:
        """The work directory as it is, with contents named as the record names them."""
        size = max((len(e.id) for e in target.entries.values()), default=0)
        key = f"{record.method}:{size}"
        found = self._present.get(key)
        if found is None:
            seen = look(self._workdir, self._directory, stop)
            found = Listing(directories=seen.directories)
            for path, entry in seen.entries.items():
                stop.check()
                name = _name(self._workdir / path, entry.link, record.method, size, stop)
                if name is not None:
                    found.entries[path] = Entry(entry.link, entry.mode, name)
            self._present[key] = found
        return found

    @contextmanager
    def _timed(self) -> Iterator[Stop]:
        """A stop that comes by itself; what goes wrong becomes a `LoopspecError`."""
        stop = Stop()
        timer = threading.Timer(self._seconds, stop.set)
        timer.daemon = True
        timer.start()
        where = str(self._workdir)
        try:
            yield stop
        except Stopped:
            raise LoopspecError(
                f"comparing the work directory took longer than {self._seconds:g} s",
                place=where,
                remedy="move what is large out of it",
            ) from None
        except _FAULTS as err:
            fault = str(err) if isinstance(err, SnapshotFailed) else f"it cannot be compared: {err}"
            raise LoopspecError(printable(fault), place=where) from err
        finally:
            timer.cancel()


# ---------------------------------------------------------------- reading records


class _Git(GitSnapshots):
    """Reads what was recorded with git."""

    def target(self, ref: str) -> Listing:
        """What a record holds."""
        if not self._knows(ref.removeprefix("git:")):
            raise _unknown(ref)
        return self._listing(ref)

    @contextmanager
    def contents(self, ref: str, target: Listing) -> Iterator[Callable[[str], bytes]]:
        """A function from a path to what was recorded of it."""
        with self._contents() as content:
            yield lambda path: content(target.entries[path].id)


class _Copy(CopySnapshots):
    """Reads what was recorded as a copy."""

    def target(self, ref: str) -> Listing:
        """What a record holds."""
        return self._listing(ref.removeprefix("copy:"), ref)

    @contextmanager
    def contents(self, ref: str, target: Listing) -> Iterator[Callable[[str], bytes]]:
        """A function from a path to what was recorded of it."""
        tree = self._copies / ref.removeprefix("copy:") / "tree"

        def content(path: str) -> bytes:
            return _content(tree / path, target.entries[path].link, LARGE + 1) or b""

        yield content


def _record(ref: str, workdir: Path, directory: Path, stop: Stop) -> _Git | _Copy:
    """What reads a record, by the method its ref names."""
    method = ref.partition(":")[0]
    if method == "copy":
        return _Copy(workdir, directory, stop)
    if method != "git":
        raise SnapshotFailed(f"no method {method!r} is known for rollback points")
    git = shutil.which("git", path=os.environ.get("PATH", os.defpath))
    if git is None:
        raise SnapshotFailed("this point was recorded with git, and there is no git on PATH now")
    return _Git(git, workdir, directory, stop)


def _unknown(ref: str) -> SnapshotFailed:
    return SnapshotFailed(f"the rollback point {ref!r} is not known in this store")


# ---------------------------------------------------------------- reading the present


def _open(path: Path) -> int | None:
    """A descriptor of a regular file, never of what a link leads to; None when it is none any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _content(path: Path, link: bool, limit: int) -> bytes | None:
    """The first `limit` bytes of a file, or a link's target; None when it has gone."""
    if link:
        try:
            return os.readlink(os.fsencode(path))
        except OSError:
            return None
    descriptor = _open(path)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        return file.read(limit)


def _name(path: Path, link: bool, method: str, size: int, stop: Stop) -> str | None:
    """What a record of this method would call the content; `size` is how long its names are."""
    made = hashlib.sha1(usedforsecurity=False) if (method, size) == ("git", 40) else hashlib.sha256()
    if link:
        target = _content(path, True, 0)
        if target is None:
            return None
        made.update(_header(method, len(target)) + target)
        return made.hexdigest()
    descriptor = _open(path)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        made.update(_header(method, os.fstat(descriptor).st_size))
        while piece := file.read(LARGE):
            stop.check()
            made.update(piece)
    return made.hexdigest()


def _header(method: str, size: int) -> bytes:
    """What git hashes before a content."""
    return f"blob {size}\0".encode() if method == "git" else b""


def _target(entry: Entry | None, data: bytes) -> str:
    """One side of a change in which a link takes part."""
    if entry is None:
        return "nothing"
    return f"`{printable(os.fsdecode(data))}`" if entry.link else "a file"


def _text(data: bytes) -> str | None:
    """The text of a file, None if it is none."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
