"""Reach: what of the structure can never happen, never ends, or never stops.

Rules of this file:
1. Only sound machines are looked at (`flow.sound`), so that one fault is not reported twice.
2. A guard may go either way, unless what it reads shows that a circle comes to its end: a var that
   the circle itself assigns, or the usage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from loopspec.check.flow import Flow, Knot, Way, backwards, circles
from loopspec.events import BY_NAME
from loopspec.machine.chart import matches
from loopspec.machine.guards import read_by
from loopspec.machine.model import Budgets, State, Transition
from loopspec.machine.routes import NOTICES
from loopspec.spec.diagnose import Diagnostics, listing, quote
from loopspec.spec.parse import Draft
from loopspec.spec.routes import INSTEAD, required_endings

_REPLY: Final = frozenset({"turns", "tokens", "usd", "elapsed"})
_AT_ONCE: Final = frozenset(
    {"model.failed", "model.overflowed", "context.pressed", "context.stuck", "budget.exhausted"}
    | {"gate.allowed", "gate.asked", "gate.denied", "tools.settled", "boundary.failed"}
    | {"rollback.done", "rollback.partial", "rollback.failed", "effect.failed"}
    | NOTICES
)
_SHRINKS: Final = "context.compacted"
"""Compaction makes the view smaller or gets stuck, so it cannot go round for ever."""


def check_reach(found: Diagnostics, draft: Draft, flow: Flow) -> None:
    """Report LS314, LS701, LS702, LS708, LS711, LS712 and LS716."""
    _never_entered(found, flow)
    rounds = _always_circles(found, flow)
    trapped = _without_way_out(found, flow, rounds)
    endings = {leaf: _endings_of(draft, flow, leaf) for leaf in flow.leaves}
    _spends_nothing(found, flow, endings)
    _never_taken(found, draft, flow, endings)
    _stands_still(found, flow, endings)
    _never_rests(found, flow, trapped, rounds)


def _never_entered(found: Diagnostics, flow: Flow) -> None:
    for state in flow.machine.states.values():
        if state.path in flow.reachable or state.type == "history":
            continue
        if state.parent and state.parent not in flow.reachable:
            continue  # the state around it is reported
        fault = f"no transition leads to {quote(state.path)}, so it is never entered"
        remedy = f"add a transition with `target: {state.path}`, or remove it"
        found.add("LS701", state.place, fault, remedy)


def _without_way_out(found: Diagnostics, flow: Flow, told: set[str]) -> set[str]:
    """Report leaves that nothing leaves; gives back which they are."""
    trapped = {leaf for leaf in flow.trapped if flow.machine.states[leaf].type == "atomic"}
    for leaf in flow.leaves:
        state = flow.machine.states[leaf]
        if leaf in flow.trapped and state.type == "final" and state.parent:
            fault = f"{quote(state.parent)} has no `done`, so the loop stays in {quote(leaf)} for ever"
            found.add("LS702", state.place, fault, f"add `done: STATE` to {quote(state.parent)}")
        elif leaf not in trapped and _guards_alone(flow, leaf):
            fault = f"when no guard holds, nothing leads out of {quote(leaf)}"
            found.add("LS702", state.place, fault, "add an `always` without a guard, or an `on`")
        if leaf not in trapped or leaf in told:
            continue
        fault = f"nothing leads out of {quote(leaf)}"
        remedy = "add a transition; if the loop ends here, write `type: final`"
        if state.kind:
            remedy = "route its events in `on`, or add `after`"
        found.add("LS702", state.place, fault, remedy)
    return trapped


def _guards_alone(flow: Flow, leaf: str) -> bool:
    """Whether a leaf does nothing, and only guards lead out that read what nothing there can change."""
    line = flow.machine.ancestry(leaf)
    if flow.machine.kind_of(leaf) or any(flow.machine.states[p].type == "parallel" for p in line):
        return False
    ways = [way.transition for way in flow.ways(leaf)]
    lone = all(not t.on and t.guard and t.target != leaf for t in ways)
    return bool(ways) and lone and not any(r == "usage" for t in ways for r, _ in read_by(t.guard))


def _stands_still(found: Diagnostics, flow: Flow, endings: dict[str, tuple[str, ...]]) -> None:
    """Report endings after which a state stays active and has nothing left to do."""
    told: set[int] = set()
    for leaf, names in endings.items():
        ways = list(flow.ways(leaf))
        if any(not w.transition.on or w.transition.on[0].startswith("after.") for w in ways):
            continue  # something else may lead on
        for event in names:
            for way in ways:
                own = way.transition
                if not any(matches(d, event) for d in own.on):
                    continue
                if own.target is None and own.id not in told:
                    told.add(own.id)
                    fault = f"after `{event}` nothing leads out of {quote(leaf)}, and its work is done"
                    found.add("LS702", own.place, fault, "add a `target`")
                if not own.guard:
                    break


def _never_rests(found: Diagnostics, flow: Flow, trapped: set[str], told: set[str]) -> None:
    """Report leaves from which no state that rests or ends can be reached, once for each group."""
    before = backwards(flow.graph)
    queue: list[Knot] = [leaf for leaf in flow.leaves if leaf in trapped or _rests(flow, leaf)]
    good = set(queue)
    while queue:
        fresh = before.get(queue.pop(), set()) - good
        good |= fresh
        queue += fresh
    bad = {knot: ends - good for knot, ends in flow.graph.items() if knot not in good}
    for group in circles(bad):
        leaves = [leaf for leaf in group if isinstance(leaf, str)]
        if told & set(leaves):
            continue
        first = flow.machine.states[leaves[0]]
        fault = f"from {listing(leaves, 4)} no state can be reached in which the loop rests or ends"
        remedy = "lead out to a state of kind `input`, to one without a kind, or to `type: final`"
        found.add("LS716", first.place, fault, remedy)


def _rests(flow: Flow, leaf: str) -> bool:
    """Whether a loop may stay in a leaf until somebody wants something, or for ever."""
    state = flow.machine.states[leaf]
    kind = flow.machine.kind_of(leaf)
    if kind is not None:
        return bool(kind.rests)
    always = any(not t.on and not t.guard for t in flow.transitions(leaf))
    return state.type == "final" or not always


# ------------------------------------------------------------ circles


def _always_circles(found: Diagnostics, flow: Flow) -> set[str]:
    """Report circles that nothing outside moves; gives back the leaves of those that never end."""
    endless: set[str] = set()
    for circle in _circles_of(flow, lambda way: not way.transition.on, work=False):
        first = min(circle.ways, key=lambda w: w.transition.id).transition
        through = listing(circle.leaves, 4)
        if all(_first_always(flow, leaf, circle) for leaf in circle.leaves):
            fault = f"the `always` transitions of {through} lead round for ever"
            remedy = "give one of them a guard, or make it wait for an event"
            found.add("LS314", first.place, fault, remedy)
            endless.update(circle.leaves)
        else:
            fault = f"the `always` transitions of {through} may lead round without an end"
            remedy = "let a guard read a var that the circle assigns; a step ends after 100 transitions"
            found.add("LS711", first.place, fault, remedy)
    return endless


def _first_always(flow: Flow, leaf: str, circle: "_Circle") -> bool:
    """Whether the transition taken first in a leaf is one of the circle's, without a guard."""
    for path in flow.machine.ancestry(leaf):
        for transition in flow.transitions(path):
            if not transition.on:
                return not transition.guard and (leaf, transition.id) in circle.steps
    return False


