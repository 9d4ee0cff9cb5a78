"""Outbox: work that waits, durably, until there is a network.

Rules of this file:
1. What waits is an activation in the phase `outbox`: nothing is stored twice, and `waiting` computes it.
2. Two timers of the wall's clock stand in the journal while it waits: one looks for the network again,
   one gives up. They hold over a restart and a suspension.
3. Nothing is given up without a last look: work goes on if there is a network by then.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.model import Machine, ModelDecl, State
from loopspec.snapshot import Snapshot, Timer

PHASE: Final = "outbox"
EXPIRED: Final = "expired"
"""Why a call fails that waited for the network longer than it may."""
POLL: Final = "outbox"
EXPIRY: Final = "expiry"
"""Purposes of the two timers; with the state's path they are the ids."""


class Waiting(NamedTuple):
    """Work in the outbox: of which state, for which tiers, since when and until when (UTC µs)."""

    state: str
    model: str
    tiers: tuple[str, ...]
    since: int
    expires: int


def wait(draft: Draft, decl: ModelDecl, path: str) -> bool:
    """Put a call into the outbox, or leave it there; False if it may not wait (any longer)."""
    since = draft.activations[path].queued or draft.at
    due = since + decl.expires
    if not decl.expires or draft.at >= due:
        return False
    activation(draft, path, phase=PHASE, queued=since, network=-1)
    poll = min(draft.at + decl.poll, due)
    draft.arm(Timer(id=f"{POLL}:{path}", state=path, clock="wall", due=poll, purpose=POLL))
    draft.arm(Timer(id=f"{EXPIRY}:{path}", state=path, clock="wall", due=due, purpose=EXPIRY))
    return True


def leave(draft: Draft, path: str) -> None:
    """A call waits no more."""
    if draft.activations[path].queued:
        activation(draft, path, queued=0)
        draft.disarm(f"{POLL}:{path}")
        draft.disarm(f"{EXPIRY}:{path}")


def look(draft: Draft, path: str) -> None:
    """Look for the network again."""
    if path in draft.activations and draft.activations[path].phase == PHASE:
        activation(draft, path, phase="held", network=-1)


def look_everywhere(draft: Draft) -> None:
    """The host is back, or a person wants to go on: whatever waits looks for the network."""
    for path in draft.active():
        if draft.activations[path].phase == PHASE:
            draft.disarm(f"{POLL}:{path}")
            look(draft, path)


def expire(draft: Draft, path: str) -> None:
    """The time is up: the last look settles it (rule 3), if none is under way."""
    draft.disarm(f"{POLL}:{path}")
    look(draft, path)


def resumed(draft: Draft, state: State) -> None:
    """A state is entered again after a suspension: what waited in it has not begun to wait anew."""
    key = f"{EXPIRY}:{state.path}"
    if key in draft.kept_timers:
        due = draft.kept_due(key, 0)
        activation(draft, state.path, queued=due - draft.machine.models[state.model].expires)


def waiting(machine: Machine, snapshot: Snapshot) -> Iterator[Waiting]:
    """What waits in a session's outbox, in the order of the document."""
    for path in sorted(snapshot.activations, key=machine.order.__getitem__):
        act = snapshot.activations[path]
        if act.phase != PHASE:
            continue
        decl = machine.models[machine.states[path].model]
        chosen = snapshot.models.get(decl.name)
        names = [t.name for t in decl.tiers if t.network and t.use not in act.gone]
        tiers = (chosen,) if chosen else tuple(names)
        yield Waiting(path, decl.name, tiers, act.queued, act.queued + decl.expires)
