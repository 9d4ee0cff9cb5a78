"""Stats: every number is one that can be counted by hand in the journal."""

from typing import Any

import msgspec
import pytest
from coding_loop import SECOND, START, Run, coding
from hypothesis import given
from hypothesis import strategies as st
from test_views_timeline import story

from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    EffectLost,
    ModelReplied,
    TokenUsage,
    ToolAnswered,
)
from loopspec.journal.entry import Entry
from loopspec.views.stats import (
    Approvals,
    Counting,
    Crashes,
    Left,
    ModelUse,
    Stats,
    Took,
    ToolUse,
    took,
)
from loopspec.views.stats_text import render
from loopspec.views.words import cells

MAIN = "anthropic/claude-sonnet-4-5"


def counted(*runs: Run, since: int = 0) -> Stats:
    counting = Counting(since)
    for run in runs:
        counting.add("input", run.machine.name, run.entries)
    return counting.done()


def test_nothing_counted_is_nothing() -> None:
    made = counted()
    assert made == Stats()
    assert render(made, 80) == "0 sessions\n"


def test_a_session_is_counted_by_what_its_entries_say() -> None:
    run = story()
    lasted = run.entries[-1].at - run.entries[0].at
    turns = sum(isinstance(e.event, ModelReplied) for e in run.entries)
    assert counted(run) == Stats(
        sessions={"input": 1},
        loops={"coding-agent": 1},
        entries=len(run.entries),
        turns=turns,
        models={MAIN: ModelUse(turns, 1, 1_200 * turns, 80 * turns, 0, 12_345_678 * turns)},
        tools={
            "shell": ToolUse(calls=1, ok=1, took=Took(1, 3_200_000, 3_200_000, 3_200_000)),
            "read_file": ToolUse(calls=1, interrupted=1),
        },
        approvals=Approvals(asked=1, granted=1, took=Took(1, 10 * SECOND, 10 * SECOND, 10 * SECOND)),
        compactions=1,
        rollbacks=1,
        wall=lasted,
        awake=lasted,
    )


def test_two_sessions_are_their_sum_whichever_comes_first() -> None:
    one, other = story(), Run(coding())
    other.say()
    other.reply("read_file", text="x", size=5)
    other.decide(c2_0="deny")
    made = counted(one, other)
    assert made == counted(other, one)
    assert made.entries == len(one.entries) + len(other.entries)
    assert made.tools["read_file"] == ToolUse(calls=2, denied=1, interrupted=1)
    assert made.sessions == {"input": 2}


def test_what_people_refuse_and_what_nobody_answers() -> None:
    run = Run(coding())
    run.say()
    run.reply("shell", "shell")
    run.decide(c2_0="ask", c2_1="ask")
    hashed = run.snapshot.calls["c2_0"].args_hash
    run.do(ApprovalGiven(call="c2_0", args_hash=hashed, answer="deny", reason="no"), by="person")
    made = counted(run)
    assert (made.approvals.asked, made.approvals.denied, made.approvals.unanswered) == (2, 1, 1)
    assert made.approvals.took == Took(1, 10 * SECOND, 10 * SECOND, 10 * SECOND)


def test_what_a_crash_left_behind_is_counted() -> None:
    run = Run(coding())
    run.say()
    again = AttemptFailed(effect=run.pending(), reason="restart", retryable=True, partial="half")
    entry = run.entries[-1]
    lost = EffectLost(effect="s1:1:0", reason="gone")
    more = [
        msgspec.structs.replace(entry, seq=entry.seq + n, event=event)
        for n, event in enumerate(
            (
                again,
                lost,
                ApprovalGiven(call="c", args_hash="", answer="done"),
                ApprovalGiven(call="c", args_hash="", answer="rerun"),
                ApprovalGiven(call="c", args_hash="", answer="abandon"),
            ),
            1,
        )
    ]
    counting = Counting()
    counting.add("approval", "x", [*run.entries, *more])
    made = counting.done()
    assert made.crashes == Crashes(lost=1, done=1, rerun=1, abandoned=1, model_calls_again=1)
    assert made.models[MAIN].failed == 1
    text = render(made, 200)
    assert "1 act lost (people said: 1 done, 1 run again, 1 given up), 1 model call made again" in text


