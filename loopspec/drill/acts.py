"""Acts: what was really done in the world, counted outside the journal.

Every tool call and every foreign effect writes a line to a file before it begins and after it is
done, in one `O_APPEND` write each, so that a killed process leaves a true count behind.

Rules of this file:
1. The line is written before the act begins: an act is never missed, only over-counted by one that
   was killed before it did anything.
2. The wrapped tools and performers do exactly what they did; only lines and points are added.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec.codec import canonical_json
from loopspec.effects import Effect, Perform
from loopspec.events import Kept
from loopspec.hooks import Performer, Tool, ToolContext, World
from loopspec.points import reach
from loopspec.registry import Registry

BEGUN: Final = "begun"
DONE: Final = "done"
FAILED: Final = "failed"
NOT_DONE: Final = "not done"
"""What a probe said that looked and did not find the act."""


class Act(msgspec.Struct, frozen=True):
    """One line: `call` is the call's or effect's id without its session, `phase` one of the above."""

    call: str
    what: str
    phase: str


class Acts:
    """The file of acts of one case."""

    def __init__(self, path: Path) -> None:
        """`path` need not exist yet."""
        self._path = path

    def note(self, call: str, what: str, phase: str) -> None:
        """Add a line at once."""
        line = msgspec.json.encode(Act(call, what, phase)) + b"\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def read(self) -> list[Act]:
        """Every line so far."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Act) for line in lines]

    def phases(self, call: str) -> list[str]:
        """What is known of one call, oldest first."""
        return [act.phase for act in self.read() if act.call == call]


def watched(registry: Registry, acts: Acts) -> Registry:
    """The registry with every tool and performer leaving its lines and points."""
    return dataclasses.replace(
        registry,
        tools={name: _tool(tool, acts) for name, tool in registry.tools.items()},
        performers={name: _factory(made, acts) for name, made in registry.performers.items()},
    )


def short(call: str) -> str:
    """A call's id without the session's name in front."""
    return call.rpartition(":")[2]


def _tool(tool: Tool, acts: Acts) -> Tool:
    """The tool, its acts counted."""

    async def run(ctx: ToolContext, args: dict[str, Any]) -> str:
        key, what = short(ctx.call), f"{tool.name} {canonical_json(args)}"
        said = False

        def emit(piece: str) -> None:
            nonlocal said
            ctx.emit(piece)
            if not said:
                said = True
                reach("act.speaks")

        acts.note(key, what, BEGUN)
        reach("act.begins")
        try:
            output = await tool.run(dataclasses.replace(ctx, emit=emit), args)
        except BaseException:
            acts.note(key, what, FAILED)
            reach("act.fails")
            raise
        acts.note(key, what, DONE)
        reach("act.done")
        return output

    async def probe(ctx: ToolContext, args: dict[str, Any]) -> bool | None:
        assert tool.probe is not None
        found = await tool.probe(ctx, args)
        if found is False:
            acts.note(short(ctx.call), f"{tool.name} {canonical_json(args)}", NOT_DONE)
        reach("probe.answers")
        return found

    return dataclasses.replace(tool, run=run, probe=probe if tool.probe is not None else None)


class _Watched:
    """A performer that says when it begins and when it has answered."""

    def __init__(self, inner: Performer, acts: Acts) -> None:
        self._inner, self._acts = inner, acts

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Do the effect (see `loopspec.hooks.Performer`)."""
        tag = str(type(effect).__struct_config__.tag).replace(".", "_")
        foreign = isinstance(effect, Perform)
        key = effect.id.partition(":")[2]
        if foreign:
            self._acts.note(key, tag, BEGUN)
        reach(f"{tag}.begins")
        answer = await self._inner.perform(effect, world)
        if foreign:
            self._acts.note(key, tag, DONE)
        reach(f"{tag}.answers")
        return answer


def _factory(make: Callable[[], Performer], acts: Acts) -> Callable[[], Performer]:
    """The factory of a performer that is watched."""
    return lambda: _Watched(make(), acts)


def count(acts: list[Act]) -> Mapping[str, Mapping[str, int]]:
    """By call, how often each phase was noted."""
    out: dict[str, dict[str, int]] = {}
    for act in acts:
        phases = out.setdefault(act.call, {})
        phases[act.phase] = phases.get(act.phase, 0) + 1
    return out
