"""`step` is total: any event in any situation, sensible or not, is answered and never raises.

Each sequence is also checked against the rules that hold after every step: a refusal changes
nothing, facts are never refused, what is pending is what was emitted, a legal configuration, an
encodable snapshot, and the same result from a snapshot that came back from its bytes.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopspec.codec import answered_by, apply, diff, encode
from loopspec.effects import Cancel
from loopspec.events import (
    COMMANDS,
    FACTS,
    Decision,
    GateDecided,
    HostSuspended,
    Kept,
    Mask,
    ProposedCall,
    Stamped,
    TokenUsage,
    UserInterrupted,
)
from loopspec.journal.fold import empty
from loopspec.machine.chart import illegal
from loopspec.machine.step import MOVED, NOTED, REFUSED, accepted, step
from machine.builders import PAID, Run
from machine.situations import SITUATIONS

TEXT = st.sampled_from(["", "x", "{", '{"a":1}', "null", "bye", "grant", "deny", "é" * 9])
WORDS = {
    "which": st.sampled_from(["turns", "tokens", "usd", "elapsed", "hats"]),
    "answer": st.sampled_from(["grant", "deny", "done", "rerun", "abandon", "allow", "ask", "hm"]),
    "status": st.sampled_from(["ok", "error", "timeout"]),
    "scope": st.sampled_from(["call", "exact", "limited", "tool", "world"]),
    "paths": st.sampled_from([(), ("**",), ("src/*", "")]),
    "commands": st.sampled_from([(), ("*",), ("ls*",)]),
    "name": st.sampled_from(["model.replied", "tools.settled", "x.y"]),
    "tool": st.sampled_from(["read", "edit", "shell", "mail", "nothing"]),
}


def _value(draw: Any, run: Run, name: str, kind: Any) -> Any:
    """A value for one field: often one that fits the situation, sometimes nonsense."""
    snapshot = run.snapshot
    known: dict[str, list[str]] = {
        "effect": [*snapshot.pending, "s:0:99"],
        "call": [*snapshot.calls, "c0_0"],
        "args_hash": [c.args_hash for c in snapshot.calls.values()] + ["0"],
        "timer": [*snapshot.timers, "after.nowhere.0"],
        "boundary": [b.id for b in snapshot.boundaries] + ["", "b999"],
    }
    if name == "message":
        return draw(st.sampled_from([0, *(w.seq for w in snapshot.inbox)]))
    if name in known:
        return draw(st.sampled_from(known[name]))
    if name in WORDS:
        return draw(WORDS[name])
    match str(kind):
        case "<class 'str'>":
            return draw(TEXT)
        case "<class 'int'>" | "int | None":
            return draw(st.sampled_from([0, 1, 10_000, 1_000_000]))
        case "<class 'bool'>":
            return draw(st.booleans())
        case "list[str]":
            return draw(st.lists(TEXT, max_size=2))
        case "tuple[str, ...]":
            return draw(st.lists(TEXT, max_size=2).map(tuple))
    if "Mask" in str(kind):
        return draw(st.lists(st.builds(Mask, item=TEXT, text=TEXT), max_size=2).map(tuple))
    if kind is TokenUsage:
        return draw(st.sampled_from([TokenUsage(), PAID]))
    if "ProposedCall" in str(kind):
        made = st.builds(ProposedCall, tool=WORDS["tool"], args=TEXT, problem=TEXT)
        return draw(st.lists(made, max_size=3))
    if "Decision" in str(kind):
        ids = st.sampled_from([*snapshot.calls, "c0_0"])
        return draw(st.lists(st.builds(Decision, call=ids, answer=WORDS["answer"]), max_size=3))
    return {}


def an_event(draw: Any, run: Run, kind: Any) -> Kept:
    """Some event of this class, for where the run is."""
    fields = msgspec.structs.fields(kind)
    made: Kept = kind(**{f.name: _value(draw, run, f.name, f.type) for f in fields})
    return made


def tell_checked(run: Run, event: Kept) -> None:
    """Step an event and check what holds after every step."""
    before = run.snapshot
    made = run.tell(event)
    stamped = Stamped(run.at, run.awake, "person", event)
    live = step(run.machine, before, stamped)
    assert live == made, "the same step twice gives the same"
    if made.outcome == REFUSED:
        assert isinstance(event, COMMANDS)
        assert (made.snapshot, made.effects, made.record.view) == (before, (), ())
        assert made.refusal
        assert made.accepted == accepted(run.machine, before)
        return
    assert made.outcome in (MOVED, NOTED)
    after = run.snapshot
    assert after.seq == before.seq + 1
    assert not illegal(run.machine, after.configuration) or not after.configuration
    for told in ((), (made.effects,), (made.effects, answered_by(event))):
        assert apply(before, diff(before, made.snapshot, *told), *told) == made.snapshot
    started = {e.id for e in made.effects if not isinstance(e, Cancel)}
    assert started == set(after.pending) - set(before.pending)
    cancelled = {e.target for e in made.effects if isinstance(e, Cancel)}
    was = {k for k, p in before.pending.items() if p.status == "cancelling"}
    now = {k for k, p in after.pending.items() if p.status == "cancelling"}
    assert cancelled == now - was
    assert not (started and now), "nothing starts while cancelled work has not settled"
    for path, act in after.activations.items():
        assert path in after.configuration
        assert after.stuck or act.phase != "held" or now
    running = {c.id for c in after.calls.values() if c.status == "running"}
    assert running == {p.effect.call for p in after.pending.values() if hasattr(p.effect, "call")}
    assert encode(after)


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_event_in_any_situation_is_answered(situation: str, data: st.DataObject) -> None:
    run = SITUATIONS[situation]()
    for kind in COMMANDS + FACTS:
        fresh = SITUATIONS[situation]()
        tell_checked(fresh, an_event(data.draw, fresh, kind))
    for _ in range(25):
        tell_checked(run, an_event(data.draw, run, data.draw(st.sampled_from(COMMANDS + FACTS))))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_situation_is_where_it_says_and_has_not_been_refused(situation: str) -> None:
    run = SITUATIONS[situation]()
    still = ("stuck", "retrying", "tools", "writing", "interrupted", "own_running", "inbox")
    assert run.last.outcome == (NOTED if situation in still else MOVED)
    assert bool(run.snapshot.stuck) is (situation == "stuck")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_event_before_the_start_is_answered(data: st.DataObject) -> None:
    run = SITUATIONS["ready"]()
    kind = data.draw(st.sampled_from(COMMANDS + FACTS))
    event = an_event(data.draw, run, kind)
    made = step(run.machine, empty("s"), Stamped(1, 1, "person", event))
    assert made.outcome in (MOVED, NOTED, REFUSED)


def test_live_and_reloaded_snapshots_step_to_the_same_bytes() -> None:
    run = SITUATIONS["streaming"]()
    run.reply(*["read"] * 12)
    live = run.last.snapshot
    for event in (
        GateDecided("s:2:0", []),
        HostSuspended(),
        UserInterrupted(),
    ):
        stamped = Stamped(run.at + 1, run.awake + 1, "p", event)
        assert encode(step(run.machine, live, stamped)) == encode(
            step(run.machine, run.snapshot, stamped)
        )
