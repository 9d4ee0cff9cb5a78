"""Asking: a performer of a plugin's own kind asks a declared model, once.

Rules of this file:
1. One asking is one attempt, made as those of `model` are: same adapter, deadlines, redaction, cache,
   watchdog. Nothing is retried and no fallback is tried; what went wrong is raised.
2. A state asks only the models its configuration names, because only those were looked at before the
   run: their key, their price, the budget that needs one.
3. What was consumed is told before anything is raised, so that a performer cannot forget it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from loopspec.effects import CallModel, CompactContext, Effect
from loopspec.events import AttemptFailed, EffectCancelled, ModelOverflowed, ModelReplied, TokenUsage
from loopspec.hooks import AskFailed, Reply, World
from loopspec.machine.model import ModelDecl
from loopspec.machine.named import models_of
from loopspec.performers.model import attempt_once
from loopspec.performers.model_request import asking_request

NO_TEXT = "the reply held calls of tools nobody offered, and no text"


async def ask(
    effect: Effect,
    model: str,
    messages: Sequence[Mapping[str, str]],
    system: str,
    world: World,
    spend: Callable[[TokenUsage], None],
) -> Reply:
    """Ask `model` for `effect`; `spend` is told what that consumed. Raises `AskFailed`."""
    decl = _declared(effect, model, world)
    snapshot = world.snapshot
    use = snapshot.models.get(model) or decl.use  # a person may have chosen another one
    if isinstance(effect, CompactContext):  # whose window may be too small for what is to be read
        use = snapshot.formerly.get(model) or use
    call = CallModel(id=effect.id, state=effect.state, model=model, use=use)
    place = f"{world.machine.file}:{decl.place}"
    given = list(messages)
    answer = await attempt_once(
        call, world, lambda: asking_request(decl, call.use, given, system, place)
    )
    match answer:
        case ModelReplied():
            spend(answer.usage)
            if not answer.text.strip():
                raise AskFailed(model, "empty", NO_TEXT, retryable=True)
            return Reply(answer.text, answer.model, answer.finish, answer.usage)
        case AttemptFailed():
            spend(answer.usage)
            raise AskFailed(
                model, answer.reason, answer.detail, retryable=answer.retryable, partial=answer.partial
            )
        case ModelOverflowed():
            raise AskFailed(model, "overflow", answer.detail)
        case EffectCancelled():
            spend(answer.usage)
            raise asyncio.CancelledError
        case _:
            assert_never(answer)


def _declared(effect: Effect, model: str, world: World) -> ModelDecl:
    """The declaration of a model that the effect's state may ask; raises `AskFailed`."""
    may = models_of(world.machine, effect.state)
    decl = world.machine.models.get(model)
    if decl is None or model not in may:
        known = ", ".join(may) or "none"
        raise AskFailed(model, "undeclared", f"the state `{effect.state}` names these models: {known}")
    if decl.tiers:
        raise AskFailed(model, "tiered", f"`{model}` has tiers, which only states of kind `model` ask")
    return decl
