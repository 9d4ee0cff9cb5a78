"""Routes: the names of events, and which of them a transition's descriptors mean.

Rules of this file:
1. `a.b` means exactly that event, `a.*` all below `a`, `*` all but `after` and `done.state`. A notice is
   meant by its own name only, for it asks for nothing: whoever does not name it goes on as it was.
2. What the core digests itself is routed by nobody.
"""

from collections.abc import Iterable
from typing import Final

from loopspec.events import BY_NAME
from loopspec.machine.model import Machine

SILENT: Final = frozenset(
    {
        "session.started",
        "effect.claimed",
        "effect.cancelled",
        "timer.fired",
        "gate.decided",
        "approval.given",
        "user.withdrew",
        "attempt.failed",
        "tool.answered",
        "boundary.taken",
        "effect.answered",
    }
)
"""What the core digests itself; specs route what follows from them instead."""


NOTICES: Final = frozenset({"model.rate_limited", "model.overloaded"})
"""What a state may be told while its work goes on."""


def event_universe(machine: Machine) -> set[str]:
    """Every event name that can reach the chart."""
    names = {name for name in BY_NAME if name not in SILENT}
    names.update(machine.timers)
    for kind in machine.kinds.values():
        names.update(kind.endings)
    for transition in machine.transitions:
        names.update(d for d in transition.on if not _is_pattern(d))
        names.update(a.name for a in transition.actions if a.do == "raise")
    for state in machine.states.values():
        names.update(a.name for a in state.entry + state.exit if a.do == "raise")
    return names - SILENT


def _is_pattern(descriptor: str) -> bool:
    """Whether a descriptor stands for more than one event."""
    return descriptor == "*" or descriptor.endswith(".*")


def matches(descriptor: str, event: str) -> bool:
    """Whether an event descriptor (`a.b`, `a.*`, `*`) matches an event's name."""
    if descriptor == event or event in NOTICES:
        return descriptor == event
    if descriptor == "*":
        return not event.startswith(("after.", "done.state."))
    return descriptor.endswith(".*") and event.startswith(descriptor[:-1])


def expand(descriptor: str, names: Iterable[str]) -> list[str]:
    """The events of `names` that a descriptor matches, sorted."""
    return sorted(n for n in names if matches(descriptor, n))
