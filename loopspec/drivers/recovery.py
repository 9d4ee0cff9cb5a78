"""Recovery: what a restart does with each effect that was pending. The crash table, in one place.

| pending effect | what happens |
|---|---|
| not claimed, open | it is started (again): it has not begun, or may be repeated |
| a model call whose stream had begun | the attempt is noted with what was kept of it, and made again; |
| | where the model can, it goes on from there |
| claimed, its tool can probe | the probe says done, not done (it is started), or nobody knows |
| claimed, no probe | `effect.lost`, which the spec routes |
| being cancelled, not claimed | settled as cancelled; a call that writes and may have begun is lost |
| being cancelled, claimed | the probe says done or not done; else lost, and the call's result says so |
| answered | nothing: it is not pending |

What a call has left running is ended before anything is decided about it. Putting a workspace back may
be repeated: it aims at what was recorded, not at what it finds.
"""

import asyncio
import json
from typing import Final

import msgspec

from loopspec.effects import CallModel, Effect, Perform, RestoreBoundary, RunTool
from loopspec.events import AttemptFailed, EffectCancelled, EffectLost, Kept, ToolAnswered
from loopspec.hooks import Tool, ToolContext, World
from loopspec.machine.model import Machine
from loopspec.machine.modelling import RESTART
from loopspec.performers.model_prefill import takes_prefill
from loopspec.performers.model_request import params_of
from loopspec.snapshot import Pending, Snapshot
from loopspec.tools.orphans import end_call, name_of

PROBE_SECONDS: Final = 30.0
DONE: Final = "Completed before the restart; its output was lost."
BEGUN: Final = "the process ended after this had begun"
STREAMING: Final = "the process ended while the reply was streaming"
CANCELLED: Final = "the process ended while this was being cancelled"
HALF_BACK: Final = "the process ended while the workspace was put back; roll back again to finish"
# Probes that would not stop; a reference keeps them from being collected while they run.
_LEFT: Final[set[asyncio.Task[object]]] = set()


def needs_claim(machine: Machine, effect: Effect) -> bool:
    """Whether an effect may not be repeated without asking, so that it must be claimed."""
    if isinstance(effect, RunTool):
        tool = machine.tools.get(effect.tool)
        return tool is None or tool.after_crash != "rerun"
    if isinstance(effect, Perform):
        kind = machine.kinds.get(effect.kind)
        return kind is None or not kind.repeatable
    return False


async def decide_recovery(
    pending: Pending, world: World, *, patience: float = PROBE_SECONDS
) -> Kept | None:
    """The event that settles a pending effect after a restart, None to start it (again).

    A probe has `patience` seconds; whatever it raises or gives back besides a plain yes or no means
    that nobody knows.
    """
    effect = pending.effect
    partial = world.last_partial(effect.id).decode("utf-8", "ignore")
    if isinstance(effect, RunTool):
        await asyncio.to_thread(end_call, _mark(effect, world))  # nothing of it may run beside us
    happened, why = None, ""
    if isinstance(effect, RunTool) and asks_probe(world.machine, pending):
        happened, why = await _probe(effect, world, patience)
    made = verdict(world.machine, world.snapshot, pending, partial, happened, why)
    if isinstance(made, AttemptFailed) and isinstance(effect, CallModel):
        goes_on = await asyncio.to_thread(_takes_prefill, effect, world)
        made = msgspec.structs.replace(made, resumable=goes_on)
    return made


def _takes_prefill(effect: CallModel, world: World) -> bool:
    """Whether the model goes on from the text that was kept; one that nobody can ask is asked anew."""
    decl = world.machine.models.get(effect.model)
    try:
        return takes_prefill(effect.use, params_of(decl, effect.use) if decl is not None else {})
    except Exception:  # a plugin's provider says what it likes; the attempt itself will tell
        return False


