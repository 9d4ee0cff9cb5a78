"""The JSON Schema: equal to what is stored, helpful, and of one mind with the parser about forms."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from loopspec.cli.generated import open_schema
from loopspec.machine.model import ContextRules, Kind, ModelDecl, State
from loopspec.spec import literals
from loopspec.spec.diagnose import Diagnostics
from loopspec.spec.forms import Many, Text
from loopspec.spec.keys import TABLES
from loopspec.spec.parse import ToolInfo
from loopspec.spec.schema import build, render
from loopspec.spec.shape import Shape
from loopspec.spec.source import plain, read_text, scan

from .kit import HERE, KINDS, TOOLS, compiled
from .test_fuzz import PATHS, TREE, put

STORED = HERE.parents[1] / "schemas" / "loopspec-1.schema.json"
# Codes of faults that the schema finds as well: forms, not names, references or routing.
FORMS = {"LS101", "LS102", "LS103", "LS104", "LS105", "LS106", "LS107", "LS108", "LS109", "LS110"}
FORMS |= {"LS303", "LS312", "LS501", "LS502", "LS503", "LS504", "LS506", "LS901"}
# Codes of which the schema finds some faults and not others.
PARTLY = {"LS111", "LS112", "LS113", "LS205", "LS301", "LS305", "LS311"}
CLOSED = build(KINDS, TOOLS)
VALIDATOR = Draft202012Validator(CLOSED, registry=Registry())
BUILT = {"plain": build(), "open": build(KINDS, TOOLS, closed=False), "closed": CLOSED}


def found(schema: dict[str, Any], data: object) -> list[ValidationError]:
    """What a schema finds in data."""
    return list(Draft202012Validator(schema, registry=Registry()).iter_errors(data))


def errors(schema: dict[str, Any], data: object) -> list[str]:
    """What a schema says of data."""
    return [error.message for error in found(schema, data)]


def part(schema: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema as a schema of its own."""
    return {"$defs": schema["$defs"], **inner}


