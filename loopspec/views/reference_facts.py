"""Reference facts: what is known of each event, kind and tool, as data for pages and commands.

Rules of this file:
1. Facts come from the classes, kinds and tools themselves; only who raises an event is said here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from loopspec.events import BY_NAME
from loopspec.machine.model import Kind
from loopspec.machine.named import MODEL, TEMPLATE
from loopspec.spec import helpwords
from loopspec.spec.job import ToolInfo
from loopspec.spec.routes import INSTEAD
from loopspec.spec.statekeys import WORK_KEYS
from loopspec.views.reference_yaml import block

RAISED_BY: Final[Mapping[str, str]] = {
    "session.started": "the driver, once, when a session begins",
    "host.suspended": "the host, when the machine goes to sleep or the process is told to end",
    "host.woke": "the host, when the machine or the process is back",
    "timer.fired": "a timer that came due",
    "effect.claimed": "the driver, before an effect that may not be repeated",
    "effect.lost": "a restart that finds a claimed effect without an answer",
    "effect.cancelled": "a performer whose effect was cancelled, because its state was left",
    "effect.failed": "a performer that could not do its work at all",
    "effect.answered": "the performer of a plugin's kind",
    "attempt.failed": "the performer of models, after each failed attempt",
    "gate.decided": "the gate, for all proposed calls together",
    "tool.answered": "the performer of tools, for each call",
    "boundary.taken": "the workspace, in a state with `boundary`, before anything writes",
    "boundary.failed": "the workspace, in a state with `boundary`, when it cannot be recorded",
    "context.pressed": "a state that calls a model, before the call",
    "model.rate_limited": "a state that calls a model, after each attempt that is refused so",
    "model.overloaded": "a state that calls a model, after each attempt that is refused so",
    "budget.exhausted": "a state that would begin work for which a budget has nothing left",
    "error.execution": "the core, when a guard, an assignment or a text cannot be evaluated",
}
SHAPES: Final[Mapping[str, str]] = {
    "none": "waits; it does no work of its own",
    "one": "does one piece of work, and ends with its answer",
    "each": "does one piece of work for each call that may run, and ends when all are answered",
}
_GUARDS: Final[Mapping[str, str]] = {
    "user.message": 'event.text.startsWith("/work ")',
    "user.called": 'event.tool == "shell"',
    "host.woke": "event.gap > 3600000000",
    "budget.exhausted": 'event.which == "usd"',
    "budget.extended": 'event.which == "turns"',
    "tools.settled": "event.failed > 0",
    "model.rate_limited": "event.wait > 60000000",
    "model.overloaded": "event.attempts > 2",
}
"""Guards that say more than the first one that would fit; times are microseconds."""

_TYPES: Final[Mapping[str, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a map",
}


class EventHelp(msgspec.Struct, frozen=True):
    """All about one event. `instead` says what to route when `on` cannot name it."""

    name: str
    sort: str
    meaning: str
    raised_by: str
    fields: dict[str, str]
    routable: bool
    instead: str
    example: str


class KeyHelp(msgspec.Struct, frozen=True):
    """A key of a kind or tool; `default` is JSON text, empty for none."""

    name: str
    type: str
    required: bool
    default: str
    description: str


class KindHelp(msgspec.Struct, frozen=True):
    """All about one kind of state. `endings` gives the fields of each; `takes` are the shared keys
    that only some kinds have; `raises` are further events its work can raise."""

    name: str
    doc: str
    shape: str
    shape_means: str
    rests: str
    endings: dict[str, dict[str, str]]
    raises: list[str]
    offers: list[str]
    takes: list[str]
    keys: list[KeyHelp]
    example: str


class ToolHelp(msgspec.Struct, frozen=True):
    """All about one tool; `total` and `silence` are durations, empty for none."""

    name: str
    description: str
    effect: str
    after_crash: str
    total: str
    silence: str
    paths: list[str]
    command: str
    parameters: list[KeyHelp]
    config: list[KeyHelp]
    example: str


def event_helps(kinds: Mapping[str, Kind]) -> dict[str, EventHelp]:
    """Every event of loopspec, then the endings of the plugins' kinds."""
    own = [name for kind in kinds.values() for name in kind.endings if name not in BY_NAME]
    return {name: _event(name, kinds) for name in dict.fromkeys([*BY_NAME, *own])}


def kind_help(kind: Kind) -> KindHelp:
    """All about a kind."""
    routes = helpwords.usual_routes(kind)
    return KindHelp(
        name=kind.name,
        doc=kind.doc or "A kind of a plugin.",
        shape=kind.shape,
        shape_means=SHAPES[kind.shape],
        rests=kind.rests,
        endings={name: helpwords.fields(name, (kind,)) for name in kind.endings},
        raises=[name for name in routes if name not in kind.endings and name not in kind.offers],
        offers=list(kind.offers),
        takes=[key for key, effect in WORK_KEYS.items() if effect == kind.effect],
        keys=_keys(json.loads(kind.schema), kind.timer),
        example=block({f"my_{kind.name.replace('.', '_')}": state_of(kind)}),
    )


