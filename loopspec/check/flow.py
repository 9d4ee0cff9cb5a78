"""Flow: which states lead to which, as a graph over the states that can be active.

Rules of this file:
1. Pure structure of the compiled machine: guards are not asked, so a way that exists may never be
   taken; nothing here says more than that it could be.
2. A *leaf* is an atomic or final state: what is active at the bottom. What a leaf hears is routed by
   it and by the states around it, the inner ones first.
3. References of a draft may lead nowhere; such a draft is not looked at (`sound`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from loopspec.machine.chart import matches
from loopspec.machine.model import Machine, State, Transition

T = TypeVar("T")
Goal = tuple[str, str]
"""Where a transition leads: the state it does not leave, and its target."""
Knot = str | tuple[str, ...]
"""A node of the whole graph: a leaf, or a knot of ways that many leaves share."""


@dataclass(frozen=True)
class Way:
    """From the leaf `start`, the transition leads to the leaves `ends` (empty: nothing is left)."""

    start: str
    transition: Transition
    ends: tuple[str, ...]


class Flow:
    """The graph of one machine."""

    def __init__(self, machine: Machine) -> None:
        """`machine` must be sound."""
        self.machine = machine
        self.children: dict[str, list[State]] = {}
        for state in machine.states.values():
            self.children.setdefault(state.parent, []).append(state)
        self._entering: dict[str, frozenset[str]] = {}
        self._ends: dict[Goal, tuple[str, ...]] = {}

    def transitions(self, path: str) -> Iterator[Transition]:
        """The transitions of one state, in document order."""
        for number in self.machine.states[path].transitions:
            yield self.machine.transitions[number]

    def entering(self, path: str) -> frozenset[str]:
        """Every state that is entered when `path` is the target: itself, around it and below it."""
        known = self._entering.get(path)
        if known is None:
            found: set[str] = set()
            self._down(path, found)
            inner = path
            for around in self.machine.ancestry(path)[1:]:
                found.add(around)
                if self.machine.states[around].type == "parallel":
                    for region in self._plain(around):
                        if region != inner:
                            self._down(region, found)
                inner = around
            known = self._entering[path] = frozenset(found)
        return known

    def _down(self, path: str, found: set[str]) -> None:
        """What is entered with a state: initial children, regions, a history's default."""
        state = self.machine.states[path]
        if state.type == "history":
            found |= {path, *self.entering(state.default)}
            return
        found.add(path)
        if state.type == "compound":
            self._down(state.initial, found)
        elif state.type == "parallel":
            for region in self._plain(path):
                self._down(region, found)

    def _plain(self, path: str) -> list[str]:
        """The children of a state without its histories."""
        return [c.path for c in self.children.get(path, []) if c.type != "history"]

    @cached_property
    def reachable(self) -> frozenset[str]:
        """Every state that could ever be entered."""
        found: set[str] = set()
        queue = [self.machine.initial]
        while queue:
            for path in self.entering(queue.pop()):
                if path in found:
                    continue
                found.add(path)
                queue += [t.target for t in self.transitions(path) if t.target]
        return frozenset(found)

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The reachable atomic and final states, in document order."""
        kinds = ("atomic", "final")
        states = self.machine.states.values()
        return tuple(s.path for s in states if s.type in kinds and s.path in self.reachable)

    def leaves_of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The leaves among states that are entered together."""
        return tuple(p for p in sorted(paths) if self.machine.states[p].type in ("atomic", "final"))

    def ways(self, leaf: str) -> Iterator[Way]:
        """What the leaf and the states around it may do, the leaf's own transitions first."""
        for path in self.machine.ancestry(leaf):
            for transition in self.transitions(path):
                yield Way(leaf, transition, self.ends(self.goal(transition)))

    def goal(self, transition: Transition) -> Goal:
        """Where a transition leads; without a target nowhere."""
        return (self.domain(transition), transition.target) if transition.target else ("", "")

    def ends(self, goal: Goal) -> tuple[str, ...]:
        """The leaves that are entered, in alphabetical order."""
        known = self._ends.get(goal)
        if known is None:
            within, target = goal
            entered = self.entering(target) if target else ()
            inside = (p for p in entered if not within or p.startswith(f"{within}."))
            known = self._ends[goal] = self.leaves_of(inside)
        return known

    @cached_property
    def graph(self) -> dict[Knot, set[Knot]]:
        """Which leaf may follow which, over the knots that they share (so it stays small).

        In a parallel state the transitions of the other regions move a leaf as well, if they leave the
        parallel state. `("at", PATH)` is whatever a state and those around it may do, `("to", …)` a
        goal, `("by", REGION)` what leaves the parallel state from this region.
        """
        made: dict[Knot, set[Knot]] = {leaf: {("at", leaf)} for leaf in self.leaves}
        for path in self.reachable:
            here = made.setdefault(("at", path), set())
            around = self.machine.states[path].parent
            if around:
                here.add(("at", around))
            for transition in self.transitions(path):
                if transition.target:
                    goal = self.goal(transition)
                    here.add(("to", *goal))
                    made[("to", *goal)] = set(self.ends(goal))
                    self._leaving(path, transition.target, goal, made)
        for state in self.machine.states.values():
            if state.type == "parallel" and state.path in self.reachable:
                self._beside(self._plain(state.path), made)
        return made

    def _leaving(self, path: str, target: str, goal: Goal, made: dict[Knot, set[Knot]]) -> None:
        """Note a transition for every parallel state that it leaves."""
        region = ""
        for around in self.machine.ancestry(path):
            parallel = self.machine.states[around].type == "parallel"
            if region and parallel and not target.startswith(f"{around}."):
                made.setdefault(("by", region), set()).add(("to", *goal))
            region = around

    def _beside(self, regions: list[str], made: dict[Knot, set[Knot]]) -> None:
        """Give each region what the others do: all before it, all behind it, each as a chain of knots."""
        for side, line in (("before", regions), ("behind", regions[::-1])):
            for other, region in pairwise(line):
                made[(side, region)] = {(side, other), ("by", other)}
                made.setdefault(("at", region), set()).add((side, region))

    @cached_property
    def trapped(self) -> frozenset[str]:
        """The leaves from which nothing leads to any other."""
        leads: dict[Knot, set[tuple[str, ...]]] = {}
        back = backwards(self.graph)
        queue: list[tuple[Knot, tuple[str, ...]]] = []
        for knot in self.graph:
            if knot[0] == "to" and not isinstance(knot, str):
                queue.append((knot, self.ends((knot[1], knot[2]))))
        while queue:  # two different ends of a knot are enough to know: one of them is elsewhere
            knot, ends = queue.pop()
            known = leads.setdefault(knot, set())
            if ends and ends not in known and len(known) < 2:
                known.add(ends)
                if not isinstance(knot, str):
                    queue += [(before, ends) for before in back.get(knot, ())]
        return frozenset(leaf for leaf in self.leaves if leads.get(leaf, set()) <= {(leaf,)})

    def domain(self, transition: Transition) -> str:
        """The innermost state that a transition does not leave (empty: the root).

        SCXML's transition domain: the nearest compound state around source and target; the source
        itself for an internal transition to below it.
        """
        source, target = transition.source, transition.target or ""
        own = self.machine.states[source]
        if transition.internal and own.type == "compound" and target.startswith(f"{source}."):
            return source
        for around in self.machine.ancestry(source)[1:]:
            if self.machine.states[around].type == "compound" and target.startswith(f"{around}."):
                return around
        return ""

    @cached_property
    def below(self) -> Mapping[str, tuple[str, ...]]:
        """The reachable leaves at or below each state that has any."""
        made: dict[str, list[str]] = {}
        for leaf in self.leaves:
            for path in self.machine.ancestry(leaf):
                made.setdefault(path, []).append(leaf)
        return {path: tuple(leaves) for path, leaves in made.items()}

    def takes(self, path: str, event: str, before: int | None = None) -> bool:
        """Whether a state takes an event whatever its guards say; with transitions before `before`."""
        return any(
            not t.guard and any(matches(d, event) for d in t.on)
            for t in self.transitions(path)
            if before is None or t.id < before
        )

    def taken_below(self, leaf: str, transition: Transition, event: str) -> bool:
        """Whether a state from `leaf` up to, and without, the transition's own takes the event."""
        line = self.machine.ancestry(leaf)
        between = line[: line.index(transition.source)] if transition.source in line else ()
        return any(self.takes(path, event) for path in between)

    def taken_before(self, leaf: str, transition: Transition, event: str) -> bool:
        """Whether the event is taken below, or by an earlier transition of the same state."""
        own = self.takes(transition.source, event, transition.id)
        return own or self.taken_below(leaf, transition, event)


