"""Dispatch: give one event to the chart and commit what it did, or commit nothing.

Rules of this file:
1. Guards, assignments and texts run on a trial; only a calculation that ended well is committed.
2. A guard that errs is not false: nothing moves, `error.execution` is raised; if nobody routes that,
   the session is stuck and says why.
3. Leaving a state cancels what it started; entering one arms its timers and its kind.
"""

from typing import Final

import msgspec

from loopspec.effects import CallModel, Cancel, RunTool
from loopspec.events import ErrorExecution, Raised, UserCalled, UserMessage
from loopspec.machine import ledger, outbox, tiering
from loopspec.machine.chart import Chart, Illegal, Move, Overrun
from loopspec.machine.draft import Draft, Queued, effect_order
from loopspec.machine.guards import GuardError, Guards, saw
from loopspec.machine.memo import Memo
from loopspec.machine.model import Action, Machine, State, Transition
from loopspec.machine.texts import TextError, render
from loopspec.machine.values import Typed, Values
from loopspec.record import AddPartial, AddText, AddUser, Said, Seen, Taken
from loopspec.snapshot import Activation, Pending, Snapshot, Timer, Waiting

SHORT = 2_000
KEPT: Final = ("after", "wait", "retry", "expiry")
"""Purposes of timers whose due times hold over a suspension."""


class Engine:
    """What a machine needs to be stepped: its chart and its compiled expressions."""

    def __init__(self, machine: Machine, memo: type[Memo] | None = Memo) -> None:
        """Compile; raises the calculator's errors on a broken machine. See `Chart` for `memo`."""
        self.machine = machine
        self.chart = Chart(machine, memo)
        foreign = {n: s for k in machine.kinds.values() for n, s in k.endings.items() if s}
        self.guards = Guards(machine.inputs, machine.vars, foreign)
        self.typed = Typed(self.guards.types)


class Trial:
    """The hands of one calculation: runs guards and actions on copies, commits at the end."""

    def __init__(self, engine: Engine, draft: Draft, values: Values) -> None:
        """`values` are what guards and actions read; an assignment gives them other vars."""
        self._engine = engine
        self._draft = draft
        self.values = values
        self.path: list[tuple[bool, State]] = []  # in order: (True, entered) or (False, left)
        self.taken: list[Taken] = []
        self.said: list[Said] = []
        self.raised: list[str] = []
        self.follows: list[str] = []  # in order: what was raised, and `done.state.*`
        self.marked: list[str] = []

    # ------------------------------------------------------------ what the chart calls

    def guard(self, transition: Transition, event: str | None) -> bool:
        """Ask a guard, and note what it read and gave."""
        place = self._draft.machine.where[transition.id]
        read = saw(transition.guard, self.values)
        try:
            typed = self.values.typed(self._engine.typed, event, transition.guard)
            gave = self._engine.guards.holds(transition.guard, event, typed)
        except GuardError as err:
            self._draft.guards.append(Seen(place, transition.guard, f"error: {err}", read))
            raise GuardError(f"guard at {place}: `{transition.guard}`: {err}") from None
        self._draft.guards.append(Seen(place, transition.guard, str(gave).lower(), read))
        return gave

    def leave(self, state: State) -> None:
        """Run exit actions."""
        self.path.append((False, state))
        self._run(state.exit, None)

    def take(self, transition: Transition, event: str | None) -> None:
        """Run a transition's actions."""
        self.taken.append(
            Taken(
                transition.id,
                event or "always",
                transition.source,
                transition.target or "",
                self._draft.machine.where[transition.id],
            )
        )
        self._run(transition.actions, event)

    def enter(self, state: State) -> None:
        """Run entry actions."""
        self.path.append((True, state))
        self._run(state.entry, None)

    def done(self, event: str) -> None:
        """Note that a state is done."""
        self.follows.append(event)

    # ------------------------------------------------------------ actions

    def _run(self, actions: tuple[Action, ...], event: str | None) -> None:
        """Run actions in order on the trial."""
        for action in actions:
            match action.do:
                case "assign":
                    self._assign(action, event)
                case "say" | "log":
                    to = action.to if action.do == "say" else "log"
                    self.said.append(Said(self._text(action), to, str(action.place)))
                case "raise":
                    self.raised.append(action.name)
                    self.follows.append(action.name)
                case "mark":
                    self.marked.append(action.name)
                case other:
                    raise GuardError(f"action at {action.place}: `{other}` is no action")

    def _assign(self, action: Action, event: str | None) -> None:
        """Give a var its new value, for later guards of the same step too."""
        want = self._draft.machine.vars[action.name].type
        try:
            typed = self.values.typed(self._engine.typed, event, action.text)
            value = self._engine.guards.assign(action.text, want, event, typed)
        except GuardError as err:
            raise GuardError(
                f"assign at {action.place}: `{action.name}: {action.text}`: {err}"
            ) from None
        self.values.vars = {**self.values.vars, action.name: value}

    def _text(self, action: Action) -> str:
        """Render a text."""
        try:
            return render(action.text, self.values)
        except TextError as err:
            raise TextError(f"text at {action.place}: {err}") from None


