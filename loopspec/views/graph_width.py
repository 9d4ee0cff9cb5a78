"""Widths: how much room a text takes in a picture, without knowing the font that will be used.

Rules of this file:
1. A width is never too small for the common sans fonts (the wider of DejaVu Sans and the Arial family,
   rounded up), so that what fits by this table is neither clipped nor overlapped.
2. Whole pixels and thousandths of the font's size only: the same text always has the same width.
"""

import unicodedata
from typing import Final

from loopspec.views.graph import plain
from loopspec.views.words import ELLIPSIS

_GROUPS: Final = {
    280: "'ijl",
    300: "I",
    320: " ,.",
    340: "/:;\\|",
    360: "f",
    380: "-",
    400: "()[]t",
    420: "!r",
    460: '"',
    500: "*J`",
    540: "sz",
    560: "?L_c",
    580: "k",
    600: "vxy",
    620: "FTaeo",
    640: "$0123456789bdghnpqu{}",
    680: "EKPSY",
    700: "ABVXZ",
    740: "CRU",
    760: "HN",
    780: "&DG",
    800: "OQ",
    820: "w",
    840: "#+<=>^~",
    880: "M",
    960: "%",
    980: "m",
    1000: "W",
    1020: "@",
}
_WIDTHS: Final = {char: width for width, chars in _GROUPS.items() for char in chars}
_BOLDER: Final = 120
"""How much wider a bold character may be."""
_OTHER: Final = 1000
_WIDE: Final = 1100
_PICTURE: Final = 1400
"""Emoji and other pictographs."""
_LONGEST: Final = 400
"""Columns of the longest text worth measuring; a picture has no room for more."""


def width(text: str, size: int, *, bold: bool = False) -> int:
    """The most pixels a printable text takes at a font size of `size` pixels."""
    more = _BOLDER if bold else 0
    return -(-sum(_char(char) + more for char in text) * size // 1000)


def fit(text: str, room: int, size: int, *, bold: bool = False) -> str:
    """A text on one line, safe to show, in at most `room` pixels; what is cut ends with `…`."""
    shown = plain(text, _LONGEST)
    if width(shown, size, bold=bold) <= room:
        return shown
    left = room - width(ELLIPSIS, size, bold=bold)
    kept = ""
    for char in shown:
        left -= width(char, size, bold=bold)
        if left < 0:
            break
        kept += char
    return kept.rstrip() + ELLIPSIS


def split(text: str, room: int, size: int) -> tuple[str, str]:
    """A printable text in two parts: what fits into `room` pixels, up to a space, and the rest of it.

    Without a space that fits, the first part is cut with `…` and there is no rest.
    """
    if width(text, size) <= room:
        return text, ""
    left, at = room, 0
    for n, char in enumerate(text):
        left -= width(char, size)
        if left < 0:
            break
        if char == " ":
            at = n
    return (text[:at].rstrip(), text[at + 1 :]) if at > 2 else (fit(text, room, size), "")


def _char(char: str) -> int:
    """The width of a character in thousandths of the font's size."""
    known = _WIDTHS.get(char)
    if known is not None:
        return known
    if ord(char) >= 0x1F000:
        return _PICTURE
    return _WIDE if unicodedata.east_asian_width(char) in "WF" else _OTHER
