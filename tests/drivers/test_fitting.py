"""F19, a window smaller than what goes before every conversation: told before the start, or fitted."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine.builders import Run
from models.model_helpers import RecordingWorld

from loopspec.drivers import launch
from loopspec.effects import CallModel
from loopspec.errors import BadSpec, NoKey
from loopspec.events import AttemptFailed, ModelChosen, UserMessage
from loopspec.machine.draft import Draft
from loopspec.machine.fitting import Fit, Misfit, fit, reserved
from loopspec.machine.model import ContextRules, Machine
from loopspec.performers.model_request import build_request
from loopspec.registry import installed
from loopspec.tokens import estimate

SPEC = """
loopspec: 1
name: fits
version: 1.0.0
inputs: {topic: {type: string, default: pumps}}
models:
  main:
    use: local/one
    fallbacks: [local/two, local/three]
    retry: {attempts: 1}
tools:
  read_file: {use: files.read}
  list_files: {use: files.list}
  search_files: {use: files.search}
prompts:
  system: "You know everything about {{ inputs.topic }}. LONG"
  short: "You know {{ inputs.topic }}."
context: {reserve: 100}
initial: ready
states:
  ready: {kind: input, on: {user.message: asking}}
  asking:
    kind: model
    prompt: system
    smaller:
      - {tools: [read_file]}
      - {prompt: short, tools: []}
    on:
      model.replied: ready
      model.overflowed: ready
      context.pressed: ready
      model.failed: {target: ready, say: "{{ event.reason }}: {{ event.detail }}"}
