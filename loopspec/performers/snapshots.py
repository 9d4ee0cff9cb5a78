"""Snapshots of a work directory: what is in it, how two differ, how one is put back.

Rules of this file:
1. A record holds every regular file (content and mode), symbolic link and directory, but for what
   `EXCLUDED` names and the store's own directory. Sockets, FIFOs and devices are left alone.
2. Links are recorded and put back as links, never followed.
3. Putting back touches only what differs, and deletes only what a record of the present holds: what
   is not recorded is never deleted. If something unrecorded stands in the way, nothing is touched.
"""

import os
import stat
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from loopspec.points import reach

EXCLUDED: Final = frozenset({".git", "__pycache__", ".venv", "node_modules"})
MAX_FILES: Final = 200_000
MAX_BYTES: Final = 100 * 1024 * 1024


class SnapshotFailed(Exception):
    """A record could not be made or put back; the message says what and what to do."""


class Stopped(Exception):
    """The work was told to stop."""


class Stop:
    """Ends blocking work from outside: a flag, and the child process that runs just now."""

    def __init__(self) -> None:
        """Not stopped."""
        self._lock = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None

    def set(self) -> None:
        """Kill the child of the moment and let no further step begin."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()

    def check(self) -> None:
        """Raise `Stopped` when told to stop."""
        if self._stopped:
            raise Stopped

    def run(self, argv: list[str], env: Mapping[str, str], cwd: Path, given: bytes) -> bytes:
        """The child's standard output; raises `SnapshotFailed` with its first words on an error."""
        with self.child(argv, env, cwd) as child:
            out, errors = child.communicate(given)
        self.check()
        if child.returncode != 0:
            words = errors.decode("utf-8", "replace").strip()[:500]
            raise SnapshotFailed(words or f"{argv[0]} ended with code {child.returncode}")
        return out

    @contextmanager
    def child(
        self, argv: list[str], env: Mapping[str, str], cwd: Path
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """A child with three pipes, which `set` kills; it has ended when the block is left."""
        pipe = subprocess.PIPE
        with self._lock:
            self.check()
            self._child = child = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe
            )
        try:
            with child:
                try:
                    yield child
                except BaseException:
                    child.kill()
                    raise
        finally:
            with self._lock:
                self._child = None


@dataclass(frozen=True)
class Entry:
    """A file or link: `id` stands for the content (or target), `mode` holds the permission bits."""

    link: bool
    mode: int
    id: str = ""


@dataclass
class Listing:
    """What a directory holds, by path relative to it (with `/`); paths may hold escaped bytes."""

    entries: dict[str, Entry] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)


def look(workdir: Path, without: Path, stop: Stop) -> Listing:
    """List `workdir` but for the directory `without`; ids are empty.

    Raises `SnapshotFailed` when it is gone, too large, or cannot be read.
    """
    if not workdir.is_dir():
        raise SnapshotFailed(f"the work directory {workdir} does not exist")
    found = Listing()
    skipped = os.path.realpath(without)
    waiting = [(os.path.realpath(workdir), "")]
    while waiting:
        stop.check()
        directory, prefix = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                below = list(entries)
        except OSError as error:
            raise SnapshotFailed(f"{prefix or '.'} cannot be read: {error.strerror}") from error
        for entry in below:
            # git refuses `.git` in any case, so it is left out in any case.
            if entry.name in EXCLUDED or entry.name.lower() == ".git" or entry.path == skipped:
                continue
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                found.directories.add(path)
                waiting.append((entry.path, path + "/"))
                continue
            _take(found, path, entry)
    return found


def _take(found: Listing, path: str, entry: os.DirEntry[str]) -> None:
    try:
        about = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # gone since the directory was read
    mode = about.st_mode
    if stat.S_ISLNK(mode):
        found.entries[path] = Entry(True, 0)
    elif stat.S_ISREG(mode):
        if about.st_size > MAX_BYTES:
            raise SnapshotFailed(
                f"{printable(path)} has {about.st_size} bytes, more than the {MAX_BYTES} a "
                "rollback point can hold; move it out of the work directory"
            )
        found.entries[path] = Entry(False, stat.S_IMODE(mode))
    if len(found.entries) > MAX_FILES:
        raise SnapshotFailed(
            f"the work directory holds more than {MAX_FILES} files, the most a rollback point can "
            "hold; start in a smaller directory"
        )


