"""People of a simulated world: somebody who answers, asks and interrupts, and the host beneath."""

import random
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from loopspec.events import (
    ApprovalGiven,
    BudgetExtended,
    HostSuspended,
    HostWoke,
    Kept,
    RollbackChosen,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import Machine
from loopspec.machine.work import BUDGETS
from loopspec.snapshot import Snapshot

T = TypeVar("T")
EXTENSIONS: Final = {"turns": 10, "tokens": 500_000, "usd": 2_000_000_000, "elapsed": 3_600_000_000}
"""What a person allows more, in each budget's own unit."""


def pick(dice: random.Random, *choices: tuple[float, T]) -> T:
    """One of the choices, by weight."""
    roll = dice.random() * sum(weight for weight, _ in choices)
    for weight, value in choices:
        roll -= weight
        if roll < 0:
            return value
    return choices[-1][1]


class Person(Protocol):
    """Somebody at the session. Draw whatever is random from `dice`, so that a seed repeats it."""

    def speak(
        self, snapshot: Snapshot, accepted: Sequence[str], dice: random.Random
    ) -> Kept | None:
        """What the person says or does now, None for nothing.

        `accepted` are the commands that would be taken, e.g. `user.message` or `approval.given`.
        """


class RandomPerson:
    """Does anything that is accepted, and now and then something that is not."""

    def speak(
        self, snapshot: Snapshot, accepted: Sequence[str], dice: random.Random
    ) -> Kept | None:
        """A random word or deed."""
        waits = any(c.status in ("asked", "lost") for c in snapshot.calls.values())
        weights = {
            "approval.given": 6.0 if waits and "approval.given" in accepted else 0.2,
            "rollback.chosen": 3.0,
            "budget.extended": 4.0 if snapshot.spent else 0.1,
        }
        names = [*accepted, "approval.given", "user.resumed"]
        match pick(dice, *((weights.get(name, 1.0), name) for name in names)):
            case "approval.given":
                return approval(snapshot, dice) or UserMessage("why?")
            case "user.interrupted":
                return UserInterrupted("stop")
            case "user.resumed":
                return UserResumed()
            case "rollback.chosen":
                return RollbackChosen(
                    dice.choice(["", "b0", *(b.id for b in snapshot.boundaries)])
                )
            case "budget.extended":
                which = snapshot.spent or dice.choice(BUDGETS)
                return BudgetExtended(which, EXTENSIONS[which])
            case _:
                return UserMessage(f"message {dice.randint(0, 99)}")


class ScriptedPerson:
    """Says these words, one at each rest, and then nothing more.

    `ScriptedPerson(UserMessage("go"), UserInterrupted())`; a text stands for a message.
    """

    def __init__(self, *words: Kept | str) -> None:
        """The words, in order."""
        self._words = [UserMessage(w) if isinstance(w, str) else w for w in words]

    def speak(
        self, snapshot: Snapshot, accepted: Sequence[str], dice: random.Random
    ) -> Kept | None:
        """The next word."""
        return self._words.pop(0) if self._words else None


def approval(snapshot: Snapshot, dice: random.Random) -> ApprovalGiven | None:
    """An answer for a call that waits, None without one; sometimes for arguments not its own."""
    waiting = sorted(
        (c for c in snapshot.calls.values() if c.status in ("asked", "lost")),
        key=lambda c: (c.seq, c.index),
    )
    if not waiting:
        return None
    call = dice.choice(waiting)
    answers = ("grant", "deny") if call.status == "asked" else ("done", "rerun", "abandon")
    return ApprovalGiven(
        call.id,
        call.args_hash if dice.random() < 0.95 else "0" * 64,
        dice.choice(answers),
        pick(dice, (0.8, "call"), (0.2, "tool")),
    )


def host(machine: Machine, snapshot: Snapshot) -> Kept:
    """What the host reports: that it goes to sleep, or that it is back."""
    parked = any(
        kind.rests == "suspended"
        for path in snapshot.activations
        if (kind := machine.kind_of(path)) is not None
    )
    return HostWoke(60_000_000) if parked else HostSuspended("lid")
