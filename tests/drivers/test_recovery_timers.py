"""Timers are absolute: they survive restarts; what is due fires first, and says how late it is."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine.builders import SECOND, T0, machine

from drivers.test_local import registry
from loopspec.drivers.door import Nobody
from loopspec.drivers.lease import Tenure
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.resuming import first_events
from loopspec.drivers.session import Session, verified
from loopspec.drivers.world import redactor
from loopspec.events import HostSuspended, HostWoke, Kept, SessionStarted, TimerFired, UserMessage
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.stores.sqlite import SqliteStore
from loopspec.views.timeline import render, timeline


@dataclass
class Clock:
    """Clocks that stand until they are set. A process's awake clock begins anywhere."""

    wall: int = T0
    up: int = 77 * SECOND

    def now(self) -> int:
        return self.wall

    def awake(self) -> int:
        return self.up

    def pass_by(self, seconds: int, *, asleep: bool = False) -> None:
        self.wall += seconds * SECOND
        self.up += 0 if asleep else seconds * SECOND


REST = "interrupt"
"""The kind of every state here: a run may rest in it, so a driver does not wait for the timer."""


def waiting(clock: str, seconds: int) -> dict[str, Any]:
    """A region that waits for a timer."""
    waits = {"kind": REST, "clock": clock, "after": {seconds * SECOND: "over"}}
    states = {"waits": waits, "over": {"kind": REST}}
    return {"initial": "waits", "states": states}


FOUR = machine(
    {
        "all": {
            "type": "parallel",
            "states": {
                "ten": waiting("wall", 10),
                "five": waiting("wall", 5),
                "awake": waiting("awake", 7),
                "day": waiting("wall", 86_400),
            },
        }
    }
)


def key(region: str) -> str:
    return f"after.all.{region}.waits.0"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path)
    yield made
    made.close()


def begin(store: SqliteStore, made: Machine, clock: Clock, *told: Kept) -> None:
    """Session `s1` of this machine, told some things by a process that then dies."""

    async def run() -> None:
        session, _ = await Session.create(
            store, made, "s1", SessionStarted(made.digest), clock, redactor()
        )
        for event in told:
            await session.accept(event, "earlier")

    asyncio.run(run())


def resume(
    store: SqliteStore,
    clock: Clock,
    say: Callable[[Session], list[tuple[Kept, str]]] = lambda _: [],
    before: Callable[[], None] = lambda: None,
) -> Rest:
    """Another process takes session `s1` up; `before` happens between its loading and its run."""

    async def run() -> Rest:
        session = Session.load(store, "s1", clock, redactor())
        before()
        return await LocalDriver(session, registry(), Nobody()).run(say)

    return asyncio.run(run())


