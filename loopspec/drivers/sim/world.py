"""A seeded world for simulations: it answers effects and remembers what happened.

Rules of this file:
1. Everything random comes from the one generator the simulation was seeded with, and every choice is
   made from a list in a fixed order: the same seed gives the same world.
2. The world outlives crashes. Its record of acts is what really happened, whatever the journal says.
3. Its gate is the spec's own envelope, so nothing is allowed or asked here that never could be.
"""

import posixpath
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, assert_never

import msgspec

from loopspec.codec import canonical_json
from loopspec.context.transcript import Item
from loopspec.drivers import recovery
from loopspec.drivers.answers import checked
from loopspec.drivers.sim.faults import Faults
from loopspec.drivers.sim.people import pick
from loopspec.drivers.sim.values import Pools, pools
from loopspec.effects import (
    CallModel,
    Cancel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    SurveyHost,
    TakeBoundary,
)
from loopspec.events import (
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    ContextCompacted,
    ContextStuck,
    Decision,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostSurveyed,
    Kept,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    TokenUsage,
    ToolAnswered,
)
from loopspec.hooks import ToolFailed
from loopspec.machine.model import Machine
from loopspec.machine.named import models_of
from loopspec.machine.tiering import REASONS
from loopspec.performers.gate import judge
from loopspec.snapshot import Pending, Snapshot

WORKDIR: Final = "/sim"
_WINDOWS: Final = (0, 4_000, 100_000)
_TEXTS: Final = ("some text", "some text", "done", "", "I could not do it.", "DONE", "yes", "no")


@dataclass(frozen=True)
class Act:
    """A thing that really began in the world: which call (or effect), for which effect and tool.

    `once` tells whether it may begin only once without somebody being asked.
    """

    call: str
    effect: str
    tool: str
    once: bool


Answering = Callable[[str, random.Random], "tuple[str, str] | None"]
"""A plugin's own say: given a kind's name, an ending and its data as JSON text (None: no opinion)."""


