"""The plugin loopspec itself is: all it brings, through the public hooks.

Importing this file is cheap: what does the work is named here and imported when a session needs it.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from loopspec.hooks import ModelProvider, Observer, Performer, StoreFactory, Tool, hook
from loopspec.machine.model import Kind

_NOTHING = json.dumps({"type": "object", "additionalProperties": False})
_WAIT = json.dumps(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["for"],
        "properties": {
            "for": {
                "type": "string",
                "format": "duration",
                "description": "How long to wait, e.g. 30s; then `wait.over` is raised.",
                "examples": ["30s"],
            }
        },
    }
)

_COMPACT = json.dumps(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {
                "type": "string",
                "format": "model",
                "description": "The declared model that writes the summary of what leaves. Without one, "
                "and whenever it fails, the summary is made of lines of what left.",
                "examples": ["main"],
            },
            "prompt": {
                "type": "string",
                "format": "template",
                "description": "What that model is told instead of our own words, as a Jinja2 text.",
                "examples": ["Write down what was decided, in at most 300 words."],
            },
        },
        "dependentRequired": {"prompt": ["model"]},
    }
)


def _ours(*names: str) -> dict[str, str]:
    """Endings whose fields are loopspec's own events."""
    return dict.fromkeys(names, "")


KINDS: tuple[Kind, ...] = (
    Kind(
        name="input",
        shape="none",
        offers=("user.message",),
        rests="input",
        takes_inbox=True,
        schema=_NOTHING,
        doc="Waits for a message; on entry it takes the oldest one waiting. A run may rest here.",
    ),
    Kind(
        name="model",
        shape="one",
        effect="call_model",
        performer="model",
        endings=_ours("model.replied", "model.overflowed", "model.failed"),
        schema=_NOTHING,
        conversation=True,
        doc="Asks a model for the next reply, streaming; retries and fallbacks as declared.",
    ),
    Kind(
        name="gate",
        shape="one",
        effect="decide_calls",
        performer="gate",
        endings=_ours("gate.allowed", "gate.asked", "gate.denied"),
        schema=_NOTHING,
        doc="Holds every proposed call against the authority envelope. Fails closed.",
    ),
    Kind(
        name="approval",
        shape="none",
        endings=_ours("approval.granted", "approval.denied"),
        offers=("approval.given",),
        rests="approval",
        schema=_NOTHING,
        doc="Waits until a person has answered every asked or lost call. A run may rest here.",
    ),
    Kind(
        name="tools",
        shape="each",
        effect="run_tool",
        performer="tools",
        endings=_ours("tools.settled"),
        schema=_NOTHING,
        conversation=True,
        doc="Runs allowed and granted calls: neighbouring reads together, writes in order.",
    ),
    Kind(
        name="compact",
        shape="one",
        effect="compact_context",
        performer="compact",
        endings=_ours("context.compacted", "context.stuck"),
        schema=_COMPACT,
        conversation=True,
        doc="Makes what the model sees smaller; pins and the newest units stay verbatim. A declared "
        "`model` may write the summary of what leaves.",
    ),
    Kind(
        name="interrupt",
        shape="none",
        offers=("user.resumed", "user.message", "rollback.chosen"),
        rests="interrupted",
        schema=_NOTHING,
        doc="A person has stopped the work; waits for what they want. A run may rest here.",
    ),
    Kind(
        name="suspend",
        shape="none",
        offers=("host.woke", "user.resumed"),
        rests="suspended",
        schema=_NOTHING,
        doc="The host has parked the session; due times are kept. A run may rest here.",
    ),
    Kind(
        name="rollback",
        shape="one",
        effect="restore_boundary",
        performer="workspace",
        endings=_ours("rollback.done", "rollback.partial", "rollback.failed"),
        schema=_NOTHING,
        doc="Puts the workspace back at the chosen boundary, the newest by default.",
    ),
    Kind(
        name="wait",
        shape="none",
        endings=_ours("wait.over"),
        timer="for",
        schema=_WAIT,
        doc="Waits for a time.",
    ),
)


def _lazy(module: str, name: str) -> Callable[..., Any]:
    """A factory that imports what it makes when it is called."""

    def make() -> Any:
        return getattr(import_module(f"loopspec.{module}"), name)()

    return make


def _sqlite(where: str, *, readonly: bool) -> Any:
    """The store in a directory; a temporary one may not be named by accident, so `where` is needed."""
    store: Any = import_module("loopspec.stores.sqlite").SqliteStore
    return store(Path(where).expanduser().absolute(), readonly=readonly)


def _memory(where: str, *, readonly: bool) -> Any:
    """A store that is forgotten when the process ends: for trying things out."""
    return import_module("loopspec.stores.memory").MemoryStore()


@hook
def loopspec_kinds() -> list[Kind]:
    """The ten kinds of state loopspec ships."""
    return list(KINDS)


@hook
def loopspec_tools() -> list[Tool]:
    """The tools loopspec ships."""
    from loopspec.tools.catalog import TOOLS

    return list(TOOLS)


@hook
def loopspec_performers() -> dict[str, Callable[[], Performer]]:
    """The performers loopspec ships."""
    return {
        "model": _lazy("performers.model", "ModelPerformer"),
        "gate": _lazy("performers.gate", "GatePerformer"),
        "tools": _lazy("performers.tools", "ToolsPerformer"),
        "compact": _lazy("performers.compact", "CompactPerformer"),
        "workspace": _lazy("performers.workspace", "WorkspacePerformer"),
        "host": _lazy("performers.host_survey", "HostPerformer"),
    }


@hook
def loopspec_stores() -> dict[str, StoreFactory]:
    """The stores loopspec ships."""
    return {"sqlite": _sqlite, "memory": _memory}


@hook
def loopspec_observers() -> dict[str, Callable[[], Observer]]:
    """The observers loopspec ships."""
    return {"otel": _lazy("observers.otel", "OtelObserver")}


@hook
def loopspec_models() -> dict[str, Callable[[], ModelProvider]]:
    """The models that need no litellm: `scripted/FILE`, `local/NAME`, and the rules of a spec."""
    return {
        "rules": _lazy("performers.rules_provider", "RulesProvider"),
        "scripted": _lazy("performers.scripted_provider", "ScriptedProvider"),
        "local": _lazy("performers.local.provider", "LocalProvider"),
    }