def printable(path: str) -> str:
    """`path` as valid Unicode: bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


@dataclass(frozen=True)
class Plan:
    """What must be done to make `now` equal to `target`."""

    delete: list[str]
    rmdir: list[str]
    mkdir: list[str]
    put: list[str]
    chmod: list[str]

    @property
    def changed(self) -> list[str]:
        """Every path this touches, sorted; directories end in `/`."""
        folders = {path + "/" for path in (*self.rmdir, *self.mkdir)}
        return sorted({*self.delete, *self.put, *self.chmod, *folders})


def compare(now: Listing, target: Listing) -> Plan:
    """The plan from `now` to `target`."""
    delete = [path for path in now.entries if path not in target.entries]
    put, chmod = [], []
    for path, wanted in target.entries.items():
        found = now.entries.get(path)
        if found is None or (found.link, found.id) != (wanted.link, wanted.id):
            put.append(path)
        elif found.mode != wanted.mode:
            chmod.append(path)
    return Plan(
        delete=sorted(delete),
        rmdir=sorted(now.directories - target.directories, reverse=True),
        mkdir=sorted(target.directories - now.directories),
        put=sorted(put),
        chmod=sorted(chmod),
    )


def put_back(
    workdir: Path,
    now: Listing,
    target: Listing,
    fetch: Callable[[str], bytes],
    present: Callable[[], Listing],
    stop: Stop,
) -> list[str]:
    """Make `workdir`, which holds `now`, equal to `target`; gives back every path that changed.

    `fetch` gives a path's content, or a link's target, as bytes; `present` lists `workdir` anew, to
    see that it worked. Raises `SnapshotFailed` when something unrecorded is in the way (nothing is
    changed then) or something else writes at the same time.
    """
    plan = compare(now, target)
    in_the_way = obstacles(workdir, now, target, plan)
    if in_the_way:
        raise SnapshotFailed(
            f"{printable(in_the_way[0])} is not recorded and stands where something must be put "
            "back; move it away and roll back again (nothing was changed)"
        )
    apply(workdir, target, plan, fetch, stop)
    reach("rollback.applied")
    after = present()
    # A directory with something unrecorded in it stays, and that is as it should be.
    extra = {path + "/" for path in after.directories}
    left = [path for path in compare(after, target).changed if path not in extra]
    if left:
        raise SnapshotFailed(
            f"{printable(left[0])} differs again after it was put back: something else writes "
            "here; end it and roll back again"
        )
    return compare(now, after).changed


def obstacles(workdir: Path, now: Listing, target: Listing, plan: Plan) -> list[str]:
    """Unrecorded things that stand where a recorded one must be put back. Changes nothing."""
    known = now.entries.keys() | now.directories
    wanted = [path for path in (*plan.put, *plan.mkdir) if path not in known]
    found = []
    for path in wanted:
        # Below a recorded file or link nothing counts: that goes away first, and a link would
        # only show what stands elsewhere.
        above = (str(parent) for parent in PurePosixPath(path).parents)
        if not any(p in now.entries for p in above) and os.path.lexists(workdir / path):
            found.append(path)
    for path in plan.put:
        if path in now.directories:
            for directory, _, _ in os.walk(workdir / path):
                prefix = Path(directory).relative_to(workdir)
                for name in os.listdir(directory):
                    if (prefix / name).as_posix() not in known:
                        found.append((prefix / name).as_posix())
    return sorted(found)


def apply(
    workdir: Path, target: Listing, plan: Plan, fetch: Callable[[str], bytes], stop: Stop
) -> None:
    """Carry out `plan`; `fetch` gives a path's content, or a link's target, as bytes.

    Can be stopped between two paths; doing it again later ends in the same place.
    """
    for path in plan.delete:
        stop.check()
        reach("rollback.deletes")
        with suppress(FileNotFoundError):
            os.unlink(workdir / path)
    for path in plan.rmdir:
        with suppress(OSError):  # holds something that is not recorded: it stays
            os.rmdir(workdir / path)
    for path in plan.mkdir:
        os.makedirs(workdir / path, exist_ok=True)
    for path in plan.put:
        stop.check()
        reach("rollback.puts")
        _put(workdir / path, target.entries[path], fetch(path))
    for path in plan.chmod:
        stop.check()
        if not os.path.islink(workdir / path):
            os.chmod(workdir / path, target.entries[path].mode)


def _put(path: Path, entry: Entry, data: bytes) -> None:
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        if entry.link:
            os.symlink(data, os.fsencode(temporary))
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), entry.mode)
        reach("rollback.renames")
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
