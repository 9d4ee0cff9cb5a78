"""Schema: the JSON Schema of the language, written from the key tables the parser reads by.

Rules of this file:
1. Nothing is said here that the tables do not say; a test holds the stored schema against `build`.
2. The schema helps editors. It says less than the parser, which also checks names and routing, and
   is stricter only about quotes: a name that looks like a number must be quoted.

`python -m loopspec.spec.schema > schemas/loopspec-1.schema.json` writes the stored schema anew.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, assert_never

from loopspec.machine.model import Kind
from loopspec.spec import literals
from loopspec.spec.forms import (
    Bag,
    Duration,
    Either,
    Flag,
    Form,
    Json,
    Many,
    Named,
    Record,
    Share,
    Table,
    Text,
    Usd,
    Version,
    Whole,
)
from loopspec.spec.job import ToolInfo
from loopspec.spec.keys import TABLES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Final = ["string", "number", "boolean"]
_DURATION: Final = {"type": "string", "pattern": f"^{literals.DURATION}$"}


def build(
    kinds: Mapping[str, Kind] | None = None, tools: Mapping[str, ToolInfo] | None = None
) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec.

    With `kinds` a state's further keys are those of its kind, without them they are free. With
    `tools` a tool's `use` and `with` are those installed.
    """
    made = {name: _table(table) for name, table in TABLES.items()}
    if kinds is not None:
        _merge_kinds(made["state"], kinds)
    if tools is not None:
        _merge_tools(made["tool"], tools)
    root = made.pop("spec")
    return {"$schema": DIALECT, "title": "loopspec 1", **root, "$defs": made}


def render(schema: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": table.doc,
        "type": "object",
        "properties": {
            key.name: {
                "description": key.doc,
                "examples": [json.loads(key.example)],
                **_form(key.form),
            }
            for key in table.keys
        },
    }
    required = [key.name for key in table.keys if key.required]
    if required:
        made["required"] = required
    if table.single:
        made |= {"minProperties": 1, "maxProperties": 1}
    if not table.open:
        made["additionalProperties"] = False
    return made


def _form(form: Form) -> dict[str, Any]:
    match form:
        case Json():
            return {}
        case Bag():
            return {"type": "object"}
        case Record(table):
            return {"$ref": f"#/$defs/{table}"}
        case Many(item, least):
            return {"type": "array", "items": _form(item)} | _least("minItems", least)
        case Named(names, value, least):
            key = _DURATION if names.code == "LS105" else _text(names)
            made = {"type": "object", "propertyNames": key, "additionalProperties": _form(value)}
            return made | _least("minProperties", least)
        case Either(scalar, map_form, list_form):
            return {"anyOf": [_form(f) for f in (scalar, map_form, list_form) if f is not None]}
        case Text():
            return _text(form)
        case Whole():
            return _whole(form)
        case Version():
            return {"const": 1}
        case Duration():
            return _DURATION
        case Usd():
            number = {"type": "number", "exclusiveMinimum": 0}
            return {"anyOf": [number, {"type": "string", "pattern": f"^{literals.DECIMAL}$"}]}
        case Share():
            number = {"type": "number", "minimum": 0, "maximum": 1}
            return {"anyOf": [number, {"type": "string", "pattern": f"^{literals.DECIMAL}$"}]}
        case Flag():
            return {"type": "boolean"}
        case other:
            assert_never(other)


def _text(form: Text) -> dict[str, Any]:
    if form.choices:
        return {"enum": list(form.choices)}
    if form.code == "LS110":
        return {"type": "string", "pattern": f"^{literals.SEMVER}$"}
    if form.pattern:
        return {"type": "string", "pattern": f"^(?:{form.pattern})$"}
    return {"type": _SCALARS if form.loose else "string"}


def _whole(form: Whole) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "integer", "minimum": form.least}
    if form.most != literals.MAX_INT:
        number["maximum"] = form.most
    if not form.units:
        return number
    return {"anyOf": [number, {"type": "string", "pattern": f"^{literals.COUNT}$"}]}


def _least(word: str, least: int) -> dict[str, Any]:
    return {word: least} if least else {}


def _merge_kinds(state: dict[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Close the state: further keys are those of its kind, and each kind has its own."""
    own = {name: _kind_schema(kind) for name, kind in kinds.items()}
    every = {key: None for schema in own.values() for key in schema.get("properties", {})}
    properties = state["properties"]
    properties["kind"] = {**properties["kind"], "enum": list(kinds)}
    for key in every:
        properties.setdefault(key, {"description": "A key of the state's kind."})
    state["additionalProperties"] = False
    state["allOf"] = [
        _when("kind", name, schema, [key for key in every if key not in schema["properties"]])
        for name, schema in own.items()
    ]
    if every:
        without = {"not": {"anyOf": [{"required": [key]} for key in every]}}
        state["allOf"].append({"if": {"required": ["kind"]}, "else": without})


def _kind_schema(kind: Kind) -> dict[str, Any]:
    """A kind's schema; its duration is written as in the language, whatever it calls the format."""
    schema: dict[str, Any] = json.loads(kind.schema)
    properties: dict[str, Any] = dict(schema.get("properties", {}))
    if kind.timer:
        words = {k: v for k, v in properties.get(kind.timer, {}).items() if k != "format"}
        properties[kind.timer] = words | _DURATION
    return schema | {"properties": properties}


def _when(key: str, value: str, schema: Mapping[str, Any], not_here: list[str]) -> dict[str, Any]:
    then: dict[str, Any] = {"properties": dict(schema["properties"]) | {name: False for name in not_here}}
    if schema.get("required"):
        then["required"] = schema["required"]
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _merge_tools(tool: dict[str, Any], tools: Mapping[str, ToolInfo]) -> None:
    """Name the installed tools; `with` is the configuration of the one in use."""
    properties = tool["properties"]
    properties["use"] = {**properties["use"], "enum": list(tools)}
    tool["allOf"] = [
        _when("use", name, {"properties": {"with": dict(info.config_schema)}}, [])
        for name, info in tools.items()
    ]


if __name__ == "__main__":
    print(render(build()), end="")