def _spends_nothing(found: Diagnostics, flow: Flow, endings: dict[str, tuple[str, ...]]) -> None:
    budgets = flow.machine.budgets
    declared = {name for name in _REPLY if getattr(budgets, name) is not None}
    if not declared:
        return  # that there is no budget at all is another warning

    def free(way: Way) -> bool:
        if not way.transition.on:
            return True
        if way.transition.on[0].startswith("done.state."):
            return flow.machine.states[way.start].type == "final"
        comes = (*endings[way.start], *_told(flow, way.start))
        names = [e for e in comes if any(matches(d, e) for d in way.transition.on)]
        names = [e for e in names if not flow.taken_before(way.start, way.transition, e)]
        timed = any(d.startswith("after.") for d in way.transition.on)
        costs = [_spends(e) for e in names] + ([{"elapsed"}] if timed else [])
        return any(not cost & declared for cost in costs)

    for circle in _circles_of(flow, free, work=True):
        if all(not way.transition.on for way in circle.ways):
            continue  # the circle of `always` transitions has been reported
        if not any(_works(flow, leaf) for leaf in circle.leaves):
            continue  # timers of states that rest: nothing is done on the way round
        circle.ways = [way for way in circle.ways if way.transition.on]
        first = min(circle.ways, key=lambda w: w.transition.id).transition
        names = ", ".join(quote(_key(d)) for d in first.on)
        through = listing(circle.leaves, 4)
        fault = f"{names} leads round through {through} without spending a declared budget"
        remedy = "lead elsewhere, or count in a var that a guard reads"
        found.add("LS708", first.place, fault, remedy)


