"""The catalog as plugin authors and the spec reader see it, and the check of arguments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit import Shown

from loopspec.events import ApprovalGiven
from loopspec.hooks import ToolFailed
from loopspec.snapshot import Call
from loopspec.tools.arguments import validate
from loopspec.tools.ask import PERSON
from loopspec.tools.catalog import TOOLS


def test_what_each_tool_declares() -> None:
    found = {
        tool.name: (tool.effect, tool.after_crash, tool.paths, tool.command, tool.total)
        for tool in TOOLS
    }
    assert found == {
        "files.read": ("read", "rerun", ("path",), "", 30.0),
        "files.write": ("write", "rerun", ("path",), "", 30.0),
        "files.edit": ("write", "probe", ("path",), "", 30.0),
        "files.list": ("read", "rerun", ("path",), "", 30.0),
        "files.search": ("read", "rerun", ("path",), "", 60.0),
        "shell.run": ("write", "ask", (), "command", 600.0),
        "ask.person": ("read", "rerun", (), "", 86_400.0),
        "context.recall": ("read", "rerun", (), "", 60.0),
    }
    assert [t.name for t in TOOLS if (t.probe is not None) != (t.after_crash == "probe")] == []
    assert {t.name for t in TOOLS if t.preview} == {"files.write", "files.edit", "shell.run"}


def test_every_schema_is_a_schema() -> None:
    from jsonschema import Draft202012Validator

    for tool in TOOLS:
        Draft202012Validator.check_schema(tool.parameters)
        Draft202012Validator.check_schema(tool.config_schema)
        assert set(tool.paths) <= set(tool.parameters["properties"])


def test_importing_the_catalog_is_light() -> None:
    code = (
        "import sys, loopspec.tools.catalog; "
        "print([m for m in ('jsonschema', 'litellm', 'yaml', 'click', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Answers:
    """A person who answers every question the same way."""

    async def approve(self, call: Call, args: str, preview: str, rule: str) -> ApprovalGiven:
        raise AssertionError("a question is no approval")

    async def answer(self, question: str) -> str:
        return f"{question} Yes."


def test_a_question_reaches_the_person_or_says_that_nobody_is_there(tmp_path: Path) -> None:
    there = Shown(tmp_path, people=Answers())
    assert there.run(PERSON, question="Go on?") == "Go on? Yes."
    with pytest.raises(ToolFailed, match="nobody is there to answer"):
        Shown(tmp_path).run(PERSON, question="Go on?")


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "content": {"type": "string"},
            "limit": {"type": "integer", "minimum": 1},
            "tags": {"type": "array", "items": {"type": ["string", "null"]}},
        },
        "required": ["path", "content"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ({"path": "a", "content": "b", "limit": 3, "tags": ["x", None]}, ""),
        ({}, "path: is missing; content: is missing"),
        (
            {"path": 3, "content": "", "limit": True, "tag": 1},
            "tag: is not an argument; limit: must be of type integer; path: must be of type string",
        ),
        (
            {"path": "a", "content": "", "limit": 0, "tags": [1]},
            "limit: 0 is less than the minimum of 1; tags.0: must be of type string or null",
        ),
        (
            {"path": "a", "content": "", **{f"x{n}": n for n in range(7)}},
            "; ".join(f"x{n}: is not an argument" for n in range(5)) + "; and 2 more",
        ),
    ],
)
def test_bad_arguments_are_named_in_one_line(args: dict[str, object], line: str) -> None:
    assert validate(SCHEMA, args) == line


def test_nothing_is_fetched_and_a_bad_schema_is_a_fault_of_its_own() -> None:
    remote = json.dumps({"$ref": "http://127.0.0.1:1/schema.json"})
    for schema in (remote, '{"type": 7}', "{", '{"$ref": "#/$defs/missing"}'):
        line = validate(schema, {"a": 1})
        assert line.startswith("the tool's own schema cannot be used: ")
        assert "\n" not in line and len(line) <= 201


def test_a_long_value_does_not_make_a_long_line() -> None:
    line = validate('{"properties": {"a": {"enum": ["x"]}}}', {"a": "y\n" * 10_000})
    assert line.startswith("a: ") and "\n" not in line and len(line) <= 201
