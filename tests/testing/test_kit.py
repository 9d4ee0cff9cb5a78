"""The public test kit: its manual runs, and it says of anybody's loop what held and what did not."""

import doctest
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from journeys.review import ALONE
from machine.builders import machine

import loopspec.testing
from loopspec.errors import BadSpec, LoopspecError, UsageError
from loopspec.machine.model import Kind, Machine
from loopspec.testing import CALM, Ends, Faults, Report, ScriptedPerson, Violation, simulate
from loopspec.testing.many import Plan, _collect, batches
from loopspec.testing.report import FAULT_WORDS

ROOT = Path(__file__).parent.parent.parent
GUIDE = sorted(p for p in (ROOT / "docs" / "guide").glob("*.yaml") if "\nstates:" in p.read_text())
SHIPPED = ALONE
ENDINGS = {"done": {"lab.done": '{"type":"object","required":["grade"],"properties":'
                    '{"grade":{"type":"integer","minimum":1,"maximum":5}}}'}}


def lab(*, routed: bool = True) -> Machine:
    """A loop around a plugin's own kind, which may not be repeated and whose loss is routed or not."""
    ways = {"lab.done": "ready", "effect.failed": "ready", "user.interrupted": "ready"}
    if routed:
        ways["effect.lost"] = "ready"
    states = {
        "ready": {"kind": "input", "on": {"user.message": "lab"}},
        "lab": {"kind": "lab", "on": ways},
    }
    kind = Kind("lab", "one", "perform", "lab", ENDINGS["done"], repeatable=False)
    return machine(states, kinds={"lab": kind})


def test_the_manual_runs() -> None:
    ran = doctest.testmod(loopspec.testing)
    assert ran.attempted > 8
    assert ran.failed == 0


@pytest.mark.parametrize("path", [*GUIDE, *SHIPPED], ids=lambda p: p.name)
def test_every_loop_of_the_guide_and_every_shipped_one_holds(path: Path) -> None:
    simulate(path, seeds=25).check()


@pytest.mark.slow
@pytest.mark.parametrize("path", [*GUIDE, *SHIPPED], ids=lambda p: p.name)
def test_they_hold_over_a_thousand_seeds(path: Path) -> None:
    simulate(path, seeds=1_000, seed=10_000, jobs=2).check()


def test_a_violation_is_said_with_its_seed_and_its_journal() -> None:
    report = simulate(lab(routed=False), seeds=30, faultless=60)
    assert report.violations != []
    assert report.failed == sorted({v.seed for v in report.violations})
    first = report.violations[0]
    assert "stuck (`effect.lost` is not routed in `lab`) in lab" in first.what
    with pytest.raises(AssertionError) as raised:
        report.check()
    told = str(raised.value)
    assert f"seed {first.seed}:\n  violated: the session ends stuck" in told
    assert "  journal" in told
    assert any("effect.lost" in line for line in report.journals[first.seed])
    alone = simulate(lab(routed=False), seeds=1, seed=first.seed, faultless=60)
    assert alone.violations == [first]
    assert alone.journals == {first.seed: report.journals[first.seed]}


def test_a_loop_that_breaks_is_a_violation_like_any_other() -> None:
    def broken(kind: str, dice: object) -> tuple[str, str] | None:
        raise ValueError("no idea")

    report = simulate(lab(), seeds=3, faults=CALM, answering=broken)
    line = broken.__code__.co_firstlineno + 1
    what = f"the loop broke: ValueError: no idea (in test_kit.py:{line} broken)"
    assert {v.what for v in report.violations} == {what}


def test_the_report_is_the_same_whatever_the_number_of_processes() -> None:
    one, two, three = (simulate(lab(), seeds=75, jobs=n) for n in (1, 2, 3))
    assert one == two == three
    assert one.seeds == 75
    assert sum(one.ends.values()) == 75
    assert one.faults.keys() <= FAULT_WORDS.keys() == set(Faults.__dataclass_fields__)


