"""Explain: why a session stands where it stands, and what would move it.

Rules of this file:
1. Pure: machine, snapshot, the last entries and the refusals go in, plain data comes out.
2. Nothing is decided here: rest, acceptance, grants and matching are asked of `loopspec.machine`,
   so that what is shown cannot differ from what `step` does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from shlex import quote
from typing import Any, Final

from loopspec.effects import CallModel
from loopspec.events import name_of
from loopspec.journal.entry import Entry
from loopspec.machine.ledger import grant_for
from loopspec.machine.model import Machine, Place, Transition
from loopspec.machine.named import asides
from loopspec.machine.pressing import PPM
from loopspec.machine.spending import BUDGETS
from loopspec.machine.step import MOVED, accepted
from loopspec.snapshot import Call, Snapshot
from loopspec.views.explain_text import render as render
from loopspec.views.explanation import (
    AcceptedCommand,
    ActiveState,
    ArmedTimer,
    AskedGuard,
    BudgetUse,
    ContextUse,
    Explanation,
    FailingModel,
    HeldGrant,
    Hop,
    LastMove,
    LedgerCall,
    PassedModel,
    PendingEffect,
    Refusal,
    RollbackPoint,
    Way,
)
from loopspec.views.waits import budget_state, left, purpose, routed, waits
from loopspec.views.words import left_out, sentence, what

NEWEST_BOUNDARIES: Final = 5
NEWEST_GUARDS: Final = 10
NEWEST_REFUSALS: Final = 5
_LINES: Final = {
    "user.resumed": "loopspec resume {id}",
    "user.message": 'loopspec resume {id} -p "…"',
    "approval.given": "loopspec resume {id}",
    "budget.extended": "loopspec resume {id} --extend turns=20",
    "user.interrupted": "Ctrl-C where it runs",
    "rollback.chosen": "b at the menu after Ctrl-C",
    "user.called": "!COMMAND at the prompt",
    "user.withdrew": "the queue at the prompt",
    "model.chosen": "/model at the prompt",
    "compaction.requested": "/compact at the prompt",
}
"""How a person sends a command; approvals are asked one by one when a session resumes."""


def explain(
    machine: Machine,
    snapshot: Snapshot,
    entries: Sequence[Entry],
    refusals: Sequence[Mapping[str, Any]],
    now: int,
    awake: int,
) -> Explanation:
    """Explain a session.

    `entries` are the last few entries (about 50), newest last; `refusals` the ring of refusals,
    oldest first, each with `at`, `event`, `by` and `why`. `now` is UTC microseconds, `awake` the
    session's awake clock in microseconds (the snapshot's own, when no process drives it).
    """
    reason, told = waits(machine, snapshot, now, awake)
    return Explanation(
        session=snapshot.session,
        spec=machine.name,
        version=machine.version,
        file=_file(machine),
        machine=machine.digest,
        seq=snapshot.seq,
        started=snapshot.started,
        age=now - snapshot.started,
        reason=reason,
        waits=told,
        states=tuple(_states(machine, snapshot, now)),
        pending=tuple(_pending(snapshot, now)),
        timers=tuple(_timers(machine, snapshot, now, awake)),
        failing=tuple(_failing(snapshot, now)),
        passed=tuple(_passed(machine, snapshot, entries)),
        calls=tuple(_call(snapshot, call, now) for call in _in_order(snapshot.calls.values())),
        grants=tuple(_grants(snapshot, now)),
        boundaries=tuple(_boundaries(snapshot, now)),
        boundary_count=len(snapshot.boundaries),
        inbox=len(snapshot.inbox),
        budgets=tuple(_budget(machine, snapshot, which, awake) for which in BUDGETS),
        spent=snapshot.spent,
        context=_context(machine, snapshot),
        ways=tuple(_ways(machine, snapshot)),
        commands=tuple(_commands(machine, snapshot)),
        guards=tuple(_guards(machine, entries))[:NEWEST_GUARDS],
        last=_last(machine, entries, now),
        refusals=tuple(_refusal(r, now) for r in list(refusals)[: -NEWEST_REFUSALS - 1 : -1]),
    )


def _file(machine: Machine) -> str:
    """The machine file's name without its directory."""
    return PurePath(machine.file).name


def _place(machine: Machine, place: Place | str) -> str:
    """`file:line`, empty when the line is not known."""
    line = str(place.line) if isinstance(place, Place) else place.partition(":")[0]
    if line in ("", "0"):
        return ""
    return f"{_file(machine)}:{line}" if machine.file else f"line {line}"


