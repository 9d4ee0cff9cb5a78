"""Journey walk: takes a journey's steps with the real driver, store and tools.

Rules of this file:
1. Every step is a run of its own, resumed from what is on disk, as a new process would.
2. Nobody waits for time to pass: where only a timer could move the session, the clock leaps to it.
3. What a person does while the loop works is told once, when what it waits for has been seen.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec.codec import canonical_json
from loopspec.drivers import launch
from loopspec.drivers.door import waiting_call
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.resuming import extensions, first_events
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import BadSpec, LoopspecError
from loopspec.events import (
    ApprovalGiven,
    CompactionRequested,
    EffectStarted,
    HostSuspended,
    Kept,
    Live,
    RollbackChosen,
    TextDelta,
    ToolOutput,
    UserCalled,
    UserInterrupted,
    UserMessage,
    name_of,
)
from loopspec.hooks import People
from loopspec.journal.chain import read
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest, resting
from loopspec.registry import Registry
from loopspec.snapshot import Call, Snapshot
from loopspec.spec.diagnose import render_text
from loopspec.spec.literals import duration
from loopspec.stores.sqlite import SqliteStore
from loopspec.testing.journey_file import ANSWERS, During, Located, Step
from loopspec.version import __version__

LIMIT: Final = 60.0
"""Seconds a step may take before it is given up."""
SESSION: Final = "journey"
LEFT: Final = Rest("left")


class LeapingClock(SystemClock):
    """The machine's clocks, and how far a journey is ahead of them."""

    def __init__(self) -> None:
        """Not ahead."""
        self.ahead = 0

    def leap(self, micros: int) -> None:
        """Let so much time have passed."""
        self.ahead += max(0, micros)

    def now(self) -> int:
        """UTC microseconds."""
        return super().now() + self.ahead

    def awake(self) -> int:
        """Microseconds awake."""
        return super().awake() + self.ahead


class Answering:
    """The person a tool asks; says what the step lets them say."""

    def __init__(self, replies: Sequence[str]) -> None:
        """In this order."""
        self._left = list(replies)

    async def answer(self, question: str) -> str:
        """The next reply; raises `LoopspecError` when there is none."""
        if not self._left:
            raise LoopspecError(f"the journey has no reply to: {question}", remedy="add it to `replies`")
        return self._left.pop(0)


@dataclass
class Took:
    """What one step came to: its entries, the session after it, and what was refused."""

    rest: Rest
    entries: list[Entry]
    snapshot: Snapshot
    refusals: list[str] = field(default_factory=list)
    unmet: str = ""


