"""Work: what an active state's kind does, and when.

Rules of this file:
1. Nothing starts while cancelled work has not settled: a rollback never runs beside a living writer,
   and the next request holds what the last one left.
2. Budgets are checked before work is emitted; a spent one raises `budget.exhausted` instead.
3. A kind is dispatched by the effect it declares, never by its name.
"""

import json

from loopspec.effects import (
    DecideCalls,
    Perform,
    RestoreBoundary,
    TakeBoundary,
)
from loopspec.events import (
    BudgetExhausted,
    EffectLost,
    ErrorExecution,
    Raised,
    RollbackFailed,
    TimerFired,
    UserMessage,
    WaitOver,
    name_of,
)
from loopspec.machine import ledger, outbox
from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.model import Kind, State
from loopspec.machine.modelling import call_model
from loopspec.machine.named import models_of, rendered
from loopspec.machine.pressing import compact
from loopspec.machine.spending import stopped_by_budget
from loopspec.machine.texts import TextError, render
from loopspec.machine.values import Values
from loopspec.snapshot import Timer


def settle(draft: Draft) -> bool:
    """Start what waits to start; whether anything changed."""
    if draft.cancelling():
        return False
    changed = False
    for path in draft.active():
        if draft.activations[path].phase == "held":
            changed = True
            _start(draft, path)
            if draft.queue:
                break
    return changed


def _start(draft: Draft, path: str) -> None:
    """Start one state's kind."""
    state = draft.machine.states[path]
    kind = draft.machine.kinds[state.kind]
    activation(draft, path, phase="running")
    if kind.rests not in ("", "approval"):  # whoever waits here has left what was done for a call
        ledger.close_own(draft)
    match kind.effect:
        case "":
            _wait(draft, state, kind)
        case "call_model":
            call_model(draft, state)
        case "decide_calls":
            _decide(draft, state)
        case "run_tool":
            _run_tools(draft, state)
        case "compact_context":
            compact(draft, state)
        case "restore_boundary":
            _restore(draft, state)
        case _:
            _perform(draft, state, kind)


def _perform(draft: Draft, state: State, kind: Kind) -> None:
    """Begin a plugin's own work; what can ask a model is stopped by a spent budget."""
    path = state.path
    if models_of(draft.machine, path) and stopped_by_budget(draft, path):
        return
    try:
        config = rendered(kind.schema, state.config, lambda text: render(text, Values(draft)))
    except TextError as err:
        fault = f"a text of `{path}` at {state.place}: {err}"
        activation(draft, path, phase="ended")
        raised = ErrorExecution(place=str(state.place), error=fault, event="")
        draft.push(name_of(raised), raised, path)
        return
    draft.emit(Perform(id=draft.next_id(), state=path, kind=kind.name, config=config))


def _wait(draft: Draft, state: State, kind: Kind) -> None:
    """A kind without an effect: takes a waiting message, ends what has nothing to ask, arms a timer."""
    if kind.takes_inbox and draft.inbox and draft.inbox[0].seq not in draft.offered:
        oldest = draft.inbox[0]  # it leaves the inbox when a transition takes it
        draft.offered.add(oldest.seq)
        message = UserMessage(text=oldest.text, tokens=oldest.tokens)
        draft.push(name_of(message), message, state.path)
    if kind.rests == "approval":
        own = ledger.has_own(draft, "lost")
        activation(draft, state.path, own=own)
        ending = ledger.approval_ending(draft, own)
        if ending is not None:
            activation(draft, state.path, phase="ended")
            draft.push(name_of(ending), ending, state.path, ending=True)
    if kind.timer:
        delay = int(json.loads(state.config).get(kind.timer, 0))
        key = f"wait:{state.path}"
        due = draft.kept_due(key, draft.at + delay)
        draft.arm(Timer(id=key, state=state.path, clock="wall", due=due, purpose="wait"))


def _decide(draft: Draft, state: State) -> None:
    """Put proposed calls before the gate; without any, the ledger says how it ends."""
    own = ledger.has_own(draft, "proposed", "allowed", "granted")
    activation(draft, state.path, own=own)
    calls = [c for c in ledger.in_order(draft) if c.status == "proposed" and c.own is own]
    if calls:
        proposed = tuple(c.id for c in calls)
        draft.emit(DecideCalls(id=draft.next_id(), state=state.path, calls=proposed))
        return
    ending = ledger.gate_ending(draft, own)
    activation(draft, state.path, phase="ended")
    draft.push(name_of(ending), ending, state.path, ending=True)


def _run_tools(draft: Draft, state: State) -> None:
    """Run what may run, behind a boundary if anything writes."""
    path = state.path
    own = draft.activations[path].own or ledger.has_own(draft, "allowed", "granted", "lost")
    activation(draft, path, own=own)
    if ledger.unsettled(draft, own):
        activation(draft, path, phase="ended")
        lost = EffectLost(effect="", reason="an earlier call is lost and nobody has answered for it")
        draft.push(name_of(lost), lost, path, ending=True)
        return
    ready = ledger.runnable(draft, own)
    if not ready:
        ending = ledger.tools_ending(draft, own)
        activation(draft, path, phase="ended")
        draft.push(name_of(ending), ending, path, ending=True)
        return
    if not own and stopped_by_budget(draft, path):  # a person's own call is theirs to make
        return
    act = draft.activations[path]
    if state.boundary and not act.boundary and any(c.effect != "read" for c in ready):
        activation(draft, path, phase="boundary")
        draft.emit(
            TakeBoundary(id=draft.next_id(), state=path, boundary=f"b{draft.seq}")
        )
        return
    ledger.run_next(draft, path, own)


def _restore(draft: Draft, state: State) -> None:
    """Put the workspace back at the chosen boundary (the newest, if none was chosen)."""
    ids = [b.id for b in draft.boundaries]
    wanted = draft.chosen or (ids[-1] if ids else "")
    if wanted not in ids:
        activation(draft, state.path, phase="ended")
        none = RollbackFailed(effect="", reason="there is no boundary to roll back to")
        draft.push(name_of(none), none, state.path, ending=True)
        return
    since = draft.boundaries[ids.index(wanted) :]
    remaining = tuple(r for b in since for r in b.remaining)
    draft.emit(
        RestoreBoundary(
            id=draft.next_id(),
            state=state.path,
            boundary=wanted,
            ref=since[0].ref,
            remaining=remaining,
        )
    )


def timer_fired(draft: Draft, event: TimerFired) -> None:
    """A timer came due; unarmed ones are noted."""
    timer = draft.disarm(event.timer)
    if timer is None:
        return
    match timer.purpose:
        case "after":
            draft.push(timer.id, Raised(name=timer.id), timer.state)
        case "retry":
            activation(draft, timer.state, phase="held")
        case "outbox":
            outbox.look(draft, timer.state)
        case "expiry":
            outbox.expire(draft, timer.state)
        case "wait":
            activation(draft, timer.state, phase="ended")
            draft.push("wait.over", WaitOver(), timer.state, ending=True)
        case "budget":
            draft.spent = "elapsed"
            draft.push("budget.exhausted", BudgetExhausted(which="elapsed"))
        case other:
            raise AssertionError(f"no timer has the purpose {other!r}")