def _leaves(machine: Machine, configuration: Iterable[str]) -> list[str]:
    """The innermost active states."""
    active = list(configuration)
    inner = {machine.states[path].parent for path in active}
    return [path for path in active if path not in inner]


def _states(machine: Machine, snapshot: Snapshot, now: int) -> Iterator[ActiveState]:
    """The active leaves."""
    for path in _leaves(machine, snapshot.configuration):
        state = machine.states[path]
        kind = machine.kind_of(path)
        act = snapshot.activations.get(path)
        since = snapshot.entered.get(path, snapshot.started)
        yield ActiveState(
            path=path,
            place=_place(machine, state.place),
            kind=state.kind,
            does=sentence(kind.doc) if kind else _plain(state.type, state.outcome),
            phase=act.phase if act else "",
            since=since,
            age=now - since,
        )


def _plain(form: str, outcome: str) -> str:
    """What a state without a kind does."""
    if form == "final":
        return f"The end ({outcome})."
    return "Does nothing of its own; waits for an event it has a transition for."


def _pending(snapshot: Snapshot, now: int) -> Iterator[PendingEffect]:
    """The effects without an answer, oldest first."""
    for key, pending in sorted(snapshot.pending.items(), key=lambda kv: (kv[1].at, kv[0])):
        effect = pending.effect
        model = effect if isinstance(effect, CallModel) else None
        yield PendingEffect(
            id=key,
            what=what(effect),
            state=effect.state,
            status=pending.status,
            claimed=pending.claimed,
            age=now - pending.at,
            attempt=model.attempt if model else 0,
            rung=model.rung if model else 0,
            continues=model.continues if model else -1,
        )


def _failing(snapshot: Snapshot, now: int) -> Iterator[FailingModel]:
    """The models whose last attempts failed, in the order of their names."""
    for use, made in sorted(snapshot.breakers.items()):
        yield FailingModel(use, made.failures, made.reason, max(0, made.until - now) if made.until else 0)


def _passed(machine: Machine, snapshot: Snapshot, entries: Sequence[Entry]) -> Iterator[PassedModel]:
    """The models that the call under way asks no more, as far back as the entries go."""
    kinds = ((machine.kind_of(path), act) for path, act in snapshot.activations.items())
    calls = [act.since for kind, act in kinds if kind is not None and kind.effect == "call_model"]
    for entry in entries:
        if calls and entry.at >= min(calls):
            for model in entry.record.left:
                yield PassedModel(entry.seq, model.use, left_out(model))


def _timers(machine: Machine, snapshot: Snapshot, now: int, awake: int) -> Iterator[ArmedTimer]:
    """The armed timers, the first to fire first; then due times kept over a suspension."""
    armed = [
        ArmedTimer(
            id=timer.id,
            what=purpose(machine, snapshot, timer),
            state=timer.state,
            clock=timer.clock,
            left=left(timer, now, awake),
        )
        for timer in snapshot.timers.values()
    ]
    yield from sorted(armed, key=lambda t: (t.left, t.id))
    for key, due in sorted(snapshot.kept_timers.items()):
        declared = machine.timers.get(key)
        clock = declared.clock if declared else "wall"
        state = declared.state if declared else ""
        yield ArmedTimer(
            id=key,
            what=f"kept while suspended: leave `{state}`",
            state=state,
            clock=clock,
            left=due - (now if clock == "wall" else awake),
        )


def _in_order(calls: Iterable[Call]) -> list[Call]:
    """Calls in the order they were proposed."""
    return sorted(calls, key=lambda c: (c.seq, c.index))


def _call(snapshot: Snapshot, call: Call, now: int) -> LedgerCall:
    """One call of the ledger."""
    open_ = call.status not in ("answered", "denied")
    grant = grant_for(snapshot.grants, call, now) if open_ else None
    return LedgerCall(
        id=call.id,
        tool=call.tool,
        effect=call.effect,
        status=call.status,
        rule=call.rule,
        reason=call.reason,
        grant=grant.id if grant else "",
        own=call.own,
        edited=call.edited >= 0,
    )


def _grants(snapshot: Snapshot, now: int) -> Iterator[HeldGrant]:
    """Every grant the session holds."""
    for grant in snapshot.grants.values():
        yield HeldGrant(
            id=grant.id,
            scope=grant.scope,
            tool=grant.tool,
            args_hash=grant.args_hash,
            approver=grant.approver,
            uses=grant.uses,
            left=grant.expires - now if grant.expires else None,
            within=(*grant.paths, *grant.commands),
        )


