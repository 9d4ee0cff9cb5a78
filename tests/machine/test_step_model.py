"""Model calls: retries and fallbacks, budgets, a full window, and every sort of timer."""

import bisect
from typing import Any

import pytest

from loopspec.effects import CallModel, Cancel, CompactContext
from loopspec.events import (
    AttemptFailed,
    BudgetExtended,
    ContextCompacted,
    ContextStuck,
    EffectCancelled,
    EffectFailed,
    HostSuspended,
    HostWoke,
    ModelOverflowed,
    TimerFired,
    TokenUsage,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import Budgets, ContextRules, ModelDecl
from loopspec.machine.rest import Rest, resting
from loopspec.record import AddPartial, AddReply, Replace
from loopspec.snapshot import Timer, Usage
from loopspec.tokens import estimate
from machine.builders import HOUR, PAID, PROMPT, SECOND, T0, Run, changed, coding, machine
from machine.situations import SITUATIONS

S = "working.streaming"


def asked(**changes: Any) -> Run:
    """The model has been asked."""
    run = Run(coding(**changes), windows={"main": 0})
    run.tell(UserMessage("x", tokens=10))
    return run


def fail(run: Run, **changes: Any) -> None:
    """The attempt that is out fails."""
    plain: dict[str, Any] = {"reason": "provider", "retryable": True, "jitter": 1_000_000}
    run.tell(AttemptFailed(run.effect.id, **{**plain, **changes}), "model")


def due_in(run: Run) -> int:
    """Microseconds until the retry."""
    return run.snapshot.timers[f"retry:{S}"].due - run.snapshot.awake


@pytest.mark.parametrize(
    ("failures", "jitter", "retry_after", "delay"),
    [
        (1, 1_000_000, 0, 1 * SECOND),
        (1, 500_000, 0, SECOND // 2),
        (1, 0, 0, 0),
        (2, 1_000_000, 0, 2 * SECOND),
        (3, 1_000_000, 0, 4 * SECOND),
        (5, 1_000_000, 0, 10 * SECOND),
        (1, 0, 7 * SECOND, 7 * SECOND),
        (4, 1_000_000, 3 * SECOND, 11 * SECOND),
        (4, 500_000, 3 * SECOND, 7 * SECOND),
    ],
)
def test_a_retry_waits_as_long_as_the_server_asked_and_then_with_full_jitter(
    failures: int, jitter: int, retry_after: int, delay: int
) -> None:
    decl = ModelDecl("main", "sim/one", attempts=9, base=SECOND, cap=10 * SECOND)
    run = asked(models={"main": decl})
    for _ in range(failures - 1):
        fail(run)
        run.tell(TimerFired(f"retry:{S}"), "timer")
    fail(run, jitter=jitter, retry_after=retry_after)
    assert due_in(run) == delay
    assert run.last.effects == ()
    act = run.snapshot.activations[S]
    assert (act.phase, act.attempt, act.failures) == ("retrying", failures, failures)


def test_after_the_attempts_come_the_fallbacks_and_then_model_failed() -> None:
    decl = ModelDecl("main", "sim/one", fallbacks=("sim/two", "sim/three"), attempts=2)
    run = asked(models={"main": decl})
    seen = []
    while run.leaf == S:
        effect = run.effect
        assert isinstance(effect, CallModel)
        seen.append((effect.use, effect.attempt, effect.rung))
        fail(run, reason="overloaded")
        if run.snapshot.timers:
            run.tell(TimerFired(f"retry:{S}"), "timer")
    assert seen == [
        ("sim/one", 1, 0),
        ("sim/one", 2, 0),
        ("sim/two", 1, 1),
        ("sim/two", 2, 1),
        ("sim/three", 1, 2),
        ("sim/three", 2, 2),
    ]
    assert (run.leaf, [s.text for s in run.last.record.said]) == (
        "ready",
        ["The model could not be reached: overloaded"],
    )
    assert run.snapshot.timers == {}


@pytest.mark.parametrize("broken", [False, True])
def test_what_cannot_be_retried_goes_straight_to_the_next_rung(broken: bool) -> None:
    run = asked(models={"main": ModelDecl("main", "sim/one", fallbacks=("sim/two",))})
    if broken:
        run.tell(EffectFailed(run.effect.id, "no plugin"), "model")
    else:
        fail(run, retryable=False)
    (effect,) = run.last.effects
    first = f"s:{run.snapshot.seq - 1}:0"
    want = CallModel(f"s:{run.snapshot.seq}:0", S, "main", "sim/two", PROMPT, 1, 1, first)
    assert effect == want


def test_a_retry_that_was_left_does_not_fire_and_starts_anew_after_resuming() -> None:
    run = SITUATIONS["retrying"]()
    run.tell(UserInterrupted())
    assert (run.leaf, run.snapshot.timers) == ("interrupted", {})
    assert run.tell(TimerFired(f"retry:{S}"), "timer").outcome == "noted"
    run.tell(UserResumed())
    (effect,) = run.last.effects
    assert isinstance(effect, CallModel)
    assert (effect.attempt, effect.rung) == (1, 0)


def test_what_a_call_used_is_counted_even_when_it_failed_or_was_cancelled() -> None:
    run = asked()
    fail(run, usage=PAID)
    run.tell(TimerFired(f"retry:{S}"), "timer")
    run.tell(UserInterrupted())
    run.tell(EffectCancelled(next(iter(run.snapshot.pending)), partial="He", usage=PAID), "model")
    assert run.last.record.view == (AddPartial(),)
    run.tell(UserResumed())
    run.tell(EffectCancelled(run.effect.id, usage=PAID), "model")  # gave up by itself
    usage = run.snapshot.usage
    assert (usage.turns, usage.input_tokens, usage.output_tokens, usage.cost) == (0, 300, 30, 15_000)


def test_a_reply_is_counted_once_and_its_price_may_be_unknown() -> None:
    run = asked()
    run.reply(text="hi", usage=TokenUsage(50, 5))
    assert run.snapshot.usage == Usage(
        turns=1, input_tokens=50, output_tokens=5, unpriced=1, context=55
    )
    assert run.last.record.view == (AddReply(),)


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize(
    ("which", "budgets", "more"),
    [
        ("turns", Budgets(turns=1), 1),
        ("tokens", Budgets(tokens=110), 1),
        ("usd", Budgets(usd=5_000), 1),
    ],
)
def test_a_spent_budget_is_raised_instead_of_the_work_and_can_be_extended(
    which: str, budgets: Budgets, more: int
) -> None:
    run = asked(budgets=budgets)
    run.reply(text="hi", usage=PAID)
    made = run.tell(UserMessage("again"))
    assert (run.leaf, made.effects, run.snapshot.spent) == ("over_budget", (), which)
    assert resting(run.machine, run.snapshot) == Rest("budget", "over_budget", which)
    made = run.tell(UserResumed())
    assert (run.leaf, made.effects) == ("over_budget", ()), "resuming alone does not help"
    made = run.tell(BudgetExtended(which, more))
    assert [type(e) for e in made.effects] == [CallModel]
    assert (run.snapshot.spent, run.snapshot.extended) == ("", {which: more})


@pytest.mark.parametrize("which", ["tokens", "usd"])
def test_a_budget_spent_by_the_reply_itself_stops_its_calls_too(which: str) -> None:
    run = asked(budgets=Budgets(**{which: 110 if which == "tokens" else 5_000}))
    run.reply("read", usage=PAID)
    run.decide("allow")
    assert (run.leaf, run.status()) == ("over_budget", {"c2_0": "allowed"})
    run.tell(BudgetExtended(which, 1_000_000))
    assert [e.call for e in run.running()] == ["c2_0"]


def test_turns_do_not_stop_the_calls_of_the_last_turn() -> None:
    run = asked(budgets=Budgets(turns=1))
    run.reply("read")
    run.decide("allow")
    run.answer()
    assert (run.leaf, run.snapshot.spent) == ("over_budget", "turns")


def test_elapsed_time_is_a_timer_on_the_awake_clock() -> None:
    run = asked(budgets=Budgets(elapsed=HOUR))
    timer = Timer("budget", "", "awake", SECOND + HOUR, "budget")
    assert run.snapshot.timers == {"budget": timer}
    effect = run.effect
    made = run.tell(TimerFired("budget"), "timer")
    assert made.effects == (Cancel(f"s:{run.snapshot.seq}:0", S, effect.id),)
    assert (run.leaf, run.snapshot.spent, run.snapshot.timers) == ("over_budget", "elapsed", {})
    run.tell(EffectCancelled(effect.id), "model")
    run.tell(BudgetExtended("elapsed", HOUR))
    assert run.snapshot.timers["budget"].due == run.awake + HOUR
    assert [type(e) for e in run.last.effects] == [CallModel]


def test_time_that_runs_out_at_rest_stops_the_next_work() -> None:
    run = Run(coding(budgets=Budgets(elapsed=HOUR)))
    assert run.tell(TimerFired("budget"), "timer").outcome == "noted"
    run.tell(UserMessage("x"))
    assert (run.leaf, run.last.effects) == ("over_budget", ())


def test_time_that_ran_out_is_not_given_back_by_extending_another_budget() -> None:
    run = Run(coding(budgets=Budgets(elapsed=HOUR, turns=0)))
    run.tell(TimerFired("budget"), "timer")
    run.tell(UserMessage("x"))
    assert (run.leaf, run.snapshot.spent) == ("over_budget", "turns")
    run.tell(BudgetExtended("turns", 5))
    assert (run.leaf, run.snapshot.spent, run.last.effects) == ("over_budget", "elapsed", ())
    run.tell(BudgetExtended("elapsed", HOUR))
    assert [type(e) for e in run.last.effects] == [CallModel]


def test_a_servers_retry_after_holds_over_a_suspension() -> None:
    patient = ModelDecl("main", "sim/one", longest=HOUR, budget=2 * HOUR)
    run = asked(models={"main": patient})
    fail(run, retry_after=HOUR)
    (timer,) = run.snapshot.timers.values()
    run.tell(HostSuspended("sleep"))
    assert (run.leaf, run.snapshot.timers) == ("suspended", {})
    run.tell(HostWoke(SECOND))
    assert (run.snapshot.timers, run.last.effects) == ({timer.id: timer}, ())
    run.tell(TimerFired(timer.id), "timer")
    assert [type(e) for e in run.last.effects] == [CallModel]


def test_extending_time_that_has_no_limit_sets_none() -> None:
    run = Run(coding())
    assert run.tell(BudgetExtended("elapsed", HOUR)).snapshot.timers == {}


# ---------------------------------------------------------------- the window


def pressed(tokens: int, **rules: Any) -> Run:
    """A message of this size meets a window of 1,000 tokens."""
    run = Run(coding(context=ContextRules(**rules)), windows={"main": 1_000})
    run.tell(UserMessage("x", tokens=tokens))
    return run


def test_a_full_window_is_compacted_before_the_call_and_the_prompt_counts_too() -> None:
    room = bisect.bisect_left(range(801), True, key=lambda n: pressed(n).leaf != S)
    assert 0 < room < 801 - estimate("You work.")  # the tools count, too
    run = pressed(room)
    assert run.last.effects == (CompactContext("s:1:0", "working.compacting", 400, 0, room),)
    assert [t.event for t in run.last.record.taken] == ["user.message", "context.pressed"]


def test_the_window_presses_once_per_reply_then_the_provider_has_the_word() -> None:
    run = pressed(900)
    made = run.tell(ContextCompacted(run.effect.id, ["1.0"], "sum", 900, 850), "compact")
    assert (run.leaf, made.record.view) == (S, (Replace(),))
    assert run.snapshot.usage.context == 850
    run.tell(ModelOverflowed(run.effect.id), "model")
    effect = run.effect
    key = f"s:{run.snapshot.seq}:0"
    assert effect == CompactContext(key, "working.compacting", 200, 1, 1_001, 1_177_647)
    run.tell(ContextStuck(effect.id, "pinned"), "compact")
    assert run.leaf == "ready"
    run.tell(UserMessage("y"))
    run.tell(ContextCompacted(run.effect.id, ["2.0"], "sum", 850, 400), "compact")
    run.reply(text="ok")
    assert run.snapshot.compactions == 0
    run.tell(UserMessage("z", tokens=300))
    assert run.leaf == "working.compacting"


def test_without_a_known_window_nothing_presses() -> None:
    run = Run(coding(), windows={})
    run.tell(UserMessage("x", tokens=10**9))
    assert run.leaf == S


# ---------------------------------------------------------------- timers


def test_after_fires_at_its_due_time_and_leaves_with_its_state() -> None:
    run = SITUATIONS["approval"]()
    (timer,) = run.snapshot.timers.values()
    assert timer == Timer(
        "after.working.awaiting_approval.0", "working.awaiting_approval", "wall", run.at + 24 * HOUR
    )
    made = run.tell(TimerFired(timer.id), "timer")
    assert run.leaf == S
    assert run.view() == [("c2_0", "interrupted"), ("c2_1", "expired"), ("c2_2", "expired")]
    assert [type(e) for e in made.effects] == [CallModel]
    assert run.tell(TimerFired(timer.id), "timer").outcome == "noted"


WAIT = {
    "wait": {
        "kind": "wait",
        "config": f'{{"for":{HOUR}}}',
        "on": {"wait.over": "done", "host.suspended": "nap", "user.message": "wait"},
    },
    "nap": {"kind": "suspend", "on": {"host.woke": "wait", "user.message": "done"}},
    "done": {"on": {"user.resumed": "wait"}},
}


def test_a_wait_ends_by_its_timer() -> None:
    run = Run(machine(WAIT))
    timer = Timer("wait:wait", "wait", "wall", T0 + SECOND + HOUR, "wait")
    assert run.snapshot.timers == {timer.id: timer}
    run.tell(TimerFired(timer.id), "timer")
    assert (run.leaf, run.snapshot.timers) == ("done", {})


@pytest.mark.parametrize("kind", ["wait", "after"])
def test_a_due_time_is_kept_over_a_suspension_and_only_over_that(kind: str) -> None:
    after = {"wait": {"after": {HOUR: "done"}, "on": WAIT["wait"]["on"]}}
    run = Run(machine(WAIT if kind == "wait" else WAIT | after))
    (due,) = [t.due for t in run.snapshot.timers.values()]
    run.tell(HostSuspended(), "host")
    assert run.snapshot.timers == {}
    run.tell(HostWoke(), "host", wait=HOUR // 2)
    assert [t.due for t in run.snapshot.timers.values()] == [due]
    assert run.snapshot.kept_timers == {}
    run.tell(UserMessage("restart"))
    (again,) = [t.due for t in run.snapshot.timers.values()]
    assert again == run.at + HOUR
    run.tell(HostSuspended(), "host")
    run.tell(UserMessage("give up"))
    assert run.snapshot.kept_timers == {}
    run.tell(UserResumed())
    assert [t.due for t in run.snapshot.timers.values()] == [run.at + HOUR]


def test_the_awake_clock_never_runs_backwards() -> None:
    run = SITUATIONS["ready"]()
    before = run.snapshot.awake
    run.awake = 0
    assert run.tell(UserMessage("x"), wait=0).snapshot.awake == before


def test_a_prompt_that_cannot_be_rendered_is_an_error_of_the_spec() -> None:
    run = asked(prompts={"system": "{{ vars.nothing }}"})
    assert run.leaf == "ready"
    assert "prompt `system`" in run.last.record.said[0].text
    assert run.last.effects == ()
    bare = machine({"m": {"kind": "model", "prompt": "p"}}, prompts={"p": "{{ nope }}"})
    assert Run(changed(bare)).snapshot.stuck.startswith("prompt `p` at ")
