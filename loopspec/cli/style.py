"""Style: the few colours the plain terminal uses; none where they are not wanted."""

import click

from loopspec.views.words import printable

_ANY_WIDTH = 1 << 30


def printable_block(text: str) -> str:
    """A text of many lines, safe to print: line ends stay, tabs become spaces, the rest is shown."""
    lines = (line.rstrip("\r").expandtabs(4) for line in text.split("\n"))
    return "\n".join(printable(line, _ANY_WIDTH) for line in lines)


class Style:
    """Colours, or nothing."""

    def __init__(self, color: bool) -> None:
        """`color`: whether to use escape codes at all."""
        self.color = color

    def _do(self, text: str, **style: bool | str) -> str:
        """Style a text if colours are wanted."""
        return click.style(text, **style) if self.color else text  # type: ignore[arg-type]

    def plain(self, text: str) -> str:
        """The text as it is."""
        return text

    def dim(self, text: str) -> str:
        """For what is said beside the matter."""
        return self._do(text, dim=True)

    def strong(self, text: str) -> str:
        """For what asks."""
        return self._do(text, bold=True)

    def good(self, text: str) -> str:
        """For what went well."""
        return self._do(text, fg="green")

    def warn(self, text: str) -> str:
        """For what needs a look."""
        return self._do(text, fg="yellow")

    def bad(self, text: str) -> str:
        """For what failed."""
        return self._do(text, fg="red")
