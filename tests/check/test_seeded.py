"""Defects sown into the shipped loop, one at a time: each is found, under the code that means it."""

from pathlib import Path

import pytest

from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.registry import installed
from loopspec.spec.diagnose import render_text

ROOT = Path(__file__).parents[2]
LOOP = (ROOT / "specs" / "coding-agent.yaml").read_text(encoding="utf-8")

# What is replaced, by what, and the codes that are found then.
SEEDED: dict[str, tuple[str, str, set[str]]] = {
    "a target that does not exist": ("allowed: tool_running", "allowed: tool_runing", {"LS201"}),
    "a state nobody enters": ("host.suspended: suspended", "host.suspended: ready", {"LS701"}),
    "a shadowed transition": (
        "          context.pressed: compacting\n",
        '          "context.*": compacting\n          context.pressed: failed\n',
        {"LS313"},
    ),
    "a guarded list without an end": ("            - {target: ready}\n", "", {"LS306"}),
    "an ending nobody routes": ("          gate.denied: streaming\n", "", {"LS308"}),
    "a boundary whose failure nobody routes": (
        "boundary.failed:",
        "rollback.failed:",
        {"LS308", "LS712"},
    ),
    "no way out": (
        "  over_budget:\n    on:\n      budget.extended: working.resume\n"
        "      user.resumed: working.resume\n",
        "  over_budget: {}\n",
        {"LS702"},
    ),
    "an approval that never expires": ("        after: {24h: streaming}\n", "", {"LS705"}),
    "an interrupt nobody handles": ("      user.interrupted: interrupted\n", "", {"LS706"}),
    "no rollback point before writes": (
        "        boundary: workspace\n",
        "",
        {"LS707", "LS712"},
    ),
    "no budget": (
        "budgets: {turns: 60, tokens: 2M, usd: 5.00, elapsed: 2h}\n",
        "",
        {"LS703", "LS704", "LS712"},
    ),
    "work without a deadline": (", elapsed: 2h", "", {"LS704"}),
    "a circle that spends no budget": (
        "          model.failed:\n            target: failed\n",
        "          model.failed:\n            target: streaming\n",
        {"LS708"},
    ),
    "an always circle": (
        "  briefing:\n    always:\n",
        "  briefing:\n    always:\n      - briefing\n",
        {"LS307", "LS314"},
    ),
    "an always circle whose guard reads what does not change on the way": (
        "  briefing:\n    always:\n",
        "  briefing:\n    always:\n      - {guard: usage.turns == 0, target: briefing}\n",
        {"LS711"},
    ),
    "an undeclared model": ("model: main", "model: mian", {"LS202"}),
    "an unused model": (
        "models:\n",
        "models:\n  spare: {use: openai/gpt-5-mini}\n",
        {"LS709"},
    ),
    "an unused tool": ("kind: model\n", "kind: model\n        tools: [read_file]\n", {"LS709"}),
    "an unused prompt": ("prompts:\n", "prompts:\n  other: Hello.\n", {"LS709"}),
    "an unused input": ("run `{{ inputs.check }}` to", "run it to", {"LS709"}),
    "a var that does not exist": ("size(event.calls) > 0", "vars.calls > 0", {"LS401"}),
    "a field that does not exist": ("size(event.calls)", "size(event.call)", {"LS401"}),
    "a whole number beside a decimal": ("size(event.calls) > 0", "usage.cost_usd > 1", {"LS401"}),
    "a guard that always holds": ("size(event.calls) > 0", "size('x') > 0", {"LS710"}),
    "a text with a misspelt name": ("{{ event.reason }}): {{", "{{ event.raeson }}): {{", {"LS403"}),
    "a prompt with a misspelt input": ("{{ inputs.check }}", "{{ inputs.chekc }}", {"LS403"}),
    "a secret": (
        "retry: {attempts: 5, base: 1s, cap: 60s}\n",
        "params: {api_key: correct-horse-battery}\n",
        {"LS603"},
    ),
    "no gate": (
        "{guard: size(event.calls) > 0, target: deciding}",
        "{guard: size(event.calls) > 0, target: tool_running}",
        {"LS701", "LS713"},
    ),
    "a tool that no rule names": (
        "  ask_person: {use: ask.person}\n",
        "  ask_person: {use: ask.person}\n  read_more: {use: files.read}\n",
        {"LS714"},
    ),
    "a rule that matches no tool": (
        '- {tools: ["*"], paths: [".git/**"',
        '- {tools: ["sehll*"], paths: [".git/**"',
        {"LS709"},
    ),
    "questions that lead to the model": (
        "gate.asked: awaiting_approval",
        "gate.asked: streaming",
        {"LS715"},
    ),
    "allowed calls that go back to the model": (
        "gate.allowed: tool_running",
        "gate.allowed: streaming",
        {"LS713"},
    ),
    "granted calls that go back to the model": (
        "approval.granted: tool_running",
        "approval.granted: streaming",
        {"LS713"},
    ),
    "an ending after which nothing is left to do": (
        "          tools.settled: streaming\n",
        "          tools.settled: {say: Done.}\n",
        {"LS702"},
    ),
    "two conversations side by side": (
        "    initial: streaming\n    on:\n      user.interrupted",
        "    type: parallel\n    on:\n      user.interrupted",
        {"LS309"},
    ),
    "a kind's ending in a state that cannot have it": (
        "    kind: input\n    on:\n",
        "    kind: input\n    on:\n      model.replied: ready\n",
        {"LS712"},
    ),
    "an accepted warning that is none": (
        "    kind: interrupt\n",
        "    kind: interrupt\n    accept: {LS702: it is fine}\n",
        {"LS790"},
    ),
}


def codes(text: str) -> set[str]:
    """The codes of everything found in a spec."""
    registry = installed()
    made = check_spec(text, kinds=registry.kinds, tools=tool_infos(registry), name="spec.yaml")
    return {d.code for d in made.diagnostics}


def test_the_loop_itself_is_right() -> None:
    assert codes(LOOP) == set()


@pytest.mark.parametrize("what", SEEDED)
def test_a_sown_defect_is_found(what: str) -> None:
    old, new, wanted = SEEDED[what]
    assert LOOP.count(old) >= 1, f"{old!r} stands no longer in the loop"
    assert codes(LOOP.replace(old, new, 1)) == wanted


def test_two_secrets_in_one_line_are_both_said_and_neither_is_shown() -> None:
    params = "params: {a: ghp_0123456789abcdefghijABCDEFGHIJ456789, password: correct-horse}"
    text = LOOP.replace("retry: {attempts: 5, base: 1s, cap: 60s}", params, 1)
    registry = installed()
    made = check_spec(text, kinds=registry.kinds, tools=tool_infos(registry), name="spec.yaml")
    assert [d.code for d in made.diagnostics] == ["LS603", "LS603"]
    shown = render_text(made.diagnostics, {"spec.yaml": text})
    assert "ghp_" not in shown and "correct-horse" not in shown
