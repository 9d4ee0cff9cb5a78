"""Doing: which answer fits which effect, and what is known about an active state's kind.

Rules of this file:
1. Pure bookkeeping: nothing here starts or ends work.
"""

from typing import Final

import msgspec

from loopspec.effects import (
    CallModel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    SurveyHost,
    TakeBoundary,
)
from loopspec.events import (
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    ContextCompacted,
    ContextStuck,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostSurveyed,
    Kept,
    ModelOverflowed,
    ModelReplied,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    ToolAnswered,
    name_of,
)
from loopspec.machine.draft import Draft

ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    CallModel: (ModelReplied, ModelOverflowed, AttemptFailed),
    DecideCalls: (GateDecided,),
    RunTool: (ToolAnswered,),
    CompactContext: (ContextCompacted, ContextStuck),
    TakeBoundary: (BoundaryTaken, BoundaryFailed),
    SurveyHost: (HostSurveyed,),
    RestoreBoundary: (RollbackDone, RollbackPartial, RollbackFailed),
    Perform: (EffectAnswered,),
}
"""What may answer each effect, besides that it was lost, cancelled or could not be done."""
UNDONE: Final = (EffectLost, EffectCancelled, EffectFailed)
"""What may answer any effect."""


def misfit(effect: Effect, event: Kept) -> str:
    """Why an event cannot be the answer to this effect, empty if it can."""
    if isinstance(event, ANSWERS.get(type(effect), ())):
        if not isinstance(event, ToolAnswered) or not isinstance(effect, RunTool):
            return ""
        return "" if event.call == effect.call else "the performer answered for another call"
    if not isinstance(event, UNDONE):
        return f"the performer answered with `{name_of(event)}`"
    return ""


def activation(draft: Draft, path: str, **changes: str | int | bool | tuple[str, ...]) -> None:
    """Change what is known about an active state's kind (nothing, if the state was left)."""
    old = draft.activations.get(path)
    if old is not None:
        draft.own_activations()[path] = msgspec.structs.replace(old, **changes)
