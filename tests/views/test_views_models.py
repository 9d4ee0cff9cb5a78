"""Models that are left, left out, waited for and gone on with, as explain and timeline tell of them."""

from coding_loop import SECOND, Run, coding

from loopspec.events import AttemptFailed, TimerFired
from loopspec.record import Left
from loopspec.views.explain import explain, render
from loopspec.views.explanation import FailingModel, PassedModel
from loopspec.views.timeline import timeline
from loopspec.views.words import left_out

ONE, TWO = "anthropic/claude-sonnet-4-5", "openai/gpt-5-mini"
S = "working.streaming"


def fail(run: Run, reason: str, **changes: object) -> None:
    """The attempt that is out fails after a second."""
    plain: dict[str, object] = {"retryable": True, **changes}
    run.do(AttemptFailed(run.pending(), reason, **plain), by="model", wait=SECOND)  # type: ignore[arg-type]


def again(run: Run) -> None:
    """The wait is over."""
    run.do(TimerFired(timer=f"retry:{S}"), by="timer", wait=SECOND)


def test_an_open_breaker_and_what_the_call_left_are_told() -> None:
    run = Run(coding())
    run.say()
    for _ in range(4):
        fail(run, "overloaded")
        again(run)
    fail(run, "overloaded")
    run.now += 59 * SECOND
    told = explain(run.machine, run.snapshot, run.entries, [], run.now, run.awake)
    assert told.failing == (FailingModel(ONE, 5, "overloaded", 240 * SECOND),)
    why = f"left {ONE}: overloaded, after 5 attempts"
    assert told.passed == (PassedModel(run.snapshot.seq, ONE, why),)
    shown = " ".join(render(told).split())
    fails = f"{ONE}: 5 failures in a row, the last one overloaded"
    assert f"models that fail {fails}; left out for 4 min, if another one can be asked" in shown
    assert f"models this call asks no more entry {run.snapshot.seq}: {why}" in shown
    assert timeline(run.machine, run.entries)[-1].detail.endswith(f"; {why}")


def test_a_text_that_is_gone_on_with_names_its_entry() -> None:
    run = Run(coding())
    run.say()
    fail(run, "truncated", partial="Once upon", resumable=True)
    seq = run.snapshot.seq
    again(run)
    told = explain(run.machine, run.snapshot, run.entries, [], run.now, run.awake)
    assert [(p.attempt, p.continues) for p in told.pending] == [(2, seq)]
    assert f"attempt 2, goes on from the text of entry {seq}" in render(told).replace("\n      ", " ")
    assert f"goes on from entry {seq}" in timeline(run.machine, run.entries)[-1].detail


def test_every_reason_has_its_words() -> None:
    told = [
        Left("a/b", "final", "auth", 1),
        Left("a/b", "attempts", "stalled", 1),
        Left("a/b", "wait", "rate_limited", 1, 3_600 * SECOND),
        Left("a/b", "waited", "connection", 3),
        Left("a/b", "breaker", "timeout", 5, until=1),
        Left("a/b", "window", "window"),
    ]
    assert [left_out(left) for left in told] == [
        "left a/b: auth, not to be tried again",
        "left a/b: stalled, after 1 attempt",
        "left a/b: rate_limited, it asks for a wait of 1 h",
        "left a/b: connection, and the call has waited as long as it may",
        "left a/b out: timeout, 5 in a row",
        "left a/b out: its window is too small",
    ]
