"""Source: YAML text becomes a tree of nodes that know their places. The only importer of yaml.

Rules of this file:
1. Nothing of yaml's own construction is used: the tree is built from its events, in one pass and
   without recursion, so neither nesting nor aliases can exhaust anything.
2. Keys are text, always; duplicates, anchors, aliases, tags and further documents are refused.
3. Whatever the bytes are, the answer is a tree or diagnostics, never another exception.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from loopspec.spec.diagnose import (
    LINE_BREAK,
    Diagnostic,
    Diagnostics,
    SourceError,
    quote,
)
from loopspec.spec.literals import Scalar, scalar
from loopspec.spec.slips import slip

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CORE_TAG: Final = "tag:yaml.org,2002:"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Place:
    """A 1-based place in the source."""

    line: int
    col: int


@dataclass(frozen=True)
class Node:
    """A value. `kind` is `scalar`, `list` or `map`; line and column are where it begins.

    A scalar has its `text`, and `plain` says that it was written without quotes. `entries` are a
    map's keys in document order, each with its own place.

    How it was written does not count when nodes are compared: it stands at `start` to `end`, as
    offsets into the text read (a block collection ends where the next thing begins); `style` is
    `flow` or `block` for a collection, the quote (`'`, `"`) or sign (`|`, `>`) of a scalar.
    """

    kind: str
    line: int
    col: int
    text: str = ""
    plain: bool = False
    items: "tuple[Node, ...]" = ()
    entries: "tuple[Entry, ...]" = ()
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    style: str = field(default="", compare=False)

    def get(self, key: str) -> "Node | None":
        """The value under a key of a map, None when there is no such key."""
        entry = self.entry(key)
        return entry.value if entry else None

    def entry(self, key: str) -> "Entry | None":
        """The key of a map with its place, None when there is none."""
        return next((e for e in self.entries if e.key == key), None)

    @property
    def value(self) -> Scalar:
        """What the scalar means by itself: text, number, truth value or None."""
        return scalar(self.text, self.plain)

    @property
    def empty(self) -> bool:
        """Whether nothing stands here (an empty value, `~` or `null`)."""
        return self.kind == "scalar" and self.value is None


@dataclass(frozen=True)
class Entry:
    """A key of a map, where it stands, and its value. `name` is the key as it was written."""

    key: str
    line: int
    col: int
    value: Node
    name: Node = field(default_factory=lambda: Node("scalar", 0, 0), compare=False)


@dataclass(frozen=True)
class Read:
    """What reading gave: a tree (None when there is none), the faults, and the text itself."""

    node: Node | None
    diagnostics: list[Diagnostic]
    source: str = ""


@dataclass
class _Open:
    """A list or map whose end has not been seen; `key` waits for its value."""

    kind: str
    line: int
    col: int
    start: int
    style: str
    items: list[Node] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    seen: dict[str, Place] = field(default_factory=dict)
    key: Node | None = None
    text: bool = False

    def close(self, end: int) -> Node:
        """The collection, now complete; `text`: it was meant as one, and is read as a text of nothing."""
        if self.text:
            return Node("scalar", self.line, self.col, start=self.start, end=end)
        where = (self.kind, self.line, self.col, "", False)
        return Node(*where, tuple(self.items), tuple(self.entries), self.start, end, self.style)


def read(path: Path) -> Node:
    """The tree of a YAML file; raises `SourceError` with every fault."""
    return _tree(scan(path))


def read_text(text: str, name: str) -> Node:
    """The tree of YAML text, called `name` in messages; raises `SourceError` with every fault."""
    return _tree(scan_text(text, name))


def load_plain(path: Path) -> Any:
    """The plain data of a YAML file: dicts, lists, text, int, float, bool and None.

    As strict as for specs. Raises `SourceError`, which names file, line and column.
    """
    return plain(read(path))


def plain(node: Node) -> Any:
    """The plain data of a tree."""
    if node.kind == "map":
        return {entry.key: plain(entry.value) for entry in node.entries}
    if node.kind == "list":
        return [plain(item) for item in node.items]
    return node.value


def scan(path: Path, name: str = "") -> Read:
    """Read a file, called `name` (or its path) in messages; never raises for what is in it."""
    name = name or str(path)
    found = Diagnostics(name)
    data = _bytes(path, found)
    return Read(None, found.sorted()) if data is None else scan_bytes(data, name)


def scan_bytes(data: bytes, name: str) -> Read:
    """Read the bytes of a file, called `name` in messages; never raises for what is in them."""
    found = Diagnostics(name)
    if len(data) > MAX_BYTES:
        _too_large(found)
        return Read(None, found.sorted())
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace").removeprefix("\ufeff")
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        fault = "the file is UTF-16, not UTF-8" if wide else "this byte is not UTF-8"
        at = None if wide else _place(before, len(before))
        found.add("LS003", at, fault, "save the file as UTF-8")
        return Read(None, found.sorted(), data.decode("utf-8", "replace").removeprefix("\ufeff"))
    return scan_text(text, name)


def scan_text(text: str, name: str) -> Read:
    """Read text; never raises for what is in it. A tree may come together with faults."""
    found = Diagnostics(name)
    text = text.removeprefix("\ufeff")
    node = _build(text, found) if _readable(text, found) else None
    if node is not None and node.empty and not found.failed:
        found.add("LS013", None, "the document is empty", "begin with `loopspec: 1`")
        node = None
    return Read(node, found.sorted(), text)


def _tree(result: Read) -> Node:
    if result.node is None or result.diagnostics:
        raise SourceError(result.diagnostics)
    return result.node


def _bytes(path: Path, found: Diagnostics) -> bytes | None:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            found.add("LS001", None, f"this is {what}", "name a YAML file")
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        found.add("LS001", None, "there is no such file", "check the path")
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        found.add("LS001", None, f"the file cannot be read: {reason}", "check path and permissions")
        return None
    return data


def _too_large(found: Diagnostics) -> None:
    found.add("LS002", None, f"the file is larger than {MAX_BYTES} bytes", "make it smaller")


def _readable(text: str, found: Diagnostics) -> bool:
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        _too_large(found)
        return False
    for match in _FORBIDDEN.finditer(text):
        fault = f"the character U+{ord(match[0]):04X} is not allowed in YAML"
        remedy = 'remove it, or write an escape such as "\\x1b" between double quotes'
        found.add("LS004", _place(text, match.start()), fault, remedy)
        return False
    return True


def _place(text: str, offset: int) -> Place:
    lines = LINE_BREAK.split(text[:offset])
    return Place(len(lines), len(lines[-1]) + 1)


def _build(text: str, found: Diagnostics) -> Node | None:
    """The tree from yaml's events; None when the document cannot be read to its end."""
    stack: list[_Open] = []
    root: Node | None = None
    documents = 0
    try:
        for event in _events(text):
            at = Place(event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    fault, remedy = "a second document begins here", "keep one document per file"
                    found.add("LS010", at, fault, remedy)
                    return root
                continue
            done = _take(event, at, stack, found)
            if len(stack) > MAX_DEPTH:
                fault = f"nested more than {MAX_DEPTH} levels deep"
                found.add("LS007", at, fault, "make the document flatter")
                return None
            if done is not None:
                root = _attach(done, stack, found) or root
    except yaml.YAMLError as error:
        _syntax(error, text, found)
        return None
    return root or Node("scalar", 1, 1, plain=True)


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_LOADER)


