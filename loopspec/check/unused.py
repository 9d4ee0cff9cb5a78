"""Unused: what is declared and never used, and what one key takes from a later one.

Rules of this file:
1. A text that reads `inputs` or `vars` as a whole uses all of them.
2. What stands in a state that is never entered counts as used: that fault is told once.
"""

import json

from loopspec.machine.globs import matches_text
from loopspec.machine.guards import read_by
from loopspec.machine.model import Action, Machine
from loopspec.machine.named import models_of, templates_of
from loopspec.machine.routes import NOTICES
from loopspec.machine.texts import reads_of
from loopspec.spec.diagnose import Diagnostics, Located, quote
from loopspec.spec.parse import Draft
from loopspec.spec.routes import covers
from loopspec.spec.source import Entry


def check_unused(found: Diagnostics, draft: Draft) -> None:
    """Report LS709."""
    machine = draft.machine
    states = machine.states.values()
    models = {name for path in machine.states for name in models_of(machine, path)}
    for name, model in machine.models.items():
        if name not in models:
            _say(found, model.place, f"the model {quote(name)} is never called")
    prompts = {s.prompt for s in states} | {p.prompt for s in states for p in s.smaller}
    for name, place in machine.prompt_places.items():
        if name not in prompts:
            _say(found, place, f"the prompt {quote(name)} is never used")
    offered = _offered(machine)
    for name, tool in machine.tools.items():
        if name not in offered:
            _say(found, tool.place, f"the tool {quote(name)} is never offered to a model")
    guided = machine.guidance
    if guided is not None and not any("guidance" in _roots(text) for text in _all_texts(machine)):
        _say(found, guided.place, "`guidance` is never read: no text says `{{ guidance }}`")
    _names(found, machine)
    rules = machine.authority
    for rule in (*rules.allow, *rules.ask, *rules.deny):
        named = any(not set("*?[") & set(glob) for glob in rule.tools)  # that is LS601
        hits = any(matches_text(glob, tool) for glob in rule.tools for tool in machine.tools)
        if machine.tools and not named and not hits:
            _say(found, rule.place, "this rule matches no declared tool")


def _say(found: Diagnostics, at: Located, fault: str) -> None:
    found.add("LS709", at, fault, "use it, or remove it")


def _offered(machine: Machine) -> set[str]:
    """The tools that some state offers its model: those it lists, all when it lists none."""
    out: set[str] = set()
    for state in machine.states.values():
        kind = machine.kinds.get(state.kind)
        if kind is None or kind.effect != "call_model":
            continue
        listed = json.loads(state.config).get("tools")
        out.update(machine.tools if listed is None else listed)
    return out


def _all_texts(machine: Machine) -> list[str]:
    """The prompts, and what actions say."""
    actions = [a for t in machine.transitions for a in t.actions]
    actions += [a for s in machine.states.values() for a in (*s.entry, *s.exit)]
    return [*machine.prompts.values(), *(a.text for a in actions if a.do != "assign")]


def _roots(text: str) -> set[str]:
    return {root for root, _ in reads_of(text)}


def _names(found: Diagnostics, machine: Machine) -> None:
    """Inputs and vars that nothing reads, and vars that nothing assigns."""
    actions = [a for t in machine.transitions for a in t.actions]
    actions += [a for s in machine.states.values() for a in (*s.entry, *s.exit)]
    read = {pair for t in machine.transitions for pair in read_by(t.guard)}
    read |= {pair for action in actions for pair in _reads(action)}
    read |= {pair for text in machine.prompts.values() for pair in reads_of(text)}
    templates = (text for path in machine.states for text in templates_of(machine, path))
    read |= {pair for text in templates for pair in reads_of(text)}
    assigned = {a.name for a in actions if a.do == "assign"}
    for name, field in machine.inputs.items():
        if not {("inputs", name), ("inputs", "")} & read:
            _say(found, field.place, f"the input {quote(name)} is never read")
    for name, field in machine.vars.items():
        if not {("vars", name), ("vars", "")} & read:
            _say(found, field.place, f"the var {quote(name)} is never read")
        elif name not in assigned:
            fault = f"the var {quote(name)} is never assigned, so it always has its default"
            found.add("LS709", field.place, fault, "assign to it, or make it an input")


def _reads(action: Action) -> frozenset[tuple[str, str]]:
    """The names an action reads. A var that only feeds itself (`n: vars.n + 1`) is not read."""
    if action.do != "assign":
        return reads_of(action.text)
    return read_by(action.text) - {("vars", action.name)}


def check_shadowed(found: Diagnostics, draft: Draft) -> None:
    """Report LS313: keys of one `on` of which an earlier one takes every event."""
    for routes in draft.job.routes.values():
        for number, entry in enumerate(routes):
            for earlier in routes[:number]:
                if _takes_all(earlier, entry.key) and _unguarded(earlier):
                    fault = (
                        f"{quote(entry.key)} never gets here: {quote(earlier.key)} in line "
                        f"{earlier.line} takes it before"
                    )
                    found.add("LS313", entry, fault, f"move it before {quote(earlier.key)}")
                    break


def _takes_all(earlier: Entry, later: str) -> bool:
    if earlier.key == "*":
        return later not in NOTICES
    return earlier.key.endswith(".*") and covers(earlier.key, later.removesuffix("*") or "*")


def _unguarded(entry: Entry) -> bool:
    """Whether some alternative under a key has no guard."""
    value = entry.value
    if value.kind == "list":
        return any(item.kind != "map" or item.entry("guard") is None for item in value.items)
    return value.kind != "map" or value.entry("guard") is None
