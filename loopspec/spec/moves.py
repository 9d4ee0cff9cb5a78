"""Moves: transitions, their targets and their actions.

Rules of this file:
1. A target is looked for beside the state first, then beside each of its ancestors, up to the root.
2. A list of guarded transitions ends unguarded, so that an event that was routed always counts.
3. Every expression and text is compiled now; `event` is known where exactly one event leads here.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from loopspec.events import BY_NAME, LIVE, tag_of
from loopspec.machine.model import Action, AfterTimer, Transition
from loopspec.machine.routes import NOTICES
from loopspec.spec import literals
from loopspec.spec.diagnose import Located, listing, nearest, quote
from loopspec.spec.expressions import check_cel, check_constant, check_text
from loopspec.spec.forms import EVENT
from loopspec.spec.job import Job, entries, flag, items, place, scalar, text
from loopspec.spec.keys import TABLES
from loopspec.spec.source import Entry, Node
from loopspec.spec.states import Raw

OWN_EVENTS: Final = frozenset(BY_NAME) | {tag_of(kind) for kind in LIVE} | {"raised"}


def connect(job: Job, raws: list[Raw]) -> None:
    """Give the job's states their transitions, timers and actions."""
    for raw in raws:
        state = job.states[raw.path]
        first = len(job.transitions)
        job.routes[raw.path] = list(entries(raw.node, "on"))
        timers: list[str] = []
        if raw.type in ("atomic", "compound", "parallel"):
            for entry in job.routes[raw.path]:
                _on(job, raw, entry)
            timers = [_after(job, raw, n, entry) for n, entry in enumerate(entries(raw.node, "after"))]
            _done_and_always(job, raw)
        job.states[raw.path] = replace(
            state,
            entry=_actions(job, items(raw.node, "entry"), None),
            exit=_actions(job, items(raw.node, "exit"), None),
            default=_default(job, raw) if raw.type == "history" else "",
            transitions=tuple(range(first, len(job.transitions))),
            after=tuple(timers),
        )


def resolve(job: Job, source: str, name: str) -> str | None:
    """The path `name` means to the state `source`, None when there is no such state."""
    scope = source
    while scope:
        scope = scope.rpartition(".")[0]
        path = f"{scope}.{name}" if scope else name
        if path in job.states:
            return path
    return None


def _on(job: Job, raw: Raw, entry: Entry) -> None:
    # An event of the spec's own has no fields, which the message says; a pattern has none for sure.
    single = not entry.key.endswith("*")
    must_end = entry.key not in NOTICES  # what nobody takes of those changes nothing
    _list(job, raw, entry, (entry.key,), entry.key if single else None, must_end=must_end)


def _after(job: Job, raw: Raw, number: int, entry: Entry) -> str:
    key = f"after.{raw.path}.{number}"
    clock = text(entry.value, "clock", "wall") if entry.value.kind == "map" else "wall"
    delay = literals.duration(entry.key) or 0
    job.timers[key] = AfterTimer(key, raw.path, delay, clock, place(entry))
    _list(job, raw, entry, (key,), None, must_end=True)
    return key


def _done_and_always(job: Job, raw: Raw) -> None:
    done, always = raw.node.entry("done"), raw.node.entry("always")
    if done is not None and raw.type != "atomic":
        children = [s for s in job.states.values() if s.parent == raw.path]
        if raw.type == "compound" and not any(s.type == "final" for s in children):
            fault = f"{quote(raw.path)} has no final child, so it is never done"
            job.found.add("LS307", done, fault, "add a child with `type: final`, or remove `done`")
        _list(job, raw, done, (f"done.state.{raw.path}",), None, must_end=True)
    if always is not None:
        _list(job, raw, always, (), None, must_end=False)


def _list(
    job: Job, raw: Raw, entry: Entry, on: tuple[str, ...], event: str | None, must_end: bool
) -> None:
    """The transitions under one key."""
    ended: Transition | None = None
    last: Transition | None = None
    for node, at in _alternatives(entry):
        last = _transition(job, raw, node, at, on, event)
        if node.kind == "map" and _misspelt(node):
            must_end = False  # what is meant as a guard may stand under another key
        elif ended is not None:
            fault = f"never taken: the transition in line {ended.place.line} has no guard"
            remedy = "put the transition without a guard last, or remove this one"
            job.found.add("LS307", at, fault, remedy)
        elif not last.guard:
            ended = last
    if must_end and last is not None and ended is None:
        fault = f"when no guard holds, nothing is said about {quote(entry.key)}"
        remedy = "end the list with a transition without a guard: `- {target: STATE}`, or "
        job.found.add("LS306", last.place, fault, remedy + "`- {actions: []}` to stay")


def _misspelt(node: Node) -> bool:
    """Whether a transition has keys that `shape` has reported, or a guard that is no text."""
    guard = node.get("guard")
    unread = guard is not None and guard.kind != "scalar"
    return unread or any(TABLES["after"].key(entry.key) is None for entry in node.entries)


def _alternatives(entry: Entry) -> Iterator[tuple[Node, Located]]:
    if entry.value.kind == "list":
        yield from ((item, item) for item in entry.value.items)
    else:
        yield entry.value, entry


