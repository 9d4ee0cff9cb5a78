"""The reference: equal to what is stored, complete, and each of its examples compiles in its place."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopspec.cli.generated import shipped_registry, stored
from loopspec.drivers.launch import tool_infos
from loopspec.events import BY_NAME
from loopspec.machine.celtypes import USAGE_FIELDS, event_fields
from loopspec.machine.model import Kind
from loopspec.spec.diagnose import Diagnostics
from loopspec.spec.forms import Record
from loopspec.spec.keys import TABLES
from loopspec.spec.parse import compile_spec
from loopspec.spec.shape import Shape
from loopspec.spec.source import plain, read_text
from loopspec.spec.states import FITS
from loopspec.views.reference import TITLES, anchor
from loopspec.views.reference_facts import EventHelp, KeyHelp, event_helps, kind_help
from loopspec.views.reference_terminal import WIDTH, event_text, kind_text, page_text
from loopspec.views.reference_yaml import block, flow

ROOT = Path(__file__).parents[2]
TEXTS = stored()
PAGES = {name: text for name, text in TEXTS.items() if name.endswith(".md")}
REGISTRY = shipped_registry()
KINDS, TOOLS = REGISTRY.kinds, tool_infos(REGISTRY)

# A whole loop with the names that the examples use: each example is put into a copy of it.
BASE: dict[str, Any] = plain(
    read_text(
        """\
loopspec: 1
name: base
version: 1.0.0
inputs: {task: {type: string}}
vars: {attempts: {type: int, default: 0}}
models: {main: {use: openai/gpt-5-mini}}
tools: {read_file: {use: files.read}, shell: {use: shell.run}}
prompts: {system: "Your task: {{ inputs.task }}"}
initial: ready
states:
  ready: {kind: input, on: {user.message: working}}
  working:
    initial: streaming
    on:
      user.interrupted: interrupted
      effect.lost: working.awaiting_approval
      budget.exhausted: over_budget
    states:
      streaming:
        kind: model
        on:
          model.replied: deciding
          model.overflowed: compacting
          model.failed: ready
          context.pressed: compacting
      deciding:
        kind: gate
        on: {gate.allowed: tool_running, gate.asked: awaiting_approval, gate.denied: streaming}
      awaiting_approval:
        kind: approval
        on: {approval.granted: tool_running, approval.denied: streaming}
      tool_running: {kind: tools, on: {tools.settled: streaming}}
      compacting: {kind: compact, on: {context.compacted: streaming, context.stuck: ready}}
      resume: {type: history, deep: true, target: streaming}
  interrupted: {kind: interrupt, on: {user.resumed: working.resume, rollback.chosen: rolling_back}}
  suspended: {kind: suspend, on: {host.woke: working.resume}}
  rolling_back:
    kind: rollback
    on: {rollback.done: ready, rollback.partial: ready, rollback.failed: ready}
  over_budget: {on: {budget.extended: working.resume}}
