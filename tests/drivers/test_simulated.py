"""Hundreds of seeded sessions of the coding loop, with faults everywhere: the invariants hold.

And the other way round: with claims switched off, with write-then-act reversed, without the store's
fence, and with a dozen other things broken, the same simulator finds it, so that its silence means
something.
"""

from dataclasses import replace

import msgspec
import pytest
from machine.builders import HOUR, coding, machine

from loopspec.codec import encode
from loopspec.drivers.sim.disk import Crash
from loopspec.drivers.sim.ends import Ends, routed
from loopspec.drivers.sim.faults import CALM, NAMES, Faults, chosen
from loopspec.drivers.sim.process import Rules, SimProcess
from loopspec.drivers.simulated import RESTLESS, Simulation, end_of
from loopspec.effects import RunTool
from loopspec.errors import UsageError
from loopspec.events import (
    ApprovalGiven,
    EffectLost,
    Kept,
    TimerFired,
    UserInterrupted,
    UserMessage,
)
from loopspec.machine.model import Budgets, Kind, Machine, ModelDecl
from loopspec.machine.rest import Rest, resting
from loopspec.machine.step import Step
from loopspec.snapshot import Pending, Snapshot
from loopspec.stores.base import Append
from loopspec.stores.memory import MemoryStore

SEEDS = 320
TICKS = 40
ROUGH = Faults(
    crash_before=0.05, crash_after=0.1, crash=0.05, crash_during=0.05, interrupt=0.1, suspend=0.05
)
SABOTAGE_SEEDS = 2_000


def loop() -> Machine:
    """The coding loop with budgets, a fallback and a small window, so that all of it is used."""
    model = ModelDecl("main", "sim/one", fallbacks=("sim/two",), attempts=3, window=3_000)
    budgets = Budgets(turns=25, tokens=60_000, usd=10**12, elapsed=2 * HOUR)
    return coding(models={"main": model}, budgets=budgets)


LOOP = loop()
ENDS = Ends(LOOP)


def found_by(make: "type[Simulation] | None" = None, **how: object) -> tuple[int, list[str]]:
    """The first seed that shows a sabotage, and what it says; fails when 2,000 show nothing."""
    for seed in range(SABOTAGE_SEEDS):
        sim = (make or Simulation)(LOOP, seed, **how)  # type: ignore[arg-type]
        found = sim.run(TICKS, thorough=False)
        if found:
            return seed, found
    pytest.fail(f"{SABOTAGE_SEEDS} seeds found nothing")


# ------------------------------------------------------------ silence


@pytest.mark.parametrize("block", range(8))
def test_every_invariant_holds_over_many_seeds(block: int) -> None:
    size = SEEDS // 8
    for seed in range(block * size, (block + 1) * size):
        sim = Simulation(LOOP, seed, faults=ROUGH if seed % 2 else None, ends=ENDS)
        found = sim.run(TICKS, thorough=seed % 4 == 0)
        assert (found, sim.snapshot.stuck) == ([], ""), f"seed {seed}"


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    events: set[str] = set()
    states: set[str] = set()
    crashes = starts = lost = 0
    for seed in range(1_000, 1_120):
        sim = Simulation(LOOP, seed, faults=ROUGH)
        sim.run(60, thorough=False)
        crashes += sim.crashes
        starts += len(sim.world.acts)
        for entry in sim.entries():
            events.add(type(entry.event).__name__)
            states.update(t.target for t in entry.record.taken)
            lost += isinstance(entry.event, EffectLost)
    assert crashes > 300
    assert starts > 50
    assert lost > 5
    assert {"ToolAnswered", "EffectCancelled", "RollbackChosen", "ContextCompacted"} <= events
    assert {"ApprovalGiven", "BudgetExtended", "HostSuspended", "BoundaryFailed"} <= events
    assert states >= {p for p, s in LOOP.states.items() if p != "working.streaming" and s.kind}


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_has_a_switch_of_its_own_and_strikes(name: str) -> None:
    often = replace(Faults(), **{name: 0.3})
    counts: dict[str, int] = {}
    for seed in range(40):
        sim = Simulation(LOOP, seed, faults=chosen([name], often), ends=ENDS)
        assert sim.run(TICKS, thorough=False) == [], f"seed {seed}"
        for key, count in sim.counts.items():
            counts[key] = counts.get(key, 0) + count
        if counts:
            break
    if name == "hang":  # only what somebody stops can hang
        both = chosen(["hang", "interrupt"], replace(often, interrupt=0.3))
        sims = [Simulation(LOOP, seed, faults=both) for seed in range(40)]
        assert [sim.run(TICKS, thorough=False) for sim in sims] == [[]] * 40
        assert sum(sim.counts["hang"] for sim in sims) > 0
    else:
        assert counts.keys() == {name}


