"""Simulated driver: one session in a seeded world, with faults, and a list of what was violated.

It is synchronous and has no clock, thread or network: the same seed gives the same history, byte for
byte. It runs a session by the rules of the local driver (write, then act; claim before what may not be
repeated; one door for first run and recovery) and watches it from outside.

Rules of this file:
1. A *process* is everything a crash takes away; the store and the world stay.
2. Violations are judged by what the store and the world hold, never by what the process believes.
3. Once something is violated the simulation ends: what follows from it would only hide it.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from loopspec.drivers.sim.disk import Crash, SimClock, SimDisk
from loopspec.drivers.sim.faults import CALM, Faults
from loopspec.drivers.sim.judge import Judge
from loopspec.drivers.sim.people import Person, RandomPerson, ScriptedPerson, host
from loopspec.drivers.sim.process import LEASE, Move, Rules, Setting, SimProcess
from loopspec.drivers.sim.world import Answering, SimWorld
from loopspec.effects import Effect
from loopspec.errors import Conflict, LoopspecError, StoreError
from loopspec.events import Kept, UserInterrupted, UserMessage
from loopspec.journal.chain import read
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.rest import resting
from loopspec.machine.step import accepted, refusal
from loopspec.snapshot import Snapshot, Timer
from loopspec.stores.base import Store
from loopspec.stores.memory import MemoryStore

START: Final = 1_700_000_000_000_000
HOUR: Final = 3_600_000_000
MAX_DRAIN: Final = 400
End = tuple[str, str, tuple[str, ...]]
"""Where a session rests: why, the detail of it, and the innermost active states."""
Judging = Callable[[End, Snapshot], str]
"""Says what is wrong with an end, empty if nothing is."""
RESTLESS: Final = "restless"
"""The reason of an end that is none: the session goes on and on by itself."""
TICKED: Final = (
    *("crash", "again", "late", "interrupt", "suspend", "race"),
    *("back", "forward", "sleep", "takeover", "rival"),
)
"""The faults that strike between two moves."""


class Simulation:
    """One session of `machine` in a world made from `seed`.

    `person` speaks at rests (a random one by default); `script` is short for a `ScriptedPerson`.
    `answering` lets a plugin's author say how a kind of its own ends. `rules` and a `store` without a
    fence are for proving that `violations` notices; `claims=False` is short for `Rules(claims=False)`.
    `ends` judges where the session comes to rest (see `sim.ends`).
    """

    def __init__(
        self,
        machine: Machine,
        seed: int,
        *,
        store: Store | None = None,
        faults: Faults | None = None,
        person: Person | None = None,
        script: Sequence[Kept] | None = None,
        answering: Answering | None = None,
        claims: bool = True,
        rules: Rules | None = None,
        ends: Judging | None = None,
    ) -> None:
        """Make the world and create the session in the store (a fresh memory store by default)."""
        self.machine = machine
        self.store: Store = store if store is not None else MemoryStore()
        self.session = f"sim-{seed}"
        self.dice = random.Random(seed)
        self.world = SimWorld(machine, self.dice, answering=answering)
        self.counts: Counter[str] = Counter()
        self.judge = Judge(machine, self.session, self.store, self.world)
        self.end: End | None = None
        self.passed: set[End] = set()
        self._ends = ends
        self._person = person or (
            RandomPerson(self.world.pools) if script is None else ScriptedPerson(*script)
        )
        self._clock = SimClock(START)
        self._use(faults if faults is not None else Faults())
        disk = SimDisk(self.store, self.dice, self._faults, self.counts)
        chosen = rules if rules is not None else Rules(claims=claims)
        self._at = Setting(
            *(machine, self.session, self.store, disk, self.world, self.judge, self.dice, self._clock),
            *(chosen, self.counts, self.world.windows()),
        )
        self._asleep: list[SimProcess] = []
        self.process: SimProcess | None = None
        self.store.create(self.session, machine.name, START)
        self._guarded(self._boot)

    def _use(self, faults: Faults) -> None:
        """From now on, these faults."""
        self._faults = faults
        self._upto = list(accumulate(getattr(faults, name) for name in TICKED))

    @property
    def snapshot(self) -> Snapshot:
        """Where the session stands, by its journal."""
        return self.judge.snapshot

    @property
    def crashes(self) -> int:
        """How often the process died."""
        return sum(n for name, n in self.counts.items() if name.startswith("crash"))

    def entries(self) -> list[Entry]:
        """The journal so far."""
        return [read(row) for row in self.store.entries(self.session)]

    def run(self, ticks: int = 120, *, thorough: bool = True) -> list[str]:
        """Let `ticks` things happen, then end all faults and let the work settle; the violations.

        `thorough` verifies the journal from its bytes once more and runs every step again.
        """
        for _ in range(ticks):
            self._guarded(self._tick)
            if self.judge.found:
                break
        if not self.judge.found:
            self._drain()
        return self.violations(thorough=thorough)

    def violations(self, *, thorough: bool = True) -> list[str]:
        """What was violated so far, and what the journal itself shows to be wrong."""
        process = self.process if self.process is not None and self.process.settled else None
        self.judge.close(
            process.items if process else None, process.snapshot if process else None, thorough=thorough
        )
        return list(self.judge.found)

    # ------------------------------------------------------------ one tick

    def _guarded(self, what: Callable[[], None]) -> None:
        """Do something; over it the process may die, or end because the store says so."""
        try:
            what()
        except Crash:
            self._end()
        except StoreError:
            process = self._end()
            if process is not None:
                self.store.release(self.session, process.token)
        process = self.process
        if process is not None and process.settled and not self.judge.found:
            self.judge.compare(process.under_way(), process.stopping, process.snapshot)

    def _end(self) -> SimProcess | None:
        """The process is gone; gives it back."""
        process, self.process = self.process, None
        if process is not None:
            process.die()
        return process

    def _boot(self) -> None:
        """Somebody starts a driver: it takes the lease and loads the session."""
        newest = self.store.lease(self.session).token
        token = self.store.acquire(self.session, f"driver-{newest + 1}", self._clock.boot, newest)
        self.judge.catch_up()
        try:
            self.process = SimProcess.boot(self._at, token)
        except LoopspecError as err:
            self.judge.say(f"the journal cannot be loaded: {err}")
            return
        self.process.begin()

    def _tick(self) -> None:
        """One thing happens."""
        self._clock.tick(self.dice.randint(1, 2_000_000))
        self._at.disk.tick()
        if self._asleep and self.dice.random() < 0.3:
            self._wake()
        process = self.process
        if process is None:
            self._boot()
            return
        process.renew(LEASE // 3)
        if self._strike(process):
            return
        moves = process.moves(calm=False)
        if not process.todo:
            moves.extend(self._outside(process))
        self._choose(moves)

    def _outside(self, process: SimProcess) -> list[Move]:
        """What time, people and the host may bring, by weight."""
        rest = None if process.working else resting(self.machine, process.snapshot)
        moves: list[Move] = [(2.0 if rest else 0.05, partial(self._speak, process))]
        if rest is not None:
            end = end_of(rest.reason, rest.detail, process.snapshot)
            self.passed.add(end)
            if rest.reason == "stuck":  # a person may help it out again, but need not
                self._judge(end)
            if rest.reason == "suspended":
                woke = host(self.machine, process.snapshot)
                moves.append((1.0, partial(process.accept, woke, "host")))
        timers = process.snapshot.timers
        if timers and process.settled:
            first = self._first(process)
            if self._left(process, first) <= 0:
                moves.append((1.0, partial(self._fire, process, first)))
            elif not process.working:
                soon = 0.5 if rest is None else 0.02 if first.purpose == "budget" else 0.1
                moves.append((soon, partial(self._fire, process, first)))
        return moves

    def _choose(self, moves: list[Move]) -> None:
        """Do one of these, by weight."""
        roll = self.dice.random() * sum(weight for weight, _ in moves)
        for weight, move in moves:
            roll -= weight
            if roll < 0:
                move()
                return

    def _speak(self, process: SimProcess) -> None:
        """A person says or does something."""
        offers = accepted(self.machine, process.snapshot)
        said = self._person.speak(process.snapshot, offers, self.dice)
        if said is not None:
            process.accept(said, "person")

    def _fire(self, process: SimProcess, timer: Timer) -> None:
        """Time passes until a timer is due, and it fires; who only waits need not be awake for that."""
        left = max(0, self._left(process, timer))
        if timer.clock == "wall" and not process.working:
            self._clock.sleep(left)
        else:
            self._clock.tick(left)
        process.renew(LEASE // 3)
        process.fire(timer)

    def _first(self, process: SimProcess) -> Timer:
        """The timer that is due first, each by its own clock."""
        return min(process.snapshot.timers.values(), key=lambda t: (self._left(process, t), t.id))

    def _left(self, process: SimProcess, timer: Timer) -> int:
        """Microseconds until a timer is due."""
        return timer.due - (self._clock.now if timer.clock == "wall" else process.awake_now())

    # ------------------------------------------------------------ faults

    def _strike(self, process: SimProcess) -> bool:
        """Whether a fault struck instead of work; one that has no place here does not."""
        roll = self.dice.random()
        if roll >= self._upto[-1]:
            return False
        name = next(n for n, upto in zip(TICKED, self._upto, strict=True) if roll < upto)
        struck = self._fault(name, process)
        if struck:
            self.counts[name] += 1
            struck()
        return struck is not None

    def _fault(self, name: str, process: SimProcess) -> Callable[[], None] | None:
        """What a fault does here, None when it has no place."""
        dice, clock = self.dice, self._clock
        pending, timers = process.snapshot.pending, process.snapshot.timers
        match name:
            case "crash":
                return self._crash
            case "again":
                told = [a for a in self._at.told if getattr(a, "effect", "") not in pending]
                return partial(process.accept, dice.choice(told), "late") if told else None
            case "late":
                gone = [e for e in self._at.gone if e.id not in pending]
                return partial(self._late, process, dice.choice(gone)) if gone else None
            case "interrupt":
                stop = UserInterrupted()
                taken = not refusal(self.machine, process.snapshot, stop)
                return partial(process.accept, stop, "person") if taken else None
            case "suspend":
                return partial(process.accept, host(self.machine, process.snapshot), "host")
            case "race":
                racing = process.working and process.settled and not process.todo
                first = self._first(process) if racing and timers else None
                return partial(self._fire, process, first) if first is not None else None
            case "back":
                return partial(clock.jump, -dice.randint(1, 72 * HOUR))
            case "forward":
                return partial(clock.jump, dice.randint(1, 72 * HOUR))
            case "sleep":
                return partial(clock.sleep, dice.randint(1, 20 * HOUR))
            case "takeover":
                return partial(self._take_over, process)
            case _:
                return self._rival

    def _crash(self) -> None:
        """The process dies between two moves."""
        raise Crash

    def _late(self, process: SimProcess, effect: Effect) -> None:
        """Another answer for an effect that has settled (and was not started again)."""
        process.accept(self.world.answer(effect, process.snapshot, process.items), "late")

    def _take_over(self, process: SimProcess) -> None:
        """The driver is paused for so long that another one takes the session over."""
        self.process = None
        self._asleep.append(process)
        self._clock.sleep(LEASE + self.dice.randint(1, HOUR))
        self._boot()

    def _rival(self) -> None:
        """A second driver tries to come in while the first one lives: by the lease, then without."""
        before = self.store.lease(self.session).token - 1
        try:
            self.store.acquire(self.session, "rival", self._clock.boot, before)
            self.judge.say("two drivers were given the session at once")
        except Conflict:
            pass
        if SimProcess.boot(self._at, 0).speaks_alone(UserMessage("me too")):
            self.judge.say("a driver without the lease was let in")

    def _wake(self) -> None:
        """A driver that was paused goes on as if nothing had happened."""
        process = self.dice.choice(self._asleep)
        try:
            moves = process.moves(calm=False)
            if moves:
                self._choose(moves)
                return
            if process.speaks_alone(UserMessage("still there?")):
                self.judge.say("a driver that was superseded was let in")
                return
        except (Crash, StoreError):
            pass
        process.die()
        self._asleep.remove(process)

    # ------------------------------------------------------------ the end of all faults

    def _drain(self) -> None:
        """End the faults, let everything settle, and look where the session stands."""
        self._use(CALM)
        self._at.disk.faults, self._at.disk.full = CALM, 0
        for _ in range(MAX_DRAIN):
            if self._asleep:
                self._guarded(self._wake)
            else:
                self._guarded(self._settle)
            if self.judge.found or self.end is not None:
                break
        else:
            self.end = end_of(RESTLESS, "", self.snapshot)
        if self.end is not None and not self.judge.found:
            self._judge(self.end)

    def _judge(self, end: End) -> None:
        """Whether the session may come to rest so."""
        fault = self._ends(end, self.snapshot) if self._ends is not None else ""
        if fault:
            self.judge.say(fault)

    def _settle(self) -> None:
        """The next thing that goes on by itself, or the rest."""
        process = self.process
        if process is None:
            self._boot()
            return
        moves = process.moves(calm=True)
        if moves:
            self._choose(moves)
            return
        rest = resting(self.machine, process.snapshot)
        if rest is not None:
            self.end = end_of(rest.reason, rest.detail, process.snapshot)
        else:
            self._fire(process, self._first(process))


def end_of(reason: str, detail: str, snapshot: Snapshot) -> End:
    """Where a session stands, as far as ends are compared."""
    active = snapshot.configuration
    leaves = tuple(p for p in active if not any(q.startswith(f"{p}.") for q in active))
    return reason, detail, leaves
