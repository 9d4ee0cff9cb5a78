"""Printing: a tree with its comments becomes text in the one layout. For `fmt`.

Rules of this file:
1. Two spaces per level, lists further in than their key. What was written in brackets stays so if it
   fits in `WIDTH` columns; what was written in lines stays in lines.
2. At most one empty line in a row, none at the beginning of a block; in a spec the sections stand
   apart.
3. Comments behind something stand two spaces from it (one from a dash); those that stood in a
   column, in lines that follow each other, stand in a column again.
"""

from dataclasses import dataclass
from typing import Final

from loopspec.spec.comments import Document, Remark, Side, Unit
from loopspec.spec.fmt_scalars import flow_text, keeps, key_text, marks, scalar_lines
from loopspec.spec.source import Node

WIDTH: Final = 100
STEP: Final = 2
_BEFORE_STATES: Final = "initial"


@dataclass
class _Line:
    """A line and the comment behind it."""

    text: str
    side: Side | None = None

    @property
    def bare(self) -> bool:
        """Whether there are only dashes: one space separates them from a comment."""
        return not self.text.strip(" -")


def print_document(text: str, document: Document, *, spec: bool) -> str:
    """The laid-out text of a document read from `text`; `spec`: its sections stand apart."""
    return _Printer(text).document(document, spec)


