"""Guidance: the `AGENTS.md` files of a work directory, read once, when a session starts.

Rules of this file:
1. Looked at are the work directory and the folders above it, up to the one that holds `.git` (without
   any, the work directory alone). A file that leads out of that tree, into `.git` or to a `.env` is
   left out.
2. The nearest stands last and is cut last: it has the last word.
3. Secrets of the environment are taken out before the text becomes part of the machine, which is kept.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from loopspec.machine.model import Guidance, Machine

CUT: Final = "\n[cut here: the files are longer than the spec lets them be]\n"
MARGIN: Final = 65_536
"""Bytes read beyond those that are kept, so that a secret across the cut is seen whole."""
MAX_DEPTH: Final = 64
"""Folders looked at above the work directory."""


def guided(machine: Machine, workdir: Path, redact: Callable[[str], str]) -> Machine:
    """The machine with what the files say, itself when its spec has no `guidance`.

    `redact` takes secrets out of a text. A file that cannot be read counts as not there.
    """
    wanted = machine.guidance
    if wanted is None:
        return machine
    parts: list[str] = []
    found: list[str] = []
    left = wanted.max_bytes
    for path in _files(wanted, workdir):
        text = _read(path, left)
        if text is None:
            continue
        text = redact(text)
        size = len(text.encode())
        if size > left:
            text = text.encode()[:left].decode("utf-8", "ignore").rstrip() + CUT
        left = max(0, left - size)
        name = os.path.relpath(path, workdir.resolve())
        parts.append(f"# From {name}\n\n{text.strip()}\n")
        found.append(name)
        if not left:
            break
    made = msgspec.structs.replace(
        wanted, text="\n".join(reversed(parts)), found=tuple(reversed(found))
    )
    return msgspec.structs.replace(machine, guidance=made)


def _files(wanted: Guidance, workdir: Path) -> Iterator[Path]:
    """The files there are, the nearest first; one a folder."""
    folders = _folders(workdir)
    root = folders[-1]
    for folder in folders:
        for name in wanted.files:
            path = folder / name
            if path.is_file():
                real = path.resolve()
                if real.is_relative_to(root) and not _private(real.relative_to(root)):
                    yield path
                    break


def _private(path: Path) -> bool:
    """Whether a file, links resolved, is one of git's own or of an environment: a link may lead there."""
    parts = [part.lower() for part in path.parts]
    return ".git" in parts or parts[-1] == ".env" or parts[-1].startswith(".env.")


def _folders(workdir: Path) -> list[Path]:
    """The work directory and what is above it, to the root of its repository."""
    here = workdir.resolve()
    line = [here, *here.parents][:MAX_DEPTH]
    for number, folder in enumerate(line):
        if (folder / ".git").exists():
            return line[: number + 1]
    return [here]


def _read(path: Path, most: int) -> str | None:
    """A file's text, more than `most` bytes of it; None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most + MARGIN).decode("utf-8", "replace")
    except OSError:
        return None
