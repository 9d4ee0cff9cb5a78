"""Draft: the working copy of a snapshot while one event is being stepped.

Rules of this file:
1. A draft lives for one step and is never shared; `freeze` makes the next snapshot.
2. Ids come from the session, the sequence and a counter, so the same history gives the same ids.
3. A map of the snapshot is never written: whoever changes one puts another in its place, or asks `own`
   for it. What a step leaves alone is the same object before and after, and costs nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopspec.effects import Effect
from loopspec.events import Event, Kept, SessionStarted
from loopspec.machine.model import Field, Machine
from loopspec.record import Left, Record, Said, Seen, Taken, ViewOp
from loopspec.snapshot import Activation, Call, Pending, Snapshot, Timer, Usage
from loopspec.tokens import estimate, scaled

ZERO: Final = {"string": '""', "int": "0", "bool": "false", "number": "0.0", "json": "null"}
"""What a var without a default begins with, as JSON text."""

ELAPSED: Final = "budget"
"""The timer of the elapsed budget; once it has fired, it is armed again only by an extension."""


class Queued(msgspec.Struct, frozen=True):
    """An event to be dispatched: its routing name, itself, and who may see it (None: everybody).

    An `ending` is of the work of `state`; it means nothing once that state was left. An `internal`
    event follows from a move (`raise`, `done.state.*`, `error.execution`) and goes before all others.
    """

    name: str
    event: Event
    scope: frozenset[str] | None = None
    ending: bool = False
    state: str = ""
    internal: bool = False


def effect_order(effect: str) -> tuple[int, int]:
    """Sorts effect ids (`session:seq:n`) by age.

    Maps come back from their canonical bytes in another order than they were filled in, so whatever
    gives out ids must never follow a map's own order.
    """
    _, seq, n = effect.rsplit(":", 2)
    return int(seq), int(n)


class Draft:
    """Mutable state of one step. Its maps are the snapshot's own until they are written (rule 3)."""

    __slots__ = (
        *("machine", "event", "old", "seq", "at", "awake", "configuration", "history", "entered"),
        *("vars", "usage", "extended", "activations", "pending", "timers", "kept_timers", "calls"),
        *("grants", "inbox", "boundaries", "marks", "chosen", "models", "compactions", "compacted"),
        *("breakers", "left", "privacy"),
        *("presses", "pressed", "overflows", "squeezed", "unsqueezed", "formerly"),
        "answered",
        *("spent", "stuck", "fixed", "queue", "effects", "blobs", "taken", "guards", "raised", "said"),
        *("marked", "view", "moved", "offered", "_n"),
    )

    def __init__(
        self, machine: Machine, old: Snapshot, at: int, awake: int, event: Kept
    ) -> None:
        """Begin where `old` stands."""
        self.machine = machine
        self.event = event
        self.old = old
        self.seq = old.seq + 1
        self.at = at
        self.awake = max(awake, old.awake)
        self.configuration = old.configuration
        self.history: Mapping[str, tuple[str, ...]] = old.history
        self.entered = old.entered
        self.vars: Mapping[str, str | int | bool] = old.vars
        self.usage: Usage = old.usage
        self.extended = old.extended
        self.activations = old.activations
        self.pending = old.pending
        self.timers = old.timers
        self.kept_timers = old.kept_timers
        self.calls = old.calls
        self.grants = old.grants
        self.inbox = old.inbox
        self.boundaries = old.boundaries
        self.marks = old.marks
        self.chosen = old.chosen
        self.models = old.models
        self.breakers = old.breakers
        self.privacy = old.privacy
        self.compactions = old.compactions
        self.compacted = old.compacted
        self.presses = old.presses
        self.pressed = old.pressed
        self.overflows = old.overflows
        self.squeezed = old.squeezed
        self.unsqueezed = old.unsqueezed
        self.formerly = old.formerly
        self.answered = old.answered
        self.spent = old.spent
        self.stuck = old.stuck
        self.fixed: dict[str, Any] = {}
        self.queue: list[Queued] = []
        self.effects: list[Effect] = []
        self.blobs: dict[str, bytes] = {}
        self.taken: list[Taken] = []
        self.guards: list[Seen] = []
        self.raised: list[str] = []
        self.said: list[Said] = []
        self.marked: list[str] = []
        self.view: list[ViewOp] = []
        self.left: list[Left] = []
        self.moved = False
        self.offered: set[int] = set()  # inbox messages that were put before a state already
        self._n = 0

    def next_id(self) -> str:
        """The id of the next effect of this step."""
        made = f"{self.old.session}:{self.seq}:{self._n}"
        self._n += 1
        return made

    def emit(self, effect: Effect) -> None:
        """Add an effect to the step; it is pending until it is answered."""
        self.effects.append(effect)
        self.own_pending()[effect.id] = Pending(effect=effect, at=self.at)

    def push(
        self,
        name: str,
        event: Event,
        state: str = "",
        *,
        ending: bool = False,
        internal: bool = False,
    ) -> None:
        """Queue an event for dispatch, seen by `state` and its ancestors (empty: by everybody).

        `internal` ones come before the others, in the order they were raised.
        """
        scope = self.machine.lines[state] if state else None
        queued = Queued(name, event, scope, ending, state, internal)
        if internal:
            self.queue.insert(sum(q.internal for q in self.queue), queued)
        else:
            self.queue.append(queued)

    def show(self, op: ViewOp, tokens: int) -> None:
        """Change the view and count what the next request grows by."""
        self.view.append(op)
        self.add_context(tokens)

    def add_context(self, tokens: int) -> None:
        """Count tokens of the next request, estimated ones by what they were found to be worth."""
        if not tokens:
            return
        usage = self.usage
        more = scaled(tokens, usage.scale)
        self.usage = msgspec.structs.replace(usage, context=usage.context + more)

    def show_text(self, op: ViewOp, text: str) -> None:
        """Change the view by a text whose tokens are estimated here."""
        self.show(op, estimate(text))

    def set_call(self, call: Call, **changes: Any) -> Call:
        """Replace a call in the ledger."""
        made = msgspec.structs.replace(call, **changes)
        self.own_calls()[call.id] = made
        return made

    def arm(self, timer: Timer) -> None:
        """Arm a timer."""
        self.timers = {**self.timers, timer.id: timer}

    def disarm(self, timer: str) -> Timer | None:
        """Disarm a timer, if it is armed."""
        found = self.timers.get(timer)
        if found is not None:
            self.timers = {key: t for key, t in self.timers.items() if key != timer}
        return found

    def kept_due(self, timer: str, due: int) -> int:
        """When a timer is due that may have been kept over a suspension, else `due`; kept no more."""
        kept = self.kept_timers.get(timer)
        if kept is None:
            return due
        self.kept_timers = {key: t for key, t in self.kept_timers.items() if key != timer}
        return kept

    def own_pending(self) -> dict[str, Pending]:
        """The pending effects, to be written."""
        if self.pending is self.old.pending:
            self.pending = dict(self.pending)
        return self.pending

    def own_calls(self) -> dict[str, Call]:
        """The call ledger, to be written."""
        if self.calls is self.old.calls:
            self.calls = dict(self.calls)
        return self.calls

    def own_entered(self) -> dict[str, int]:
        """When each state was entered, to be written."""
        if self.entered is self.old.entered:
            self.entered = dict(self.entered)
        return self.entered

    def own_activations(self) -> dict[str, Activation]:
        """What the active states' kinds are doing, to be written."""
        if self.activations is self.old.activations:
            self.activations = dict(self.activations)
        return self.activations

    def active(self) -> list[str]:
        """The active states with a kind, in document order."""
        paths = list(self.activations)
        if len(paths) > 1:
            paths.sort(key=self.machine.order.__getitem__)
        return paths

    def cancelling(self) -> bool:
        """Whether cancelled work has not settled yet."""
        return "cancelling" in [pending.status for pending in self.pending.values()]

    def freeze(self) -> Snapshot:
        """The snapshot after this step."""
        return msgspec.structs.replace(
            self.old,
            seq=self.seq,
            at=self.at,
            awake=self.awake,
            configuration=self.configuration,
            history=self.history,
            entered=self.entered,
            vars=self.vars,
            usage=self.usage,
            extended=self.extended,
            activations=self.activations,
            pending=self.pending,
            timers=self.timers,
            kept_timers=self.kept_timers,
            calls=self.calls,
            grants=self.grants,
            inbox=self.inbox,
            boundaries=self.boundaries,
            marks=self.marks,
            chosen=self.chosen,
            models=self.models,
            breakers=self.breakers,
            privacy=self.privacy,
            compactions=self.compactions,
            compacted=self.compacted,
            presses=self.presses,
            pressed=self.pressed,
            overflows=self.overflows,
            squeezed=self.squeezed,
            unsqueezed=self.unsqueezed,
            formerly=self.formerly,
            answered=self.answered,
            spent=self.spent,
            stuck=self.stuck,
            **self.fixed,
        )

    def record(self) -> Record:
        """What this step did besides the snapshot."""
        return Record(
            taken=tuple(self.taken),
            guards=tuple(self.guards),
            raised=tuple(self.raised),
            said=tuple(self.said),
            marks=tuple(self.marked),
            view=tuple(self.view),
            left=tuple(self.left),
        )


def begin(draft: Draft, event: SessionStarted) -> None:
    """Entry 0: what the session begins with."""
    machine = draft.machine
    inputs = event.inputs
    try:
        msgspec.json.decode(inputs, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        inputs, draft.stuck = "{}", "the inputs are no JSON object"
    draft.fixed.update(
        machine=event.machine,
        inputs=inputs,
        workdir=event.workdir,
        windows=dict(event.windows),
        started=draft.at,
    )
    draft.vars = {name: _first(field) for name, field in machine.vars.items()}
    if machine.budgets.elapsed is not None:
        due = draft.awake + machine.budgets.elapsed
        draft.arm(Timer(id=ELAPSED, state="", clock="awake", due=due, purpose="budget"))


def _first(field: Field) -> str | int | bool:
    """What a var begins with, as the snapshot keeps it."""
    default = field.default if field.default is not None else ZERO[field.type]
    if field.type in ("number", "json"):
        return default
    first: str | int | bool = msgspec.json.decode(default)
    return first
