"""A person's own calls: the same gate, alone, and told to the model as a message of theirs."""

from typing import Any

import pytest

from loopspec.effects import CallModel, DecideCalls, RunTool, TakeBoundary
from loopspec.events import (
    ApprovalGiven,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    GateDecided,
    UserCalled,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import Budgets, ToolDecl
from loopspec.record import AddOwn
from loopspec.snapshot import Call
from machine.builders import TOOLS, Run, coding, hash_of, machine
from machine.situations import SITUATIONS, grant, taken

LS = UserCalled("shell", '{"cmd":"ls"}')


def ready(**changes: Any) -> Run:
    """Waits for a message or a call."""
    return Run(coding(own=True, **changes))


def test_a_person_s_call_goes_through_the_gate_and_back_to_where_they_were() -> None:
    run = ready()
    made = run.tell(LS)
    assert made.effects == (DecideCalls("s:1:0", "own_call.judging", ("c1_0",)),)
    args = hash_of("shell", '{"cmd":"ls"}')
    assert run.snapshot.calls == {
        "c1_0": Call("c1_0", "shell", args, 1, 0, "proposed", "write", own=True, note='{"cmd":"ls"}')
    }
    run.decide("allow")
    assert isinstance(run.effect, TakeBoundary), "it writes"
    taken(run)
    assert run.effect == RunTool("s:3:0", "own_call.running", "c1_0", "shell", args, 1, 0)
    made = run.answer(output="a\nb")
    assert run.leaf == "ready"
    assert made.effects == (), "the model is not asked"
    assert made.record.view == (AddOwn("c1_0", "shell", None, "ok", '{"cmd":"ls"}'),)


def test_a_rule_that_asks_is_answered_by_who_called() -> None:
    run = ready()
    run.tell(LS)
    run.decide("ask")
    call = run.snapshot.calls["c1_0"]
    assert (call.status, call.rule) == ("allowed", "r-ask, answered by who called")


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ("deny", "denied_by_policy", "Not allowed by the rule `r-deny`."),
        ("hm", "gate_failed", "The gate failed, so the call was refused: the gate gave no answer"),
    ],
)
def test_a_deny_denies_a_person_too(answer: str, status: str, text: str) -> None:
    run = ready()
    run.tell(LS)
    made = run.decide(answer)
    assert run.leaf == "ready"
    assert made.record.view == (AddOwn("c1_0", "shell", text, status, '{"cmd":"ls"}'),)
    assert run.status() == {"c1_0": "answered"}


def test_a_gate_that_fails_denies_it() -> None:
    run = ready()
    run.tell(LS)
    made = run.tell(EffectFailed(run.effect.id, "no disk"), "gate")
    text = "The gate failed, so the call was refused: no disk"
    assert made.record.view == (AddOwn("c1_0", "shell", text, "gate_failed", '{"cmd":"ls"}'),)


@pytest.mark.parametrize(
    ("situation", "event", "why"),
    [
        ("ready", UserCalled("hammer"), "there is no tool `hammer`; the tools are edit, mail, post,"),
        ("ready", UserCalled("shell", "ls"), "the arguments are no JSON that could be passed on"),
        ("ready", UserCalled("shell", '{ "a":1}'), "the arguments are not canonical; sort the keys"),
        ("streaming", LS, "`user.called` leads nowhere from `working.streaming`"),
    ],
)
def test_a_call_that_cannot_be_taken_says_why_and_what_is_accepted(
    situation: str, event: UserCalled, why: str
) -> None:
    run = ready()
    if situation == "streaming":
        run.tell(UserMessage("go"))
    before = run.snapshot
    made = run.tell(event)
    assert (made.outcome, made.snapshot, made.effects) == ("refused", before, ())
    assert why in made.refusal
    assert ("user.called" in made.accepted) is (situation == "ready")


def test_a_loop_that_does_not_route_it_refuses_it() -> None:
    run = SITUATIONS["ready"]()
    made = run.tell(LS)
    assert made.refusal == "`user.called` leads nowhere from `ready`"
    assert "user.called" not in made.accepted


def test_a_guard_that_says_no_leaves_no_trace_in_the_ledger() -> None:
    states = {
        "a": {"kind": "input", "on": {"user.called": {"guard": 'event.tool == "x"', "target": "b"}}}
    }
    run = Run(machine({**states, "b": {}}))
    assert run.tell(LS).outcome == "noted"
    assert run.snapshot.calls == {}


def test_the_model_s_interrupted_calls_stay_as_they_stand() -> None:
    run = SITUATIONS["own_judging"]()
    model = {"c2_0": "allowed", "c2_1": "allowed", "c2_2": "denied"}
    assert isinstance(run.effect, DecideCalls)
    assert run.effect.calls == ("c8_0",)
    run.decide("deny")
    assert run.leaf == "interrupted"
    assert {k: v for k, v in run.status().items() if k in model} == model
    run.tell(LS)
    run.decide("allow")
    taken(run)
    assert [e.call for e in run.running()] == [f"c{run.snapshot.seq - 2}_0"]
    run.answer()
    assert run.leaf == "interrupted"
    assert {k: v for k, v in run.status().items() if k in model} == model
    run.tell(UserResumed())
    assert run.leaf == "working.tool_running"
    taken(run)
    assert [e.call for e in run.running()] == ["c2_0"], "and now they run"


