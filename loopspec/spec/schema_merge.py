"""Schema merge: the keys of kinds and tools, and of the types of states, within the JSON Schema.

Rules of this file:
1. A state is discriminated by `if`/`then` on its `kind` and its `type`, so that an editor offers the
   keys of the very kind and a fault names the very key.
2. What another plugin may bring is refused only when the schema is closed.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loopspec.machine.model import Kind
from loopspec.spec import helpwords, literals
from loopspec.spec.job import ToolInfo
from loopspec.spec.keys import TABLES
from loopspec.spec.statekeys import WORK_KEYS, keys_apart
from loopspec.spec.states import FITS
from loopspec.spec.typed import editable

DURATION_WORDS: Final = "Write a duration such as 90s; the units are ms, s, m, h and d."
_GENERIC: Final = TABLES["state"].names
_PLUGIN_NAME: Final = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"


def type_rules(state: dict[str, Any]) -> None:
    """Add what each type of state must have and cannot have."""
    typed = {name: _of_type(name) for name in FITS if name != "atomic"}
    rules = [_when("type", name, then) for name, then in typed.items()]
    bare = {"required": ["states"], "not": {"required": ["type"]}}
    rules.append({"if": bare, "then": typed["compound"]})
    neither = {"not": {"anyOf": [{"required": ["type"]}, {"required": ["states"]}]}}
    rules.append({"if": neither, "then": _of_type("atomic")})
    state["allOf"] = rules


def _of_type(name: str) -> dict[str, Any]:
    needs = {"compound": ["states", "initial"], "parallel": ["states"], "history": ["target"]}
    made: dict[str, Any] = {"properties": _none_of(key for key in _GENERIC if key not in FITS[name])}
    return made | ({"required": needs[name]} if name in needs else {})


def merge_kinds(state: dict[str, Any], kinds: Mapping[str, Kind], *, closed: bool) -> None:
    """Give each kind its own keys; a state without a kind has none."""
    known = {
        "type": "string",
        "enum": list(kinds),
        "enumDescriptions": [helpwords.first_sentence(kind.doc) for kind in kinds.values()],
    }
    properties = state["properties"]
    properties["kind"] |= _choice(known, closed)
    rules: list[dict[str, Any]] = [_when("kind", k.name, _kind_schema(k)) for k in kinds.values()]
    rules.append({"if": {"required": ["kind"]}, "else": {"properties": _none_of(WORK_KEYS)}})
    if not closed:
        other = {"required": ["kind"], "properties": {"kind": {"not": {"enum": list(kinds)}}}}
        rules.append({"if": other, "then": {"additionalProperties": True}})
    state["allOf"] = [*state["allOf"], *rules]
    state["unevaluatedProperties"] = False
    state["defaultSnippets"] = [_snippet(kind) for kind in kinds.values()]


def merge_tools(tool: dict[str, Any], tools: Mapping[str, ToolInfo], *, closed: bool) -> None:
    """Name the tools; `with` is the configuration of the one in use."""
    known = {
        "type": "string",
        "enum": list(tools),
        "enumDescriptions": [helpwords.first_sentence(info.description) for info in tools.values()],
    }
    properties = tool["properties"]
    properties["use"] |= _choice(known, closed)
    tool["allOf"] = [_when("use", name, _tool_schema(info)) for name, info in tools.items()]


def _choice(known: dict[str, Any], closed: bool) -> dict[str, Any]:
    """One of the known names or, in an open schema, any other name of a plugin's."""
    if closed:
        return known
    return {"anyOf": [known, {"type": "string", "pattern": _PLUGIN_NAME}]}


def _kind_schema(kind: Kind) -> dict[str, Any]:
    """A kind's keys; its duration is written as in the language, whatever it calls the format."""
    schema: dict[str, Any] = _apart(editable(json.loads(kind.schema)), f"kind:{kind.name}")
    properties: dict[str, Any] = dict(schema.get("properties", {}))
    if kind.timer:
        words = {k: v for k, v in properties.get(kind.timer, {}).items() if k != "format"}
        pattern = f"^(?=[^1-9]*[1-9]){literals.DURATION}$"
        properties[kind.timer] = words | {
            "type": "string",
            "pattern": pattern,
            "errorMessage": DURATION_WORDS,
        }
    more = schema.pop("additionalProperties", True)
    schema.pop("type", None)
    apart = keys_apart(kind.effect, schema)
    unfit = _none_of(k for k, effect in WORK_KEYS.items() if effect != kind.effect and k not in apart)
    if more is False:
        return schema | {"properties": properties | unfit}
    return schema | {
        "properties": dict.fromkeys(_GENERIC, True) | properties | unfit,
        "additionalProperties": more,
    }


def _tool_schema(info: ToolInfo) -> dict[str, Any]:
    schema = _apart(editable(dict(info.config_schema)), f"tool:{info.name}")
    said = {"description": f"The configuration of `{info.name}`."}
    made: dict[str, Any] = {"properties": {"with": said | schema}}
    return made | ({"required": ["with"]} if schema.get("required") else {})


def _apart(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """A plugin's schema with an id of its own if it refers to parts of itself."""
    refers = "$ref" in json.dumps(schema)
    return {"$id": f"urn:loopspec:{name}", **schema} if refers else schema


def _snippet(kind: Kind) -> dict[str, Any]:
    """A whole state of a kind, for an editor to insert; each target is a field to fill."""
    body: dict[str, Any] = {"kind": kind.name}
    own = helpwords.own_keys(kind)
    for key in helpwords.required_keys(kind):
        body[key] = helpwords.sample(own.get(key, {}))
    if kind.effect == "run_tool":
        body["boundary"] = "workspace"
    routes = helpwords.usual_routes(kind)
    body["on"] = {
        event: f"${{{number}:{helpwords.leads(event)}}}" for number, event in enumerate(routes, 1)
    }
    return {"label": f"state of kind {kind.name}", "description": kind.doc, "body": body}


def _when(key: str, value: str, then: Mapping[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": dict(then)}


def _none_of(keys: Iterable[str]) -> dict[str, bool]:
    return dict.fromkeys(keys, False)
