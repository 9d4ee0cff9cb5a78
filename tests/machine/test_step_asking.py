"""A plugin's kind that asks models: what it consumes counts, and a spent budget stops it first."""

import json
from typing import Any

import pytest

from loopspec.effects import Cancel, CompactContext, Perform
from loopspec.event_base import TokenUsage
from loopspec.events import (
    BudgetExtended,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    Kept,
    UserInterrupted,
)
from loopspec.machine.model import Budgets, Field, Kind, ModelDecl
from loopspec.machine.named import asides, models_of, rendered, templates_of
from loopspec.snapshot import Usage
from machine.builders import Run, machine

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "model": {"type": "string", "format": "model"},
            "others": {"type": "array", "items": {"type": "string", "format": "model"}},
            "texts": {
                "type": "object",
                "additionalProperties": {"type": "string", "format": "template"},
            },
            "plain": {"type": "string"},
        },
    }
)
DONE = '{"properties":{"n":{"type":"integer"}}}'
QUIZ = Kind("quiz", "one", "perform", "quiz", {"quiz.done": DONE}, schema=SCHEMA)
SPENT = TokenUsage(100, 20, cost=5_000)


def quiz(config: dict[str, Any], **changes: Any) -> Run:
    """A quiz that begins at once and is asked again and again."""
    states = {
        "on_it": {
            "initial": "asking",
            "on": {
                "budget.exhausted": "spent",
                "user.interrupted": "off",
                "error.execution": {"target": "off", "do": [("say", "{{ event.error }}")]},
            },
            "states": {
                "asking": {
                    "kind": "quiz",
                    "config": json.dumps(config),
                    "on": {"quiz.done": "asking", "effect.failed": "asking"},
                }
            },
        },
        "spent": {"on": {"budget.extended": "on_it"}},
        "off": {"on": {"user.resumed": "on_it"}},
    }
    models = {"main": ModelDecl("main", "sim/one"), "judge": ModelDecl("judge", "sim/two")}
    return Run(machine(states, kinds={"quiz": QUIZ}, models=models, **changes))


def effect(run: Run) -> str:
    """The id of the one quiz that is under way."""
    (made,) = run.last.effects
    assert isinstance(made, Perform)
    return made.id


def answers(key: str) -> list[Kept]:
    """Every answer that can carry what was consumed."""
    return [
        EffectAnswered(key, "quiz.done", '{"n":1}', SPENT),
        EffectFailed(key, "broken", SPENT),
        EffectCancelled(key, usage=SPENT),
    ]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["answered", "failed", "given up"])
def test_what_a_performer_consumed_counts_however_it_ends(which: int) -> None:
    run = quiz({"model": "judge"})
    run.tell(answers(effect(run))[which], "quiz")
    assert run.snapshot.usage == Usage(input_tokens=100, output_tokens=20, cost=5_000)
    assert run.snapshot.usage.turns == 0


@pytest.mark.parametrize("which", [0, 1, 2], ids=["answered", "failed", "cancelled"])
def test_it_counts_too_when_the_state_was_left_before(which: int) -> None:
    run = quiz({"model": "judge"})
    key = effect(run)
    run.tell(UserInterrupted())
    assert [type(e) for e in run.last.effects] == [Cancel]
    run.tell(answers(key)[which], "quiz")
    assert run.snapshot.usage == Usage(input_tokens=100, output_tokens=20, cost=5_000)
    assert run.snapshot.configuration == ("off",)


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    run = quiz({"model": "judge"})
    run.tell(EffectAnswered(effect(run), "quiz.done", "{}", TokenUsage(1, 1)), "quiz")
    assert run.snapshot.usage == Usage(input_tokens=1, output_tokens=1, unpriced=1)


@pytest.mark.parametrize(
    ("budgets", "which"), [(Budgets(tokens=240), "tokens"), (Budgets(usd=10_000), "usd")]
)
def test_a_spent_budget_stops_the_next_quiz_before_it_begins(budgets: Budgets, which: str) -> None:
    run = quiz({"model": "judge"}, budgets=budgets)
    run.tell(EffectAnswered(effect(run), "quiz.done", "{}", SPENT), "quiz")
    assert len(run.last.effects) == 1
    run.tell(EffectAnswered(effect(run), "quiz.done", "{}", SPENT), "quiz")
    assert (run.snapshot.configuration, run.snapshot.spent, run.last.effects) == (("spent",), which, ())
    run.tell(BudgetExtended(which, 1))
    assert len(run.last.effects) == 1


def test_a_kind_that_asks_no_model_is_not_stopped_by_a_budget() -> None:
    run = quiz({"plain": "judge"}, budgets=Budgets(tokens=1, usd=1))
    run.tell(EffectAnswered(effect(run), "quiz.done", "{}", SPENT), "quiz")
    assert len(run.last.effects) == 1


def test_models_are_found_where_the_schema_marks_them() -> None:
    config = {"model": "judge", "others": ["main", "judge"], "plain": "main", "texts": {"a": "main"}}
    made = quiz(config).machine
    assert models_of(made, "on_it.asking") == ("judge", "main")
    assert models_of(made, "on_it") == models_of(made, "off") == ()
    assert templates_of(made, "on_it.asking") == ("main",)


def test_marked_texts_are_rendered_when_the_work_begins_and_stand_so_in_the_effect() -> None:
    config = {"texts": {"a": "{{ vars.n + 1 }} of {{ session.name }}"}, "plain": "{{ vars.n }}"}
    run = quiz(config, vars={"n": ("int", "1")})
    (made,) = run.last.effects
    assert isinstance(made, Perform)
    assert json.loads(made.config) == {"texts": {"a": "2 of test"}, "plain": "{{ vars.n }}"}


def test_a_text_that_cannot_be_rendered_is_an_error_of_the_spec_and_nothing_begins() -> None:
    run = quiz({"texts": {"a": "{{ inputs.sizes.left }}"}}, inputs={"sizes": Field("json", "{}")})
    assert run.last.effects == ()
    assert run.snapshot.configuration == ("off",)
    (said,) = run.last.record.said
    assert said.text.startswith("a text of `on_it.asking` at ")


def test_a_configuration_without_marked_texts_stays_as_it_is_written() -> None:
    assert rendered(SCHEMA, '{"plain": "{{ x }}"}', str.upper) == '{"plain": "{{ x }}"}'
    assert rendered("{}", '{"a":1}', str.upper) == '{"a":1}'


def test_the_conversation_is_not_made_to_fit_a_model_that_only_judges() -> None:
    states = {
        "small": {"kind": "compact", "on": {"context.compacted": "judged"}},
        "judged": {"kind": "quiz", "config": '{"model": "judge"}', "on": {"quiz.done": "talking"}},
        "talking": {"kind": "model"},
    }
    models = {
        "main": ModelDecl("main", "sim/one", window=100_000),
        "judge": ModelDecl("judge", "sim/two", window=1_000),
    }
    made = machine(states, kinds={"quiz": QUIZ}, models=models)
    assert asides(made) == {"judge"}
    (effect,) = Run(made).last.effects
    assert isinstance(effect, CompactContext) and effect.target == 40_000
