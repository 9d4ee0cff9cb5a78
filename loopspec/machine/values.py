"""Values: what guards and texts may read, made when something reads it.

Rules of this file:
1. Most events are routed without a look at any value, so nothing is made before it is asked for.
2. What is the same as in the step before (the inputs, vars that nobody assigned) is not made again.
3. Nothing here is ever changed by who reads it: CEL gets messages, Jinja2 has an immutable sandbox.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from loopspec.events import Event
from loopspec.machine.celtypes import Types, event_data
from loopspec.machine.draft import Draft
from loopspec.machine.guards import GuardError, loaded, needs

Vars: TypeAlias = Mapping[str, str | int | bool]


class Typed:
    """A machine's message types, and of each root the newest message that was made."""

    def __init__(self, types: Types) -> None:
        """Keep nothing yet."""
        self.types = types
        self._newest: dict[str, tuple[object, Message]] = {}

    def message(self, root: str, kind: str, source: object, values: "Values") -> Message:
        """The message of a root; `source` is what its values are made from, and is never changed.

        Raises what `Types.make` raises.
        """
        newest = self._newest.get(root)
        if newest is not None and newest[0] is source:
            return newest[1]
        made = self.types.make(kind, values[root])
        self._newest[root] = (source, made)
        return made


class Values(Mapping[str, Any]):
    """The plain values that guards and texts of one calculation may read, by root."""

    def __init__(self, draft: Draft, event: Event | None = None, name: str = "") -> None:
        """`event` is what is being handled, by the `name` it is routed by (None: nothing is)."""
        self.draft = draft
        self._event = event
        self._name = name
        self._vars: Vars = draft.vars
        self._plain: dict[str, Any] = {}
        self._about_event: dict[tuple[str, frozenset[str] | None], Message] = {}

    @property
    def vars(self) -> Vars:
        """The vars as the snapshot keeps them. Give it another mapping, never change this one."""
        return self._vars

    @vars.setter
    def vars(self, vars: Vars) -> None:
        self._vars = vars
        self._plain.pop("vars", None)

    def __getitem__(self, root: str) -> Any:
        """The values below a root."""
        found = self._plain.get(root)
        if found is None:
            found = self._plain[root] = _ROOTS[root](self)
        return found

    def __iter__(self) -> Iterator[str]:
        """Every root."""
        return iter(_ROOTS)

    def __len__(self) -> int:
        """How many roots there are."""
        return len(_ROOTS)

    def typed(self, typed: Typed, event: str | None, source: str) -> dict[str, Message]:
        """The messages the expression `source` about `event` is evaluated against.

        What it does not name is left out. Raises `GuardError` where a value does not fit its type.
        """
        roots, fields = needs(source)
        made: dict[str, Message] = {}
        try:
            if "inputs" in roots:
                made["inputs"] = typed.message("inputs", "ls.Inputs", inputs_of(self.draft), self)
            if "vars" in roots:
                made["vars"] = typed.message("vars", "ls.Vars", self.vars, self)
            if "usage" in roots:
                made["usage"] = typed.message("usage", "ls.Usage", self.draft.usage, self)
            if "event" in roots and event in typed.types.event_types:
                made["event"] = self._about(typed, typed.types.event_types[event], fields)
        except (ValueError, TypeError, RecursionError) as err:
            raise GuardError(f"the values it reads do not fit their types: {err}") from None
        return made

    def _about(self, typed: Typed, kind: str, fields: frozenset[str] | None) -> Message:
        """The message of the event, with these fields only (None: with all)."""
        key = (kind, fields)
        found = self._about_event.get(key)
        if found is None:
            data = self["event"]
            if fields is not None:
                data = {name: data[name] for name in fields if name in data}
            found = self._about_event[key] = typed.types.make(kind, data)
        return found


def inputs_of(draft: Draft) -> str:
    """The session's inputs as JSON text."""
    found: str = draft.fixed.get("inputs", draft.old.inputs)
    return found


def guidance_of(draft: Draft) -> str:
    """The guidance the session began with, empty without any."""
    found = draft.machine.guidance
    return found.text if found is not None else ""


def session_of(draft: Draft) -> tuple[str, str, str]:
    """The session's id, its work directory, and the name of its spec."""
    old = draft.old
    return old.session, draft.fixed.get("workdir", old.workdir), draft.machine.name


@lru_cache(maxsize=64)
def _inputs(text: str) -> Any:
    """Inputs as plain values: the same in every step of a session."""
    return json.loads(text)


def _vars(values: Values) -> dict[str, Any]:
    """The vars as plain values."""
    declared = values.draft.machine.vars
    return {name: loaded(kept, declared[name].type) for name, kept in values.vars.items()}


def _usage(values: Values) -> dict[str, Any]:
    """What was consumed so far."""
    usage = values.draft.usage
    return {
        "turns": usage.turns,
        "calls": usage.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "tokens": usage.tokens,
        "context": usage.context,
        "cost_usd": usage.cost / 1e9,
        "priced": usage.unpriced == 0,
    }


def _session(values: Values) -> dict[str, Any]:
    """Which session it is."""
    return dict(zip(("id", "workdir", "name"), session_of(values.draft), strict=True))


def _event(values: Values) -> dict[str, Any]:
    """The event's fields; of a plugin's ending, its data."""
    if values._event is None:
        return {}
    data = event_data(values._event)
    if values._name != "effect.answered" and isinstance(data.get("data"), dict):
        inner: dict[str, Any] = data["data"]
        return inner
    return data


_ROOTS: Final[dict[str, Callable[[Values], Any]]] = {
    "inputs": lambda values: _inputs(inputs_of(values.draft)),
    "vars": _vars,
    "usage": _usage,
    "session": _session,
    "guidance": lambda values: guidance_of(values.draft),
    "event": _event,
}
