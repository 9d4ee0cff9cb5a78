"""Authority: the answer of the envelope for one call. Pure: no disk, no clock.

Rules of this file:
1. Deny wins over ask, ask over allow; what no rule names is denied.
2. A deny or ask rule matches as soon as one part of the call fits, an allow rule only if all of it
   does. Another deny rule never widens what may happen; another ask rule only where no rule named
   the call before: there a person now decides.
3. A grant turns ask into allow, and so does who makes a call of their own. Nothing turns a deny into
   anything else.
4. What is not as expected (an undeclared tool, a path that is not below the work directory) is
   denied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from loopspec.events import Decision
from loopspec.machine.globs import OPERATORS, covers, matches_path, matches_text
from loopspec.machine.grants import standing, target_of
from loopspec.machine.model import Machine, Rule
from loopspec.snapshot import Call, Grant

CONFINEMENT: Final = "confinement"
UNDECLARED: Final = "undeclared-tool"
DEFAULT: Final = "default"


@dataclass(frozen=True)
class Target:
    """What a call acts on, resolved from its arguments.

    `paths` are relative to the work directory, in posix form, symbolic links resolved; `command`
    is a command line. `problem` is not empty when a path leads outside: such a call is denied.
    """

    paths: tuple[str, ...] = ()
    command: str = ""
    problem: str = ""


def decide(
    machine: Machine, call: Call, target: Target, grants: Mapping[str, Grant], at: int
) -> Decision:
    """Whether `call` may run: `allow`, `ask` or `deny`, with the rule behind it and why.

    `at` is UTC microseconds, by which grants expire.
    """
    declared = machine.tools.get(call.tool)
    if declared is None:
        return _deny(call, UNDECLARED, f"the tool `{call.tool}` is not declared")
    problem = target.problem or _malformed(target)
    if not problem and declared.paths and not target.paths:
        problem = "its paths could not be told from its arguments"
    if problem:
        return _deny(call, CONFINEMENT, problem)
    envelope = machine.authority
    runs_command = bool(declared.command or target.command)
    for rule in envelope.deny:
        if _touches(rule, call.tool, target, runs_command):
            return _deny(call, _name("deny", rule), rule.reason)
    for rule in envelope.ask:
        if _touches(rule, call.tool, target, runs_command):
            return _asked(call, target, rule, grants, at)
    for rule in envelope.allow:
        if _covers(rule, call.tool, target, runs_command):
            return Decision(
                call=call.id, answer="allow", rule=_name("allow", rule), reason=rule.reason
            )
    return _deny(call, DEFAULT, "no rule allows it")


def _asked(
    call: Call, target: Target, rule: Rule, grants: Mapping[str, Grant], at: int
) -> Decision:
    """What a rule that asks comes to: a question, unless a person has answered it already."""
    name = _name("ask", rule)
    if call.own:
        by = f"{name}, answered by who called"
        return Decision(call=call.id, answer="allow", rule=by, reason=rule.reason)
    acting = msgspec.structs.replace(call, paths=target.paths, command=target.command)
    grant = standing(grants, acting, at)
    if grant is not None:
        by = f"grant {grant.id} over {name}"
        return Decision(call=call.id, answer="allow", rule=by, reason=rule.reason)
    paths, command = target_of(target.paths, target.command)
    return Decision(call.id, "ask", name, rule.reason, paths, command)


def _deny(call: Call, rule: str, reason: str) -> Decision:
    return Decision(call=call.id, answer="deny", rule=rule, reason=reason)


def _name(answer: str, rule: Rule) -> str:
    """A rule as people read it, e.g. `ask at 31:5 (shell)`."""
    return f"{answer} at {rule.place} ({', '.join(rule.tools)})"


def _malformed(target: Target) -> str:
    """Why the paths are not what the performer promises, empty if they are."""
    for path in target.paths:
        if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
            return f"the path {path!r} is not below the work directory"
    return ""


def _names_tool(rule: Rule, tool: str) -> bool:
    return any(matches_text(glob, tool) for glob in rule.tools)


def _touches(rule: Rule, tool: str, target: Target, runs_command: bool) -> bool:
    """Whether a deny or ask rule matches: one path and one part of the command are enough.

    Paths are compared without regard to case: on a file system that does not tell `.GIT` from
    `.git` the rule must hold too, and elsewhere it only narrows.
    """
    if not _names_tool(rule, tool):
        return False
    if rule.paths and not any(
        matches_path(glob, path, fold=True) for glob in rule.paths for path in target.paths
    ):
        return False
    if not rule.commands:
        return True
    return runs_command and any(
        matches_text(glob, part) for glob in rule.commands for part in _parts(target.command)
    )


def _parts(command: str) -> tuple[str, ...]:
    """The whole command line and each piece between its operators.

    `rm *` must also find `cd build && rm -rf .`. This is no parser: quoting or a script can hide a
    command from it, which is why what nobody allowed is denied.
    """
    pieces = {piece.strip(" \t()") for piece in OPERATORS.split(command)} - {""}
    return (command, command.strip(), *sorted(pieces))


def _covers(rule: Rule, tool: str, target: Target, runs_command: bool) -> bool:
    """Whether an allow rule matches: every path and the whole command, and there must be some."""
    command = target.command if runs_command else None
    return _names_tool(rule, tool) and covers(rule.paths, rule.commands, target.paths, command)
