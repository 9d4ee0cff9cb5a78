"""Clean: what an event must lose before it may be written. Nothing secret is written down.

Rules of this file:
1. Every text of an event is cleaned unless it is named here as an id, a digest or a word of ours: a
   new field is clean by default.
2. What would be wrong if it were altered is dropped or refused instead: arguments of calls (approvals
   bind to them) and signed provider blocks.
3. Half a surrogate pair has no bytes: it becomes a question mark.
"""

from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from loopspec.events import (
    ApprovalGiven,
    Kept,
    ModelReplied,
    ProposedCall,
    ToolAnswered,
    UserCalled,
    UserMessage,
)
from loopspec.governance.redact import Redactor
from loopspec.machine.given import SECRET_ARGS as SECRET_ARGS
from loopspec.tokens import estimate

S = TypeVar("S", bound=msgspec.Struct)

OURS: Final = frozenset(
    {"effect", "call", "machine", "workdir", "args_hash", "answer", "scope", "which", "boundary"}
    | {"ref", "method", "timer", "request", "blob", "status", "drop", "parent", "finish", "name"}
)
_COUNTED: Final = (UserMessage, ToolAnswered, ModelReplied)
_WITH_ARGS: Final = frozenset({ProposedCall, ApprovalGiven, UserCalled})


def clean(event: Kept, redactor: Redactor) -> Kept:
    """The event without secrets or broken characters, its token counts stamped."""
    if isinstance(event, ModelReplied):
        event = _reply(event, redactor)
    elif isinstance(event, ApprovalGiven | UserCalled) and not writable(event.args, redactor):
        event = msgspec.structs.replace(event, args=SECRET_ARGS)  # which the core refuses
    made: Kept = _texts(event, redactor)
    if isinstance(made, _COUNTED) and not made.tokens:
        text = made.output if isinstance(made, ToolAnswered) else made.text
        made = msgspec.structs.replace(made, tokens=estimate(text))
    return made


def whole(text: str) -> str:
    """`text` with broken characters replaced, so that it has bytes."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def writable(args: str, redactor: Redactor) -> bool:
    """Whether arguments can be written down as they are: no secret in them, no broken character."""
    return not redactor.holds(args) and whole(args) == args


def _reply(event: ModelReplied, redactor: Redactor) -> ModelReplied:
    """Calls whose arguments hold a secret get a problem; blocks that do are left out."""
    calls = [
        ProposedCall(tool=c.tool, args="{}", problem=SECRET_ARGS)
        if not writable(c.args, redactor)
        else c
        for c in event.calls
    ]
    blocks = "" if redactor.holds(event.blocks) else whole(event.blocks)
    return msgspec.structs.replace(event, calls=calls, blocks=blocks)


def _texts(value: S, redactor: Redactor) -> S:
    """A struct with every text cleaned, those inside lists and parts too."""
    changes: dict[str, Any] = {}
    for name in _looked_at(type(value)):
        old = getattr(value, name)
        if old and (new := _any(old, redactor)) is not old and new != old:
            changes[name] = new
    return msgspec.structs.replace(value, **changes) if changes else value


@cache
def _looked_at(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a struct that may hold a text: all but numbers, and but texts of ours."""
    ours = OURS | {"args"} if kind in _WITH_ARGS else OURS
    may = [f for f in msgspec.structs.fields(kind) if f.type not in (int, bool, int | None)]
    return tuple(f.name for f in may if f.type is not str or f.name not in ours)


def _any(value: Any, redactor: Redactor) -> Any:
    """Any field's value, cleaned."""
    if isinstance(value, str):
        return redactor.text(whole(value)) if value else value
    if isinstance(value, list | tuple):
        return type(value)(_any(v, redactor) for v in value)
    if isinstance(value, msgspec.Struct):
        return _texts(value, redactor)
    return value
