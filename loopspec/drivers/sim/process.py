"""A simulated process: everything a crash takes away, and the rules by which a driver moves a session.

It is the local driver's double, synchronous and one move at a time, so that whoever owns the dice may put
anything between two moves.

Rules of this file:
1. **Write, then act.** An effect begins only when the entry that asks for it is acknowledged.
2. **Claim before the irreversible.** The same holds for its claim.
3. One write is under way at a time; what happens meanwhile waits in the mailbox.
4. A driver whose lease has not been renewed for too long renews it before it starts anything.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from loopspec.codec import decode_snapshot, encode
from loopspec.context.transcript import Item
from loopspec.drivers.clean import clean
from loopspec.drivers.recovery import needs_claim
from loopspec.drivers.session import prepared
from loopspec.drivers.sim.disk import Crash, SimClock, SimDisk
from loopspec.drivers.sim.judge import Judge
from loopspec.drivers.sim.world import WORKDIR, SimWorld
from loopspec.drivers.view import View, load_view
from loopspec.effects import Cancel, Effect
from loopspec.errors import StoreError
from loopspec.events import (
    EffectCancelled,
    EffectClaimed,
    EffectLost,
    Kept,
    SessionStarted,
    Stamped,
    TimerFired,
)
from loopspec.governance.redact import Redactor
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import empty
from loopspec.machine.draft import effect_order
from loopspec.machine.model import Machine
from loopspec.machine.step import REFUSED, Step, step
from loopspec.snapshot import Snapshot, Timer
from loopspec.stores.base import Append, Store

LEASE: Final = 60_000_000
"""Microseconds after which a lease that was not renewed may be taken over."""
RECENT: Final = 20
NOTHING_SECRET: Final = Redactor.from_environment({})
Move = tuple[float, Callable[[], None]]


@dataclass(frozen=True)
class Rules:
    """What a driver keeps to. All of it, unless a test proves that a simulation notices.

    `claims`: claim before the irreversible. `act_late`: write, then act (False: the other way round).
    `fenced`: look at the lease before acting (the store's own fence is the store's business).
    """

    claims: bool = True
    act_late: bool = True
    fenced: bool = True


@dataclass
class Setting:
    """What outlives a process: the machine, the store behind its disk, the world, who watches.

    `told` and `gone` are the newest answers, and the effects they answered.
    """

    machine: Machine
    session: str
    store: Store
    disk: SimDisk
    world: SimWorld
    judge: Judge
    dice: random.Random
    clock: SimClock
    rules: Rules
    counts: Counter[str]
    windows: Mapping[str, int]
    told: "deque[Kept]" = field(default_factory=lambda: deque(maxlen=RECENT))
    gone: "deque[Effect]" = field(default_factory=lambda: deque(maxlen=RECENT))


@dataclass
class _Flight:
    """A step whose entry is being written."""

    made: Step
    entry: Entry
    by: str
    future: "Future[None]"


@dataclass
class SimProcess:
    """One driver of the session. `token` is its lease's, 0 for one that never got it.

    `waiting` are effects that have not begun, `running` those that have, `silent` those of them that
    will not answer before their deadline, `todo` what recovery has still to look at.
    """

    at: Setting
    token: int
    snapshot: Snapshot
    beaten: int = 0
    hash: str = GENESIS
    view: View = field(default_factory=View)
    waiting: dict[str, Effect] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    claiming: set[str] = field(default_factory=set)
    running: dict[str, Effect] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    stopping: set[str] = field(default_factory=set)
    todo: list[str] = field(default_factory=list)
    mailbox: list[tuple[Kept, str]] = field(default_factory=list)
    flight: _Flight | None = None
    awake_base: int = 0

    # ------------------------------------------------------------ start

    @classmethod
    def boot(cls, at: Setting, token: int) -> "SimProcess":
        """A new process: load what the store has, and see what recovery has to look at."""
        self = cls(at, token, empty(at.session), at.clock.boot)
        head = at.store.head(at.session)
        if head is not None:
            self.snapshot, self.hash = decode_snapshot(head.snapshot), head.hash
            if at.store.blob(self.snapshot.machine) != at.world.pools.machine:
                at.judge.say("the session's machine is not the one it began with")
            self.view = load_view(at.store, head, self.snapshot.compacted)
            self.todo = sorted(self.snapshot.pending, key=effect_order)
            for key in self.todo:
                pending = self.snapshot.pending[key]
                self.waiting[key] = pending.effect
                if pending.claimed:
                    self.claimed.add(key)
                if pending.status == "cancelling":
                    self.stopping.add(key)
        self.awake_base = self.snapshot.awake - at.clock.awake
        return self

    def begin(self) -> None:
        """Write the first entry, if nobody has."""
        machine = self.at.machine
        if self.snapshot.seq < 0:
            started = SessionStarted(
                machine.digest,
                inputs=self.at.world.pools.inputs,
                windows=dict(self.at.windows),
                workdir=WORKDIR,
            )
            self.accept(started, "driver")

    # ------------------------------------------------------------ what may happen next

    @property
    def items(self) -> tuple[Item, ...]:
        """What the model sees."""
        return self.view.items

    @property
    def working(self) -> bool:
        """Whether anything is under way."""
        return bool(self.waiting or self.running or self.mailbox or self.flight)

    @property
    def settled(self) -> bool:
        """Whether all that has happened is written: then it can be compared with the journal."""
        return self.flight is None and not self.mailbox

    def under_way(self) -> set[str]:
        """The effects that wait or run."""
        return {*self.waiting, *self.running}

    def moves(self, *, calm: bool) -> list[Move]:
        """Everything that can go on by itself, by weight; timers are the world's."""
        made: list[Move] = []
        if self.flight is not None:
            made.append((1.0 if calm else 0.4, self.land))
        if self.todo:
            if self.flight is None:
                made.append((1.0, self.recover))
            return made
        for key in sorted(self.waiting, key=effect_order):
            if key in self.stopping:
                made.append((1.0, partial(self.stop, key)))
            elif key not in self.claiming:
                made.append((1.0, partial(self.start, key)))
        for key in sorted(self.running, key=effect_order):
            if key in self.stopping:
                made.append((1.0, partial(self.stop, key)))
            elif key in self.silent and not calm:
                made.append((0.03, partial(self.finish, key, calm)))
            else:
                made.append((1.0, partial(self.finish, key, calm)))
        return made

    # ------------------------------------------------------------ effects

    def recover(self) -> None:
        """Look at the next effect an earlier process left pending, by the crash table."""
        key = self.todo.pop(0)
        pending = self.snapshot.pending.get(key)
        if pending is None or key not in self.waiting:
            return
        verdict = self.at.world.verdict(pending, self.snapshot)
        if verdict is not None:
            self.settle(pending.effect, verdict, "recovery")

    def start(self, key: str) -> None:
        """Claim an effect, or let one begin that is claimed or needs no claim."""
        self.renew(LEASE)
        effect = self.waiting[key]
        rules = self.at.rules
        if rules.claims and key not in self.claimed and needs_claim(self.at.machine, effect):
            self.claiming.add(key)
            self.accept(EffectClaimed(key), "driver")
            return
        self._begin(effect)

    def _begin(self, effect: Effect) -> None:
        """It begins in the world."""
        at = self.at
        at.judge.begins(effect)
        self.waiting.pop(effect.id, None)
        self.running[effect.id] = effect
        at.world.begin(effect, self.snapshot)
        if at.dice.random() < at.disk.faults.lost:
            at.counts["lost"] += 1
            self.silent.add(effect.id)

    def finish(self, key: str, calm: bool) -> None:
        """An effect answers, or its deadline passes."""
        effect = self.running[key]
        world = self.at.world
        if key in self.silent:
            self.settle(effect, world.deadline(effect))
        else:
            self.settle(effect, world.answer(effect, self.snapshot, self.items, calm))

    def stop(self, key: str) -> None:
        """A cancelled effect settles."""
        if key in self.waiting:
            self.settle(self.waiting[key], EffectCancelled(key, started=False))
            return
        at, effect = self.at, self.running[key]
        answer = at.world.stopped(effect, self.snapshot, self.items, at.disk.faults)
        if isinstance(answer, EffectLost):
            at.counts["hang"] += 1
        self.settle(effect, answer)

    def settle(self, effect: Effect, answer: Kept, by: str = "performer") -> None:
        """Hand in the one answer of an effect. It is over in the world, whatever becomes of us."""
        key = effect.id
        self.at.gone.append(effect)
        self.at.told.append(answer)
        self.waiting.pop(key, None)
        self.running.pop(key, None)
        self.silent.discard(key)
        self.stopping.discard(key)
        self.accept(answer, by)

    def fire(self, timer: Timer) -> None:
        """A timer has come due."""
        clock = self.at.clock.now if timer.clock == "wall" else self.awake_now()
        self.accept(TimerFired(timer.id, max(0, clock - timer.due)), "timer")

    def awake_now(self) -> int:
        """The session's awake clock, continued over restarts."""
        return max(self.snapshot.awake, self.awake_base + self.at.clock.awake)

    def renew(self, after: int) -> None:
        """Renew the lease if that was last done `after` µs ago; raises `StoreError` when it is lost."""
        clock = self.at.clock
        if self.at.rules.fenced and self.token and clock.boot - self.beaten > after:
            self.at.store.beat(self.at.session, self.token, clock.boot).result()
            self.beaten = clock.boot

    # ------------------------------------------------------------ the journal

    def accept(self, event: Kept, by: str) -> None:
        """Step, write, then act. Raises `Crash` or `StoreError` when this process ends over it."""
        if self.flight is not None:
            self.mailbox.append((event, by))
            return
        at = self.at
        stamped = Stamped(at.clock.now, self.awake_now(), by, clean(event, NOTHING_SECRET))
        made = step(at.machine, self.snapshot, stamped)
        if made.outcome == REFUSED:
            at.store.refuse(at.session, encode({"why": made.refusal}))
            return
        if not at.rules.act_late:
            self._act(made)
        entry, item = self._prepared(made, stamped)
        future = at.disk.append(item)
        self.flight = _Flight(made, entry, by, future)
        if future.done():
            self._commit()

    def _prepared(self, made: Step, stamped: Stamped) -> tuple[Entry, Append]:
        """The entry of a step, and what the store has to write for it, under our lease."""
        at = self.at
        first = made.snapshot.seq == 0
        blobs = {at.machine.digest: at.world.pools.machine} if first else {}
        return prepared(
            at.machine,
            self.snapshot,
            made,
            stamped,
            self.hash,
            blobs,
            view=self.view,
            token=self.token,
        )

    def land(self) -> None:
        """A slow write ends, and what has happened meanwhile gets its turn."""
        if self.flight is not None:
            self.at.disk.settle(self.flight.future)
            self._commit()
        while self.mailbox and self.flight is None:
            self.accept(*self.mailbox.pop(0))

    def _commit(self) -> None:
        """The disk has answered: acknowledge, and act. Raises what the store says."""
        flight, self.flight = self.flight, None
        assert flight is not None
        flight.future.result()
        at, made = self.at, flight.made
        at.judge.acknowledged(flight.entry.seq, flight.entry.hash)
        if at.dice.random() < at.disk.faults.crash_after:
            at.counts["crash_after"] += 1
            raise Crash
        self.snapshot, self.hash = made.snapshot, flight.entry.hash
        self.view.apply(flight.entry)
        if isinstance(flight.entry.event, EffectClaimed):
            key = flight.entry.event.effect
            self.claiming.discard(key)
            self.claimed.add(key)
        if at.rules.act_late:
            self._act(made)

    def _act(self, made: Step) -> None:
        """Take up what a step asks for."""
        for effect in made.effects:
            if isinstance(effect, Cancel):
                if effect.target in self.waiting or effect.target in self.running:
                    self.stopping.add(effect.target)
            else:
                self.waiting[effect.id] = effect
                if not self.at.rules.act_late:
                    self._begin(effect)

    def die(self) -> None:
        """It is over: what it was writing may arrive, or never does."""
        if self.flight is not None:
            self.at.disk.died(self.flight.future)

    def speaks_alone(self, event: Kept) -> bool:
        """Whether an event of this process, which has no right to the session, is taken all the same."""
        seq = self.snapshot.seq
        try:
            self.accept(event, "person")
            while self.flight is not None:
                self.land()
        except (Crash, StoreError):
            return False
        return self.snapshot.seq > seq
