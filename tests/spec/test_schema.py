"""The JSON Schema: equal to what is stored, and of one mind with the parser about forms."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

from loopspec.spec.diagnose import Diagnostics
from loopspec.spec.keys import TABLES
from loopspec.spec.schema import build, render
from loopspec.spec.shape import Shape
from loopspec.spec.source import plain, read_text, scan

from .kit import HERE, KINDS, TOOLS

STORED = HERE.parents[1] / "schemas" / "loopspec-1.schema.json"
# Codes of faults that the schema finds as well: forms, not names, references or routing.
FORMS = {"LS101", "LS102", "LS103", "LS104", "LS105", "LS106", "LS107", "LS108", "LS109"}
FORMS |= {"LS110", "LS312", "LS501", "LS502", "LS503", "LS504", "LS901"}


def errors(schema: dict[str, Any], data: object) -> list[str]:
    """What a schema says of data."""
    validator = Draft202012Validator(schema, registry=Registry())
    return [error.message for error in validator.iter_errors(data)]


def test_the_stored_schema_is_the_built_one() -> None:
    assert STORED.read_text(encoding="utf-8") == render(build())


@pytest.mark.parametrize("given", [{}, {"kinds": KINDS}, {"kinds": KINDS, "tools": TOOLS}])
def test_every_built_schema_is_a_schema(given: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(build(**given))


@pytest.mark.parametrize(("table", "key"), [(t.name, k.name) for t in TABLES.values() for k in t.keys])
def test_every_example_is_accepted_by_parser_and_schema(table: str, key: str) -> None:
    known = TABLES[table].key(key)
    assert known is not None and len(known.doc) > 10
    found = Diagnostics("x")
    node = read_text(known.example, "x")
    Shape(found).check(node, known.form, key, node)
    assert found.sorted() == []
    schema = build()
    owner = schema if table == "spec" else schema["$defs"][table]
    one = {"$defs": schema["$defs"], **owner["properties"][key]}
    assert errors(one, json.loads(known.example)) == []


def test_the_excerpt_is_accepted_with_and_without_what_is_installed() -> None:
    node = scan(HERE / "excerpt.yaml").node
    assert node is not None
    assert errors(build(), plain(node)) == []
    assert errors(build(KINDS, TOOLS), plain(node)) == []


def of_form(path: Path) -> bool:
    """Whether a bad spec has a fault that the schema knows of."""
    return path.stem.split("-")[0] in FORMS


BAD = sorted((HERE / "bad").glob("LS[1-9]*.yaml"))


@pytest.mark.parametrize("path", [path for path in BAD if of_form(path)], ids=lambda path: path.stem)
def test_the_schema_refuses_the_forms_the_parser_refuses(path: Path) -> None:
    node = scan(path).node
    assert node is not None
    assert errors(build(KINDS, TOOLS), plain(node))


def test_the_schema_accepts_the_forms_of_specs_with_other_faults() -> None:
    also = {"LS111", "LS112", "LS205", "LS311"}
    for path in BAD:
        if of_form(path) or path.stem.split("-")[0] in also:
            continue
        node = scan(path).node
        assert node is not None
        assert (path.stem, errors(build(KINDS, TOOLS), plain(node))) == (path.stem, [])


def test_a_state_has_the_keys_of_its_kind_and_no_others() -> None:
    schema = build(KINDS)
    state = {"$defs": schema["$defs"], "$ref": "#/$defs/state"}
    assert errors(state, {"kind": "wait", "for": "30s"}) == []
    assert errors(state, {"kind": "wait"}) == ["'for' is a required property"]
    assert errors(state, {"kind": "wait", "for": 30}) == ["30 is not of type 'string'"]
    assert errors(state, {"kind": "wait", "for": "30"}) != []
    assert errors(state, {"kind": "input", "for": "30s"}) != []
    assert errors(state, {"kind": "lint", "level": "low", "limit": 3}) == []
    assert errors(state, {"level": "low"}) != []
    assert errors(state, {"kind": "inptu"}) != []


def test_a_tool_has_the_configuration_of_what_it_uses() -> None:
    schema = build(None, TOOLS)
    tool = {"$defs": schema["$defs"], "$ref": "#/$defs/tool"}
    assert errors(tool, {"use": "shell.run", "with": {"env": ["CI"]}}) == []
    assert errors(tool, {"use": "shell.run", "with": {"envs": ["CI"]}}) != []
    assert errors(tool, {"use": "files.read", "with": {"env": ["CI"]}}) != []
    assert errors(tool, {"use": "files.raed"}) != []
