"""The message types that let CEL check a guard's names and types at load.

One protobuf message per event, generated from the event's own fields, plus `Inputs`, `Vars` and
`Usage`. Free JSON is a `Struct` or `Value` and stays unchecked inside.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2
from google.protobuf.message import Message

from loopspec.events import BY_NAME, ProposedCall
from loopspec.machine.fill import filled
from loopspec.machine.model import Field

MAX_DEPTH: Final = 32
_F: Final = descriptor_pb2.FieldDescriptorProto
_STRUCT: Final = ".google.protobuf.Struct"
_VALUE: Final = ".google.protobuf.Value"
_SCALARS: Final[Mapping[str, int]] = {
    "string": _F.TYPE_STRING,
    "int": _F.TYPE_INT64,
    "integer": _F.TYPE_INT64,
    "bool": _F.TYPE_BOOL,
    "boolean": _F.TYPE_BOOL,
    "number": _F.TYPE_DOUBLE,
}
USAGE_FIELDS: Final[Mapping[str, str]] = {
    "turns": "int",
    "calls": "int",
    "input_tokens": "int",
    "output_tokens": "int",
    "tokens": "int",
    "context": "int",
    "cost_usd": "number",
    "priced": "bool",
}


def event_fields(event: str, foreign: Mapping[str, str]) -> dict[str, str]:
    """The fields an event offers to guards and texts, as name to type word."""
    if event in foreign:
        schema = json.loads(foreign[event] or "{}")
        props: dict[str, Any] = schema.get("properties", {})
        return {name: str(p.get("type", "json")) for name, p in props.items()}
    kind = BY_NAME.get(event)
    if kind is None:
        return {}
    return {f.name: _word(f.name, f.type) for f in msgspec.structs.fields(kind)}


def _word(name: str, kind: Any) -> str:
    """The type word of an event's field."""
    if kind is str:
        return "json" if name in {"data", "inputs"} else "string"
    if kind is bool:
        return "bool"
    text = str(kind)
    if kind is int or text == "int | None":
        return "int"
    if "ProposedCall" in text:
        return "calls"
    if text in ("list[str]", "tuple[str, ...]"):
        return "strings"
    return "json"


class Types:
    """The message types of one machine; builds typed messages from plain data."""

    def __init__(
        self, inputs: Mapping[str, Field], vars: Mapping[str, Field], foreign: Mapping[str, str]
    ) -> None:
        """Generate every message; cheap enough (about 2 ms) to do once per machine."""
        self.pool = descriptor_pool.DescriptorPool()
        base = descriptor_pb2.FileDescriptorProto()
        struct_pb2.DESCRIPTOR.CopyToProto(base)
        self.pool.Add(base)
        file = descriptor_pb2.FileDescriptorProto(
            name="ls.proto", package="ls", syntax="proto3", dependency=[base.name]
        )
        self._words: dict[str, Mapping[str, str]] = {
            "Call": {"tool": "string", "args": "struct", "problem": "string"},
            "Inputs": {n: f.type for n, f in inputs.items()},
            "Vars": {n: f.type for n, f in vars.items()},
            "Usage": USAGE_FIELDS,
        }
        self.event_types: dict[str, str] = {}
        for event in [*BY_NAME, *foreign]:
            name = "E" + "".join(f"{ord(c):x}" if c in "._-" else c for c in event)
            self._words[name] = event_fields(event, foreign)
            self.event_types[event] = f"ls.{name}"
        for name, words in self._words.items():
            _message(file, name, words)
        self.pool.Add(file)
        self._classes: dict[str, Any] = {}

    def make(self, type_name: str, data: Mapping[str, Any]) -> Message:
        """A message of `type_name` holding `data` (unknown keys are ignored).

        Raises `ValueError` when a value does not fit its field.
        """
        found = self._classes.get(type_name)
        if found is None:
            found = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(type_name))
            self._classes[type_name] = found
        message: Message = found()
        if filled(message, self._words[type_name.removeprefix("ls.")], data):
            return message
        return self.read(found(), data)

    def read(self, message: Message, data: Mapping[str, Any]) -> Message:
        """The message with `data`, the general way: whatever can be converted is converted."""
        clean = {k: v for k, v in data.items() if v is not None}
        try:
            json_format.ParseDict(clean, message, ignore_unknown_fields=True)
        except (json_format.ParseError, OverflowError) as err:
            raise ValueError(str(err)) from None
        return message


def event_data(event: object) -> dict[str, Any]:
    """An event's fields as the plain data that guards and texts see.

    JSON text that is none (a broken plugin's) stays text; arguments that are no object become `{}`.
    """
    plain: dict[str, Any] = msgspec.to_builtins(event)
    plain.pop("type", None)
    if "calls" in plain and isinstance(plain["calls"], list):
        found: list[ProposedCall] = event.calls  # type: ignore[attr-defined]
        plain["calls"] = [
            {"tool": c.tool, "args": _object(c.args), "problem": c.problem} for c in found
        ]
    for name in ("data", "inputs"):
        if isinstance(plain.get(name), str):
            plain[name] = _loads(plain[name])[0]
    return plain


def too_deep(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether JSON is nested more than `depth` deep: protobuf's own limit is 100 messages, and one
    JSON level takes two."""
    if depth < 0:
        return True
    if isinstance(value, dict):
        return any(too_deep(v, depth - 1) for v in value.values())
    return isinstance(value, list) and any(too_deep(v, depth - 1) for v in value)


@lru_cache(maxsize=8)
def _loads(text: str) -> tuple[Any, bool]:
    """The JSON value of a text, and whether it is too deep to be typed; then, and if it is no JSON,
    the value is the text itself. A step asks several times about the same few texts."""
    try:
        value = json.loads(text)
    except ValueError:
        return text, False
    except RecursionError:
        return text, True
    return (text, True) if too_deep(value) else (value, False)


def deep_arguments(text: str) -> bool:
    """Whether a call's arguments are nested too deep for guards to read."""
    return _loads(text)[1]


def _object(text: str) -> dict[str, Any]:
    """The JSON object of a text, an empty one if it is none."""
    value = _loads(text)[0]
    return value if isinstance(value, dict) else {}


def _message(
    file: descriptor_pb2.FileDescriptorProto, name: str, fields: Mapping[str, str]
) -> None:
    """Add one message type to the file."""
    message = file.message_type.add(name=name)
    for number, (field, word) in enumerate(fields.items(), start=1):
        made = message.field.add(name=field, number=number, label=_F.LABEL_OPTIONAL)
        if word in _SCALARS:
            made.type = _SCALARS[word]  # type: ignore[assignment]
        elif word == "strings":
            made.type, made.label = _F.TYPE_STRING, _F.LABEL_REPEATED
        elif word == "calls":
            made.type, made.label, made.type_name = _F.TYPE_MESSAGE, _F.LABEL_REPEATED, ".ls.Call"
        else:
            made.type = _F.TYPE_MESSAGE
            made.type_name = _STRUCT if word == "struct" else _VALUE