def sound(machine: Machine) -> bool:
    """Whether every reference of a draft holds, so that its flow can be looked at."""
    states = machine.states
    if machine.initial not in states:
        return False
    for state in states.values():
        if state.type == "compound" and state.initial not in states:
            return False
        if state.type == "history" and state.default not in states:
            return False
        if state.kind and state.kind not in machine.kinds:
            return False
    return all(t.target is None or t.target in states for t in machine.transitions)


def backwards(graph: Mapping[T, Collection[T]]) -> dict[T, set[T]]:
    """The graph with every edge turned round."""
    made: dict[T, set[T]] = {}
    for start, ends in graph.items():
        for end in ends:
            made.setdefault(end, set()).add(start)
    return made


def circles(graph: Mapping[T, Collection[T]]) -> list[list[T]]:
    """The groups of nodes that lead back to themselves (strongly connected, Tarjan 1972).

    A node alone counts only when it leads to itself. Iterative: depth is no limit. In the order in
    which the graph's nodes stand.
    """
    index: dict[T, int] = {}
    low: dict[T, int] = {}
    on_stack: set[T] = set()
    stack: list[T] = []
    found: list[list[T]] = []
    for root in graph:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work: list[tuple[T, Iterator[T]]] = [(root, iter(graph[root]))]
        while work:
            node, rest = work[-1]
            nxt = next(rest, None)
            if nxt is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    found += _popped(node, stack, on_stack, graph)
            elif nxt not in index:
                index[nxt] = low[nxt] = len(index)
                stack.append(nxt)
                on_stack.add(nxt)
                work.append((nxt, iter(graph.get(nxt, ()))))
            elif nxt in on_stack:
                low[node] = min(low[node], index[nxt])
    place = {node: n for n, node in enumerate(graph)}
    groups = [sorted(group, key=place.__getitem__) for group in found]
    return sorted(groups, key=lambda group: place[group[0]])


def _popped(node: T, stack: list[T], on_stack: set[T], graph: Mapping[T, Collection[T]]) -> list[list[T]]:
    """The group that ends with `node`, if it is a circle."""
    group: list[T] = []
    while True:
        top = stack.pop()
        on_stack.discard(top)
        group.append(top)
        if top == node:
            break
    return [group] if len(group) > 1 or node in graph.get(node, ()) else []
