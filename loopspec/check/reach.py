"""Reach: what of the structure can never happen, never ends, or never stops.

Rules of this file:
1. Only sound machines are looked at (`flow.sound`), so that one fault is not reported twice.
2. A guard may go either way, unless what it reads shows that a circle comes to its end: a var that
   the circle itself assigns, or the usage.
"""

from collections.abc import Callable, Iterable
from typing import Final

from loopspec.check.flow import Flow, Way, circles
from loopspec.events import BY_NAME
from loopspec.machine.chart import matches
from loopspec.machine.guards import read_by
from loopspec.machine.model import Budgets, State, Transition
from loopspec.spec.diagnose import Diagnostics, listing, quote
from loopspec.spec.parse import Draft
from loopspec.spec.routes import required_endings

_REPLY: Final = frozenset({"turns", "tokens", "usd", "elapsed"})
_AT_ONCE: Final = frozenset(
    {"model.failed", "model.overflowed", "context.pressed", "context.stuck", "budget.exhausted"}
    | {"gate.allowed", "gate.asked", "gate.denied", "tools.settled", "boundary.failed"}
    | {"rollback.done", "rollback.partial", "rollback.failed", "effect.failed"}
)
_SHRINKS: Final = "context.compacted"
"""Compaction makes the view smaller or gets stuck, so it cannot go round for ever."""


def check_reach(found: Diagnostics, draft: Draft, flow: Flow) -> None:
    """Report LS314, LS701, LS702, LS708, LS711, LS712 and LS716."""
    _never_entered(found, flow)
    trapped = _without_way_out(found, flow)
    _always_circles(found, flow)
    endings = {leaf: _endings_of(draft, flow, leaf) for leaf in flow.leaves}
    _spends_nothing(found, flow, endings)
    _never_taken(found, draft, flow, endings)
    _never_rests(found, flow, trapped)


def _never_entered(found: Diagnostics, flow: Flow) -> None:
    for state in flow.machine.states.values():
        if state.path in flow.reachable or state.type == "history":
            continue
        if state.parent and state.parent not in flow.reachable:
            continue  # the state around it is reported
        fault = f"no transition leads to {quote(state.path)}, so it is never entered"
        remedy = f"add a transition with `target: {state.path}`, or remove it"
        found.add("LS701", state.place, fault, remedy)


def _without_way_out(found: Diagnostics, flow: Flow) -> set[str]:
    """Report leaves that nothing leaves; gives back which they are."""
    ways: dict[str, list[Way]] = {}
    for way in flow.ways:
        ways.setdefault(way.start, []).append(way)
    trapped: set[str] = set()
    for leaf in flow.leaves:
        state = flow.machine.states[leaf]
        if state.type != "atomic" or any(w.ends and w.ends != (leaf,) for w in ways.get(leaf, [])):
            continue
        trapped.add(leaf)
        fault = f"nothing leads out of {quote(leaf)}"
        remedy = "add a transition; if the loop ends here, write `type: final`"
        if state.kind:
            remedy = "route its events in `on`, or add `after`"
        found.add("LS702", state.place, fault, remedy)
    return trapped


def _never_rests(found: Diagnostics, flow: Flow, trapped: set[str]) -> None:
    """Report leaves from which no state that rests or ends can be reached, once for each group."""
    graph = {leaf: set[str]() for leaf in flow.leaves}
    for way in flow.ways:
        graph[way.start].update(way.ends)
    good = {leaf for leaf in flow.leaves if _rests(flow, leaf)} | trapped
    backwards: dict[str, set[str]] = {leaf: set() for leaf in graph}
    for start, ends in graph.items():
        for end in ends:
            backwards[end].add(start)
    queue = list(good)
    while queue:
        fresh = backwards[queue.pop()] - good
        good |= fresh
        queue += fresh
    bad = {leaf: graph[leaf] - good for leaf in graph if leaf not in good}
    for group in circles(bad):
        first = flow.machine.states[group[0]]
        fault = f"from {listing(group, 4)} no state can be reached in which the loop rests or ends"
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


def _always_circles(found: Diagnostics, flow: Flow) -> None:
    def always(way: Way) -> bool:
        return not way.transition.on and bool(way.ends)

    for group in _circles_of(flow, always):
        ways = [w for w in flow.ways if always(w) and w.start in group and set(w.ends) & set(group)]
        first = min(ways, key=lambda w: w.transition.id).transition
        if all(_first_always(flow, leaf, ways) for leaf in group):
            fault = f"the `always` transitions of {listing(group, 4)} lead round for ever"
            remedy = "give one of them a guard, or make it wait for an event"
            found.add("LS314", first.place, fault, remedy)
        else:
            fault = f"the `always` transitions of {listing(group, 4)} may lead round without an end"
            remedy = "let a guard read a var that the circle assigns; a step ends after 100 transitions"
            found.add("LS711", first.place, fault, remedy)


