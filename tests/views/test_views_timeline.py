"""Timeline: one bounded, printable line per entry."""

import os
from pathlib import Path

import msgspec
import pytest
from coding_loop import SECOND, START, Run, coding
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.codec import decode, encode
from loopspec.events import (
    COMMANDS,
    FACTS,
    ApprovalGiven,
    AttemptFailed,
    BoundaryTaken,
    BudgetExtended,
    ContextCompacted,
    Decision,
    EffectCancelled,
    EffectClaimed,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostWoke,
    Kept,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    RollbackDone,
    RollbackPartial,
    SessionStarted,
    TimerFired,
    TokenUsage,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.views.timeline import Line, render, short_names, timeline
from loopspec.views.words import cells

GOLDEN = Path(__file__).parent / "golden" / "timeline.txt"


def story() -> Run:
    """A session with most things that can happen to one."""
    run = Run(coding(turns=3))
    run.say("Repair the parser,\nplease.")
    failed = AttemptFailed(
        effect=run.pending(), reason="overloaded", detail="529", retryable=True, jitter=1
    )
    run.do(failed, wait=1_500)
    run.do(TimerFired(timer="retry:working.streaming", late=2_000), by="timer")
    run.reply("shell", "read_file", text="I look first.")
    run.decide(c4_0="ask", c4_1="allow")
    hashed = run.snapshot.calls["c4_0"].args_hash
    run.do(ApprovalGiven(call="c4_0", args_hash=hashed, answer="grant"), by="person")
    run.do(BoundaryTaken(effect=run.pending(), boundary="b6", ref="abc", method="git"))
    run.do(EffectClaimed(effect=run.pending()))
    answer = ToolAnswered(
        effect=run.pending(), call="c4_0", status="ok", output="1 passed", duration=3_200_000
    )
    run.do(answer, by="shell")
    tool = run.pending()
    run.do(UserInterrupted(reason="wait"), by="person")
    run.do(EffectCancelled(effect=tool, partial="half of it"))
    run.do(RollbackChosen(boundary="b6"), by="person")
    run.do(RollbackDone(effect=run.pending(), boundary="b6", changed=["a.py", "b.py"]))
    run.do(UserResumed(), by="person")
    run.do(ModelOverflowed(effect=run.pending(), detail="200,001 tokens"))
    run.do(ContextCompacted(effect=run.pending(), drop=["1.0"], summary="…", before=9, after=4))
    run.do(UserMessage(text="Are you there?"), by="person")
    run.reply(text="\x1b[31mYes\u202e")
    run.reply(text="Done.")
    run.say("More.")
    run.do(BudgetExtended(which="turns", amount=1_000), by="person")
    return run


def test_a_timeline_reads_as_its_golden_file() -> None:
    run = story()
    lines = timeline(run.machine, run.entries)
    text = render(lines, start=run.snapshot.started)
    if os.environ.get("LOOPSPEC_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(run.entries)
    assert decode(encode(lines), list[Line]) == lines


def test_a_line_says_what_moved_and_what_the_spec_said() -> None:
    run = Run(coding(turns=1))
    run.say("One.")
    run.reply(text="Done.")
    run.say("Two.")
    assert timeline(run.machine, run.entries)[3] == Line(
        seq=3,
        at=START + 30 * SECOND,
        event="user.message",
        by="person",
        outcome="moved",
        moves=("ready → working → over_budget",),
        detail="“Two.”",
        says=("turns spent",),
    )


def test_transitions_that_follow_each_other_are_one_chain() -> None:
    run = story()
    moves = {line.seq: line.moves for line in timeline(run.machine, run.entries)}
    assert moves[0] == ("→ ready",)
    assert moves[8] == ()
    assert moves[14] == ("interrupted → resume", "tool_running → streaming")
    assert moves[18] == ("streaming → ready → working",)


def test_an_effect_from_before_the_entries_given_is_named_by_its_id() -> None:
    run = story()
    claimed = timeline(run.machine, run.entries[8:9])[0]
    assert claimed.detail == "s1:7:0"
    assert timeline(run.machine, run.entries)[8].detail == "run `shell` (call c4_0)"


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (BudgetExtended(which="usd", amount=1_500_000_000), "usd +$1.50"),
        (BudgetExtended(which="elapsed", amount=600 * SECOND), "elapsed +10 min"),
        (HostWoke(gap=7_800 * SECOND), "was away 2 h 10 min"),
        (HostWoke(), ""),
        (TimerFired(timer="t", late=999), "t"),
        (RollbackChosen(), "to the newest"),
        (EffectLost(effect="e", reason="gone"), "e: gone"),
        (EffectFailed(effect="e", reason="no"), "e: no"),
        (EffectCancelled(effect="e", started=False), "e: never begun"),
        (GateDecided(effect="e"), "no decision"),
        (
            GateDecided(effect="e", decisions=[Decision("c1", "deny", rule="deny[0]")]),
            "deny c1 (deny[0])",
        ),
        (
            ToolAnswered(effect="e", call="c1", status="timeout", duration=SECOND),
            "c1 timeout in 1 s",
        ),
        (
            RollbackPartial(effect="e", boundary="b1", changed=["a"], remaining=["mail (c1)"]),
            "to b1, 1 path put back; cannot be undone: mail (c1)",
        ),
        (
            ModelReplied(
                effect="e",
                model="m",
                calls=[ProposedCall(tool="shell"), ProposedCall(tool="shell")],
                usage=TokenUsage(input_tokens=1_200, output_tokens=80),
            ),
            "calls `shell`, `shell`, 1,200 + 80 tokens, price unknown, m",
        ),
        (
            AttemptFailed(
                effect="e",
                reason="truncated",
                detail="no finish reason",
                usage=TokenUsage(input_tokens=10, cost=20_000_000),
            ),
            "truncated, not to be tried again: no finish reason, 10 + 0 tokens, $0.02",
        ),
    ],
)
def test_each_event_has_its_detail(event: Kept, detail: str) -> None:
    run = Run(coding())
    entry = msgspec.structs.replace(run.entries[0], event=event)
    assert timeline(run.machine, [entry])[0].detail == detail


