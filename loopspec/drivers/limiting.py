"""Limiting: budgets that are tightened, for a new session or for one run of an old one.

Rules of this file:
1. A budget may only be tightened here; more is given by `budget.extended`, which is journaled.
2. A new session's limits stand in the machine it starts with, so the loop routes them like its own.
3. A session keeps the machine it has. A run that resumes it may be limited: it stops, with nothing
   lost, at the entry that asks for one model call too many. That call has not begun, stays pending
   in the journal, and is made when the session is resumed again.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopspec.drivers.door import Door
from loopspec.drivers.outcome import RUN_LIMIT
from loopspec.drivers.session import Session
from loopspec.drivers.through import Through
from loopspec.effects import CallModel
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest

NANO: Final = 1_000_000_000


@dataclass(frozen=True)
class Limits:
    """At most so many turns and nano-USD; None for no limit."""

    turns: int | None = None
    usd: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return self.turns is not None or self.usd is not None


def with_limits(machine: Machine, limits: Limits) -> Machine:
    """The machine with budgets no larger than `limits`; the spec's own stay where they are smaller."""
    budgets = machine.budgets
    tightened = msgspec.structs.replace(
        budgets,
        turns=_smaller(budgets.turns, limits.turns),
        usd=_smaller(budgets.usd, limits.usd),
    )
    return msgspec.structs.replace(machine, budgets=tightened) if limits else machine


def _smaller(own: int | None, limit: int | None) -> int | None:
    """The smaller of two limits, of which None is none."""
    both = [x for x in (own, limit) if x is not None]
    return min(both) if both else None


class Limiting(Through):
    """Stops the run of a resumed session before a model call that would be one too many."""

    def __init__(self, door: Door, limits: Limits, session: Session) -> None:
        """Counts from where `session` stands now."""
        super().__init__(door)
        usage = session.snapshot.usage
        self._turns = None if limits.turns is None else usage.turns + limits.turns
        self._usd = None if limits.usd is None else usage.cost + limits.usd
        self.driver: Any = None

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed: does it ask for too much?"""
        self._door.kept(session, entry)
        self.look(session)

    def look(self, session: Session) -> None:
        """Stop the run if a limit is reached and a model is about to be called."""
        usage, pending = session.snapshot.usage, session.snapshot.pending.values()
        if not any(isinstance(p.effect, CallModel) and p.at == session.snapshot.at for p in pending):
            return
        if self._turns is not None and usage.turns >= self._turns:
            self.driver.stop(Rest("budget", detail=RUN_LIMIT + "turns"))
        elif self._usd is not None and usage.cost >= self._usd:
            self.driver.stop(Rest("budget", detail=RUN_LIMIT + "USD"))
