"""The plugin loopspec itself is: its state kinds, tools and performers, through the public hooks.

Importing this file is cheap: performers are named here and imported when a session needs them.
"""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

from loopspec.hooks import Performer, Tool, hook
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
        schema=_NOTHING,
        conversation=True,
        doc="Makes what the model sees smaller; pins and the newest units stay verbatim.",
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


def _lazy(module: str, name: str) -> Callable[[], Performer]:
    """A factory that imports its performer when it is called."""

    def make() -> Performer:
        made: Any = getattr(import_module(f"loopspec.performers.{module}"), name)()
        performer: Performer = made
        return performer

    return make


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
        "model": _lazy("model", "ModelPerformer"),
        "gate": _lazy("gate", "GatePerformer"),
        "tools": _lazy("tools", "ToolsPerformer"),
        "compact": _lazy("compact", "CompactPerformer"),
        "workspace": _lazy("workspace", "WorkspacePerformer"),
    }
