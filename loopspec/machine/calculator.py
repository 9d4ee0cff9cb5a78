"""Calculator: which states one microstep leaves and enters. python-statemachine as a pure function.

Rules of this file:
1. A throw-away instance per microstep; the engine never runs a loop, a queue, a timer or a thread.
2. Callbacks only speak to the `Hands` given for this one calculation; they are all synchronous (one
   coroutine callback would switch the engine to its async half, where a cancel loses the state).
3. Whatever a callback raises leaves through here unchanged, and nothing has moved.
4. What is called, in which order, and what comes of it depends on nothing but the arguments and on what
   the guards gave: that is why `memo` may keep it.

The engine's traps and the way round each are numbered as the tests in `tests/machine/test_chart.py`
name them: (1) flags; (3) restoring; (4) double actions after history; (5) names; (6) context for
eventless steps; (8) one class per machine for ever; (9) its document order is wrong below the first
level; (10) it enters states that were not left; (11) it refuses `internal` where the target is not
inside, and half-does it for a target that is the source.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from statemachine.exceptions import TransitionNotAllowed
from statemachine.io import create_machine_class_from_definition
from statemachine.orderedset import OrderedSet

from loopspec.machine.model import Machine, State, Transition
from loopspec.machine.routes import event_universe, expand
from loopspec.machine.structure import finished_by, illegal

MARK: Final = "/"
"""Stands before every state's value: the engine refuses to set an attribute of itself (`model`,
`configuration`) whose name is the value of a state (trap 5)."""

Scope: TypeAlias = frozenset[str] | None
"""Who sees an event: these states only, or everybody (None)."""


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


class After(msgspec.Struct, frozen=True):
    """What a microstep led to: the configuration, the history states that were recorded anew, and how
    many transitions were taken (none: nothing has moved)."""

    configuration: tuple[str, ...]
    recorded: dict[str, tuple[str, ...]]
    taken: int


class Microsteps(Protocol):
    """What calculates microsteps: the calculator itself, or the memo before it."""

    def begin(self, hands: Hands) -> After:
        """Enter the initial states. Raises what the hands raise, or `Illegal`."""

    def microstep(
        self,
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        hands: Hands,
        scope: Scope,
    ) -> After:
        """One microstep by `event` (None: by `always`). Raises what the hands raise, or `Illegal`."""


class _Model:
    """The engine's model: carries the configuration in and out, and our hands (trap 6)."""

    def __init__(
        self,
        state: Any,
        hands: Hands,
        event: str | None,
        active: Iterable[str] = (),
        scope: Scope = None,
    ) -> None:
        self.state = state
        self.hands = hands
        self.event = event
        self.active = set(active)
        self.scope = scope
        self.taken: set[int] = set()


class Calculator:
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
        self.heard = {path: self._heard(state) for path, state in machine.states.items()}
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

    def begin(self, hands: Hands) -> After:
        """Enter the initial states. Raises what the hands raise, or `Illegal`."""
        model = _Model(None, hands, "")
        engine = self._class(model=model)
        return After(self._result(model), self._recorded(engine, {}), 1)

    def microstep(
        self,
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        hands: Hands,
        scope: Scope,
    ) -> After:
        """One microstep of an instance of its own. Raises what the hands raise, or `Illegal`."""
        states = [MARK + path for path in configuration]
        state = OrderedSet(states) if len(states) > 1 else states[0]
        model = _Model(state, hands, event, configuration, scope)
        engine = self._class(model=model)
        by_value = engine._config._instance_states
        past: dict[str, list[Any]] = {}
        for path, saved in history.items():
            deep = self.machine.states[path].deep  # SCXML's deep history is of leaves
            leaves = [p for p in saved if not deep or p not in self._children]
            past[path] = [by_value[MARK + p] for p in leaves]
            engine.history_values[self._ids[path]] = past[path]
        try:
            engine.send(self._events[event] if event is not None else "null")
        except TransitionNotAllowed:
            if not model.taken:
                return After(configuration, {}, 0)
        return After(self._result(model), self._recorded(engine, past), len(model.taken))

    def remembering(self, configuration: Collection[str], event: str | None) -> tuple[str, ...]:
        """The history states that a transition of this event may lead to: only their memory matters."""
        states, found = self.machine.states, []
        numbers = (n for path in configuration for n in states[path].transitions)
        goals = [t.target for n in numbers if self._answers(t := self.machine.transitions[n], event)]
        while goals:
            goal = goals.pop()
            if goal and states[goal].type == "history" and goal not in found:
                found.append(goal)
                goals.append(states[goal].default)
        return tuple(sorted(found))

    def _answers(self, transition: Transition, event: str | None) -> bool:
        """Whether a transition may be taken by this event (None: by none, an `always`)."""
        if event is None or not transition.on:
            return event is None and not transition.on
        return any(event in expand(d, self._events) for d in transition.on)

    def _result(self, model: _Model) -> tuple[str, ...]:
        """The engine's configuration in our words; raises `Illegal` if it is none."""
        raw = model.state
        active = raw if isinstance(raw, OrderedSet) else ([] if raw is None else [raw])
        configuration = self._paths_of(active)
        problem = illegal(self.machine, configuration)
        if problem:
            raise Illegal(problem)
        return configuration

    def _recorded(self, engine: Any, put: Mapping[str, list[Any]]) -> dict[str, tuple[str, ...]]:
        """What the engine recorded for history states in place of what was `put` there."""
        found = {self._paths[key]: saved for key, saved in engine.history_values.items()}
        return {
            path: self._paths_of(s.value for s in saved)
            for path, saved in found.items()
            if saved is not put.get(path)
        }

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
