"""After a failed attempt: waits, the next model, going on from a partial text, and what is kept of it."""

from typing import Any

import pytest

from loopspec.context.transcript import Item, apply
from loopspec.effects import CallModel, Cancel
from loopspec.events import (
    AttemptFailed,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    HostSuspended,
    HostWoke,
    Kept,
    ModelChosen,
    ModelReplied,
    TimerFired,
    TokenUsage,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.journal.entry import Entry
from loopspec.machine.model import Budgets, Machine, ModelDecl
from loopspec.machine.step import Step
from loopspec.record import AddPartial, AddReply, Left
from loopspec.snapshot import Activation
from machine.builders import HOUR, SECOND, Run, coding

S = "working.streaming"
RETRY = f"retry:{S}"
NEVER = 10 * HOUR


def of(run: Run) -> CallModel:
    """The attempt that is out."""
    effect = run.effect
    assert isinstance(effect, CallModel)
    return effect


def asked(**changes: Any) -> Run:
    """The model has been asked; its declaration has these changes."""
    plain: dict[str, Any] = {"attempts": 3, "base": SECOND, "cap": 8 * SECOND, "breaker": 0}
    decl = ModelDecl("main", "sim/one", **{**plain, **changes})
    run = Run(coding(models={"main": decl}))
    run.tell(UserMessage("x", tokens=10))
    return run


def fail(run: Run, reason: str = "truncated", **changes: Any) -> Step:
    """The attempt that is out fails."""
    plain: dict[str, Any] = {"retryable": True, "jitter": 1_000_000}
    return run.tell(AttemptFailed(run.effect.id, reason, **{**plain, **changes}), "model")


def broke(run: Run, text: str, **changes: Any) -> Step:
    """The attempt that is out breaks off in its text, and the model could go on from there."""
    return fail(run, partial=text, resumable=True, **changes)


def again(run: Run) -> CallModel:
    """The wait is over."""
    run.tell(TimerFired(RETRY), "timer")
    return of(run)


def act(run: Run) -> Activation:
    """What is known about the state."""
    return run.snapshot.activations[S]


# ---------------------------------------------------------------- waits


def test_f5_thirty_times_retry_after_one_second_the_waits_grow_and_none_is_shorter() -> None:
    run = asked(attempts=31, cap=60 * SECOND, budget=NEVER)
    waits = []
    for n in range(30):
        fail(run, "rate_limited", retry_after=SECOND, jitter=500_000)
        waits.append(run.snapshot.timers[RETRY].due - run.snapshot.awake)
        assert again(run).attempt == n + 2
    assert waits[:7] == [SECOND + (SECOND << n) // 2 for n in range(6)] + [31 * SECOND]
    assert set(waits[6:]) == {31 * SECOND}
    assert act(run).waited == sum(waits)
    assert run.reply(text="at last").snapshot.usage.turns == 1


@pytest.mark.parametrize(("asked_for", "goes_on"), [(60, False), (61, True), (86_400, True)])
def test_who_asks_for_too_long_a_wait_is_left_at_once(asked_for: int, goes_on: bool) -> None:
    run = asked(fallbacks=("sim/two",), longest=60 * SECOND)
    made = fail(run, "overloaded", retry_after=asked_for * SECOND)
    assert (RETRY in run.snapshot.timers) is not goes_on
    if goes_on:
        assert (of(run).use, of(run).rung, of(run).attempt) == ("sim/two", 1, 1)
        left = Left("sim/one", "wait", "overloaded", 1, asked_for * SECOND)
        assert made.record.left == (left,)


def test_without_another_model_too_long_a_wait_is_the_end() -> None:
    run = asked(longest=60 * SECOND)
    made = fail(run, "rate_limited", retry_after=HOUR, detail="come back later")
    assert (run.leaf, run.snapshot.timers, made.effects) == ("ready", {}, ())
    assert made.record.left == (Left("sim/one", "wait", "rate_limited", 1, HOUR),)


def test_all_waits_of_one_call_together_have_a_budget_over_all_its_models() -> None:
    run = asked(attempts=9, cap=4 * SECOND, budget=8 * SECOND, fallbacks=("sim/two", "sim/three"))
    seen: list[tuple[str, int]] = []
    left: list[Left] = []
    while run.leaf == S:
        seen.append((of(run).use, of(run).attempt))
        left += fail(run, "connection").record.left
        if RETRY in run.snapshot.timers:
            run.tell(TimerFired(RETRY), "timer")
    one = [("sim/one", n) for n in (1, 2, 3, 4)]  # 1 + 2 + 4 s, and 4 more would be too long
    assert seen == [*one, ("sim/two", 1), ("sim/two", 2), ("sim/three", 1)]
    assert left == [
        Left("sim/one", "waited", "connection", 4),
        Left("sim/two", "waited", "connection", 2),
        Left("sim/three", "waited", "connection", 1),
    ]


def test_the_next_call_waits_on_its_own_account() -> None:
    run = asked(budget=SECOND)
    fail(run, "connection")
    again(run)
    run.reply(text="ok")
    run.tell(UserMessage("y"))
    assert fail(run, "connection").record.left == ()
    assert act(run).waited == SECOND


@pytest.mark.parametrize(("which", "budgets"), [("tokens", Budgets(tokens=30)), ("usd", Budgets(usd=9))])
def test_budgets_are_asked_before_every_attempt(which: str, budgets: Budgets) -> None:
    run = Run(coding(budgets=budgets, models={"main": ModelDecl("main", "sim/one", attempts=9)}))
    run.tell(UserMessage("x"))
    spent = TokenUsage(10, 5, cost=5)
    broke(run, "so f", usage=spent)
    again(run)
    broke(run, "so far", usage=spent)
    made = run.tell(TimerFired(RETRY), "timer")
    assert (run.leaf, run.snapshot.spent, made.effects) == ("over_budget", which, ())
    assert run.snapshot.usage.tokens == 30
    assert made.record.view == (AddPartial("so far"),)


def test_time_that_runs_out_while_waiting_ends_the_call_and_keeps_what_had_come() -> None:
    run = Run(coding(budgets=Budgets(elapsed=HOUR)))
    run.tell(UserMessage("x"))
    broke(run, "so far")
    made = run.tell(TimerFired("budget"), "timer")
    assert (run.leaf, run.snapshot.spent) == ("over_budget", "elapsed")
    assert (made.record.view, run.snapshot.timers) == ((AddPartial("so far"),), {})


# ---------------------------------------------------------------- the next model


@pytest.mark.parametrize("reason", ["auth", "no_key", "unknown_model", "bad_request", "refused"])
def test_a_final_reason_leads_straight_to_the_next_model_and_says_why(reason: str) -> None:
    run = asked(fallbacks=("sim/two",))
    first = of(run).id
    made = fail(run, reason, retryable=False)
    effect = of(run)
    assert (effect.use, effect.attempt, effect.rung, effect.after) == ("sim/two", 1, 1, first)
    assert made.record.left == (Left("sim/one", "final", reason, 1),)


def test_after_the_last_model_the_call_has_failed_and_every_model_was_named() -> None:
    run = asked(attempts=1, fallbacks=("sim/two", "sim/one"))
    left = [*fail(run, "stalled").record.left, *fail(run, "timeout", detail="late").record.left]
    assert left == [Left("sim/one", "attempts", "stalled", 1), Left("sim/two", "attempts", "timeout", 1)]
    assert run.leaf == "ready"
    assert [s.text for s in run.last.record.said] == ["The model could not be reached: timeout"]


def test_a_broken_performer_is_no_fault_of_the_service() -> None:
    run = asked(fallbacks=("sim/two",), breaker=1)
    made = run.tell(EffectFailed(run.effect.id, "no plugin"), "model")
    assert made.record.left == (Left("sim/one", "final", "performer", 1),)
    assert (of(run).use, run.snapshot.breakers) == ("sim/two", {})


def test_a_model_that_a_person_chooses_meanwhile_is_asked_next_and_anew() -> None:
    run = asked(fallbacks=("sim/two",))
    broke(run, "so far")
    run.tell(ModelChosen("main", "sim/mine"))
    effect = again(run)
    assert (effect.use, effect.attempt, effect.rung, effect.continues) == ("sim/mine", 1, 0, -1)


def test_a_smaller_window_of_a_fallback_presses_before_it_is_asked() -> None:
    decl = ModelDecl("main", "sim/one", fallbacks=("sim/small",), attempts=1)
    run = Run(coding(models={"main": decl}), windows={"main": 100_000, "sim/small": 9_000})
    run.tell(UserMessage("x", tokens=8_000))
    assert of(run).use == "sim/one"
    made = broke(run, "so far")
    assert (run.leaf, run.last.record.taken[0].event) == ("working.compacting", "context.pressed")
    assert made.record.view == (AddPartial("so far"),)


# ---------------------------------------------------------------- going on


def test_a_broken_text_is_continued_by_the_same_model_from_the_entry_it_stands_in() -> None:
    run = asked()
    first = of(run).id
    broke(run, "Once upon")
    seq = run.snapshot.seq
    effect = again(run)
    assert (effect.attempt, effect.after, effect.continues) == (2, first, seq)
    made = run.reply(text="Once upon a time.")
    assert made.record.view == (AddReply(),)
    assert run.leaf == "ready"


def test_what_the_next_attempt_added_is_what_the_third_goes_on_from() -> None:
    run = asked()
    broke(run, "Once")
    again(run)
    broke(run, "Once upon")
    seq = run.snapshot.seq
    assert again(run).continues == seq
    assert act(run).partial == "Once upon"


def test_an_attempt_that_brings_nothing_leaves_the_text_it_went_on_from() -> None:
    run = asked(attempts=9)
    broke(run, "Once upon")
    seq = run.snapshot.seq
    again(run)
    fail(run, "connection")
    assert (again(run).continues, act(run).stale) == (seq, 1)


def test_what_does_not_grow_twice_is_asked_anew_and_may_then_be_continued_again() -> None:
    run = asked(attempts=9)
    broke(run, "Once upon")
    assert again(run).continues == run.snapshot.seq - 1
    broke(run, "Once upon")
    assert again(run).continues == run.snapshot.seq - 1
    broke(run, "Once upon")
    effect = again(run)
    assert (effect.continues, effect.attempt) == (-1, 4)
    assert act(run).partial == "Once upon", "nothing that was received is thrown away"
    broke(run, "It")
    assert again(run).continues == run.snapshot.seq - 1


def test_growing_in_between_starts_the_count_anew() -> None:
    run = asked(attempts=9)
    texts = ("One", "One", "One two", "One two", "One two three")
    for text in texts:
        broke(run, text)
        assert again(run).continues == run.snapshot.seq - 1


@pytest.mark.parametrize(("resumable", "kept"), [(False, ""), (False, '[{"call":"half"}]')])
def test_what_cannot_be_continued_is_asked_anew(resumable: bool, kept: str) -> None:
    run = asked()
    fail(run, partial="Once", resumable=resumable, kept=kept)
    effect = again(run)
    assert (effect.continues, effect.attempt) == (-1, 2)
    assert effect.after


def test_another_model_never_continues_and_the_first_one_s_text_is_kept_when_all_fail() -> None:
    run = asked(attempts=1, fallbacks=("sim/two",))
    broke(run, "Once upon")
    assert (of(run).use, of(run).continues) == ("sim/two", -1)
    made = fail(run, "connection")
    assert made.record.view == (AddPartial("Once upon"),)
    assert run.snapshot.activations.get(S) is None


def test_a_service_that_refuses_to_go_on_is_asked_anew_before_it_is_left() -> None:
    run = asked(fallbacks=("sim/two",))
    broke(run, "Once upon")
    again(run)
    fail(run, "bad_request", retryable=False)
    effect = again(run)
    assert (effect.use, effect.attempt, effect.continues) == ("sim/one", 3, -1)
    made = fail(run, "bad_request", retryable=False)
    assert made.record.left == (Left("sim/one", "final", "bad_request", 3),)


def test_a_killed_process_costs_no_attempt_and_its_text_is_kept() -> None:
    run = asked(attempts=1)
    fail(run, "restart", partial="Once")
    effect = of(run)
    assert (effect.attempt, effect.continues, RETRY in run.snapshot.timers) == (1, -1, False)
    fail(run, "restart", partial="Once upon", resumable=True)
    assert of(run).continues == run.snapshot.seq
    run.tell(UserInterrupted())
    (target,) = run.snapshot.pending
    made = run.tell(EffectCancelled(target, started=False), "model")
    assert made.record.view == (AddPartial("Once upon"),)


# ---------------------------------------------------------------- what is kept, once


def seen(machine: Machine, told: list[tuple[Kept, Step]]) -> list[Item]:
    """The view after these steps."""
    items: list[Item] = []
    for seq, (event, made) in enumerate(told, 1):
        plain: dict[str, Any] = {f: "" for f in Entry.__struct_fields__}
        entry = Entry(**{**plain, "seq": seq, "event": event, "record": made.record})
        apply(items, entry)
    return items


def test_interrupted_while_it_waits_the_text_enters_the_view_once() -> None:
    run = asked()
    broke(run, "Once upon")
    made = run.tell(UserInterrupted())
    assert (run.leaf, made.record.view, made.effects) == ("interrupted", (AddPartial("Once upon"),), ())
    items = seen(run.machine, [(UserInterrupted(), made)])
    assert [(i.role, i.text, i.partial) for i in items] == [("assistant", "Once upon", True)]
    before = run.snapshot.usage.context
    run.tell(UserResumed())
    assert (of(run).continues, of(run).after, act(run).partial) == (-1, "", "")
    assert run.snapshot.usage.context == before
    assert run.tell(UserInterrupted()).record.view == ()


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (lambda key: EffectCancelled(key, partial="Once upon a"), AddPartial()),
        (lambda key: EffectCancelled(key, started=False), AddPartial("Once upon")),
        (lambda key: EffectLost(key, "hung"), AddPartial("Once upon")),
        (lambda key: EffectFailed(key, "broke"), AddPartial("Once upon")),
        (lambda key: AttemptFailed(key, "stalled", partial="Once upon a"), AddPartial()),
        (lambda key: ModelReplied(key, text="Once upon a time."), AddReply()),
    ],
)
def test_interrupted_while_it_goes_on_only_the_last_of_it_enters_the_view(
    answer: Any, shown: AddPartial | AddReply
) -> None:
    run = asked()
    broke(run, "Once upon")
    effect = again(run)
    made = run.tell(UserInterrupted())
    assert [type(e) for e in made.effects] == [Cancel]
    assert made.record.view == ()
    assert run.tell(answer(effect.id), "model").record.view == (shown,)
    assert run.snapshot.pending == {}


def test_a_call_that_fails_for_good_shows_its_own_text_from_its_own_entry() -> None:
    run = asked(attempts=1)
    made = broke(run, "Once upon")
    assert made.record.view == (AddPartial(),)
    assert run.leaf == "ready"


def test_parked_and_woken_the_text_is_in_the_view_and_the_server_s_wait_holds() -> None:
    run = asked()
    broke(run, "Once upon", reason="rate_limited", retry_after=30 * SECOND)
    due = run.snapshot.timers[RETRY].due
    made = run.tell(HostSuspended("lid"))
    assert (run.leaf, made.record.view) == ("suspended", (AddPartial("Once upon"),))
    run.tell(HostWoke(SECOND))
    assert (run.snapshot.timers[RETRY].due, act(run).phase, act(run).partial) == (due, "retrying", "")
    assert again(run).continues == -1


def test_a_performer_that_gives_up_by_itself_loses_nothing() -> None:
    run = asked(attempts=1)
    made = run.tell(EffectCancelled(run.effect.id, partial="Once"), "model")
    assert made.record.view == (AddPartial(),)