class Watcher:
    """The door of a step: sees everything, does what `during` says, leaps over waits."""

    def __init__(self, step: Step, clock: LeapingClock) -> None:
        """Nobody is behind it once the step's own act is done."""
        self.people: People | None = Answering(step.replies) if step.replies else None
        self.refusals: list[str] = []
        self.driver: LocalDriver | None = None
        self.open: During | None = step.during
        self._clock = clock
        self._begun = False
        self._streamed = ""
        self._told: set[asyncio.Task[Any]] = set()

    def kept(self, session: Session, entry: Entry) -> None:
        """Leap to the next timer if nothing else can move the session."""
        snapshot = session.snapshot
        if snapshot.pending or not snapshot.timers or resting(session.machine, snapshot) is not None:
            return
        now = {"wall": session.clock.now(), "awake": session.awake_now()}
        self._clock.leap(min(t.due - now[t.clock] for t in snapshot.timers.values()))

    def live(self, event: Live) -> None:
        """See whether it is time for what is done during the work."""
        during, driver = self.open, self.driver
        if during is None or driver is None or not _within(during.state, driver.session.snapshot):
            return
        if isinstance(event, EffectStarted):
            self._begun = True
        elif isinstance(event, TextDelta | ToolOutput):
            self._streamed += event.text
        if self._begun and during.seen in self._streamed:
            self.open = None
            asyncio.get_running_loop().call_soon(self._act, during, driver)

    def _act(self, during: During, driver: LocalDriver) -> None:
        """Do what was to be done."""
        if during.do == "leave":
            driver.stop(LEFT)
            return
        event, by = _during(during)
        task = asyncio.create_task(driver.tell(event, by))
        self._told.add(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """Keep why."""
        self.refusals.append(f"{name_of(event)}: {reason}")

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """Nobody says more than the step's act."""
        return None


def _during(during: During) -> tuple[Kept, str]:
    """What is told during the work, and who tells it."""
    if during.do == "interrupt":
        return UserInterrupted(), "person"
    if during.do == "suspend":
        return HostSuspended(), "host"
    return UserMessage(text=during.say or ""), "person"


def _within(state: str, snapshot: Snapshot) -> bool:
    """Whether a state of this path (or end of a path) is active."""
    return any(named(path, state) for path in snapshot.configuration)


def named(path: str, name: str) -> bool:
    """Whether `name` is the path, or the end of it."""
    return path == name or path.endswith(f".{name}")


class Walker:
    """One journey under way. `place` holds its work directory and its store."""

    def __init__(self, located: Located, registry: Registry, place: Path) -> None:
        """Reads the spec; raises `LoopspecError`."""
        self._located = located
        self._journey = located.journey
        self._registry = registry
        self._clock = LeapingClock()
        self.workdir = place / "work"
        self._scripts = place / "models"
        self.store = SqliteStore(place / "store")
        self.machine = self._machine()
        self.snapshot: Snapshot | None = None

    def _machine(self) -> Machine:
        """The spec's machine, its models played by the journey's scripts; raises `LoopspecError`."""
        spec = self._located.path.parent / self._journey.spec
        name = str(spec) if spec.is_file() else self._journey.spec
        loaded = launch.load(name, self._registry)
        if loaded.machine is None:
            told = render_text(loaded.diagnostics, {loaded.name: loaded.source}).rstrip("\n")
            raise BadSpec(f"the spec is wrong:\n{told}", place=name, remedy="correct it first")
        used = {decl.name: decl for decl in launch.used_models(loaded.machine)}
        real = [n for n, decl in used.items() if not decl.use.startswith(launch.SCRIPTED)]
        missing = [n for n in real if n not in self._journey.models]
        if missing:
            raise BadSpec(
                f"nothing says what the model `{missing[0]}` replies",
                place=self._located.place("models"),
                remedy=f"add `{missing[0]}: {{turns: [...]}}`; a journey calls no real model",
            )
        choices = [f"{n}=scripted/{self._script(n)}" for n in self._journey.models]
        return launch.anchored(launch.with_models(loaded.machine, choices), launch.find(name).parent)

    def _script(self, name: str) -> Path:
        """Write a model's script down; gives back where."""
        script = self._journey.models[name]
        self._scripts.mkdir(parents=True, exist_ok=True)
        path = (self._scripts / f"{name}.yaml").absolute()
        path.write_text(json.dumps({"script": 1, **msgspec.to_builtins(script)}), encoding="utf-8")
        return path

    def prepare(self) -> None:
        """Make the work directory; raises `LoopspecError` for a path outside it."""
        self.workdir.mkdir(parents=True, exist_ok=True)
        for name, text in self._journey.files.items():
            path = self.inside(name, "files", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def inside(self, name: str, *keys: str | int) -> Path:
        """A path below the work directory; raises `BadSpec` when it is not."""
        path = (self.workdir / name).resolve()
        if self.workdir.resolve() not in path.parents:
            raise BadSpec(
                f"`{name}` leads out of the work directory",
                place=self._located.place(*keys),
                remedy="write a path below it",
            )
        return path

    async def take(self, number: int) -> Took:
        """Take one step; raises `LoopspecError` when it cannot be taken."""
        step = self._journey.steps[number]
        if step.later:
            self._clock.leap(self._later(number, step.later))
        door = Watcher(step, self._clock)
        first = None
        if self.snapshot is None:
            session, first = await self._begin()
        else:
            session = Session.load(self.store, SESSION, self._clock, redactor())
        before = -1 if self.snapshot is None else self.snapshot.seq
        driver = door.driver = LocalDriver(session, self._registry, door)
        events = list(self._events(session, step, number))
        try:
            async with asyncio.timeout(LIMIT):
                rest = await driver.run(events, first)
        except TimeoutError:
            rest = Rest("still working", session.snapshot.configuration[-1])
        self.snapshot = session.snapshot
        entries = [read(row) for row in self.store.entries(SESSION, before + 1)]
        unmet = ""
        if door.open is not None:
            unmet = f"`during` never came: no work in `{door.open.state}`"
            unmet += f" has streamed {door.open.seen!r}" if door.open.seen else " has begun"
        return Took(rest, entries, session.snapshot, door.refusals, unmet)

    async def _begin(self) -> tuple[Session, Any]:
        """A new session."""
        given = [f"{name}={_word(value)}" for name, value in self._journey.inputs.items()]
        inputs = launch.parse_inputs(self.machine, given)
        where = self.workdir.resolve()
        windows = launch.preflight(self.machine, inputs, str(where))
        started = launch.started(self.machine, self._registry, inputs, where, windows, __version__)
        return await Session.create(
            self.store, self.machine, SESSION, started, self._clock, redactor()
        )

    def _later(self, number: int, text: str) -> int:
        """A duration in microseconds; raises `BadSpec`."""
        micros = duration(text)
        if micros is None:
            raise BadSpec(
                f"`{text}` is no duration",
                place=self._located.place("steps", number, "later"),
                remedy="write 90s, 10m or 24h",
            )
        return micros

    def _events(self, session: Session, step: Step, number: int) -> list[tuple[Kept, str]]:
        """The events of a step's act; raises `BadSpec` when nothing waits for an answer."""
        for act, answer in ANSWERS.items():
            tool = getattr(step, act)
            if tool is not None:
                call = self._waiting(session, tool, number, act)
                return [(_answer(step, call, answer), "person")]
        if step.say is not None and session.snapshot.seq < 1:
            return [(UserMessage(text=step.say), "person")]
        if step.say is not None or step.resume or step.extend:
            more = extensions([f"{which}={amount}" for which, amount in step.extend.items()])
            return first_events(session, step.say, more)
        if step.rollback is not None:
            return [(RollbackChosen(boundary=step.rollback), "person")]
        if step.call is not None:
            return [(UserCalled(step.call.tool, canonical_json(step.call.args)), "person")]
        if step.compact:
            return [(CompactionRequested(), "person")]
        return []

    def _waiting(self, session: Session, tool: str, number: int, act: str) -> Call:
        """The call an answer is for: the first that waits, which must be of this tool."""
        call = waiting_call(session)
        if call is None or call.tool != tool:
            waits = f"a call of `{call.tool}`" if call else "no call"
            raise BadSpec(
                f"the answer is for a call of `{tool}`, and {waits} waits for one",
                place=self._located.place("steps", number, act),
                remedy="answer the calls in the order in which they were proposed",
            )
        return call


def _answer(step: Step, call: Call, answer: str) -> ApprovalGiven:
    """The answer a step gives for a call."""
    return ApprovalGiven(
        call=call.id,
        args_hash=call.args_hash,
        answer=answer,
        scope=step.scope,
        reason=step.reason,
        args="" if step.args is None else canonical_json(step.args),
        paths=tuple(step.paths),
        commands=tuple(step.commands),
    )


def _word(value: Any) -> str:
    """An input as the command line would be given it."""
    return value if isinstance(value, str) else json.dumps(value)
