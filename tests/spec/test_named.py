"""Keys of a plugin's kind that name models or hold texts: read, checked at their place, and completed."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopspec.check.spec import check_spec
from loopspec.drivers import launch
from loopspec.errors import BadSpec
from loopspec.machine.model import Kind, Machine
from loopspec.spec import schema
from loopspec.spec.parse import Compiled
from spec.kit import KINDS, TOOLS

OWN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "format": "model", "description": "Who judges."},
        "rules": {"type": "array", "items": {"type": "string", "format": "template"}},
    },
}
QUIZ = Kind("quiz", "one", "perform", "quiz", {"quiz.done": "{}"}, schema=json.dumps(OWN))
INSTALLED = {**KINDS, "quiz": QUIZ}
SPEC = """\
loopspec: 1
name: asks
version: 1.0.0
inputs: {topic: {type: string, default: rain}}
models:
  main: {use: scripted/a.yaml}
  judge: {use: scripted/b.yaml}
budgets: {tokens: 1000, elapsed: 1h}
initial: talking
states:
  talking:
    kind: model
    model: main
    on: {context.pressed: over, model.replied: asking, model.overflowed: over, model.failed: over}
  asking:
    kind: quiz
    model: judge
    rules: ["It is about {{ inputs.topic }}."]
    on: {quiz.done: over, effect.failed: over}
  over: {type: final}
"""


def spec(text: str = SPEC) -> str:
    """The spec with every work inside a state that takes what work can raise."""
    head, _, states = text.partition("states:\n")
    inner = states.replace("  over: {type: final}\n", "")
    inner = "".join(f"    {line}\n" for line in inner.splitlines())
    around = "  all:\n    on: {budget.exhausted: over, user.interrupted: over}\n"
    around += "    initial: talking\n    states:\n"
    head = head.replace("initial: talking", "initial: all")
    return f"{head}states:\n{around}{inner}  over: {{type: final}}\n"


def checked(text: str) -> Compiled:
    return check_spec(text, kinds=INSTALLED, tools=TOOLS, name="spec.yaml")


def told(text: str) -> list[tuple[str, str]]:
    """Codes and faults, in order."""
    return [(d.code, d.fault) for d in checked(text).diagnostics]


def machine(text: str) -> Machine:
    made = checked(text).machine
    assert made is not None, told(text)
    return made


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts that the spec names, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("script: 1\nturns: [{reply: x}]\n")


def test_a_kind_may_have_a_key_that_other_kinds_work_with(scripts: None) -> None:
    made = checked(spec())
    assert made.diagnostics == [] and made.machine is not None
    state = made.machine.states["all.asking"]
    assert (state.model, json.loads(state.config)["model"]) == ("", "judge")
    assert [m.name for m in launch.used_models(made.machine)] == ["main", "judge"]
    assert launch.preflight(made.machine).keys() == {"main", "judge"}


@pytest.mark.parametrize(
    ("old", "new", "wanted", "near"),
    [
        ("model: judge", "model: jugde", ("LS202", "no model called `jugde` is declared"), ("judge",)),
        (
            "model: judge",
            "model: scripted/b.yaml",
            ("LS202", "no model called `scripted/b.yaml` is declared"),
            ("judge",),
        ),
        (
            "inputs.topic }}.\"",
            "inputs.topics }}.\"",
            (
                "LS403",
                "a text of the kind `quiz`: `inputs.topics`: `inputs` has no `topics` here; it has topic",
            ),
            ("inputs.topic",),
        ),
        ("rules:", "rule:", ("LS101", "`rule` is no key of the kind `quiz`"), ("rules",)),
    ],
)  # fmt: skip
def test_faults_are_told_at_their_place(
    old: str, new: str, wanted: tuple[str, str], near: tuple[str, ...]
) -> None:
    text = spec().replace(old, new)
    found = next(d for d in checked(text).diagnostics if d.code == wanted[0])
    line = next(n for n, one in enumerate(text.splitlines(), 1) if new in one and "use:" not in one)
    assert ((found.code, found.fault), found.line) == (wanted, line)
    assert near[0] in found.near


def test_a_key_of_work_that_the_kind_does_not_declare_is_refused_as_ever() -> None:
    text = spec().replace("model: judge", "model: judge\n        prompt: x")
    assert [code for code, _ in told(text)] == ["LS506"]
    found = told(spec().replace("kind: quiz", "kind: lint"))
    fault = "a state of kind `lint` cannot have `model`: only a kind that calls a model can"
    assert ("LS506", fault) in found


def test_what_may_ask_a_model_routes_a_spent_budget() -> None:
    text = spec().replace("on: {budget.exhausted: over, user", "on: {user")
    faults = [fault for code, fault in told(text) if code == "LS308"]
    assert [fault.split(",")[0] for fault in faults] == [
        "`all.talking` can end with `budget.exhausted`",
        "`all.asking` can end with `budget.exhausted`",
    ]


def test_models_and_inputs_that_only_a_kind_names_are_used() -> None:
    without = spec().replace('    rules: ["It is about {{ inputs.topic }}."]\n', "\n")
    assert told(without) == [("LS709", "the input `topic` is never read")]
    other = spec().replace("model: judge", "model: main")
    assert told(other) == [("LS709", "the model `judge` is never called")]


def test_a_usd_budget_refuses_a_judge_of_unknown_price(scripts: None) -> None:
    text = spec().replace("scripted/b.yaml", "ollama/unheard-of").replace("tokens: 1000", "usd: 1.00")
    with pytest.raises(BadSpec, match="the price of ollama/unheard-of is unknown"):
        launch.preflight(machine(text))
    allowed = text.replace("unheard-of}", "nobody-knows-it, unpriced: allow}")
    assert launch.preflight(machine(allowed)).keys() == {"main", "judge"}


def test_editors_complete_the_keys_and_meet_no_unknown_format() -> None:
    from jsonschema import Draft202012Validator

    made = schema.build(INSTALLED, TOOLS, closed=True)
    assert '"format": "model"' not in json.dumps(made) and '"template"' not in json.dumps(made)
    state: dict[str, Any] = {"kind": "quiz", "model": "judge", "rules": ["a"], "on": {"a.b": "over"}}
    validator = Draft202012Validator(made)

    def faults(state: dict[str, Any]) -> list[str]:
        spec = {"loopspec": 1, "name": "a", "version": "1.0.0", "initial": "one"}
        spec |= {"models": {"judge": {"use": "scripted/a.yaml"}}, "states": {"one": state}}
        return [error.message for error in validator.iter_errors(spec)]

    assert faults(state) == []
    assert faults(state | {"prompt": "x"}) != []
    assert "'model' is a required property" in faults({k: v for k, v in state.items() if k != "model"})