def dispatch(engine: Engine, draft: Draft, queued: Queued) -> None:
    """Give one event to the chart; commits its result or raises `error.execution` inside."""
    if queued.ending and queued.state not in draft.activations:
        return  # an earlier event of this step has left the state whose work this ends
    if not draft.configuration:  # the initial state could not be entered; `stuck` says why
        keep(draft, queued)
        return
    trial = Trial(engine, draft, Values(draft, queued.event, queued.name))
    routed = True
    try:
        move = engine.chart.send(
            draft.configuration, draft.history, queued.name, trial, queued.scope
        )
        if not move.moved and engine.chart.has_always(draft.configuration):
            routed = False
            unrouted(draft, queued)
            trial = Trial(engine, draft, Values(draft))
            move = engine.chart.send(draft.configuration, draft.history, None, trial)
            if move.moved:
                commit(draft, trial, move)
            return
    except (GuardError, TextError, Overrun, Illegal) as err:
        if routed:
            keep(draft, queued)
        failed(draft, str(err), queued.name)
        return
    if not move.moved:
        unrouted(draft, queued)
        return
    if isinstance(queued.event, UserMessage):
        consume(draft, queued.event)
    elif isinstance(queued.event, UserCalled):
        ledger.enter(draft, queued.event)
    commit(draft, trial, move)


def start(engine: Engine, draft: Draft) -> None:
    """Enter the initial states of a new session."""
    trial = Trial(engine, draft, Values(draft))
    try:
        move = engine.chart.start(trial)
    except (GuardError, TextError, Overrun, Illegal) as err:
        draft.stuck = f"the initial state cannot be entered: {err}"
        return
    commit(draft, trial, move)


def failed(draft: Draft, error: str, event: str) -> None:
    """A calculation that ended badly: nothing moved; raise `error.execution`, once."""
    if event == "error.execution":
        draft.stuck = f"`error.execution` could not be handled: {error}"[:SHORT]
        return
    raised = ErrorExecution(place="", error=error[:SHORT], event=event)
    draft.push("error.execution", raised, internal=True)


def unrouted(draft: Draft, queued: Queued) -> None:
    """An event nobody took: messages wait in the inbox, endings and errors leave us stuck."""
    event = queued.event
    keep(draft, queued)
    if isinstance(event, ErrorExecution):
        during = f" (while handling `{event.event}`)" if event.event else ""
        draft.stuck = f"{event.error}{during}"
    elif queued.ending:
        where = ", ".join(draft.configuration[-1:])
        draft.stuck = f"`{queued.name}` is not routed in `{where}`"


def keep(draft: Draft, queued: Queued) -> None:
    """A message that led nowhere waits in the inbox; one from the inbox is still there."""
    event = queued.event
    if isinstance(event, UserMessage) and event is draft.event:
        waiting = Waiting(seq=draft.seq, text=event.text, tokens=event.tokens)
        draft.inbox = (*draft.inbox, waiting)


def consume(draft: Draft, event: UserMessage) -> None:
    """A routed message becomes visible to the model; one from the inbox leaves it here."""
    if event is draft.event:
        for earlier in draft.inbox:  # said before this one, so the model reads them before it
            draft.show(AddUser(seq=earlier.seq, text=earlier.text), earlier.tokens)
        draft.inbox = ()
        op = AddUser(seq=draft.seq)  # the entry's own message is stored once
    else:
        oldest, *rest = draft.inbox
        op = AddUser(seq=oldest.seq, text=oldest.text)
        draft.inbox = tuple(rest)
    draft.show(op, event.tokens)


