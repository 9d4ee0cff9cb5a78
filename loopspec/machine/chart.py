"""Chart: which states a machine leaves and enters. python-statemachine as a pure calculator.

Rules of this file:
1. A throw-away instance per microstep; the engine never runs a loop, a queue, a timer or a thread.
2. Callbacks only speak to the `Hands` given for this one calculation; they are all synchronous (one
   coroutine callback would switch the engine to its async half, where a cancel loses the state).
3. Whatever a callback raises leaves through `send` unchanged, and nothing has moved.
4. What follows from a move (`done.state.*`, like what actions raise) is told to the hands in order
   and comes back as an event of its own: only so do both stand in one queue, as SCXML has it.

The engine's traps and the way round each are numbered as the tests in `tests/machine/test_chart.py`
name them: (1) flags; (3) restoring; (4) double actions after history; (5) names; (6) context for
eventless steps; (8) one class per machine for ever; (9) its document order is wrong below the first
level; (10) it enters states that were not left; (11) it refuses `internal` where the target is not
inside, and half-does it for a target that is the source; plus `always` before the event (below).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
from statemachine.exceptions import TransitionNotAllowed
from statemachine.io import create_machine_class_from_definition
from statemachine.orderedset import OrderedSet

from loopspec.events import BY_NAME
from loopspec.machine.model import Machine, State, Transition
from loopspec.machine.structure import finished_by
from loopspec.machine.structure import illegal as illegal

MAX_MICROSTEPS: Final = 100
MARK: Final = "/"
"""Stands before every state's value: the engine refuses to set an attribute of itself (`model`,
`configuration`) whose name is the value of a state (trap 5)."""
SILENT: Final = frozenset(
    {
        "session.started",
        "effect.claimed",
        "effect.cancelled",
        "timer.fired",
        "gate.decided",
        "approval.given",
        "attempt.failed",
        "tool.answered",
        "boundary.taken",
        "effect.answered",
    }
)
"""Facts the core digests itself; specs route what follows from them instead."""


class Overrun(Exception):
    """`always` transitions went on for more than `MAX_MICROSTEPS`: a cycle."""


class Illegal(Exception):
    """A configuration that is no legal combination of states; the engine would accept it."""


class Hands(Protocol):
    """What a calculation may call, in the order SCXML prescribes."""

    def guard(self, transition: Transition, event: str | None) -> bool:
        """Whether the guard holds; may raise."""

    def leave(self, state: State) -> None:
        """A state is left (its exit actions run here)."""

    def take(self, transition: Transition, event: str | None) -> None:
        """A transition is taken (its actions run here)."""

    def enter(self, state: State) -> None:
        """A state is entered (its entry actions run here)."""

    def done(self, event: str) -> None:
        """`event` (`done.state.*`) follows from the state that was just entered."""


class Move(msgspec.Struct, frozen=True):
    """The structural result: the new configuration and history, and whether anything was taken."""

    configuration: tuple[str, ...]
    history: dict[str, tuple[str, ...]]
    moved: bool


class _Model:
    """The engine's model: carries the configuration in and out, and our hands (trap 6)."""

    def __init__(
        self,
        state: Any,
        hands: Hands,
        event: str | None,
        active: Iterable[str] = (),
        scope: frozenset[str] | None = None,
    ) -> None:
        self.state = state
        self.hands = hands
        self.event = event
        self.active = set(active)
        self.scope = scope
        self.taken: set[int] = set()


