"""Tools performer: runs one call of the ledger, supervised.

Rules of this file:
1. The arguments that run are those of the journal, and their hash is the one that was decided on:
   what was approved and what runs can never differ (fault F21).
2. Arguments are validated against the tool's JSON Schema before anything runs.
3. What the model sees is bounded; the whole output goes to a blob, redacted too.
"""

import asyncio
import json
from typing import Final

from loopspec.codec import args_hash
from loopspec.effects import Effect, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import EffectCancelled, EffectFailed, Kept, ToolAnswered, ToolOutput
from loopspec.hooks import ToolContext, World
from loopspec.tools.arguments import validate
from loopspec.tools.supervise import Outcome, Run

MICRO: Final = 1_000_000


class ToolsPerformer:
    """Does `RunTool`; answers with `tool.answered`, or `effect.cancelled` when stopped."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Run the call (see `loopspec.hooks.Performer`)."""
        if not isinstance(effect, RunTool):
            return EffectFailed(effect=effect.id, reason="this performer only runs tools")
        call = world.snapshot.calls.get(effect.call)
        declared = world.machine.tools.get(effect.tool)
        if call is None or declared is None:
            return EffectFailed(effect=effect.id, reason=f"there is no call {effect.call} to run")
        try:
            text = await asyncio.to_thread(world.args, call)
            tool = world.tool(declared.use)
        except LoopspecError as err:
            return _answer(effect, Outcome("error", str(err)), "")
        if args_hash(effect.tool, text) != effect.args_hash:
            fault = "The arguments are not the ones that were decided on; the call was not run."
            return _answer(effect, Outcome("error", fault), "")
        args = json.loads(text)
        fault = validate(declared.parameters, args)
        if fault:
            return _answer(effect, Outcome("error", f"The arguments do not fit: {fault}"), "")
        context = ToolContext(
            workdir=world.workdir,
            emit=lambda piece: world.watch(
                ToolOutput(effect=effect.id, call=effect.call, text=world.redact(piece))
            ),
            config=json.loads(declared.config),
            people=world.people,
            call=f"{world.snapshot.session}:{effect.call}",
        )
        run = Run(tool, args, context, declared.total / MICRO, declared.silence / MICRO)
        try:
            outcome = await run.outcome()
        except asyncio.CancelledError:
            return EffectCancelled(effect=effect.id, started=True, partial=run.partial().text)
        blob = ""
        if outcome.whole is not None:
            whole = world.redact(outcome.whole.decode("utf-8", "surrogateescape"))
            data = whole.encode("utf-8", "surrogateescape")
            blob = await asyncio.to_thread(world.put_blob, data)
        return _answer(effect, outcome, blob)


def _answer(effect: RunTool, outcome: Outcome, blob: str) -> ToolAnswered:
    """The answer an outcome means."""
    return ToolAnswered(
        effect=effect.id,
        call=effect.call,
        status=outcome.status,
        output=outcome.text,
        blob=blob,
        duration=outcome.duration_us,
    )