def _boundaries(snapshot: Snapshot, now: int) -> Iterator[RollbackPoint]:
    """The newest boundaries, newest first."""
    for made in snapshot.boundaries[: -NEWEST_BOUNDARIES - 1 : -1]:
        yield RollbackPoint(
            id=made.id,
            method=made.method,
            state=made.state,
            seq=made.seq,
            age=now - made.at,
            remaining=made.remaining,
        )


def _budget(machine: Machine, snapshot: Snapshot, which: str, awake: int) -> BudgetUse:
    """One budget."""
    used, limit = budget_state(machine, snapshot, which, awake)
    return BudgetUse(
        which=which,
        used=used,
        limit=limit,
        extended=snapshot.extended.get(which, 0),
        unpriced=snapshot.usage.unpriced if which == "usd" else 0,
    )


def _context(machine: Machine, snapshot: Snapshot) -> ContextUse:
    """How full the window of the active state's model is, or the smallest one that is known."""
    windows = {
        name: machine.context.window or decl.window or snapshot.windows.get(name, 0)
        for name, decl in machine.models.items()
        if name not in asides(machine)
    }
    active = [machine.states[path].model for path in snapshot.configuration]
    names = [name for name in active if name] or [name for name, size in windows.items() if size]
    model = min(names, key=lambda name: windows.get(name, 0)) if names else ""
    window = windows.get(model, 0)
    return ContextUse(
        tokens=snapshot.usage.context,
        window=window,
        compact_at=window * machine.context.compact_at // PPM,
        model=model,
    )


def _ways(machine: Machine, snapshot: Snapshot) -> Iterator[Way]:
    """Every transition of the active states: each leaf, then its ancestors, in document order."""
    seen: set[str] = set()
    for leaf in _leaves(machine, snapshot.configuration):
        for path in machine.ancestry(leaf):
            if path in seen:
                continue
            seen.add(path)
            for number in machine.states[path].transitions:
                yield _way(machine, snapshot, machine.transitions[number])


def _way(machine: Machine, snapshot: Snapshot, transition: Transition) -> Way:
    """One transition."""
    timer = next((machine.timers[name] for name in transition.on if name in machine.timers), None)
    target = transition.target or ""
    enters: tuple[str, ...] = ()
    if target and machine.states[target].type == "history":
        recorded = snapshot.history.get(target)
        enters = tuple(_leaves(machine, recorded) if recorded else [machine.states[target].default])
    return Way(
        event=" ".join(transition.on) or "always",
        source=transition.source,
        place=_place(machine, transition.place),
        guard=transition.guard,
        target=target,
        enters=enters,
        delay=timer.delay if timer else None,
    )


def _commands(machine: Machine, snapshot: Snapshot) -> Iterator[AcceptedCommand]:
    """What `step` would take now, and how to send it."""
    for event in accepted(machine, snapshot):
        yield AcceptedCommand(
            event=event,
            routed=event == "approval.given" or routed(machine, snapshot, event),
            line=_LINES.get(event, "").format(id=quote(snapshot.session)),
        )


def _guards(machine: Machine, entries: Sequence[Entry]) -> Iterator[AskedGuard]:
    """Guards that said no or erred since the last move, that move included; newest entry first."""
    for entry in reversed(entries):
        for asked in entry.record.guards:
            if asked.gave != "true":
                yield AskedGuard(
                    seq=entry.seq,
                    event=name_of(entry.event),
                    place=_place(machine, asked.place),
                    guard=asked.guard,
                    gave=asked.gave,
                    saw=asked.saw,
                )
        if entry.outcome == MOVED:
            return


def _last(machine: Machine, entries: Sequence[Entry], now: int) -> LastMove | None:
    """The newest entry that moved the machine, None if it is older than the entries given."""
    for entry in reversed(entries):
        if entry.outcome == MOVED:
            return LastMove(
                seq=entry.seq,
                event=name_of(entry.event),
                by=entry.by,
                at=entry.at,
                age=now - entry.at,
                hops=tuple(
                    Hop(t.event, t.source, t.target, _place(machine, t.place))
                    for t in entry.record.taken
                ),
            )
    return None


def _refusal(note: Mapping[str, Any], now: int) -> Refusal:
    """One refused command; a note is written by us but read from a store, so nothing is assumed."""
    at = note.get("at", 0)
    at = at if isinstance(at, int) else 0
    return Refusal(
        event=str(note.get("event", "")),
        by=str(note.get("by", "")),
        why=str(note.get("why", "")),
        at=at,
        age=now - at,
    )
