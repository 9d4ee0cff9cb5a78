"""What is installed in these tests: loopspec's own kinds, one kind of a plugin, and a few tools."""

import json
from pathlib import Path
from typing import Final

from loopspec.machine.model import Kind
from loopspec.performers.builtin import KINDS as OURS
from loopspec.spec.parse import Compiled, ToolInfo, compile_spec

HERE: Final = Path(__file__).parent
_NAMES: Final = (
    "input",
    "model",
    "gate",
    "approval",
    "tools",
    "compact",
    "interrupt",
    "suspend",
    "rollback",
    "wait",
)
LINT: Final = Kind(
    name="lint",
    shape="one",
    effect="perform",
    performer="lint",
    endings={
        "lint.done": json.dumps(
            {
                "type": "object",
                "properties": {"warnings": {"type": "integer"}, "worst": {"type": "string"}},
            }
        )
    },
    schema=json.dumps(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["level"],
            "properties": {
                "level": {"enum": ["low", "high"]},
                "files": {"type": "array", "items": {"type": "string"}},
                "limit": {"type": "integer", "minimum": 1},
            },
        }
    ),
)
KINDS: Final = {kind.name: kind for kind in (*OURS, LINT) if kind.name in (*_NAMES, "lint")}
_PATH: Final = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS: Final = {
    tool.name: tool
    for tool in (
        ToolInfo("files.read", "Reads a file.", _PATH, "read", "rerun", ("path",), total=30.0),
        ToolInfo("files.edit", "Edits a file.", _PATH, "write", "probe", ("path",), total=30.0),
        ToolInfo(
            "shell.run",
            "Runs a command.",
            {"type": "object", "properties": {"command": {"type": "string"}}},
            "write",
            "ask",
            command="command",
            config_schema={
                "type": "object",
                "additionalProperties": False,
                "properties": {"env": {"type": "array", "items": {"type": "string"}}},
            },
        ),
    )
}


def compiled(source: Path | str, name: str = "spec.yaml") -> Compiled:
    """Compile with what is installed here."""
    return compile_spec(source, kinds=KINDS, tools=TOOLS, name=name)
