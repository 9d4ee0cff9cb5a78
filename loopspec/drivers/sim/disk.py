"""Clocks and the disk of a simulated machine.

Rules of this file:
1. A fault of the disk keeps the store's rules: an entry is written whole or not at all, and blobs may
   be there before the entry that names them.
2. A future is resolved only when its entry is in the store.
"""

import random
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from loopspec.drivers.sim.faults import Faults
from loopspec.errors import StoreError
from loopspec.stores.base import Append, Store
from loopspec.stores.common import resolved

FULL_FOR: Final = 8
"""Ticks after which there is room on the disk again, at most."""


class Crash(Exception):
    """The simulated process died."""


@dataclass
class SimClock:
    """The clocks of the machine, in microseconds.

    `now` is the wall clock, which may jump; `awake` stands still while the machine sleeps; `boot` runs
    on for ever.
    """

    now: int
    awake: int = 0
    boot: int = 0

    def tick(self, by: int) -> None:
        """Time passes."""
        self.now += by
        self.awake += by
        self.boot += by

    def sleep(self, by: int) -> None:
        """The machine sleeps and wakes."""
        self.now += by
        self.boot += by

    def jump(self, by: int) -> None:
        """Somebody sets the wall clock."""
        self.now += by


@dataclass
class SlowWrite:
    """An append that is under way. `landed`: it is in the store, but nobody was told."""

    item: Append
    future: "Future[None]"
    landed: bool


@dataclass
class SimDisk:
    """Hands appends to the store, or does with them what disks do. `full` counts ticks without room."""

    store: Store
    dice: random.Random
    faults: Faults
    counts: Counter[str]
    full: int = 0
    slow: list[SlowWrite] = field(default_factory=list)

    def tick(self) -> None:
        """Time passes: room may come back."""
        self.full = max(0, self.full - 1)

    def append(self, item: Append) -> "Future[None]":
        """Write an entry; the future may stay open. Raises `Crash` when the process dies over it."""
        faults = self.faults
        if self.full:
            return resolved(_no_room())
        roll = self.dice.random()
        if roll < faults.crash_before:
            self.counts["crash_before"] += 1
            raise Crash
        roll -= faults.crash_before
        if roll < faults.crash_during:
            self.counts["crash_during"] += 1
            self._torn(item)
            raise Crash
        roll -= faults.crash_during
        if roll < faults.full:
            self.counts["full"] += 1
            self.full = self.dice.randint(1, FULL_FOR)
            return resolved(_no_room())
        roll -= faults.full
        if roll < faults.slow:
            self.counts["slow"] += 1
            return self._slowly(item)
        return self.store.append(item)

    def settle(self, future: "Future[None]") -> None:
        """A slow write ends: it is in the store, or refused by it."""
        for write in [w for w in self.slow if w.future is future]:
            self.slow.remove(write)
            outcome = resolved() if write.landed else self.store.append(write.item)
            error = outcome.exception()
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def died(self, future: "Future[None] | None") -> None:
        """The process that waited is gone; what was under way arrives, or never does."""
        for write in [w for w in self.slow if w.future is future]:
            self.slow.remove(write)
            if not write.landed and self.dice.random() < 0.5:
                self.store.append(write.item)

    def _torn(self, item: Append) -> None:
        """The power goes while the write is made: its blobs are there, or all of it, or nothing."""
        match self.dice.randrange(3):
            case 0:
                self.store.append(item)
            case 1:
                for data in item.blobs.values():
                    self.store.put_blob(data)
            case _:
                pass

    def _slowly(self, item: Append) -> "Future[None]":
        """Begin a write that is acknowledged later; half of them are in the store long before."""
        future: Future[None] = Future()
        landed = False
        if self.dice.random() < 0.5:
            outcome = self.store.append(item)
            if outcome.exception() is not None:
                return outcome
            landed = True
        self.slow.append(SlowWrite(item, future, landed))
        return future


def _no_room() -> StoreError:
    """The fault of a disk that is full."""
    return StoreError("the disk is full", place="simulated disk", remedy="Free some space and try again")
