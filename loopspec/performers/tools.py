"""Tools performer: runs one call of the ledger, supervised.

Rules of this file:
1. The arguments that run are those of the journal, and their hash is the one that was decided on:
   what was approved and what runs can never differ (fault F21).
2. Arguments are validated against the tool's JSON Schema, and the envelope is asked once more, before
   anything runs; with arguments that a person changed, for the first time. A grant within limits must
   hold for what the call would touch now.
3. What the model sees is bounded; the whole output goes to a blob, redacted too.
"""

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Final

import msgspec

from loopspec.codec import args_hash
from loopspec.effects import Effect, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import (
    EffectCancelled,
    EffectFailed,
    EffectLost,
    Kept,
    ToolAnswered,
    ToolOutput,
)
from loopspec.hooks import ToolContext, World
from loopspec.machine.grants import grant_for
from loopspec.machine.ledger import PERSON
from loopspec.machine.model import ToolDecl
from loopspec.performers.gate import judge, sight
from loopspec.performers.open_text import OpenText
from loopspec.snapshot import Call
from loopspec.tools.arguments import validate
from loopspec.tools.orphans import name_of
from loopspec.tools.supervise import Bounded, Outcome, Run

MICRO: Final = 1_000_000
KEPT: Final = 64 * 1024
"""Bytes of a tool's open output that are kept in case the process dies."""


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
            fault = await asyncio.to_thread(_refused, effect, call, declared, text, world)
            tool = world.tool(declared.use)
            # Looks at the disk, which may be slow: not on the loop.
            sees = await asyncio.to_thread(
                sight, world.machine, call, text, world.snapshot, world.workdir
            )
        except asyncio.CancelledError:
            return EffectCancelled(effect=effect.id, started=False)
        except LoopspecError as err:
            fault, tool = str(err), None
        if fault or tool is None:
            return _answer(effect, Outcome("error", fault), "")
        said = _Said(effect, world)
        context = ToolContext(
            workdir=world.workdir,
            emit=said.more,
            config=json.loads(declared.config),
            people=world.people,
            call=name_of(world.directory, world.snapshot.session, effect.call),
            sees=sees,
            recall=world.recall,
        )
        total, silence = declared.total / MICRO, declared.silence / MICRO
        run = Run(tool, json.loads(text), context, total, silence)
        try:
            outcome = await run.outcome()
        except asyncio.CancelledError:
            return _stopped(effect, run)
        finally:
            said.close()
        return await _kept(effect, outcome, world)


class _Said:
    """What a tool says while it runs: shown at once, and kept in case its answer never comes."""

    def __init__(self, effect: RunTool, world: World) -> None:
        """Nothing yet."""
        self._effect, self._world = effect, world
        self._so_far = Bounded(cap=KEPT)
        self._open = OpenText(effect.id, world, self._text)

    def more(self, piece: str) -> None:
        """Show and keep a piece of the output."""
        data = piece.encode("utf-8", "replace")
        self._so_far.add(data)
        self._open.grown(len(data))
        # `watch` takes secrets out: only it knows what came before this piece.
        self._world.watch(ToolOutput(effect=self._effect.id, call=self._effect.call, text=piece))

    def close(self) -> None:
        """Nothing more will be said."""
        self._open.close()

    def _text(self) -> str:
        """All so far, as far as it is kept."""
        return self._world.redact(self._so_far.text())


def _refused(effect: RunTool, call: Call, declared: ToolDecl, text: str, world: World) -> str:
    """Why the call may not run after all, empty if it may. Reads the disk; runs in a thread.

    What its paths lead to may have changed since the gate decided (an earlier call of the same reply
    may have put a link there), so the envelope is asked once more.
    """
    if args_hash(effect.tool, text) != effect.args_hash:
        return "The arguments are not the ones that were decided on; the call was not run."
    fault = validate(declared.parameters, json.loads(text))
    if fault:
        return f"The arguments do not fit: {fault}"
    snapshot = world.snapshot
    now = judge(world.machine, call, text, snapshot, world.workdir)
    acting = msgspec.structs.replace(call, paths=tuple(now.paths), command=now.command)
    by_person = call.rule == PERSON and grant_for(snapshot.grants, acting, snapshot.at) is not None
    if now.answer == "allow" or (now.answer == "ask" and by_person):
        return ""
    why = now.reason or now.rule
    if call.edited >= 0:
        return f"What a person made of this call is not allowed ({now.rule}); it was not run. {why}"
    return f"Since it was allowed, what this call would touch has changed; it was not run. {why}"


def _stopped(effect: RunTool, run: Run) -> Kept:
    """What a cancelled run amounts to: one that would not stop may still be at work."""
    partial = run.partial().text
    if run.left_behind:
        reason = "it did not stop when it was cancelled and may still be at work"
        return EffectLost(effect=effect.id, reason=reason, partial=partial)
    return EffectCancelled(effect=effect.id, started=True, partial=partial)


async def _kept(effect: RunTool, outcome: Outcome, world: World) -> Kept:
    """The answer, its whole output kept as a blob when the model sees only a part.

    Secrets are taken out before head and tail are cut, or one on the edge would be kept in half. An
    interruption now comes too late: the tool is done, and its result is not thrown away.
    """
    if outcome.whole is None:
        return _answer(effect, outcome, "")
    clean = world.redact(outcome.whole.decode("utf-8", "surrogateescape"))
    data = clean.encode("utf-8", "surrogateescape")
    bounded = Bounded()
    bounded.add(data)
    writing = asyncio.ensure_future(asyncio.to_thread(world.put_blob, data))
    while not writing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(writing)
    return _answer(effect, replace(outcome, text=bounded.text()), writing.result())


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