def properties(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every part of a schema that says more than yes or no."""
    if isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from properties(inner, f"{where}/{number}")
    if not isinstance(schema, dict):
        return
    for word, inner in schema.items():
        if word in ("properties", "$defs"):
            for name, one in inner.items():
                if word == "properties" and isinstance(one, dict) and "not" not in one:
                    yield f"{where}/{name}", one
                yield from properties(one, f"{where}/{name}")
        elif word not in ("examples", "defaultSnippets", "default", "if"):
            yield from properties(inner, f"{where}/{word}")


def test_the_stored_schema_is_the_built_one() -> None:
    assert STORED.read_text(encoding="utf-8") == render(open_schema())


@pytest.mark.parametrize("schema", BUILT.values(), ids=BUILT)
def test_every_built_schema_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:loopspec:schema:1")


@pytest.mark.parametrize("schema", [open_schema(), BUILT["plain"]], ids=["stored", "plain"])
def test_every_property_has_a_description_and_examples_it_accepts(schema: dict[str, Any]) -> None:
    every = dict(properties(schema))
    assert len(every) > 100
    for where, one in every.items():
        if "/then/with/" in where:
            continue  # a tool's own configuration: its author's words
        assert one.get("description", "").endswith("."), where
        if "/then/with" in where:
            continue
        assert one["examples"], where
        for example in [*one["examples"], *([one["default"]] if "default" in one else [])]:
            assert errors(part(schema, one), example) == [], where


@pytest.mark.parametrize(("table", "key"), [(t.name, k.name) for t in TABLES.values() for k in t.keys])
def test_every_example_is_accepted_by_parser_and_schema(table: str, key: str) -> None:
    known = TABLES[table].key(key)
    assert known is not None
    diagnostics = Diagnostics("x")
    for text in filter(None, (known.example, known.default)):
        node = read_text(text, "x")
        Shape(diagnostics).check(node, known.form, key, node)
        assert diagnostics.sorted() == []
        schema = BUILT["plain"]
        owner = schema if table == "spec" else schema["$defs"][table]
        assert errors(part(schema, owner["properties"][key]), json.loads(text)) == []


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_meaning_is_a_sentence(table: Any) -> None:
    for text in [table.doc, *(key.doc for key in table.keys)]:
        assert text[0].isupper() and text.endswith(".") and len(text.split()) >= 3, text
    for key in table.keys:
        form = key.form.item if isinstance(key.form, Many) else key.form
        if isinstance(form, Text) and form.choices:
            assert len(form.meanings) == len(form.choices), key.name


def test_the_defaults_are_those_of_the_machine() -> None:
    def said(table: str) -> dict[str, Any]:
        return {key.name: json.loads(key.default) for key in TABLES[table].keys if key.default}

    model, rules = ModelDecl("x", "y"), ContextRules()
    times = {**said("deadlines"), **said("retry")}
    attempts = times.pop("attempts")
    assert {name: literals.duration(text) for name, text in times.items()} == {
        name: getattr(model, name) for name in times
    }
    assert attempts == model.attempts
    breaker = said("breaker")
    assert literals.duration(breaker["cooldown"]) == model.cooldown
    assert breaker["failures"] == model.breaker
    assert said("model") == {"fallbacks": [], "params": {}, "unpriced": model.unpriced}
    shares = said("context")
    assert tuple(shares.pop("pin")) == rules.pin
    parts = ("compact_at", "target", "summary_share")
    assert {name: round(shares.pop(name) * 1_000_000) for name in parts} == {
        name: getattr(rules, name) for name in parts
    }
    assert shares == {name: getattr(rules, name) for name in shares}
    assert set(shares) == {"failures", "mask_over", "keep_newest", "max_lines", "half_life"}
    weights = said("weights")
    assert {name: round(value * 1_000_000) for name, value in weights.items()} == {
        name: getattr(rules.weights, name) for name in rules.weights.__struct_fields__
    }
    state = State("x")
    assert said("state") == {"deep": state.deep, "outcome": state.outcome}
    assert said("after") == {"internal": False, "clock": "wall"}
    assert said("say") == {"to": "person"}


def test_the_excerpt_is_accepted_by_every_schema() -> None:
    node = scan(HERE / "excerpt.yaml").node
    assert node is not None
    assert [errors(schema, plain(node)) for schema in BUILT.values()] == [[], [], []]


def of_form(path: Path) -> bool:
    """Whether a bad spec has a fault that the schema knows of."""
    return path.stem.split("-")[0] in FORMS


BAD = sorted((HERE / "bad").glob("LS[1-9]*.yaml"))


@pytest.mark.parametrize("path", [path for path in BAD if of_form(path)], ids=lambda path: path.stem)
def test_the_schema_refuses_the_forms_the_parser_refuses(path: Path) -> None:
    node = scan(path).node
    assert node is not None
    assert errors(CLOSED, plain(node))


@pytest.mark.parametrize("path", [path for path in BAD if not of_form(path)], ids=lambda path: path.stem)
def test_the_schema_accepts_the_forms_of_specs_with_other_faults(path: Path) -> None:
    if path.stem.split("-")[0] in PARTLY:
        return
    node = scan(path).node
    assert node is not None
    seen = {d.code for d in compiled(path).diagnostics}
    if not seen & (FORMS | PARTLY):
        assert errors(CLOSED, plain(node)) == []


# ---------------------------------------------------------------- mutated documents

WORDS = ["ready", "working", "main", "final", "history", "lint", "wait", "5m", "0s", "10 minutes", "7"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 200) | st.sampled_from([0.5, -1.5, 3.25, "", *WORDS]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["target", "guard", "say", "kind", "type", "states", "for", "use", "5m"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["intial", "on", "type", "for", "level", "model", "deep", "include", "on_stall", "with", "kind"]
)


def judged(tree: Any) -> None:
    """Parser and schema agree about the forms of a document."""
    codes = {d.code for d in compiled(json.dumps(tree)).diagnostics}
    faults = list(VALIDATOR.iter_errors(tree))
    if codes & FORMS:
        assert faults, codes
    elif faults and not codes & PARTLY:
        # The schema alone is strict about quotes: text that looks like a number or a truth value.
        assert all(_about_quotes(fault) for fault in faults), [fault.message for fault in faults]


def _about_quotes(fault: ValidationError) -> bool:
    return fault.validator in ("type", "pattern") and isinstance(fault.instance, bool | int | float)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), VALUES | st.just(...))
def test_parser_and_schema_agree_about_a_value_replaced(path: tuple[Any, ...], new: Any) -> None:
    judged(put(TREE, path, new))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([(), *PATHS]), NAMES, VALUES)
def test_parser_and_schema_agree_about_a_key_added(path: tuple[Any, ...], name: str, new: Any) -> None:
    tree = copy.deepcopy(TREE)
    owner = tree
    for step in path:
        owner = owner[step]
    if isinstance(owner, dict):
        owner[name] = new
        judged(tree)


# ---------------------------------------------------------------- kinds and tools


@pytest.mark.parametrize("name", ["open", "closed"])
def test_a_state_has_the_keys_of_its_kind_and_no_others(name: str) -> None:
    schema = BUILT[name]
    state = part(schema, {"$ref": "#/$defs/state"})
    assert errors(state, {"kind": "wait", "for": "30s"}) == []
    assert errors(state, {"kind": "wait"}) == ["'for' is a required property"]
    assert "30 is not of type 'string'" in errors(state, {"kind": "wait", "for": 30})
    assert errors(state, {"kind": "wait", "for": "30"}) != []
    assert errors(state, {"kind": "input", "for": "30s"}) != []
    assert errors(state, {"kind": "lint", "level": "low", "limit": 3}) == []
    assert errors(state, {"kind": "lint", "level": "low", "limits": 3}) != []
    assert errors(state, {"level": "low"}) != []
    assert errors(state, {"kind": "gate", "model": "main"}) != []
    assert (errors(state, {"kind": "inptu", "x": 1}) == []) == (name == "open")


@pytest.mark.parametrize("name", ["open", "closed"])
def test_a_tool_has_the_configuration_of_what_it_uses(name: str) -> None:
    schema = BUILT[name]
    tool = part(schema, {"$ref": "#/$defs/tool"})
    assert errors(tool, {"use": "shell.run", "with": {"env": ["CI"]}}) == []
    assert errors(tool, {"use": "shell.run", "with": {"envs": ["CI"]}}) != []
    assert errors(tool, {"use": "files.read", "with": {"env": ["CI"]}}) != []
    assert (errors(tool, {"use": "web.get", "with": {"x": 1}}) == []) == (name == "open")


def test_a_plugins_schema_may_refer_to_parts_of_itself() -> None:
    own = {
        "type": "object",
        "$defs": {"level": {"enum": ["low", "high"]}},
        "properties": {"level": {"$ref": "#/$defs/level"}},
        "additionalProperties": False,
    }
    kind = Kind(name="mine", shape="none", schema=json.dumps(own))
    tool = ToolInfo("my.tool", config_schema={**own, "required": ["level"]})
    schema = build({"mine": kind}, {"my.tool": tool})
    state = part(schema, {"$ref": "#/$defs/state"})
    assert errors(state, {"kind": "mine", "level": "low"}) == []
    assert errors(state, {"kind": "mine", "level": "middle"}) != []
    declared = part(schema, {"$ref": "#/$defs/tool"})
    assert errors(declared, {"use": "my.tool", "with": {"level": "high"}}) == []
    assert errors(declared, {"use": "my.tool", "with": {"level": "middle"}}) != []
    assert errors(declared, {"use": "my.tool"}) == ["'with' is a required property"]


def test_a_kind_whose_keys_are_free_keeps_them_free() -> None:
    kind = Kind(name="free", shape="none", schema=json.dumps({"type": "object", "required": ["a"]}))
    state = part(build({"free": kind}), {"$ref": "#/$defs/state"})
    assert errors(state, {"kind": "free", "a": 1, "b": [2], "on": {"x": "y"}}) == []
    assert "'a' is a required property" in errors(state, {"kind": "free", "b": 2})


def test_known_events_and_endings_stand_under_on_and_those_the_core_digests_do_not() -> None:
    events = CLOSED["$defs"]["state"]["properties"]["on"]["properties"]
    assert {"model.replied", "user.message", "lint.done"} <= set(events)
    assert not {"timer.fired", "gate.decided", "tool.answered"} & set(events)
    assert events["lint.done"]["description"] == (
        "A state of kind `lint` has ended this way.\nFields: `warnings` (int), `worst` (string)."
    )