def _works(flow: Flow, leaf: str) -> bool:
    kind = flow.machine.kind_of(leaf)
    return kind is not None and kind.shape != "none"


def _key(descriptor: str) -> str:
    """The key in the document under which an event is routed."""
    own = {"after.": "after", "done.state.": "done"}
    return next((key for prefix, key in own.items() if descriptor.startswith(prefix)), descriptor)


def _spends(event: str) -> set[str]:
    """The budgets that shrink for sure when work ends with this event.

    A failure, a refusal or a full window may come at once, so none of them counts as time.
    """
    if event == "model.replied":
        return set(_REPLY)
    return set() if event in _AT_ONCE else {"elapsed"}


@dataclass
class _Circle:
    """Leaves that lead round to each other, and the ways on which they do."""

    flow: Flow
    leaves: list[str]
    ways: list[Way]

    @cached_property
    def steps(self) -> frozenset[tuple[str, int]]:
        """The ways, as leaf and transition."""
        return frozenset((way.start, way.transition.id) for way in self.ways)

    @cached_property
    def assigned(self) -> frozenset[str]:
        """The vars that are assigned on the way round."""
        states = {path for leaf in self.leaves for path in self.flow.machine.ancestry(leaf)}
        acts = [a for way in self.ways for a in way.transition.actions]
        for path in states:
            state = self.flow.machine.states[path]
            acts += [*state.entry, *state.exit]
        return frozenset(a.name for a in acts if a.do == "assign")


def _circles_of(flow: Flow, counts: Callable[[Way], bool], *, work: bool) -> list[_Circle]:
    """The circles of leaves over the ways that count, without those that come to an end.

    `work`: something is done on the way round, so that the usage may change.
    """
    ways = [w for leaf in flow.leaves for w in flow.ways(leaf) if w.ends and counts(w)]
    ways = [w for c in _circles_over(flow, ways) for w in c.ways if not _comes_to_an_end(w, c, work)]
    return _circles_over(flow, ways)


def _circles_over(flow: Flow, ways: list[Way]) -> list[_Circle]:
    graph: dict[Knot, set[Knot]] = {}
    for way in ways:
        graph.setdefault(way.start, set()).add(flow.goal(way.transition))
        graph[flow.goal(way.transition)] = set(way.ends)
    made: list[_Circle] = []
    where: dict[str, _Circle] = {}
    for group in circles(graph):
        circle = _Circle(flow, [leaf for leaf in group if isinstance(leaf, str)], [])
        made.append(circle)
        where.update(dict.fromkeys(circle.leaves, circle))
    for way in ways:
        circle_of = where.get(way.start)
        if circle_of is not None and any(where.get(end) is circle_of for end in way.ends):
            circle_of.ways.append(way)
    return made


