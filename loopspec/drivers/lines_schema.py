"""Lines schema: the published JSON Schema of what programs read, made from the line and event classes.

Rules of this file:
1. Nothing is written by hand twice: fields, types, defaults and docstrings come from the classes.
2. The schema is open, as the contract is (rule 2 of `lines`): a line of a later release of version 1
   with one more field or an event not known here is still valid.
3. A field that is always written is required, also when it has a default.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec

from loopspec.drivers.lines import VERSION, Line
from loopspec.events import COMMANDS, FACTS, LIVE, tag_of

ABOUT: Final = (
    "One line of `loopspec run --output-format stream-json`; the only line of `--output-format json` is "
    "a `result`. Within version 1 fields, events, statuses and outcomes may be added; none is taken "
    "away, renamed, or given another type or meaning: pass over what you do not know."
)


def build() -> dict[str, Any]:
    """The schema as plain data."""
    lines = get_args(Line)
    (refs, found) = msgspec.json.schema_components(lines, ref_template="#/$defs/{name}")
    parts = {name: _open(part) for name, part in found.items()}
    _by_name(parts["KeptLine"], [*COMMANDS, *FACTS])
    _by_name(parts["LiveLine"], list(LIVE))
    kinds = [tag_of(line) for line in lines]
    whole = {kind.__name__ for kind in _classes(lines) if not kind.__struct_config__.omit_defaults}
    for name in parts:
        if name in whole:
            parts[name]["required"] = list(parts[name]["properties"])
        if name in {line.__name__ for line in lines}:
            parts[name]["properties"]["v"] = {"const": VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:loopspec:events:{VERSION}",
        "title": f"loopspec events {VERSION}",
        "description": ABOUT,
        "type": "object",
        "required": ["kind", "v"],
        "properties": {"kind": {"enum": kinds}, "v": {"const": VERSION}},
        "allOf": [_if("kind", kind, ref) for kind, ref in zip(kinds, refs, strict=True)],
        "$defs": dict(sorted(parts.items())),
    }


def render() -> str:
    """The schema as the text of its file."""
    return json.dumps(build(), ensure_ascii=False, indent=2) + "\n"


def _classes(of: Iterable[Any]) -> set[Any]:
    """The struct classes that some types are made of, and those their fields are made of."""
    found: set[Any] = set()
    waiting = list(of)
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            if one not in found:
                found.add(one)
                waiting += [f.type for f in msgspec.structs.fields(one)]
        else:
            waiting += get_args(one)
    return found


def _by_name(line: dict[str, Any], events: list[type]) -> None:
    """The event of a line by its type, so that a fault is told for the event it is in."""
    line["properties"]["event"] = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string"}},
        "allOf": [
            _if("type", tag_of(kind), {"$ref": f"#/$defs/{kind.__name__}"}) for kind in events
        ],
    }


def _if(key: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    """`then` holds for objects whose `key` is `value`."""
    return {"if": {"properties": {key: {"const": value}}}, "then": then}


def _open(part: Any) -> Any:
    """A part that takes fields it does not know, its texts without the line ends of the source."""
    if isinstance(part, list):
        return [_open(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {k: _open(v) for k, v in part.items() if k != "additionalProperties" or v is not False}
    if isinstance(made.get("description"), str):
        made["description"] = " ".join(made["description"].split())
    return made