class Chart:
    """A machine's structure, ready to calculate with. Build once per machine (trap 8)."""

    def __init__(self, machine: Machine) -> None:
        """Compile the structure; raises the engine's `InvalidDefinition` on a broken machine."""
        self.machine = machine
        self._order = {path: n for n, path in enumerate(machine.states)}
        self._ids = {
            path: f"{'h' if state.type == 'history' else 's'}{n}"
            for n, (path, state) in enumerate(machine.states.items())
        }
        self._paths = {key: path for path, key in self._ids.items()}
        self._done = frozenset(
            d for t in machine.transitions for d in t.on if d.startswith("done.state.")
        )
        self._events = {name: f"e{n}" for n, name in enumerate(sorted(event_universe(machine)))}
        self._takes = {path: self._heard(state) for path, state in machine.states.items()}
        self._always = frozenset(
            s.path
            for s in machine.states.values()
            if any(not machine.transitions[t].on for t in s.transitions)
        )
        children: dict[str, list[str]] = {}
        for path, state in machine.states.items():
            children.setdefault(state.parent, []).append(path)
        self._children = children
        self._regions = any(s.type == "parallel" for s in machine.states.values())
        roots = [p for p in children.get("", []) if machine.states[p].type != "history"]
        definition: Any = {self._ids[p]: self._state(p) for p in roots}
        self._class: Any = create_machine_class_from_definition(
            f"M{machine.digest[:16]}",
            definition,
            catch_errors_as_events=False,
            atomic_configuration_update=True,
            allow_event_without_transition=False,
            validate_disconnected_states=False,
            validate_trap_states=False,
            validate_final_reachability=False,
        )
        for made in self._class.states_map.values():
            state = machine.states[made.value.removeprefix(MARK)]
            made.document_order = self._order[state.path] + 1  # trap 9
            if state.type == "compound":  # trap 11
                moves = (t for t in made.transitions if not t.initial)
                for move, number in zip(moves, state.transitions, strict=True):
                    move.internal = machine.transitions[number].internal

    # ------------------------------------------------------------ calculating

    def start(self, hands: Hands) -> Move:
        """Enter the initial states. Raises what the hands raise, or `Overrun`."""
        model = _Model(None, hands, "")
        engine = self._class(model=model)
        move = Move(self._result(engine, model), self._past(engine, {}, {}), moved=True)
        return self._settle(move, 1, hands)

    def send(
        self,
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        hands: Hands,
        scope: frozenset[str] | None = None,
    ) -> Move:
        """What `event` does; None asks only for `always` transitions.

        `scope` limits who sees the event to these states: an ending is seen by the state that started
        the work and that state's ancestors only.

        `always` transitions are asked after the event's own transition, never before it: the engine
        would ask them first on a restored configuration, because facts may have changed what their
        guards read. Raises what the hands raise, `Overrun`, or `Illegal`.
        """
        problem = illegal(self.machine, configuration)
        if problem:
            raise Illegal(problem)
        move = Move(configuration=configuration, history=dict(history), moved=False)
        if event is None:
            return self._settle(move, 0, hands)
        if not any(event in self._takes[path] for path in configuration):
            return move
        move, taken = self._microstep(move, event, hands, scope)
        return self._settle(move, taken, hands) if taken else move

    def _settle(self, move: Move, taken: int, hands: Hands) -> Move:
        """Take `always` transitions until none is enabled; `taken` were taken in this step already."""
        while self.has_always(move.configuration):
            after, more = self._microstep(move, None, hands, None)
            if not more:
                break
            move, taken = after, taken + more
            if taken > MAX_MICROSTEPS:
                raise Overrun(f"more than {MAX_MICROSTEPS} transitions in one step")
        return move

    def _microstep(
        self, move: Move, event: str | None, hands: Hands, scope: frozenset[str] | None
    ) -> tuple[Move, int]:
        """One microstep of an instance of its own; also how many transitions were taken."""
        states = [MARK + path for path in move.configuration]
        state = OrderedSet(states) if len(states) > 1 else states[0]
        model = _Model(state, hands, event, move.configuration, scope)
        engine = self._class(model=model)
        by_value = engine._config._instance_states
        past: dict[str, list[Any]] = {}
        for path, saved in move.history.items():
            deep = self.machine.states[path].deep  # SCXML's deep history is of leaves
            leaves = [p for p in saved if not deep or p not in self._children]
            past[path] = [by_value[MARK + p] for p in leaves]
            engine.history_values[self._ids[path]] = past[path]
        try:
            engine.send(self._events[event] if event is not None else "null")
        except TransitionNotAllowed:
            if not model.taken:
                return move, 0
        history = self._past(engine, move.history, past)
        return Move(self._result(engine, model), history, moved=True), len(model.taken)

    def has_always(self, configuration: Iterable[str]) -> bool:
        """Whether any active state has `always` transitions."""
        return not self._always.isdisjoint(configuration)

    def _result(self, engine: Any, model: _Model) -> tuple[str, ...]:
        """The engine's configuration in our words; raises `Illegal` if it is none."""
        raw = model.state
        active = raw if isinstance(raw, OrderedSet) else ([] if raw is None else [raw])
        configuration = self._paths_of(active)
        problem = illegal(self.machine, configuration)
        if problem:
            raise Illegal(problem)
        return configuration

    def _past(
        self, engine: Any, old: Mapping[str, tuple[str, ...]], put: Mapping[str, list[Any]]
    ) -> dict[str, tuple[str, ...]]:
        """The history now: `old`, and what the engine recorded in place of what was `put` there."""
        history = dict(old)
        for key, saved in engine.history_values.items():
            path = self._paths[key]
            if saved is not put.get(path):
                history[path] = self._paths_of(s.value for s in saved)
        return dict(sorted(history.items()))

    def _heard(self, state: State) -> frozenset[str]:
        """The events a state has transitions for: for others the engine need not be built."""
        descriptors = [d for t in state.transitions for d in self.machine.transitions[t].on]
        return frozenset(name for d in descriptors for name in expand(d, self._events))

    def _paths_of(self, values: Iterable[str]) -> tuple[str, ...]:
        """The paths that the engine's state values stand for, in document order."""
        paths = (value.removeprefix(MARK) for value in values)
        return tuple(sorted(paths, key=self._order.__getitem__))

    # ------------------------------------------------------------ compiling

    def _state(self, path: str) -> dict[str, Any]:
        """The engine's definition of a state (names mangled, the path kept as its value: trap 5)."""
        state = self.machine.states[path]
        made: dict[str, Any] = {
            "value": MARK + path,
            "enter": self._entering(state),
            "exit": _leaving(state),
            "transitions": [
                self._transition(self.machine.transitions[t]) for t in state.transitions
            ],
        }
        siblings = self.machine.states[state.parent] if state.parent else None
        initial = siblings.initial if siblings else self.machine.initial
        if path == initial:
            made["initial"] = True
        if state.type == "final":
            made["final"] = True
        if state.type == "parallel":
            made["parallel"] = True
        kids = self._children.get(path, [])
        plain = [k for k in kids if self.machine.states[k].type != "history"]
        if plain:
            made["states"] = {self._ids[k]: self._state(k) for k in plain}
        past = [k for k in kids if self.machine.states[k].type == "history"]
        if past:
            made["history"] = {self._ids[k]: self._history(k) for k in past}
        return made

    def _history(self, path: str) -> dict[str, Any]:
        """A history state; its default is always given, or entering it could leave us nowhere."""
        state = self.machine.states[path]
        return {
            "value": MARK + path,
            "type": "deep" if state.deep else "shallow",
            "transitions": [{"target": self._ids[state.default]}],
        }

    def _transition(self, transition: Transition) -> dict[str, Any]:
        """The engine's definition of a transition."""
        target = transition.target
        if target and (goal := self.machine.states[target]).type == "history" and not goal.parent:
            target = goal.default  # the root is never left, so it has nothing to remember
        made: dict[str, Any] = {
            "target": self._ids[target] if target else None,
            "on": _taking(transition),
            "internal": False,  # trap 11
        }
        if transition.on:
            made["event"] = " ".join(self._names(transition.on))
        if transition.guard or not transition.on or self._regions:
            made["cond"] = _asking(transition)
        return made

    def _names(self, descriptors: tuple[str, ...]) -> list[str]:
        """Every event a transition answers to, in the engine's names."""
        return [self._events[n] for d in descriptors for n in expand(d, self._events)] or ["never"]

    def _entering(self, state: State) -> Any:
        """The entry callback of a state; a state that was not left is not entered (trap 10)."""

        def entering(model: _Model) -> None:
            if state.path in model.active:
                return
            model.active.add(state.path)
            model.hands.enter(state)
            if state.type == "final":
                for path in finished_by(self.machine, state, model.active):
                    if (event := f"done.state.{path}") in self._done:
                        model.hands.done(event)

        return entering


