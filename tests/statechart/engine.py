"""python-statemachine used directly: one long-lived instance that runs its own queue and its own loop.

Nothing of `loopspec.machine` is used; the definition is built from the spec's data. What the engine is
known to do differently from SCXML is put right here, each with a comment (!), so that every other
difference shows. What cannot be put right is named in `differs`.
"""

from collections.abc import Iterator
from typing import Any, Final

from statemachine.io import create_machine_class_from_definition
from statemachine.orderedset import OrderedSet

from .charts import RAISED, SENT, regions_in_regions
from .scxml import Arrow, Interpreter, Node

EVENTS: Final = {name: f"e{n}" for n, name in enumerate((*SENT, *RAISED))}


def differs(spec: dict[str, Any]) -> str:
    """Why the engine is no judge of this chart, empty if it is one."""
    if regions_in_regions(spec["states"]):
        return "it never says that a parallel state is done whose last region to be done is parallel"
    return ""


class _Past(dict[str, Any]):
    """(!) SCXML's deep history is of atomic states; the engine also keeps what is around them, and then
    leaves and enters more than it should when a transition inside leads to the history."""

    def __init__(self, deep: set[str]) -> None:
        super().__init__()
        self.deep = deep

    def __setitem__(self, key: str, saved: Any) -> None:
        super().__setitem__(key, [s for s in saved if key not in self.deep or not s.states])


class _Model:
    """(!) Keeps the configuration in document order: the engine selects in the order of entering."""

    def __init__(self, order: dict[str, int]) -> None:
        self._order = order
        self._state: Any = None

    @property
    def state(self) -> Any:
        return self._state

    @state.setter
    def state(self, value: Any) -> None:
        if isinstance(value, OrderedSet):
            value = OrderedSet(sorted(value, key=self._order.__getitem__))
        self._state = value


class Direct:
    """A chart run by the engine alone; the interpreter only reads the tree and runs the actions."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Build a definition of our own and enter the initial states."""
        self.read = Interpreter(spec, begin=False)
        self._done: dict[tuple[int, int], Any] = {}
        self._active: set[Node] = set()
        self._ids = {n: f"s{n.order}" for n in self.read.nodes.values()}
        # (!) One compound state around everything: the engine stops for good when a parallel state at
        # the root is done; SCXML stops only for a final state there.
        around = {"value": "", "initial": True, "states": self._states(self.read.root)}
        made: Any = create_machine_class_from_definition(
            "Direct",
            {"around": around},
            catch_errors_as_events=False,
            validate_disconnected_states=False,
            validate_trap_states=False,
            validate_final_reachability=False,
        )
        order = {"": 0, **{n.path: n.order for n in self.read.nodes.values()}}
        for state in made.states_map.values():
            state.document_order = order[state.value] + 1  # (!) its own numbers repeat at each depth
            node = self.read.nodes.get(state.value)
            if node is not None and node.type == "compound":
                # (!) SCXML asks where the target leads; the engine refuses the ones it cannot see to
                # lead inside, and enters a state again that it has not left if it is its own target.
                moves = [t for t in state.transitions if not t.initial]
                for move, arrow in zip(moves, node.arrows, strict=True):
                    move.internal = arrow.internal
        past = _Past({i for n, i in self._ids.items() if n.deep})
        made.history_values = property(lambda machine: past, lambda machine, value: None)
        self._machine = made(model=_Model(order))

    @property
    def active(self) -> tuple[str, ...]:
        """The paths of all active states, in document order."""
        return tuple(s.value for s in self._machine.configuration if s.value)

    def send(self, event: str) -> None:
        """An external event and all that follows."""
        self._machine.send(EVENTS[event])

    # ------------------------------------------------------------ the definition

    def _states(self, parent: Node) -> dict[str, Any]:
        return {self._ids[n]: self._state(n) for n in parent.children if n.type != "history"}

    def _state(self, node: Node) -> dict[str, Any]:
        made: dict[str, Any] = {
            "value": node.path,
            "enter": self._entering(node),
            "exit": self._leaving(node),
            "transitions": list(self._transitions(node)),
            "initial": node.parent is not None and node.parent.initial is node,
            "final": node.type == "final",
            "parallel": node.type == "parallel",
        }
        if node.children:
            made["states"] = self._states(node)
            made["history"] = {
                self._ids[c]: {
                    "value": c.path,
                    "type": "deep" if c.deep else "shallow",
                    "transitions": [{"target": self._ids[c.default]}],
                }
                for c in node.children
                if c.type == "history" and c.default is not None
            }
        return made

    def _transitions(self, node: Node) -> Iterator[dict[str, Any]]:
        for arrow in node.arrows:
            made: dict[str, Any] = {
                "target": self._ids[arrow.target] if arrow.target else None,
                "cond": self._asking(arrow),
                "on": self._taking(arrow),
            }
            if arrow.on is not None:
                names = [e for n, e in EVENTS.items() if fits(arrow.on, n)]
                if arrow.on.startswith("done.state."):
                    names = [f"done.state.{self._ids[node]}"]
                made["event"] = " ".join(names)
            yield made

    # ------------------------------------------------------------ the callbacks

    def _run(self, actions: list[dict[str, Any]], machine: Any) -> None:
        self.read.run(actions)
        while self.read.internal:
            machine.send(EVENTS[self.read.internal.popleft()], internal=True)

    def _entering(self, node: Node) -> Any:
        def entering(machine: Any) -> None:
            if node not in self._active:  # (!) entered again, though it was not left
                self._active.add(node)
                self._run(node.entry, machine)

        return entering

    def _leaving(self, node: Node) -> Any:
        def leaving(machine: Any) -> None:
            self._active.discard(node)
            self._run(node.exit, machine)

        return leaving

    def _asking(self, arrow: Arrow) -> Any:
        def asking() -> bool:
            return not arrow.guard or bool(self.read.value(arrow.guard))

        return asking

    def _taking(self, arrow: Arrow) -> Any:
        def taking(machine: Any, event_data: Any) -> None:
            key = (id(arrow), id(event_data.trigger_data))
            if key not in self._done:  # (!) actions of a transition into history run twice
                self._done[key] = event_data.trigger_data  # kept, so that its id stays its own
                self._run(arrow.actions, machine)

        return taking


def fits(descriptor: str, event: str) -> bool:
    """Whether `a.b`, `a.*` or `*` stands for an event that is sent or raised."""
    return descriptor in ("*", event) or (descriptor.endswith(".*") and event.startswith(descriptor[:-1]))
