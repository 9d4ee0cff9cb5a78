"""Choosing another model, and asking for a compaction: what follows, and what is refused."""

import pytest

from loopspec.effects import CallModel, CompactContext
from loopspec.events import (
    AttemptFailed,
    CompactionRequested,
    EffectCancelled,
    ModelChosen,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.model import Budgets, ModelDecl
from machine.builders import Run, machine

MODELS = {
    "main": ModelDecl("main", "sim/one", fallbacks=("sim/two",), attempts=1, window=1000),
    "free": ModelDecl("free", "sim/free", unpriced="allow"),
}
TREE = {
    "ready": {
        "kind": "input",
        "on": {"user.message": "streaming", "compaction.requested": "tidying"},
    },
    "streaming": {
        "kind": "model",
        "on": {
            "model.replied": "ready",
            "model.failed": "ready",
            "context.pressed": "tidying",
            "user.interrupted": "stopped",
        },
    },
    "tidying": {
        "kind": "compact",
        "on": {"context.compacted": "ready", "context.stuck": "ready"},
    },
    "stopped": {"kind": "interrupt", "on": {"user.resumed": "streaming"}},
}


def begun(budgets: Budgets = Budgets()) -> Run:  # noqa: B008 - frozen
    return Run(machine(TREE, models=MODELS, budgets=budgets))


def uses(run: Run) -> list[str]:
    """The models called by the newest step."""
    return [e.use for e in run.last.effects if isinstance(e, CallModel)]


def test_the_next_call_goes_to_the_model_that_was_chosen_and_knows_its_window() -> None:
    run = begun()
    made = run.tell(ModelChosen("main", "sim/three", window=5000))
    assert (made.outcome, made.effects) == ("noted", ())
    assert made.snapshot.models == {"main": "sim/three"}
    assert made.snapshot.windows["main"] == 5000
    run.tell(UserMessage("go"))
    assert uses(run) == ["sim/three"]


def test_a_call_that_is_out_is_left_alone_and_the_one_after_it_is_another_models() -> None:
    run = begun()
    run.tell(UserMessage("go"))
    assert uses(run) == ["sim/one"]
    assert run.tell(ModelChosen("main", "sim/three")).effects == ()
    run.tell(UserInterrupted())
    (out,) = run.snapshot.pending
    run.tell(EffectCancelled(out), "driver")
    run.tell(UserResumed())
    assert uses(run) == ["sim/three"]


def test_a_chosen_model_has_no_fallbacks() -> None:
    run = begun()
    run.tell(ModelChosen("main", "sim/three"))
    run.tell(UserMessage("go"))
    run.tell(AttemptFailed(effect=run.effect.id, reason="provider"), "model")
    assert run.snapshot.configuration == ("ready",)
    run.tell(ModelChosen("main"))
    assert run.snapshot.models == {}
    run.tell(UserMessage("again"))
    run.tell(AttemptFailed(effect=run.effect.id, reason="provider"), "model")
    assert uses(run) == ["sim/two"]


@pytest.mark.parametrize(
    ("event", "budgets", "why"),
    [
        (
            ModelChosen("other", "sim/x"),
            Budgets(),
            "the spec declares no model `other`; it has main, free",
        ),
        (
            ModelChosen("main", "sim/x"),
            Budgets(usd=1),
            "the price of sim/x is unknown, so the usd budget could not be kept",
        ),
        (ModelChosen("main", "sim/x", priced=True), Budgets(usd=1), ""),
        (ModelChosen("free", "sim/x"), Budgets(usd=1), ""),
        (ModelChosen("main"), Budgets(usd=1), ""),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(event: ModelChosen, budgets: Budgets, why: str) -> None:
    run = begun(budgets)
    before = run.snapshot
    made = run.tell(event)
    assert made.refusal == why
    assert (made.snapshot == before) is bool(why)


def test_a_compaction_is_asked_for_where_a_route_is_and_refused_elsewhere() -> None:
    run = begun()
    assert "compaction.requested" in run.tell(ModelChosen("other", "x")).accepted
    run.tell(CompactionRequested())
    assert run.snapshot.configuration == ("tidying",)
    assert isinstance(run.effect, CompactContext)
    made = run.tell(CompactionRequested())
    assert made.refusal == "`compaction.requested` leads nowhere from `tidying`"
