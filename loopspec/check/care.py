"""Care: budgets, deadlines, people, rollback points and gates that a loop at work should have.

Rules of this file:
1. Each of these can be meant as it is; then the spec says so at the place (`accept`).
2. What loopspec itself limits by default (a model's and a tool's deadlines) is not asked for.
"""

from collections.abc import Callable, Iterator
from typing import Final

from loopspec.check.flow import Flow, Knot, Way
from loopspec.machine.globs import matches_text
from loopspec.machine.model import Authority, Budgets, Kind, Machine, State, ToolDecl
from loopspec.spec.diagnose import Diagnostics, Located, listing, quote
from loopspec.spec.parse import Draft
from loopspec.spec.routes import covers, required_endings

_UNTIMED: Final = frozenset({"perform", "compact_context", "restore_boundary"})
_SPENDS: Final = frozenset({"call_model", "perform"})


def check_care(found: Diagnostics, draft: Draft, flow: Flow) -> None:
    """Report LS703 to LS707 and LS713 to LS715."""
    machine = flow.machine
    working = [(s, k) for s in machine.states.values() if (k := machine.kind_of(s.path)) is not None]
    working = [(s, k) for s, k in working if s.path in flow.reachable]
    _budgets(found, draft, [k for _, k in working])
    for state, kind in working:
        at = _kind_place(draft, state)
        _time(found, machine, state, kind, at)
        if kind.shape != "none" and not _routed(draft, state.path, "user.interrupted"):
            fault = f"while {quote(state.path)} works, nobody handles an interrupt"
            remedy = "add `user.interrupted: STATE` to its `on`, or to that of a state around it"
            found.add("LS706", at, fault, remedy)
        if kind.effect == "run_tool":
            _rollback_point(found, machine, state, at)
    _gates(found, draft, working)
    _questions(found, flow)
    _rules(found, machine, any(k.effect == "run_tool" for _, k in working))


def _kind_place(draft: Draft, state: State) -> Located:
    raw = next(r for r in draft.raws if r.path == state.path)
    return raw.node.entry("kind") or raw.entry


def _budgets(found: Diagnostics, draft: Draft, kinds: list[Kind]) -> None:
    if draft.machine.budgets != Budgets() or not any(k.effect in _SPENDS for k in kinds):
        return
    at = draft.job.root.entry("budgets") or draft.job.root
    fault = "no budget is declared, so nothing limits what a session may consume"
    found.add("LS703", at, fault, "add `budgets: {turns: 60, usd: 5.00, elapsed: 2h}`, for example")


def _time(found: Diagnostics, machine: Machine, state: State, kind: Kind, at: Located) -> None:
    timed = any(machine.states[path].after for path in machine.ancestry(state.path))
    if kind.rests == "approval" and not timed:
        fault = f"the questions of {quote(state.path)} never expire"
        found.add("LS705", at, fault, "add `after: {24h: STATE}`, for example")
    if kind.effect in _UNTIMED and not timed and machine.budgets.elapsed is None:
        fault = f"the work of {quote(state.path)} has no deadline"
        remedy = "add `after: {5m: STATE}` to it, for example, or `elapsed` under `budgets`"
        found.add("LS704", at, fault, remedy)


def _rollback_point(found: Diagnostics, machine: Machine, state: State, at: Located) -> None:
    writers = [t.name for t in machine.tools.values() if t.effect == "write" and not _denied(machine, t)]
    if writers and not state.boundary:
        which = listing(writers, 4)
        fault = f"{quote(state.path)} takes no rollback point before the writes of {which}"
        found.add("LS707", at, fault, "add `boundary: workspace`, and route `boundary.failed`")


def _gates(found: Diagnostics, draft: Draft, working: list[tuple[State, Kind]]) -> None:
    """Tools need a gate before them, and questions a state that puts them."""
    runs = [s for s, k in working if k.effect == "run_tool"]
    if runs and not any(k.effect == "decide_calls" for _, k in working):
        fault = f"{quote(runs[0].path)} runs only calls that a gate has allowed, and there is no gate"
        remedy = "add a state with `kind: gate` between the model and the tools"
        found.add("LS713", _kind_place(draft, runs[0]), fault, remedy)
    offers = [s for s, k in working if k.effect == "call_model"]
    if draft.machine.tools and offers and not runs:
        fault = f"{quote(offers[0].path)} offers tools to its model, and no state runs their calls"
        remedy = "add states of the kinds `gate` and `tools`, or remove the tools"
        found.add("LS713", _kind_place(draft, offers[0]), fault, remedy)
    if not runs or any(k.rests == "approval" for _, k in working):
        return
    machine = draft.machine
    for rule in machine.authority.ask:
        if any(matches_text(glob, tool) for glob in rule.tools for tool in machine.tools):
            fault = "this rule asks a person, and no state of kind `approval` puts the question"
            found.add("LS715", rule.place, fault, "add such a state and lead `gate.asked` to it")
            return
    for state, kind in working:
        wanted = required_endings(draft.job, kind, state, machine.budgets)
        if kind.effect == "run_tool" and "effect.lost" in wanted:
            fault = f"a call of {quote(state.path)} can be lost in a crash, and nobody is asked about it"
            remedy = "add a state with `kind: approval` and lead `effect.lost` to it"
            found.add("LS715", _kind_place(draft, state), fault, remedy)
            return