def _comes_to_an_end(way: Way, circle: _Circle, work: bool) -> bool:
    """Whether a guard reads what the circle changes: a var it assigns, or the usage.

    The way's own guard counts, and those of the alternatives that are tried before it.
    """
    own = way.transition
    tried = [t for t in circle.flow.transitions(own.source) if t.on == own.on and t.id <= own.id]
    read = {name for transition in tried for name in read_by(transition.guard)}
    if work and any(root == "usage" for root, _ in read):
        return True
    return bool({name for root, name in read if root == "vars"} & circle.assigned)


# ------------------------------------------------------------ routes


def _endings_of(draft: Draft, flow: Flow, leaf: str) -> tuple[str, ...]:
    """The events that the work of a leaf can end with by itself: without a person, without a crash."""
    state = flow.machine.states[leaf]
    kind = flow.machine.kind_of(leaf)
    if kind is None or kind.rests:
        return ()
    known = required_endings(draft.job, kind, state, flow.machine.budgets)
    return tuple(name for name in known if name not in (_SHRINKS, "effect.lost"))


def _never_taken(
    found: Diagnostics, draft: Draft, flow: Flow, endings: dict[str, tuple[str, ...]]
) -> None:
    """Report routes of endings that no state here can end with, and those others take before."""
    kinds = draft.job.kinds.values()
    scoped = {name for kind in kinds for name in kind.endings}
    scoped |= {"context.pressed", "boundary.failed", *NOTICES}
    if flow.machine.budgets == Budgets():
        scoped.add("budget.exhausted")
    universe = [name for name in BY_NAME if name not in INSTEAD]
    universe += [*draft.job.foreign, *draft.job.raised]
    can = {leaf: set(names) | _also(draft, flow, leaf) for leaf, names in endings.items()}
    told: set[tuple[str, tuple[str, ...]]] = set()
    for state in flow.machine.states.values():
        inside = flow.below.get(state.path, ())
        for transition in flow.transitions(state.path):
            key = (state.path, transition.on)
            if not inside or key in told or not _routes(transition):
                continue
            names = [e for e in universe if any(matches(d, e) for d in transition.on)]
            if not names:
                continue
            fault = _dead(flow, state, transition, names, inside, scoped, can)
            if fault:
                told.add(key)
                found.add("LS712", transition.place, fault, "remove it, or put it where it is meant")


def _routes(transition: Transition) -> bool:
    return bool(transition.on) and not transition.on[0].startswith(("after.", "done.state."))


def _also(draft: Draft, flow: Flow, leaf: str) -> set[str]:
    """What a leaf's work can end with besides: by a person's answer, after a crash."""
    kind = flow.machine.kind_of(leaf)
    return {*kind.endings, "effect.lost", *_told(flow, leaf)} if kind is not None else set()


def _told(flow: Flow, leaf: str) -> frozenset[str]:
    """The notices that a leaf may be told while it works."""
    kind = flow.machine.kind_of(leaf)
    return NOTICES if kind is not None and kind.effect == "call_model" else frozenset()


def _dead(
    flow: Flow,
    state: State,
    transition: Transition,
    names: list[str],
    inside: tuple[str, ...],
    scoped: set[str],
    can: dict[str, set[str]],
) -> str:
    """Why a route is never taken, empty if it can be."""
    hears = {e: [p for p in inside if e not in scoped or e in can[p]] for e in names}
    shown = ", ".join(f"`{d}`" for d in transition.on)
    if not any(hears.values()):
        if names == ["budget.exhausted"]:
            return f"{shown} never comes: no budget is declared"
        where = f"{quote(state.path)} cannot" if inside == (state.path,) else "no state in it can"
        return f"{shown} never comes here: {where} end with it"
    for event, leaves in hears.items():
        for leaf in leaves:
            if not flow.taken_below(leaf, transition, event):
                return ""
    return f"{shown} is never taken here: every state inside takes it before"