def commit(draft: Draft, trial: Trial, move: Move) -> None:
    """Make a trial's result the draft's."""
    draft.moved = True
    draft.stuck = ""
    draft.configuration, draft.history = move.configuration, move.history
    draft.vars = trial.values.vars
    draft.taken.extend(trial.taken)
    draft.marked.extend(trial.marked)
    if trial.marked:
        draft.marks = {**draft.marks, **dict.fromkeys(trial.marked, draft.seq)}
    for said in trial.said:
        draft.said.append(said)
        if said.to == "model" and said.text.strip():
            draft.show_text(AddText(text=said.text), said.text)
    rests = draft.machine.resting
    parked = "suspended" in [rests.get(s.path) for entered, s in trial.path if entered]
    for entered, state in trial.path:
        if entered:
            _enter(draft, state)
        else:
            _leave(draft, state, parked)
    if draft.kept_timers and "suspended" not in map(rests.get, draft.configuration):
        waits = {f"wait:{p}" for p, a in draft.activations.items() if a.phase == "held"}
        draft.kept_timers = {k: due for k, due in draft.kept_timers.items() if k in waits}
    for name in trial.follows:
        draft.push(name, Raised(name=name), internal=True)
    draft.raised.extend(trial.raised)


def _leave(draft: Draft, state: State, parked: bool) -> None:
    """Cancel what the state started and disarm its timers; `parked`: on the way to a suspension."""
    path = state.path
    if own := [t for t in draft.timers.values() if t.state == path]:
        draft.timers = {key: t for key, t in draft.timers.items() if t.state != path}
        if parked:
            kept = {t.id: t.due for t in own if t.purpose in KEPT}
            draft.kept_timers = {**draft.kept_timers, **kept}
    partial = act.partial if (act := draft.activations.get(path)) is not None else ""
    started = [
        (key, pending)
        for key, pending in draft.pending.items()
        if pending.effect.state == path and pending.status != "cancelling"
    ]
    for key, pending in sorted(started, key=lambda kv: effect_order(kv[0])):
        if pending.effect in draft.effects:  # never started: it leaves no trace
            draft.effects.remove(pending.effect)
            del draft.own_pending()[key]
            if isinstance(pending.effect, RunTool) and (
                call := draft.calls.get(pending.effect.call)
            ):
                ledger.unrun(draft, call)
            continue
        # What the reply had before goes with the attempt that is stopped: that may bring more of it.
        had, partial = (partial, "") if isinstance(pending.effect, CallModel) else ("", partial)
        cancelling = Pending(pending.effect, pending.at, "cancelling", pending.claimed, had)
        draft.own_pending()[key] = cancelling
        draft.effects.append(Cancel(id=draft.next_id(), state=path, target=key))
    if partial.strip():
        draft.show_text(AddPartial(text=partial), partial)
    if path in draft.activations:
        del draft.own_activations()[path]
    draft.own_entered().pop(path, None)


def _enter(draft: Draft, state: State) -> None:
    """Arm the state's timers and prepare its kind."""
    draft.own_entered()[state.path] = draft.at
    tiering.entered(draft, state)
    for key in state.after:
        after = draft.machine.timers[key]
        now = draft.at if after.clock == "wall" else draft.awake
        due = draft.kept_due(key, now + after.delay)
        draft.arm(Timer(id=key, state=state.path, clock=after.clock, due=due))
    if state.kind:
        made = Activation(kind=state.kind, since=draft.at)
        retry = f"retry:{state.path}"
        if retry in draft.kept_timers:  # a server's Retry-After holds over a suspension
            made = msgspec.structs.replace(made, phase="retrying")
            due = draft.kept_due(retry, draft.awake)
            draft.arm(
                Timer(id=retry, state=state.path, clock="awake", due=due, purpose="retry")
            )
        draft.own_activations()[state.path] = made
        outbox.resumed(draft, state)


def finished(machine: Machine, snapshot: Snapshot) -> bool:
    """Whether the session has reached a final state of the root."""
    return any(
        machine.states[p].type == "final" and not machine.states[p].parent
        for p in snapshot.configuration
    )
