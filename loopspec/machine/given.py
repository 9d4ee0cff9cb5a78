"""Given: arguments that a person gives, for a call of their own or in place of the model's.

Rules of this file:
1. They are canonical JSON text of an object, like all arguments: approvals and records bind to their
   hash. Anything else is refused; nothing is put right in silence.
2. What is shown of them is bounded: the whole stands in the journal.
"""

import json
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.events import UserCalled
from loopspec.machine.celtypes import MAX_DEPTH, too_deep
from loopspec.machine.model import Machine, ToolDecl

SECRET_ARGS: Final = "The arguments hold a secret; name it instead of writing it."
"""Stands in place of arguments that may not be written down."""
MAX_NOTE: Final = 500
"""Characters of arguments that are told with a call's result."""


def fault_of(args: str) -> str:
    """What is wrong with arguments, to follow their name; empty if nothing is."""
    if args == SECRET_ARGS:
        return "hold a secret or a broken character; name a secret instead of writing it"
    value: Any = None
    canonical = ""
    try:
        value = json.loads(args)
        if isinstance(value, dict) and not too_deep(value):
            canonical = canonical_json(value)
    except (ValueError, RecursionError):
        return "are no JSON that could be passed on; give canonical JSON text of an object"
    if not isinstance(value, dict):
        return "are no JSON object; give canonical JSON text of an object"
    if not canonical:
        return f"are nested more than {MAX_DEPTH} deep"
    if canonical != args:
        return "are not canonical; sort the keys, leave out spaces, write each character as itself"
    return ""


def refusal(machine: Machine, event: UserCalled) -> str:
    """Why a person's own call cannot be taken whatever the state, empty if it can."""
    if event.tool not in machine.tools:
        known = ", ".join(sorted(machine.tools)) or "none"
        return f"there is no tool `{event.tool}`; the tools are {known}"
    fault = fault_of(event.args)
    return f"the arguments {fault}" if fault else ""


def shown(tool: ToolDecl | None, args: str) -> str:
    """The beginning of arguments as people read them: a command line, if they are nothing else."""
    if tool is not None and tool.command:
        given = json.loads(args)
        if list(given) == [tool.command] and isinstance(given[tool.command], str):
            return clipped(given[tool.command])
    return clipped(args)


def changed(args: str) -> str:
    """What the model is told of arguments that a person changed."""
    return f"A person changed the arguments of this call to: {clipped(args)}"


def clipped(text: str) -> str:
    """At most `MAX_NOTE` characters of a text; a cut is marked."""
    return text if len(text) <= MAX_NOTE else text[: MAX_NOTE - 1] + "…"
