"""The circuit breaker: what opens it, what it leaves out, what closes it; and the notices of limits."""

from typing import Any

import pytest

from loopspec.effects import CallModel, Cancel
from loopspec.events import (
    AttemptFailed,
    EffectFailed,
    ModelChosen,
    TimerFired,
    UserInterrupted,
    UserMessage,
)
from loopspec.machine import breaking
from loopspec.machine.model import Machine, ModelDecl
from loopspec.machine.step import Step
from loopspec.record import AddPartial, Left
from loopspec.snapshot import Breaker
from machine.builders import SECOND, Run, coding, machine

MINUTE = 60 * SECOND
S = "working.streaming"
RETRY = f"retry:{S}"


def asked(**changes: Any) -> Run:
    """The model has been asked; two failures open its breaker for a minute."""
    plain: dict[str, Any] = {"attempts": 2, "base": SECOND, "breaker": 2, "cooldown": MINUTE}
    decl = ModelDecl("main", "sim/one", **{**plain, **changes})
    run = Run(coding(models={"main": decl}))
    run.tell(UserMessage("x"))
    return run


def of(run: Run) -> CallModel:
    """The attempt that is out."""
    effect = run.effect
    assert isinstance(effect, CallModel)
    return effect


def fail(run: Run, reason: str = "connection", **changes: Any) -> Step:
    """The attempt that is out fails, and the wait passes."""
    failed = AttemptFailed(run.effect.id, reason, retryable=True, **changes)
    made = run.tell(failed, "model")
    while f"retry:{run.leaf}" in run.snapshot.timers:
        made = run.tell(TimerFired(f"retry:{run.leaf}"), "timer")
    return made


def test_failures_in_a_row_open_it_and_a_reply_closes_it() -> None:
    run = asked(attempts=9)
    fail(run, "stalled")
    assert run.snapshot.breakers == {"sim/one": Breaker(1, "stalled")}
    run.tell(AttemptFailed(run.effect.id, "connection", retryable=True), "model")
    opened = Breaker(2, "connection", run.snapshot.at + MINUTE)
    assert run.snapshot.breakers == {"sim/one": opened}
    run.tell(TimerFired(RETRY), "timer")
    assert of(run).use == "sim/one", "there is no other: a session is never left without a model"
    run.reply(text="ok")
    assert run.snapshot.breakers == {}


@pytest.mark.parametrize("reason", sorted(breaking.COUNTED))
def test_faults_of_the_service_count(reason: str) -> None:
    run = asked()
    fail(run, reason)
    assert run.snapshot.breakers == {"sim/one": Breaker(1, reason)}


@pytest.mark.parametrize(
    "reason",
    ["bad_request", "restart", "overflowed", "auth", "no_key", "unknown_model", "refused", "empty"],
)
def test_our_own_faults_do_not(reason: str) -> None:
    run = asked()
    fail(run, reason)
    assert run.snapshot.breakers == {}
    if reason == "restart":
        run.tell(EffectFailed(run.effect.id, "broken plugin"), "model")
        assert run.snapshot.breakers == {}


def test_an_open_one_is_left_at_once_although_it_has_attempts_to_go() -> None:
    run = asked(attempts=9, fallbacks=("sim/two",))
    fail(run)
    run.tell(AttemptFailed(run.effect.id, "timeout", retryable=True), "model")
    until = run.snapshot.at + MINUTE
    assert run.last.record.left == (Left("sim/one", "breaker", "timeout", 2, until=until),)
    assert (of(run).use, of(run).attempt) == ("sim/two", 1)
    assert run.snapshot.timers == {}


def test_the_next_call_leaves_it_out_until_its_time_has_passed_and_then_tries_it_once() -> None:
    run = asked(fallbacks=("sim/two",))
    fail(run)
    fail(run)
    run.reply(text="from two")
    until = run.snapshot.breakers["sim/one"].until
    made = run.tell(UserMessage("y"))
    assert of(run).use == "sim/two"
    assert made.record.left == (Left("sim/one", "breaker", "connection", 2, until=until),)
    run.reply(text="from two")
    made = run.tell(UserMessage("z"), wait=MINUTE)
    assert (of(run).use, made.record.left) == ("sim/one", ())
    made = run.tell(AttemptFailed(run.effect.id, "connection", retryable=True), "model")
    assert run.snapshot.breakers["sim/one"] == Breaker(3, "connection", run.snapshot.at + MINUTE)
    assert of(run).use == "sim/two", "one more failure opens it again at once"


