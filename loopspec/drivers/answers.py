"""Answers: what a performer gives back is checked before it may move the session.

A performer answers its own effect, with a fact that answers effects, whose data fit what its kind
declared. Anything else is a fault of the performer, said as such: it can neither hang the loop nor
approve itself.
"""

import json
from typing import Final, TypeGuard, get_args

import msgspec

from loopspec.codec import decode, encode
from loopspec.effects import Effect
from loopspec.events import Answer, EffectAnswered, EffectFailed, Kept, TokenUsage, name_of
from loopspec.machine.model import Machine
from loopspec.tools.arguments import validate

ANSWERS: Final[tuple[type, ...]] = get_args(Answer)


def checked(machine: Machine, effect: Effect, given: object) -> Kept:
    """The answer as it was given, or `effect.failed` saying what is wrong with it."""
    if not _is_answer(given):
        return _fault(effect, f"with {type(given).__name__}, which answers no effect")
    answer = given
    if answer.effect != effect.id:
        return _fault(effect, f"for another effect, `{answer.effect}`")
    try:  # a struct holds whatever it was made with; only its bytes prove that it fits
        decode(encode(answer), type(answer))
    except (msgspec.MsgspecError, TypeError, ValueError) as err:
        return _fault(effect, f"`{name_of(answer)}` with a field that does not fit: {err}")
    used = getattr(answer, "usage", None)
    if isinstance(used, TokenUsage) and min(_counts(used)) < 0:  # a budget must never grow by it
        return _fault(effect, f"`{name_of(answer)}` with a usage below zero")
    if isinstance(answer, EffectAnswered):
        return _foreign(machine, effect, answer)
    return answer


def _counts(used: TokenUsage) -> tuple[int, ...]:
    """The numbers of a usage."""
    return used.input_tokens, used.output_tokens, used.cached_tokens, used.cost or 0


def _is_answer(given: object) -> TypeGuard[Answer]:
    """Whether it is a fact that answers effects."""
    return isinstance(given, ANSWERS)


def _foreign(machine: Machine, effect: Effect, answer: EffectAnswered) -> Kept:
    """An ending of a plugin's own kind, held against the schema its kind declared."""
    kind = machine.kind_of(effect.state)
    schema = kind.endings.get(answer.name) if kind is not None else None
    if schema is None:
        return _fault(effect, f"with `{answer.name}`, which its kind does not declare")
    try:
        data = json.loads(answer.data)
    except ValueError:
        return _fault(effect, f"`{answer.name}` with data that are no JSON")
    if not isinstance(data, dict):
        return _fault(effect, f"`{answer.name}` with data that are no JSON object")
    wrong = validate(schema, data) if schema else ""
    return _fault(effect, f"`{answer.name}` with wrong data: {wrong}") if wrong else answer


def _fault(effect: Effect, what: str) -> EffectFailed:
    """The performer broke its contract."""
    return EffectFailed(effect=effect.id, reason=f"the performer answered {what}")
