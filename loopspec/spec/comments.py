"""Comments: a tree of nodes together with the comments and blank lines that stand around them.

Rules of this file:
1. Every comment of the text gets exactly one place in the tree; none is lost, none stands twice.
2. A comment on a line of its own belongs to what follows it in its block; the columns of the
   comment and of the blocks that may end there decide which block that is. The comments at the
   top belong to the file.
3. A comment behind something belongs to it, whatever is moved.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from loopspec.spec.diagnose import LINE_BREAK
from loopspec.spec.source import Node

_ENDS: Final = "\r\n\x85\u2028\u2029"
_MARK: Final = re.compile(f"#[^{_ENDS}]*|-")
_HEADER: Final = re.compile(f"[|>][0-9+-]*[ \t]*(#[^{_ENDS}]*)?")
_INSIDE_FLOW: Final = 1 << 30


@dataclass(frozen=True)
class Comment:
    """A comment as it stands in the text; `own`: nothing but space stands before it on its line."""

    start: int
    text: str
    col: int
    own: bool
    blank: bool


@dataclass(frozen=True)
class Remark:
    """A comment for a line of its own; `blank`: an empty line stands before it."""

    text: str
    blank: bool = False


@dataclass(frozen=True)
class Side:
    """A comment behind something, and the column where it stood."""

    text: str
    col: int


@dataclass
class Unit:
    """An entry of a map (with its `key`), an item of a list, or the document's value.

    `lead` stands before it, `head` behind its key or dash when the value begins further down,
    `inner` between key and value, `tail` behind the value, `end` after the last of the children.
    `blank`: an empty line stands before it (and after `lead`). `column` is the column, in the text
    read, of the block it stands in. `spread`: comments inside do not let it stay on one line.
    """

    key: Node | None
    value: Node
    column: int = 0
    lead: list[Remark] = field(default_factory=list)
    blank: bool = False
    head: Side | None = None
    inner: list[Remark] = field(default_factory=list)
    tail: Side | None = None
    children: "list[Unit]" = field(default_factory=list)
    end: list[Remark] = field(default_factory=list)
    spread: bool = False

    @property
    def start(self) -> int:
        """Where its key or, in a list, its value begins."""
        return self.value.start if self.key is None else self.key.start

    @property
    def nothing(self) -> bool:
        """Whether nothing is written where the value would stand."""
        return self.value.kind == "scalar" and self.value.start == self.value.end


@dataclass(frozen=True)
class Document:
    """A text with its comments: what stands before `---`, the comments at the top, the value, and
    the comments after it. `blank`: an empty line stands between the top and the value."""

    prolog: tuple[str, ...]
    top: tuple[Remark, ...]
    blank: bool
    root: Unit
    end: tuple[Remark, ...]


def attach(text: str, root: Node) -> Document:
    """The tree of a text that was read without faults, with every comment in its place."""
    return _Attach(text, root).document()


def comment_texts(text: str, root: Node) -> list[str]:
    """The texts of all comments, in document order."""
    before, end = _prolog(text)
    return [line for line in before if line.startswith("#")] + [
        comment.text for comment in _Marks(text, root, end).comments
    ]


def _prolog(text: str) -> tuple[tuple[str, ...], int]:
    """The lines up to `---` without empty ones, and where the text goes on behind it."""
    lines: list[str] = []
    at = 0
    for line in LINE_BREAK.split(text):
        if line.startswith("---") and line[3:4] in {"", " ", "\t"}:
            return (*lines, "---"), at + 3
        if line.strip(" \t") and not line.lstrip(" \t").startswith(("#", "%")):
            break
        if line.strip(" \t"):
            lines.append(line.strip(" \t"))
        found = LINE_BREAK.match(text, at + len(line))
        at += len(line) + (len(found[0]) if found else 0)
    return (), 0


class _Marks:
    """Where comments and dashes stand: in what lies between the scalars."""

    def __init__(self, text: str, root: Node, start: int) -> None:
        """Look through `text` from `start`."""
        self._text = text
        self._lines = [0, *(found.end() for found in LINE_BREAK.finditer(text))]
        self.comments: list[Comment] = []
        self.dashes: list[int] = []
        at = start
        for node in _scalars(root):
            self._between(at, node.start)
            at = max(node.end, at)
            header = _HEADER.match(text, node.start) if node.style in {"|", ">"} else None
            if header is not None and header[1]:
                self._comment(header.start(1), header[1])
        self._between(at, len(text))

    def _between(self, start: int, end: int) -> None:
        for found in _MARK.finditer(self._text, start, end):
            if found[0] == "-":
                self.dashes.append(found.start())
            else:
                self._comment(found.start(), found[0])

    def _comment(self, start: int, words: str) -> None:
        line = self._lines[bisect_right(self._lines, start) - 1]
        own = not self._text[line:start].strip(" \t")
        blank = own and self.blank(start)
        self.comments.append(Comment(start, words.rstrip(" \t"), start - line, own, blank))

    def blank(self, start: int) -> bool:
        """Whether an empty line stands right before what begins at `start`."""
        at = start
        while at and self._text[at - 1] in " \t\r\n\x85\u2028\u2029":
            at -= 1
        return len(LINE_BREAK.findall(self._text, at, start)) > 1

    def dash(self, start: int) -> int:
        """The dash of the item whose value begins at `start`."""
        return self.dashes[bisect_left(self.dashes, start) - 1]


def _scalars(node: Node) -> Iterator[Node]:
    """Every scalar of a tree, keys among them, in document order."""
    if node.kind == "scalar":
        yield node
    for item in node.items:
        yield from _scalars(item)
    for entry in node.entries:
        yield entry.name
        yield from _scalars(entry.value)


class _Attach:
    """Walks tree and comments side by side; `_next` is the first comment without a place."""

    def __init__(self, text: str, root: Node) -> None:
        """`root` was read from `text`."""
        self._text = text
        self._root = root
        self._prolog, start = _prolog(text)
        self._marks = _Marks(text, root, start)
        self._comments = self._marks.comments
        self._next = 0

    def document(self) -> Document:
        """Give every comment its place."""
        root = self._root
        top = tuple(_remarks(self._top(root)))
        blank = self._marks.blank(root.start) or self._front(root.start) is not None
        unit = Unit(None, root)
        self._value(unit, -1, len(self._text) + 1)
        end = tuple(_remarks(self._until(len(self._text) + 1)))
        return Document(self._prolog, top, blank, unit, end)

    def _top(self, root: Node) -> list[Comment]:
        """The comments about the file: without those that stand right before the first key, apart
        from others above them."""
        taken = self._until(root.start)
        if root.style == "block" and not self._marks.blank(root.start):
            last = max((n for n, comment in enumerate(taken) if n and comment.blank), default=len(taken))
            self._next -= len(taken) - last
            return taken[:last]
        return taken

    def _front(self, limit: int) -> Comment | None:
        """The first comment without a place, if it begins before `limit`."""
        if self._next < len(self._comments) and self._comments[self._next].start < limit:
            return self._comments[self._next]
        return None

    def _until(self, limit: int, *, own: bool = False) -> list[Comment]:
        """Take the comments before `limit`; with `own` up to the first that shares its line."""
        taken: list[Comment] = []
        while (comment := self._front(limit)) is not None and (comment.own or not own):
            taken.append(comment)
            self._next += 1
        return taken

    def _value(self, unit: Unit, column: int, limit: int) -> None:
        """Place the comments from a key or dash to the end of its value."""
        node = unit.value
        if node.style == "block":
            first = self._front(node.start)
            if first is not None and not first.own:
                self._head(unit, [first])
                self._next += 1
            self._block(unit, column, limit)
            return
        self._head(unit, self._until(node.start))
        if node.style == "flow":
            self._flow(unit, top=column < 0)
        for comment in self._until(node.end if node.style in {"|", ">"} else 0):
            unit.tail = Side(comment.text, comment.col)
        if node.style not in {"|", ">"}:
            self._tail(unit, limit)
        if unit.nothing:
            if unit.tail is None:
                unit.tail, unit.head = unit.head, None
            self._body(unit, column, limit)

    def _head(self, unit: Unit, comments: list[Comment]) -> None:
        """The first comment may stand behind the key; the others stand between key and value."""
        if comments and not comments[0].own:
            unit.head = Side(comments[0].text, comments[0].col)
            comments = comments[1:]
        unit.inner = _remarks(comments)

    def _tail(self, unit: Unit, limit: int) -> None:
        comment = self._front(limit)
        if comment and not LINE_BREAK.search(self._text, unit.value.end, comment.start):
            unit.tail = Side(comment.text, comment.col)
            self._next += 1

    def _body(self, unit: Unit, column: int, limit: int) -> None:
        """Comments that stand, further in, where a value would: they are all the body there is."""
        while (comment := self._front(limit)) and comment.own and comment.col > column:
            unit.inner.append(Remark(comment.text, comment.blank and bool(unit.inner)))
            self._next += 1

    def _block(self, unit: Unit, outer: int, limit: int) -> None:
        node = unit.value
        column = node.col - 1
        unit.children = _children(node, column)
        starts = [self._start(child) for child in unit.children]
        for child, start, after in zip(unit.children, starts, [*starts[1:], limit], strict=True):
            self._lead(child, start)
            self._value(child, column, after)
        while (comment := self._front(limit)) is not None:
            at = comment.col if comment.own else 0
            if at < column or at <= outer:
                break
            unit.end += _remarks([comment])
            self._next += 1

    def _lead(self, unit: Unit, start: int) -> None:
        """The comments before an entry or item that begins at `start`. Those on lines of their own
        between a dash and its value stand before the dash."""
        comments = self._until(unit.start, own=unit.key is None)
        unit.lead = _remarks(comments)
        unit.blank = self._marks.blank(start)
        inside = next((n for n, comment in enumerate(comments) if comment.start > start), None)
        if inside is not None:
            first = unit.lead[inside]
            unit.lead[inside] = Remark(first.text, first.blank or unit.blank)
            unit.blank = self._marks.blank(unit.start)

    def _start(self, unit: Unit) -> int:
        """Where an entry or item of a block begins, with its `?` or its dash."""
        if unit.key is None:
            return self._marks.dash(unit.start)
        at = unit.start
        while self._text[at - 1 : at] in {" ", "\t"}:
            at -= 1
        return at - 1 if self._text[at - 1 : at] == "?" else unit.start

    def _flow(self, unit: Unit, *, top: bool) -> None:
        node = unit.value
        first = self._next
        closed = self._text[node.start] in "{["
        unit.children = _children(node, unit.column)
        close = node.end - 1 if closed else node.end
        starts = [child.start for child in unit.children]
        for child, after in zip(unit.children, [*starts[1:], close], strict=False):
            before = self._until(child.start)
            if child is unit.children[0] and before and not (before[0].own or unit.head or top):
                unit.head = Side(before[0].text, before[0].col)
                before = before[1:]
            child.lead = _remarks(before)
            child.blank = self._marks.blank(child.start)
            self._value(child, _INSIDE_FLOW, after)
        last = _remarks(self._until(close))
        unit.spread = bool(unit.children) and self._next > first
        if unit.children:
            unit.end = last
        elif unit.key is not None or unit.head is not None or top:
            unit.inner += last
        elif last:
            unit.lead += [Remark(last[0].text, unit.blank), *last[1:]]
            unit.blank = False


def _children(node: Node, column: int) -> list[Unit]:
    if node.kind == "list":
        return [Unit(None, item, column) for item in node.items]
    return [Unit(entry.name, entry.value, column) for entry in node.entries]


def _remarks(comments: list[Comment]) -> list[Remark]:
    return [Remark(comment.text, comment.blank) for comment in comments]
