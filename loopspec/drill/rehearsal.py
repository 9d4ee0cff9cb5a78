"""Rehearsal: a script for a loop whose model is a real one, made from what the loop declares.

The scripted model calls each declared tool once, one after another, with the smallest arguments the
tool's schema allows, and then ends with a text. That is no good story, but it leads a loop through its
gate, its approvals and its tools.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from loopspec.hooks import Tool
from loopspec.machine.model import Machine

FILE: Final = "rehearsal.txt"
COMMAND: Final = "echo rehearsal"
ORDER: Final = {"write": 0, "read": 1, "irreversible": 2}


def rehearsal(machine: Machine, tools: Mapping[str, Tool]) -> str:
    """The script's text (JSON, which is YAML). `tools` are the installed ones by their `use`."""
    turns: list[dict[str, Any]] = []
    for name, decl in sorted(machine.tools.items(), key=lambda t: ORDER.get(t[1].effect, 3)):
        tool = tools.get(decl.use)
        if tool is not None:
            args = smallest(json.loads(decl.parameters), tool)
            turns.append({"reply": f"I use {name}.", "calls": [{"tool": name, "args": args}]})
    turns.append({"reply": "That was everything."})
    return json.dumps({"script": 1, "turns": turns}, indent=1)


def smallest(schema: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """The smallest arguments an object's schema allows; paths and commands are harmless ones."""
    known = schema.get("properties", {})
    out: dict[str, Any] = {}
    for name in schema.get("required", []):
        if name in tool.paths:
            out[name] = FILE
        elif name == tool.command:
            out[name] = COMMAND
        else:
            out[name] = _value(known.get(name, {}))
    return out


def _value(schema: Mapping[str, Any]) -> Any:
    """The smallest value a schema allows; its own examples first."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "array":
            return [_value(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "object":
            known = schema.get("properties", {})
            return {name: _value(known.get(name, {})) for name in schema.get("required", [])}
        case "null":
            return None
        case _:
            return "x" * max(1, schema.get("minLength", 1))
