"""Warnings that a spec accepts: at the place, with a reason, and never more than that."""

from pathlib import Path

import pytest
from spec.kit import checked

from loopspec.spec.codes import ACCEPTABLE, CODES

AGENT = (Path(__file__).parents[1] / "spec" / "good" / "agent.yaml").read_text(encoding="utf-8")


def both(*changes: tuple[str, str]) -> tuple[list[str], list[str]]:
    """The codes told and the codes accepted, of the agent with pieces replaced."""
    text = AGENT
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    made = checked(text)
    assert (made.machine is None) == any(d.severity == "error" for d in made.diagnostics)
    return [d.code for d in made.diagnostics], [d.code for d in made.accepted]


# Each: what makes the warning, what stands at its record, and the code.
PLACES = {
    "the document": (
        ("budgets: {turns: 20, usd: 1.00, elapsed: 1h}\n", ""),
        ("      budget.exhausted: working.ready\n", ""),
        ("initial: working\n", "accept: {LS703: why}\ninitial: working\n"),
        "LS703",
    ),
    "a state": (
        ("        after: {24h: asking}\n", ""),
        ("", ""),
        ("kind: approval\n", "kind: approval\n        accept: {LS705: why}\n"),
        "LS705",
    ),
    "a transition": (
        ("model.failed: ready", "model.failed: {target: asking, accept: {LS708: why}}"),
        ("", ""),
        ("", ""),
        "LS708",
    ),
    "a model": (
        ("models:\n", "models:\n  spare: {use: x/y, accept: {LS709: why}}\n"),
        ("        prompt: system\n", "        prompt: system\n        model: main\n"),
        ("", ""),
        "LS709",
    ),
    "a tool": (
        ('[read_file, "edit_*"]', '["edit_*"]'),
        ("{use: files.read}", "{use: files.read, accept: {LS714: why}}"),
        ("", ""),
        "LS714",
    ),
    "an input": (
        ("models:\n", "inputs: {x: {type: int, default: 1, accept: {LS709: why}}}\nmodels:\n"),
        ("", ""),
        ("", ""),
        "LS709",
    ),
    "a var": (
        ("models:\n", "vars: {x: {type: int, default: 1, accept: {LS709: why}}}\nmodels:\n"),
        ("", ""),
        ("", ""),
        "LS709",
    ),
    "a rule": (
        ("[{tools: [shell]}]", "[{tools: [shell], accept: {LS715: why}}]"),
        (AGENT[AGENT.index("      questions:\n") : AGENT.index("      running:\n")], ""),
        ("gate.asked: questions", "gate.asked: ready"),
        "LS715",
    ),
}


@pytest.mark.parametrize("where", PLACES)
def test_a_warning_is_accepted_at_its_own_record(where: str) -> None:
    *changes, code = PLACES[where]
    pieces = [change for change in changes if change != ("", "")]
    if where == "a rule":
        pieces.append(("effect.lost: questions", "effect.lost: ready"))
    assert both(*pieces) == ([], [code])  # type: ignore[arg-type]


def test_the_record_around_and_the_one_inside_accept_nothing_for_each_other() -> None:
    gone = ("        after: {24h: asking}\n", "")
    around = ("    initial: ready\n", "    initial: ready\n    accept: {LS705: why}\n")
    assert both(gone, around) == (["LS790", "LS705"], [])
    top = ("initial: working\n", "accept: {LS705: why}\ninitial: working\n")
    assert both(gone, top) == (["LS790", "LS705"], [])
    failed = ("model.failed: ready", "model.failed: asking")
    state = ("        entry: []\n", "        accept: {LS708: why}\n")
    assert both(failed, state)[1] in ([], ["LS708"])


def test_one_accept_covers_every_warning_of_its_code_at_the_record() -> None:
    gone = [("        boundary: workspace\n", ""), ("          boundary.failed: ready\n", "")]
    assert both(*gone) == (["LS707"], [])
    state = ("        kind: tools\n", "        kind: tools\n        accept: {LS707: a, LS706: b}\n")
    assert both(*gone, state) == (["LS790"], ["LS707"])
    interrupt = ("      user.interrupted: working.ready\n", "")
    assert both(*gone, state, interrupt) == (["LS706", "LS706", "LS706"], ["LS706", "LS707"])


def test_with_errors_nothing_is_said_of_an_accept_without_a_warning() -> None:
    state = ("kind: approval\n", "kind: approval\n        accept: {LS705: why}\n")
    assert both(state) == (["LS790"], [])
    assert both(state, ("turns: 20", "turns: x")) == (["LS106"], [])


def test_in_a_state_that_is_never_entered_an_accept_may_wait() -> None:
    lost = ("gate.asked: questions", "gate.asked: ready")
    other = ("effect.lost: questions", "effect.lost: ready")
    state = ("kind: approval\n", "kind: approval\n        accept: {LS705: why, LS701: why}\n")
    told, _ = both(lost, other, state)
    assert "LS790" not in told


@pytest.mark.parametrize("code", sorted(set(CODES) - ACCEPTABLE - {"LS790"}))
def test_no_error_can_be_accepted(code: str) -> None:
    told, accepted = both(("initial: working\n", f"accept: {{{code}: why}}\ninitial: working\n"))
    assert (told, accepted) == (["LS113"], [])


@pytest.mark.parametrize("reason", ['""', '"  "', "~"])
def test_a_reason_must_be_given(reason: str) -> None:
    gone = ("        after: {24h: asking}\n", "")
    state = ("kind: approval\n", f"kind: approval\n        accept: {{LS705: {reason}}}\n")
    told, _ = both(gone, state)
    assert set(told) & {"LS113", "LS103"}


def test_an_accepted_machine_is_the_machine_without_the_accept() -> None:
    gone = AGENT.replace("        after: {24h: asking}\n", "")
    plain = checked(gone)
    accepted = checked(
        gone.replace("kind: approval\n", "kind: approval\n        accept: {LS705: why}\n", 1)
    )
    assert plain.machine is not None and accepted.machine is not None
    assert [s.kind for s in plain.machine.states.values()] == [
        s.kind for s in accepted.machine.states.values()
    ]
    assert plain.machine.states.keys() == accepted.machine.states.keys()
