"""Work: what an active state's kind does, and when.

Rules of this file:
1. Nothing starts while cancelled work has not settled: a rollback never runs beside a living writer,
   and the next request holds what the last one left.
2. Budgets are checked before work is emitted; a spent one raises `budget.exhausted` instead.
3. A kind is dispatched by the effect it declares, never by its name.
"""

import json
from typing import Final

import msgspec

from loopspec.effects import (
    CallModel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.events import (
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    BudgetExhausted,
    ContextCompacted,
    ContextPressed,
    ContextStuck,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    ErrorExecution,
    GateDecided,
    Kept,
    ModelFailed,
    ModelOverflowed,
    ModelReplied,
    Raised,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    TimerFired,
    ToolAnswered,
    UserMessage,
    WaitOver,
    name_of,
)
from loopspec.machine import ledger
from loopspec.machine.draft import ELAPSED, Draft
from loopspec.machine.model import Kind, ModelDecl, State
from loopspec.machine.named import asides, models_of, rendered
from loopspec.machine.prompts import prompt_of
from loopspec.machine.texts import TextError, render
from loopspec.machine.values import Values
from loopspec.snapshot import Timer

PPM: Final = 1_000_000
RESTART: Final = "restart"
"""Why an attempt ended whose process was killed; it does not count against the retries."""
BUDGETS: Final = ("turns", "tokens", "usd", "elapsed")
ANSWERS: Final[dict[type, tuple[type, ...]]] = {
    CallModel: (ModelReplied, ModelOverflowed, AttemptFailed),
    DecideCalls: (GateDecided,),
    RunTool: (ToolAnswered,),
    CompactContext: (ContextCompacted, ContextStuck),
    TakeBoundary: (BoundaryTaken, BoundaryFailed),
    RestoreBoundary: (RollbackDone, RollbackPartial, RollbackFailed),
    Perform: (EffectAnswered,),
}
"""What may answer each effect, besides that it was lost, cancelled or could not be done."""
UNDONE: Final = (EffectLost, EffectCancelled, EffectFailed)
"""What may answer any effect."""


def misfit(effect: Effect, event: Kept) -> str:
    """Why an event cannot be the answer to this effect, empty if it can."""
    if isinstance(event, ANSWERS.get(type(effect), ())):
        if not isinstance(event, ToolAnswered) or not isinstance(effect, RunTool):
            return ""
        return "" if event.call == effect.call else "the performer answered for another call"
    if not isinstance(event, UNDONE):
        return f"the performer answered with `{name_of(event)}`"
    return ""


def activation(draft: Draft, path: str, **changes: str | int | bool) -> None:
    """Change what is known about an active state's kind (nothing, if the state was left)."""
    old = draft.activations.get(path)
    if old is not None:
        draft.own_activations()[path] = msgspec.structs.replace(old, **changes)


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
            _call_model(draft, state)
        case "decide_calls":
            _decide(draft, state)
        case "run_tool":
            _run_tools(draft, state)
        case "compact_context":
            _compact(draft, state)
        case "restore_boundary":
            _restore(draft, state)
        case _:
            _perform(draft, state, kind)


def _perform(draft: Draft, state: State, kind: Kind) -> None:
    """Begin a plugin's own work; what can ask a model is stopped by a spent budget."""
    path = state.path
    if models_of(draft.machine, path) and _stopped_by_budget(draft, path):
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


def _spent(draft: Draft, *, turns: bool) -> str:
    """The budget that is spent, empty if none is; turns count only before a model call."""
    budgets, usage, more = draft.machine.budgets, draft.usage, draft.extended
    limits = (
        ("turns", budgets.turns if turns else None, usage.turns),
        ("tokens", budgets.tokens, usage.tokens),
        ("usd", budgets.usd, usage.cost),
    )
    for which, limit, used in limits:
        if limit is not None and used >= limit + more.get(which, 0):
            return which
    fired = budgets.elapsed is not None and ELAPSED not in draft.timers
    return "elapsed" if fired else ""


def _stopped_by_budget(draft: Draft, path: str, *, turns: bool = False) -> bool:
    """Raise `budget.exhausted` instead of working, if a budget is spent."""
    which = _spent(draft, turns=turns)
    if not which:
        return False
    draft.spent = which
    activation(draft, path, phase="ended")
    draft.push("budget.exhausted", BudgetExhausted(which=which), path, ending=True)
    return True


def _call_model(draft: Draft, state: State) -> None:
    """Ask the model, unless a budget is spent or the view presses against the window."""
    path, machine = state.path, draft.machine
    if _stopped_by_budget(draft, path, turns=True):
        return
    decl = machine.models[state.model]
    ledger.close(draft)
    system, unseen = "", 0
    if state.prompt:
        try:
            made = prompt_of(machine.prompts[state.prompt], draft)
        except TextError as err:
            place = str(machine.prompt_places.get(state.prompt, state.place))
            fault = f"prompt `{state.prompt}` at {place}: {err}"
            activation(draft, path, phase="ended")
            raised = ErrorExecution(place=place, error=fault, event="")
            draft.push(name_of(raised), raised, path)
            return
        system = made.digest
        draft.blobs[system] = made.data
        # Once a provider has counted a request, the count holds the prompt too.
        unseen = 0 if draft.usage.input_tokens else made.tokens
    if _pressed(draft, decl, path, unseen):
        return
    act = draft.activations[path]
    names = rungs_of(draft, decl)
    draft.emit(
        CallModel(
            id=draft.next_id(),
            state=path,
            model=decl.name,
            use=names[min(act.rung, len(names) - 1)],
            system=system,
            attempt=act.attempt + 1,
            rung=act.rung,
        )
    )


def rungs_of(draft: Draft, decl: ModelDecl) -> tuple[str, ...]:
    """The models behind a declared name: the one a person chose, else the declared one and its
    fallbacks. Who chooses a model wants that one and no other."""
    chosen = draft.models.get(decl.name)
    return (chosen,) if chosen else (decl.use, *decl.fallbacks)


def window_of(draft: Draft, decl: ModelDecl) -> int:
    """The window in tokens, 0 if nobody knows: the spec's word, else what the driver found."""
    windows = draft.fixed.get("windows", draft.old.windows)
    declared = 0 if decl.name in draft.models else decl.window
    return draft.machine.context.window or declared or int(windows.get(decl.name, 0))


def _pressed(draft: Draft, decl: ModelDecl, path: str, unseen: int) -> bool:
    """Raise `context.pressed` instead of calling, once per reply: then the provider has the word.

    `unseen` is what the request holds besides the view.
    """
    window = window_of(draft, decl)
    size = draft.usage.context + unseen
    limit = window * draft.machine.context.compact_at // PPM
    if not window or size <= limit or draft.compactions:
        return False
    activation(draft, path, phase="ended")
    pressed = ContextPressed(tokens=size, window=window)
    draft.push(name_of(pressed), pressed, path, ending=True)
    return True


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
    if not own and _stopped_by_budget(draft, path):  # a person's own call is theirs to make
        return
    act = draft.activations[path]
    if state.boundary and not act.boundary and any(c.effect != "read" for c in ready):
        activation(draft, path, phase="boundary")
        draft.emit(
            TakeBoundary(id=draft.next_id(), state=path, boundary=f"b{draft.seq}")
        )
        return
    ledger.run_next(draft, path, own)


def _compact(draft: Draft, state: State) -> None:
    """Make the view smaller; each further time since the last reply aims at half as much."""
    if _stopped_by_budget(draft, state.path):
        return
    declared, others = draft.machine.models, asides(draft.machine)
    windows = [w for n, m in declared.items() if n not in others and (w := window_of(draft, m))]
    size = min(windows) if windows else draft.usage.context
    target = size * draft.machine.context.target // PPM >> draft.compactions
    draft.emit(
        CompactContext(
            id=draft.next_id(), state=state.path, target=max(1, target), level=draft.compactions
        )
    )


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


def retry_or_fail(draft: Draft, event: AttemptFailed, path: str) -> None:
    """Choose the next rung after a failed attempt: retry later, the next model, or `model.failed`."""
    act = draft.activations.get(path)
    if act is None:
        return
    if event.reason == RESTART:  # no fault of the model's: the same attempt once more
        activation(draft, path, phase="held")
        return
    decl = draft.machine.models[draft.machine.states[path].model]
    tried, failures = act.attempt + 1, act.failures + 1
    if event.retryable and tried < decl.attempts:
        backoff = min(decl.cap, decl.base << min(tried - 1, 40)) * event.jitter // PPM
        delay = max(event.retry_after, backoff)
        activation(draft, path, phase="retrying", attempt=tried, failures=failures)
        timer = Timer(
            id=f"retry:{path}",
            state=path,
            clock="awake",
            due=draft.awake + delay,
            purpose="retry",
        )
        draft.arm(timer)
    elif act.rung < len(rungs_of(draft, decl)) - 1:
        activation(
            draft, path, phase="held", attempt=0, rung=act.rung + 1, failures=failures
        )
    else:
        activation(draft, path, phase="ended", failures=failures)
        ended = ModelFailed(reason=event.reason, detail=event.detail, attempts=failures)
        draft.push(name_of(ended), ended, path, ending=True)


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
        case "wait":
            activation(draft, timer.state, phase="ended")
            draft.push("wait.over", WaitOver(), timer.state, ending=True)
        case "budget":
            draft.spent = "elapsed"
            draft.push("budget.exhausted", BudgetExhausted(which="elapsed"))
        case other:
            raise AssertionError(f"no timer has the purpose {other!r}")
