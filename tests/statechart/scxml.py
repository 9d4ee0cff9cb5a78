"""An SCXML interpreter, written down plainly: the algorithm of W3C SCXML, appendix D, for our subset.

It reads a spec's own YAML data and shares nothing with the package: neither parser nor calculator nor
expressions. It is slow, has no limits of its own but `LIMIT`, and knows nothing of kinds, timers,
errors and endings. The functions bear the names they have in the appendix. Where it departs from the
letter of the pseudo-code, a comment marked (*) says why.
"""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

LIMIT: Final = 300
_WORD: Final = re.compile(r"vars\.(\w+)|(-?\d+)|(true|false)")
_SUM: Final = re.compile(r"(\S+) ([+*-]) (\S+)")
_COMPARED: Final = re.compile(r"(.+?) (==|!=|<=|>=|<|>) (.+)")


class Endless(Exception):
    """More than `LIMIT` microsteps for one event."""


class Unsupported(Exception):
    """The spec uses something this interpreter does not know."""


@dataclass(eq=False)
class Node:
    """A state; the root is one with an empty path."""

    path: str
    type: str
    order: int
    parent: "Node | None" = None
    initial: "Node | None" = None
    deep: bool = False
    default: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)
    arrows: "list[Arrow]" = field(default_factory=list)
    entry: list[dict[str, Any]] = field(default_factory=list)
    exit: list[dict[str, Any]] = field(default_factory=list)

    def ancestors(self) -> "list[Node]":
        """The states around it, innermost first, the root last."""
        return [] if self.parent is None else [self.parent, *self.parent.ancestors()]

    def within(self, other: "Node") -> bool:
        """`isDescendant`: whether it lies inside `other`."""
        return other in self.ancestors()


@dataclass(eq=False)
class Arrow:
    """A transition; `on` is None for an eventless one."""

    source: Node
    on: str | None
    target: Node | None
    guard: str
    internal: bool
    actions: list[dict[str, Any]]


