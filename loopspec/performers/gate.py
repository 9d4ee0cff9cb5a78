"""The gate: holds each proposed call against the authority envelope before it may run.

Rules of this file:
1. It fails closed: a call whose target cannot be told, or for which anything goes wrong, is denied,
   and so is every call when the gate as a whole takes too long. The other calls are unaffected.
2. Paths are judged resolved, as the tool will open them, never as the model wrote them.
3. It decides nothing by itself: the answer is `loopspec.governance.authority.decide`.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from loopspec.effects import DecideCalls, Effect
from loopspec.events import Decision, EffectCancelled, EffectFailed, GateDecided, Kept
from loopspec.governance.authority import Target, decide
from loopspec.hooks import ToolFailed, World
from loopspec.machine.ledger import GATE_FAILED
from loopspec.machine.model import Machine, ToolDecl
from loopspec.snapshot import Call, Snapshot
from loopspec.tools.confine import relative

DEADLINE: Final = 10.0
TOO_LONG: Final = "the gate took too long"

Relative = Callable[[Path, str], str]


class GatePerformer:
    """Does `DecideCalls` and answers with `GateDecided`.

    `deadline` is seconds for all calls together; `resolve` gives a path relative to the work
    directory and raises `ToolFailed` for one that leads outside.
    """

    def __init__(self, deadline: float = DEADLINE, resolve: Relative = relative) -> None:
        """See the class."""
        self._deadline = deadline
        self._resolve = resolve

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Decide each of the effect's calls."""
        if not isinstance(effect, DecideCalls):
            return EffectFailed(effect=effect.id, reason="the gate only decides calls")
        # Read here and not in the thread below: a store may be bound to this thread.
        given = {call: _read(world, call) for call in effect.calls}
        machine, snapshot, workdir = world.machine, world.snapshot, world.workdir
        try:
            async with asyncio.timeout(self._deadline):
                # Resolving touches the disk, which may hang (a dead network mount). A thread cannot
                # be stopped: one that is late has no say any more.
                decisions = await asyncio.to_thread(
                    self._decide_all, given, machine, snapshot, workdir
                )
        except TimeoutError:
            decisions = [_failed(call, TOO_LONG) for call in effect.calls]
        except asyncio.CancelledError:
            return EffectCancelled(effect=effect.id)
        return GateDecided(effect=effect.id, decisions=decisions)

    def _decide_all(
        self,
        given: dict[str, "tuple[Call, str] | Decision"],
        machine: Machine,
        snapshot: Snapshot,
        workdir: Path,
    ) -> list[Decision]:
        """A decision for each call, in order; each fails alone."""
        out: list[Decision] = []
        for found in given.values():
            if isinstance(found, Decision):
                out.append(found)
                continue
            call, args = found
            out.append(judge(machine, call, args, snapshot, workdir, self._resolve))
        return out


def judge(
    machine: Machine,
    call: Call,
    args: str,
    snapshot: Snapshot,
    workdir: Path,
    resolve: Relative = relative,
) -> Decision:
    """The envelope's answer for one call as things stand now. Never raises; fails closed."""
    try:
        declared = machine.tools.get(call.tool)
        target = _target(declared, json.loads(args), workdir, resolve)
        # The time is the last entry's: the one that asked for this decision.
        return decide(machine, call, target, snapshot.grants, snapshot.at)
    except Exception as error:  # fail closed, whatever it is, and say so
        return _failed(call.id, _words(error))


def sight(
    machine: Machine, call: Call, args: str, snapshot: Snapshot, workdir: Path
) -> Callable[[str], bool]:
    """Whether the envelope lets this call see a path: what it would deny, or ask about by another
    rule than the call itself, is hidden from tools that walk a tree."""
    own = judge(machine, call, args, snapshot, workdir)

    def sees(path: str) -> bool:
        found = decide(machine, call, Target(paths=(path,)), snapshot.grants, snapshot.at)
        return found.answer == "allow" or (found.answer == "ask" and found.rule == own.rule)

    return sees


def _target(
    declared: ToolDecl | None, args: Any, workdir: Path, resolve: Relative
) -> Target:
    """What the call acts on. Raises `ValueError` for arguments of the wrong type."""
    if declared is None:
        return Target()
    if not isinstance(args, dict):
        raise ValueError("the arguments are no JSON object")
    command = args.get(declared.command) if declared.command else ""
    if command is not None and not isinstance(command, str):
        raise ValueError(f"the argument `{declared.command}` is no text")
    try:
        paths = tuple(
            resolve(workdir, given)
            for name in declared.paths
            for given in _paths(name, args.get(name))
        )
    except ToolFailed as error:
        return Target(command=command or "", problem=str(error) or "a path leads outside")
    return Target(paths=paths, command=command or "")


def _paths(name: str, value: Any) -> list[str]:
    """The paths an argument names; a tool that is given none works on the work directory."""
    if value is None or value == []:
        return ["."]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise ValueError(f"the argument `{name}` is no path")


def _read(world: World, call_id: str) -> "tuple[Call, str] | Decision":
    """The call and its arguments, or a denial if they cannot be read."""
    try:
        call = world.snapshot.calls.get(call_id)
        if call is None:
            return _failed(call_id, f"there is no call `{call_id}`")
        return call, world.args(call)
    except Exception as error:  # fail closed, whatever it is, and say so
        return _failed(call_id, _words(error))


def _failed(call_id: str, why: str) -> Decision:
    return Decision(call=call_id, answer="deny", rule=GATE_FAILED, reason=why)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
