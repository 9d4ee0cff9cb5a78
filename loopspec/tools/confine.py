"""Confinement: a tool's paths stay below the work directory.

Rules of this file:
1. A path is judged after every symbolic link in it is resolved, also when its tail does not exist.
2. A judged path is opened component by component without following links, so that a link put in
   its way after the judgement is an error and never a way out.
3. Every refusal names the path and the remedy.
"""

import difflib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from loopspec.hooks import ToolFailed

_REMEDY: Final = "give a path relative to the work directory"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def inside(workdir: Path, given: str) -> Path:
    """The resolved path that `given` names below `workdir`; the file itself need not exist.

    Relative paths start at `workdir`; an absolute path is taken when it leads inside. Raises
    `ToolFailed` for an empty path, a NUL byte, a loop of links, and whatever leads outside.
    """
    if not given.strip():
        raise ToolFailed(f"the path is empty; {_REMEDY}")
    if "\0" in given:
        raise ToolFailed(f"the path {given!r} holds a NUL byte; {_REMEDY}")
    try:
        root = workdir.resolve()
        path = (root / given).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ToolFailed(f"the path {given!r} cannot be resolved ({error}); {_REMEDY}") from error
    if path != root and root not in path.parents:
        raise ToolFailed(f"the path {given!r} leads outside the work directory; {_REMEDY}")
    return path


def relative(workdir: Path, given: str) -> str:
    """The resolved path relative to `workdir`, with `/`; `.` for `workdir` itself.

    Rules of the envelope are matched on this text. Raises `ToolFailed` as `inside` does.
    """
    return inside(workdir, given).relative_to(workdir.resolve()).as_posix()


@contextmanager
def open_directory(workdir: Path, path: Path, *, create: bool = False) -> Iterator[int]:
    """A descriptor of the directory `path`, which `inside` gave, reached without following links.

    `create` makes what is missing. Raises `ToolFailed` for a link put in the way, else `OSError`.
    """
    root = workdir.resolve()
    here = os.open(root, _DIRECTORY)
    try:
        for part in path.relative_to(root).parts:
            below = _step(here, part, path, create)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _step(here: int, part: str, path: Path, create: bool) -> int:
    if create:
        with suppress(FileExistsError):  # what it is shows when it is opened
            os.mkdir(part, dir_fd=here)
    try:
        return os.open(part, _DIRECTORY, dir_fd=here)
    except OSError as error:
        linked = error.errno == errno.ELOOP or (
            error.errno == errno.ENOTDIR
            and stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)
        )
        if linked:
            raise ToolFailed(
                f"{path}: {part} became a symbolic link while the path was used; try again"
            ) from error
        raise


@contextmanager
def open_file(workdir: Path, given: str) -> Iterator[int]:
    """A descriptor to read the regular file that `given` names.

    Raises `ToolFailed` when it leads outside, does not exist, is not a regular file or may not be
    read; for a missing file the message names one with a similar name.
    """
    path = inside(workdir, given)
    if path == workdir.resolve():
        raise ToolFailed(f"{given} is a directory; list it instead")
    try:
        with open_directory(workdir, path.parent) as directory:
            # O_NONBLOCK: opening a FIFO without a writer would wait for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(path.name, flags, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ToolFailed(f"{given} does not exist{_similar(path)}") from error
    except OSError as error:
        raise ToolFailed(f"{given} cannot be opened: {error.strerror}") from error
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise ToolFailed(f"{given} is a directory; list it instead")
        if not stat.S_ISREG(mode):
            raise ToolFailed(f"{given} is not a regular file; only regular files can be used")
        yield file
    finally:
        os.close(file)


def _similar(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in os.scandir(path.parent))[:2000]
    except OSError:
        return f"; neither does its directory {path.parent.name}"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {near[0]}?" if near else "; list its directory to see what is there"
