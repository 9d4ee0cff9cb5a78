"""Durations, sizes and money in the configuration of plugins: written as in the language."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from loopspec.machine.model import Kind
from loopspec.spec import literals
from loopspec.spec.parse import Compiled, ToolInfo, compile_spec
from loopspec.spec.typed import editable

CONFIG: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "pause": {"type": "string", "format": "duration"},
        "limit": {"type": "string", "format": "size"},
        "most": {"type": "string", "format": "usd"},
        "steps": {"type": "array", "items": {"type": "string", "format": "duration"}},
        "each": {"type": "object", "additionalProperties": {"type": "string", "format": "size"}},
        "when": {"type": "string", "format": "date-time"},
    },
}
POLL = Kind(
    name="poll",
    shape="one",
    effect="perform",
    performer="poll",
    endings={"poll.done": json.dumps({"type": "object"})},
    schema=json.dumps(CONFIG),
)


def made(keys: str, tool: str = "") -> Compiled:
    """A spec whose one state of kind `poll` has `keys`, and whose one tool has `tool`."""
    text = f"""\
loopspec: 1
name: small
version: 1.0.0
tools: {{fetch: {{use: net.fetch, with: {{{tool}}}}}}}
initial: poll
states:
  poll: {{kind: poll, {keys + ", " if keys else ""}on: {{poll.done: end, effect.failed: end}}}}
  end: {{type: final}}
"""
    fetch = ToolInfo("net.fetch", config_schema=CONFIG)
    return compile_spec(text, kinds={"poll": POLL}, tools={"net.fetch": fetch})


def test_typed_literals_arrive_as_whole_numbers() -> None:
    keys = 'pause: 1.5s, limit: 64KB, most: 2.50, steps: [1ms, 2s], each: {a: 4096, b: "1KiB"}, when: now'
    result = made(keys, keys)
    assert result.diagnostics == []
    assert result.machine is not None
    wanted = {
        "pause": 1_500_000,
        "limit": 64_000,
        "most": 2_500_000_000,
        "steps": [1_000, 2_000_000],
        "each": {"a": 4096, "b": 1024},
        "when": "now",
    }
    assert json.loads(result.machine.states["poll"].config) == wanted
    assert json.loads(result.machine.tools["fetch"].config) == wanted


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("pause: 90", "LS105"),
        ("pause: soon", "LS105"),
        ("limit: 64 KB", "LS114"),
        ("limit: 1.5B", "LS114"),
        ("limit: -1", "LS114"),
        ("most: free", "LS107"),
        ("steps: [1s, two]", "LS105"),
        ("each: {a: much}", "LS114"),
        ("pause: [1s]", "LS502"),
    ],
)
def test_a_literal_that_is_none_is_named(key: str, code: str) -> None:
    assert [d.code for d in made(key).diagnostics] == [code]
    assert [d.code for d in made("", key).diagnostics] == [code.replace("LS502", "LS504")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1B", 1),
        ("1kB", 1_000),
        ("1KB", 1_000),
        ("1KiB", 1_024),
        ("1.5MB", 1_500_000),
        ("0.5KiB", 512),
        ("2GiB", 2 * 1024**3),
        ("1 MB", None),
        ("1TB", None),
        ("01", None),
        ("1e3", None),
        ("0.3KiB", None),
        ("9" * 50, None),
    ],
)
def test_sizes(text: str, value: int | None) -> None:
    assert literals.size(text) == value


LITERALS = st.text(alphabet="0123456789.kKMGiBsmhd ", max_size=6)


@given(LITERALS, st.sampled_from(["pause", "limit", "most"]))
def test_the_editors_schema_and_the_reader_are_of_one_mind(text: str, key: str) -> None:
    read = {"pause": literals.duration, "limit": literals.size, "most": literals.usd}[key]
    validator = Draft202012Validator(editable(CONFIG), registry=Registry())
    assert validator.is_valid({key: text}) == (read(text) is not None)