def _transition(
    job: Job, raw: Raw, node: Node, at: Located, on: tuple[str, ...], event: str | None
) -> Transition:
    is_map = node.kind == "map"
    goal = scalar(node, "target") if is_map else node if node.kind == "scalar" else None
    guard = scalar(node, "guard") if is_map else None
    if guard is not None:
        check_cel(job, guard, "bool", event, "guard")
        check_constant(job, guard, event)
    actions = _actions(job, items(node, "actions"), event) if is_map else ()
    say = node.entry("say") if is_map else None
    if say is not None:
        actions += tuple(_say(job, say.value, say, event))
    made = Transition(
        id=len(job.transitions),
        source=raw.path,
        on=on,
        guard=guard.text if guard is not None else "",
        target=_target(job, raw.path, goal) if goal is not None and not goal.empty else None,
        internal=flag(node, "internal"),
        actions=actions,
        place=place(at),
    )
    job.transitions.append(made)
    if is_map:
        _useful(job, node, at, made)
    return made


def _useful(job: Job, node: Node, at: Located, made: Transition) -> None:
    """Refuse transitions that do nothing, or would do it for ever."""
    says = {entry.key for entry in node.entries} & {"target", "actions", "say"}
    if _misspelt(node):
        return
    if not says:
        fault = "this transition has neither a target nor actions"
        job.found.add("LS310", at, fault, "add `target`; to stay on purpose write `actions: []`")
    elif not made.on and not made.guard and "target" not in says:
        fault = "an `always` without guard and target would be taken for ever"
        job.found.add("LS310", at, fault, "add a `target` or a `guard`")


def _target(job: Job, source: str, node: Node) -> str | None:
    found = resolve(job, source, node.text)
    if found is None:
        fault = f"{quote(source)} cannot reach a state called {quote(node.text)}"
        remedy = "name a state beside it, or write the path from the root"
        near = nearest(node.text, job.states)
        if not near:
            remedy += f"; there are {listing(job.states)}"
        job.found.add("LS201", node, fault, remedy, near)
    return found


def _default(job: Job, raw: Raw) -> str:
    """Where a history state leads at first; it must lie beside it or deeper."""
    node = scalar(raw.node, "target")
    if node is None:
        if raw.node.entry("target") is None:
            fault = f"the history state {quote(raw.path)} does not say where it leads at first"
            job.found.add("LS305", raw.entry, fault, "add `target: STATE`")
        return ""
    path = _target(job, raw.path, node)
    if path is None:
        return ""
    inside = not raw.parent or path.startswith(f"{raw.parent}.")
    if not inside or job.states[path].type == "history":
        where = f"inside {quote(raw.parent)}" if raw.parent else "of the machine"
        fault = f"{quote(path)} cannot be the default of {quote(raw.path)}"
        job.found.add("LS305", node, fault, f"name a state {where} that is no history state")
    return path


def _actions(job: Job, nodes: tuple[Node, ...], event: str | None) -> tuple[Action, ...]:
    made: list[Action] = []
    for node in nodes:
        for entry in node.entries:
            match entry.key:
                case "assign":
                    made += _assign(job, entry, event)
                case "say":
                    made += _say(job, entry.value, entry, event)
                case "log":
                    check_text(job, entry.value, event, "text")
                    made.append(Action("log", text=entry.value.text, place=place(entry)))
                case "raise":
                    _raise(job, entry.value)
                    made.append(Action("raise", entry.value.text, place=place(entry)))
                case "mark":
                    made.append(Action("mark", entry.value.text, place=place(entry)))
    return tuple(made)


def _assign(job: Job, entry: Entry, event: str | None) -> Iterator[Action]:
    for var in entry.value.entries:
        declared = job.vars.get(var.key)
        if declared is None:
            fault = f"no var called {quote(var.key)} is declared"
            near = nearest(var.key.removeprefix("vars."), job.vars)
            remedy = f"assign to one of {listing(job.vars)}" if job.vars else "declare it under `vars`"
            if var.key in job.inputs:
                fault, remedy = f"{quote(var.key)} is an input and never changes", "make it a var"
            job.found.add("LS206", var, fault, remedy, near)
        elif var.value.kind == "scalar":
            check_cel(job, var.value, declared.type, event, quote(var.key))
        yield Action("assign", var.key, var.value.text, place=place(var))


def _say(job: Job, node: Node, at: Located, event: str | None) -> Iterator[Action]:
    source = scalar(node, "text") if node.kind == "map" else node
    if source is None or source.kind != "scalar":
        return
    check_text(job, source, event, "text")
    to = text(node, "to", "person") if node.kind == "map" else "person"
    yield Action("say", text=source.text, to=to, place=place(at))


def _raise(job: Job, node: Node) -> None:
    name = node.text
    endings = {ending for kind in job.kinds.values() for ending in kind.endings}
    if not re.fullmatch(EVENT, name, re.ASCII):
        return  # `shape` has reported it
    if name in OWN_EVENTS | endings or name.startswith(("done.", "after.")):
        fault = f"{quote(name)} is an event of loopspec or of a kind and cannot be raised"
        job.found.add("LS311", node, fault, "choose another name, such as `work.ready`")
    elif node.kind == "scalar":
        job.raised[name] = None
