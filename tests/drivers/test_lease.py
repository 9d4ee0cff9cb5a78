"""Leases: who may take a session over, what a person is told, and that nobody acts after losing it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli.kit import Place, small

import loopspec
from drivers.test_local import registry
from loopspec.codec import encode
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.lease import SECOND, Tenure, read_holder, runs
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.process import Holder, Sight, ourselves, same_process, sight
from loopspec.drivers.session import Session, verified
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import Effect
from loopspec.errors import Conflict, LoopspecError, StoreError
from loopspec.events import Kept, UserMessage
from loopspec.hooks import World
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.stores.base import Lease, Store
from loopspec.stores.common import resolved
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import FILE, SqliteStore

CHILD = Path(__file__).with_name("lease_child.py")
TEN = 1_762_164_000_000_000  # 2025-11-03 10:00:00 UTC
ELSEWHERE = Holder(pid=7, started=99, boot="b", pid_space="p", machine="m", host="far")


@dataclass
class Clock:
    """Clocks that stand until they are set."""

    wall: int = TEN
    boot: float = 1000.0
    naps: list[float] = field(default_factory=list)
    while_asleep: Callable[[], None] = lambda: None

    def now(self) -> int:
        return self.wall

    def awake(self) -> int:
        return 0

    def elapsed(self) -> float:
        return self.boot

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.while_asleep()


@pytest.fixture
def store() -> Any:
    made = MemoryStore()
    made.create("s", "spec", 1)
    yield made
    made.close()


def tenure(store: Store, clock: Clock, us: Holder | None = None, locks: Path | None = None) -> Tenure:
    return Tenure(
        store, "s", clock, us=us, locks=locks, elapsed=clock.elapsed, sleep=clock.sleep
    )


def take(made: Tenure, heard: list[str] | None = None) -> int:
    return asyncio.run(made.take((heard if heard is not None else []).append))


def refusal(made: Tenure) -> str:
    """What the loser of a session reads."""
    with pytest.raises(LoopspecError) as caught:
        take(made)
    return str(caught.value)


def ours(store: Store) -> bool:
    """Whether this process is written down as the holder."""
    holder = read_holder(store.lease("s").holder)
    return holder is not None and same_process(holder, ourselves())


def held_by(store: Store, holder: Holder, beat: int = TEN) -> None:
    """A lease somebody took at ten, with a sign of life at `beat`."""
    token = store.acquire("s", encode(holder).decode(), TEN, store.lease("s").token)
    store.beat("s", token, beat).result()


# ---------------------------------------------------------------- processes


def test_we_see_ourselves_alive() -> None:
    assert sight(ourselves(), ourselves()) is Sight.ALIVE


US = Holder(pid=os.getpid(), started=5, boot="b", pid_space="p", machine="m", host="here")


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (US, Sight.DEAD),  # our number, another start: the number came again
        (msgspec.structs.replace(US, boot="older"), Sight.DEAD),  # this machine was booted since
        (msgspec.structs.replace(US, boot="older", machine=""), Sight.HIDDEN),
        (msgspec.structs.replace(US, boot="older", machine="other"), Sight.HIDDEN),
        (msgspec.structs.replace(US, boot=""), Sight.HIDDEN),
        (msgspec.structs.replace(US, pid_space="container"), Sight.HIDDEN),
        (msgspec.structs.replace(US, pid_space=""), Sight.HIDDEN),
        (msgspec.structs.replace(US, pid=2**40), Sight.DEAD),
        (Holder(pid=1), Sight.HIDDEN),
    ],
)
def test_what_can_be_seen_of_another_process(other: Holder, seen: Sight) -> None:
    assert sight(other, US) is seen


def child(*args: str | Path) -> "subprocess.Popen[str]":
    """A real second process that runs `lease_child.py`."""
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(loopspec.__file__).parents[1])},
    )


def holding(path: Path) -> "subprocess.Popen[str]":
    """A process that holds the lease of session `s`."""
    made = child("hold", path, "s")
    assert made.stdout is not None
    assert made.stdout.readline() == "held\n"
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    made = SqliteStore(tmp_path / "store")
    made.create("s", "spec", 1)
    yield made
    made.close()


def test_a_killed_holder_is_followed_at_once_even_before_it_is_buried(disk: SqliteStore) -> None:
    process = holding(disk.directory)
    clock = Clock(SystemClock().now())
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    made = tenure(disk, clock)
    assert (take(made), clock.naps) == (2, [])
    assert ours(disk)
    made.free()
    process.communicate()


@pytest.mark.parametrize("apart", [False, True], ids=["kernel lock", "lease alone"])
def test_a_living_holder_is_named_and_not_robbed(disk: SqliteStore, tmp_path: Path, apart: bool) -> None:
    process = holding(disk.directory)
    found = disk.lease("s")
    since = TEN
    disk.release("s", 1)  # to set its times, the child's own clock being what it is
    disk.acquire("s", found.holder, since, 1)
    locks = tmp_path / "locks" if apart else None
    said = f"session s: it has been run by process {process.pid} since 2025-11-03 10:00:00 UTC; "
    end = "let it finish or end it, then resume"
    assert refusal(tenure(disk, Clock(TEN + 3 * SECOND), locks=locks)) == (
        f"{said}its last sign of life was 3 s ago. {end}"
    )
    assert refusal(tenure(disk, Clock(TEN + 300 * SECOND), locks=locks)) == (
        f"{said}its last sign of life was 5 min ago; it hangs, or the clock has jumped, but it lives. "
        f"{end}"
    )
    assert refusal(tenure(disk, Clock(TEN - 7200 * SECOND), locks=locks)) == (
        f"{said}its last sign of life was 2 h ahead of this machine's clock. {end}"
    )
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert refusal(tenure(disk, Clock(TEN + 300 * SECOND), locks=locks)) == (
        f"{said}its last sign of life was 5 min ago; it is stopped, not dead. "
        f"let it go on (kill -CONT {process.pid}) or end it, then resume"
    )
    assert runs(disk, "s", TEN + 3 * SECOND) == (
        f"process {process.pid} since 2025-11-03 10:00:00 UTC, stopped (last sign of life 3 s ago)"
    )
    process.kill()
    process.communicate()
    assert runs(disk, "s", TEN + 3 * SECOND) == ""
    assert take(tenure(disk, Clock(), locks=locks)) == 3


def test_in_one_process_one_driver_runs_a_session_too(store: MemoryStore, tmp_path: Path) -> None:
    first = tenure(store, Clock(), locks=tmp_path / "a")
    take(first)
    assert refusal(tenure(store, Clock(), locks=tmp_path / "b")) == (
        f"session s: it has been run by process {os.getpid()} since 2025-11-03 10:00:00 UTC; "
        "its last sign of life was 0 ms ago. let it finish or end it, then resume"
    )
    first.free()
    assert store.lease("s").holder == ""
    assert take(tenure(store, Clock(), locks=tmp_path / "b")) == 2


def test_one_process_does_not_drive_a_session_twice_by_two_paths(
    disk: SqliteStore, tmp_path: Path
) -> None:
    other = tmp_path / "door"
    other.mkdir()
    (other / FILE).symlink_to(disk.directory / FILE)
    second = SqliteStore(other)
    first = tenure(disk, Clock())
    take(first)
    assert f"run by process {os.getpid()} since" in refusal(tenure(second, Clock()))
    first.free()
    assert take(tenure(second, Clock())) == 2
    second.close()


def test_a_lease_that_could_not_be_given_back_does_not_stand_in_its_own_way(
    tmp_path: Path,
) -> None:
    class Full(MemoryStore):
        def release(self, session: str, token: int) -> None:
            raise StoreError("the disk is full")

    store = Full()
    store.create("s", "spec", 1)
    first = tenure(store, Clock())
    take(first)
    first.free()
    assert ours(store)
    assert take(tenure(store, Clock())) == 2
    store.close()


def test_a_holder_that_cannot_be_read_counts_as_one_that_cannot_be_seen(store: MemoryStore) -> None:
    store.acquire("s", "{not json", TEN, 0)
    assert refusal(tenure(store, Clock())) == (
        "session s: it has been run by somebody unknown since 2025-11-03 10:00:00 UTC; its last sign of "
        "life was 0 ms ago. let it finish; if it is gone, resume 30 s after its last sign of life"
    )
    assert take(tenure(store, Clock(TEN + 31 * SECOND))) == 2


# ---------------------------------------------------------------- other machines


def test_a_holder_elsewhere_keeps_the_lease_while_it_gives_signs_of_life(store: MemoryStore) -> None:
    held_by(store, ELSEWHERE, TEN + 60 * SECOND)
    for late in (-29, 0, 30):
        clock = Clock(TEN + (60 + late) * SECOND)
        assert refusal(tenure(store, clock)).startswith(
            "session s: it has been run by process 7 on far since 2025-11-03 10:00:00 UTC; "
        )
        assert clock.naps == []


@pytest.mark.parametrize("late", [31, -31, 3600, -86400])
def test_a_holder_elsewhere_without_signs_of_life_is_followed(store: MemoryStore, late: int) -> None:
    held_by(store, ELSEWHERE, TEN + 60 * SECOND)
    clock, heard = Clock(TEN + (60 + late) * SECOND), list[str]()
    made = tenure(store, clock)
    assert (take(made, heard), clock.naps) == (2, [12.0])
    assert [line.partition(";")[0] for line in heard] == ["process 7 on far has run it"]
    found = store.lease("s")
    assert (found, ours(store)) == (Lease("s", 2, found.holder, clock.wall, clock.wall), True)
    made.free()


def test_a_clock_that_jumped_robs_nobody_who_gives_signs_of_life(store: MemoryStore) -> None:
    held_by(store, ELSEWHERE)
    clock = Clock(TEN + 86_400 * SECOND)

    def beats() -> None:
        store.beat("s", 1, TEN + 5 * SECOND).result()

    clock.while_asleep = beats
    assert refusal(tenure(store, clock)) == (
        "session s: it has been run by process 7 on far since 2025-11-03 10:00:00 UTC; its last sign of "
        "life was 23 h 59 min ago. let it finish; if it is gone, resume 30 s after its last sign of life"
    )
    assert store.lease("s").token == 1


def test_of_two_who_wait_for_the_same_holder_one_follows_it(store: MemoryStore, tmp_path: Path) -> None:
    held_by(store, ELSEWHERE)
    other = msgspec.structs.replace(ELSEWHERE, pid=8, host="third")
    clock = Clock(TEN + 3600 * SECOND)

    def faster() -> None:
        store.acquire("s", encode(other).decode(), clock.wall, 1)

    clock.while_asleep = faster
    assert "it has been run by process 8 on third since" in refusal(tenure(store, clock))
    assert store.lease("s").token == 2


def test_a_session_run_elsewhere_is_shown_until_its_signs_of_life_end(store: MemoryStore) -> None:
    held_by(store, ELSEWHERE)
    assert runs(store, "s", TEN + 2 * SECOND) == (
        "process 7 on far since 2025-11-03 10:00:00 UTC (last sign of life 2 s ago)"
    )
    assert runs(store, "s", TEN + 31 * SECOND) == ""


# ---------------------------------------------------------------- keeping and losing


def test_a_holder_gives_signs_of_life_at_whole_multiples_until_it_is_superseded(
    store: MemoryStore,
) -> None:
    clock, seen, faults = Clock(boot=1003.5), [], []
    made = tenure(store, clock)
    take(made)

    def asleep() -> None:
        seen.append(store.lease("s").beat)
        clock.boot += clock.naps[-1]
        clock.wall += 5 * SECOND
        if len(seen) == 4:
            store.acquire("s", encode(ELSEWHERE).decode(), clock.wall, 1)

    clock.while_asleep = asleep
    asyncio.run(made.keep(faults.append))
    assert clock.naps == [1.5, 5.0, 5.0, 5.0]
    assert seen == [TEN + n * 5 * SECOND for n in range(4)]
    assert [(type(one), str(one)) for one in faults] == [
        (
            Conflict,
            "session s: it was taken over by process 7 on far while this process gave no sign of life; "
            "nothing was done here since. let the other one finish, or end it, then resume",
        )
    ]
    made.free()
    assert store.lease("s").holder == encode(ELSEWHERE).decode()


def test_a_store_that_fails_costs_a_sign_of_life_and_not_the_lease() -> None:
    class Full(MemoryStore):
        full = False

        def beat(self, session: str, token: int, at: int) -> Any:
            if not self.full:
                return super().beat(session, token, at)
            return resolved(StoreError("the disk is full"))

    store = Full()
    store.create("s", "spec", 1)
    clock, faults = Clock(boot=1000.0), list[LoopspecError]()
    made = tenure(store, clock)
    take(made)
    store.full = True
    clock.boot += 30
    assert asyncio.run(made.sure(faults.append)) is True
    clock.boot += 1
    assert asyncio.run(made.sure(faults.append)) is False
    assert list(map(str, faults)) == ["the disk is full"]
    store.full = False
    clock.wall += 1
    assert (asyncio.run(made.sure(faults.append)), store.lease("s").beat) == (True, clock.wall)
    made.free()
    store.close()


# ---------------------------------------------------------------- the whole driver


class Counts:
    """A performer that notes what it began, parks the driver, and then waits for ever."""

    def __init__(self, began: list[str], stop: Callable[[Rest], None]) -> None:
        self.began, self.stop = began, stop

    async def perform(self, effect: Effect, world: World) -> Kept:
        self.began.append(effect.id)
        self.stop(Rest("suspended"))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


class OnEntry(Nobody):
    """Does something when entry `seq` has just been committed."""

    def __init__(self, seq: int, act: Callable[[], None]) -> None:
        super().__init__()
        self.seq, self.act = seq, act

    def kept(self, session: Session, entry: Entry) -> None:
        if entry.seq == self.seq:
            self.act()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def at_rest(place: Place) -> SqliteStore:
    """A store whose session `s1` waits for its first message."""
    store = SqliteStore(place.store)
    machine = launch.load(str(small(place, {"reply": "Hello."})), registry()).machine
    assert machine is not None
    event = launch.started(machine, registry(), "{}", place.work, launch.preflight(machine), "0")
    asyncio.run(Session.create(store, machine, "s1", event, SystemClock(), redactor()))
    return store


def robbed(store: Store) -> None:
    """Another machine takes session `s1` over; it has not moved it yet, so only the token tells."""
    store.acquire("s1", encode(ELSEWHERE).decode(), TEN, store.lease("s1").token)


async def told(
    store: Store, clock: Clock, door: Nobody, began: list[str], before: Callable[[], None]
) -> Rest:
    """A driver on clocks of ours, told something after `before` has happened."""

    def first(_: Session) -> list[tuple[Kept, str]]:
        before()
        return [(UserMessage(text="Go"), "person")]

    session = Session.load(store, "s1", SystemClock(), redactor())
    made = Tenure(store, "s1", clock, elapsed=clock.elapsed)
    driver = LocalDriver(session, registry(model=lambda: Counts(began, driver.stop)), door, made)
    return await driver.run(first)


def test_after_a_sleep_no_effect_starts_once_the_lease_is_lost(place: Place) -> None:
    store, clock, began = at_rest(place), Clock(), list[str]()

    def sleeps_and_is_robbed() -> None:
        clock.boot += 3600
        robbed(store)

    with pytest.raises(Conflict) as caught:
        asyncio.run(told(store, clock, OnEntry(1, sleeps_and_is_robbed), began, lambda: None))
    assert str(caught.value) == (
        "session s1: it was taken over by process 7 on far while this process gave no sign of life; "
        "nothing was done here since. let the other one finish, or end it, then resume"
    )
    assert began == []
    assert [entry.seq for entry in verified(store, "s1")] == [0, 1]
    assert store.lease("s1").holder == encode(ELSEWHERE).decode()  # freeing ours took nothing away
    store.close()


def test_after_a_sleep_work_goes_on_when_nobody_came(place: Place) -> None:
    store, clock, began = at_rest(place), Clock(), list[str]()

    def sleeps() -> None:
        clock.boot += 3600
        clock.wall += 3600 * SECOND

    rest = asyncio.run(told(store, clock, OnEntry(1, sleeps), began, lambda: None))
    assert (rest, began) == (Rest("suspended"), ["s1:1:0"])
    assert store.lease("s1") == Lease("s1", 1, "", TEN, TEN + 3600 * SECOND)
    store.close()


def test_a_driver_that_was_superseded_writes_nothing(place: Place) -> None:
    store, began = at_rest(place), list[str]()
    with pytest.raises(Conflict) as caught:
        asyncio.run(told(store, Clock(), Nobody(), began, lambda: robbed(store)))
    assert str(caught.value) == (
        "session s1: another process has moved this session; nothing was written here. "
        "let it finish, or end it, then resume"
    )
    assert (began, [entry.seq for entry in verified(store, "s1")]) == ([], [0])
    store.close()


# ---------------------------------------------------------------- the race


def raced(place: Place, rounds: int) -> None:
    """Two real processes resume one session at once; one moves it, the other is told so.

    In every other round the kernel's lock is useless, and the lease decides alone.
    """
    spec = small(place, {"hang": True})
    process = child("race", place.store, spec, place.work, str(rounds))
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["loser"], one["winner"]) for one in found] == [(1, 56)] * rounds
    for n, one in enumerate(found):
        assert one["said"].startswith(f"loopspec: session s{n}: it ")
        assert "run by process WINNER" in one["said"]
    store = SqliteStore(place.store)
    for n in range(rounds):
        names = [type(entry.event).__name__ for entry in verified(store, f"s{n}")]
        assert names == ["SessionStarted", "UserMessage", "HostSuspended", "EffectCancelled"]
        assert (store.lease(f"s{n}").token, store.lease(f"s{n}").holder) == (2, "")
    store.close()


def test_of_two_processes_that_resume_at_once_one_moves_the_session(place: Place) -> None:
    raced(place, 10)


@pytest.mark.slow
def test_two_hundred_times_one_of_two_processes_moves_the_session(place: Place) -> None:
    raced(place, 200)