def _hostile(kind: type, text: str) -> Kept:
    """An event of `kind` with `text` in every text field."""
    values: dict[str, object] = {
        f.name: [text] if f.type == list[str] else text
        for f in msgspec.structs.fields(kind)
        if f.type in (str, list[str])
    }
    values |= {f.name: 1 for f in msgspec.structs.fields(kind) if f.type is int and f.required}
    made: Kept = kind(**values)
    return made


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60))
def test_a_line_of_any_event_is_bounded_and_printable(text: str) -> None:
    text += "\x1b[2J\r\n\u202e界"
    run = Run(coding())
    for kind in COMMANDS + FACTS:
        entry = msgspec.structs.replace(run.entries[0], event=_hostile(kind, text), by=text)
        (line,) = timeline(run.machine, [entry])
        out = render([line], start=START)
        assert out.count("\n") == 1 and out.endswith("\n")
        assert cells(out[:-1]) <= 100
        shown = out[:-1] + line.detail + line.by
        assert not {"\x1b", "\u202e", "\r", "\n"} & set(shown)


def test_a_clock_that_went_back_shows_a_negative_offset() -> None:
    line = Line(seq=1, at=START - 1_500, event="user.resumed", by="person", outcome="noted")
    assert render([line], start=START) == ("    1      -0.001  user.resumed       person  noted\n")


def test_a_name_that_is_not_unique_is_shown_whole() -> None:
    machine = coding()
    twice = {**machine.states, "deciding": machine.states["ready"]}
    names = short_names(msgspec.structs.replace(machine, states=twice))
    assert (names["working.deciding"], names["deciding"], names["working.streaming"]) == (
        "working.deciding",
        "deciding",
        "streaming",
    )


def test_the_first_entry_tells_which_machine_it_is() -> None:
    run = Run(coding())
    assert isinstance(run.entries[0].event, SessionStarted)
    assert timeline(run.machine, run.entries)[0].detail == f"machine {run.machine.digest[:12]} {{}}"


def test_what_a_person_gave_is_told_with_its_scope_its_limits_and_its_arguments() -> None:
    run = Run(coding())
    run.say()
    run.reply("shell", "shell")
    run.decide(c2_0="ask", c2_1="deny")
    key = run.snapshot.calls["c2_0"].args_hash
    given = ApprovalGiven("c2_0", key, "grant", "exact", args='{"cmd":"pwd"}', lasts=90_000_000)
    run.do(given)
    lines = timeline(coding(), run.entries)
    told = 'grant `shell` c2_0 for these very arguments, for 1 min 30 s, with {"cmd":"pwd"}'
    assert [line.detail for line in lines if line.event == "approval.given"] == [told]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("width", [1, 20, 71, 72, 80, 100, 200])
def test_lines_fit_the_width_and_full_leaves_nothing_out(width: int, full: bool) -> None:
    run = story()
    lines = timeline(run.machine, run.entries)
    out = render(lines, start=START, width=width, full=full).splitlines()
    assert all(cells(line) <= max(width, 20) for line in out)
    if width >= 72 and not full:
        assert len(out) == len(lines)
    if full and width >= 72:
        said = "".join(out).replace(" ", "")
        assert all(line.detail.replace(" ", "") in said for line in lines)


def test_how_late_a_timer_was_is_said_first() -> None:
    run = story()
    text = render(timeline(run.machine, run.entries), start=START, width=72)
    assert "late by 2 ms, " in text
