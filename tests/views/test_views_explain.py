"""Explain: golden texts of sessions that were really stepped, and the rules behind them.

`LOOPSPEC_GOLDEN=1` writes the golden files anew; read the difference before keeping it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from coding_loop import SECOND, START, Run, coding
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.codec import decode, encode
from loopspec.effects import CallModel
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BoundaryTaken,
    BudgetExtended,
    EffectCancelled,
    EffectClaimed,
    EffectLost,
    HostSuspended,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    TimerFired,
    TokenUsage,
    UserInterrupted,
    UserResumed,
)
from loopspec.journal.fold import empty
from loopspec.views.explain import explain, render
from loopspec.views.explanation import (
    AcceptedCommand,
    AskedGuard,
    BudgetUse,
    Explanation,
    HeldGrant,
    LedgerCall,
    Way,
)
from loopspec.views.words import cells

GOLDEN = Path(__file__).parent / "golden"


def explained(run: Run) -> Explanation:
    """What `explain` says now."""
    return explain(run.machine, run.snapshot, run.entries, run.refusals, run.now, run.awake)


def streaming() -> Run:
    run = Run(coding())
    run.say()
    failed = AttemptFailed(
        effect=run.pending(), reason="overloaded", retryable=True, jitter=500_000
    )
    run.do(failed, wait=SECOND)
    run.do(TimerFired(timer="retry:working.streaming"), by="timer", wait=12 * SECOND)
    return run


def awaiting_approval() -> Run:
    run = Run(coding())
    run.say()
    run.reply("shell", "read_file")
    run.decide(c2_0="ask", c2_1="allow")
    call = run.snapshot.calls["c2_0"]
    run.do(ApprovalGiven(call="c2_0", args_hash="other", answer="grant"), by="person")
    run.do(RollbackChosen(), by="person", wait=185 * SECOND)
    assert call.status == "asked"
    return run


def tool_running() -> Run:
    run = awaiting_approval()
    digest = run.snapshot.calls["c2_0"].args_hash
    granted = ApprovalGiven(call="c2_0", args_hash=digest, answer="grant", reason="go on")
    run.do(granted, by="person")
    run.do(BoundaryTaken(effect=run.pending(), boundary="b4", ref="abc", method="git"))
    run.do(EffectClaimed(effect=run.pending()), wait=130 * SECOND)
    return run


def interrupted() -> Run:
    run = tool_running()
    tool = run.pending()
    run.do(UserInterrupted(reason="stop"), by="person", wait=SECOND)
    run.do(EffectCancelled(effect=tool, partial="half"))
    return run


def compacting() -> Run:
    run = Run(coding(), window=2_000)
    run.say()
    run.do(ModelOverflowed(effect=run.pending(), detail="too long"))
    return run


def suspended() -> Run:
    run = awaiting_approval()
    run.do(HostSuspended(reason="sleep"), wait=3600 * SECOND)
    return run


def stuck() -> Run:
    run = Run(coding(drop=("model.failed",)))
    run.say()
    run.do(AttemptFailed(effect=run.pending(), reason="auth", detail="401"))
    run.do(AttemptFailed(effect=run.pending(), reason="auth", detail="401"))
    return run


def over_budget() -> Run:
    run = Run(coding(turns=2))
    for _ in range(2):
        run.say()
        run.reply(text="Done.")
    run.say()
    return run


SITUATIONS: dict[str, Callable[[], Run]] = {
    f.__name__: f
    for f in (
        streaming,
        tool_running,
        awaiting_approval,
        interrupted,
        compacting,
        suspended,
        stuck,
        over_budget,
    )
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_explanation_reads_as_its_golden_file(name: str) -> None:
    text = render(explained(SITUATIONS[name]()))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LOOPSPEC_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(cells(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("name", SITUATIONS)
def test_an_explanation_is_plain_data_and_comes_back_from_its_json(name: str) -> None:
    made = explained(SITUATIONS[name]())
    assert decode(encode(made), Explanation) == made


@pytest.mark.parametrize(
    ("name", "reason", "sentence"),
    [
        (
            "streaming",
            "working",
            "Waits for the model main (anthropic/claude-sonnet-4-5), attempt 2, for 12 s",
        ),
        ("tool_running", "working", "Waits for the tool `shell` (call c2_0), for 2 min 20 s"),
        (
            "awaiting_approval",
            "approval",
            "Waits for a person: call c2_0 `shell` (asked by rule ask[0]: by the book)",
        ),
        (
            "interrupted",
            "interrupted",
            "Interrupted: waits for resume, a message, or a rollback",
        ),
        (
            "compacting",
            "working",
            "Waits for the conversation to be made smaller, for 10 s",
        ),
        ("suspended", "suspended", "Suspended: waits for resume, or the host to wake"),
        ("stuck", "stuck", "Stuck: `model.failed` is not routed in `working.streaming`"),
        ("over_budget", "budget", "Turn budget spent (2 of 2)"),
    ],
)
def test_the_first_sentence_says_what_is_waited_for(name: str, reason: str, sentence: str) -> None:
    made = explained(SITUATIONS[name]())
    assert (made.reason, made.waits) == (reason, sentence)


def test_a_new_session_waits_for_a_message_and_says_how_to_send_one() -> None:
    made = explained(Run(coding()))
    assert (made.reason, made.waits) == ("input", "Waits for a message")
    assert made.commands == (
        AcceptedCommand(
            event="budget.extended", routed=False, line="loopspec resume s1 --extend turns=20"
        ),
        AcceptedCommand(event="model.chosen", routed=False, line="/model at the prompt"),
        AcceptedCommand(event="user.message", routed=True, line='loopspec resume s1 -p "…"'),
    )
    assert made.last is not None and made.last.seq == 0 and made.last.hops == ()


def test_a_retry_names_its_timer() -> None:
    run = Run(coding())
    run.say()
    run.do(
        AttemptFailed(effect=run.pending(), reason="busy", retryable=True, retry_after=30 * SECOND),
        wait=SECOND,
    )
    made = explained(run)
    assert made.reason == "timer"
    again = "ask anthropic/claude-sonnet-4-5 again (attempt 2) in 29 s"
    assert made.waits == f"Waits for a timer: {again}"


def test_a_timer_that_came_due_unnoticed_is_overdue() -> None:
    run = awaiting_approval()
    run.now += 25 * 3600 * SECOND
    assert "after 24 h: leave `working.awaiting_approval` overdue by 1 h 03 min" in render(
        explained(run)
    )


def test_cancelled_work_that_has_not_settled_comes_before_rest() -> None:
    run = tool_running()
    run.do(UserInterrupted(), by="person", wait=5 * SECOND)
    made = explained(run)
    assert made.waits == (
        "Waits for cancelled work to settle: run `shell` (call c2_0), for 2 min 25 s"
    )
    assert [(p.status, p.claimed) for p in made.pending] == [("cancelling", True)]
    assert made.states[0].path == "interrupted"


def test_a_lost_call_asks_what_became_of_it() -> None:
    run = tool_running()
    run.do(EffectLost(effect=run.pending(), reason="the process ended"))
    assert explained(run).waits == (
        "Waits for a person: call c2_0 `shell` "
        "(lost: the process ended; was it done, run it again, or give up?)"
    )


def test_a_grant_is_shown_with_the_call_it_covers() -> None:
    made = explained(tool_running())
    assert made.calls == (
        LedgerCall(
            id="c2_0",
            tool="shell",
            effect="write",
            status="running",
            rule="person",
            reason="go on",
            grant="g4",
        ),
        LedgerCall(id="c2_1", tool="read_file", effect="read", status="allowed", rule="allow[0]"),
    )
    digest = tool_running().snapshot.calls["c2_0"].args_hash
    assert made.grants == (
        HeldGrant(id="g4", scope="call", tool="shell", args_hash=digest, approver="person", uses=1),
    )


def test_ways_are_listed_innermost_first_and_history_says_where_it_leads() -> None:
    assert explained(interrupted()).ways == (
        Way(
            event="user.resumed",
            source="interrupted",
            place="coding-agent.yaml:70",
            target="working.resume",
            enters=("working.tool_running",),
        ),
        Way(
            event="user.message",
            source="interrupted",
            place="coding-agent.yaml:71",
            target="working",
        ),
        Way(
            event="rollback.chosen",
            source="interrupted",
            place="coding-agent.yaml:72",
            target="rolling_back",
        ),
    )
    sources = [way.source for way in explained(streaming()).ways]
    assert sources == ["working.streaming"] * 6 + ["working"] * 3


def test_a_guard_that_said_no_shows_the_values_it_saw() -> None:
    run = Run(coding())
    run.say()
    run.reply(text="Done.")
    assert explained(run).guards == (
        AskedGuard(
            seq=2,
            event="model.replied",
            place="coding-agent.yaml:47",
            guard="size(event.calls) > vars.most",
            gave="false",
            saw='{"event.calls":[],"vars.most":8}',
        ),
        AskedGuard(
            seq=2,
            event="model.replied",
            place="coding-agent.yaml:48",
            guard="size(event.calls) > 0",
            gave="false",
            saw='{"event.calls":[]}',
        ),
    )
    run.say()
    assert explained(run).guards == ()


def test_a_guard_that_erred_is_shown_and_so_is_where_it_left_the_session() -> None:
    run = Run(coding(guard='event.calls[0].tool == "x"'))
    run.say()
    run.reply(text="Done.")
    made = explained(run)
    assert made.reason == "stuck"
    assert [(g.gave.split(":")[0], g.place) for g in made.guards] == [
        ("error", "coding-agent.yaml:47")
    ]


def test_budgets_show_use_limit_and_what_was_added() -> None:
    run = over_budget()
    run.do(BudgetExtended(which="turns", amount=3), by="person", wait=0)
    made = explained(run)
    assert made.waits == (
        "Waits for the model main (anthropic/claude-sonnet-4-5), attempt 1, for 0 ms"
    )
    assert made.budgets == (
        BudgetUse(which="turns", used=2, limit=5, extended=3),
        BudgetUse(which="tokens", used=2_560, limit=500_000),
        BudgetUse(which="usd", used=24_691_356, limit=3_000_000_000),
        BudgetUse(which="elapsed", used=60 * SECOND, limit=2_700 * SECOND),
    )


def test_money_of_unknown_price_is_not_shown_as_nothing() -> None:
    run = Run(coding())
    run.say()
    run.do(
        ModelReplied(
            effect=run.pending(), text="Done.", usage=TokenUsage(input_tokens=9, output_tokens=1)
        )
    )
    assert "  usd      unknown of $3.00\n" in render(explained(run))
    run.say()
    run.reply(text="Done.")
    assert "  usd      ≥ $0.0123 of $3.00\n" in render(explained(run))


def test_refusals_are_shown_newest_first_and_nothing_else_changed() -> None:
    run = awaiting_approval()
    assert [(r.event, r.why) for r in explained(run).refusals] == [
        ("rollback.chosen", "there is no boundary to roll back to"),
        ("approval.given", "the arguments of `c2_0` are not the ones that were approved"),
    ]
    for _ in range(9):
        run.do(UserResumed(), by="person")
    assert len(explained(run).refusals) == 5


def test_a_message_that_leads_nowhere_is_said_to_wait() -> None:
    run = streaming()
    run.say("And the tests.")
    made = explained(run)
    assert made.inbox == 1
    assert "(would wait in the inbox)" in render(made)


def test_without_entries_and_machine_file_there_is_still_an_explanation() -> None:
    run = streaming()
    machine = msgspec.structs.replace(run.machine, file="")
    made = explain(machine, run.snapshot, (), (), run.now, run.awake)
    assert (made.last, made.guards, made.states[0].place) == (None, (), "line 46")
    assert "last move" not in render(made)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=120))
def test_no_text_from_outside_reaches_the_terminal_as_it_is(text: str) -> None:
    text = text.encode("utf-8", "replace").decode() + "\x1b[2J\u202e"
    run = Run(coding())
    run.say(text)
    calls = [ProposedCall(tool=text)]
    run.do(ModelReplied(effect=run.pending(), text=text, calls=calls), by=text)
    run.refusals.append({"at": "?", "event": text, "by": text, "why": text})
    out = render(explained(run))
    assert all(cells(line) <= 80 for line in out.split("\n"))
    assert not {"\x1b", "\u202e", "\x9b", "\r", "\x07"} & set(out)


def test_the_pending_effect_of_a_stepped_session_is_the_one_step_emitted() -> None:
    run = streaming()
    (pending,) = run.snapshot.pending.values()
    (shown,) = explained(run).pending
    assert isinstance(pending.effect, CallModel)
    assert (shown.id, shown.attempt, shown.status, shown.age) == (
        pending.effect.id,
        2,
        "open",
        12 * SECOND,
    )


def test_a_session_without_an_entry_can_be_explained() -> None:
    made = explain(coding(), empty("s9"), (), (), 0, 0)
    assert (made.reason, made.states, made.ways, made.last) == ("idle", (), (), None)
    assert render(made).startswith("session s9: coding-agent 1.0.0 (coding-agent.yaml)\n")


def test_a_spent_time_budget_says_how_much_was_used() -> None:
    run = Run(coding())
    run.say()
    model = run.pending()
    run.do(TimerFired(timer="budget"), by="timer", wait=0)
    run.do(EffectCancelled(effect=model), wait=0)
    run.now = START + 2_700 * SECOND
    assert explained(run).waits == "Time budget spent (45 min of 45 min)"
    run.do(BudgetExtended(which="elapsed", amount=600 * SECOND), by="person", wait=60 * SECOND)
    assert explained(run).budgets[3] == BudgetUse(
        which="elapsed", used=2_760 * SECOND, limit=3_300 * SECOND, extended=600 * SECOND
    )