""".replace("LONG", "Mind every detail of them. " * 12)

USES = "use: local/one\n    fallbacks: [local/two, local/three]"


def machine(text: str = SPEC) -> Machine:
    loaded = launch.load_text(text, installed())
    assert loaded.machine is not None, loaded.diagnostics
    return loaded.machine


MADE = machine()
ROOMY = machine(SPEC.replace("reserve: 100", "reserve: 100, compact_at: 1.0"))
PROMPT = estimate(MADE.prompts["system"].replace("{{ inputs.topic }}", "pumps"))
SHORT = estimate("You know pumps.")
TOOLS = MADE.tool_tokens
WHOLE = PROMPT + sum(TOOLS.values()) + 100
FIRST = PROMPT + TOOLS["read_file"] + 100
SECOND = SHORT + 100


def run(made: Machine = MADE, **windows: int) -> Run:
    """A session that has been asked something; `one=…` is the window of `local/one`."""
    given = {f"local/{name}": window for name, window in windows.items()}
    begun = Run(msgspec.structs.replace(made), windows=given)
    begun.snapshot = msgspec.structs.replace(begun.snapshot, inputs='{"topic":"pumps"}')
    begun.tell(UserMessage("go", tokens=1))
    return begun


def profile(made: Run) -> str:
    effect = made.effect
    assert isinstance(effect, CallModel)
    return effect.profile


@pytest.mark.parametrize(
    ("window", "wanted"),
    [(0, ""), (100_000, ""), (WHOLE * 2, ""), (WHOLE - 1, "1"), (FIRST - 1, "2")],
)
def test_f19_the_largest_profile_that_fits_the_window_is_taken(window: int, wanted: str) -> None:
    assert profile(run(ROOMY, one=window)) == wanted


def test_f19_the_request_holds_the_prompt_and_the_tools_of_its_profile(tmp_path: Path) -> None:
    def sent(window: int) -> tuple[str, list[str]]:
        made = run(ROOMY, one=window)
        effect = made.effect
        assert isinstance(effect, CallModel)
        world: Any = RecordingWorld(ROOMY, tmp_path, blobs=dict(made.last.blobs))
        request = build_request(effect, world)
        return request.messages[0]["content"], [t["function"]["name"] for t in request.tools]

    long = MADE.prompts["system"].replace("{{ inputs.topic }}", "pumps")
    assert sent(0) == (long, ["read_file", "list_files", "search_files"])
    assert sent(WHOLE - 1) == (long, ["read_file"])
    assert sent(FIRST - 1) == ("You know pumps.", [])


def test_f19_a_fallback_with_a_smaller_window_is_asked_in_its_own_profile() -> None:
    made = run(ROOMY, one=100_000, two=FIRST, three=100_000)
    assert profile(made) == ""
    made.tell(AttemptFailed(made.effect.id, "provider"))
    effect = made.effect
    assert isinstance(effect, CallModel)
    assert (effect.use, effect.profile) == ("local/two", "1")


def test_f19_a_fallback_that_fits_nothing_is_left_out_and_the_next_is_asked() -> None:
    made = run(one=100_000, two=SECOND - 1, three=100_000)
    step = made.tell(AttemptFailed(made.effect.id, "provider"))
    effect = made.effect
    assert isinstance(effect, CallModel)
    assert (effect.use, effect.profile, effect.rung) == ("local/three", "", 2)
    assert [(left.use, left.why) for left in step.record.left] == [
        ("local/one", "final"),
        ("local/two", "window"),
    ]


def test_f19_what_fits_nowhere_is_model_failed_with_the_arithmetic() -> None:
    made = run(one=SECOND - 1, two=50, three=60)
    assert (made.leaf, made.snapshot.pending) == ("ready", {})
    (said,) = made.last.record.said
    every, one = sum(TOOLS.values()), TOOLS["read_file"]
    assert said.text == (
        "window: the window of local/three has 60 tokens, and "
        f"the request takes prompt `system` {PROMPT} + 3 tools {every} + reserve 100 = {WHOLE:,}; "
        f"profile 1 takes prompt `system` {PROMPT} + 1 tool {one} + reserve 100 = {FIRST}; "
        f"profile 2 takes prompt `short` {SHORT} + 0 tools 0 + reserve 100 = {SECOND}"
    )


def test_f19_a_chosen_model_is_fitted_to_its_own_window() -> None:
    made = Run(ROOMY, windows={})
    made.snapshot = msgspec.structs.replace(made.snapshot, inputs='{"topic":"pumps"}')
    made.tell(ModelChosen("main", "local/mine", window=FIRST - 1))
    made.tell(UserMessage("go", tokens=1))
    assert profile(made) == "2"


def test_f19_a_prompt_that_grew_at_run_time_is_fitted_then() -> None:
    text = SPEC.replace("inputs: {topic", "vars: {seen: {type: string, default: ''}}\ninputs: {topic")
    text = text.replace("You know everything", "{{ vars.seen }} You know everything")
    text = text.replace(
        "{user.message: asking}",
        "{user.message: {target: asking, actions: [{assign: {seen: vars.seen + event.text}}]}}",
    )
    made = Run(machine(text), windows={"local/one": 4 * WHOLE})
    made.snapshot = msgspec.structs.replace(made.snapshot, inputs='{"topic":"pumps"}')
    made.tell(UserMessage("go", tokens=1))
    assert profile(made) == ""
    made.reply(text="ok")
    made.tell(UserMessage("word " * 4 * WHOLE, tokens=1))
    assert profile(made) == "2"


@settings(max_examples=60, deadline=None)
@given(window=st.integers(0, 3_000), reserve=st.integers(0, 900), scale=st.integers(250_000, 4_000_000))
def test_what_is_said_to_fit_fits_and_nothing_larger_would(window: int, reserve: int, scale: int) -> None:
    rules = msgspec.structs.replace(MADE.context, reserve=reserve)
    made = msgspec.structs.replace(MADE, context=rules)
    begun = Run(made, windows={})
    usage = msgspec.structs.replace(begun.snapshot.usage, scale=scale)
    snapshot = msgspec.structs.replace(begun.snapshot, inputs='{"topic":"x"}', usage=usage)
    draft = Draft(made, snapshot, 0, 0, UserMessage("x"))
    found = fit(draft, made.states["asking"], "local/one", window)
    keep = reserved(rules, window)
    assert keep <= max(reserve, window // 8)
    whole = fit(draft, made.states["asking"], "local/one", 1)
    assert isinstance(whole, Misfit)
    sums = [need.total + keep for need in whole.needs]
    assert sums == sorted(sums, reverse=True)
    fits = [n for n, size in enumerate(sums) if size <= window or not window]
    if isinstance(found, Fit):
        assert found.name == (str(fits[0]) if fits[0] else "")
    else:
        assert fits == []


# ---------------------------------------------------------------- before anything starts


def served(tmp_path: Path, window: int, extra: str = "") -> Machine:
    """The loop with a scripted model of this window."""
    script = tmp_path / "s.yaml"
    script.write_text(json.dumps({"script": 1, "window": window, "turns": [{"reply": "x"}]}))
    return machine(SPEC.replace(USES, f"use: scripted/{script}{extra}"))


def test_f19_a_window_that_fits_nothing_is_told_before_anything_starts(tmp_path: Path) -> None:
    made = served(tmp_path, SECOND - 1)
    with pytest.raises(BadSpec) as raised:
        launch.preflight(made, '{"topic":"pumps"}', "/w")
    error = raised.value
    assert int(error.exit) == 52
    assert f"profile 2 takes prompt `short` {SHORT} + 0 tools 0 + reserve 100 = {SECOND}" in error.fault
    assert error.place == f"<stdin>:{made.states['asking'].place}"
    assert "smaller profile" in error.remedy
    assert launch.preflight(made) == {"main": SECOND - 1}  # without inputs nothing is reckoned
    assert launch.preflight(served(tmp_path, SECOND), '{"topic":"pumps"}', "/w") == {"main": SECOND}


def test_a_prompt_that_cannot_be_rendered_yet_counts_as_it_is_written(tmp_path: Path) -> None:
    made = served(tmp_path, SECOND - 1)
    with pytest.raises(BadSpec) as raised:
        launch.preflight(made, "{}", "/w")
    assert f"prompt `short` {estimate(MADE.prompts['short'])} +" in raised.value.fault


def test_windows_are_there_by_the_names_that_are_asked(tmp_path: Path) -> None:
    script = tmp_path / "f.yaml"
    script.write_text(json.dumps({"script": 1, "window": 7_000, "turns": [{"reply": "x"}]}))
    others = f"[scripted/{script}, anthropic/claude-sonnet-4-5, nobody/x]"
    more = f"\n    window: 5000\n    fallbacks: {others}"
    assert launch.preflight(served(tmp_path, 6_000, more), "{}", "/w") == {
        "main": 5000,
        f"scripted/{script}": 7_000,
        "anthropic/claude-sonnet-4-5": 200_000,
    }


def test_of_tiers_one_must_have_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    far = "tiers: [{name: a, use: openai/gpt-5-mini}, {name: b, use: anthropic/claude-sonnet-4-5}]"
    text = SPEC.replace(USES, far)
    with pytest.raises(NoKey, match="OPENAI_API_KEY"):
        launch.preflight(machine(text), "{}", "/w")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    windows = launch.preflight(machine(text), "{}", "/w")
    assert windows["anthropic/claude-sonnet-4-5"] == 200_000


def test_an_eighth_of_the_window_is_reserved_unless_the_spec_says() -> None:
    assert [reserved(ContextRules(), w) for w in (0, 800, 4096, 200_000)] == [0, 100, 512, 1024]
    assert reserved(ContextRules(reserve=50), 200_000) == 50
    assert machine().context.reserve == 100
