"""Blocks: Markdown that arrives in pieces is cut into blocks that will not change any more.

Rules of this file:
1. Pure. What is closed never changes and is given out once; pieces put together are the text.
2. Nothing stays open without a limit: a long fence, list or paragraph is cut where it does not show.
"""

import re
from typing import Final, NamedTuple

LONG_PARAGRAPH: Final = 900
LONG_BLOCK: Final = 20
"""Characters of a paragraph, and lines of a fence or list, that stay open at most (about)."""

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_ITEM: Final = re.compile(r"^ {0,3}([-*+]|\d{1,9}[.)])(\s|$)")
_HEAD: Final = re.compile(r"^ {0,3}#{1,6}(\s|$)")


class Block(NamedTuple):
    """A closed block; `joined` says that it goes on from the one before, which was cut."""

    text: str
    joined: bool = False


class Blocks:
    """Takes the text of one reply in pieces and gives out its blocks as they close."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._lines: list[str] = []  # whole lines of the open block
        self._rest = ""  # the line that is still being written
        self._fence = ""  # the marks that opened a fence, with its info string
        self._blank = False  # a blank line stands after an open list
        self._joined = False  # the open block goes on from one that was cut

    @property
    def open(self) -> str:
        """The block that may still change, as text (a fence is closed for showing)."""
        text = "\n".join([*self._lines, self._rest] if self._rest else self._lines)
        return f"{text}\n{_marks(self._fence)}" if self._fence and text else text

    def feed(self, text: str) -> list[Block]:
        """Take a piece; gives back the blocks it has closed."""
        *whole, self._rest = (self._rest + text).split("\n")
        out: list[Block] = []
        for line in whole:
            out += self._line(line)
        if not self._fence and len(self._rest) > LONG_PARAGRAPH:
            at = _cut(self._rest)
            if at:
                head, self._rest = self._rest[:at].rstrip(" "), self._rest[at:].lstrip(" ")
                self._lines.append(head)
                out += self._shut(cut=True)
        return out

    def close(self) -> list[Block]:
        """The text has ended: what is open is closed as it is."""
        if self._rest:
            out = self._line(self._rest)
            self._rest = ""
        else:
            out = []
        if self._fence and self._lines:
            self._lines.append(_marks(self._fence))
        self._fence = ""
        return out + self._shut()

    def _line(self, line: str) -> list[Block]:
        """Take a whole line."""
        if self._fence:
            return self._fenced(line)
        out: list[Block] = []
        if self._blank and line.strip():
            goes_on = line[:1] in (" ", "\t") or _ITEM.match(line)
            self._blank = False
            if goes_on and len(self._lines) < LONG_BLOCK:
                self._lines.append("")
            else:
                out += self._shut(cut=bool(goes_on))
        if fence := _FENCE.match(line):
            if self._in_list and line[:1] == " ":  # a fence inside an item stays with it
                self._lines.append(line)
                return out
            out += self._shut()
            self._fence, self._lines = fence[1] + fence[2], [line]
            return out
        if not line.strip():
            self._blank = bool(self._lines) and self._in_list
            return out if self._blank else out + self._shut()
        if _HEAD.match(line):
            out += self._shut()
            self._lines.append(line)
            return out + self._shut()
        if len(self._lines) >= LONG_BLOCK and _ITEM.match(line):
            out += self._shut(cut=True)
        self._lines.append(line)
        return out

    def _fenced(self, line: str) -> list[Block]:
        """Take a line inside a fence."""
        marks = _marks(self._fence)
        found = _FENCE.match(line)
        if found and found[1].startswith(marks) and not found[2].strip():
            self._lines.append(line)
            self._fence = ""
            return self._shut()
        self._lines.append(line)
        if len(self._lines) <= LONG_BLOCK:
            return []
        self._lines.append(marks)
        out = self._shut(cut=True)
        self._lines = [self._fence]
        return out

    @property
    def _in_list(self) -> bool:
        return bool(self._lines) and _ITEM.match(self._lines[0]) is not None

    def _shut(self, *, cut: bool = False) -> list[Block]:
        """Close the open block; `cut`: what follows goes on from it."""
        lines, self._lines, self._blank = self._lines, [], False
        joined, self._joined = self._joined, cut
        return [Block("\n".join(lines), joined)] if any(x.strip() for x in lines) else []


def _marks(fence: str) -> str:
    """The marks of a fence, without what it says of its language."""
    return fence[: len(fence) - len(fence.lstrip(fence[:1]))] if fence else ""


def _cut(text: str) -> int:
    """Where a long paragraph may be cut: after a sentence, at worst at a space, outside of emphasis;
    0 if nowhere."""
    for mark in (". ", " "):
        at = text.rfind(mark, 0, LONG_PARAGRAPH)
        while at > LONG_PARAGRAPH // 2:
            head = text[: at + len(mark)]
            if head.count("`") % 2 == 0 and head.count("**") % 2 == 0:
                return at + len(mark)
            at = text.rfind(mark, 0, at)
    return LONG_PARAGRAPH if len(text) > 4 * LONG_PARAGRAPH else 0
