"""Help words: what events and kinds are, in the words that editors, pages and commands all show.

Rules of this file:
1. Nothing is written twice: an event's meaning is its class's docstring, its fields are those that
   guards see, a kind's meaning is its `doc`.
"""

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loopspec.events import BY_NAME, COMMANDS, DERIVED
from loopspec.machine.celtypes import event_fields
from loopspec.machine.model import Kind
from loopspec.spec.routes import INSTEAD

ROUTABLE: Final = tuple(name for name in BY_NAME if name not in INSTEAD)
CALLS: Final = "list of calls (tool, args, problem)"
CEL_TYPES: Final[Mapping[str, str]] = {
    "string": "string",
    "int": "int",
    "integer": "int",
    "bool": "bool",
    "boolean": "bool",
    "number": "double",
    "strings": "list of string",
    "calls": CALLS,
    "json": "any JSON",
}
# Where these events usually lead; the names are those of the shipped coding loop.
_LEADS: Final[Mapping[str, str]] = {
    "user.message": "working",
    "user.interrupted": "interrupted",
    "user.resumed": "working.resume",
    "host.suspended": "suspended",
    "host.woke": "working.resume",
    "budget.exhausted": "over_budget",
    "budget.extended": "working.resume",
    "rollback.chosen": "rolling_back",
    "rollback.done": "interrupted",
    "rollback.partial": "interrupted",
    "rollback.failed": "interrupted",
    "context.pressed": "compacting",
    "context.compacted": "streaming",
    "model.overflowed": "compacting",
    "gate.allowed": "tool_running",
    "gate.asked": "awaiting_approval",
    "gate.denied": "streaming",
    "approval.granted": "tool_running",
    "approval.denied": "streaming",
    "tools.settled": "streaming",
    "boundary.taken": "working",
    "effect.lost": "awaiting_approval",
    "wait.over": "working",
}


def sort_of(name: str) -> str:
    """What sort of event this is: `command`, `fact`, `derived`, or `ending` of a plugin's kind."""
    kind = BY_NAME.get(name)
    if kind is None:
        return "ending"
    return "command" if kind in COMMANDS else "derived" if kind in DERIVED else "fact"


def meaning(name: str, kinds: Iterable[Kind] = ()) -> str:
    """What an event means, as paragraphs of one line each."""
    kind = BY_NAME.get(name)
    if kind is not None:
        blocks = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
        return "\n".join(" ".join(block.split()) for block in blocks)
    owner = next((k for k in kinds if name in k.endings), None)
    if owner is None:
        return "An event the spec itself raises."
    said = str(_schema(owner.endings[name]).get("description", ""))
    return said or f"A state of kind `{owner.name}` has ended this way."


def fields(name: str, kinds: Iterable[Kind] = ()) -> dict[str, str]:
    """An event's fields with their CEL types, as guards read them below `event`."""
    foreign = {n: text for kind in kinds for n, text in kind.endings.items() if text}
    return {f: CEL_TYPES.get(word, "any JSON") for f, word in event_fields(name, foreign).items()}


def described(name: str, kinds: Iterable[Kind] = ()) -> str:
    """An event's meaning and fields as the text of an editor."""
    listed = ", ".join(f"`{field}` ({kind})" for field, kind in fields(name, kinds).items())
    return f"{meaning(name, kinds)}\n{f'Fields: {listed}.' if listed else 'It has no fields.'}"


def usual_routes(kind: Kind) -> tuple[str, ...]:
    """The events a state of this kind usually routes: its endings, what its work can raise, and the
    commands it waits for."""
    more = {
        "call_model": ("context.pressed",),
        "run_tool": ("effect.lost", "boundary.failed"),
        "perform": ("effect.failed",) if kind.repeatable else ("effect.failed", "effect.lost"),
    }
    offers = (name for name in kind.offers if name not in INSTEAD)
    return tuple(dict.fromkeys((*kind.endings, *more.get(kind.effect, ()), *offers)))


def leads(event: str) -> str:
    """A state to which this event may lead in an example."""
    return _LEADS.get(event, "ready")


def own_keys(kind: Kind) -> dict[str, dict[str, Any]]:
    """A kind's own keys with the JSON Schema of each."""
    found: dict[str, dict[str, Any]] = _schema(kind.schema).get("properties", {})
    return found


def required_keys(kind: Kind) -> tuple[str, ...]:
    """The own keys that every state of this kind must have."""
    return tuple(_schema(kind.schema).get("required", ()))


def sample(schema: Mapping[str, Any]) -> Any:
    """A value for a key of a plugin: its default, an example, a choice, or one of its type."""
    if "default" in schema:
        return schema["default"]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    by_type = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    return by_type.get(str(schema.get("type")), "text")


def first_sentence(text: str) -> str:
    """The first sentence of a text."""
    head, stop, _ = text.replace("\n", " ").partition(". ")
    return f"{head}." if stop else head


def _schema(text: str) -> dict[str, Any]:
    """A schema's text as data."""
    made: dict[str, Any] = json.loads(text or "{}")
    return made