def test_a_fault_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert chosen(["none"]) == chosen([]) == CALM
    assert chosen(["disk"]) == replace(CALM, full=Faults().full, slow=Faults().slow)
    assert chosen(["crash-before", "again"]) == replace(CALM, crash_before=0.02, again=0.01)
    with pytest.raises(UsageError, match=r"no fault `fire`\. groups: crashes, answers, .* or none"):
        chosen(["disk", "fire"])


# ------------------------------------------------------------ sabotage: it finds what is broken


def test_without_claims_an_act_is_done_twice_and_found() -> None:
    _, found = found_by(claims=False)
    assert "times without being asked" in found[0]


def test_acting_before_writing_is_found() -> None:
    _, found = found_by(rules=Rules(act_late=False))
    assert "begins before its entry is committed" in found[0]


def test_without_the_stores_fence_two_drivers_fork_the_session_and_it_is_found() -> None:
    faults = replace(Faults(), rival=0.0)  # the takeover alone must show it
    for seed in range(SABOTAGE_SEEDS):
        store = MemoryStore(fenced=False)
        sim = Simulation(LOOP, seed, store=store, rules=Rules(fenced=False), faults=faults)
        found = sim.run(TICKS)
        if any("acknowledged twice" in f or "does not hold together" in f for f in found):
            return  # another seed may notice first that the older driver acts on
    pytest.fail("nothing was found without a fence")


def test_a_second_driver_that_is_let_in_is_found() -> None:
    faults = chosen(["rival"], Faults(rival=1.0))
    sim = Simulation(LOOP, 0, store=MemoryStore(fenced=False), faults=faults)
    assert sim.run(TICKS) == ["a driver without the lease was let in"]


def test_a_driver_that_does_not_look_at_its_lease_acts_after_it_was_superseded() -> None:
    _, found = found_by(rules=Rules(fenced=False), faults=chosen(["drivers"], Faults(takeover=0.1)))
    assert "the journal does not ask for it any more" in found[0] or "without being asked" in found[0]


class Forgetful(MemoryStore):
    """A store that acknowledges every seventh entry and does not keep it."""

    def append(self, item: Append) -> "object":  # type: ignore[override]
        made = super().append(item)
        if made.exception() is None and item.seq % 7 == 6:
            self._sessions[item.session].entries.pop()
        return made


def test_an_acknowledged_entry_that_is_lost_is_found() -> None:
    sim = Simulation(LOOP, 1, store=Forgetful())
    assert sim.run(TICKS) != []


class Stale(MemoryStore):
    """A store whose head keeps the snapshot before the newest."""

    def append(self, item: Append) -> "object":  # type: ignore[override]
        before = self._sessions[item.session].snapshot
        made = super().append(item)
        if made.exception() is None and item.seq >= 4:
            self._sessions[item.session].snapshot = before
        return made


def test_a_head_that_is_not_the_journals_is_found() -> None:
    sim = Simulation(LOOP, 1, store=Stale(), faults=CALM, script=[UserMessage(str(n)) for n in range(4)])
    assert any("head" in f or "snapshot" in f for f in sim.run(12))


def test_an_effect_that_recovery_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SimProcess.boot.__func__  # type: ignore[attr-defined]

    def forgetting(cls: type[SimProcess], at: object, token: int) -> SimProcess:
        made: SimProcess = whole(cls, at, token)
        if made.waiting:
            made.waiting.popitem()
        return made

    monkeypatch.setattr(SimProcess, "boot", classmethod(forgetting))
    assert "are under way" in found_by()[1][0]


