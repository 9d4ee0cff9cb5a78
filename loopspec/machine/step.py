"""Step: the pure heart. `step(machine, snapshot, event)` gives the next snapshot and the effects.

Two rules, on which everything else rests:
1. **Write, then act.** Whoever calls `step` commits its entry, with a full fsync, before any of its
   effects starts.
2. **Claim before the irreversible.** An effect that may not be repeated gets an `effect.claimed`
   entry before it starts; a restart that finds a claim without an answer reports `effect.lost`.

Here there is no clock, no randomness, no I/O and no async. Only commands can be refused; a refusal
changes nothing and says what is accepted. Facts are never refused: unwanted ones are noted.
"""

from typing import Final

import msgspec

from loopspec.effects import Effect
from loopspec.events import (
    COMMANDS,
    ApprovalGiven,
    BudgetExtended,
    Kept,
    ModelChosen,
    RollbackChosen,
    SessionStarted,
    Stamped,
    UserCalled,
    UserMessage,
    UserWithdrew,
    name_of,
    tag_of,
)
from loopspec.machine import approving, given
from loopspec.machine.chart import matches
from loopspec.machine.dispatch import Engine, dispatch, finished, start
from loopspec.machine.draft import Draft
from loopspec.machine.model import Machine
from loopspec.machine.reduce import reduce
from loopspec.machine.routes import SILENT
from loopspec.machine.spending import BUDGETS
from loopspec.machine.work import settle
from loopspec.record import Record
from loopspec.snapshot import Snapshot

MAX_INTERNAL: Final = 200
MOVED: Final = "moved"
NOTED: Final = "noted"
REFUSED: Final = "refused"
REFUSABLE: Final = frozenset(COMMANDS) - {UserMessage}
"""Commands that may be refused; a message never is."""


class Step(msgspec.Struct, frozen=True):
    """What one event did.

    `outcome` is `moved`, `noted` or `refused`. A refused step has the snapshot it was given, no
    effects, and says in `refusal` why and in `accepted` which commands would be taken.
    """

    outcome: str
    snapshot: Snapshot
    effects: tuple[Effect, ...] = ()
    record: Record = Record()
    blobs: dict[str, bytes] = {}
    refusal: str = ""
    accepted: tuple[str, ...] = ()


_ENGINES: dict[str, Engine] = {}


def engine_of(machine: Machine) -> Engine:
    """The machine's engine, built once per digest: the calculator keeps its classes for ever."""
    key = machine.digest
    found = _ENGINES.get(key)
    if found is None:
        found = _ENGINES[key] = Engine(machine)
    return found


def step(
    machine: Machine, snapshot: Snapshot, stamped: Stamped, engine: Engine | None = None
) -> Step:
    """Move `snapshot` by one stamped event. Pure; never raises for any event of the union.

    `engine` is another than the machine's own, such as one without a memo, to compare the two.
    """
    event = stamped.event
    reason = refusal(machine, snapshot, event)
    if reason:
        return Step(
            outcome=REFUSED,
            snapshot=snapshot,
            refusal=reason,
            accepted=accepted(machine, snapshot),
        )
    engine = engine or engine_of(machine)
    draft = Draft(machine, snapshot, stamped.at, stamped.awake, event)
    reduce(draft, event, stamped.by)
    if isinstance(event, SessionStarted) and snapshot.seq < 0 and not draft.stuck:
        start(engine, draft)
    _run(engine, draft)
    return Step(
        outcome=MOVED if draft.moved else NOTED,
        snapshot=draft.freeze(),
        effects=tuple(draft.effects),
        record=draft.record(),
        blobs=draft.blobs,
    )


def _run(engine: Engine, draft: Draft) -> None:
    """Dispatch what is queued and start what may start, until nothing is left to do."""
    for _ in range(MAX_INTERNAL):
        if draft.queue:
            dispatch(engine, draft, draft.queue.pop(0))
        elif draft.stuck or not settle(draft):
            return
    draft.queue.clear()
    draft.stuck = f"more than {MAX_INTERNAL} internal events in one step: the spec goes in circles"


def refusal(machine: Machine, snapshot: Snapshot, event: Kept) -> str:
    """Why a command cannot be taken here, empty if it can. Facts are never refused."""
    if type(event) not in REFUSABLE:
        return ""
    if finished(machine, snapshot):
        return "the session has finished"
    match event:
        case ApprovalGiven():
            return approving.refusal(machine, snapshot, event)
        case BudgetExtended():
            if event.which not in BUDGETS:
                return f"`{event.which}` is no budget; the budgets are {', '.join(BUDGETS)}"
            return "" if event.amount > 0 else "a budget can only be extended by more than nothing"
        case ModelChosen():
            return _model_refusal(machine, event)
        case RollbackChosen():
            ids = [b.id for b in snapshot.boundaries]
            if not ids:
                return "there is no boundary to roll back to"
            if event.boundary and event.boundary not in ids:
                return f"there is no boundary `{event.boundary}`; there are {', '.join(ids)}"
        case UserWithdrew():
            return _withdrawn(snapshot, event)
        case UserCalled():
            if fault := given.refusal(machine, event):
                return fault
        case _:
            pass
    if name_of(event) in routable(machine, snapshot):
        return ""
    where = ", ".join(snapshot.configuration[-1:]) or "nowhere"
    return f"`{name_of(event)}` leads nowhere from `{where}`"


def _model_refusal(machine: Machine, event: ModelChosen) -> str:
    """Why a model cannot be chosen: the name must be declared, and a usd budget wants a known price."""
    declared = machine.models.get(event.model)
    if declared is None:
        return f"the spec declares no model `{event.model}`; it has {', '.join(machine.models) or 'none'}"
    limited = machine.budgets.usd is not None and declared.unpriced != "allow"
    if event.use and limited and not event.priced:
        return f"the price of {event.use} is unknown, so the usd budget could not be kept"
    return ""


def _withdrawn(snapshot: Snapshot, event: UserWithdrew) -> str:
    """Why a message cannot be taken back, empty if it can."""
    waiting = [w.seq for w in snapshot.inbox]
    if event.message in waiting:
        return ""
    shown = ", ".join(map(str, waiting)) or "none"
    return f"no message of entry {event.message} waits in the inbox; waiting: {shown}"


def routable(machine: Machine, snapshot: Snapshot) -> set[str]:
    """Commands that an active state has a transition for (guards are not asked)."""
    names = [name for kind in COMMANDS if (name := tag_of(kind)) not in SILENT]
    out: set[str] = set()
    for path in snapshot.configuration:
        for number in machine.states[path].transitions:
            for descriptor in machine.transitions[number].on:
                out.update(n for n in names if matches(descriptor, n))
    return out


def accepted(machine: Machine, snapshot: Snapshot) -> tuple[str, ...]:
    """The commands that would be taken now, sorted."""
    if finished(machine, snapshot):
        return ()
    out = routable(machine, snapshot) | {"user.message", "budget.extended"}
    if machine.models:
        out.add("model.chosen")
    if not snapshot.boundaries:
        out.discard("rollback.chosen")
    if snapshot.inbox:
        out.add("user.withdrew")
    waiting = any(c.status in ("asked", "lost") for c in snapshot.calls.values())
    if waiting and approving.asking(machine, snapshot):
        out.add("approval.given")
    return tuple(sorted(out))
