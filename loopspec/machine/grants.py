"""Grants: what a person's yes covers, and how long.

Rules of this file:
1. A grant covers a call by exactly what its scope says, as long as it lives; whatever cannot be told
   (a target too long to be kept) is not covered.
2. A grant for one call is used once and never outlives it. The others hold for the session, or expire.
3. Grants have a limit: the oldest leaves, and what it covered is asked about again.
"""

from collections.abc import Mapping
from typing import Final

from loopspec.events import ApprovalGiven
from loopspec.machine.given import fault_of
from loopspec.machine.globs import covers
from loopspec.snapshot import Call, Grant

SCOPES: Final = ("call", "exact", "limited", "tool")
"""Narrowest first: the narrowest grant that covers a call is the one that lets it through."""
MAX_GRANTS: Final = 64
MAX_GLOBS: Final = 16
MAX_GLOB: Final = 500
LONGEST: Final = 366 * 86_400_000_000
"""A year in microseconds: a yes that is older should be said again."""
MAX_TARGET: Final = 2_000
"""Characters of what an asked call acts on that its entry in the ledger keeps."""


def target_of(paths: tuple[str, ...], command: str) -> tuple[tuple[str, ...], str]:
    """What an asked call acts on, as it is kept: all of it or, when that is too long, nothing."""
    size = sum(map(len, paths)) + len(paths) + len(command)
    return (tuple(paths), command) if size <= MAX_TARGET else ((), "")


def grant_for(grants: Mapping[str, Grant], call: Call, at: int) -> Grant | None:
    """The narrowest living grant that covers a call; `at` is UTC microseconds, by which they expire."""
    if not grants:
        return None
    living = [g for g in in_age(grants) if g.uses != 0 and (not g.expires or g.expires > at)]
    found = (g for scope in SCOPES for g in living if g.scope == scope and _covers(g, call))
    return next(found, None)


def standing(grants: Mapping[str, Grant], call: Call, at: int) -> Grant | None:
    """Like `grant_for`, without those for one call: what the gate lets through by."""
    return grant_for({k: g for k, g in grants.items() if g.scope != "call"}, call, at)


def in_age(grants: Mapping[str, Grant]) -> list[Grant]:
    """Grants, the oldest first: never in a map's own order (see `draft.effect_order`)."""
    return sorted(grants.values(), key=lambda g: (len(g.id), g.id))


def _covers(grant: Grant, call: Call) -> bool:
    """Whether a grant's scope holds this call."""
    if grant.tool != call.tool:
        return False
    match grant.scope:
        case "call" | "exact":
            return grant.args_hash == call.args_hash
        case "limited":
            limited = bool(grant.paths or grant.commands)
            return limited and covers(grant.paths, grant.commands, call.paths, call.command or None)
        case "tool":
            return True
        case _:
            return False


def given(event: ApprovalGiven, call: Call, key: str, by: str, at: int) -> Grant:
    """The grant that an accepted answer makes; `call` is the call as it will run."""
    scope = event.scope if event.answer == "grant" else "call"
    limited = scope == "limited"
    return Grant(
        id=key,
        scope=scope,
        tool=call.tool,
        args_hash=call.args_hash if scope in ("call", "exact") else "",
        approver=by,
        expires=at + event.lasts if event.lasts else 0,
        uses=1 if scope == "call" else -1,
        paths=tuple(event.paths) if limited else (),
        commands=tuple(event.commands) if limited else (),
    )


def joined(grants: Mapping[str, Grant], new: Grant) -> dict[str, Grant]:
    """The grants with a new one. It stands for an older one that says the same."""
    if new.scope == "call":
        return {**grants, new.id: new}
    same = _said(new)
    kept = [g for g in in_age(grants) if _said(g) != same]
    holding = [g for g in kept if g.scope != "call"]
    gone = {g.id for g in holding[: max(0, len(holding) + 1 - MAX_GRANTS)]}
    return {g.id: g for g in (*kept, new) if g.id not in gone}


def _said(grant: Grant) -> tuple[object, ...]:
    """What a grant says, whoever gave it and however long it holds."""
    return (grant.scope, grant.tool, grant.args_hash, grant.paths, grant.commands)


def refusal(call: Call, event: ApprovalGiven) -> str:
    """Why an answer's scope, limits or arguments cannot be taken, empty if they can."""
    if event.scope not in SCOPES:
        return f"`{event.scope}` is no scope; use {', '.join(SCOPES)}"
    if not 0 <= event.lasts <= LONGEST:
        return "a grant lasts for a number of microseconds up to a year; 0 is for the session"
    if event.args:
        if event.answer != "grant" or event.scope not in ("call", "exact"):
            return "changed arguments go with the answer `grant` and the scope call or exact"
        if fault := fault_of(event.args):
            return f"the changed arguments {fault}"
    if event.scope != "limited" or event.answer != "grant":
        limits = event.paths or event.commands
        return "paths and commands go with a `grant` of the scope limited" if limits else ""
    return _limits_refused(call, event)


def _limits_refused(call: Call, event: ApprovalGiven) -> str:
    """Why these limits cannot be taken, empty if they can."""
    globs = (*event.paths, *event.commands)
    if not globs:
        return "a limited grant says what it is limited to: name paths or commands, or use the scope tool"
    if len(globs) > MAX_GLOBS or any(not g.strip() or len(g) > MAX_GLOB for g in globs):
        return f"limits are 1 to {MAX_GLOBS} globs of 1 to {MAX_GLOB} characters"
    if not (call.paths or call.command):
        return (
            f"what call `{call.id}` acts on is not known, or too long to be limited; "
            "use the scope call, exact or tool"
        )
    if covers(event.paths, event.commands, call.paths, call.command or None):
        return ""
    acts = [f"acts on {', '.join(call.paths)}"] if call.paths else []
    acts += [f"runs `{call.command}`"] if call.command else []
    return (
        f"these limits do not cover call `{call.id}` itself, which {' and '.join(acts)}; "
        "widen paths and commands, or use the scope exact"
    )