def state_of(kind: Kind) -> dict[str, Any]:
    """An example state of a kind, as plain data; its targets are states of the shipped coding loop."""
    own = helpwords.own_keys(kind)
    made: dict[str, Any] = {"kind": kind.name}
    made |= {key: helpwords.sample(own.get(key, {})) for key in helpwords.required_keys(kind)}
    if kind.effect == "call_model":
        made |= {"model": "main", "prompt": "system"}
    if kind.effect == "run_tool":
        made["boundary"] = "workspace"
    made["on"] = {name: _lead(name) for name in helpwords.usual_routes(kind)}
    return made


def tool_help(info: ToolInfo) -> ToolHelp:
    """All about a tool."""
    config = _keys(dict(info.config_schema), "")
    example: dict[str, Any] = {"use": info.name}
    schemas: Mapping[str, Any] = info.config_schema.get("properties", {})
    needed = {k: helpwords.sample(schemas.get(k, {})) for k in info.config_schema.get("required", ())}
    if needed:
        example["with"] = needed
    return ToolHelp(
        name=info.name,
        description=info.description,
        effect=info.effect,
        after_crash=info.after_crash,
        total=_seconds(info.total),
        silence=_seconds(info.silence),
        paths=list(info.paths),
        command=info.command,
        parameters=_keys(dict(info.parameters), ""),
        config=config,
        example=block({info.name.replace(".", "_"): example}),
    )


def _event(name: str, kinds: Mapping[str, Kind]) -> EventHelp:
    fields = helpwords.fields(name, kinds.values())
    instead = INSTEAD.get(name, "")
    return EventHelp(
        name=name,
        sort=helpwords.sort_of(name),
        meaning=helpwords.meaning(name, kinds.values()),
        raised_by=_raised_by(name, kinds),
        fields=fields,
        routable=not instead,
        instead=instead,
        example="" if instead else block({"on": {name: _routes(name, fields)}}),
    )


def _raised_by(name: str, kinds: Mapping[str, Kind]) -> str:
    owners = [f"`{kind.name}`" for kind in kinds.values() if name in kind.endings]
    if owners:
        return f"a state of kind {' or '.join(owners)}, as its ending"
    if helpwords.sort_of(name) == "command":
        return "a person, or a program that asks for them"
    return RAISED_BY.get(name, "a state of a kind with this ending")


def _routes(name: str, fields: Mapping[str, str]) -> Any:
    """An example of where the event may lead, with a guard over one of its fields if it has any."""
    guard = _GUARDS.get(name) or _guard(fields)
    if not guard or name == "model.replied":
        return _lead(name)
    return [{"guard": guard, "target": helpwords.leads(name)}, {"target": "ready"}]


def _lead(name: str) -> Any:
    """A target, or for the model's reply the two ways every loop knows."""
    if name == "model.replied":
        return [{"guard": "size(event.calls) > 0", "target": "deciding"}, {"target": "ready"}]
    return helpwords.leads(name)


def _guard(fields: Mapping[str, str]) -> str:
    """A guard over the most telling field; the effect's id tells a person nothing."""
    forms = {
        helpwords.CALLS: "size(event.{}) > 0",
        "list of string": "size(event.{}) > 0",
        "bool": "event.{}",
        "int": "event.{} > 0",
        "double": "event.{} > 0.0",
        "string": 'event.{} != ""',
    }
    for kind, form in forms.items():
        for field, has in fields.items():
            if has == kind and field not in ("effect", "tokens"):
                return form.format(field)
    return ""


def _keys(schema: Mapping[str, Any], timer: str) -> list[KeyHelp]:
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    required: Iterable[str] = schema.get("required", ())
    return [
        KeyHelp(
            name=name,
            type="a duration" if name == timer else _type(one),
            required=name in required,
            default=json.dumps(one["default"]) if "default" in one else "",
            description=str(one.get("description", "")),
        )
        for name, one in properties.items()
    ]


_MARKED: Final = {MODEL: "a declared model", TEMPLATE: "a text for Jinja2"}


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema.get("type")
    if kind == "string" and schema.get("format") in _MARKED:
        return _MARKED[schema["format"]]
    named = [kind] if isinstance(kind, str) else kind or []
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"a list, each item {_type(schema['items'])}"
    return " or ".join(_TYPES.get(str(one), str(one)) for one in named) or "any JSON value"


def _seconds(value: float) -> str:
    """Seconds as the language writes them, empty for none."""
    units = {"h": 3600, "m": 60, "s": 1}
    found = next((unit for unit, size in units.items() if value and not value % size), "")
    return f"{value / units[found]:g}{found}" if found else f"{value * 1000:g}ms" if value else ""
