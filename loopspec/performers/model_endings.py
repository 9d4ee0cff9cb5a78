"""Endings: the one way in which an attempt of a model call ends.

| ending | what came | event |
|---|---|---|
| complete | a whole reply, by its protocol's own end | `model.replied` |
| truncated | the stream stopped: cut off, silent, or full inside a call | `attempt.failed` |
| refused | the model or a filter would not answer | `attempt.failed` |
| overflowed | the request does not fit the window | `model.overflowed` |
| rate-limited | too many requests, or no room for more | `attempt.failed` |
| failed | everything else, damage among it | `attempt.failed` |
| cancelled | somebody stopped it | `effect.cancelled` |
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, assert_never

from loopspec.events import AttemptFailed, EffectCancelled, ModelOverflowed, ModelReplied

Ending: TypeAlias = Literal[
    "complete", "truncated", "refused", "overflowed", "rate-limited", "failed", "cancelled"
]
_OF: Final[Mapping[str, Ending]] = {
    "truncated": "truncated",
    "stalled": "truncated",
    "connection": "truncated",
    "refused": "refused",
    "rate_limited": "rate-limited",
    "overloaded": "rate-limited",
}


def ending_of(answer: ModelReplied | AttemptFailed | ModelOverflowed | EffectCancelled) -> Ending:
    """How an attempt ended; a connection that never brought anything has failed, not stopped."""
    match answer:
        case ModelReplied():
            return "complete"
        case ModelOverflowed():
            return "overflowed"
        case EffectCancelled():
            return "cancelled"
        case AttemptFailed(reason="connection", partial="", kept="", usage=usage) if not usage:
            return "failed"
        case AttemptFailed(reason=reason):
            return _OF.get(reason, "failed")
        case _:
            assert_never(answer)
