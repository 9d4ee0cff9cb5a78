"""People of a simulated world: somebody who answers, asks and interrupts, and the host beneath."""

import random
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from loopspec.drivers.sim.values import Pools
from loopspec.events import (
    ApprovalGiven,
    BudgetExtended,
    CompactionRequested,
    HostSuspended,
    HostWoke,
    Kept,
    ModelChosen,
    RollbackChosen,
    UserCalled,
    UserInterrupted,
    UserMessage,
    UserResumed,
    UserWithdrew,
)
from loopspec.machine.model import Machine
from loopspec.machine.spending import BUDGETS
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

    def __init__(self, pools: Pools | None = None) -> None:
        """`pools` are the arguments this person knows; without them they give none of their own."""
        self._pools = pools if pools is not None else Pools()

    def speak(
        self, snapshot: Snapshot, accepted: Sequence[str], dice: random.Random
    ) -> Kept | None:
        """A random word or deed."""
        waits = any(c.status in ("asked", "lost") for c in snapshot.calls.values())
        weights = {
            "approval.given": 6.0 if waits and "approval.given" in accepted else 0.2,
            "rollback.chosen": 3.0,
            "budget.extended": 4.0 if snapshot.spent else 0.1,
            "model.chosen": 0.2,
        }
        names = [*accepted, "approval.given", "user.resumed"]
        match pick(dice, *((weights.get(name, 1.0), name) for name in names)):
            case "approval.given":
                return approval(snapshot, dice, self._pools) or UserMessage("why?")
            case "user.called":
                return self._call(dice)
            case "user.withdrew":
                return UserWithdrew(dice.choice([0, *(w.seq for w in snapshot.inbox)]))
            case "user.interrupted":
                return UserInterrupted("stop")
            case "user.resumed":
                return UserResumed()
            case "compaction.requested":
                return CompactionRequested()
            case "model.chosen":
                use = dice.choice(["", f"elsewhere/model-{dice.randint(0, 9)}"])
                window = dice.choice([0, 8_000, 200_000])
                return ModelChosen(dice.choice([*sorted(snapshot.windows), "m"]), use, window, True)
            case "rollback.chosen":
                return RollbackChosen(
                    dice.choice(["", "b0", *(b.id for b in snapshot.boundaries)])
                )
            case "budget.extended":
                which = snapshot.spent or dice.choice(BUDGETS)
                return BudgetExtended(which, EXTENSIONS[which])
            case _:
                return UserMessage(f"message {dice.randint(0, 99)}")


    def _call(self, dice: random.Random) -> UserCalled:
        """A call of their own, with arguments that fit the tool or do not."""
        tool = dice.choice(["unheard_of", *sorted(self._pools.tools)])
        return UserCalled(tool, some_args(self._pools, tool, dice))


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


def approval(
    snapshot: Snapshot, dice: random.Random, pools: Pools | None = None
) -> ApprovalGiven | None:
    """An answer for a call that waits, None without one; sometimes for arguments not its own.

    Grants are of every scope, some within limits or for a while; with `pools`, some change arguments.
    """
    waiting = sorted(
        (c for c in snapshot.calls.values() if c.status in ("asked", "lost")),
        key=lambda c: (c.seq, c.index),
    )
    if not waiting:
        return None
    call = dice.choice(waiting)
    answers = ("grant", "deny") if call.status == "asked" else ("done", "rerun", "abandon")
    answer = dice.choice(answers)
    scope = pick(dice, (0.6, "call"), (0.12, "exact"), (0.12, "limited"), (0.16, "tool"))
    changes = answer == "grant" and scope in ("call", "exact") and dice.random() < 0.25
    within = scope == "limited" and answer == "grant"
    return ApprovalGiven(
        call.id,
        call.args_hash if dice.random() < 0.95 else "0" * 64,
        answer,
        scope,
        args=some_args(pools, call.tool, dice) if changes and pools is not None else "",
        paths=_limits(call.paths, dice) if within else (),
        commands=_limits((call.command,) if call.command else (), dice) if within else (),
        lasts=pick(dice, (0.9, 0), (0.1, dice.randint(1, 600_000_000))),
    )


def some_args(pools: Pools, tool: str, dice: random.Random) -> str:
    """Arguments for a tool, mostly right ones; no JSON object now and then."""
    pool = pools.tools.get(tool)
    texts = (*pool.good, *pool.good, *pool.bad) if pool is not None else ()
    return dice.choice(texts) if texts and dice.random() < 0.97 else "[]"


def _limits(acts_on: tuple[str, ...], dice: random.Random) -> tuple[str, ...]:
    """Globs for what a call acts on: exactly that, anything, or something else."""
    return pick(dice, (0.6, acts_on[:8]), (0.2, ("**",)), (0.2, ("elsewhere/*",))) if acts_on else ()


def host(machine: Machine, snapshot: Snapshot) -> Kept:
    """What the host reports: that it goes to sleep, or that it is back."""
    parked = any(
        kind.rests == "suspended"
        for path in snapshot.activations
        if (kind := machine.kind_of(path)) is not None
    )
    return HostWoke(60_000_000) if parked else HostSuspended("lid")
