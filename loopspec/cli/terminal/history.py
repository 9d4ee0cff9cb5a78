"""History: what was typed, over sessions, in a file of the store's directory.

Rules of this file:
1. Only the owner reads the file (0600), and nothing that holds a secret of the environment is written.
2. A history that cannot be read or written is an empty one; it never stops anybody.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit.history import History

NAME: Final = "typed-lines"
KEPT: Final = 1_000
LONGEST: Final = 10_000
_MOST_BYTES: Final = 4 * 1024 * 1024


class TypedLines(History):
    """One JSON text a line, the newest last."""

    def __init__(self, directory: Path, secret: Callable[[str], bool]) -> None:
        """`secret` says whether a text holds something that must not be written."""
        super().__init__()
        self.path = directory / NAME
        self._secret = secret

    def load_history_strings(self) -> Iterable[str]:
        """The kept lines, the newest first."""
        found: list[str] = []
        with contextlib.suppress(OSError):
            with open(self.path, "rb") as file:
                data = file.read(_MOST_BYTES)
            for line in data.decode("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError):
                    text = json.loads(line)
                    if isinstance(text, str):
                        found.append(text)
        if len(found) > 2 * KEPT:
            self._shorten(found[-KEPT:])
        return reversed(found[-KEPT:])

    def store_string(self, string: str) -> None:
        """Keep a line."""
        if len(string) > LONGEST or self._secret(string):
            return
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            file = os.open(self.path, flags, 0o600)
            try:
                os.write(file, json.dumps(string).encode() + b"\n")
            finally:
                os.close(file)

    def _shorten(self, kept: list[str]) -> None:
        """Write only the newest lines."""
        new = self.path.with_name(f"{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(file, "wb") as out:
                out.writelines(json.dumps(text).encode() + b"\n" for text in kept)
            os.replace(new, self.path)
