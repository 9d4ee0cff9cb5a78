"""Pressing: once for an input, a breaker, what a refusal teaches, and models with smaller windows."""

from typing import Any

import pytest

from loopspec.effects import CallModel, Cancel, CompactContext
from loopspec.events import (
    AttemptFailed,
    CompactionRequested,
    ContextCompacted,
    ContextStuck,
    EffectCancelled,
    EffectFailed,
    ModelChosen,
    ModelOverflowed,
    ModelReplied,
    TokenUsage,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import ContextRules, ModelDecl
from machine.builders import Run, changed, machine

MODEL = ModelDecl("main", "sim/one", attempts=1)
TREE: dict[str, Any] = {
    "ready": {
        "kind": "input",
        "on": {"user.message": "streaming", "compaction.requested": "tidying"},
    },
    "streaming": {
        "kind": "model",
        "on": {
            "model.replied": "ready",
            "model.failed": {
                "target": "ready",
                "do": [("say", "{{ event.reason }}: {{ event.detail }}")],
            },
            "context.pressed": "compacting",
            "model.overflowed": "compacting",
            "user.interrupted": "stopped",
        },
    },
    "compacting": {
        "kind": "compact",
        "on": {
            "context.compacted": "streaming",
            "context.stuck": {"target": "ready", "do": [("say", "{{ event.reason }}")]},
            "user.interrupted": "stopped",
        },
    },
    "tidying": {"kind": "compact", "on": {"context.compacted": "ready", "context.stuck": "ready"}},
    "stopped": {
        "kind": "interrupt",
        "on": {"user.resumed": "back", "user.message": "streaming"},
    },
    "back": {"always": {"target": "streaming"}},
}


def begun(window: int = 1_000, *, rules: ContextRules = ContextRules(), **changes: Any) -> Run:  # noqa: B008
    plain: dict[str, Any] = {"models": {"main": MODEL}, "context": rules}
    return Run(machine(TREE, **{**plain, **changes}), windows={"main": window} if window else {})


def full(window: int = 1_000, **changes: Any) -> Run:
    """A message of nine tenths of the window has come, and the view presses."""
    run = begun(window, **changes)
    run.tell(UserMessage("x", tokens=900))
    assert run.leaf == "compacting"
    return run


def compacted(run: Run, before: int = 900, after: int = 300, **more: Any) -> Any:
    return run.tell(ContextCompacted(run.effect.id, ["1.0"], "s", before, after, **more), "compact")


def overflow(run: Run, detail: str = "") -> Any:
    return run.tell(ModelOverflowed(run.effect.id, detail), "model")


def said(run: Run) -> list[str]:
    """What the last step said to a person."""
    return [s.text for s in run.last.record.said]


def counted(run: Run) -> tuple[int, int, int, int]:
    snapshot = run.snapshot
    return snapshot.presses, snapshot.overflows, snapshot.squeezed, snapshot.unsqueezed


# ---------------------------------------------------------------- one input


def test_pressure_compacts_once_and_a_refusal_once_more_and_then_it_has_failed() -> None:
    run = full()
    compacted(run, 900, 850)
    assert run.leaf == "streaming"  # still above 800, but the provider has the word now
    overflow(run)
    assert (run.leaf, run.snapshot.compactions) == ("compacting", 1)
    compacted(run, 1000, 900)
    made = overflow(run)
    assert run.leaf == "ready"
    assert said(run) == [
        "overflowed: refused again for its length after 2 compactions: about 1,001 tokens against a "
        "window of 1,000"
    ]
    assert not [e for e in made.effects if isinstance(e, CompactContext)]


def test_a_refusal_without_pressure_is_recovered_from_once() -> None:
    run = begun(0)
    run.tell(UserMessage("x", tokens=900))
    overflow(run)
    assert run.leaf == "compacting"
    compacted(run)
    overflow(run)
    assert (run.leaf, said(run)[0][:60]) == (
        "ready",
        "overflowed: refused again for its length after 1 compaction:",
    )


def test_a_second_refusal_goes_to_the_next_model_where_one_is_declared() -> None:
    run = begun(0, models={"main": changed(MODEL, fallbacks=("sim/large",))})
    run.tell(UserMessage("x", tokens=900))
    overflow(run)
    compacted(run)
    overflow(run)
    assert run.leaf == "streaming"
    effect = run.effect
    assert isinstance(effect, CallModel)
    assert effect.use == "sim/large"


def test_a_reply_and_a_persons_word_begin_another_input() -> None:
    run = full()
    compacted(run, 900, 850)
    assert counted(run) == (1, 0, 1, 1)
    run.reply(text="ok")
    assert counted(run) == (0, 0, 0, 0)
    run.tell(UserMessage("more", tokens=100))
    assert run.leaf == "compacting"
    run.tell(ContextStuck(run.effect.id, "pinned"), "compact")
    assert counted(run) == (1, 0, 1, 1)
    run.tell(UserMessage("again"))
    assert run.leaf == "compacting"
    assert counted(run) == (1, 0, 0, 1)


def test_a_spec_that_compacts_in_a_circle_is_stuck_and_not_busy() -> None:
    tree = {**TREE, "compacting": {"kind": "compact", "on": {
        "context.compacted": "compacting",
        "context.stuck": {"target": "ready", "do": [("say", "{{ event.reason }}")]},
    }}}
    run = Run(machine(tree, models={"main": MODEL}), windows={"main": 1_000})
    run.tell(UserMessage("x", tokens=900))
    made = compacted(run)
    assert (run.leaf, made.effects) == ("ready", ())
    assert said(run) == ["this request was compacted already, and nothing was asked since"]


# ---------------------------------------------------------------- the breaker


def test_three_compactions_that_come_to_nothing_open_the_breaker_until_a_person_asks() -> None:
    run = begun()
    for n in range(3):
        run.tell(UserMessage("x", tokens=900 if not n else 1))
        assert run.leaf == "compacting", n
        run.tell(ContextStuck(run.effect.id, "all is pinned"), "compact")
    made = run.tell(UserMessage("once more"))
    assert (run.leaf, made.effects) == ("ready", ())
    assert said(run) == [
        "3 compactions in a row came to nothing; the next one waits for a reply or for a person to ask"
    ]
    run.tell(CompactionRequested())
    assert (run.leaf, run.snapshot.unsqueezed) == ("tidying", 0)
    assert isinstance(run.effect, CompactContext)


def test_what_frees_too_little_counts_as_nothing_and_a_broken_performer_too() -> None:
    run = full()
    compacted(run, 900, 899)
    assert run.snapshot.unsqueezed == 1
    overflow(run)
    run.tell(EffectFailed(run.effect.id, "it broke"), "compact")
    assert (run.leaf, run.snapshot.unsqueezed) == ("ready", 2)
    run.tell(UserMessage("y"))
    compacted(run, 1001, 100)
    assert run.snapshot.unsqueezed == 0


def test_the_number_of_failures_is_the_specs() -> None:
    run = begun(rules=ContextRules(failures=1))
    run.tell(UserMessage("x", tokens=900))
    run.tell(ContextStuck(run.effect.id, "all is pinned"), "compact")
    run.tell(UserMessage("y"))
    assert (run.leaf, said(run)[0][:24]) == ("ready", "1 compactions in a row c")


# ---------------------------------------------------------------- interrupted (F7)


def test_f7_an_interrupt_during_compaction_keeps_the_view_and_the_next_request_presses_again() -> None:
    run = full()
    effect = run.effect
    made = run.tell(UserInterrupted())
    assert [type(e) for e in made.effects] == [Cancel]
    late = ContextCompacted(effect.id, ["1.0"], "s", 900, 300, usage=TokenUsage(40, 4, cost=9))
    made = run.tell(late, "compact")  # it was faster than its cancellation
    assert (run.leaf, made.record.view, run.snapshot.usage.context) == ("stopped", (), 900)
    assert run.snapshot.usage.cost == 9  # what it took was spent all the same
    run.tell(UserResumed())
    assert run.leaf == "compacting"
    assert run.effect.id != effect.id


def test_f7_a_cancelled_compaction_is_neither_a_failure_nor_a_compaction() -> None:
    run = full()
    effect = run.effect
    run.tell(UserInterrupted())
    run.tell(EffectCancelled(effect.id, usage=TokenUsage(40, 4, cost=9)), "compact")
    assert counted(run)[2:] == (0, 0)
    assert run.snapshot.usage.cost == 9
    run.tell(UserMessage("do it differently"))
    assert run.leaf == "compacting"


# ---------------------------------------------------------------- what counts teach


def test_a_report_scales_the_estimate_and_later_ones_are_smoothed() -> None:
    run = begun()
    run.tell(UserMessage("x", tokens=100))
    run.reply(text="", usage=TokenUsage(200, 10), estimated=100)
    assert (run.snapshot.usage.scale, run.snapshot.usage.context) == (2_000_000, 210)
    run.tell(UserMessage("x", tokens=50))
    assert run.snapshot.usage.context == 310
    run.reply(text="", usage=TokenUsage(400, 0), estimated=400)
    assert run.snapshot.usage.scale == (3 * 2_000_000 + 1_000_000) // 4


@pytest.mark.parametrize(("reported", "scale"), [(1, 250_000), (10**6, 4_000_000), (0, 0)])
def test_a_report_of_something_else_moves_the_estimate_no_further_than_its_bounds(
    reported: int, scale: int
) -> None:
    run = begun()
    run.tell(UserMessage("x", tokens=100))
    run.reply(text="", usage=TokenUsage(reported, 1), estimated=100)
    assert run.snapshot.usage.scale == scale


@pytest.mark.parametrize(
    ("usage", "context"),
    [
        (TokenUsage(10**12, 5), 405),
        (TokenUsage(1, 5), 30),
        (TokenUsage(120, 10**12), 184),
        (TokenUsage(10**30, 10**30), 464),
    ],
)
def test_an_absurd_report_does_not_make_the_view_absurdly_large_or_small(
    usage: TokenUsage, context: int
) -> None:
    run = begun()
    run.tell(UserMessage("x", tokens=100))
    run.reply(text="", usage=usage, estimated=100)
    assert run.snapshot.usage.context == context


@pytest.mark.parametrize(
    ("detail", "window", "context"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in "
            "9000 tokens.",
            8192,
            9000,
        ),
        ("prompt is too long: 210000 tokens > 200,000 maximum", 200_000, 210_000),
        ("the request exceeds the available context size (4096 tokens), try increasing it", 4096, 4097),
        ("too long", 0, 1125),
        ("too long: reduce the context length by 1,200 tokens", 0, 1125),
    ],
)
def test_a_refusal_teaches_the_window_it_names_and_that_the_request_is_larger(
    detail: str, window: int, context: int
) -> None:
    run = begun(0)
    run.tell(UserMessage("x", tokens=900))
    overflow(run, detail)
    assert run.snapshot.windows.get("sim/one", 0) == window
    assert run.snapshot.usage.context == context
    assert run.snapshot.usage.scale == min(4_000_000, context * 1_000_000 // 900)
    effect = run.effect
    assert isinstance(effect, CompactContext)
    assert (effect.target, effect.context) == ((window or 1125) * 4 // 10, context)


def test_a_window_the_provider_names_never_widens_a_known_one() -> None:
    run = begun(1_000)
    run.tell(UserMessage("x", tokens=100))
    overflow(run, "maximum context length is 9000 tokens")
    assert run.snapshot.windows == {"main": 1_000}
    assert run.snapshot.usage.context == 1_001


def test_a_window_smaller_than_a_request_that_was_answered_is_not_believed() -> None:
    run = begun()
    run.tell(UserMessage("x", tokens=300))
    used = TokenUsage(input_tokens=400, output_tokens=10)
    run.tell(ModelReplied(run.effect.id, "Yes.", model="sim/one", usage=used, estimated=400), "model")
    assert run.snapshot.answered == {"sim/one": 400}
    run.tell(UserMessage("y", tokens=20))
    overflow(run, "maximum context length is 100 tokens")
    assert run.snapshot.windows == {"main": 1_000}
    compacted(run, 500, 300)
    overflow(run, "maximum context length is 410 tokens")
    assert run.snapshot.windows == {"main": 1_000, "sim/one": 410}


# ---------------------------------------------------------------- smaller windows


def test_a_smaller_model_is_met_with_a_compacted_view_and_the_old_one_writes() -> None:
    run = begun(10_000)
    run.tell(UserMessage("x", tokens=900))
    run.reply(text="ok")
    run.tell(ModelChosen("main", "sim/small", window=1_000))
    assert run.snapshot.formerly == {"main": "sim/one"}
    run.tell(ModelChosen("main", "sim/smaller", window=900))  # chosen twice: the first had the room
    assert run.snapshot.formerly == {"main": "sim/one"}
    run.tell(UserMessage("y"))
    assert run.leaf == "compacting"
    compacted(run)
    assert run.snapshot.formerly == {}
    effect = run.effect
    assert isinstance(effect, CallModel)
    assert effect.use == "sim/smaller"


def test_a_model_into_which_the_view_fits_leaves_no_trace_of_the_old_one() -> None:
    run = begun(10_000)
    run.tell(UserMessage("x", tokens=100))
    run.reply(text="ok")
    run.tell(ModelChosen("main", "sim/small", window=1_000))
    assert run.snapshot.formerly == {}


def test_a_smaller_window_presses_although_a_larger_one_did() -> None:
    run = full()
    compacted(run, 900, 700)
    assert run.leaf == "streaming"
    run.tell(UserInterrupted())
    (out,) = run.snapshot.pending
    run.tell(EffectCancelled(out), "driver")
    run.tell(ModelChosen("main", "sim/small", window=500))
    run.tell(UserResumed())
    assert run.leaf == "compacting"
    effect = run.effect
    assert isinstance(effect, CompactContext)
    assert effect.target == 500 * 4 // 10 >> 1


def test_nothing_of_pressing_is_in_the_snapshot_of_a_session_that_never_pressed() -> None:
    run = begun()
    run.tell(UserMessage("x", tokens=1))
    run.tell(AttemptFailed(run.effect.id, "provider"), "model")
    snapshot = run.snapshot
    assert counted(run) == (0, 0, 0, 0)
    assert (snapshot.pressed, snapshot.formerly, snapshot.usage.scale) == (0, {}, 0)


# ---------------------------------------------------------------- who writes


def test_the_words_for_a_model_that_writes_are_rendered_into_a_blob() -> None:
    config = '{"model":"main","prompt":"Write about {{ session.id }}."}'
    tree = {**TREE, "compacting": {**TREE["compacting"], "config": config}}
    run = Run(machine(tree, models={"main": MODEL}), windows={"main": 1_000})
    run.tell(UserMessage("x", tokens=900))
    effect = run.effect
    assert isinstance(effect, CompactContext)
    assert run.last.blobs[effect.system] == b"Write about s."


def test_words_that_cannot_be_rendered_are_an_error_and_no_compaction() -> None:
    config = '{"model":"main","prompt":"{{ inputs.nothing }}"}'
    tree = {**TREE, "compacting": {**TREE["compacting"], "config": config}}
    run = Run(machine(tree, models={"main": MODEL}), windows={"main": 1_000})
    made = run.tell(UserMessage("x", tokens=900))
    assert made.effects == ()
    assert "the prompt of `compacting`" in made.snapshot.stuck
