"""Look: what the terminal at hand can show: colours or none, unicode marks or plain ASCII ones."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from loopspec.cli.style import Style

_ASCII: Final = str.maketrans(
    {
        **{"•": "*", "»": ">", "✓": "+", "✗": "x", "⏱": "!", "…": "...", "·": "-", "→": "->"},
        **{"┌": "+", "└": "+", "│": "|", "┊": "|", "≥": ">=", "—": "-", "–": "-", "µ": "u"},
        **{"─": "-", "━": "=", "═": "=", "╴": "-", "╶": "-", "▌": "|", "⋯": "..."},
        **{"’": "'", "‘": "'", "“": '"', "”": '"', "☐": "[ ]", "☑": "[x]", "↑": "up"},
    }
)
_SPIN: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SPIN_ASCII: Final = "|/-\\"


@dataclass(frozen=True)
class Look:
    """How to write: `color` says whether escape codes for colours are wanted, `ascii` whether only
    ASCII can be shown."""

    color: bool = True
    ascii: bool = False

    @property
    def style(self) -> Style:
        """The few styles of plain lines."""
        return Style(self.color)

    def plain(self, text: str) -> str:
        """`text` with marks this terminal can show."""
        if not self.ascii or text.isascii():
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode()

    def spinner(self, beat: int) -> str:
        """The mark that turns while something works; `beat` counts its steps."""
        marks = _SPIN_ASCII if self.ascii else _SPIN
        return marks[beat % len(marks)]


def look_of(environ: Mapping[str, str], encoding: str | None) -> Look:
    """The look for an environment and the encoding of standard output.

    Python turns the locale C into UTF-8 for itself, and says so in LC_CTYPE; the terminal knows
    nothing of that. So a C that stands in LANG or LC_ALL counts, one that is left out does not.
    """
    named = environ.get("LC_ALL") or environ.get("LANG") or ""
    utf = (encoding or "ascii").lower().replace("-", "").replace("_", "") in ("utf8", "cp65001")
    plain = not utf or named in ("C", "POSIX")
    color = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Look(color=color, ascii=plain)


def look_here() -> Look:
    """The look of this process's terminal."""
    return look_of(os.environ, getattr(sys.stdout, "encoding", None))