def test_when_all_are_open_the_one_that_reopens_first_is_tried() -> None:
    run = asked(attempts=1, breaker=1, fallbacks=("sim/two", "sim/three"))
    for _ in range(3):
        fail(run)
    assert run.leaf == "ready"
    run.tell(UserMessage("y"))
    assert of(run).use == "sim/one"
    run.reply(text="ok")
    run.tell(UserMessage("z"))
    assert of(run).use == "sim/one"
    fail(run)
    assert of(run).use == "sim/two", "its own is open until later now"
    fail(run)
    assert of(run).use == "sim/three"


def test_one_that_reopens_meanwhile_is_not_gone_back_to_and_the_other_goes_on() -> None:
    run = asked(attempts=2, fallbacks=("sim/two",))
    fail(run)
    fail(run)
    assert of(run).use == "sim/two"
    run.tell(AttemptFailed(run.effect.id, "empty", retryable=True), "model")
    run.tell(TimerFired(RETRY), "timer", wait=2 * MINUTE)
    assert (of(run).use, of(run).attempt) == ("sim/two", 2)


def test_one_that_was_left_for_another_that_reopened_has_had_its_turn() -> None:
    run = asked(attempts=2, breaker=1, fallbacks=("sim/two",))
    while run.leaf != "ready":
        fail(run)
    run.tell(UserMessage("z"))
    assert of(run).use == "sim/one", "both are open, and it is the first to be back"
    failed = AttemptFailed(run.effect.id, "overloaded", retryable=True, retry_after=MINUTE - SECOND)
    run.tell(failed, "model")
    assert RETRY in run.snapshot.timers, "the other one is open, too"
    made = run.tell(TimerFired(RETRY), "timer", wait=MINUTE - SECOND)
    assert of(run).use == "sim/two", "it was back first"
    assert [(left.use, left.why) for left in made.record.left] == [("sim/one", "breaker")]
    run.tell(AttemptFailed(run.effect.id, "auth"), "model")
    assert run.leaf == "ready"


def test_one_that_was_left_out_is_asked_before_the_call_fails() -> None:
    run = asked(attempts=1, breaker=1, fallbacks=("sim/two",))
    fail(run)
    run.reply(text="from two")
    run.tell(UserMessage("y"))
    assert of(run).use == "sim/two"
    fail(run)
    assert (of(run).use, of(run).rung) == ("sim/one", 0)
    fail(run)
    assert run.leaf == "ready"


def test_zero_switches_it_off() -> None:
    run = asked(attempts=9, breaker=0, fallbacks=("sim/two",))
    for _ in range(7):
        fail(run)
    assert (of(run).use, run.snapshot.breakers) == ("sim/one", {})


def test_a_wall_clock_that_was_set_back_keeps_nothing_open_for_long() -> None:
    run = asked(attempts=1, breaker=1, fallbacks=("sim/two",))
    fail(run)
    run.reply(text="ok")
    run.tell(UserMessage("y"), wait=-24 * 60 * MINUTE)
    assert of(run).use == "sim/one"


def test_models_that_nobody_may_ask_leave_the_map() -> None:
    run = asked(attempts=9)
    seen = []
    for name in ("sim/a", "sim/b", "sim/c"):
        run.tell(ModelChosen("main", name))
        fail(run)  # that was the one chosen before
        seen.append(sorted(run.snapshot.breakers))
    assert seen == [["sim/one"], ["sim/a", "sim/one"], ["sim/b", "sim/one"]]


def test_two_declarations_of_one_model_share_its_breaker() -> None:
    tree: dict[str, Any] = {
        "a": {"kind": "model", "model": "big", "on": {"model.failed": "b", "model.replied": "b"}},
        "b": {"kind": "model", "model": "small", "on": {"model.failed": "a", "model.replied": "a"}},
    }
    models = {
        "big": ModelDecl("big", "sim/one", attempts=1, breaker=1),
        "small": ModelDecl("small", "sim/one", fallbacks=("sim/two",), attempts=1, breaker=1),
    }
    run = Run(machine(tree, models=models))
    assert of(run).use == "sim/one"
    fail(run)
    assert (run.leaf, of(run).use) == ("b", "sim/two")


# ---------------------------------------------------------------- notices