"""
    , "base.yaml")
)


def tiered(table: str, data: Any, use: str) -> dict[str, Any]:
    """A model with tiers that holds an example of theirs."""
    rule = {"match": "x", "call": data} if table == "tier_call" else data
    ours = {"name": "rules", "rules": [rule]} if table in ("tier_rule", "tier_call") else data
    tier = {"name": "cloud", "use": use} if table in ("escalation", "outbox") else ours
    more = {"escalation": {"escalate": [data]}, "outbox": {"outbox": data}}.get(table, {})
    return {"tiers": [tier], **more}


def placed(what: str, data: Any) -> dict[str, Any]:
    """The base with an example in the place it says it is for."""
    tree = copy.deepcopy(BASE)
    streaming = tree["states"]["working"]["states"]["streaming"]
    inner = tree["states"]["working"]["states"]
    match what:
        case "spec":
            return dict(data)
        case "states":  # beside the states of the coding loop, whose names it uses
            inner |= data
        case "on":
            streaming["on"] |= data["on"]
        case "tools" | "prompts":
            tree[what] |= data
        case "table=input":
            tree["inputs"]["more"] = data
        case "table=var":
            tree["vars"]["more"] = data
        case "table=model":
            tree["models"]["main"] = data
        case "table=deadlines" | "table=retry" | "table=breaker":
            tree["models"]["main"][what[6:]] = data
        case "table=tier" | "table=tier_rule" | "table=tier_call" | "table=escalation" | "table=outbox":
            tree["models"]["main"] = tiered(what[6:], data, tree["models"]["main"]["use"])
        case "table=tool":
            tree["tools"]["more"] = data
        case "table=tool_deadlines":
            tree["tools"]["shell"]["deadlines"] = data
        case "table=budgets" | "table=context" | "table=authority" | "table=guidance":
            tree[what[6:]] = data
        case "table=weights":
            tree["context"] = {"weights": data}
        case "table=rule":
            tree["authority"] = {"ask": [data]}
        case "table=smaller":
            tree["prompts"]["short"] = "Answer."
            streaming["smaller"] = data
        case "table=transition":
            streaming["on"]["model.replied"] = data
        case "table=after":
            streaming["after"] = {"5m": data}
        case "table=say":
            streaming["entry"] = [{"say": data}]
        case "table=action":
            streaming["entry"] = data
        case _:
            raise AssertionError(f"an example of `{what}` has no place")
    return tree


EXAMPLES = [
    (name, number, *found)
    for name, text in PAGES.items()
    for number, found in enumerate(re.findall(r"```yaml ([^\n]+)\n(.*?)\n```", text, re.DOTALL), 1)
]


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_stored_is_what_is_generated(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == TEXTS[name]


@pytest.mark.parametrize(
    ("page", "number", "what", "text"),
    EXAMPLES,
    ids=[f"{e[0].split('/')[-1]}-{e[1]}-{e[2]}" for e in EXAMPLES],
)
def test_every_example_compiles_in_its_place(page: str, number: int, what: str, text: str) -> None:
    node = read_text(text, page)
    if what.startswith("table=") and what != "table=action":
        diagnostics = Diagnostics(page)
        Shape(diagnostics).check(node, Record(what[6:]), what, node)
        assert diagnostics.sorted() == []
    made = compile_spec(block(placed(what, plain(node))), kinds=KINDS, tools=TOOLS, name="example.yaml")
    assert [(d.code, d.fault) for d in made.diagnostics if d.severity == "error"] == []
    assert made.machine is not None


def test_the_base_compiles_and_an_example_with_a_fault_does_not() -> None:
    made = compile_spec(block(BASE), kinds=KINDS, tools=TOOLS, name="base.yaml")
    assert [d.fault for d in made.diagnostics if d.severity == "error"] == []
    wrong = compile_spec(block(placed("on", {"on": {"no.event": "ready"}})), kinds=KINDS, tools=TOOLS)
    assert [d.code for d in wrong.diagnostics if d.severity == "error"] == ["LS205"]


def test_every_yaml_block_is_an_example_or_the_line_about_the_schema() -> None:
    for name, text in PAGES.items():
        unmarked = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        assert all(block.startswith("# yaml-language-server: $schema=") for block in unmarked), name


def test_links_within_and_between_the_pages_lead_somewhere() -> None:
    headings = {
        name.rpartition("/")[2]: {
            re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for name, text in PAGES.items()
    }
    for name, text in PAGES.items():
        own = name.rpartition("/")[2]
        for page, target in re.findall(r"\]\(([a-z]*\.?m?d?)#?([^)]*)\)", text):
            assert (page or own) in headings
            assert not target or target in headings[page or own], (name, target)


def test_the_page_of_the_language_has_every_table_key_choice_and_reserved_key() -> None:
    text = PAGES["docs/reference/language.md"]
    assert set(TITLES) == set(TABLES)
    for table in TABLES.values():
        section = text.partition(f"\n## {TITLES[table.name]}\n")[2].partition("\n## ")[0]
        for key in table.keys:
            assert f"\n| `{key.name}` | " in section, (table.name, key.name)
            assert key.doc in section
        for name in table.reserved:
            assert f"`{name}`" in section
        assert f"(#{anchor(TITLES[table.name])})" in text
    for kind in FITS:
        assert f"\n### {kind.capitalize()}\n" in text
    for field in USAGE_FIELDS:
        assert f"| `{field}` |" in text


def test_the_other_pages_have_every_event_kind_and_tool() -> None:
    events, kinds, tools = (PAGES[f"docs/reference/{n}.md"] for n in ("events", "kinds", "tools"))
    assert re.findall(r"^### `(.+)`$", events, re.MULTILINE) == [
        *(n for n, e in event_helps(KINDS).items() if e.sort == "command"),
        *(n for n, e in event_helps(KINDS).items() if e.sort == "fact"),
        *(n for n, e in event_helps(KINDS).items() if e.sort == "derived"),
    ]
    assert set(re.findall(r"^### `(.+)`$", events, re.MULTILINE)) == set(BY_NAME)
    assert re.findall(r"^## (.+)$", kinds, re.MULTILINE) == list(KINDS)
    assert re.findall(r"^## (.+)$", tools, re.MULTILINE) == list(TOOLS)


LINT = Kind(
    name="lint",
    shape="one",
    effect="perform",
    performer="lint",
    endings={
        "lint.done": '{"type":"object","description":"Every file was read.",'
        '"properties":{"warnings":{"type":"integer"},"worst":{"type":"string"}}}'
    },
    schema='{"type":"object","required":["level"],"additionalProperties":false,"properties":{"level":'
    '{"enum":["low","high"],"default":"low","description":"How strict."},"files":{"type":"array",'
    '"items":{"type":"string"}}}}',
    repeatable=False,
    doc="Runs a linter. It reads only.",
)


def test_an_event_of_a_plugin_is_told_as_its_kind_declares_it() -> None:
    assert event_helps({"lint": LINT})["lint.done"] == EventHelp(
        name="lint.done",
        sort="ending",
        meaning="Every file was read.",
        raised_by="a state of kind `lint`, as its ending",
        fields={"warnings": "int", "worst": "string"},
        routable=True,
        instead="",
        example="on:\n  lint.done:\n    - {guard: event.warnings > 0, target: ready}\n"
        "    - {target: ready}\n",
    )


def test_a_kind_of_a_plugin_is_told_with_its_keys_and_what_its_work_raises() -> None:
    told = kind_help(LINT)
    assert told.keys == [
        KeyHelp("level", "one of `low`, `high`", True, '"low"', "How strict."),
        KeyHelp("files", "a list, each item a text", False, "", ""),
    ]
    assert (told.raises, told.offers, told.takes) == (["effect.failed", "effect.lost"], [], [])
    assert told.example == (
        "my_lint:\n  kind: lint\n  level: low\n  on:\n    lint.done: ready\n    effect.failed: ready\n"
        "    effect.lost: awaiting_approval\n"
    )


def test_a_field_has_the_type_that_guards_see() -> None:
    words = {"string": "string", "int": "int", "bool": "bool", "json": "any JSON"}
    for name, told in event_helps(KINDS).items():
        for field, word in event_fields(name, {}).items():
            assert told.fields[field] == words.get(word, told.fields[field]), (name, field)
        assert list(told.fields) == list(event_fields(name, {}))


def test_a_terminal_gets_no_line_wider_than_it_is() -> None:
    long = "A list of many words that goes on and on " * 4
    texts = [kind_text(kind_help(kind)) for kind in (*KINDS.values(), LINT)]
    texts += [event_text(one) for one in event_helps({**KINDS, "lint": LINT}).values()]
    texts.append(page_text(f"# Title\n\n{long}\n\n- {long}\n{long}\n1. {long}\n"))
    for text in texts:
        assert max(map(len, text.splitlines())) <= WIDTH


def test_a_page_keeps_blocks_headings_and_tables_and_fills_what_flows() -> None:
    assert page_text("# A\n\none\ntwo\n\n- three\n  four\n\n```yaml\na:   b\n```\n| x | y |\n") == (
        "# A\n\none two\n\n- three four\n\n```yaml\na:   b\n```\n| x | y |"
    )


TEXTS_LIKE_YAML = ["90s", "on", "true", "a: b", "a #b", "- x", "it's", 'say "x"', "1.0", "~", "x ", "1e3"]
VISIBLE = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Co", "Cn"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 99)
    | st.integers(-9, 9).map(lambda whole: whole + 0.125)
    | st.text(VISIBLE, max_size=12)
    | st.just("a long text: " + "with many words, " * 5)
    | st.sampled_from(TEXTS_LIKE_YAML),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["on", "a.b", "24h", "x y", "5", "*", "{"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@example("\ufeff")
@example("\xa0\U00010000")
@example("\U000e0001\x7f\x85")
@given(PLAIN)
def test_what_is_written_as_yaml_reads_back_as_the_same(data: Any) -> None:
    for text in (block({"a": data}), "a: " + flow(data)):
        assert plain(read_text(text, "x")) == {"a": data}, text
