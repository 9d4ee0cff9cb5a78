"""Streamed: redaction of a text that comes in pieces. A secret cut in two by a stream never shows.

Rules of this file:
1. What may be the beginning of a secret is held back until more comes, or until the stream ends.
2. Nothing else is held back: a text without such a beginning passes at once.
3. All pieces together read as the whole text redacted at once would read, but that a stream which paused
   may have shown the first `KEY` characters of a secret before the mark that stands for all of it.
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
        self._told = 0  # characters of what is held that were shown in a pause

    def push(self, piece: str) -> str:
        """Take the next piece; gives back what may be shown now, redacted."""
        if not self._forms:
            return piece
        text = self._held + piece
        cut = self._cut(text)
        if len(text) - cut > LIMIT:
            cut = len(text)
        self._held = text[cut:]
        return self._new(text[:cut])

    def pause(self) -> str:
        """Something else is shown now; gives back what may be shown before it.

        A few characters that may begin a secret are shown, as they mostly begin none. More stay held
        back until this stream goes on or ends.
        """
        if len(self._held) > KEY:
            return ""
        text, self._told = self._held[self._told :], len(self._held)
        return text

    def rest(self) -> str:
        """The stream has ended; gives back what was held back, redacted."""
        text, self._held = self._held, ""
        return self._new(text)

    def _new(self, text: str) -> str:
        """What of `text` was not shown yet, redacted."""
        if len(text) < self._told:
            self._told -= len(text)
            return ""
        shown, self._told = text[: self._told], 0
        clean = self._redactor.text(text) if text else ""
        return clean.removeprefix(shown)

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


def broken_off(redactor: Redactor, text: str) -> str:
    """A text that broke off, redacted, without an end that may be the beginning of a secret.

    Whatever goes on from it begins that word anew, and so shows and keeps all of it, or the mark for it.
    """
    stream = Streamed(redactor)
    return stream.push(text) + stream.pause()
