"""Reduce: what each accepted event changes before the chart sees anything.

Rules of this file:
1. One exhaustive `match` over commands and facts, without a wildcard. (What comes most often stands
   first: the alternatives are tried one after the other.)
2. An answer finds its effect by id. A stale id changes nothing: the event is noted. An answer that
   does not fit its effect says that the performer failed.
3. An answer to cancelled work is kept as an honest result but does not move the machine.
"""

from typing import Final, assert_never

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
    SurveyHost,
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
    HostSurveyed,
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
from loopspec.machine import approving, breaking, ledger, outbox, pressing, tiering
from loopspec.machine.doing import activation, misfit
from loopspec.machine.draft import ELAPSED, Draft, begin
from loopspec.machine.modelling import OURS, retry_or_fail
from loopspec.machine.spending import spend
from loopspec.machine.work import timer_fired
from loopspec.record import AddPartial, Replace
from loopspec.snapshot import Boundary, Pending, Timer
from loopspec.tokens import estimate

_BILLED: Final = (
    *(AttemptFailed, EffectAnswered, EffectCancelled, EffectFailed),
    *(ContextCompacted, ContextStuck),
)
"""Answers whose usage counts as it is; a reply counts a turn, too: see `_replied`."""


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
            | HostSurveyed()
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
            if isinstance(event, _BILLED):
                spend(draft, event.usage, turns=0)
            if pending.status == "cancelling":
                _settled(draft, event, pending)
            else:
                _answered(draft, event, pending)
        case SessionStarted():
            if draft.old.seq < 0:
                begin(draft, event)
        case UserMessage() | UserInterrupted() | UserResumed() | CompactionRequested():
            pressing.said(draft, event)
            draft.push(name_of(event), event)
        case HostWoke():
            outbox.look_everywhere(draft)
            draft.push(name_of(event), event)
        case HostSuspended():
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
            pressing.chosen(draft, event)
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


def _replied(draft: Draft, event: ModelReplied, effect: Effect) -> None:
    """A complete reply: usage, transcript, proposed calls."""
    if isinstance(effect, CallModel):
        breaking.replied(draft, effect.use)
    spend(draft, event.usage, turns=1, context=pressing.counted(event))
    pressing.replied(draft, event)
    ledger.propose(draft, event)


def _stands_or_escalates(draft: Draft, event: ModelReplied, effect: Effect) -> None:
    """A reply that was waited for: it ends the call, or the next tier is asked."""
    if isinstance(effect, CallModel) and tiering.escalates(draft, event, effect):
        breaking.replied(draft, effect.use)
        spend(draft, event.usage, turns=1)
        return
    _replied(draft, event, effect)
    activation(draft, effect.state, phase="ended", partial="")
    draft.push(name_of(event), event, effect.state, ending=True)


def _settled(draft: Draft, event: Answer, pending: Pending) -> None:
    """Cancelled work has come to rest; what it did is kept, the machine does not move."""
    effect = pending.effect
    if isinstance(effect, CallModel) and not isinstance(event, ModelReplied):
        _keep_partial(draft, getattr(event, "partial", ""), pending.partial)
    match event:
        case ModelReplied():
            _replied(draft, event, effect)
        case AttemptFailed():
            pass
        case ToolAnswered():
            ledger.settle_tool(draft, event)
        case EffectCancelled():
            if isinstance(effect, RunTool):
                _tool_cancelled(draft, event, effect)
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
            | HostSurveyed()
            | RollbackDone()
            | RollbackPartial()
            | RollbackFailed()
        ):
            pass  # nothing of it is kept: the state that wanted it is gone


def _keep_partial(draft: Draft, partial: str, before: str) -> None:
    """What had been received of a reply stays visible to the model, marked as unfinished: what came
    now, else what earlier attempts had (`before`)."""
    if partial.strip():
        draft.show(AddPartial(), estimate(partial))
    elif before.strip():
        draft.show(AddPartial(text=before), estimate(before))


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
            _stands_or_escalates(draft, event, effect)
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
            draft.view.append(Replace())
            pressing.compacted(draft, event)
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
            ledger.rolled_back(draft, effect.boundary)
            activation(draft, state, phase="ended")
            draft.push(name_of(event), event, state, ending=True)
        case HostSurveyed():
            tiering.surveyed(draft, event, state)
        case ModelOverflowed():
            assert isinstance(effect, CallModel)
            _overflowed(draft, event, effect)
        case ContextStuck():
            pressing.stuck(draft, event, state)
        case BoundaryFailed() | RollbackFailed():
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
            _failed(draft, EffectFailed(effect=event.effect, reason=reason), effect, event.partial)
        case EffectFailed():
            _failed(draft, event, effect)


def _overflowed(draft: Draft, event: ModelOverflowed, effect: CallModel) -> None:
    """A request that does not fit: once it is for the spec to make it fit, then it has failed."""
    state = effect.state
    if why := pressing.overflowed(draft, event, effect):
        again = AttemptFailed(event.effect, pressing.OVERFLOWED, why, use=effect.use)
        retry_or_fail(draft, again, state)
        return
    activation(draft, state, phase="ended")
    draft.push(name_of(event), event, state, ending=True)


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


def _failed(draft: Draft, event: EffectFailed, effect: Effect, partial: str = "") -> None:
    """A performer could not work at all: every sort of effect fails in its own honest way.

    `partial` is the text of a reply that had come before it gave up.
    """
    state, reason = effect.state, event.reason
    ending: BoundaryFailed | RollbackFailed | EffectFailed
    match effect:
        case CallModel():
            failed = AttemptFailed(effect=effect.id, reason=OURS, detail=reason, partial=partial)
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
            pressing.stuck(draft, ContextStuck(effect=effect.id, reason=reason), state)
            return
        case SurveyHost():
            tiering.unsurveyed(draft, state)
            return
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
