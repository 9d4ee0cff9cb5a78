"""Values by JSON Schema: what is called good fits, what is called bad does not, and both are found."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.drivers.launch import tool_infos
from loopspec.drivers.sim.values import Pool, inputs_of, pool_of, pools
from loopspec.machine.model import Field, Machine
from loopspec.registry import installed
from loopspec.tools.arguments import validate

TOOLS = tool_infos(installed())
SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 3, "maxLength": 9},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 2, "maximum": 4},
        {"type": "integer", "multipleOf": 5},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "integer"]},
        {"const": 7},
    ]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda i: {"type": "array", "items": i, "minItems": 1, "maxItems": 3}, inner),
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        st.builds(
            lambda a, b: {"type": "object", "properties": {"a": a, "b": b}, "required": ["a"]},
            inner,
            inner,
        ),
    ),
    max_leaves=5,
)


def objects(properties: dict[str, Any]) -> str:
    """The text of a closed schema of an object, of which everything is required."""
    return json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), SCHEMAS, min_size=1), st.integers())
def test_good_values_fit_and_bad_ones_do_not(properties: dict[str, Any], seed: int) -> None:
    schema = objects(properties)
    pool = pool_of(schema, random.Random(seed), {})
    assert pool.good != () and pool.bad != ()
    assert [validate(schema, json.loads(text)) for text in pool.good] == [""] * len(pool.good)
    assert "" not in [validate(schema, json.loads(text)) for text in pool.bad]
    assert pool == pool_of(schema, random.Random(seed), {})


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_every_tool_of_ours_is_given_both(tool: str) -> None:
    info = TOOLS[tool]
    text = json.dumps(dict(info.parameters))
    pool = pool_of(text, random.Random(1), dict.fromkeys(info.paths, ("a.txt", "../b")))
    assert (len(pool.good) > 1, len(pool.bad) > 1) == (True, True)


def test_references_within_the_schema_are_followed() -> None:
    schema = {
        "$defs": {"name": {"type": "string", "minLength": 1}, "point": {"$ref": "#/$defs/pair"},
                  "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}},
        "type": "object",
        "required": ["who", "at"],
        "properties": {"who": {"$ref": "#/$defs/name"}, "at": {"$ref": "#/$defs/point"}},
    }
    pool = pool_of(json.dumps(schema), random.Random(3), {})
    assert all(len(json.loads(text)["at"]) == 2 for text in pool.good)
    assert pool.good != ()


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        '{"type":"object"}',
        '{"$ref":"#/nowhere"}',
        '{"type":"object","required":["a"],"properties":{"a":{"$ref":"#"}}}',
        '{"type":"object","required":["a"],"properties":{"a":{"pattern":"^(z{9}|y)$","type":"string"}}}',
        '{"allOf":[{"required":["a"]},{"properties":{"a":{"type":"integer"}}}]}',
    ],
)
def test_a_schema_that_is_hard_to_guess_gives_what_it_can(schema: str) -> None:
    pool = pool_of(schema, random.Random(5), {})
    assert isinstance(pool, Pool)
    assert [t for t in pool.good if validate(schema, json.loads(t))] == []


def test_inputs_without_a_default_are_made_up() -> None:
    declared = {
        "task": Field("string"),
        "many": Field("int"),
        "fast": Field("bool", "false"),
        "share": Field("number"),
        "more": Field("json", '{"b":[2]}'),
    }
    assert json.loads(inputs_of(declared)) == {
        "task": "something",
        "many": 3,
        "fast": False,
        "share": 1.5,
        "more": {"b": [2]},
    }


def test_pools_are_made_once_for_a_machine() -> None:
    from machine.builders import coding

    made: Machine = coding()
    assert pools(made) is pools(made)
    assert set(pools(made).tools) == set(made.tools)
