"""Reduce: what each accepted event changes before the chart sees anything.

Rules of this file:
1. One exhaustive `match` over commands and facts, without a wildcard. (What comes most often stands
   first: the alternatives are tried one after the other.)
2. An answer finds its effect by id. A stale id changes nothing: the event is noted. An answer that
   does not fit its effect says that the performer failed.
3. An answer to cancelled work is kept as an honest result but does not move the machine.
"""

from typing import assert_never

import msgspec

from loopspec.effects import (
    CallModel,
    Cancel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.events import (
    Answer,
    ApprovalGiven,
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    BudgetExtended,
    CompactionRequested,
    ContextCompacted,
    ContextStuck,
    EffectAnswered,
    EffectCancelled,
    EffectClaimed,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostSuspended,
    HostWoke,
    Kept,
    ModelChosen,
    ModelOverflowed,
    ModelReplied,
    RollbackChosen,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    SessionStarted,
    TimerFired,
    TokenUsage,
    ToolAnswered,
    UserCalled,
    UserInterrupted,
    UserMessage,
    UserResumed,
    UserWithdrew,
    name_of,
)
from loopspec.machine import approving, ledger
from loopspec.machine.doing import activation, misfit
from loopspec.machine.draft import ELAPSED, Draft, begin
from loopspec.machine.modelling import retry_or_fail
from loopspec.machine.spending import spend
from loopspec.machine.work import timer_fired
from loopspec.record import AddPartial, Replace
from loopspec.snapshot import Boundary, Pending, Timer
from loopspec.tokens import estimate


def reduce(draft: Draft, event: Kept, by: str) -> None:
    """Fold one accepted event into the draft and queue what the chart should see."""
    match event:
        case (
            ModelReplied()
            | GateDecided()
            | ToolAnswered()
            | EffectLost()
            | EffectCancelled()
            | EffectFailed()
            | EffectAnswered()
            | ModelOverflowed()
            | AttemptFailed()
            | ContextCompacted()
            | ContextStuck()
            | BoundaryTaken()
            | BoundaryFailed()
            | RollbackDone()
            | RollbackPartial()
            | RollbackFailed()
        ):
            if event.effect not in draft.pending:
                return
            pending = draft.own_pending().pop(event.effect)
            if fault := misfit(pending.effect, event):
                used = getattr(event, "usage", TokenUsage())
                event = EffectFailed(effect=event.effect, reason=fault, usage=used)
            if isinstance(event, AttemptFailed | EffectAnswered | EffectCancelled | EffectFailed):
                spend(draft, event.usage, turns=0)  # a reply counts a turn, too: see `_replied`
            if pending.status == "cancelling":
                _settled(draft, event, pending.effect)
            else:
                _answered(draft, event, pending)
        case SessionStarted():
            if draft.old.seq < 0:
                begin(draft, event)
        case (
            UserMessage()
            | UserInterrupted()
            | UserResumed()
            | CompactionRequested()
            | HostSuspended()
            | HostWoke()
        ):
            draft.push(name_of(event), event)
        case UserCalled():  # it enters the ledger when a transition takes it
            draft.push(name_of(event), event)
        case UserWithdrew():
            draft.inbox = tuple(w for w in draft.inbox if w.seq != event.message)
        case RollbackChosen():
            draft.chosen = event.boundary or draft.boundaries[-1].id
            draft.push(name_of(event), event)
        case ApprovalGiven():
            approving.approve(draft, event, by)
            _approval_settled(draft)
        case BudgetExtended():
            _budget_extended(draft, event)
        case ModelChosen():
            _model_chosen(draft, event)
        case TimerFired():
            timer_fired(draft, event)
        case EffectClaimed():
            _claimed(draft, event)
        case _:
            assert_never(event)


def _budget_extended(draft: Draft, event: BudgetExtended) -> None:
    """More of a budget."""
    more = draft.extended.get(event.which, 0) + event.amount
    draft.extended = {**draft.extended, event.which: more}
    if draft.spent == event.which:
        draft.spent = ""
    if event.which == "elapsed" and draft.machine.budgets.elapsed is not None:
        old = draft.timers.get(ELAPSED)
        due = (old.due if old else draft.awake) + event.amount
        draft.arm(Timer(id=ELAPSED, state="", clock="awake", due=due, purpose="budget"))
    draft.push(name_of(event), event)


def _model_chosen(draft: Draft, event: ModelChosen) -> None:
    """Another model behind a declared name; a call that is out is left alone."""
    others = {name: use for name, use in draft.models.items() if name != event.model}
    draft.models = {**others, event.model: event.use} if event.use else others
    windows = draft.fixed.get("windows", draft.old.windows)
    draft.fixed["windows"] = {**windows, event.model: event.window}
    draft.push(name_of(event), event)


def _approval_settled(draft: Draft) -> None:
    """End every approval state that has nothing left to ask."""
    for path in draft.active():
        kind, act = draft.machine.kind_of(path), draft.activations[path]
        if kind is None or kind.rests != "approval" or act.phase != "running":
            continue
        ending = ledger.approval_ending(draft, act.own)
        if ending is not None:
            activation(draft, path, phase="ended")
            draft.push(name_of(ending), ending, path, ending=True)


def _claimed(draft: Draft, event: EffectClaimed) -> None:
    """An effect that may not be repeated is about to begin."""
    pending = draft.pending.get(event.effect)
    if pending is not None:
        draft.own_pending()[event.effect] = msgspec.structs.replace(
            pending,
            claimed=True,
            status="claimed" if pending.status == "open" else pending.status,
        )


def _replied(draft: Draft, event: ModelReplied) -> None:
    """A complete reply: usage, transcript, proposed calls."""
    used = event.usage
    counted = used.input_tokens + used.output_tokens if used.input_tokens else None
    spend(draft, used, turns=1, context=counted)
    draft.compactions = 0
    ledger.propose(draft, event)


def _settled(draft: Draft, event: Answer, effect: Effect) -> None:
    """Cancelled work has come to rest; what it did is kept, the machine does not move."""
    match event:
        case ModelReplied():
            _replied(draft, event)
        case AttemptFailed():
            _keep_partial(draft, event.partial)
        case ToolAnswered():
            ledger.settle_tool(draft, event)
        case EffectCancelled():
            if isinstance(effect, RunTool):
                _tool_cancelled(draft, event, effect)
            elif isinstance(effect, CallModel):
                _keep_partial(draft, event.partial)
        case EffectLost() | EffectFailed():
            if isinstance(effect, RunTool) and (call := draft.calls.get(effect.call)):
                ledger.ran(draft, call)
                draft.set_call(call, status="lost", reason=event.reason)
        case (
            EffectAnswered()
            | ModelOverflowed()
            | GateDecided()
            | ContextCompacted()
            | ContextStuck()
            | BoundaryTaken()
            | BoundaryFailed()
            | RollbackDone()
            | RollbackPartial()
            | RollbackFailed()
        ):
            pass  # nothing of it is kept: the state that wanted it is gone


def _keep_partial(draft: Draft, partial: str) -> None:
    """What had been received of a reply stays visible to the model, marked as unfinished."""
    if partial.strip():
        draft.show(AddPartial(), estimate(partial))


def _tool_cancelled(draft: Draft, event: EffectCancelled, effect: RunTool) -> None:
    """A cancelled tool: run later if it had not begun, else an honest, partial result."""
    call = draft.calls.get(effect.call)
    if call is None:
        return
    if not event.started:
        ledger.unrun(draft, call)
        return
    ledger.ran(draft, call)
    kept = f"\nOutput until then:\n{event.partial}" if event.partial.strip() else ""
    ledger.answer(draft, call, f"Interrupted while it ran.{kept}", "interrupted")


def _answered(draft: Draft, event: Answer, pending: Pending) -> None:
    """A wanted answer: fold it and queue the ending it means."""
    effect = pending.effect
    state = effect.state
    match event:
        case ModelReplied():
            _replied(draft, event)
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case AttemptFailed():
            retry_or_fail(draft, event, state)
        case GateDecided():
            assert isinstance(effect, DecideCalls)
            ledger.decide(draft, event, effect.calls)
            _gate_ends(draft, state)
        case ToolAnswered():
            ledger.settle_tool(draft, event)
            _tools_go_on(draft, state)
        case ContextCompacted():
            before = draft.usage.context
            draft.view.append(Replace())
            draft.compacted = draft.seq
            saved = max(0, event.before - event.after)
            draft.usage = msgspec.structs.replace(draft.usage, context=max(0, before - saved))
            draft.compactions += 1
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case BoundaryTaken():
            made = Boundary(
                id=event.boundary,
                ref=event.ref,
                seq=draft.seq,
                at=draft.at,
                state=state,
                method=event.method,
            )
            draft.boundaries = (*draft.boundaries, made)[-ledger.MAX_BOUNDARIES :]
            activation(draft, state, phase="held", boundary=event.boundary)
        case RollbackDone() | RollbackPartial():
            assert isinstance(effect, RestoreBoundary)
            _rolled_back(draft, effect.boundary)
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case ModelOverflowed() | ContextStuck() | BoundaryFailed() | RollbackFailed():
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case EffectAnswered():
            activation(draft, state, phase="ended")
            kind = draft.machine.kind_of(state)
            if kind is None or not kind.endings.get(event.name):
                draft.stuck = f"`{event.name}` is no ending of the kind of `{state}`"
                return
            draft.push(event.name, event, state, ending=True)
        case EffectLost():
            if isinstance(effect, RunTool) and (call := draft.calls.get(effect.call)):
                ledger.ran(draft, call)
                draft.set_call(call, status="lost", reason=event.reason)
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case EffectCancelled():
            # Nobody asked for it: the performer gave up by itself. Treated as a failure.
            reason = "the work was cancelled from outside"
            _failed(draft, EffectFailed(effect=event.effect, reason=reason), effect)
        case EffectFailed():
            _failed(draft, event, effect)


def _rolled_back(draft: Draft, boundary: str) -> None:
    """Boundaries after the one that was restored describe work that is gone.

    Their acts that cannot be undone are still in the world: an earlier rollback must name them too.
    """
    ids = [b.id for b in draft.boundaries]
    if boundary in ids:
        *before, restored = draft.boundaries[: ids.index(boundary) + 1]
        remaining = restored.remaining
        for gone in draft.boundaries[len(before) + 1 :]:
            remaining = ledger.merged(remaining, gone.remaining)
        restored = msgspec.structs.replace(restored, remaining=remaining)
        draft.boundaries = (*before, restored)
    draft.chosen = ""


def _gate_ends(draft: Draft, state: str) -> None:
    """Queue the gate's ending; of a person's own calls, those that were denied are answered now."""
    own = draft.activations[state].own
    ending = ledger.gate_ending(draft, own)
    if own:
        ledger.close_own(draft, "denied")
    activation(draft, state, phase="ended")
    draft.push(name_of(ending), ending, state, ending=True)


def _tools_go_on(draft: Draft, state: str) -> None:
    """Run the next calls once the last batch has answered; end when none is left."""
    if RunTool in [type(p.effect) for p in draft.pending.values()]:
        return
    if draft.activations[state].phase == "running":
        activation(draft, state, phase="held")


def _failed(draft: Draft, event: EffectFailed, effect: Effect) -> None:
    """A performer could not work at all: every sort of effect fails in its own honest way."""
    state, reason = effect.state, event.reason
    ending: BoundaryFailed | RollbackFailed | ContextStuck | EffectFailed
    match effect:
        case CallModel():
            failed = AttemptFailed(effect=effect.id, reason="provider", detail=reason)
            retry_or_fail(draft, failed, state)
            return
        case DecideCalls():
            ledger.deny_all(draft, reason, effect.calls)
            _gate_ends(draft, state)
            return
        case RunTool():
            if call := draft.calls.get(effect.call):
                ledger.ran(draft, call)
                ledger.answer(draft, call, reason, "error")
            _tools_go_on(draft, state)
            return
        case CompactContext():
            ending = ContextStuck(effect=effect.id, reason=reason)
        case TakeBoundary():
            ending = BoundaryFailed(effect=effect.id, reason=reason)
        case RestoreBoundary():
            ending = RollbackFailed(effect=effect.id, reason=reason)
        case Perform() | Cancel():
            ending = event
        case _:
            assert_never(effect)
    activation(draft, state, phase="ended")
    draft.push(name_of(ending), ending, state, ending=True)
