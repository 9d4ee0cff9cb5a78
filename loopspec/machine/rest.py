"""Rest: whether a session waits for somebody outside, and for whom. Computed, never stored."""

from typing import Final

import msgspec

from loopspec.machine.dispatch import finished
from loopspec.machine.model import Machine
from loopspec.machine.outbox import waiting
from loopspec.snapshot import Snapshot

ORDER: Final = ("approval", "interrupted", "suspended", "input")


class Rest(msgspec.Struct, frozen=True):
    """Why nothing will happen by itself.

    `reason` is `finished`, `failed`, `stuck`, `budget`, `approval`, `interrupted`, `suspended`,
    `outbox`, `input` or `idle`; `state` is the state that rests, `detail` says more where there is more.
    """

    reason: str
    state: str = ""
    detail: str = ""


def resting(machine: Machine, snapshot: Snapshot) -> Rest | None:
    """Why the session rests, None while it works or waits for a timer of its own."""
    if snapshot.pending:
        return None
    if snapshot.stuck:
        return Rest("stuck", _leaf(snapshot), snapshot.stuck)
    if finished(machine, snapshot):
        leaf = _leaf(snapshot)
        failed = machine.states[leaf].outcome == "failed"
        if failed and snapshot.spent:
            return Rest("budget", leaf, snapshot.spent)
        return Rest("failed" if failed else "finished", leaf)
    if any(t.purpose in ("retry", "wait") for t in snapshot.timers.values()):
        return None
    waits = {
        kind.rests: path
        for path in snapshot.activations
        if (kind := machine.kind_of(path)) is not None and kind.rests
    }
    for reason in ORDER:
        if reason in waits:
            return Rest(reason, waits[reason])
    for found in waiting(machine, snapshot):
        return Rest("outbox", found.state, ", ".join(found.tiers))
    if any(t.purpose == "after" for t in snapshot.timers.values()):
        return None
    if snapshot.spent:
        return Rest("budget", _leaf(snapshot), snapshot.spent)
    ended = [path for path, act in snapshot.activations.items() if act.phase == "ended"]
    if ended:
        return Rest("stuck", ended[0], f"`{ended[0]}` has ended, and what it ended with led nowhere")
    leaf = _leaf(snapshot)
    if not leaf:
        return Rest("idle")
    return Rest("failed" if machine.states[leaf].outcome == "failed" else "idle", leaf)


def _leaf(snapshot: Snapshot) -> str:
    """The innermost active state (the last in document order)."""
    return snapshot.configuration[-1] if snapshot.configuration else ""
