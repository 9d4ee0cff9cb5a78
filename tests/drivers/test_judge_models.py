"""The judge of models: silent over a real simulated history, and loud over each forged one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from machine.builders import SECOND, changed, machine

from loopspec.context.transcript import Item, apply
from loopspec.drivers.sim.faults import CALM, Faults
from loopspec.drivers.sim.judge_models import ModelJudge
from loopspec.drivers.simulated import Simulation
from loopspec.effects import CallModel
from loopspec.events import AttemptFailed, ModelReplied
from loopspec.journal.entry import Entry
from loopspec.journal.fold import advance, empty
from loopspec.machine.model import Machine, ModelDecl
from loopspec.record import AddPartial, AddReply
from loopspec.snapshot import Breaker, Snapshot

TICKS = 60
SEEDS = range(150)


def loop() -> Machine:
    """Asks over and over; one state routes the notices, the other does not."""
    decl = ModelDecl(
        *("main", "sim/a", ("sim/b", "sim/c")),
        attempts=2,
        base=SECOND,
        cap=20 * SECOND,
        longest=60 * SECOND,
        budget=120 * SECOND,
        breaker=3,
    )
    ends = {"model.failed": "ready", "model.overflowed": "small", "context.pressed": "small"}
    tree: dict[str, Any] = {
        "ready": {"kind": "input", "on": {"user.message": "work"}},
        "work": {
            "initial": "one",
            "on": {"user.interrupted": "stopped", "host.suspended": "asleep"},
            "states": {
                "one": {"kind": "model", "on": {"model.replied": "two", **ends}},
                "two": {
                    "kind": "model",
                    "on": {"model.replied": "ready", "model.rate_limited": "ready", **ends},
                },
                "back": {"type": "history", "deep": True, "target": "one"},
                "small": {
                    "kind": "compact",
                    "on": {"context.compacted": "one", "context.stuck": "ready"},
                },
            },
        },
        "stopped": {"kind": "interrupt", "on": {"user.resumed": "work.back", "user.message": "work"}},
        "asleep": {"kind": "suspend", "on": {"host.woke": "work.back", "user.resumed": "work.back"}},
    }
    return machine(tree, models={"main": decl})


LOOP = loop()


@dataclass
class Told:
    """One entry of a history, and where it led from and to."""

    entry: Entry
    before: Snapshot
    after: Snapshot


@dataclass
class History:
    """A simulated session."""

    told: list[Told]
    whole: dict[str, set[str]]
    items: list[Item] = field(default_factory=list)

    def judged(self, forge: Callable[[Told], Told] = lambda told: told) -> list[str]:
        """What the judge says of it, each entry forged before."""
        judge, items, found = ModelJudge(LOOP, self.whole), list[Item](), list[str]()
        for one in map(forge, self.told):
            apply(items, one.entry)
            found += judge.follow(one.entry, one.before, one.after, items)
        return found


def history(seed: int, faults: Faults | None = None) -> History:
    """What a session amounts to."""
    sim = Simulation(LOOP, seed, faults=faults)
    assert sim.run(TICKS, thorough=seed % 25 == 0) == []
    snapshot, told = empty(sim.session), []
    for entry in sim.entries():
        before, snapshot = snapshot, advance(snapshot, entry)
        told.append(Told(entry, before, snapshot))
    return History(told, sim.world.whole)


@pytest.fixture(name="histories", scope="module")
def _histories() -> list[History]:
    """Some sessions, with every fault."""
    return [history(seed) for seed in SEEDS]


def attempts(told: Told) -> Iterator[CallModel]:
    """The attempts an entry starts."""
    return (e for e in told.entry.effects if isinstance(e, CallModel))


def test_the_world_brings_everything_that_is_judged(histories: list[History]) -> None:
    seen: Counter[str] = Counter()
    for told in (one for h in histories for one in h.told):
        event, record = told.entry.event, told.entry.record
        for effect in attempts(told):
            seen["continued"] += effect.continues >= 0
            seen["anew"] += bool(effect.after) and effect.continues < 0
        seen.update(left.why for left in record.left)
        seen["notice"] += any(t.event == "model.rate_limited" for t in record.taken)
        seen["partial"] += AddPartial in map(type, record.view)
        seen["kept"] += any(isinstance(op, AddPartial) and op.text != "" for op in record.view)
        if isinstance(event, AttemptFailed):
            seen["resumable"] += event.resumable
            seen["call"] += bool(event.kept)
    wanted = ("continued", "anew", "final", "attempts", "wait", "breaker", "notice", "partial", "kept")
    assert {name: seen[name] > 0 for name in (*wanted, "resumable", "call")} == dict.fromkeys(
        (*wanted, "resumable", "call"), True
    ), seen


def test_a_real_history_is_in_order(histories: list[History]) -> None:
    assert [found for h in histories for found in h.judged()] == []


def with_effects(told: Told, change: Callable[[CallModel], CallModel]) -> Told:
    """The entry with other attempts."""
    made = tuple(change(e) if isinstance(e, CallModel) else e for e in told.entry.effects)
    return Told(changed(told.entry, effects=made), told.before, told.after)


def cut(told: Told) -> Told:
    """Half a reply is taken for one."""
    event = told.entry.event
    if not isinstance(event, ModelReplied) or not event.text:
        return told
    return Told(changed(told.entry, event=changed(event, text=event.text[:-1])), told.before, told.after)


def unmarked(told: Told) -> Told:
    """What had come of a reply is never shown."""
    kept = tuple(op for op in told.entry.record.view if not isinstance(op, AddPartial))
    return Told(
        changed(told.entry, record=changed(told.entry.record, view=kept)), told.before, told.after
    )


def doubled(told: Told) -> Told:
    """What had come of a reply is shown twice."""
    view = told.entry.record.view
    more = (*view, *(op for op in view if isinstance(op, AddPartial)))
    return Told(
        changed(told.entry, record=changed(told.entry.record, view=more)), told.before, told.after
    )


def hasty(told: Told) -> Told:
    """A server is asked at once, whatever it wanted."""
    event = told.entry.event
    if not isinstance(event, AttemptFailed) or not event.retryable:
        return told
    late = changed(event, retry_after=10**12)
    return Told(changed(told.entry, event=late), told.before, told.after)


def stranger(told: Told) -> Told:
    """Another model goes on from a text."""
    return with_effects(told, lambda e: changed(e, use="sim/x") if e.continues >= 0 else e)


def from_elsewhere(told: Told) -> Told:
    """An attempt goes on from an entry that is none."""
    return with_effects(told, lambda e: changed(e, continues=0) if e.continues >= 0 else e)


def after_nothing(told: Told) -> Told:
    """An attempt follows one that has not failed."""
    return with_effects(told, lambda e: changed(e, after="s:0:0") if e.after else e)


def too_many(told: Told) -> Told:
    """One model is asked for all attempts of all models."""
    return with_effects(told, lambda e: changed(e, use="sim/a", continues=-1))


def broken(told: Told) -> Told:
    """A model is asked although its breaker is open."""
    for effect in attempts(told):
        shut = {effect.use: Breaker(9, "stalled", told.after.at + SECOND)}
        return Told(told.entry, told.before, msgspec.structs.replace(told.after, breakers=shut))
    return told


FORGED: dict[Callable[[Told], Told], str] = {
    cut: "no model said it",
    unmarked: "was forgotten",
    doubled: "nothing such had come",
    hasty: "before the server's Retry-After",
    stranger: "cannot be continued",
    from_elsewhere: "cannot be continued",
    after_nothing: "has not failed",
    too_many: "is attempt 3 of 2",
    broken: "whose breaker is open",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_each_forgery_is_noticed(forge: Callable[[Told], Told], histories: Iterable[History]) -> None:
    found = [fault for h in histories for fault in h.judged(forge)]
    assert any(FORGED[forge] in fault for fault in found), found[:3]


def test_a_calm_world_still_breaks_streams() -> None:
    """Failing models are no fault of the machine: they are there without any."""
    told = [one for seed in range(20) for one in history(seed, CALM).told]
    assert any(isinstance(one.entry.event, AttemptFailed) for one in told)
    assert any(AddReply in map(type, one.entry.record.view) for one in told)