@dataclass
class SimWorld:
    """Answers effects at random and keeps the record of acts.

    `begun` counts every effect that began. `costly` worlds have long replies and dear models. `whole` are
    the texts of each effect that were complete: nothing else may be taken for a reply.
    """

    machine: Machine
    dice: random.Random
    acts: list[Act] = field(default_factory=list)
    begun: int = 0
    answering: Answering | None = None
    whole: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw what holds for the whole world."""
        self.pools: Pools = pools(self.machine)
        self.costly = self.dice.random() < 0.15
        tools = self.machine.tools
        careful = [name for name, tool in sorted(tools.items()) if tool.after_crash != "rerun"]
        self._tools = [*sorted(tools), *careful, *careful, "unknown"]
        self._streams: set[str] = set()
        self._refused: dict[str, str] = {}
        authority = self.machine.authority
        self._enveloped = bool(authority.allow or authority.ask or authority.deny)

    def windows(self) -> dict[str, int]:
        """The models' context windows in tokens, as a provider's tables give them."""
        models = self.machine.models.items()
        return {name: decl.window or self.dice.choice(_WINDOWS) for name, decl in models}

    def begin(self, effect: Effect, snapshot: Snapshot) -> None:
        """An effect begins in the world: from here on it may have happened."""
        self.begun += 1
        if isinstance(effect, RunTool) and (why := self._denied(effect, snapshot)):
            self._refused[effect.id] = why
            return
        once = recovery.needs_claim(self.machine, effect)
        if isinstance(effect, RunTool):
            if not self.pools.faults.get(effect.args_hash):  # else it is refused before it does anything
                self.acts.append(Act(effect.call, effect.id, effect.tool, once))
        elif isinstance(effect, Perform):
            self.acts.append(Act(effect.id, effect.id, effect.kind, once))
        elif isinstance(effect, CallModel) and self.dice.random() < 0.3:
            self._streams.add(effect.id)

    def happened(self, call: str) -> bool | None:
        """What a probe finds out about a call: the truth, or None when it cannot tell."""
        truth = any(a.call == call for a in self.acts)
        return pick(self.dice, (0.8, truth), (0.2, None))

    def verdict(self, pending: Pending, snapshot: Snapshot) -> Kept | None:
        """What settles a pending effect after a restart by the crash table, None to start it (again)."""
        effect, happened, why = pending.effect, None, ""
        if isinstance(effect, RunTool) and recovery.asks_probe(self.machine, pending):
            happened = self.happened(effect.call)
            why = "" if happened is not None else "the probe cannot tell"
        partial = _before(effect, snapshot) + "half" if effect.id in self._streams else ""
        made = recovery.verdict(self.machine, snapshot, pending, partial, happened, why)
        if isinstance(made, AttemptFailed) and partial:
            return msgspec.structs.replace(made, resumable=self.dice.random() < 0.5)
        return made

    # ------------------------------------------------------------ answers

    def answer(
        self, effect: Effect, snapshot: Snapshot, items: Sequence[Item], calm: bool = False
    ) -> Kept:
        """The one answer of an effect. `calm`: everything works and the model wants nothing."""
        if not calm and self.dice.random() < 0.03:
            return EffectFailed(effect.id, "the performer broke")
        match effect:
            case CallModel():
                return self._reply(effect, snapshot, calm)
            case DecideCalls():
                return self._decide(effect, snapshot, calm)
            case RunTool():
                fault = self._refused.get(effect.id, "") or self.pools.faults.get(effect.args_hash, "")
                if fault:
                    return ToolAnswered(effect.id, effect.call, "error", fault)
                status = pick(self.dice, (0.7, "ok"), (0.2, "error"), (0.1, "timeout"))
                return ToolAnswered(effect.id, effect.call, status, "output", duration=1_000)
            case CompactContext():
                return self._compacted(effect, items)
            case TakeBoundary():
                if not calm and self.dice.random() < 0.1:
                    return BoundaryFailed(effect.id, "disk full")
                return BoundaryTaken(effect.id, effect.boundary, f"ref-{effect.boundary}", "sim")
            case SurveyHost():
                return HostSurveyed(effect.id, calm or self.dice.random() < 0.7, 4 << 30, "simulated")
            case RestoreBoundary():
                return self._restored(effect)
            case Perform():
                return checked(self.machine, effect, self._billed(effect, self._performed(effect)))
            case Cancel():
                raise AssertionError("a cancel is answered by its target")
            case _:
                assert_never(effect)

    def deadline(self, effect: Effect) -> Kept:
        """What a performer says whose work has not answered until its deadline."""
        match effect:
            case CallModel():
                return AttemptFailed(effect.id, "timeout", "no answer", retryable=True, jitter=500_000)
            case RunTool():
                return ToolAnswered(effect.id, effect.call, "timeout", "half")
            case _:
                return EffectFailed(effect.id, "it did not answer in time")

    def _reply(self, effect: CallModel, snapshot: Snapshot, calm: bool) -> Kept:
        """A model's answer: text, up to three calls, a failure, or an overflow."""
        dice, usage = self.dice, self._usage()
        what = "reply" if calm else pick(dice, (0.8, "reply"), (0.15, "fail"), (0.05, "overflow"))
        if what == "overflow":
            return ModelOverflowed(effect.id)
        if what == "fail":
            return self._broken(effect, _before(effect, snapshot), usage)
        count = 0 if calm else pick(dice, (0.3, 0), (0.3, 1), (0.25, 2), (0.15, 3))
        calls = [self._call() for _ in range(count)]
        text = "bye" if not calls and dice.random() < 0.05 else dice.choice(_TEXTS)
        text = _before(effect, snapshot) + text
        self.whole.setdefault(effect.id, set()).add(text)
        faults = (dice.choice(REASONS),) if effect.tier and not calm and dice.random() < 0.3 else ()
        return ModelReplied(effect.id, text, calls, usage=usage, model="sim", faults=faults)

    def _broken(self, effect: CallModel, before: str, usage: TokenUsage) -> AttemptFailed:
        """An attempt that fails: before anything came, in the middle of the text, or of a call.

        `before` is the text it goes on from.
        """
        dice = self.dice
        reason, retryable = pick(
            dice,
            (0.3, ("rate_limited", True)),
            (0.2, ("overloaded", True)),
            (0.3, (dice.choice(("truncated", "corrupt", "stalled", "connection")), True)),
            (0.1, ("provider", dice.random() < 0.5)),
            (0.1, (dice.choice(("auth", "bad_request", "unknown_model", "refused")), False)),
        )
        streamed = reason in ("truncated", "corrupt", "stalled", "overloaded")
        told = dice.random() < 0.8  # else it answers without the part it goes on from
        text = before + dice.choice(("half", "half of it ", "")) if streamed and told else ""
        called = streamed and dice.random() < 0.2
        waits = (0, 1_000_000, 5_000_000, 30_000_000, 3_600_000_000)
        asked = dice.choice(waits) if reason in ("rate_limited", "overloaded") else 0
        return AttemptFailed(
            effect.id,
            reason,
            retryable=retryable,
            retry_after=asked,
            jitter=dice.randint(0, 1_000_000),
            partial=text,
            usage=usage,
            resumable=bool(text) and not called and dice.random() < 0.7,
            kept='[{"call":"half"}]' if called else "",
        )

    def _call(self) -> ProposedCall:
        """A proposed call, with arguments that fit its schema or do not; sometimes of an unknown tool."""
        tool = self.dice.choice(self._tools)
        roll = self.dice.random()
        if roll < 0.03:
            return ProposedCall(tool, problem="The arguments are no JSON object.")
        pool = self.pools.tools.get(tool)
        texts = () if pool is None else pool.bad if roll < 0.15 and pool.bad else pool.good
        args = self.dice.choice(texts) if texts else canonical_json({"n": self.dice.randint(0, 2)})
        return ProposedCall(tool, args)

    def _decide(self, effect: DecideCalls, snapshot: Snapshot, calm: bool) -> GateDecided:
        """The envelope's answers; now and then stricter ones, and now and then one is forgotten."""
        made = []
        for key in effect.calls:
            call = snapshot.calls.get(key)
            text = self.pools.texts.get(call.args_hash, "{}") if call is not None else "{}"
            if calm or call is None:
                made.append(Decision(key, "deny", rule="sim"))
                continue
            roll = self.dice.random()
            if roll < 0.04:
                continue
            if roll < 0.1:
                made.append(Decision(key, "deny", rule="sim", reason="a policy says no"))
            elif self._enveloped:
                made.append(judge(self.machine, call, text, snapshot, Path(WORKDIR), _relative))
            else:
                answer = pick(self.dice, (0.5, "allow"), (0.3, "ask"), (0.15, "deny"))
                made.append(Decision(key, answer, rule="sim"))
        return GateDecided(effect.id, made)

    def _denied(self, effect: RunTool, snapshot: Snapshot) -> str:
        """Why a call whose arguments a person changed is denied now; the gate never saw them."""
        call = snapshot.calls.get(effect.call)
        if call is None or call.edited < 0 or not self._enveloped:
            return ""
        text = self.pools.texts.get(call.args_hash, "{}")
        found = judge(self.machine, call, text, snapshot, Path(WORKDIR), _relative)
        return f"not allowed: {found.rule}" if found.answer == "deny" else ""

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

    def _performed(self, effect: Perform) -> Kept:
        """A plugin's own ending, with data that fit its schema; sometimes with some that do not."""
        said = self.answering(effect.kind, self.dice) if self.answering is not None else None
        if said is not None:
            return EffectAnswered(effect.id, said[0], said[1])
        kind = self.machine.kinds[effect.kind]
        endings = [name for name in sorted(kind.endings) if (kind.name, name) in self.pools.endings]
        if not endings:
            return EffectFailed(effect.id, "its kind has no ending of its own")
        name = self.dice.choice(endings)
        pool = self.pools.endings[kind.name, name]
        texts = pool.bad if pool.bad and self.dice.random() < 0.05 else pool.good
        return EffectAnswered(effect.id, name, self.dice.choice(texts or ("{}",)))

    def _billed(self, effect: Perform, answer: Kept) -> Kept:
        """An answer with what the models it has asked consumed; most kinds ask none."""
        if not models_of(self.machine, effect.state):
            return answer
        used = self._usage()
        if isinstance(answer, EffectAnswered | EffectFailed):
            return msgspec.structs.replace(answer, usage=used)
        return answer

    def _usage(self) -> TokenUsage:
        """What asking a model consumes."""
        dice, scale = self.dice, 400 if self.costly else 1
        return TokenUsage(
            dice.randint(10, 2_000) * scale, dice.randint(1, 200) * scale, cost=1_000_000 * scale
        )

    def stopped(
        self, effect: Effect, snapshot: Snapshot, items: Sequence[Item], faults: Faults
    ) -> Kept:
        """How an effect that is under way settles after it was told to stop."""
        if self.dice.random() < faults.hang:
            return EffectLost(effect.id, "it did not stop in time")
        if self.dice.random() < 0.2:
            return self.answer(effect, snapshot, items)  # it was faster than its cancellation
        partial = _before(effect, snapshot) + "half"
        return EffectCancelled(effect.id, started=True, partial=partial, usage=TokenUsage(5, 5))


def _before(effect: Effect, snapshot: Snapshot) -> str:
    """The text that an attempt goes on from, as a performer finds it in the journal."""
    if not isinstance(effect, CallModel) or effect.continues < 0:
        return ""
    act, pending = snapshot.activations.get(effect.state), snapshot.pending.get(effect.id)
    if pending is not None and pending.status == "cancelling":
        return pending.partial
    return act.partial if act is not None else ""


def _relative(workdir: Path, given: str) -> str:
    """A path relative to the work directory, by its text: this world has no links."""
    path = posixpath.normpath(posixpath.join(str(workdir), given))
    if path != str(workdir) and not path.startswith(f"{workdir}/"):
        raise ToolFailed(f"`{given}` leads outside the work directory")
    return posixpath.relpath(path, str(workdir))
