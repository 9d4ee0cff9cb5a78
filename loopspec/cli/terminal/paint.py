"""Paint: Markdown, diffs and plain text become lines with colours, at a width.

Rules of this file:
1. Text of models and tools is made printable before anything else is done to it, and links stay text:
   nobody's output steers the terminal.
2. A line is at most as wide as asked.
"""

import io
import re
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from loopspec.cli.style import printable_block
from loopspec.cli.terminal.look import Look
from loopspec.views.words import cells

TAB: Final = 4
_THEME: Final = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.code": "cyan",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.block_quote": "dim",
    },
    inherit=True,
)


class _Heading(Heading):
    """A heading at the left: centred ones jump about while they stream."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Code without a frame, indented, so that a long block can be cut where it does not show."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(8, options.max_width - 2)
        if console.no_color or console.color_system is None:
            shown: Any = Text(str(self.text).rstrip("\n"))
        else:
            shown = Syntax(
                str(self.text).rstrip("\n"),
                self.lexer_name,
                theme="ansi_dark",
                word_wrap=True,
                background_color="default",
            )
        for line in console.render_lines(shown, options.update(width=width), pad=False):
            yield Segment("  ")
            yield from line
            yield Segment("\n")


class _Markdown(Markdown):
    """Markdown as this terminal shows it."""

    elements = {**Markdown.elements, "heading_open": _Heading, "fence": _Code, "code_block": _Code}


class _Safe:
    """What another renderable gives, made printable again: Markdown decodes `&#27;` into an escape."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.shown, options):
            yield Segment(printable_block(segment.text), segment.style)


def markdown(text: str, width: int, look: Look) -> list[str]:
    """Lines of a Markdown block."""
    safe = printable_block(text)
    shown = _Markdown(safe, code_theme="ansi_dark", hyperlinks=False)
    return _lines(_Safe(shown), width, look)


def plain(text: str, width: int, look: Look, *, dim: bool = False, mark: str = "") -> list[str]:
    """Lines of a text as it is, wrapped at `width`, each behind `mark`."""
    style, room = look.style, max(4, width - cells(mark))
    out: list[str] = []
    for line in printable_block(text).split("\n"):
        for part in _pieces(line, room):
            out.append(look.plain(style.dim(mark + part) if dim else mark + part))
    return out


def diff(text: str, width: int, look: Look, most: int) -> list[str]:
    """Lines of a diff (or of any preview), coloured by their first character; at most `most`."""
    style = look.style
    lines = printable_block(text).split("\n")
    hidden = len(lines) - most
    out: list[str] = []
    for line in lines[:most] if hidden > 1 else lines:
        paint = style.plain
        if line.startswith(("+++", "---", "@@")):
            paint = style.dim
        elif line.startswith("+"):
            paint = style.good
        elif line.startswith("-"):
            paint = style.bad
        out += [look.plain(paint(part)) for part in _pieces(line, max(4, width))]
    if hidden > 1:
        out.append(style.dim(look.plain(f"… {hidden} more lines")))
    return out


def clip(line: str, width: int) -> str:
    """A line (with colours) cut to `width` columns."""
    if cells(_BARE.sub("", line)) <= width:
        return line
    out, used = "", 0
    for part in _SPLIT.split(line):
        if _BARE.fullmatch(part):
            out += part
            continue
        for char in part:
            size = cells(char)
            if used + size > width:
                return out + ("\x1b[0m" if "\x1b[" in out else "")
            out += char
            used += size
    return out


_BARE: Final = re.compile(r"\x1b\[[0-9;]*m")
_SPLIT: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def bare(line: str) -> str:
    """A line without its colours."""
    return _BARE.sub("", line)


def _pieces(line: str, width: int) -> list[str]:
    """A printable line in pieces of at most `width` columns, broken at spaces where there are some."""
    out: list[str] = []
    while cells(line) > width:
        at, used = 0, 0
        while at < len(line) and used + cells(line[at]) <= width:
            used += cells(line[at])
            at += 1
        space = line.rfind(" ", at * 2 // 3, at + 1)
        cut = space if space > 0 else max(1, at)
        out.append(line[:cut])
        line = line[cut:].removeprefix(" ")
    return [*out, line]


def _lines(shown: Any, width: int, look: Look) -> list[str]:
    """Render with rich."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(8, width),
        height=200,
        force_terminal=True,
        force_interactive=False,
        color_system="256" if look.color else None,
        no_color=not look.color,
        legacy_windows=False,
        emoji=False,
        highlight=False,
        markup=False,
        theme=_THEME,
        safe_box=True,
        _environ={},
    )
    console.print(shown, end="")
    lines = [line.rstrip() for line in out.getvalue().split("\n")]
    while lines and not bare(lines[0]).strip():
        lines.pop(0)
    while lines and not bare(lines[-1]).strip():
        lines.pop()
    return [look.plain(line) for line in lines]