class Interpreter:
    """One run of one spec. `log` holds what happened, in order, for whoever empties it."""

    def __init__(self, spec: dict[str, Any], *, begin: bool = True) -> None:
        """Read the spec and, with `begin`, enter its initial states."""
        self.vars = {name: made["default"] for name, made in spec.get("vars", {}).items()}
        if any(made["type"] not in ("int", "bool") for made in spec.get("vars", {}).values()):
            raise Unsupported("vars of other types")
        self.nodes: dict[str, Node] = {}
        self.root = Node("", "compound", 0)
        self._tree(spec["states"], self.root)
        self.root.initial = self._find(self.root, spec["initial"])
        self._arrows(spec["states"], self.root)
        self.configuration: set[Node] = set()
        self.history: dict[Node, list[Node]] = {}
        self.internal: deque[str] = deque()
        self.log: list[str] = []
        self.running = True
        if begin:
            self.enter_states([Arrow(self.root, None, self.root.initial, "", True, [])])
            self.macrostep()

    @property
    def active(self) -> tuple[str, ...]:
        """The paths of all active states, in document order."""
        return tuple(n.path for n in in_order(self.configuration))

    def past(self) -> dict[str, tuple[str, ...]]:
        """What each history state remembers, compound states in between included."""
        out = {}
        for node, saved in self.history.items():
            inside = {a for s in saved for a in (s, *s.ancestors()) if a.within(node.parent or a)}
            out[node.path] = tuple(n.path for n in in_order(inside))
        return dict(sorted(out.items()))

    # ------------------------------------------------------------ reading

    def _tree(self, states: dict[str, Any], parent: Node) -> None:
        for name, raw in states.items():
            if {"kind", "after"} & raw.keys():
                raise Unsupported(f"{name}: kinds and timers")
            path = f"{parent.path}.{name}" if parent.path else name
            type_ = raw.get("type", "compound" if "states" in raw else "atomic")
            node = Node(path, type_, len(self.nodes) + 1, parent, deep=raw.get("deep", False))
            node.entry, node.exit = raw.get("entry", []), raw.get("exit", [])
            parent.children.append(node)
            self.nodes[path] = node
            self._tree(raw.get("states", {}), node)

    def _arrows(self, states: dict[str, Any], parent: Node) -> None:
        for name, raw in states.items():
            node = self.nodes[f"{parent.path}.{name}" if parent.path else name]
            if node.type == "history":
                node.default = self._find(node, raw["target"])
                continue
            if "initial" in raw:
                node.initial = self.nodes[f"{node.path}.{raw['initial']}"]
            for event, given in raw.get("on", {}).items():
                self._add(node, event, given)
            if "done" in raw:
                self._add(node, f"done.state.{node.path}", raw["done"])
            if "always" in raw:
                self._add(node, None, raw["always"])
            self._arrows(raw.get("states", {}), node)

    def _add(self, node: Node, on: str | None, given: Any) -> None:
        for one in given if isinstance(given, list) else [given]:
            raw = {"target": one} if isinstance(one, str) else one
            target = self._find(node, raw["target"]) if "target" in raw else None
            actions = [*raw.get("actions", []), *([{"say": raw["say"]}] if "say" in raw else [])]
            guard, internal = str(raw.get("guard", "")), raw.get("internal", False)
            node.arrows.append(Arrow(node, on, target, guard.lower(), internal, actions))

    def _find(self, source: Node, name: str) -> Node:
        for scope in source.ancestors() or [source]:
            path = f"{scope.path}.{name}" if scope.path else name
            if path in self.nodes:
                return self.nodes[path]
        raise Unsupported(f"no state {name}")

    # ------------------------------------------------------------ the algorithm

    def send(self, event: str) -> bool:
        """An external event and all that follows; whether anything was taken."""
        enabled = self.select(event)
        if enabled:
            self.microstep(enabled)
        return self.macrostep() or bool(enabled)

    def macrostep(self) -> bool:
        """Eventless transitions first, then internal events, until neither is left."""
        moved = False
        for _ in range(LIMIT):
            if not self.running:
                return moved
            enabled = self.select(None)
            if not enabled:
                if not self.internal:
                    return moved
                enabled = self.select(self.internal.popleft())
            if enabled:
                moved = True
                self.microstep(enabled)
        raise Endless

    def select(self, event: str | None) -> list[Arrow]:
        """`selectTransitions` and `selectEventlessTransitions`."""
        enabled: list[Arrow] = []
        atomic = [n for n in in_order(self.configuration) if n.type in ("atomic", "final")]
        for leaf in atomic:
            found = next(
                (a for n in (leaf, *leaf.ancestors()) for a in n.arrows if self.takes(a, event)), None
            )
            if found is not None and found not in enabled:
                enabled.append(found)
        return self.remove_conflicting(enabled)

    def takes(self, arrow: Arrow, event: str | None) -> bool:
        """Whether a transition is enabled by the event."""
        if arrow.on is None or event is None:
            fits = arrow.on is None and event is None
        else:
            # `a` is exactly `a`, as in XState; `*` stands for what people, hosts and specs say, not for
            # what a state itself brings about.
            own = event.startswith("done.state.")
            below = arrow.on.endswith(".*") and event.startswith(arrow.on[:-1])
            fits = arrow.on == event or below or (arrow.on == "*" and not own)
        return fits and (not arrow.guard or bool(self.value(arrow.guard)))

    def remove_conflicting(self, enabled: list[Arrow]) -> list[Arrow]:
        """`removeConflictingTransitions`: the inner one wins, then the earlier one."""
        filtered: list[Arrow] = []
        for one in enabled:
            beaten: list[Arrow] = []
            for two in filtered:
                if self.exit_set([one]) & self.exit_set([two]):
                    if not one.source.within(two.source):
                        break
                    beaten.append(two)
            else:
                filtered = [a for a in filtered if a not in beaten] + [one]
        return filtered

    def microstep(self, enabled: list[Arrow]) -> None:
        """Leave, act, enter."""
        self.exit_states(enabled)
        for arrow in enabled:
            self.run(arrow.actions)
        self.enter_states(enabled)

    def exit_states(self, enabled: list[Arrow]) -> None:
        """`exitStates`: history first, then exit actions, innermost and last first."""
        leaving = in_order(self.exit_set(enabled))[::-1]
        for node in leaving:
            for past in (c for c in node.children if c.type == "history"):
                kept = [
                    n
                    for n in in_order(self.configuration)
                    if (n.within(node) and not n.children if past.deep else n.parent is node)
                ]
                self.history[past] = kept
        for node in leaving:
            self.run(node.exit)
            self.configuration.discard(node)

    def exit_set(self, arrows: Iterable[Arrow]) -> set[Node]:
        """`computeExitSet`."""
        out: set[Node] = set()
        for arrow in arrows:
            if arrow.target is not None:
                domain = self.domain(arrow)
                out |= {n for n in self.configuration if n.within(domain)}
        return out

    def enter_states(self, enabled: list[Arrow]) -> None:
        """`enterStates`."""
        entering: set[Node] = set()
        for arrow in enabled:
            if arrow.target is not None:
                self.add_descendants(arrow.target, entering)
                domain = self.domain(arrow)
                for node in self.effective(arrow.target):
                    self.add_ancestors(node, domain, entering)
        # (*) The appendix runs the entry of an active state that was not left, when history leads back
        # into it from inside; a state is entered only if it is not active.
        for node in in_order(entering - self.configuration):
            self.configuration.add(node)
            self.run(node.entry)
            if node.type == "final":
                self.finish(node)

    def finish(self, final: Node) -> None:
        """What follows from a final state."""
        parent = final.parent
        if parent is None or parent is self.root:
            self.running = False
            return
        if parent.type == "compound":
            self.internal.append(f"done.state.{parent.path}")
            parent = parent.parent
        # (*) The appendix looks at the grandparent only; section 3.4 says that a parallel state is done
        # when all its children are, also where one of them is parallel itself.
        while parent is not None and parent.type == "parallel" and self.in_final(parent):
            self.internal.append(f"done.state.{parent.path}")
            parent = parent.parent

    def in_final(self, node: Node) -> bool:
        """`isInFinalState`."""
        if node.type == "parallel":
            return all(self.in_final(c) for c in node.children if c.type != "history")
        return any(c.type == "final" and c in self.configuration for c in node.children)

    def add_descendants(self, node: Node, entering: set[Node]) -> None:
        """`addDescendantStatesToEnter`."""
        if node.type == "history":
            for one in self.effective(node):
                self.add_descendants(one, entering)
            for one in self.effective(node):
                self.add_ancestors(one, node.parent or self.root, entering)
            return
        entering.add(node)
        if node.type == "compound":
            assert node.initial is not None
            self.add_descendants(node.initial, entering)
            self.add_ancestors(node.initial, node, entering)
        elif node.type == "parallel":
            self.add_regions(node, entering)

    def add_ancestors(self, node: Node, until: Node, entering: set[Node]) -> None:
        """`addAncestorStatesToEnter`."""
        for above in node.ancestors():
            if above in (until, self.root):
                return
            entering.add(above)
            if above.type == "parallel":
                self.add_regions(above, entering)

    def add_regions(self, node: Node, entering: set[Node]) -> None:
        """Each region of a parallel state in which nothing is entered yet."""
        for child in node.children:
            if child.type != "history" and not any(n.within(child) for n in entering):
                self.add_descendants(child, entering)

    def domain(self, arrow: Arrow) -> Node:
        """`getTransitionDomain`."""
        assert arrow.target is not None
        goals, source = self.effective(arrow.target), arrow.source
        if arrow.internal and source.type == "compound" and all(g.within(source) for g in goals):
            return source
        around = (a for a in source.ancestors() if a.type == "compound")
        return next((a for a in around if all(g.within(a) for g in goals)), self.root)

    def effective(self, target: Node) -> list[Node]:
        """`getEffectiveTargetStates`."""
        if target.type != "history":
            return [target]
        if target in self.history:
            return self.history[target]
        assert target.default is not None
        return [target.default]

    # ------------------------------------------------------------ actions and expressions

    def run(self, actions: list[dict[str, Any]]) -> None:
        """Executable content."""
        for action in actions:
            ((do, what),) = action.items()
            if do == "assign":
                for name, text in what.items():
                    self.vars[name] = self.value(str(text).lower())
            elif do == "raise":
                self.internal.append(what)
                self.log.append(f"raise {what}")
            elif do == "mark":
                self.log.append(f"mark {what}")
            else:
                text = what["text"] if isinstance(what, dict) else what
                if "{{" in text:
                    raise Unsupported("templates")
                model = isinstance(what, dict) and what.get("to") == "model"
                self.log.append(f"{do} {text}" + (" (model)" if model else ""))

    def value(self, text: str) -> int | bool:
        """An expression: a comparison of sums of two words, or less."""
        if made := _COMPARED.fullmatch(text):
            left, op, right = self.value(made[1]), made[2], self.value(made[3])
            return {
                "==": left == right,
                "!=": left != right,
                "<": left < right,
                "<=": left <= right,
                ">": left > right,
                ">=": left >= right,
            }[op]
        if made := _SUM.fullmatch(text):
            left, right = self.value(made[1]), self.value(made[3])
            return {"+": left + right, "-": left - right, "*": left * right}[made[2]]
        if made := _WORD.fullmatch(text):
            if made[1]:
                found: int | bool = self.vars[made[1]]
                return found
            return int(made[2]) if made[2] else made[3] == "true"
        raise Unsupported(f"the expression {text}")


def in_order(nodes: Iterable[Node]) -> list[Node]:
    """In document order."""
    return sorted(nodes, key=lambda n: n.order)