class _Printer:
    """Writes lines. `_begun`: the next line begins a block; `_kept`: empty lines would be content."""

    def __init__(self, text: str) -> None:
        """`text` is what was read; scalars are taken from it."""
        self._text = text
        self._lines: list[_Line] = []
        self._dashes = ""
        self._begun = True
        self._kept = False
        self._flat: dict[int, str | None] = {}

    def document(self, document: Document, spec: bool) -> str:
        """Everything, from what stands before `---` to the comments at the end."""
        for line in document.prolog:
            self._put(0, line)
        self._remarks(document.top, 0)
        if document.blank and document.top:
            self._gap()
        root = document.root
        if self._is_block(root, 0):
            self._settle(root, top=True)
            if spec:
                self._sections(root)
            self._children(root, 0)
        else:
            self._inline(root, "", 0)
        self._remarks(document.end, 0)
        return "".join(_ended(line) for line in _aligned(self._lines))

    def _put(self, indent: int, text: str, side: Side | None = None) -> None:
        self._lines.append(_Line((self._dashes or " " * indent) + text, side))
        self._dashes = ""
        self._begun = self._kept = False

    def _gap(self) -> None:
        """An empty line, unless there is one or it would mean something."""
        if not self._begun and not self._kept and self._lines[-1].text.strip():
            self._lines.append(_Line(""))

    def _remarks(self, remarks: tuple[Remark, ...] | list[Remark], indent: int) -> None:
        for remark in remarks:
            if remark.blank:
                self._gap()
            self._put(indent, remark.text)

    def _is_block(self, unit: Unit, used: int) -> bool:
        """Whether a value is written in lines, if `used` columns stand before it."""
        if unit.value.style == "block":
            return True
        if unit.value.style != "flow" or not unit.children:
            return False
        flat = self._on_one_line(unit)
        return unit.spread or flat is None or used + len(flat) > WIDTH

    def _on_one_line(self, unit: Unit) -> str | None:
        """A value in brackets, or a scalar; None when it cannot stand on one line."""
        if unit.value.kind == "scalar":
            return flow_text(self._text, unit.value)
        if id(unit) not in self._flat:
            self._flat[id(unit)] = self._brackets(unit)
        return self._flat[id(unit)]

    def _brackets(self, unit: Unit) -> str | None:
        parts: list[str] = []
        for child in unit.children:
            value = self._on_one_line(child)
            key = key_text(self._text, child.key) if child.key is not None else ""
            if value is None or key is None:
                return None
            pair = [key, value] if value or key.endswith(":") else [key]
            parts.append(": ".join(pair) if child.key is not None else value)
        words = ", ".join(parts)
        return f"{{{words}}}" if unit.value.kind == "map" else f"[{words}]"

    def _settle(self, unit: Unit, *, top: bool = False) -> None:
        """Move the comments that have no place when a value in brackets is written in lines."""
        if unit.value.style != "flow":
            return
        if unit.tail is not None and (top or unit.head is not None):
            unit.end.append(Remark(unit.tail.text))
        elif unit.tail is not None:
            unit.head = unit.tail
        unit.tail = None
        unit.children[0].lead[:0] = unit.inner
        unit.inner = []

    def _lift(self, unit: Unit, indent: int) -> None:
        """Put the comments before an item's first key before the item: its dash shares the line."""
        if unit.key is not None or not self._is_block(unit, indent + STEP):
            return
        self._settle(unit)
        first = unit.children[0]
        self._lift(first, indent + STEP)
        if unit.head is None and first.lead:
            first.lead[0] = Remark(first.lead[0].text, first.lead[0].blank or unit.blank)
            unit.lead += first.lead
            unit.blank = first.blank
            first.lead = []

    def _children(self, unit: Unit, indent: int) -> None:
        for child in unit.children:
            self._lift(child, indent)
            self._remarks(child.lead, indent)
            if child.blank:
                self._gap()
            self._unit(child, indent)
        self._remarks(unit.end, indent)

    def _unit(self, unit: Unit, indent: int) -> None:
        """An entry or an item."""
        prefix = "-" if unit.key is None else self._key(unit, unit.key, indent)
        if not self._is_block(unit, indent + len(prefix) + 1):
            self._inline(unit, prefix, indent)
            return
        self._settle(unit)
        if unit.key is None and unit.head is None:
            self._dashes = (self._dashes or " " * indent) + "- "
        else:
            self._put(indent, prefix, unit.head)
        self._begun = True
        self._children(unit, indent + STEP)

    def _key(self, unit: Unit, name: Node, indent: int) -> str:
        """The key with its colon; a key that needs a line of its own is written before."""
        key = key_text(self._text, name)
        if key is not None:
            return f"{key}:"
        lines = scalar_lines(self._text, name, unit.column, indent)
        self._put(indent, f"? {lines[0]}")
        for line in lines[1:]:
            self._put(0, line)
        return ":"

    def _inline(self, unit: Unit, prefix: str, indent: int) -> None:
        """A value that begins on the line of its key or dash, or below comments."""
        if unit.nothing:
            self._put(indent, prefix, unit.tail)
            self._begun = True
            self._remarks(unit.inner, indent + STEP)
            self._begun = False
            return
        at = indent
        if unit.head is not None or unit.inner:
            if prefix:
                self._put(indent, prefix, unit.head)
                at = indent + STEP
            self._begun = True
            self._remarks(unit.inner, at)
            prefix = ""
        elif not prefix and unit.value.plain and marks(self._text, unit.value):
            at = STEP
        flat = self._on_one_line(unit)
        if unit.value.kind == "scalar":
            lines = scalar_lines(self._text, unit.value, unit.column, indent)
        else:
            lines = [flat or ""]
        block = unit.value.style in {"|", ">"}
        first = lines[0] if not prefix else f"{prefix} {lines[0]}"
        self._put(at, first, unit.tail if block or len(lines) == 1 else None)
        for number, line in enumerate(lines[1:], 2):
            self._put(0, line, unit.tail if number == len(lines) and not block else None)
        self._kept = unit.value.kind == "scalar" and keeps(self._text, unit.value)

    def _sections(self, root: Unit) -> None:
        """An empty line before and after each part of a spec that is written in lines."""
        units = root.children
        parts = [self._is_section(unit) for unit in units]
        for n in range(1, len(units)):
            key = units[n].key
            before = units[n - 1].key
            heads = key is not None and key.text == _BEFORE_STATES and parts[n + 1 : n + 2] == [True]
            headed = before is not None and before.text == _BEFORE_STATES
            if (parts[n] and not headed) or parts[n - 1] or heads:
                _apart(units[n])

    def _is_section(self, unit: Unit) -> bool:
        used = len(self._text[unit.start : unit.key.end]) + 2 if unit.key is not None else 0
        return self._is_block(unit, used)


def _apart(unit: Unit) -> None:
    """Have an empty line before a unit and the comments that belong to it."""
    if unit.lead:
        unit.lead[0] = Remark(unit.lead[0].text, True)
    else:
        unit.blank = True


def _aligned(lines: list[_Line]) -> list[str]:
    """The lines with their comments."""
    done: list[str] = []
    at = 0
    while at < len(lines):
        after = at + 1
        while after < len(lines) and _in_column(lines[at], lines[after]):
            after += 1
        width = max(len(line.text) for line in lines[at:after])
        for line in lines[at:after]:
            gap = " " * (1 if line.bare else width - len(line.text) + 2)
            done.append(line.text if line.side is None else line.text + gap + line.side.text)
        at = after
    return done


def _in_column(line: _Line, other: _Line) -> bool:
    """Whether the comments behind two lines stood in one column."""
    if line.side is None or other.side is None or line.bare or other.bare:
        return False
    return line.side.col == other.side.col


def _ended(line: str) -> str:
    return line if line.endswith(("\u2028", "\u2029")) else line + "\n"