def test_a_cancelled_effect_that_is_not_told_to_stop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SimProcess._act

    def deaf(self: SimProcess, made: Step) -> None:
        whole(self, made)
        self.stopping.clear()

    monkeypatch.setattr(SimProcess, "_act", deaf)
    assert "were told" in found_by()[1][0]


class Blind(Simulation):
    """Its restarts run everything again that was claimed, without looking."""

    def __init__(self, machine: Machine, seed: int, **how: object) -> None:
        super().__init__(machine, seed, **how)  # type: ignore[arg-type]
        self.world.verdict = self._again  # type: ignore[method-assign]

    def _again(self, pending: Pending, snapshot: Snapshot) -> Kept | None:
        return None


def test_a_restart_that_repeats_what_was_claimed_is_found() -> None:
    assert any("without being asked" in f for f in found_by(Blind, faults=ROUGH)[1])


def test_a_call_that_nobody_let_through_is_found() -> None:
    sim = Simulation(LOOP, 0, faults=CALM, script=[UserMessage("go")])
    for seed in range(200):
        sim = Simulation(LOOP, seed, faults=CALM)
        sim.judge._witness = lambda entry, before: None  # type: ignore[method-assign]
        if found := sim.run(TICKS, thorough=False):
            assert "nobody let it through" in found[0]
            return
    pytest.fail("no call began in 200 seeds")


def test_a_violation_of_the_store_is_reported() -> None:
    sim = Simulation(LOOP, 5)
    sim.run(10)
    rows = sim.store._sessions["sim-5"].entries  # type: ignore[attr-defined]
    rows[3] = rows[3].replace(b'"seq":3', b'"seq":4')
    found = sim.violations()
    assert "entries were changed after they had been written" in found
    (fault,) = [v for v in found if "does not hold together" in v]
    assert "session sim-5, entry 3" in fault


# ------------------------------------------------------------ ends


def unrouted() -> Machine:
    """A loop that mails, and does not say what becomes of a mail that is lost."""
    mailing = {
        "ready": {"kind": "input", "on": {"user.message": "lab"}},
        "lab": {"kind": "lab", "on": {"lab.done": "ready", "effect.failed": "ready"}},
    }
    lab = Kind("lab", "one", "perform", "lab", {"lab.done": "{}"}, repeatable=False)
    return machine(mailing, kinds={"lab": lab})


def test_an_end_that_only_faults_lead_to_is_found() -> None:
    made = unrouted()
    ends = Ends(made, runs=50)
    for seed in range(100):
        if found := Simulation(made, seed, ends=ends).run(TICKS):
            assert found == [
                "the session ends stuck (`effect.lost` is not routed in `lab`) in lab: no run without "
                "faults ends so, and no route for what is lost leads there"
            ]
            return
    pytest.fail("100 seeds never lost anything")


def test_an_end_is_right_that_faultless_runs_come_to_or_that_the_spec_routes_to() -> None:
    sim = Simulation(LOOP, 3, faults=CALM, ends=ENDS)
    assert sim.run(TICKS) == []
    assert sim.end is not None and ENDS(sim.end, sim.snapshot) == ""
    assert routed(LOOP) >= {"interrupted", "suspended"}
    elsewhere = msgspec.structs.replace(
        sim.snapshot, configuration=("working", "working.tool_running")
    )
    wrong = Ends(LOOP, runs=20)(end_of("input", "", elsewhere), elsewhere)
    assert wrong == (
        "the session ends input in working.tool_running: no run without faults ends so, and no route for "
        "what is lost leads there"
    )


def test_a_loop_that_goes_on_for_ever_is_right_only_if_it_does_so_without_faults() -> None:
    forever = machine(
        {
            "one": {"after": {1_000_000: "two"}},
            "two": {"after": {1_000_000: "one"}},
        }
    )
    sim = Simulation(forever, 1, ends=Ends(forever))
    assert sim.run(20) == []
    assert sim.end is not None and sim.end[0] == RESTLESS
    assert "does not come to rest" in Ends(LOOP, runs=20)((RESTLESS, "", ("ready",)), sim.snapshot)


