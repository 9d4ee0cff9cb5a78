"""Backup: a copy of a whole store, made while its sessions run.

Rules of this file:
1. The journal first, the rollback points after it: an entry names a point only once that was complete,
   and nothing changes it later. So whatever the copied journal names is in the copy.
2. A copy is made beside its place, synced, and renamed when it is whole; nothing is ever overwritten.
3. A copy belongs to its owner alone: directories 0700, files 0600.

Not in a copy: the work directories themselves, the disposable `cache/`, locks, streams that are open.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from loopspec.drivers.verifying import verified
from loopspec.errors import Damaged, StoreError, UsageError
from loopspec.stores.sqlite import FILE, SqliteStore

POINTS: Final = ("workspaces", "copies")
"""The directories of a store that hold rollback points, by git and as plain copies."""


class Backed(Protocol):
    """A store that can be copied."""

    @property
    def directory(self) -> Path:
        """The store's own directory."""

    def backup(self, file: Path) -> None:
        """Copy the database to the new file `file`; raises `StoreError`."""


@dataclass(frozen=True)
class Copied:
    """What a copy holds: sessions with how many entries are whole, and what is wrong with some.

    `unread` are files of rollback points that could not be read; a rollback to those will fail.
    """

    sessions: dict[str, int]
    damaged: dict[str, Damaged]
    files: int
    unread: list[str]


def back_up(store: Backed, target: Path) -> Copied:
    """Copy a store into the new directory `target`, and verify every session of the copy.

    A session that is damaged is copied as it is, and told. Raises `UsageError` when `target` exists or
    its parent does not, `StoreError` when the copy cannot be made; then nothing is left behind.
    """
    target = target.absolute()
    _refuse(store, target)
    made = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        made.mkdir(mode=0o700)
        store.backup(made / FILE)
        unread: list[str] = []
        files = sum(_tree(store.directory / n, made / n, _passing(n), unread) for n in POINTS)
        sessions, damaged = _verify(made)
        _sync(made)
        os.rename(made, target)
        _sync(target.parent)
    except OSError as err:
        shutil.rmtree(made, ignore_errors=True)
        if err.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(target):
            raise _exists(target) from None
        raise StoreError(
            f"the copy was not made: {err.strerror or err}",
            place=str(err.filename or target),
            remedy="Name a directory where you can write and that has room",
        ) from err
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Copied(sessions, damaged, files, unread)


def _refuse(store: Backed, target: Path) -> None:
    """Whether `target` can become a copy at all; raises `UsageError`."""
    if os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise UsageError(
            "there is no such directory", place=str(target.parent), remedy="Make it first"
        )
    if target.parent.resolve().is_relative_to(store.directory.resolve()):
        raise UsageError(
            "a copy inside the store would be lost with it",
            place=str(target),
            remedy="Name a directory elsewhere, best on another disk",
        )


def _exists(target: Path) -> UsageError:
    return UsageError(
        "it exists already, and a backup overwrites nothing",
        place=str(target),
        remedy="Name a new directory",
    )


def _verify(directory: Path) -> tuple[dict[str, int], dict[str, Damaged]]:
    """How many entries of each session are whole, and what is wrong with those that are not."""
    store = SqliteStore(directory, readonly=True)
    whole: dict[str, int] = {}
    damaged: dict[str, Damaged] = {}
    try:
        for row in store.sessions():
            whole[row.session] = 0
            try:
                if row.head < 0 and next(store.entries(row.session), None) is None:
                    continue  # made and never started
                for _ in verified(store, row.session):
                    whole[row.session] += 1
            except Damaged as err:
                damaged[row.session] = err
    finally:
        store.close()
    return whole, damaged


# ---------------------------------------------------------------- rollback points


def _passing(name: str) -> "Passing":
    return Passing(git=name == "workspaces")


@dataclass(frozen=True)
class Passing:
    """Knows what only passes through: half-made points, and git's own temporary files."""

    git: bool

    def __call__(self, depth: int, name: str) -> bool:
        """Whether `name`, so many directories below `workspaces` or `copies`, is left out."""
        if depth == 0:
            return name.startswith(".") or (self.git and not _shadow(name))
        # An index only makes the next record faster, and one with another time misleads git.
        return self.git and (
            name.startswith(("index.", "tmp_obj", "incoming-")) or name.endswith(".lock")
        )


def _shadow(name: str) -> bool:
    """Whether a directory is a shadow repository, whose name is the hash of its work directory's."""
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def _tree(source: Path, made: Path, passing: Passing, unread: list[str]) -> int:
    """Copy a directory, synced; gives back how many files. What vanishes meanwhile only passed."""
    files = 0
    waiting = [(source, made, 0)] if source.is_dir() else []
    copied: list[Path] = []
    while waiting:
        directory, copy, depth = waiting.pop()
        copy.mkdir(mode=0o700)
        copied.append(copy)
        # git writes a ref after its objects; so refs are copied before them.
        below = sorted(_entries(directory), key=lambda e: (e.name != "objects", e.name))
        for entry in below:
            if passing(depth, entry.name):
                continue
            new = copy / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), new, depth + 1))
            elif entry.is_symlink():
                with suppress(FileNotFoundError):
                    os.symlink(os.readlink(entry.path), new)
                    files += 1
            elif entry.is_file(follow_symlinks=False):
                files += _file(entry.path, new, unread)
    for copy in copied:
        _sync(copy)
    return files


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(directory) as found:
        yield from found


def _file(source: str, made: Path, unread: list[str]) -> int:
    """Copy one file, synced; gives back how many that were."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except PermissionError:
        unread.append(source)
        return 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(descriptor, "rb") as old, open(os.open(made, flags, 0o600), "wb") as new:
        shutil.copyfileobj(old, new, 1024 * 1024)
        new.flush()
        os.fsync(new.fileno())
    return 1


def _sync(directory: Path) -> None:
    """Make the names in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