def event_universe(machine: Machine) -> set[str]:
    """Every event name that can reach the chart."""
    names = {name for name in BY_NAME if name not in SILENT}
    names.update(machine.timers)
    for kind in machine.kinds.values():
        names.update(kind.endings)
    for transition in machine.transitions:
        names.update(d for d in transition.on if not _is_pattern(d))
        names.update(a.name for a in transition.actions if a.do == "raise")
    for state in machine.states.values():
        names.update(a.name for a in state.entry + state.exit if a.do == "raise")
    return names - SILENT


def _is_pattern(descriptor: str) -> bool:
    """Whether a descriptor stands for more than one event."""
    return descriptor == "*" or descriptor.endswith(".*")


def matches(descriptor: str, event: str) -> bool:
    """Whether an event descriptor (`a.b`, `a.*`, `*`) matches an event's name."""
    if descriptor == event:
        return True
    if descriptor == "*":
        return not event.startswith(("after.", "done.state."))
    return descriptor.endswith(".*") and event.startswith(descriptor[:-1])


def expand(descriptor: str, names: Iterable[str]) -> list[str]:
    """The events of `names` that a descriptor matches, sorted."""
    return sorted(n for n in names if matches(descriptor, n))


def _leaving(state: State) -> Any:
    """The exit callback of a state."""

    def leaving(model: _Model) -> None:
        model.active.discard(state.path)
        model.hands.leave(state)

    return leaving


def _taking(transition: Transition) -> Any:
    """The `on` callback of a transition; runs once per microstep (trap 4)."""

    def taking(model: _Model) -> None:
        if transition.id not in model.taken:
            model.taken.add(transition.id)
            model.hands.take(transition, model.event)

    return taking


def _asking(transition: Transition) -> Any:
    """The guard callback of a transition: nothing more is asked once the microstep was made."""

    def asking(model: _Model) -> bool:
        if model.taken or bool(transition.on) != (model.event is not None):
            return False
        if transition.on and model.scope is not None and transition.source not in model.scope:
            return False
        return not transition.guard or model.hands.guard(transition, model.event)

    return asking