def _take(event: Any, at: Place, stack: list[_Open], found: Diagnostics) -> Node | None:
    """Open or close a collection, or make a scalar; gives the node that is now complete."""
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.CollectionEndEvent):
        return stack.pop().close(end)
    if not isinstance(event, yaml.NodeEvent):
        return None
    if event.anchor is not None:
        what = "an alias" if isinstance(event, yaml.AliasEvent) else "an anchor"
        found.add("LS008", at, f"{what} ({event.anchor}) is not allowed", "write the value out")
    if isinstance(event, yaml.AliasEvent):
        return Node("scalar", at.line, at.col, plain=True)
    tag = getattr(event, "tag", None)
    if tag is not None:
        found.add(
            "LS009",
            at,
            f"the tag {quote(tag.replace(_CORE_TAG, '!!'))} is not allowed",
            "remove the tag",
        )
    if isinstance(event, yaml.ScalarEvent):
        if _SURROGATE.search(event.value):
            found.add("LS004", at, "half of a surrogate pair is no character", "remove the escape")
            return Node("scalar", at.line, at.col)
        style = event.style or ""
        where = ("scalar", at.line, at.col, event.value, not style)
        return Node(*where, start=start, end=end, style=style)
    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
    style = "flow" if getattr(event, "flow_style", False) else "block"
    stack.append(_Open(kind, at.line, at.col, start, style))
    return None