def _questions(found: Diagnostics, flow: Flow) -> None:
    """Asked calls must come to a person, allowed ones to tools, before the model is called again."""
    machine = flow.machine
    asks = any(
        matches_text(g, t) for rule in machine.authority.ask for g in rule.tools for t in machine.tools
    )
    if asks and any(k.rests == "approval" for k in machine.kinds.values()):
        for way in _after(flow, "gate.asked", lambda k: k.effect == "decide_calls"):
            if not _meets(flow, way.ends, lambda k: k.rests == "approval"):
                fault = f"the calls that {quote(way.start)} asks about never come to a person"
                remedy = "lead `gate.asked` to a state of kind `approval`"
                found.add("LS715", way.transition.place, fault, remedy)
    if not any(k.effect == "run_tool" for k in machine.kinds.values()):
        return
    gates = any(k is not None and k.effect == "decide_calls" for k in map(machine.kind_of, flow.leaves))
    for way in _after(flow, "model.replied", lambda k: k.effect == "call_model"):
        past = [end for end in way.ends if (k := machine.kind_of(end)) and k.effect == "run_tool"]
        if gates and past:
            fault = f"the calls of {quote(way.start)} come to {quote(past[0])} past every gate"
            remedy = "lead `model.replied` to a state with `kind: gate`"
            found.add("LS713", way.transition.place, fault, remedy)
    runs = [*_after(flow, "gate.allowed", lambda k: k.effect == "decide_calls")]
    runs += _after(flow, "approval.granted", lambda k: k.rests == "approval")
    for way in runs:
        if not _meets(flow, way.ends, lambda k: k.effect == "run_tool"):
            fault = f"the calls that {quote(way.start)} lets run never come to a state of kind `tools`"
            remedy = f"lead `{way.transition.on[0]}` to a state of kind `tools`"
            found.add("LS713", way.transition.place, fault, remedy)


def _after(flow: Flow, event: str, of: Callable[[Kind], bool]) -> Iterator[Way]:
    """The ways that an ending of such states leads."""
    for leaf in flow.leaves:
        kind = flow.machine.kind_of(leaf)
        if kind is None or not of(kind):
            continue
        for way in flow.ways(leaf):
            hears = any(covers(d, event) for d in way.transition.on)
            if hears and way.ends and not flow.taken_before(way.start, way.transition, event):
                yield way


def _meets(flow: Flow, starts: tuple[str, ...], wanted: Callable[[Kind], bool]) -> bool:
    """Whether such a state can be reached without calling a model on the way."""
    seen: set[Knot] = set()
    queue: list[Knot] = list(starts)
    while queue:
        here = queue.pop()
        kind = flow.machine.kind_of(here) if isinstance(here, str) else None
        if kind is not None and wanted(kind):
            return True
        if here in seen or (kind is not None and kind.effect == "call_model"):
            continue
        seen.add(here)
        queue += flow.graph.get(here, ())
    return False


def _rules(found: Diagnostics, machine: Machine, runs: bool) -> None:
    """Tools that no rule lets run."""
    for tool in machine.tools.values():
        if not runs or not tool.use:
            continue
        if _denied(machine, tool):
            fault = f"a rule denies every call of {quote(tool.name)}"
            remedy = "remove the tool, or narrow the rule by paths or commands"
            found.add("LS714", tool.place, fault, remedy)
        elif not _named(machine.authority, tool.name):
            fault = f"no rule allows {quote(tool.name)}, so every call of it is denied"
            remedy = f"add `{{tools: [{tool.name}]}}` to `allow` or `ask` under `authority`"
            found.add("LS714", tool.place, fault, remedy)


def _named(authority: Authority, tool: str) -> bool:
    rules = (*authority.allow, *authority.ask)
    return any(matches_text(glob, tool) for rule in rules for glob in rule.tools)


def _denied(machine: Machine, tool: ToolDecl) -> bool:
    """Whether a rule denies all calls of a tool."""
    return any(
        not rule.paths and not rule.commands and any(matches_text(g, tool.name) for g in rule.tools)
        for rule in machine.authority.deny
    )


def _routed(draft: Draft, path: str, event: str) -> bool:
    """Whether a state or one around it routes an event."""
    while path:
        if any(covers(entry.key, event) for entry in draft.job.routes.get(path, [])):
            return True
        path = path.rpartition(".")[0]
    return False