def fired(store: SqliteStore) -> list[tuple[str, int]]:
    """Which timers fired, in order, and how late, in seconds."""
    found = [entry.event for entry in verified(store, "s1")]
    return [(e.timer, e.late // SECOND) for e in found if isinstance(e, TimerFired)]


def test_due_timers_fire_on_resume_the_longest_due_first(store: SqliteStore) -> None:
    clock = Clock()
    begin(store, FOUR, clock)
    clock.pass_by(12)
    resume(store, Clock(clock.wall, up=0))  # another boot: its awake clock begins anew
    assert fired(store) == [(key("five"), 7), (key("ten"), 2)]


def test_awake_time_passes_only_while_a_process_runs_and_goes_on_over_restarts(
    store: SqliteStore,
) -> None:
    begin(store, FOUR, Clock())
    for start in (3, 1000):
        clock = Clock(T0, up=start * SECOND)

        def works(clock: Clock = clock) -> None:
            clock.up += 4 * SECOND

        resume(store, clock, lambda _: [(UserMessage(text="Note the time"), "person")], works)
    assert fired(store) == [(key("awake"), 1)]


def test_a_wall_clock_that_jumped_back_fires_nothing_early_and_nothing_twice(store: SqliteStore) -> None:
    begin(store, FOUR, Clock())
    resume(store, Clock(T0 + 5 * SECOND))
    resume(store, Clock(T0 - 3600 * SECOND))
    resume(store, Clock(T0 + 9 * SECOND))
    resume(store, Clock(T0 + 10 * SECOND))
    resume(store, Clock(T0 + 5 * SECOND))
    assert fired(store) == [(key("five"), 0), (key("ten"), 0)]


LEAVING = machine(
    {
        "one": {
            "kind": REST,
            "after": {5 * SECOND: "two", 6 * SECOND: "wrong"},
            "on": {"user.message": "said"},
        },
        "two": {"kind": REST, "after": {1 * SECOND: "three"}, "on": {"user.message": "said_later"}},
        "three": {"kind": REST},
        "said": {"kind": REST},
        "said_later": {"kind": REST},
        "wrong": {"kind": REST},
    }
)


def test_a_timer_says_exactly_how_late_it_is(store: SqliteStore) -> None:
    begin(store, LEAVING, Clock())
    resume(store, Clock(T0 + 5 * SECOND + 123_456))
    entries = list(verified(store, "s1"))
    assert [(e.by, e.event) for e in entries[1:]] == [("timer", TimerFired("after.one.0", 123_456))]
    assert "late by 123 ms, after.one.0" in render(timeline(LEAVING, entries), start=T0)


def test_a_timer_that_an_earlier_one_disarmed_does_not_fire(store: SqliteStore) -> None:
    begin(store, LEAVING, Clock())
    resume(store, Clock(T0 + 100 * SECOND))
    assert fired(store) == [("after.one.0", 95)]
    assert Session.load(store, "s1", Clock(), redactor()).snapshot.configuration == ("two",)


def test_what_was_due_before_a_person_spoke_fires_before_it(store: SqliteStore) -> None:
    begin(store, LEAVING, Clock())
    resume(store, Clock(T0 + 5 * SECOND), lambda s: first_events(s, "Hello"))
    session = Session.load(store, "s1", Clock(), redactor())
    assert session.snapshot.configuration == ("said_later",)


PARKING = machine(
    {
        "working": {
            "kind": REST,
            "after": {60 * SECOND: "over"},
            "on": {"host.suspended": "suspended"},
        },
        "suspended": {"kind": "suspend", "on": {"host.woke": "working"}},
        "over": {"kind": REST},
    }
)


@pytest.mark.parametrize(("gone", "late"), [(30, None), (59, None), (60, 0), (4000, 3940)])
def test_a_suspended_session_keeps_its_due_times(
    store: SqliteStore, gone: int, late: int | None
) -> None:
    clock = Clock()
    begin(store, PARKING, clock, HostSuspended())
    assert Session.load(store, "s1", clock, redactor()).snapshot.timers == {}
    clock.pass_by(gone, asleep=True)
    resume(store, clock, lambda s: first_events(s, None))
    assert fired(store) == ([] if late is None else [("after.working.0", late)])
    woke = [e.event for e in verified(store, "s1") if isinstance(e.event, HostWoke)]
    assert woke == [HostWoke(gap=gone * SECOND)]


RESTLESS = machine(
    {
        "tick": {"kind": REST, "after": {0: "tock"}, "on": {"user.message": "calm"}},
        "tock": {"kind": REST, "after": {0: "tick"}, "on": {"user.message": "calm"}},
        "calm": {"kind": REST},
    }
)


def test_a_timer_that_arms_the_next_one_at_once_lets_a_person_speak(store: SqliteStore) -> None:
    begin(store, RESTLESS, Clock())
    resume(store, Clock(), lambda s: first_events(s, "Stop"))
    assert Session.load(store, "s1", Clock(), redactor()).snapshot.configuration == ("calm",)


class Waits(Nobody):
    """Somebody who thinks for ever; a timer that moves the session ends the run."""

    def __init__(self, asked: asyncio.Event) -> None:
        super().__init__()
        self.asked = asked
        self.driver: LocalDriver | None = None

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    def kept(self, session: Session, entry: Any) -> None:
        if isinstance(entry.event, TimerFired) and self.driver is not None:
            self.driver.stop(Rest("idle"))


@pytest.mark.parametrize("asleep", [False, True], ids=["clock set", "machine slept"])
def test_a_clock_that_jumps_under_a_waiting_driver_is_noticed_at_the_next_beat(
    store: SqliteStore, asleep: bool
) -> None:
    clock = Clock()
    begin(store, FOUR, clock)

    async def run() -> Rest:
        asked = asyncio.Event()

        async def beat(seconds: float) -> None:
            await asked.wait()  # the driver waits for an answer, with ten years on its alarm
            asked.clear()
            clock.pass_by(86_400 * 3, asleep=asleep)

        door = Waits(asked)
        session = Session.load(store, "s1", clock, redactor())
        tenure = Tenure(store, "s1", clock, sleep=beat)
        door.driver = LocalDriver(session, registry(), door, tenure)
        return await asyncio.wait_for(door.driver.run(), 60)

    assert asyncio.run(run()) == Rest("idle")
    late = 86_400 * 3
    wanted = [(key("five"), late - 5), (key("ten"), late - 10), (key("day"), late - 86_400)]
    if not asleep:
        wanted.insert(1, (key("awake"), late - 7))
    assert fired(store) == wanted
