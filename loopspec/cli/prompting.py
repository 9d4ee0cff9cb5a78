"""Prompting: what is said to a session from the command line and from standard input.

Rules of this file:
1. Standard input is read when it is a pipe or a file, never when it is a terminal.
2. A pipe that nobody writes to must not keep a run that has something to do without it.
3. What is too long, or no text, is refused before anything starts; nothing is cut off.
"""

import os
import select
import stat
import sys
from collections.abc import Sequence
from typing import Final

import click

from loopspec.errors import UsageError

LIMIT: Final = 1024 * 1024
"""Bytes of standard input at most: about 250,000 tokens, more than most windows hold."""
PATIENCE: Final = 3.0
"""Seconds to wait for the first byte, where there is something to do without it."""


def said(parts: Sequence[str], *, needed: bool) -> str | None:
    """The message to say: the parts given, one below the other, and standard input below them.

    A part `-` is standard input at its place, and waits for it without a limit. `needed`: there is
    nothing to do without standard input, so it is waited for too. Raises `UsageError`.
    """
    if "-" in parts:
        piped = _text(read(None))
        return joined([piped if part == "-" else part for part in parts])
    piped = _text(read(None if needed and not parts else PATIENCE))
    return joined([*parts, piped]) if piped.strip() else joined(parts)


def joined(parts: str | Sequence[str] | None) -> str | None:
    """The parts of a message as one text, None without any."""
    if parts is None or isinstance(parts, str):
        return parts
    return "\n\n".join(parts) if parts else None


def read(seconds: float | None) -> bytes:
    """Standard input to its end; nothing when it is a terminal, or silent for `seconds`.

    Raises `UsageError` when it is longer than `LIMIT`.
    """
    try:
        kind = os.fstat(0).st_mode
    except OSError:
        return b""
    if os.isatty(0) or stat.S_ISDIR(kind):
        return b""
    if (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)) and not _comes(seconds):
        return b""
    found: list[bytes] = []
    size = 0
    try:
        while data := os.read(0, 65_536):
            found.append(data)
            size += len(data)
            if size > LIMIT:
                raise UsageError(
                    f"standard input is longer than {LIMIT // 1024} KiB, too long for a message",
                    remedy="Put it into a file in the work directory, and name the file",
                )
    except OSError:  # it was opened for writing only, as `nohup` does
        return b""
    return b"".join(found)


def _comes(seconds: float | None) -> bool:
    """Wait until there is something to read or the end; says so when it takes long."""
    if select.select([0], [], [], PATIENCE if seconds is None else seconds)[0]:
        return True
    if seconds is None:
        _note("waiting for standard input; give -p TEXT, or < /dev/null for none")
        select.select([0], [], [])
        return True
    _note(f"nothing came on standard input for {seconds:.0f} s; going on without it")
    return False


def _note(text: str) -> None:
    """A word on stderr, if anybody reads it."""
    try:
        click.echo(f"loopspec: {text}", err=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- for the rest of the process


def _text(data: bytes) -> str:
    """The text of standard input without the line end after it; raises `UsageError`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise UsageError(
            f"standard input is no UTF-8 text (byte {err.start})",
            remedy="Put it into a file in the work directory, and name the file",
        ) from None
    return text.rstrip("\r\n")
