"""What a statechart means, in cases that were reasoned from SCXML and not from what the code gives.

Each case is compared as a whole, step by step; where a case uses nothing but states and transitions, the
interpreter of `scxml.py` must come to the same.
"""

from pathlib import Path
from typing import Any, Final

import pytest
from machine.builders import Run, machine

from loopspec.performers.builtin import KINDS
from loopspec.spec.source import load_plain, plain, read_text

from .script import KEYS, Script, expected, only
from .scxml import Endless, Interpreter, Unsupported

FILES: Final = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
CASES: Final = [(path.stem, case) for path in FILES for case in load_plain(path)]
OURS: Final = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("case", [c for _, c in CASES], ids=[f"{f}: {c['title']}" for f, c in CASES])
def test_case(case: dict[str, Any]) -> None:
    assert case.keys() == {"title", "spec", "start", "steps"}
    script = Script(case["spec"], OURS)
    assert script.done == expected(case["start"], None), "start"
    for n, given in enumerate(case["steps"], 1):
        want = expected(given, script.done)
        script.done = script.step(given)
        assert script.done == want, f"step {n}: {given['event']}"


def by_interpreter(case: dict[str, Any]) -> bool:
    """Whether the interpreter knows all that the case uses; if so, it agrees."""
    spec = plain(read_text(case["spec"], "case.yaml"))
    words = ("raise", "mark", "say", "log")
    try:
        judge = Interpreter(spec)
    except Unsupported:
        return False
    history: dict[str, list[str]] = {}
    for given in (case["start"], *case["steps"]):
        if given is not case["start"]:
            judge.log.clear()
            try:
                judge.send(given["event"])
            except (Unsupported, Endless):
                return False
        history = given.get("history", history)
        order = given.get("order", "").split(" ; ")
        assert list(judge.active) == given["active"], given
        assert {k: list(v) for k, v in judge.past().items()} == history, given
        assert judge.log == only(order, *words), given
        assert judge.running == (not given.get("finished", False)), given
        if "vars" in given:
            assert judge.vars == given["vars"], given
    return True


def test_the_interpreter_agrees_wherever_it_can_judge() -> None:
    judged = [case["title"] for _, case in CASES if by_interpreter(case)]
    assert len(judged) >= 75


def test_there_are_enough_cases_and_each_has_a_title_of_its_own() -> None:
    titles = [case["title"] for _, case in CASES]
    assert len(titles) >= 100
    assert len(set(titles)) == len(titles)
    assert len(FILES) == 15


def test_a_case_fails_when_an_expectation_is_missing_or_wrong() -> None:
    case = next(c for _, c in CASES if c["title"].startswith("a timer is armed"))
    script = Script(case["spec"], OURS)
    for missing in ("armed", "order"):
        given = {k: v for k, v in case["start"].items() if k != missing}
        assert script.done != expected(given, None), missing
    with pytest.raises(AssertionError):
        expected({"outcome": "moved"}, script.done)
    assert {*case["start"]} <= KEYS


def test_events_that_raise_each_other_for_ever_are_stopped() -> None:
    loop = {"do": [("raise", "go.on")]}
    run = Run(machine({"a": {"entry": [("raise", "go.on")], "on": {"go.on": loop}}}))
    assert run.snapshot.configuration == ("a",)
    assert run.snapshot.stuck == ("more than 200 internal events in one step: the spec goes in circles")