def test_a_process_that_dies_is_said_and_leaves_no_other_behind() -> None:
    def deadly(kind: str, dice: object) -> tuple[str, str] | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    plan, before = Plan(lab(), CALM, answering=deadly), children()
    with pytest.raises(LoopspecError, match="died before it was done"):
        list(batches(plan, range(100), 2))
    assert children() <= before


def children() -> set[psutil.Process]:
    """The processes this one has started; other tests may have left some that still run."""
    return set(psutil.Process().children(recursive=True))


def test_whoever_stops_listening_leaves_no_process_behind() -> None:
    before = children()
    going = batches(Plan(lab()), range(2_000), 2)
    assert next(going).seeds == 25
    going.close()  # type: ignore[attr-defined]
    assert children() <= before
    assert list(_collect({})) == []


def test_a_plugins_author_says_how_a_kind_ends() -> None:
    def graded(kind: str, dice: object) -> tuple[str, str] | None:
        return ("lab.done", json.dumps({"grade": 5})) if kind == "lab" else None

    plan = Plan(lab(), replace(CALM, crash=0.1), answering=graded)
    seen = set()
    for seed in range(10):
        sim = plan.simulation(seed)
        assert plan.run(sim, seed) == []
        seen |= {e.event.data for e in sim.entries() if type(e.event).__name__ == "EffectAnswered"}
    assert seen == {'{"grade": 5}'}


def test_a_kind_answers_by_its_schema_and_now_and_then_against_it() -> None:
    grades: set[str] = set()
    failed = 0
    plan = Plan(lab(), CALM)
    for seed in range(60):
        sim = plan.simulation(seed)
        assert plan.run(sim, seed) == []
        for entry in sim.entries():
            name = type(entry.event).__name__
            grades |= {entry.event.data} if name == "EffectAnswered" else set()
            failed += name == "EffectFailed" and "wrong data" in entry.event.reason
    assert {json.loads(data)["grade"] for data in grades} <= {1, 2, 3, 4, 5}
    assert len(grades) > 3
    assert failed > 0


def test_a_person_of_ones_own_speaks_in_every_session() -> None:
    def person() -> ScriptedPerson:
        return ScriptedPerson("first", "second")

    report = simulate("coding-agent", seeds=5, faults=CALM, person=person)
    assert report.violations == []
    assert report.events > 5 * 3


def test_a_spec_that_is_wrong_is_refused_with_its_diagnostics(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("loopspec: 1\nname: a\nversion: 1.0.0\ninitial: gone\nstates: {one: {type: final}}\n")
    with pytest.raises(BadSpec, match=r"(?s)wrong\.yaml: the spec is wrong:.*LS\d+"):
        simulate(path)
    with pytest.raises(UsageError, match="no file `nowhere` and no shipped loop"):
        simulate("nowhere")


def test_a_report_adds_up() -> None:
    one = Report(seeds=2, events=5, effects=1, faults={"crash": 2}, ends={"input": 2})
    two = Report(seeds=1, events=1, faults={"crash": 1, "slow": 1}, ends={"stuck": 1})
    two.violations.append(Violation(4, "it broke"))
    two.journals[4] = [f"line {n}" for n in range(50)]
    one.add(two)
    one.command = "loopspec simulate a.yaml --seeds 1"
    assert (one.seeds, one.events, one.effects, one.failed) == (3, 6, 1, [4])
    assert one.faults == {"crash": 3, "slow": 1}
    table = one.table()
    assert "  crash between two moves                     3\n" in table
    assert table.endswith("violations                                    1")
    told = one.explained()
    head = "seed 4:\n  violated: it broke\n  journal (the last 40 of 50 entries):\n    line 10\n"
    assert told.startswith(head)
    assert told.endswith("    line 49\n  again: loopspec simulate a.yaml --seeds 1 --seed 4")


def test_ends_are_asked_of_sessions_without_faults_only() -> None:
    ends = Ends(lab(), runs=60)
    assert ends.reached(("input", "", ("ready",)))
    assert not ends.reached(("finished", "", ("ready",)))
