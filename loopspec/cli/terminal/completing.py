"""Completing: Tab fills in what is sure and lists what is not."""

from collections.abc import Sequence
from typing import Final

from loopspec.cli.slash.desk import Completion
from loopspec.cli.terminal.screen import Screen
from loopspec.cli.terminal.slashes import Slashes
from loopspec.views.words import printable

SHOWN: Final = 8


class Completing:
    """The list of completions, open or not."""

    def __init__(self, screen: Screen, slashes: Slashes) -> None:
        """`slashes` knows what may come."""
        self._screen, self._slashes = screen, slashes
        self._found: Sequence[Completion] = ()
        screen.line.on_text_changed += self._changed

    def resized(self, width: int) -> None:
        """The terminal has another width."""
        self._slashes.resized(width)

    def _changed(self, _: object) -> None:
        self._found = ()

    def clear(self) -> bool:
        """Close the list; whether it was open."""
        was, self._found = bool(self._found), ()
        return was

    def complete(self) -> None:
        """Fill in the longest beginning all completions share; list them when nothing is added."""
        buffer = self._screen.line
        before = buffer.document.text_before_cursor
        found = self._slashes.complete(before)
        if not found:
            return
        back = min(found[0].back, len(before))
        same = [c for c in found if c.back == found[0].back]
        shared = _shared([c.text for c in same])
        typed = before[len(before) - back :]
        if shared != typed and len(shared) >= len(typed):
            buffer.delete_before_cursor(back)
            buffer.insert_text(shared)
            if len(same) == 1:
                return
        self._found = same if len(same) > 1 else ()

    def lines(self, width: int) -> list[str]:
        """The list, as lines."""
        out = [
            printable(f"  {c.text}" + (f"  {c.note}" if c.note else ""), width)
            for c in self._found[:SHOWN]
        ]
        if len(self._found) > SHOWN:
            out.append(f"  and {len(self._found) - SHOWN} more")
        return out


def _shared(texts: list[str]) -> str:
    """The longest beginning of all of them."""
    low, high = min(texts), max(texts)
    at = next((n for n, char in enumerate(low) if high[n] != char), len(low))
    return low[:at]