def _first_always(flow: Flow, leaf: str, ways: list[Way]) -> bool:
    """Whether the transition taken first in a leaf is one of `ways`, without a guard."""
    for path in flow.machine.ancestry(leaf):
        for transition in flow.transitions(path):
            if not transition.on:
                mine = any(w.transition is transition and w.start == leaf for w in ways)
                return not transition.guard and mine
    return False


def _spends_nothing(found: Diagnostics, flow: Flow, endings: dict[str, tuple[str, ...]]) -> None:
    budgets = flow.machine.budgets
    declared = {name for name in _REPLY if getattr(budgets, name) is not None}
    if not declared:
        return  # that there is no budget at all is another warning

    def free(way: Way) -> bool:
        names = [e for e in endings[way.start] if any(matches(d, e) for d in way.transition.on)]
        names = [e for e in names if not _taken_before(flow, way, e)]
        timed = any(d.startswith("after.") for d in way.transition.on)
        costs = [_spends(e) for e in names] + ([{"elapsed"}] if timed else [])
        return bool(way.ends) and any(not cost & declared for cost in costs)

    for group in _circles_of(flow, free):
        ways = [w for w in flow.ways if w.start in group and set(w.ends) & set(group) and free(w)]
        first = min(ways, key=lambda w: w.transition.id).transition
        names = ", ".join(f"`{d}`" for d in first.on)
        fault = f"{names} leads round through {listing(group, 4)} without spending a declared budget"
        remedy = "lead elsewhere, or count in a var that a guard reads"
        found.add("LS708", first.place, fault, remedy)


def _spends(event: str) -> set[str]:
    """The budgets that shrink for sure when work ends with this event.

    A failure, a refusal or a full window may come at once, so none of them counts as time.
    """
    if event == "model.replied":
        return set(_REPLY)
    return set() if event in _AT_ONCE else {"elapsed"}


def _circles_of(flow: Flow, counts: Callable[[Way], bool]) -> list[list[str]]:
    """The circles of leaves over the ways that count, without those that come to an end."""
    ways = [w for w in flow.ways if counts(w)]
    for _ in range(2):  # the second time without ways that the circle itself brings to an end
        graph: dict[str, set[str]] = {leaf: set() for leaf in flow.leaves}
        for way in ways:
            graph[way.start].update(way.ends)
        groups = circles(graph)
        ends = {way for group in groups for way in ways if _comes_to_an_end(flow, way, group)}
        ways = [w for w in ways if w not in ends]
    return groups


def _comes_to_an_end(flow: Flow, way: Way, group: list[str]) -> bool:
    """Whether a way's guard reads what its circle changes: a var it assigns, or the usage."""
    if way.start not in group or not way.transition.guard:
        return False
    read = read_by(way.transition.guard)
    if any(root == "usage" for root, _ in read):
        return True
    names = {name for root, name in read if root == "vars"}
    assigned: set[str] = set()
    for leaf in group:
        for path in flow.machine.ancestry(leaf):
            state = flow.machine.states[path]
            acts = [*state.entry, *state.exit]
            acts += [a for t in flow.transitions(path) for a in t.actions]
            assigned.update(a.name for a in acts if a.do == "assign")
    return bool(names & assigned)


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
    scoped |= {"context.pressed", "boundary.failed"}
    if flow.machine.budgets == Budgets():
        scoped.add("budget.exhausted")
    universe = [*BY_NAME, *draft.job.foreign, *draft.job.raised]
    can = {leaf: set(names) | _also(draft, flow, leaf) for leaf, names in endings.items()}
    told: set[tuple[str, tuple[str, ...]]] = set()
    for state in flow.machine.states.values():
        inside = flow.below(state.path)
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
    return {*kind.endings, "effect.lost"} if kind is not None else set()


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
            if not _taken_before(flow, Way(leaf, transition, ()), event):
                return ""
    return f"{shown} is never taken here: every state inside takes it before"


def _taken_before(flow: Flow, way: Way, event: str) -> bool:
    """Whether a state below the transition's own, on the way up from the leaf, takes the event."""
    between = _up_to(flow, way.start, way.transition.source)
    return any(flow.takes(path, event) for path in between)


def _up_to(flow: Flow, leaf: str, source: str) -> Iterable[str]:
    """The states from a leaf up to, and without, `source`; none when it is not around the leaf."""
    line = flow.machine.ancestry(leaf)
    return line[: line.index(source)] if source in line else ()
