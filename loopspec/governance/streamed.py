"""Streamed: redaction of a text that comes in pieces. A secret cut in two by a stream never shows.

Rules of this file:
1. What may be the beginning of a secret is held back until more comes, or until the stream ends.
2. Nothing else is held back: a text without such a beginning passes at once.
3. All pieces together read as the whole text redacted at once would read.
"""

from collections import defaultdict
from typing import Final

from loopspec.governance.redact import Redactor

LIMIT: Final = 64 * 1024
"""Characters held back at most. Only a secret that repeats itself for ever comes near it."""
KEY: Final = 3


class Streamed:
    """One stream of text, redacted as it comes."""

    def __init__(self, redactor: Redactor) -> None:
        """Nothing has come yet."""
        self._redactor = redactor
        self._forms = [form for form, _ in redactor.forms]
        self._longest = max(map(len, self._forms), default=0)
        self._begin: defaultdict[str, list[str]] = defaultdict(list)
        for form in self._forms:
            for size in range(1, KEY + 1):
                self._begin[form[:size]].append(form)
        self._held = ""

    def push(self, piece: str) -> str:
        """Take the next piece; gives back what may be shown now, redacted."""
        if not self._forms:
            return piece
        text = self._held + piece
        cut = self._cut(text)
        if len(text) - cut > LIMIT:
            cut = len(text)
        self._held = text[cut:]
        return self._redactor.text(text[:cut]) if cut else ""

    def rest(self) -> str:
        """The stream has ended; gives back what was held back, redacted."""
        text, self._held = self._held, ""
        return self._redactor.text(text)

    def _cut(self, text: str) -> int:
        """Where what must be held back begins: at a secret's beginning, or at a whole secret that
        reaches across it."""
        cut = len(text)
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            tail = text[start:]
            if any(f.startswith(tail) and len(f) > len(tail) for f in self._near(tail)):
                cut = start
                break
        else:
            return cut
        moved = True
        while moved:
            moved = False
            for form in self._forms:
                at = text.find(form, max(0, cut - len(form) + 1), cut + len(form) - 1)
                if 0 <= at < cut:
                    cut, moved = at, True
        return cut

    def _near(self, tail: str) -> list[str]:
        """The forms that begin as `tail` does, as far as `KEY` characters tell."""
        return self._begin.get(tail[:KEY], [])
