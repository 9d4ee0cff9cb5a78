"""Hundreds of seeded sessions of the coding loop, with crashes everywhere: the invariants hold.

And the other way round: with claims switched off the same simulator finds the double act, so that its
silence means something.
"""

import pytest
from machine.builders import HOUR, coding, machine

from loopspec.codec import encode
from loopspec.drivers.simulated import Simulation
from loopspec.drivers.simworld import CALM, Faults
from loopspec.effects import RunTool
from loopspec.events import ApprovalGiven, EffectLost, UserInterrupted, UserMessage
from loopspec.machine.model import Budgets, Kind, Machine, ModelDecl
from loopspec.machine.rest import Rest, resting

SEEDS = 320
TICKS = 40
ROUGH = Faults(crash_before=0.05, crash_after=0.1, crash=0.05, interrupt=0.1, suspend=0.05)


def loop() -> Machine:
    """The coding loop with budgets, a fallback and a small window, so that all of it is used."""
    model = ModelDecl("main", "sim/one", fallbacks=("sim/two",), attempts=3, window=3_000)
    budgets = Budgets(turns=25, tokens=60_000, usd=10**9, elapsed=2 * HOUR)
    return coding(models={"main": model}, budgets=budgets)


LOOP = loop()


@pytest.mark.parametrize("block", range(8))
def test_every_invariant_holds_over_many_seeds(block: int) -> None:
    size = SEEDS // 8
    for seed in range(block * size, (block + 1) * size):
        sim = Simulation(LOOP, seed, faults=ROUGH if seed % 2 else None)
        found = sim.run(TICKS)
        assert (found, sim.snapshot.stuck) == ([], ""), f"seed {seed}"


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    events: set[str] = set()
    states: set[str] = set()
    crashes = starts = lost = 0
    for seed in range(1_000, 1_060):
        sim = Simulation(LOOP, seed, faults=ROUGH)
        sim.run(TICKS)
        crashes += sim.crashes
        starts += len(sim.world.acts)
        for entry in sim.entries():
            events.add(type(entry.event).__name__)
            states.update(t.target for t in entry.record.taken)
            lost += isinstance(entry.event, EffectLost)
    assert crashes > 200
    assert starts > 50
    assert lost > 5
    assert {"ToolAnswered", "EffectCancelled", "RollbackChosen", "ContextCompacted"} <= events
    assert {"ApprovalGiven", "BudgetExtended", "HostSuspended", "BoundaryFailed"} <= events
    assert states >= {p for p, s in LOOP.states.items() if p != "working.streaming" and s.kind}


def test_without_claims_the_simulator_finds_an_act_that_was_done_twice() -> None:
    for seed in range(2_000):
        found = Simulation(LOOP, seed, claims=False).run(TICKS)
        if found:
            assert "times without being asked" in found[0]
            return
    pytest.fail("2,000 seeds without claims found nothing")


def test_the_same_seed_gives_the_same_journal_byte_for_byte() -> None:
    first, again = Simulation(LOOP, 7, faults=ROUGH), Simulation(LOOP, 7, faults=ROUGH)
    first.run(TICKS)
    again.run(TICKS)
    assert list(first.store.entries("sim-7")) == list(again.store.entries("sim-7"))
    assert first.world.acts == again.world.acts
    other = Simulation(LOOP, 8, faults=ROUGH)
    other.run(TICKS)
    assert encode(other.snapshot) != encode(first.snapshot)


def test_a_script_is_spoken_one_word_at_each_rest_and_then_the_session_rests() -> None:
    words = [UserMessage("one"), UserMessage("two")]
    quiet = coding(tools={})
    sim = Simulation(quiet, 3, faults=CALM, script=words)
    assert sim.run(400) == []
    said = [e.event.text for e in sim.entries() if isinstance(e.event, UserMessage)]
    assert said == ["one", "two"]
    rest = resting(quiet, sim.snapshot)
    assert rest is not None
    assert rest.reason in ("input", "finished")
    assert sim.crashes == 0


def test_a_plugins_own_kind_is_simulated_too() -> None:
    lab = Kind("lab", "one", "perform", "lab", {"lab.done": "{}"}, repeatable=False)
    states = {
        "ready": {"kind": "input", "on": {"user.message": "lab"}},
        "lab": {
            "kind": "lab",
            "on": {"lab.done": "ready", "effect.lost": "ready", "effect.failed": "ready"},
        },
    }
    made = machine(states, kinds={"lab": lab})
    seen = set()
    for seed in range(20):
        sim = Simulation(made, seed, faults=ROUGH)
        assert (sim.run(30), sim.snapshot.stuck) == ([], "")
        seen |= {type(e.event).__name__ for e in sim.entries()}
    assert {"EffectAnswered", "EffectLost", "EffectClaimed"} <= seen


def test_a_violation_of_the_store_is_reported() -> None:
    sim = Simulation(LOOP, 5)
    sim.run(10)
    rows = sim.store._sessions["sim-5"].entries  # type: ignore[attr-defined]
    rows[3] = rows[3].replace(b'"seq":3', b'"seq":4')
    (fault,) = [v for v in sim.violations() if "does not hold together" in v]
    assert "session sim-5, entry 3" in fault


def test_what_is_lost_and_rerun_by_a_person_may_begin_again() -> None:
    """Over many seeds, some call begins twice, each time because a person said so."""
    for seed in range(2_120, 2_400):
        sim = Simulation(LOOP, seed, faults=ROUGH)
        assert sim.run(TICKS) == []
        rerun = [
            e.event.call
            for e in sim.entries()
            if isinstance(e.event, ApprovalGiven) and e.event.answer == "rerun"
        ]
        began = [a.call for a in sim.world.acts]
        twice = [c for c in rerun if began.count(c) == 2]
        if twice:
            effects = [f for e in sim.entries() for f in e.effects if isinstance(f, RunTool)]
            assert len([f for f in effects if f.call == twice[0]]) >= 2
            return
    pytest.fail("no seed of 400 reruns a lost call that had begun")


def test_a_calm_world_ends_at_rest() -> None:
    sim = Simulation(LOOP, 11, faults=CALM, script=[UserMessage("go"), UserInterrupted()])
    assert sim.run(300) == []
    assert isinstance(resting(LOOP, sim.snapshot), Rest)
