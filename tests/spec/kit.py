"""What is installed in these tests: loopspec's own kinds, one kind of a plugin, and a few tools."""

import json
from pathlib import Path
from typing import Final

from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.machine.model import Kind
from loopspec.performers.builtin import KINDS as OURS
from loopspec.registry import installed
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
                "most": {"type": "string", "format": "size"},
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
    """Compile, without looking at the loop as a whole, with what is installed here."""
    return compile_spec(source, kinds=KINDS, tools=TOOLS, name=name)


def checked(source: Path | str, name: str = "spec.yaml", *, lint: bool = False) -> Compiled:
    """Check as `loopspec check` does: with what loopspec brings, and the plugin's kind if wanted."""
    ours = installed()
    kinds = {**ours.kinds, LINT.name: LINT} if lint else ours.kinds
    return check_spec(source, kinds=kinds, tools=tool_infos(ours), name=name)


def wrong(path: Path) -> Compiled:
    """Check one of the bad specs under its file's name; the plugin's kind is there if it is used."""
    return checked(path, path.name, lint=b"kind: lint" in path.read_bytes())