def test_a_price_nobody_knows_is_said_and_never_nothing() -> None:
    run = Run(coding())
    run.say()
    run.do(ModelReplied(effect=run.pending(), text="x", usage=TokenUsage(10, 2)))
    made = counted(run)
    assert made.models == {MAIN: ModelUse(1, 0, 10, 2, 0, 0, 1)}
    text = render(made, 80)
    assert "unknown" in text and "$" not in text
    assert "in all unknown; 1 call of unknown price" in text


def test_only_entries_since_a_time_count_and_calls_keep_their_model() -> None:
    run = story()
    half = run.entries[9].at
    made = counted(run, since=half)
    assert made.entries == len(run.entries) - 9
    assert made.tools["shell"].calls == 1 and MAIN in made.models
    assert made.approvals.asked == 0
    assert counted(run, since=run.entries[-1].at + 1).entries == 0
    asked = counted(run, since=run.entries[5].at)
    assert asked.approvals.took.count == 1


def test_a_session_that_breaks_off_leaves_the_counts_as_they_were() -> None:
    run = story()
    counting = Counting()
    counting.add("input", "x", run.entries)

    def broken() -> Any:
        yield from run.entries[:7]
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        counting.add("input", "x", broken())
    counting.leave("s2", "entry 7 was edited")
    made = counting.done()
    whole = counted(run)
    assert made.left_out == [Left("s2", "entry 7 was edited")]
    assert msgspec.structs.replace(made, left_out=[], loops=whole.loops) == whole
    assert render(made, 80).endswith("left out: session s2: entry 7 was edited\n")


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_a_percentile_is_one_of_the_values_and_enough_lie_below(values: list[int]) -> None:
    made = took(values)
    for percent, found in ((50, made.p50), (95, made.p95), (100, made.longest)):
        assert found in values
        assert 100 * sum(v <= found for v in values) >= percent * len(values)
        assert 100 * sum(v < found for v in values) < percent * len(values)


@pytest.mark.parametrize("width", [20, 33, 60, 80, 140])
def test_no_line_is_wider_than_there_is_room_and_nothing_steers(width: int) -> None:
    run = story()
    hostile: list[Entry] = []
    for entry in run.entries:
        event = entry.event
        if isinstance(event, ToolAnswered):
            view = tuple(msgspec.structs.replace(o, tool="\x1b[2J界" * 20) for o in entry.record.view)
            record = msgspec.structs.replace(entry.record, view=view)
            entry = msgspec.structs.replace(entry, record=record)
        hostile.append(entry)
    counting = Counting(START)
    counting.add("in\x1bput", "loop\n" * 30, hostile)
    counting.leave("s\x1b2", "why " * 100)
    text = render(counting.done(), width)
    assert all(cells(line) <= width for line in text.splitlines())
    assert not set("\x1b\r") & set(text)


def test_a_wide_and_a_narrow_table() -> None:
    made = counted(story())
    wide, narrow = render(made, 90), render(made, 34)
    assert wide.splitlines()[6:] == [
        "model                        replies  failed  tokens in  out    cost",
        "anthropic/claude-sonnet-4-5        3       1      3,600  240  $0.037",
        "  in all $0.037",
        "",
        "tool       calls  ok  error  timeout  denied  other  p50  p95",
        "read_file      1   0      0        0       0      1    -    -",
        "shell          1   1      0        0       0      0  3 s  3 s",
        "",
        "approvals  1 asked, 1 granted, 0 denied, 0 without an answer",
        "           people took 10 s (p50), 10 s (p95), 10 s at most",
        "upkeep     1 compaction",
        "rollbacks  1 whole, 0 failed",
    ]
    assert narrow.splitlines()[12:16] == [
        *("tool       calls  ok  other  p50", "read_file      1   0      1    -"),
        *("shell          1   1      0  3 s", ""),
    ]
