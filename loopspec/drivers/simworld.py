"""A seeded world for simulations: it answers effects, plays the person and remembers what happened.

Rules of this file:
1. Everything random comes from the one generator the simulation was seeded with, and every choice is
   made from a list in a fixed order: the same seed gives the same world.
2. The world outlives crashes. Its record of acts is what really happened, whatever the journal says.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from loopspec.codec import canonical_json
from loopspec.context.transcript import Item
from loopspec.effects import (
    CallModel,
    Cancel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    BudgetExtended,
    ContextCompacted,
    ContextStuck,
    Decision,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostSuspended,
    HostWoke,
    Kept,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    TokenUsage,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import Machine
from loopspec.machine.work import BUDGETS
from loopspec.snapshot import Call, Pending, Snapshot

T = TypeVar("T")


@dataclass(frozen=True)
class Faults:
    """How often things go wrong, as shares in 0..1.

    `crash_before` and `crash_after`: of all appends, the process dies just before or just after.
    `crash`: of all ticks, it dies in between. `again` and `late`: an answer arrives twice, or after
    nobody waits for it. `interrupt`: a person stops the work. `suspend`: the host goes to sleep.
    `hang`: of all cancelled effects, one does not stop and is reported lost.
    """

    crash_before: float = 0.02
    crash_after: float = 0.04
    crash: float = 0.02
    again: float = 0.01
    late: float = 0.01
    interrupt: float = 0.05
    suspend: float = 0.02
    hang: float = 0.1


CALM = Faults(0, 0, 0, 0, 0, 0, 0, 0)
"""A world without faults."""


@dataclass(frozen=True)
class Act:
    """A tool call that really began: which call, for which effect, after which entry."""

    call: str
    effect: str
    tool: str
    head: int


@dataclass
class SimWorld:
    """Answers effects at random and keeps the record of acts.

    `cleared` holds calls that the gate or a person let through, `tools` those a person let through for
    good, `reruns` how often a person let a lost call run again.
    """

    machine: Machine
    dice: random.Random
    acts: list[Act] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)
    tools: set[str] = field(default_factory=set)
    reruns: dict[str, int] = field(default_factory=dict)

    def pick(self, *choices: tuple[float, T]) -> T:
        """One of the choices, by weight."""
        weights = [weight for weight, _ in choices]
        return self.dice.choices([value for _, value in choices], weights)[0]

    def begin(self, effect: Effect, head: int) -> None:
        """An effect begins in the world: from here on it may have happened."""
        if isinstance(effect, RunTool):
            self.acts.append(Act(effect.call, effect.id, effect.tool, head))

    def happened(self, call: str) -> bool | None:
        """What a probe finds out about a call: the truth, or None when it cannot tell."""
        return self.pick((0.8, any(a.call == call for a in self.acts)), (0.2, None))

    def witness(self, event: Kept, before: Snapshot) -> None:
        """Remember what lets a call begin, from what was written."""
        match event:
            case GateDecided():
                self.cleared |= {d.call for d in event.decisions if d.answer == "allow"}
            case ApprovalGiven(call=call, answer="grant", scope="tool"):
                self.tools.add(before.calls[call].tool)
            case ApprovalGiven(call=call, answer="grant"):
                self.cleared.add(call)
            case ApprovalGiven(call=call, answer="rerun"):
                self.reruns[call] = self.reruns.get(call, 0) + 1
            case _:
                pass

    def let_through(self, call: Call) -> bool:
        """Whether the gate or a person let this call through."""
        return call.id in self.cleared or call.id in self.reruns or call.tool in self.tools

    def verdict(self, pending: Pending) -> Kept | None:
        """The crash table: what settles a pending effect after a restart, None to start it (again)."""
        effect = pending.effect
        if pending.status == "cancelling":
            if pending.claimed:
                return EffectLost(effect.id, "the process ended while this was being cancelled")
            return EffectCancelled(effect.id, started=isinstance(effect, CallModel))
        if not pending.claimed:
            return None
        if isinstance(effect, RunTool) and self.machine.tools[effect.tool].after_crash == "probe":
            match self.happened(effect.call):
                case True:
                    return ToolAnswered(effect.id, effect.call, "ok", "Completed before the restart.")
                case False:
                    return None
                case None:
                    pass
        return EffectLost(effect.id, "the process ended after this had begun")

    # ------------------------------------------------------------ answers

    def answer(self, effect: Effect, items: Sequence[Item], calm: bool = False) -> Kept:
        """The one answer of an effect. `calm`: everything works and the model wants nothing."""
        if not calm and self.dice.random() < 0.03:
            return EffectFailed(effect.id, "the performer broke")
        match effect:
            case CallModel():
                return self._reply(effect.id, calm)
            case DecideCalls():
                return self._decide(effect, calm)
            case RunTool():
                status = self.pick((0.7, "ok"), (0.2, "error"), (0.1, "timeout"))
                return ToolAnswered(effect.id, effect.call, status, "output", duration=1_000)
            case CompactContext():
                return self._compacted(effect, items)
            case TakeBoundary():
                if self.dice.random() < 0.1:
                    return BoundaryFailed(effect.id, "disk full")
                return BoundaryTaken(effect.id, effect.boundary, f"ref-{effect.boundary}", "sim")
            case RestoreBoundary():
                return self._restored(effect)
            case Perform():
                kind = self.machine.kinds[effect.kind]
                return EffectAnswered(effect.id, self.dice.choice(sorted(kind.endings)))
            case Cancel():
                raise AssertionError("a cancel is answered by its target")
            case _:
                assert_never(effect)

    def _reply(self, effect: str, calm: bool) -> Kept:
        """A model's answer: text, up to three calls, a failure, or an overflow."""
        usage = TokenUsage(self.dice.randint(10, 2_000), self.dice.randint(1, 200), cost=1_000)
        what = "reply" if calm else self.pick((0.8, "reply"), (0.15, "fail"), (0.05, "overflow"))
        if what == "overflow":
            return ModelOverflowed(effect)
        if what == "fail":
            return AttemptFailed(
                effect,
                "provider",
                retryable=self.dice.random() < 0.8,
                retry_after=self.pick((0.8, 0), (0.2, 5_000_000)),
                jitter=self.dice.randint(0, 1_000_000),
                usage=usage,
            )
        count = 0 if calm else self.pick((0.3, 0), (0.3, 1), (0.25, 2), (0.15, 3))
        calls = [self._call() for _ in range(count)]
        text = "bye" if not calls and self.dice.random() < 0.05 else "some text"
        return ModelReplied(effect, text, calls, usage=usage, model="sim")

    def _call(self) -> ProposedCall:
        """A proposed call, sometimes of an unknown tool or with unusable arguments."""
        tool = self.dice.choice([*sorted(self.machine.tools), "unknown"])
        if self.dice.random() < 0.05:
            return ProposedCall(tool, problem="The arguments are no JSON object.")
        return ProposedCall(tool, canonical_json({"n": self.dice.randint(0, 2)}))

    def _decide(self, effect: DecideCalls, calm: bool) -> GateDecided:
        """The gate's answers; now and then it forgets a call."""
        made = []
        for call in effect.calls:
            answer = self.pick((0.5, "allow"), (0.3, "ask"), (0.15, "deny"), (0.05, ""))
            if answer:
                made.append(Decision(call, "deny" if calm else answer, rule="sim"))
        return GateDecided(effect.id, made)

    def _compacted(self, effect: CompactContext, items: Sequence[Item]) -> Kept:
        """Drops a prefix of the view in which every call has its result."""
        cuts = []
        open_calls: set[str] = set()
        for n, item in enumerate(items[:-1], start=1):
            open_calls |= {c.id for c in item.calls}
            open_calls.discard(item.call)
            if not open_calls:
                cuts.append(n)
        if not cuts or self.dice.random() < 0.2:
            return ContextStuck(effect.id, "nothing can go")
        gone = items[: self.dice.choice(cuts)]
        before = sum(i.tokens for i in items)
        after = before - sum(i.tokens for i in gone)
        return ContextCompacted(effect.id, [i.id for i in gone], "earlier work", before, after)

    def _restored(self, effect: RestoreBoundary) -> Kept:
        """The workspace is put back, as far as it can be."""
        if self.dice.random() < 0.1:
            return RollbackFailed(effect.id, "no such tree")
        if effect.remaining:
            return RollbackPartial(effect.id, effect.boundary, [], list(effect.remaining))
        return RollbackDone(effect.id, effect.boundary)

    def stopped(self, effect: Effect, items: Sequence[Item], faults: Faults) -> Kept:
        """How an effect that is under way settles after it was told to stop."""
        if self.dice.random() < faults.hang:
            return EffectLost(effect.id, "it did not stop in time")
        if self.dice.random() < 0.2:
            return self.answer(effect, items)  # it was faster than its cancellation
        return EffectCancelled(effect.id, started=True, partial="half", usage=TokenUsage(5, 5))

    # ------------------------------------------------------------ people and the host

    def person(self, snapshot: Snapshot, accepted: Sequence[str]) -> Kept:
        """What a person does, by what is accepted; sometimes something that is not."""
        weights = {
            "approval.given": 4.0,
            "rollback.chosen": 3.0,
            "budget.extended": 4.0 if snapshot.spent else 0.1,
        }
        names = [*accepted, "approval.given", "user.resumed"]
        match self.pick(*((weights.get(name, 1.0), name) for name in names)):
            case "approval.given":
                return self._approval(snapshot) or UserMessage("why?")
            case "user.interrupted":
                return UserInterrupted("stop")
            case "user.resumed":
                return UserResumed()
            case "rollback.chosen":
                return RollbackChosen(
                    self.dice.choice(["", "b0", *(b.id for b in snapshot.boundaries)])
                )
            case "budget.extended":
                return BudgetExtended(snapshot.spent or self.dice.choice(BUDGETS), 10_000_000)
            case _:
                return UserMessage(f"message {self.dice.randint(0, 99)}")

    def _approval(self, snapshot: Snapshot) -> ApprovalGiven | None:
        """An answer for a call that waits; sometimes for arguments that are not its own."""
        waiting = sorted(
            (c for c in snapshot.calls.values() if c.status in ("asked", "lost")),
            key=lambda c: (c.seq, c.index),
        )
        if not waiting:
            return None
        call = self.dice.choice(waiting)
        answers = ("grant", "deny") if call.status == "asked" else ("done", "rerun", "abandon")
        return ApprovalGiven(
            call.id,
            call.args_hash if self.dice.random() < 0.95 else "0" * 64,
            self.dice.choice(answers),
            self.pick((0.8, "call"), (0.2, "tool")),
        )

    def host(self, snapshot: Snapshot) -> Kept:
        """What the host reports."""
        parked = any(
            kind.rests == "suspended"
            for path in snapshot.activations
            if (kind := self.machine.kind_of(path)) is not None
        )
        return HostWoke(60_000_000) if parked else HostSuspended("lid")