def _attach(node: Node, stack: list[_Open], found: Diagnostics) -> Node | None:
    """Put a complete node into the collection it belongs to; gives it back when it is the root."""
    if not stack:
        return node
    top = stack[-1]
    if top.kind == "list":
        top.items.append(node)
    elif top.key is None:
        top.key = _key(node, top, found)
    else:
        name, key, at = top.key, top.key.text, Place(top.key.line, top.key.col)
        top.key = None
        if key == "<<" and node.plain and node.start == node.end:
            pass  # an alias that has been reported
        elif key in top.seen:
            first = top.seen[key]
            fault = f"the key {quote(key)} stands here twice, first in line {first.line}"
            found.add("LS011", at, fault, "remove or rename one of them")
        else:
            top.seen[key] = at
            top.entries.append(Entry(key, at.line, at.col, node, name))
    return None


def _key(node: Node, top: _Open, found: Diagnostics) -> Node:
    doubled = node.kind == "map" and node.style == top.style == "flow" and node.start == top.start + 1
    if doubled and all(entry.value.empty for entry in node.entries):
        top.text = True
        fault = "a text that begins with `{{` must stand between quotes"
        found.add("LS012", top, fault, 'write it as "{{ … }}"')
    elif node.kind != "scalar" or (node.plain and not node.text):
        what = f"a {node.kind}" if node.kind != "scalar" else "nothing"
        remedy = "write a name; put a text that begins with { or [ between quotes"
        found.add("LS012", node, f"a key must be text, here stands {what}", remedy)
    return node


def _syntax(error: Exception, text: str, found: Diagnostics) -> None:
    """Say a YAML error in our words where the usual slips are known."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        found.add("LS005", None, f"the YAML does not parse: {quote(str(error))}", "correct it")
        return
    lines = LINE_BREAK.split(text)
    at = Place(min(mark.line + 1, len(lines)), mark.column + 1)
    line = lines[at.line - 1]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent:
        tab = Place(at.line, indent.index("\t") + 1)
        found.add("LS006", tab, "a tab stands in the indentation", "indent with spaces")
        return
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    opened = getattr(error, "context_mark", None)
    before, here = line[: mark.column].strip(), line[mark.column : mark.column + 1]
    if opened is not None and ("flow" in context or "an a" in context or "unexpected end" in problem):
        if "flow" in context and opened.line == mark.line and here:
            context = f"{context} {here}"
        else:
            at = Place(opened.line + 1, opened.column + 1)
    elif here in ("}", "]") and "block" in context:
        context = here
    elif "mapping values" in problem and not re.search("[:{[]", before):
        problem = "indentation"  # the `:` is that of the line's own key
    fault, remedy = slip(problem, context)
    found.add("LS005", at, fault, remedy)