def noticing(route: Any, **changes: Any) -> Machine:
    """A model state that routes what limits its model."""
    plain: dict[str, Any] = {"attempts": 2, "breaker": 0, "base": SECOND}
    on = {"model.replied": "done", "model.failed": "failed", "user.interrupted": "done", **route}
    tree: dict[str, Any] = {
        "ask": {"kind": "model", "on": on},
        "calm": {"on": {"user.message": "ask"}},
        "failed": {"on": {"user.message": "ask"}},
        "done": {"type": "final"},
    }
    return machine(tree, models={"main": ModelDecl("main", "sim/one", **{**plain, **changes})})


@pytest.mark.parametrize(
    ("reason", "name"), [("rate_limited", "model.rate_limited"), ("overloaded", "model.overloaded")]
)
def test_a_spec_may_leave_the_state_and_the_retry_is_disarmed(reason: str, name: str) -> None:
    run = Run(noticing({name: {"target": "calm", "do": [("say", "{{ event.use }} {{ event.wait }}")]}}))
    told = AttemptFailed(
        run.effect.id, reason, retryable=True, retry_after=SECOND, jitter=500_000, partial="so far"
    )
    made = run.tell(told, "model")
    assert (run.leaf, run.snapshot.timers, made.effects) == ("calm", {}, ())
    assert [s.text for s in made.record.said] == ["sim/one 1500000"]
    assert made.record.view == (AddPartial("so far"),)
    assert run.tell(TimerFired("retry:ask"), "timer").outcome == "noted"
    run.tell(UserMessage("again"))
    assert (of(run).attempt, of(run).after) == (1, "")


def test_who_does_not_route_it_waits_and_tries_again() -> None:
    run = Run(noticing({}))
    made = run.tell(AttemptFailed(run.effect.id, "overloaded", retryable=True), "model")
    assert (made.outcome, run.leaf, run.snapshot.stuck) == ("noted", "ask", "")
    assert list(run.snapshot.timers) == ["retry:ask"]


@pytest.mark.parametrize("pattern", ["*", "model.*"])
def test_a_pattern_does_not_mean_a_notice(pattern: str) -> None:
    run = Run(noticing({pattern: "calm"}))
    run.tell(AttemptFailed(run.effect.id, "rate_limited", retryable=True), "model")
    assert (run.leaf, list(run.snapshot.timers)) == ("ask", ["retry:ask"])


def test_a_guard_reads_the_notice_and_an_action_alone_stays() -> None:
    guarded = {"guard": "event.wait > 5000000 && event.attempts == 1", "target": "calm"}
    stays: dict[str, Any] = {"do": [("say", "busy: {{ event.detail }}")]}
    run = Run(noticing({"model.overloaded": [guarded, stays]}, attempts=3))
    made = run.tell(AttemptFailed(run.effect.id, "overloaded", "full", retryable=True), "model")
    assert (run.leaf, [s.text for s in made.record.said]) == ("ask", ["busy: full"])
    assert list(run.snapshot.timers) == ["retry:ask"]
    run.tell(TimerFired("retry:ask"), "timer")
    failed = AttemptFailed(run.effect.id, "overloaded", retryable=True, retry_after=9 * SECOND)
    run.tell(failed, "model")
    assert run.leaf == "ask", "it was the second attempt"


def test_the_last_attempt_is_noticed_before_the_call_has_failed() -> None:
    run = Run(noticing({"model.rate_limited": "calm"}, attempts=1))
    run.tell(AttemptFailed(run.effect.id, "rate_limited", retryable=True), "model")
    assert run.leaf == "calm"
    run = Run(noticing({"model.overloaded": "calm"}, attempts=1))
    run.tell(AttemptFailed(run.effect.id, "rate_limited", retryable=True), "model")
    assert run.leaf == "failed"


def test_a_notice_that_is_left_for_does_not_ask_the_next_model() -> None:
    run = Run(noticing({"model.rate_limited": "calm"}, attempts=1, fallbacks=("sim/two",)))
    made = run.tell(AttemptFailed(run.effect.id, "rate_limited", retryable=True), "model")
    assert (run.leaf, made.effects, run.snapshot.pending) == ("calm", (), {})


def test_interrupted_work_that_was_limited_tells_nobody() -> None:
    run = Run(noticing({"model.rate_limited": "calm"}))
    effect = run.effect
    made = run.tell(UserInterrupted())
    assert [type(e) for e in made.effects] == [Cancel]
    run.tell(AttemptFailed(effect.id, "rate_limited", retryable=True), "model")
    assert run.leaf == "done"
