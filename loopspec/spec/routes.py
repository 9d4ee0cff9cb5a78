"""Routes: is every event that can come known, and every ending taken by somebody?

Rules of this file:
1. An ending is seen by the state that ended and by its ancestors; one of them must route it.
2. An event name is one of loopspec's, a kind's ending, or raised by this very spec.
"""

import re
from typing import Final

from loopspec.events import BY_NAME, LIVE, tag_of
from loopspec.machine.model import Budgets, Kind, State
from loopspec.machine.named import MODEL, marked_texts
from loopspec.machine.routes import NOTICES
from loopspec.spec.diagnose import nearest, quote
from loopspec.spec.forms import DESCRIPTOR
from loopspec.spec.job import Job
from loopspec.spec.source import Entry
from loopspec.spec.states import Raw

# What the core digests itself: what a spec can route instead.
INSTEAD: Final[dict[str, str]] = {
    "session.started": "use `entry` of the initial state",
    "effect.claimed": "remove it; route `effect.lost`",
    "effect.cancelled": "remove it; use `exit` of the state that is left",
    "timer.fired": "use `after`",
    "gate.decided": "route `gate.allowed`, `gate.asked` and `gate.denied`",
    "user.withdrew": "remove it; it only takes a message out of the inbox",
    "approval.given": "route `approval.granted` and `approval.denied`",
    "attempt.failed": "route `model.failed`, raised after the last attempt, or the notices "
    "`model.rate_limited` and `model.overloaded`",
    "tool.answered": "route `tools.settled`, raised after the last call",
    "boundary.taken": "remove it; the state goes on by itself",
    "effect.answered": "route the ending by its own name, as the kind declares it",
}
_DESCRIPTOR: Final = re.compile(DESCRIPTOR, re.ASCII)
_LIVE: Final = frozenset(tag_of(kind) for kind in LIVE)
_BUDGETED: Final = frozenset({"call_model", "run_tool", "compact_context"})


def covers(descriptor: str, event: str) -> bool:
    """Whether an event descriptor (`a.b`, `a.*`, `*`) matches an event's name."""
    if event in NOTICES:
        return descriptor == event
    if descriptor.endswith(".*"):
        return event.startswith(descriptor[:-1])
    return descriptor in ("*", event)


def check_routes(job: Job, raws: list[Raw], budgets: Budgets) -> None:
    """Report unknown events, endings nobody takes, and conversations beside each other."""
    known = [name for name in BY_NAME if name not in INSTEAD]
    for kind in job.kinds.values():
        known += [ending for ending in kind.endings if ending not in known]
    known += [name for name in job.raised if name not in known]
    meant: dict[str, tuple[str, ...]] = {}
    for routes in job.routes.values():
        for entry in routes:
            meant[entry.key] = _known(job, entry, known)
    for raw in raws:
        state = job.states[raw.path]
        if state.kind:
            _endings(job, raw, state, budgets, meant)
        if state.type == "parallel":
            _conversations(job, raw, raws)


def _known(job: Job, entry: Entry, known: list[str]) -> tuple[str, ...]:
    """Report a name that no event has; gives back what may have been meant."""
    name = entry.key
    if not _DESCRIPTOR.fullmatch(name):
        return ()  # `shape` has reported it
    if name == "*" or any(covers(name, event) for event in known):
        return ()
    near: tuple[str, ...] = ()
    if name in INSTEAD:
        fault, remedy = f"{quote(name)} never reaches a state", INSTEAD[name]
    elif name in _LIVE:
        fault = f"{quote(name)} is only shown to who watches and never reaches a state"
        remedy = "remove it"
    elif name.startswith("done."):
        fault, remedy = f"{quote(name)} is no event name", "use `done` of the compound state"
    elif name.startswith("after."):
        fault, remedy = f"{quote(name)} is no event name", "use `after` of the state"
    else:
        fault = f"no event is called {quote(name)}"
        remedy = "use an event of loopspec, an ending of a kind, or one this spec raises"
        near = nearest(name, known)
    job.found.add("LS205", entry, fault, remedy, near)
    return near


def required_endings(job: Job, kind: Kind, state: State, budgets: Budgets) -> list[str]:
    """Every event that a state of this kind can end with in this spec."""
    wanted = list(kind.endings)
    if kind.effect == "run_tool" and any(
        tool.after_crash in ("ask", "probe") for tool in job.declared.values()
    ):
        wanted.append("effect.lost")
    if kind.effect == "perform":
        wanted.append("effect.failed")
        if not kind.repeatable:
            wanted.append("effect.lost")
    if state.boundary:
        wanted.append("boundary.failed")
    if kind.effect == "call_model":
        wanted.append("context.pressed")
    spends = kind.effect in _BUDGETED or bool(marked_texts(kind.schema, state.config, MODEL))
    if spends and budgets != Budgets():
        wanted.append("budget.exhausted")
    return list(dict.fromkeys(wanted))


def _endings(
    job: Job, raw: Raw, state: State, budgets: Budgets, meant: dict[str, tuple[str, ...]]
) -> None:
    taken: list[str] = []
    path = raw.path
    while path:
        for entry in job.routes.get(path, []):
            taken += [entry.key, *meant[entry.key][:1]]
        path = path.rpartition(".")[0]
    kind = job.used[state.kind]
    at = raw.node.entry("kind") or raw.entry
    for ending in required_endings(job, kind, state, budgets):
        if not any(covers(descriptor, ending) for descriptor in taken):
            fault = (
                f"{quote(raw.path)} can end with {quote(ending)}, "
                "and neither it nor a state around it routes that"
            )
            job.found.add("LS308", at, fault, f"add `{ending}: STATE` to its `on`")


def _conversations(job: Job, raw: Raw, raws: list[Raw]) -> None:
    """At most one region of a parallel state may use the conversation."""
    talking: dict[str, Raw] = {}
    for inner in raws:
        state = job.states[inner.path]
        if not inner.path.startswith(f"{raw.path}.") or not state.kind:
            continue
        if job.used[state.kind].conversation:
            region = inner.path[len(raw.path) + 1 :].split(".")[0]
            talking.setdefault(region, inner)
    if len(talking) > 1:
        first, second, *_ = talking.values()
        fault = (
            f"{quote(second.path)} and {quote(first.path)} both use the conversation, "
            f"in parallel regions of {quote(raw.path)}"
        )
        at = second.node.entry("kind") or second.entry
        remedy = "keep the conversation in one region, or put one after the other"
        job.found.add("LS309", at, fault, remedy)
