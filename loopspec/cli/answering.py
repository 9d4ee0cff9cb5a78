"""Answering: the answer of a run, written to a file (`-o FILE`).

Rules of this file:
1. A file is replaced whole or not at all: written beside its place, synced, renamed.
2. It belongs to its owner alone (0600), whatever stood there before.
3. Only the answer of a run that ends well (exit 0) is written; else the file stays as it was.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from loopspec.errors import LoopspecError, UsageError


class AnswerFile:
    """A place for an answer."""

    def __init__(self, path: Path) -> None:
        """Check that it can be written later; raises `UsageError`."""
        self._given = path
        self._path = Path(os.path.realpath(path))
        parent = self._path.parent
        if not parent.is_dir():
            raise UsageError("there is no such directory", place=str(parent), remedy="Make it first")
        if self._path.is_dir():
            raise UsageError("it is a directory", place=str(path), remedy="Name a file")
        self._special = self._path.exists() and not stat.S_ISREG(self._path.stat().st_mode)
        target = self._path if self._special else parent
        if not os.access(target, os.W_OK):
            raise UsageError("it cannot be written", place=str(path), remedy="Name another file")

    def write(self, text: str) -> None:
        """Write the answer, with a line end; raises `LoopspecError`."""
        data = (text.rstrip("\n") + "\n").encode("utf-8", "replace") if text else b""
        try:
            if self._special:  # a device or a pipe cannot be replaced
                self._path.write_bytes(data)
            else:
                self._replace(data)
        except OSError as err:
            raise LoopspecError(
                f"the answer was not written: {err.strerror or err}",
                place=str(self._given),
                remedy="It is in the session: loopspec timeline last",
            ) from None

    def _replace(self, data: bytes) -> None:
        """Put a new file in the old one's place."""
        made = self._path.parent / f".{self._path.name[:100]}.{secrets.token_hex(4)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with open(os.open(made, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(made, self._path)
        except BaseException:
            with suppress(OSError):
                made.unlink()
            raise