# ------------------------------------------------------------ one seed, one history


def test_the_same_seed_gives_the_same_journal_byte_for_byte() -> None:
    first, again = Simulation(LOOP, 7, faults=ROUGH), Simulation(LOOP, 7, faults=ROUGH)
    first.run(TICKS)
    again.run(TICKS)
    assert list(first.store.entries("sim-7")) == list(again.store.entries("sim-7"))
    assert (first.world.acts, first.counts) == (again.world.acts, again.counts)
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
    assert (sim.crashes, sim.counts) == (0, {})


def test_a_calm_world_ends_at_rest() -> None:
    sim = Simulation(LOOP, 11, faults=CALM, script=[UserMessage("go"), UserInterrupted()])
    assert sim.run(300) == []
    assert isinstance(resting(LOOP, sim.snapshot), Rest)


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


def test_what_is_lost_and_rerun_by_a_person_may_begin_again() -> None:
    """Over many seeds, some call begins twice, each time because a person said so."""
    for seed in range(3_900, 4_900):
        sim = Simulation(LOOP, seed, faults=ROUGH)
        assert sim.run(TICKS, thorough=False) == []
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
    pytest.fail("no seed of 1,000 reruns a lost call that had begun")


# ------------------------------------------------------------ the faults, one by one


def test_on_a_full_disk_the_driver_stops_and_a_later_one_goes_on() -> None:
    sim = Simulation(LOOP, 4, faults=chosen(["full"], Faults(full=0.3)))
    stopped = 0
    for _ in range(TICKS):
        sim._guarded(sim._tick)
        stopped += sim.process is None
    assert stopped > 3
    assert sim.run(TICKS) == []
    assert sim.store.lease(sim.session).token > 3


def test_a_slow_write_starts_nothing_before_it_is_acknowledged_and_loses_nothing() -> None:
    sim = Simulation(LOOP, 4, faults=chosen(["slow"], Faults(slow=1.0)))
    waited = 0
    for _ in range(TICKS):
        began = sim.world.begun
        sim._guarded(sim._tick)
        process = sim.process
        if process is not None and process.flight is not None:
            waited += 1
            asked = {e.id for e in process.flight.made.effects}
            assert asked.isdisjoint(process.under_way())
        assert sim.world.begun - began in (0, 1)
    assert waited > 10
    assert sim.run(TICKS) == []


def test_a_timer_that_a_sleeping_machine_missed_says_by_how_much() -> None:
    hourly = machine({"one": {"after": {HOUR: "two"}}, "two": {"after": {HOUR: "one"}}})
    missed = chosen(["sleep", "forward"], Faults(sleep=0.2, forward=0.1))
    late = []
    for seed in range(20):
        sim = Simulation(hourly, seed, faults=missed)
        assert sim.run(TICKS, thorough=False) == []
        late += [e.event.late for e in sim.entries() if isinstance(e.event, TimerFired)]
    assert 0 in late
    assert max(late) > HOUR


def test_a_superseded_driver_is_refused_at_its_next_write_and_acts_no_more() -> None:
    sim = Simulation(LOOP, 2, faults=CALM)
    for _ in range(20):
        sim._guarded(sim._tick)
    old = sim.process
    assert old is not None
    sim._take_over(old)
    assert sim.process is not None and sim.process.token == old.token + 1
    assert not old.speaks_alone(UserMessage("still there?"))
    begun = sim.world.begun
    sim._wake()
    assert (sim._asleep, sim.world.begun) == ([], begun)
    assert sim.run(TICKS) == []


def test_a_crash_is_the_only_way_a_process_ends_between_two_moves() -> None:
    sim = Simulation(LOOP, 2, faults=CALM)
    with pytest.raises(Crash):
        sim._crash()
    sim._guarded(sim._crash)
    assert sim.process is None
    sim._guarded(sim._tick)
    assert sim.process is not None
