"""Tool calls from proposal to result: the ledger, grants, order, boundaries, cancelling, losses."""

from typing import Any

import pytest

from loopspec.effects import (
    CallModel,
    Cancel,
    DecideCalls,
    Effect,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.events import (
    ApprovalGiven,
    BoundaryFailed,
    EffectCancelled,
    EffectClaimed,
    EffectFailed,
    EffectLost,
    GateDecided,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    RollbackDone,
    RollbackPartial,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.record import AddReply, AddResult
from loopspec.snapshot import Grant
from machine.builders import Run, coding, hash_of
from machine.situations import SITUATIONS, grant, taken


def proposed(*tools: str) -> Run:
    """The gate has been asked about these calls."""
    run = SITUATIONS["streaming"]()
    run.reply(*tools)
    return run


def kinds(run: Run) -> list[str]:
    """What the last step emitted, in a word each: the tool's name or the effect's."""
    return [getattr(e, "tool", "") or type(e).__name__ for e in run.last.effects]


def results(effects: tuple[Effect, ...]) -> list[type]:
    """The sorts of effects."""
    return [type(e) for e in effects]


def test_a_reply_proposes_its_calls_in_order_and_asks_the_gate_about_all() -> None:
    run = proposed("read", 'shell:{"cmd":"ls"}')
    assert run.last.effects == (DecideCalls("s:2:0", "working.deciding", ("c2_0", "c2_1")),)
    assert run.last.record.view == (AddReply(("c2_0", "c2_1")),)
    call = run.snapshot.calls["c2_1"]
    assert (call.seq, call.index, call.args_hash) == (2, 1, hash_of("shell", '{"cmd":"ls"}'))
    assert call.effect == "write"


def test_many_calls_keep_their_order_when_the_snapshot_comes_back_from_bytes() -> None:
    run = proposed(*["read"] * 12)
    wanted = [f"c2_{n}" for n in range(12)]
    run.tell(UserInterrupted())
    run.tell(EffectCancelled("s:2:0", started=False), "gate")
    run.tell(UserResumed())
    (effect,) = run.last.effects
    assert isinstance(effect, DecideCalls)
    assert list(effect.calls) == wanted
    run.decide(*["allow"] * 12)
    assert [e.call for e in run.last.effects if isinstance(e, RunTool)] == wanted
    made = run.tell(UserInterrupted())
    assert [e.target for e in made.effects if isinstance(e, Cancel)] == [
        f"s:{run.snapshot.seq - 1}:{n}" for n in range(12)
    ]


@pytest.mark.parametrize(
    ("tool", "problem", "text"),
    [
        ("read", "The arguments are no JSON object.", "The arguments are no JSON object."),
        ("hammer", "", "There is no tool `hammer`. The tools are: edit, mail, post, read, shell."),
    ],
)
def test_a_call_with_a_problem_is_answered_at_once_and_never_runs(
    tool: str, problem: str, text: str
) -> None:
    run = SITUATIONS["streaming"]()
    call = ProposedCall(tool, "not json", problem)
    made = run.tell(ModelReplied(run.effect.id, calls=[call]), "model")
    assert made.record.view == (
        AddReply(("c2_0",)),
        AddResult("c2_0", tool, text, "error"),
    )
    assert results(made.effects) == [CallModel], "nothing is left to decide or to run"
    assert [t.event for t in made.record.taken] == ["model.replied", "gate.denied"]


@pytest.mark.parametrize(
    ("answers", "leaf", "status"),
    [
        (("allow", "allow"), "working.tool_running", ["running", "allowed"]),
        (("allow", "deny"), "working.tool_running", ["running", "denied"]),
        (("ask", "allow"), "working.awaiting_approval", ["asked", "allowed"]),
        (("ask", "deny"), "working.awaiting_approval", ["asked", "denied"]),
        (("deny", "deny"), "working.streaming", []),
        (("odd", "allow"), "working.tool_running", ["denied", "allowed"]),
    ],
)
def test_the_gates_answers_lead_where_the_ledger_says(
    answers: tuple[str, str], leaf: str, status: list[str]
) -> None:
    run = proposed("read", "mail")
    run.decide(*answers)
    if run.snapshot.activations.get(leaf) and run.snapshot.activations[leaf].phase == "boundary":
        taken(run)
    assert run.leaf == leaf
    got = list(run.status().values())
    assert got == status or (answers[0] == "odd" and got == ["denied", "running"])


@pytest.mark.parametrize("how", ["empty", "failed", "cancelled", "misfit", "gone"])
def test_a_gate_that_does_not_answer_denies(how: str) -> None:
    run = proposed("mail")
    effect = run.effect.id
    events: dict[str, Any] = {
        "empty": GateDecided(effect),
        "failed": EffectFailed(effect, "it broke"),
        "cancelled": EffectCancelled(effect),
        "misfit": ToolAnswered(effect, "c2_0", "ok"),
        "gone": GateDecided(effect, decisions=[]),
    }
    made = run.tell(events[how], "gate")
    assert run.leaf == "working.streaming"
    (result,) = made.record.view
    assert isinstance(result, AddResult)
    assert (result.call, result.status) == ("c2_0", "gate_failed")
    assert results(made.effects) == [CallModel]


def test_reads_run_together_and_writes_alone_in_order() -> None:
    run = proposed("read", "read", "edit", "edit", "read", "mail")
    run.decide(*["allow"] * 6)
    assert kinds(run) == ["TakeBoundary"]
    taken(run)
    assert kinds(run) == ["read", "read"]
    run.answer()
    assert kinds(run) == []
    run.answer()
    assert kinds(run) == ["edit"]
    run.answer()
    assert kinds(run) == ["edit"]
    run.answer("error")
    assert kinds(run) == ["read"]
    run.answer("timeout")
    assert kinds(run) == ["mail"]
    run.answer()
    assert kinds(run) == ["CallModel"]
    assert run.last.record.taken[0].event == "tools.settled"
    assert run.snapshot.calls == {}
    assert run.snapshot.usage.calls == 6


@pytest.mark.parametrize(
    ("tools", "first"),
    [(["read"], "read"), (["edit"], "TakeBoundary"), (["mail"], "TakeBoundary")],
)
def test_a_boundary_is_taken_only_when_a_runnable_call_writes(tools: list[str], first: str) -> None:
    run = proposed(*tools)
    run.decide("allow")
    assert kinds(run) == [first]


def test_a_denied_write_needs_no_boundary() -> None:
    run = proposed("read", "edit")
    run.decide("allow", "deny")
    assert kinds(run) == ["read"]


def test_a_boundary_that_fails_runs_nothing_and_is_routed() -> None:
    run = SITUATIONS["boundary"]()
    assert run.last.effects == (TakeBoundary("s:3:0", "working.tool_running", "b3"),)
    made = run.tell(BoundaryFailed("s:3:0", "disk full"), "workspace")
    assert (run.leaf, made.effects) == ("ready", ())
    assert [s.text for s in made.record.said] == ["No: disk full"]
    assert run.status() == {"c2_0": "allowed", "c2_1": "allowed", "c2_2": "denied"}


def test_open_calls_get_their_honest_results_before_the_next_request() -> None:
    run = proposed("read", "mail", "edit", "shell")
    run.decide("allow", "ask", "deny", "ask")
    run.tell(grant(run, "c2_3", "deny"))
    run.tell(UserInterrupted())
    made = run.tell(UserMessage("other"))
    ops = [op for op in made.record.view if isinstance(op, AddResult)]
    assert [(op.call, op.status) for op in ops] == [
        ("c2_0", "interrupted"),
        ("c2_1", "expired"),
        ("c2_2", "denied_by_policy"),
        ("c2_3", "denied_by_person"),
    ]
    assert ops[2].text == "Not allowed by the rule `r-deny`."
    assert results(made.effects) == [CallModel]
    assert made.snapshot.calls == {}


def test_an_approval_for_exactly_this_call_is_used_once() -> None:
    run = proposed("mail", "mail")
    run.decide("ask", "deny")
    run.tell(grant(run, "c2_0"))
    made = Grant("g4", "call", "mail", hash_of("mail"), "person", uses=1)
    assert run.snapshot.grants == {"g4": made}
    taken(run)
    assert run.snapshot.grants == {"g4": made}
    run.answer()
    assert run.snapshot.grants == {}
    run.reply("mail")
    run.decide("ask")
    assert (run.leaf, run.status()) == ("working.awaiting_approval", {"c7_0": "asked"})


def test_an_approval_for_the_tool_answers_its_other_calls_and_stays() -> None:
    run = proposed("mail", "mail", "shell")
    run.decide("ask", "ask", "ask")
    run.tell(grant(run, "c2_0", scope="tool"))
    assert run.status() == {"c2_0": "granted", "c2_1": "granted", "c2_2": "asked"}
    run.tell(grant(run, "c2_2", "deny"))
    taken(run)
    run.answer()
    run.answer()
    assert run.snapshot.grants == {"g4": Grant("g4", "tool", "mail", "", "person")}
    assert run.leaf == "working.streaming"


def test_a_granted_call_whose_grant_is_gone_does_not_run() -> None:
    run = proposed("mail")
    run.decide("ask")
    run.tell(grant(run, "c2_0"))
    boundary = run.effect
    assert isinstance(boundary, TakeBoundary)
    stolen = type(run.snapshot)(
        **{f: getattr(run.snapshot, f) for f in run.snapshot.__struct_fields__} | {"grants": {}}
    )
    run.snapshot = stolen
    taken(run)
    assert results(run.last.effects) == [CallModel]
    assert run.view() == [("c2_0", "denied_by_person")]


@pytest.mark.parametrize(
    ("answer", "leaf", "result"),
    [
        ("done", "working.streaming", "ok"),
        ("abandon", "working.streaming", "lost"),
        ("rerun", "working.tool_running", None),
    ],
)
def test_a_lost_call_is_settled_by_a_person(answer: str, leaf: str, result: str | None) -> None:
    run = SITUATIONS["lost"]()
    assert run.status() == {"c2_0": "answered", "c2_1": "lost", "c2_2": "denied"}
    run.tell(ApprovalGiven("c2_1", hash_of("shell"), answer))
    assert run.leaf == leaf
    if result is None:
        assert run.snapshot.calls["c2_1"].status == "granted"
        taken(run)
        assert run.effect == RunTool(
            f"s:{run.snapshot.seq}:0", leaf, "c2_1", "shell", hash_of("shell"), 2, 1
        )
    else:
        assert run.view()[0] == ("c2_1", result)
        assert run.snapshot.usage.calls == 2, "the lost call counts once"


def test_a_lost_irreversible_act_is_named_by_a_later_rollback_once() -> None:
    run = proposed("mail")
    run.decide("allow")
    taken(run)
    run.tell(EffectClaimed(run.effect.id), "driver")
    run.tell(EffectLost(run.effect.id, "crash"), "recovery")
    assert run.snapshot.boundaries[0].remaining == ("mail (c2_0)",)
    run.tell(ApprovalGiven("c2_0", hash_of("mail"), "abandon"))
    assert run.snapshot.boundaries[0].remaining == ("mail (c2_0)",)


def test_a_stale_ending_is_noted_and_neither_moves_nor_answers() -> None:
    run = SITUATIONS["writing"]()
    before = run.snapshot
    made = run.tell(ToolAnswered("s:4:0", "c2_1", "ok", "late"), "tools")
    assert (made.outcome, made.effects, made.record.view) == ("noted", (), ())
    assert (run.snapshot.calls, run.snapshot.pending) == (before.calls, before.pending)


@pytest.mark.parametrize("event", [ToolAnswered("e", "c2_0", "ok"), GateDecided("e")])
def test_an_answer_that_does_not_fit_its_effect_is_a_failure_of_the_performer(event: Any) -> None:
    run = SITUATIONS["writing"]()
    effect = run.effect
    made = run.tell(type(event)(**{f: getattr(event, f) for f in event.__struct_fields__}
                                | {"effect": effect.id}), "tools")
    (result, *_) = made.record.view
    assert isinstance(result, AddResult)
    assert (result.call, result.status) == ("c2_1", "error")
    assert "the performer answered" in str(result.text)


def test_interrupting_cancels_and_starts_nothing_until_all_has_settled() -> None:
    run = SITUATIONS["writing"]()
    effect = run.effect
    made = run.tell(UserInterrupted())
    assert made.effects == (Cancel("s:7:0", "working.tool_running", effect.id),)
    assert run.snapshot.pending[effect.id].status == "cancelling"
    assert run.tell(RollbackChosen()).effects == ()
    assert run.leaf == "rolling_back"
    assert run.snapshot.activations["rolling_back"].phase == "held"
    made = run.tell(EffectCancelled(effect.id, partial="half"), "tools")
    assert made.effects == (RestoreBoundary("s:9:0", "rolling_back", "b3", "ref"),)
    (result,) = made.record.view
    assert result == AddResult(
        "c2_1", "shell", "Interrupted while it ran.\nOutput until then:\nhalf", "interrupted"
    )


def test_a_cancelled_call_that_had_not_begun_runs_after_resuming() -> None:
    run = SITUATIONS["tools"]()
    effect = run.effect
    assert isinstance(effect, RunTool)
    run.tell(UserInterrupted())
    run.tell(EffectCancelled(effect.id, started=False), "tools")
    assert run.status() == {"c2_0": "allowed", "c2_1": "allowed", "c2_2": "denied"}
    run.tell(UserResumed())
    taken(run)
    assert [e.call for e in run.running()] == ["c2_0"]


def test_coming_back_through_history_runs_only_the_calls_without_an_answer() -> None:
    run = SITUATIONS["interrupted"]()
    assert run.status() == {"c2_0": "answered", "c2_1": "answered", "c2_2": "denied"}
    made = run.tell(UserResumed())
    assert [t.event for t in made.record.taken] == ["user.resumed", "tools.settled"]
    assert results(made.effects) == [CallModel]


def test_an_answer_that_beats_its_cancellation_is_kept_as_the_result() -> None:
    run = SITUATIONS["cancelling"]()
    (target,) = run.snapshot.pending
    made = run.tell(ToolAnswered(target, "c2_1", "ok", "done"), "tools")
    assert (made.outcome, made.effects) == ("noted", ())
    assert made.record.view == (AddResult("c2_1", "shell", None, "ok"),)
    assert run.snapshot.pending == {}


def test_a_reply_that_beats_its_cancellation_proposes_but_nothing_runs() -> None:
    run = SITUATIONS["streaming"]()
    effect = run.effect
    run.tell(UserInterrupted())
    made = run.tell(ModelReplied(effect.id, "I will", [ProposedCall("mail")]), "model")
    assert (made.outcome, made.effects, run.leaf) == ("noted", (), "interrupted")
    made = run.tell(UserResumed())
    assert run.view() == [("c3_0", "interrupted")]
    assert results(made.effects) == [CallModel]


def test_a_rollback_drops_later_boundaries_but_never_what_cannot_be_undone() -> None:
    run = Run(coding())
    run.tell(UserMessage("x"))
    for tool in ("edit", "mail"):
        run.reply(tool)
        run.decide("allow")
        taken(run)
        run.answer()
    first, second = run.snapshot.boundaries
    assert (first.remaining, second.remaining) == ((), ("mail (c6_0)",))
    run.tell(UserInterrupted())
    run.tell(EffectCancelled(next(iter(run.snapshot.pending))), "model")
    made = run.tell(RollbackChosen(first.id))
    assert made.effects == (
        RestoreBoundary(f"s:{run.snapshot.seq}:0", "rolling_back", first.id, "ref", ("mail (c6_0)",)),
    )
    made = run.tell(RollbackPartial(run.effect.id, first.id, ["f"], ["mail (c6_0)"]), "workspace")
    assert [s.text for s in made.record.said] == ["Left: mail (c6_0)"]
    (kept,) = run.snapshot.boundaries
    assert (kept.id, kept.remaining, run.snapshot.chosen) == (first.id, ("mail (c6_0)",), "")
    run.tell(RollbackChosen())
    again = run.effect
    assert isinstance(again, RestoreBoundary)
    assert again.remaining == ("mail (c6_0)",)
    run.tell(RollbackDone(again.id, first.id), "workspace")
    assert run.leaf == "interrupted"
