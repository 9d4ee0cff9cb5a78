"""Recovery: what a restart does with each effect that was pending. The crash table, in one place.

| pending effect | what happens |
|---|---|
| not started, or repeatable | it is started (again) |
| a model call whose stream had begun | the attempt is noted with what was kept of it, and made again |
| claimed, its tool can probe | the probe says done, not done, or nobody knows |
| claimed, no probe | `effect.lost`, which the spec routes |
| being cancelled, never claimed | settled as cancelled |
| being cancelled, claimed | `effect.lost`, noted; the call's result says so |
| answered | nothing: it is not pending |
"""

import asyncio
import json

from loopspec.effects import CallModel, Effect, Perform, RunTool
from loopspec.events import AttemptFailed, EffectCancelled, EffectLost, Kept, ToolAnswered
from loopspec.hooks import ToolContext, World
from loopspec.machine.model import Machine
from loopspec.machine.work import RESTART
from loopspec.snapshot import Pending
from loopspec.tools.orphans import end_call

PROBE_SECONDS = 30.0


def needs_claim(machine: Machine, effect: Effect) -> bool:
    """Whether an effect may not be repeated without asking, so that it must be claimed."""
    if isinstance(effect, RunTool):
        tool = machine.tools.get(effect.tool)
        return tool is None or tool.after_crash != "rerun"
    if isinstance(effect, Perform):
        kind = machine.kinds.get(effect.kind)
        return kind is None or not kind.repeatable
    return False


async def decide_recovery(pending: Pending, world: World) -> Kept | None:
    """The event that settles a pending effect after a restart, None to start it (again)."""
    effect = pending.effect
    partial = world.last_partial(effect.id).decode("utf-8", "ignore")
    if isinstance(effect, RunTool):
        mark = f"{world.snapshot.session}:{effect.call}"
        await asyncio.to_thread(end_call, mark)  # nothing of it may run beside us
    if pending.status == "cancelling":
        if pending.claimed:
            reason = "the process ended while this was being cancelled"
            return EffectLost(effect=effect.id, reason=reason, partial=partial)
        began = isinstance(effect, CallModel)
        return EffectCancelled(effect=effect.id, started=began, partial=partial)
    if isinstance(effect, CallModel) and partial:
        said = "the process ended while the reply was streaming"
        return AttemptFailed(
            effect=effect.id, reason=RESTART, detail=said, retryable=True, partial=partial
        )
    if not pending.claimed:
        return None
    reason = "the process ended after this had begun"
    if isinstance(effect, RunTool) and world.machine.tools[effect.tool].after_crash == "probe":
        happened = await _probe(effect, world)
        if happened is False:
            return None
        if happened:
            text = "Completed before the restart; its output was lost."
            return ToolAnswered(effect=effect.id, call=effect.call, status="ok", output=text)
        reason = "the process ended after this had begun, and looking did not tell whether it did"
    return EffectLost(effect=effect.id, reason=reason, partial=partial)


async def _probe(effect: RunTool, world: World) -> bool | None:
    """Ask the tool whether its call happened; None when nobody knows."""
    decl = world.machine.tools[effect.tool]
    try:
        tool = world.tool(decl.use)
        if tool.probe is None:
            return None
        args = json.loads(world.args(world.snapshot.calls[effect.call]))
        context = ToolContext(
            workdir=world.workdir,
            emit=lambda _: None,
            config=json.loads(decl.config),
            call=effect.call,
        )
        async with asyncio.timeout(PROBE_SECONDS):
            return await tool.probe(context, args)
    except Exception:  # a plugin's own code, whatever it raises: then nobody knows
        return None
