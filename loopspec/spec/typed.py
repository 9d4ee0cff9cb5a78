"""Typed: durations, sizes and money in the configuration of plugins' kinds and tools.

A plugin's JSON Schema says `{"type": "string", "format": "duration"}` (or `size`, `usd`). The spec then
holds the literal of the language (`90s`, `64KB`, `2.50`), and the plugin gets a whole number.

Rules of this file:
1. Units are those of the whole language: microseconds, bytes, nano-USD; no float takes part.
2. Formats are followed through `properties`, `items` and `additionalProperties`; in other words of a
   schema (`anyOf`, `$ref`…) a literal stays the text it is.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from loopspec.machine.named import MARKS, is_mark, within
from loopspec.spec import literals
from loopspec.spec.source import Node, plain

FORMATS: Final[Mapping[str, Callable[[str], int | None]]] = {
    "duration": literals.duration,
    "size": literals.size,
    "usd": literals.usd,
}
CODES: Final = {"duration": "LS105", "size": "LS114", "usd": "LS107"}
WORDS: Final = {
    "duration": ("a duration", "write such as 90s; units are ms, s, m, h, d"),
    "size": ("a size", "write such as 4096, 64KB, 10MB or 1GiB"),
    "usd": ("an amount of USD", "write a decimal with at most nine places, such as 3.00"),
}
_PATTERNS: Final = {
    "duration": f"^{literals.DURATION}$",
    "size": f"^{literals.SIZE}$",
    "usd": f"^{literals.DECIMAL}$",
}


def written(node: Node, schema: Mapping[str, Any]) -> Any:
    """The plain data of a tree, in which typed literals are texts however they look (`3.00`)."""
    return _walk(node, schema, lambda text, _: text)


def meant(node: Node, schema: Mapping[str, Any]) -> Any:
    """The plain data of a tree, in which typed literals are whole numbers; unreadable ones stay texts."""

    def number(text: str, form: str) -> Any:
        value = FORMATS[form](text)
        return text if value is None else value

    return _walk(node, schema, number)


def editable(schema: Any) -> Any:
    """A schema for editors: formats of ours become patterns, and numbers may stand without quotes."""
    if isinstance(schema, list):
        return [editable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if any(is_mark(schema, form) for form in MARKS):  # strict editors refuse formats they do not know
        return {key: part for key, part in schema.items() if key != "format"}
    form = str(schema.get("format"))
    if form not in FORMATS or schema.get("type") != "string":
        return {key: editable(part) for key, part in schema.items()}
    rest = {key: part for key, part in schema.items() if key != "format"}
    if form == "duration":
        return rest | {"pattern": _PATTERNS[form]}
    number = {"type": "number" if form == "usd" else "integer", "minimum": 0}
    text = {"type": "string", "pattern": _PATTERNS[form]}
    return {key: part for key, part in rest.items() if key != "type"} | {"anyOf": [number, text]}


def marked(node: Node, schema: Any, form: str) -> Iterator[Node]:
    """The texts of a tree that the schema marks with this format."""
    if node.kind == "scalar":
        if is_mark(schema, form) and not node.empty:
            yield node
        return
    for item in node.items:
        yield from marked(item, within(schema, 0), form)
    for entry in node.entries:
        yield from marked(entry.value, within(schema, entry.key), form)


def _walk(node: Node, schema: Any, literal: Callable[[str, str], Any]) -> Any:
    if not isinstance(schema, Mapping):
        return plain(node)
    form = schema.get("format")
    if node.kind == "scalar":
        ours = form in FORMATS and schema.get("type") == "string" and not node.empty
        return literal(node.text, str(form)) if ours else node.value
    if node.kind == "list":
        return [_walk(item, schema.get("items"), literal) for item in node.items]
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    other = schema.get("additionalProperties")
    return {e.key: _walk(e.value, known.get(e.key, other), literal) for e in node.entries}