def asks_probe(machine: Machine, pending: Pending) -> bool:
    """Whether the tool is asked if its call happened."""
    effect = pending.effect
    if not pending.claimed or not isinstance(effect, RunTool):
        return False
    decl = machine.tools.get(effect.tool)
    return decl is not None and decl.after_crash == "probe"


def verdict(
    machine: Machine,
    snapshot: Snapshot,
    pending: Pending,
    partial: str = "",
    happened: bool | None = None,
    why: str = "",
) -> Kept | None:
    """The crash table: what settles a pending effect, None to start it (again).

    `partial` is what was kept of its stream; `happened` is a probe's word, `why` what kept it from one.
    """
    effect, cancelling = pending.effect, pending.status == "cancelling"
    if not pending.claimed:
        if cancelling:
            return _cancelled(machine, snapshot, effect, partial)
        if isinstance(effect, CallModel) and partial:
            return AttemptFailed(
                effect=effect.id, reason=RESTART, detail=STREAMING, retryable=True, partial=partial
            )
        return None
    if isinstance(effect, RunTool) and happened is True:
        return ToolAnswered(effect=effect.id, call=effect.call, status="ok", output=DONE)
    if isinstance(effect, RunTool) and happened is False:
        return EffectCancelled(effect=effect.id, started=False) if cancelling else None
    reason = CANCELLED if cancelling else BEGUN
    reason += f", and looking did not tell whether it happened: {why}" if why else ""
    return EffectLost(effect=effect.id, reason=reason, partial=partial)


def _cancelled(machine: Machine, snapshot: Snapshot, effect: Effect, partial: str) -> Kept:
    """What became of an effect that was being cancelled and needed no claim, or had none yet."""
    begun = not needs_claim(machine, effect)  # it may have: no claim would tell
    match effect:
        case RunTool():
            call = snapshot.calls.get(effect.call)
            if begun and call is not None and call.effect != "read":
                return EffectLost(effect=effect.id, reason=CANCELLED, partial=partial)
            return EffectCancelled(effect=effect.id, started=False, partial=partial)  # it may run later
        case RestoreBoundary():
            return EffectCancelled(effect=effect.id, started=True, partial=partial or HALF_BACK)
        case _:
            return EffectCancelled(effect=effect.id, started=begun, partial=partial)


def _mark(effect: RunTool, world: World) -> str:
    """What the processes of a call carry, so that they can be found."""
    return name_of(world.directory, world.snapshot.session, effect.call)


async def _probe(effect: RunTool, world: World, patience: float) -> tuple[bool | None, str]:
    """Ask the tool whether its call happened; None and why when nobody knows."""
    asking: asyncio.Task[object] = asyncio.create_task(_ask(effect, world))
    _LEFT.add(asking)
    asking.add_done_callback(_LEFT.discard)
    try:
        await asyncio.wait({asking}, timeout=patience)
    finally:
        asking.cancel()  # one that swallows it is left behind, and not waited for
    if not asking.done():
        return None, f"it gave no answer within {patience:g} s"
    match asking.result():
        case bool(happened):
            return happened, ""
        case None:
            return None, "it cannot say"
        case str(fault):
            return None, fault
        case other:
            return None, f"it answered with {type(other).__name__}"


async def _ask(effect: RunTool, world: World) -> object:
    """The tool's own answer, or in words what kept it from answering."""
    decl = world.machine.tools[effect.tool]
    try:
        tool: Tool = world.tool(decl.use)
        if tool.probe is None:
            return "the tool can be asked no more"
        args = json.loads(world.args(world.snapshot.calls[effect.call]))
        context = ToolContext(
            workdir=world.workdir,
            emit=lambda _: None,
            config=json.loads(decl.config),
            call=_mark(effect, world),
        )
        given: object = await tool.probe(context, args)
    except asyncio.CancelledError:
        return "it was stopped"
    except BaseException as err:  # a plugin's own code, `sys.exit` included
        return f"{type(err).__name__}: {err}"
    return f"it answered with {type(given).__name__}" if isinstance(given, str) else given
