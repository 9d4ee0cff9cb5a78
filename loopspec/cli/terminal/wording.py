"""Wording: what a call acts on and which rule asks about it, for a person to read."""

import json
from pathlib import Path
from typing import Any

from loopspec.cli.terminal.look import Look
from loopspec.cli.terminal.paint import plain
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError
from loopspec.governance.authority import Target
from loopspec.hooks import ToolFailed
from loopspec.machine.model import Rule
from loopspec.snapshot import Call
from loopspec.tools.confine import relative


def target_of(session: Session, call: Call) -> Target:
    """What a call acts on: its paths, resolved, and its command line. Nothing when it cannot be told:
    the gate will judge the call itself, this is only what an offer is made from."""
    declared = session.machine.tools.get(call.tool)
    if declared is None:
        return Target()
    try:
        args = json.loads(session.args(call))
        workdir = Path(session.snapshot.workdir)
        given = [path for name in declared.paths for path in _texts(args.get(name))]
        command = args.get(declared.command) if declared.command else ""
        return Target(
            paths=tuple(relative(workdir, path) for path in given),
            command=command if isinstance(command, str) else "",
        )
    except (LoopspecError, ToolFailed, ValueError, OSError):
        return Target()


def _texts(value: Any) -> list[str]:
    """A text, or the texts of a list."""
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def rule_lines(session: Session, call: Call, width: int, look: Look) -> list[str]:
    """The rule that asks: where it stands in the spec, its text, why; or why the call is lost."""
    style = look.style
    out = ["", style.strong("Why this is asked")]
    if call.status == "lost":
        out += plain(
            f"The call was begun, and nobody knows whether it was done: {call.reason}. "
            f"`{call.tool}` is declared {call.effect}, so a person decides.",
            width,
            look,
            mark="  ",
        )
        return out
    found = _rule(session, call)
    if found is None:
        out += plain(f"{call.rule or 'no rule is named'}: {call.reason}", width, look, mark="  ")
        return out
    file = session.machine.file or session.machine.name
    out += plain(f"{file}:{found.place}", width, look, mark="  ")
    out += plain("authority:\n  ask:\n    - " + _yaml(found), width, look, mark="  ", dim=True)
    if found.reason:
        out += plain(f"Because: {found.reason}", width, look, mark="  ")
    if found.paths or found.commands:
        touched = target_of(session, call)
        what = ", ".join((*touched.paths, *([touched.command] if touched.command else [])))
        out += plain(f"It matches: {what}", width, look, mark="  ")
    return out


def _rule(session: Session, call: Call) -> Rule | None:
    """The ask rule that a call names (`ask at 31:5 (shell)`)."""
    for rule in session.machine.authority.ask:
        if call.rule.startswith(f"ask at {rule.place} "):
            return rule
    return None


def _yaml(rule: Rule) -> str:
    """A rule in the flow style of the language."""
    parts = [f"tools: {_list(rule.tools)}"]
    parts += [f"paths: {_list(rule.paths)}"] if rule.paths else []
    parts += [f"commands: {_list(rule.commands)}"] if rule.commands else []
    parts += [f"reason: {rule.reason}"] if rule.reason else []
    return "{" + ", ".join(parts) + "}"


def _list(globs: tuple[str, ...]) -> str:
    """Globs as a list of the language."""
    return "[" + ", ".join(json.dumps(g, ensure_ascii=False) for g in globs) + "]"
