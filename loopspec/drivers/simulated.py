"""Simulated driver: one session in a seeded world, with crashes, and a list of what was violated.

It is synchronous and has no clock, thread or network: the same seed gives the same history, byte for
byte. It runs a session by the rules of the local driver (write, then act; claim before what may not be
repeated; one door for first run and recovery) and watches them from outside.

Rules of this file:
1. A *process* is everything a crash takes away; the store and the world stay.
2. Violations are judged by what the store and the world hold, never by what the process believes.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from loopspec.codec import decode_snapshot, digest, encode
from loopspec.context.transcript import Item, extend, fold
from loopspec.drivers.clean import clean
from loopspec.drivers.recovery import needs_claim
from loopspec.drivers.session import load_machine, prepared, stepper, verified
from loopspec.drivers.simworld import CALM, Faults, SimWorld
from loopspec.effects import CallModel, Cancel, Effect, RunTool
from loopspec.errors import LoopspecError
from loopspec.events import (
    EffectCancelled,
    EffectClaimed,
    Kept,
    SessionStarted,
    Stamped,
    TimerFired,
    UserInterrupted,
)
from loopspec.governance.redact import Redactor
from loopspec.journal.chain import read
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import empty, recompute
from loopspec.machine.draft import effect_order
from loopspec.machine.model import Machine
from loopspec.machine.rest import resting
from loopspec.machine.step import REFUSED, Step, accepted, step
from loopspec.snapshot import Snapshot, Timer
from loopspec.stores.base import Store
from loopspec.stores.memory import MemoryStore

START: Final = 1_700_000_000_000_000
MAX_DRAIN: Final = 400
Move = tuple[float, Callable[[], None]]


def _age(timer: Timer) -> tuple[int, str]:
    """Sorts timers: the first to fire first."""
    return timer.due, timer.id


class _Crash(Exception):
    """The simulated process died."""

NOTHING_SECRET: Final = Redactor.from_environment({})


@dataclass
class _Process:
    """What a crash takes away. `waiting` maps effects that have not begun to whether they are claimed."""

    snapshot: Snapshot
    hash: str = GENESIS
    items: tuple[Item, ...] = ()
    waiting: dict[str, bool] = field(default_factory=dict)
    running: dict[str, Effect] = field(default_factory=dict)
    stopping: set[str] = field(default_factory=set)


class Simulation:
    """One session of `machine` in a world made from `seed`.

    `script` gives the person's words, one at each rest; None plays a random person. `claims=False`
    leaves out `effect.claimed`: for proving that `violations` notices.
    """

    def __init__(
        self,
        machine: Machine,
        seed: int,
        *,
        store: Store | None = None,
        faults: Faults | None = None,
        script: Sequence[Kept] | None = None,
        claims: bool = True,
    ) -> None:
        """Make the world and create the session in the store (a fresh memory store by default)."""
        self.machine = machine
        self.store: Store = store if store is not None else MemoryStore()
        self.session = f"sim-{seed}"
        self.dice = random.Random(seed)
        self.world = SimWorld(machine, self.dice)
        self.crashes = 0
        self._faults = faults if faults is not None else Faults()
        self._script = list(script) if script is not None else None
        self._claims = claims
        self._now, self._awake = START, 0
        self._found: list[str] = []
        self._gone: list[Effect] = []
        self._told: list[Kept] = []
        self._process = _Process(empty(self.session))
        self.store.create(self.session, machine.name, self._now)
        windows = {name: decl.window for name, decl in machine.models.items()}
        started = SessionStarted(machine.digest, windows=windows, workdir="/sim")
        self._guarded(lambda: self._accept(started, "driver"))

    @property
    def snapshot(self) -> Snapshot:
        """Where the session stands now."""
        return self._process.snapshot

    def entries(self) -> list[Entry]:
        """The journal so far."""
        return [read(row) for row in self.store.entries(self.session)]

    def run(self, ticks: int = 120) -> list[str]:
        """Let `ticks` things happen, then end all faults and let the work settle; the violations."""
        for _ in range(ticks):
            self._guarded(self._tick)
        self._faults = CALM
        for _ in range(MAX_DRAIN):
            if not self._working():
                break
            self._guarded(lambda: self._choose(self._work(calm=True)))
        else:
            self._found.append("the work does not come to rest")
        return self.violations()

    def violations(self) -> list[str]:
        """What was violated so far, and what the journal itself shows to be wrong."""
        found = list(self._found)
        try:
            entries = list(verified(self.store, self.session))
        except LoopspecError as err:
            return [*found, f"the journal does not hold together: {err}"]
        if fold(entries) != self._process.items:
            found.append("the view is not the fold of the journal")
        found.extend(recompute(self.session, entries, stepper(self.machine)))
        starts: dict[str, int] = {}
        for act in self.world.acts:
            starts[act.call] = starts.get(act.call, 0) + 1
        for call, count in starts.items():
            tool = next(a.tool for a in self.world.acts if a.call == call)
            once = self.machine.tools[tool].after_crash != "rerun"
            if once and count > 1 + self.world.reruns.get(call, 0):
                found.append(f"call {call} ({tool}) began {count} times without being asked")
        return found

    # ------------------------------------------------------------ one tick

    def _guarded(self, what: Callable[[], None]) -> None:
        """Do something; if the process dies over it, start another one until one lives."""
        again = what
        while True:
            try:
                again()
            except _Crash:
                self.crashes += 1
                again = self._reboot
                continue
            self._compare()
            return

    def _tick(self) -> None:
        """One thing happens."""
        self._now += self.dice.randint(1, 2_000_000)
        self._awake += self.dice.randint(1, 2_000_000)
        if self.dice.random() < self._faults.crash:
            raise _Crash
        faults = self._faults
        moves = self._work(calm=False)
        told, gone = self._told[-20:], self._gone[-20:]
        moves.append((faults.again * len(told), lambda: self._again(self.dice.choice(told))))
        moves.append((faults.late * len(gone), lambda: self._late(self.dice.choice(gone))))
        if resting(self.machine, self.snapshot) is not None:
            moves.append((2.0, self._speak))
        moves.append((0.05, self._speak))
        moves.append((faults.interrupt, lambda: self._accept(UserInterrupted(), "person")))
        moves.append((faults.suspend, lambda: self._accept(self.world.host(self.snapshot), "host")))
        self._choose(moves)

    def _choose(self, moves: list[Move]) -> None:
        """Do one of these, by weight."""
        weights = [weight for weight, _ in moves]
        if sum(weights) > 0:
            self.dice.choices([move for _, move in moves], weights)[0]()

    def _work(self, calm: bool) -> list[Move]:
        """Everything that can go on by itself."""
        process = self._process
        moves: list[Move] = []
        for key in sorted({*process.waiting, *process.running}, key=effect_order):
            if key in process.stopping:
                moves.append((1.0, partial(self._stop, key)))
            elif key in process.waiting:
                moves.append((1.0, partial(self._start, key)))
            else:
                moves.append((1.0, partial(self._finish, key, calm)))
        timers = [t for t in self.snapshot.timers.values() if not calm or t.purpose == "retry"]
        if timers:
            idle = not (process.waiting or process.running)
            moves.append((0.5 if idle else 0.02, partial(self._fire, min(timers, key=_age))))
        return moves

    def _working(self) -> bool:
        """Whether anything is under way or waits to be tried again."""
        retries = any(t.purpose == "retry" for t in self.snapshot.timers.values())
        return bool(self._process.waiting or self._process.running or retries)

    def _start(self, key: str) -> None:
        """Claim an effect, or let one that is claimed or needs no claim begin."""
        process = self._process
        effect = process.snapshot.pending[key].effect
        if self._claims and needs_claim(self.machine, effect) and not process.waiting[key]:
            self._accept(EffectClaimed(key), "driver")
            process.waiting[key] = True
            return
        self._judge_start(effect)
        del process.waiting[key]
        process.running[key] = effect
        self.world.begin(effect, process.snapshot.seq)

    def _finish(self, key: str, calm: bool) -> None:
        """An effect answers."""
        effect = self._process.running[key]
        self._settle(effect, self.world.answer(effect, self._process.items, calm))

    def _stop(self, key: str) -> None:
        """A cancelled effect settles."""
        process = self._process
        if key in process.waiting:
            effect = process.snapshot.pending[key].effect
            self._settle(effect, EffectCancelled(key, started=False))
        else:
            effect = process.running[key]
            self._settle(effect, self.world.stopped(effect, process.items, self._faults))

    def _settle(self, effect: Effect, answer: Kept) -> None:
        """Hand in the one answer of an effect. It is over in the world, whatever becomes of us."""
        self._gone.append(effect)
        self._told.append(answer)
        process = self._process
        process.waiting.pop(effect.id, None)
        process.running.pop(effect.id, None)
        process.stopping.discard(effect.id)
        self._accept(answer, "performer")

    def _late(self, effect: Effect) -> None:
        """Another answer for an effect that has settled (and was not started again)."""
        if effect.id not in self.snapshot.pending:
            self._accept(self.world.answer(effect, self._process.items), "late")

    def _again(self, answer: Kept) -> None:
        """The same answer once more (unless a crash lost it, and its effect goes on)."""
        if getattr(answer, "effect", "") not in self.snapshot.pending:
            self._accept(answer, "late")

    def _fire(self, timer: Timer) -> None:
        """Time passes until a timer is due, and it fires."""
        gap = max(0, timer.due - (self._now if timer.clock == "wall" else self._awake))
        self._now += gap
        self._awake += gap
        self._accept(TimerFired(timer.id), "timer")

    def _speak(self) -> None:
        """A person says or does something."""
        if self._script is None:
            offers = accepted(self.machine, self.snapshot)
            self._accept(self.world.person(self.snapshot, offers), "person")
        elif self._script:
            self._accept(self._script.pop(0), "person")

    # ------------------------------------------------------------ the process

    def _accept(self, event: Kept, by: str) -> None:
        """Step, write, then act; the process may die just before or just after the write."""
        process = self._process
        stamped = Stamped(self._now, self._awake, by, clean(event, NOTHING_SECRET))
        made = step(self.machine, process.snapshot, stamped)
        if made.outcome == REFUSED:
            self.store.refuse(self.session, encode({"why": made.refusal}))
            return
        if self.dice.random() < self._faults.crash_before:
            raise _Crash
        entry = self._write(made, stamped)
        self.world.witness(event, process.snapshot)
        if self.dice.random() < self._faults.crash_after:
            raise _Crash
        process.snapshot, process.hash = made.snapshot, entry.hash
        process.items = extend(process.items, entry)
        for effect in made.effects:
            if isinstance(effect, Cancel):
                process.stopping.add(effect.target)
            else:
                process.waiting[effect.id] = False

    def _write(self, made: Step, stamped: Stamped) -> Entry:
        """Commit the entry of a step."""
        first = made.snapshot.seq == 0
        blobs = {self.machine.digest: encode(self.machine)} if first else {}
        process = self._process
        entry, item = prepared(
            self.machine, process.snapshot, made, stamped, process.hash, blobs
        )
        self.store.append(item).result()
        return entry

    def _reboot(self) -> None:
        """A new process: load what the store has, then take up what is pending by the crash table."""
        head = self.store.head(self.session)
        self._process = _Process(empty(self.session))
        if head is None:  # it died before its first entry
            started = SessionStarted(self.machine.digest, workdir="/sim")
            self._accept(started, "driver")
            return
        snapshot = decode_snapshot(head.snapshot)
        assert load_machine(self.store, snapshot.machine) == self.machine
        self._process = _Process(snapshot, head.hash, fold(self.entries()))
        for key in sorted(snapshot.pending, key=effect_order):
            self._process.waiting[key] = snapshot.pending[key].claimed
            if snapshot.pending[key].status == "cancelling":
                self._process.stopping.add(key)
        for key in sorted(snapshot.pending, key=effect_order):
            verdict = self.world.verdict(self._process.snapshot.pending[key])
            if verdict is not None:
                self._settle(snapshot.pending[key].effect, verdict)

    # ------------------------------------------------------------ watching

    def _judge_start(self, effect: Effect) -> None:
        """Whether this effect may begin now, by what is written."""
        seq, _ = effect_order(effect.id)
        head = self.store.head(self.session)
        if head is None or head.seq < seq:
            self._found.append(f"{effect.id} begins before its entry is committed")
        elif effect not in read(next(self.store.entries(self.session, seq, seq + 1))).effects:
            self._found.append(f"{effect.id} begins, but its entry does not ask for it")
        cancelling = [k for k, p in self.snapshot.pending.items() if p.status == "cancelling"]
        if cancelling:
            self._found.append(f"{effect.id} begins while {cancelling} have not settled")
        if isinstance(effect, RunTool):
            call = self.snapshot.calls[effect.call]
            same = call.status == "running" and call.args_hash == effect.args_hash
            if not same or not self.world.let_through(call):
                self._found.append(f"call {call.id} begins, but nobody let it through")
        if isinstance(effect, CallModel):
            self._judge_view()

    def _judge_view(self) -> None:
        """Whether every call in the view has exactly one result."""
        calls = [c.id for item in self._process.items for c in item.calls]
        results = [item.call for item in self._process.items if item.role == "result"]
        if sorted(calls) != sorted(results):
            self._found.append(f"the request holds calls {calls}, but results {results}")

    def _compare(self) -> None:
        """Whether what the snapshot says is pending is what is really waiting or under way."""
        process, pending = self._process, self.snapshot.pending
        real = {*process.waiting, *process.running}
        if real != set(pending):
            self._found.append(f"pending is {sorted(pending)}, but {sorted(real)} are under way")
        cancelling = {k for k, p in pending.items() if p.status == "cancelling"}
        if cancelling != process.stopping:
            self._found.append(f"cancelling is {cancelling}, but {process.stopping} were told")
        head = self.store.head(self.session)
        if head is None or digest(head.snapshot) != digest(encode(self.snapshot)):
            self._found.append("the process stands elsewhere than the store's head")
