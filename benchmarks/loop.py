"""The loop of the benchmarks on our side: its doubles, its registry, and a door that keeps talking.

Real: the spec `loop.yaml`, `step`, the session, the driver, the store, compaction. Doubles: the model,
the gate and the tools, which answer at once (`real=True` puts the real gate and the real performer of
tools in their place, around tools that answer at once).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import texts
from lockstep import Lockstep

from loopspec.codec import canonical_json
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import CallModel, DecideCalls, Effect, RunTool
from loopspec.events import (
    Decision,
    EffectFailed,
    GateDecided,
    Kept,
    ModelReplied,
    ProposedCall,
    TokenUsage,
    ToolAnswered,
    UserMessage,
)
from loopspec.hooks import Performer, Tool, ToolContext, World
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.registry import Registry, installed
from loopspec.stores.base import Store
from loopspec.tokens import estimate

SPEC: Final = Path(__file__).parent / "loop.yaml"
_PARAMETERS: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {"path": {"type": "string"}},
}


async def _answer(context: ToolContext, args: dict[str, Any]) -> str:
    """A tool that is done at once."""
    return texts.kilobyte(len(args["path"]))


TOOLS: Final = tuple(
    Tool(
        name=f"bench.{name}",
        description="Answers at once.",
        parameters=_PARAMETERS,
        run=_answer,
        effect=effect,
        after_crash=after,
        paths=("path",),
    )
    for name, effect, after in (("look", "read", "rerun"), ("send", "irreversible", "ask"))
)


class InstantModel:
    """Four replies with a call, then one without, about 1 KB each."""

    def __init__(self, tool: str) -> None:
        """`tool` is what it calls."""
        self._tool = tool
        self._said = 0

    async def perform(self, effect: Effect, world: World) -> Kept:
        """The next reply (see `loopspec.hooks.Performer`)."""
        if not isinstance(effect, CallModel):
            return EffectFailed(effect=effect.id, reason="this performer only asks models")
        self._said += 1
        text = texts.kilobyte(world.snapshot.seq)
        calls, finish = [], "stop"
        if self._said % (texts.ROUNDS + 1):
            args = canonical_json({"path": f"src/module_{self._said % 97:02d}.py"})
            calls, finish = [ProposedCall(self._tool, args)], "tool_calls"
        tokens = estimate(text) + sum(estimate(call.args) for call in calls)
        return ModelReplied(
            effect=effect.id,
            text=text,
            calls=calls,
            finish=finish,
            model=effect.use,
            usage=TokenUsage(
                input_tokens=world.snapshot.usage.context, output_tokens=tokens, cost=tokens * 15_000
            ),
            request=hashlib.sha256(text.encode()).hexdigest(),
            tokens=tokens,
        )


class InstantGate:
    """Allows everything."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """The decision (see `loopspec.hooks.Performer`)."""
        if not isinstance(effect, DecideCalls):
            return EffectFailed(effect=effect.id, reason="the gate only decides calls")
        made = [Decision(call=call, answer="allow", rule="allow[0]") for call in effect.calls]
        return GateDecided(effect=effect.id, decisions=made)


class InstantTools:
    """Answers each call with about 1 KB."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """The result (see `loopspec.hooks.Performer`)."""
        if not isinstance(effect, RunTool):
            return EffectFailed(effect=effect.id, reason="this performer only runs tools")
        text = texts.kilobyte(world.snapshot.seq)
        return ToolAnswered(
            effect=effect.id,
            call=effect.call,
            status="ok",
            output=text,
            duration=1_000,
            tokens=estimate(text),
        )


def registry(*, claims: bool = False, real: bool = False) -> Registry:
    """What is installed, with the doubles. With `claims` the calls may not be repeated."""
    base = installed()
    doubles: Mapping[str, Callable[[], Performer]] = {
        "model": lambda: InstantModel("send" if claims else "look"),
        **({} if real else {"gate": InstantGate, "tools": InstantTools}),
    }
    return Registry(
        kinds=base.kinds,
        tools={**base.tools, **{tool.name: tool for tool in TOOLS}},
        performers={**base.performers, **doubles},
        origins=base.origins,
        versions=base.versions,
    )


def machine(reg: Registry, *, bounded: bool = True) -> Machine:
    """The compiled loop; not `bounded`: with a window that is never full."""
    loaded = launch.load(str(SPEC), reg)
    assert loaded.machine is not None, loaded.diagnostics
    if bounded:
        return loaded.machine
    context = msgspec.structs.replace(loaded.machine.context, window=0)
    return msgspec.structs.replace(loaded.machine, context=context)


class Talk(Nobody):
    """Says the next thing whenever the session rests, until `enough` entries are committed.

    `turn` is awaited before each message and may lift `enough`; `payload` counts the bytes of texts and
    outputs.
    """

    def __init__(self, enough: int, turn: "Callable[[Talk], Awaitable[None]] | None" = None) -> None:
        """See the class."""
        super().__init__()
        self.enough = enough
        self.entries = 0
        self.payload = 0
        self._turn = turn

    def kept(self, session: Session, entry: Entry) -> None:
        """Count an entry."""
        self.entries += 1
        match entry.event:
            case UserMessage(text=text) | ModelReplied(text=text) | ToolAnswered(output=text):
                self.payload += len(text)

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """The next message."""
        assert rest.reason == "input", rest
        if self._turn is not None and self.entries >= self.enough:
            await self._turn(self)
        if self.entries >= self.enough:
            return None
        text = texts.kilobyte(session.snapshot.seq)
        return UserMessage(text=text, tokens=estimate(text))


class Together:
    """Sessions in one process that do their slices together, as their leader says."""

    def __init__(self, lead: Lockstep, sessions: int) -> None:
        """For so many sessions."""
        self._lead = lead
        self._sessions = sessions
        self._waiting: list[tuple[Talk, asyncio.Future[None]]] = []
        self._before = -1

    async def turn(self, talk: Talk) -> None:
        """Wait until all have done their slice and the next is told."""
        go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((talk, go))
        if len(self._waiting) == self._sessions:
            await self._next()
        await go

    async def _next(self) -> None:
        """Answer the slice that is over, and begin the next."""
        entries = sum(talk.entries for talk, _ in self._waiting)
        if self._before >= 0:
            self._lead.did(entries - self._before)
        else:
            self._lead.ready()
        # In a thread: whatever a driver does beside its session (a heartbeat) goes on.
        wanted = await asyncio.to_thread(self._lead.told)
        waiting, self._waiting = self._waiting, []
        self._before = entries
        for talk, go in waiting:
            talk.enough = talk.entries + wanted // self._sessions if wanted else 0
            go.set_result(None)


async def led(
    lead: Lockstep, store: Store, made: Machine, reg: Registry, sessions: int
) -> list[Talk]:
    """Fresh sessions, each with a driver, led in lockstep."""
    together = Together(lead, sessions)
    talks = [Talk(texts.PER_TURN, together.turn) for _ in range(sessions)]  # a turn to warm up
    fresh = [await begun(store, made, reg, f"s{n}", talk) for n, talk in enumerate(talks)]
    await asyncio.gather(*(driver.run((), first) for driver, first in fresh))
    return talks


async def begun(
    store: Store, made: Machine, reg: Registry, name: str, door: Nobody
) -> tuple[LocalDriver, Any]:
    """A fresh session with its driver, and its first step."""
    event = launch.started(made, reg, "{}", Path.cwd(), {}, "0")
    session, first = await Session.create(store, made, name, event, SystemClock(), redactor())
    return LocalDriver(session, reg, door), first


async def talk(store: Store, made: Machine, reg: Registry, name: str, enough: int) -> Talk:
    """Drive a fresh session until `enough` entries are committed."""
    door = Talk(enough)
    driver, first = await begun(store, made, reg, name, door)
    rest = await driver.run((), first)
    assert rest.reason == "input", rest
    return door


def run_talk(store: Store, made: Machine, reg: Registry, name: str, enough: int) -> Talk:
    """`talk` in a loop of its own."""
    return asyncio.run(talk(store, made, reg, name, enough))