def test_results_of_the_model_s_calls_and_of_own_ones_stand_each_in_their_own_way() -> None:
    run = SITUATIONS["own_running"]()
    run.answer()
    made = run.tell(UserMessage("go on"))
    kinds = [type(op).__name__ for op in made.record.view]
    assert kinds == ["AddUser", "AddResult", "AddResult", "AddResult"]
    assert [type(e) for e in made.effects] == [CallModel]
    assert run.snapshot.calls == {}


@pytest.mark.parametrize(
    ("answer", "leaf", "status"),
    [
        ("done", "interrupted", "ok"),
        ("abandon", "interrupted", "lost"),
        ("rerun", "own_call.running", ""),
    ],
)
def test_a_lost_one_is_asked_about_like_any_other(answer: str, leaf: str, status: str) -> None:
    run = SITUATIONS["own_lost"]()
    (call,) = [c for c in run.snapshot.calls.values() if c.status == "lost"]
    made = run.tell(grant(run, call.id, answer))
    assert run.leaf == leaf
    assert [op.status for op in made.record.view if isinstance(op, AddOwn)] == (
        [status] if status else []
    )
    if answer == "rerun":
        taken(run)
        assert [e.call for e in run.running()] == [call.id]
    assert run.snapshot.calls["c2_1"].status == "allowed", "the model's still waits"


def test_a_lost_one_that_nobody_answers_for_is_told_as_lost() -> None:
    run = SITUATIONS["own_lost"]()
    made = run.tell(UserInterrupted())
    assert run.leaf == "interrupted"
    text = "Interrupted: nobody knows whether this call took effect."
    assert made.record.view == (AddOwn("c8_0", "shell", text, "lost", '{"cmd":"ls"}'),)


def test_one_that_is_interrupted_keeps_what_it_said_until_then() -> None:
    run = SITUATIONS["own_running"]()
    target = run.effect.id
    run.tell(UserInterrupted())
    made = run.tell(EffectCancelled(target, partial="half"), "tools")
    text = "Interrupted while it ran.\nOutput until then:\nhalf"
    assert made.record.view == (AddOwn("c8_0", "shell", text, "interrupted", '{"cmd":"ls"}'),)
    assert run.leaf == "interrupted"


def test_one_that_was_interrupted_before_it_began_never_begins() -> None:
    run = SITUATIONS["own_judging"]()
    run.decide("allow")
    taken(run)
    target = run.effect.id
    run.tell(UserInterrupted())
    made = run.tell(EffectCancelled(target, started=False), "tools")
    text = "Not run: the work was interrupted before this call."
    assert made.record.view == (AddOwn("c8_0", "shell", text, "interrupted", '{"cmd":"ls"}'),)
    run.tell(UserResumed())
    assert "c8_0" not in [e.call for e in run.running()]


def test_one_whose_gate_was_interrupted_is_told_so() -> None:
    run = SITUATIONS["own_judging"]()
    target = run.effect.id
    run.tell(UserInterrupted())
    made = run.tell(GateDecided(target, []), "gate")
    assert [type(op) for op in made.record.view] == [AddOwn]
    assert run.status()["c8_0"] == "answered"


def test_no_budget_of_the_model_s_keeps_a_person_from_a_call_of_their_own() -> None:
    run = ready(budgets=Budgets(tokens=0))
    run.tell(LS)
    run.decide("allow")
    taken(run)
    assert [e.call for e in run.running()] == ["c1_0"]


def test_answered_ones_leave_the_ledger_with_the_next_call() -> None:
    run = ready()
    for _ in range(5):
        run.tell(LS)
        run.decide("deny")
        assert len(run.snapshot.calls) == 1


def test_what_is_told_of_a_command_line_is_the_command_line() -> None:
    tool = ToolDecl("shell", "sim.shell", effect="write", after_crash="ask", command="cmd")
    run = ready(tools={**TOOLS, "shell": tool})
    run.tell(LS)
    assert run.snapshot.calls["c1_0"].note == "ls"


def test_a_stale_loss_of_an_own_call_is_noted() -> None:
    run = SITUATIONS["own_lost"]()
    assert run.tell(EffectLost("s:9:9", "again"), "recovery").outcome == "noted"


def test_an_own_call_that_is_lost_cannot_be_granted_with_other_arguments() -> None:
    run = SITUATIONS["own_lost"]()
    (call,) = [c for c in run.snapshot.calls.values() if c.status == "lost"]
    made = run.tell(ApprovalGiven(call.id, call.args_hash, "rerun", args='{"cmd":"rm"}'))
    assert made.refusal == "changed arguments go with the answer `grant` and the scope call or exact"


def test_a_call_that_was_allowed_anyway_uses_up_nobody_s_grant() -> None:
    run = ready()
    run.tell(UserMessage("go"))
    run.reply('shell:{"cmd":"ls"}')
    run.decide("ask")
    (asked,) = run.snapshot.calls.values()
    run.tell(ApprovalGiven(asked.id, asked.args_hash, "grant"))
    run.tell(UserInterrupted())
    for effect in list(run.snapshot.pending):
        run.tell(EffectCancelled(effect, started=False), "driver")
    held = run.snapshot.grants
    assert [(g.scope, g.uses) for g in held.values()] == [("call", 1)]
    run.tell(LS)
    run.decide("allow")
    taken(run)
    run.answer()
    assert run.leaf == "interrupted"
    assert run.snapshot.grants == held
