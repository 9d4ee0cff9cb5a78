"""Schema: the JSON Schema of the language, written from the key tables the parser reads by.

Rules of this file:
1. Nothing is said here that the tables do not say; a test holds the stored schema against `build`.
2. The schema helps editors. It says less than the parser, which also checks names and routing, and
   is stricter only about quotes: a name that looks like a number must be quoted.
3. Words that only editors know (`errorMessage`, `deprecationMessage`, `enumDescriptions`,
   `doNotSuggest`, `defaultSnippets`) change nothing about what is accepted.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, assert_never

from loopspec.machine.model import Kind
from loopspec.spec import helpwords, literals
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
from loopspec.spec.schema_merge import DURATION_WORDS, merge_kinds, merge_tools, type_rules
from loopspec.spec.statekeys import DESCRIPTORS, MOVES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ID: Final = "urn:loopspec:schema:1"
RESERVED: Final = {
    "description": "Reserved: not in this version.",
    "not": {},
    "deprecationMessage": "This key is reserved and not in this version: remove it.",
    "doNotSuggest": True,
}
_GUARDED: Final = {
    "label": "guarded transition",
    "description": "It is taken if its guard holds and no guard above it does.",
    "body": {"guard": "${1:condition}", "target": "${2:state}"},
}
_SCALARS: Final = ["string", "number", "boolean"]
_NOT_ZERO: Final = "(?=[^1-9]*[1-9])"
_SHARE: Final = r"^(0(\.[0-9]+)?|1(\.0+)?)$"


def build(
    kinds: Mapping[str, Kind] | None = None,
    tools: Mapping[str, ToolInfo] | None = None,
    *,
    closed: bool = True,
) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec.

    With `kinds` a state's further keys are those of its kind, without them they are free. With
    `tools` a tool's `use` and `with` are those given. `closed` says that there are no others; else a
    state of an unknown kind has free keys, and an unknown tool a free configuration.
    """
    made = {name: _table(table) for name, table in TABLES.items()}
    for name in ("transition", "after", "say"):  # editors show the words of the key that leads there
        made[name]["$comment"] = made[name].pop("description")
    made["moves"] = _either(MOVES)
    made["transition"]["defaultSnippets"] = [_GUARDED]
    state = made["state"]
    events = dict.fromkeys(helpwords.ROUTABLE)
    events |= {name: None for kind in (kinds or {}).values() for name in kind.endings}
    state["properties"]["on"]["properties"] = _events(events, (kinds or {}).values())
    type_rules(state)
    if kinds is not None:
        merge_kinds(state, kinds, closed=closed)
    if tools is not None:
        merge_tools(made["tool"], tools, closed=closed)
    root = made.pop("spec")
    end = ":merged" if closed and kinds is not None else ""
    return {"$schema": DIALECT, "$id": ID + end, **root, "title": "loopspec 1", "$defs": made}


def render(schema: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key in table.keys:
        made = {"description": key.doc, "examples": [json.loads(key.example)], **_form(key.form)}
        if key.default:
            value = json.loads(key.default)
            shown = value if isinstance(value, str) else key.default
            made |= {"default": value, "description": f"{key.doc} Default: {shown}."}
        properties[key.name] = made
    properties |= {name: dict(RESERVED) for name in table.reserved}
    made = {
        "title": table.name,
        "description": table.doc,
        "type": "object",
        "properties": properties,
    }
    required = [key.name for key in table.keys if key.required]
    if required:
        made["required"] = required
    if table.either:
        made["anyOf"] = [{"required": [name]} for name in table.either]
    if table.single:
        made |= {"minProperties": 1, "maxProperties": 1}
    if not table.open:
        made["additionalProperties"] = False
    return made


def _events(names: Iterable[str], kinds: Iterable[Kind]) -> dict[str, Any]:
    """The known events under `on`, so that editors can offer and explain them."""
    every = tuple(kinds)
    return {
        name: {
            "description": helpwords.described(name, every),
            "examples": [helpwords.leads(name)],
            "$ref": "#/$defs/moves",
        }
        for name in names
    }


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
            key = _duration(1) if names.code == "LS105" else _text(names)
            key["title"] = "event" if names is DESCRIPTORS else names.what.split(" such as")[0]
            made = {"type": "object", "propertyNames": key, "additionalProperties": _form(value)}
            return made | _least("minProperties", least)
        case Either():
            return {"$ref": "#/$defs/moves"} if form == MOVES else _either(form)
        case Text():
            return _text(form)
        case Whole():
            return _whole(form)
        case Version():
            return {"const": 1}
        case Duration(least):
            return _duration(least)
        case Usd():
            some = f"^{_NOT_ZERO}{literals.DECIMAL}$"
            return _decimal({"exclusiveMinimum": 0}, some, "an amount of USD above 0, such as 3.00")
        case Share():
            return _decimal({"minimum": 0, "maximum": 1}, _SHARE, "a share from 0 to 1, such as 0.80")
        case Flag():
            return {"type": "boolean"}
        case other:
            assert_never(other)


def _either(form: Either) -> dict[str, Any]:
    """One form per kind of node, told apart by the type so that a fault names the very key."""
    forms = {"string": form.scalar, "object": form.map, "array": form.list}
    types: list[str] = []
    rules = []
    for name, one in forms.items():
        if one is None:
            continue
        made = _form(one)
        mine = made.get("type", name)
        types += mine if isinstance(mine, list) else [mine]
        rules.append({"if": {"type": mine}, "then": made})
    return {"type": types, "allOf": rules}


def _text(form: Text) -> dict[str, Any]:
    if form.choices:
        made: dict[str, Any] = {"type": "string", "enum": list(form.choices)}
        return made | ({"enumDescriptions": list(form.meanings)} if form.meanings else {})
    said = {"errorMessage": f"Write {form.what}."}
    if form.code == "LS110":
        return {"type": "string", "pattern": f"^{literals.SEMVER}$", **said}
    if form.pattern:
        return {"type": "string", "pattern": f"^(?:{form.pattern})$", **said}
    return {"type": _SCALARS if form.loose else "string"}


def _duration(least: int) -> dict[str, Any]:
    some = _NOT_ZERO if least else ""
    return {"type": "string", "pattern": f"^{some}{literals.DURATION}$", "errorMessage": DURATION_WORDS}


def _whole(form: Whole) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "integer", "minimum": form.least}
    if form.most != literals.MAX_INT:
        number["maximum"] = form.most
    if not form.units:
        return number
    said = {"errorMessage": "Write a whole number such as 500000, 500k or 1M."}
    counted = f"^{_NOT_ZERO if form.least else ''}{literals.COUNT}$"
    return {"anyOf": [{**number, **said}, {"type": "string", "pattern": counted, **said}]}


def _decimal(limits: Mapping[str, Any], text: str, what: str) -> dict[str, Any]:
    """A decimal as a number, or as text so that no digit is lost."""
    said = {"errorMessage": f"Write {what}."}
    return {"anyOf": [{"type": "number", **limits, **said}, {"type": "string", "pattern": text, **said}]}


def _least(word: str, least: int) -> dict[str, Any]:
    return {word: least} if least else {}

