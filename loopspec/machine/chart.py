"""Chart: which states a machine leaves and enters. python-statemachine as a pure calculator.

Rules of this file:
1. A throw-away instance per event; the engine never runs a loop, a timer or a thread for us.
2. Callbacks only speak to the `Hands` given for this one calculation; they are all synchronous (one
   coroutine callback would switch the engine to its async half, where a cancel loses the state).
3. Whatever a callback raises leaves through `send` unchanged, and nothing has moved.

The engine's traps and the way round each are numbered as the tests in `tests/machine/test_chart.py`
name them: (1) flags; (3) restoring; (4) double actions after history; (5) names; (6) context for
eventless steps; (8) one class per machine for ever; plus `always` before the event (below).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
from statemachine.exceptions import TransitionNotAllowed
from statemachine.io import create_machine_class_from_definition
from statemachine.orderedset import OrderedSet

from loopspec.events import BY_NAME
from loopspec.machine.model import Machine, State, Transition

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
        live: bool,
        scope: frozenset[str] | None = None,
    ) -> None:
        self.state = state
        self.hands = hands
        self.event = event
        self.live = live
        self.scope = scope
        self.taken = 0
        self.done: set[tuple[int, int]] = set()
        self.alive: list[Any] = []


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
        definition: Any = {self._ids[p]: self._state(p) for p in children.get("", [])}
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

    # ------------------------------------------------------------ calculating

    def start(self, hands: Hands) -> Move:
        """Enter the initial states. Raises what the hands raise, or `Overrun`."""
        model = _Model(None, hands, None, live=True)
        engine = self._class(model=model)
        return self._result(engine, model, moved=True)

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
        name = self._events.get(event) if event is not None else "null"
        if name is None or (event is None and self._always.isdisjoint(configuration)):
            return Move(configuration=configuration, history=dict(history), moved=False)
        if event is not None and not any(event in self._takes[path] for path in configuration):
            return Move(configuration=configuration, history=dict(history), moved=False)
        states = [MARK + path for path in configuration]
        model = _Model(
            OrderedSet(states) if len(states) > 1 else states[0],
            hands,
            event,
            live=event is None,
            scope=scope,
        )
        engine = self._class(model=model)
        by_value = engine._config._instance_states
        for path, saved in history.items():
            engine.history_values[self._ids[path]] = [by_value[MARK + p] for p in saved]
        try:
            engine.send(name)
        except TransitionNotAllowed:
            if not model.taken:
                return Move(configuration=configuration, history=dict(history), moved=False)
        return self._result(engine, model, moved=model.taken > 0)

    def has_always(self, configuration: Iterable[str]) -> bool:
        """Whether any active state has `always` transitions."""
        return not self._always.isdisjoint(configuration)

    def _result(self, engine: Any, model: _Model, moved: bool) -> Move:
        """The engine's configuration and history in our words."""
        raw = model.state
        active = raw if isinstance(raw, OrderedSet) else ([] if raw is None else [raw])
        configuration = self._paths_of(active)
        problem = illegal(self.machine, configuration)
        if problem:
            raise Illegal(problem)
        history = {
            self._paths[key]: self._paths_of(s.value for s in saved)
            for key, saved in engine.history_values.items()
        }
        return Move(
            configuration=configuration, history=dict(sorted(history.items())), moved=moved
        )

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
            "enter": _entering(state),
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
        made: dict[str, Any] = {
            "target": self._ids[transition.target] if transition.target else None,
            "on": _taking(transition),
            "internal": transition.internal,
        }
        if transition.on:
            made["event"] = " ".join(self._names(transition.on))
        if transition.guard or not transition.on or self._regions:
            made["cond"] = _asking(transition)
        return made

    def _names(self, descriptors: tuple[str, ...]) -> list[str]:
        """Every event a transition answers to, in the engine's names."""
        out: list[str] = []
        for descriptor in descriptors:
            if descriptor.startswith("done.state."):
                out.append(f"done.state.{self._ids[descriptor.removeprefix('done.state.')]}")
            else:
                out.extend(self._events[name] for name in expand(descriptor, self._events))
        return out or ["never"]


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
    return {n for n in names if n not in SILENT and not n.startswith("done.state.")}


def _is_pattern(descriptor: str) -> bool:
    """Whether a descriptor stands for more than one event."""
    return descriptor == "*" or descriptor.endswith(".*")


def matches(descriptor: str, event: str) -> bool:
    """Whether an event descriptor (`a.b`, `a.*`, `*`) matches an event's name."""
    if descriptor == event:
        return True
    if descriptor == "*":
        return not event.startswith("after.")
    return descriptor.endswith(".*") and event.startswith(descriptor[:-1])


def expand(descriptor: str, names: Iterable[str]) -> list[str]:
    """The events of `names` that a descriptor matches, sorted."""
    return sorted(n for n in names if matches(descriptor, n))


def illegal(machine: Machine, configuration: tuple[str, ...]) -> str:
    """Why a configuration is not legal, empty if it is (trap 3: the engine accepts anything)."""
    active = set(configuration)
    for path in configuration:
        if path not in machine.states:
            return f"`{path}` is no state of this machine"
        parent = machine.states[path].parent
        if parent and parent not in active:
            return f"`{path}` is active but its parent is not"
    for path in ("", *configuration):
        kind = machine.states[path].type if path else "compound"
        kids = [
            s.path for s in machine.states.values() if s.parent == path and s.type != "history"
        ]
        live = sum(k in active for k in kids)
        if kind == "compound" and live != 1:
            return f"`{path or 'the root'}` has {live} active children instead of one"
        if kind == "parallel" and live != len(kids):
            return f"`{path}` has {live} of {len(kids)} regions active"
    return ""


def _entering(state: State) -> Any:
    """The entry callback of a state."""

    def entering(model: _Model) -> None:
        model.hands.enter(state)

    return entering


def _leaving(state: State) -> Any:
    """The exit callback of a state."""

    def leaving(model: _Model) -> None:
        model.hands.leave(state)

    return leaving


def _taking(transition: Transition) -> Any:
    """The `on` callback of a transition; runs once per trigger (trap 4)."""

    def taking(model: _Model, event_data: Any) -> None:
        trigger = event_data.trigger_data
        key = (transition.id, id(trigger))
        if key in model.done:
            return
        model.done.add(key)
        model.alive.append(trigger)  # keeps its id from being reused within this calculation
        model.taken += 1
        if model.taken > MAX_MICROSTEPS:
            raise Overrun(f"more than {MAX_MICROSTEPS} transitions in one step")
        model.live = True
        model.hands.take(transition, _event_of(transition, model, event_data))

    return taking


def _asking(transition: Transition) -> Any:
    """The guard callback of a transition; `always` ones answer only once the event was taken."""

    def asking(model: _Model, event_data: Any) -> bool:
        if not transition.on and not model.live:
            return False
        event = _event_of(transition, model, event_data)
        follows = event is None or event.startswith("done.state.")  # from the move, not the ending
        if not follows and model.scope is not None and transition.source not in model.scope:
            return False
        if not transition.guard:
            return True
        return model.hands.guard(transition, event)

    return asking


def _event_of(transition: Transition, model: _Model, event_data: Any) -> str | None:
    """The event a transition was triggered by: None for `always`."""
    if not transition.on:
        return None
    if str(event_data.trigger_data.event).startswith("done.state."):
        return next(d for d in transition.on if d.startswith("done.state."))
    return model.event
