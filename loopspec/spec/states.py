"""States: the tree of states, their types, and what each does while it is active.

Rules of this file:
1. A state's path is the names from the root joined by dots; states stand in document order.
2. Each type has its keys; a key of another type is refused, never ignored.
3. A kind's own keys are judged by the kind's own schema; its duration key becomes microseconds.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec.structs import replace as put

from loopspec.codec import canonical_json
from loopspec.machine.model import Kind, Profile, State
from loopspec.machine.named import MODEL, TEMPLATE
from loopspec.spec import literals
from loopspec.spec.declare import declared_names
from loopspec.spec.diagnose import listing, nearest, quote
from loopspec.spec.expressions import check_text
from loopspec.spec.job import Job, flag, items, place, scalar, text
from loopspec.spec.keys import TABLES
from loopspec.spec.shape import unknown_key
from loopspec.spec.source import Entry, Node
from loopspec.spec.statekeys import WORK_KEYS, keys_apart
from loopspec.spec.typed import marked, meant
from loopspec.spec.validate import validate

_ANY: Final = frozenset({"type", "description", "accept"})
_ACTIVE: Final = _ANY | {"on", "always", "after", "entry", "exit", "privacy"}
_WORK: Final = frozenset({"kind", "model", "prompt", "tools", "smaller", "boundary"})
BROUGHT_BY: Final = {"review": "loopspec-review"}
"""Kinds that shipped loops use and a first-party plugin brings: without it, its name is the remedy."""
FITS: Final[dict[str, frozenset[str]]] = {
    "atomic": _ACTIVE | _WORK | {"outcome"},
    "compound": _ACTIVE | {"initial", "states", "done"},
    "parallel": _ACTIVE | {"states", "done"},
    "history": _ANY | {"deep", "target"},
    "final": _ANY | {"entry", "exit", "outcome"},
}


@dataclass(frozen=True)
class Raw:
    """A state as it stands in the document."""

    path: str
    parent: str
    type: str
    entry: Entry

    @property
    def node(self) -> Node:
        """The state's map."""
        return self.entry.value


def collect(root: Node) -> list[Raw]:
    """Every state of the document, parents before their children."""
    return list(_walk(root, ""))


def _walk(node: Node, parent: str) -> Iterator[Raw]:
    owner = node.get("states")
    for entry in owner.entries if owner is not None else ():
        path = f"{parent}.{entry.key}" if parent else entry.key
        yield Raw(path, parent, _type(entry.value), entry)
        yield from _walk(entry.value, path)


def _type(node: Node) -> str:
    given = text(node, "type")
    if given in FITS and given != "atomic":
        return given
    return "compound" if node.entry("states") is not None else "atomic"


def build(job: Job, raws: list[Raw]) -> None:
    """Make the job's states, without transitions and actions."""
    for raw in raws:
        _fits(job, raw)
        state = State(
            path=raw.path,
            parent=raw.parent,
            type=raw.type,
            deep=flag(raw.node, "deep"),
            outcome=text(raw.node, "outcome", "done"),
            privacy=text(raw.node, "privacy"),
            place=place(raw.entry),
        )
        job.states[raw.path] = _work(job, raw, state)
    _structure(job, raws)


def initial(job: Job, node: Node, owner: str, at: Entry | Node) -> str:
    """The path of the initial child of `owner` (empty: the root); empty when there is none."""
    children = [s.path for s in job.states.values() if s.parent == owner]
    names = [path.rsplit(".", 1)[-1] for path in children]
    what = quote(owner) if owner else "the machine"
    given = scalar(node, "initial")
    if given is None:
        if owner and not node.get("initial"):
            fault = f"{what} does not say which child is entered first"
            job.found.add("LS301", at, fault, f"add `initial: {(names or ['NAME'])[0]}`")
        return ""
    path = f"{owner}.{given.text}" if owner else given.text
    if not children:
        return ""  # that there are none has been reported
    if path not in children:
        fault = f"{what} has no child called {quote(given.text)}"
        near = nearest(given.text, names)
        job.found.add("LS302", given, fault, f"name one of {listing(names)}", near)
        return ""
    if job.states[path].type == "history":
        fault = f"{quote(given.text)} is a history state and cannot be entered first"
        job.found.add("LS302", given, fault, "name a state; history leads back, not in")
        return ""
    return path


def _structure(job: Job, raws: list[Raw]) -> None:
    """Initial states, regions and histories, once every state is known."""
    for raw in raws:
        state = job.states[raw.path]
        if raw.type == "compound":
            if raw.node.entry("states") is None:
                fault = f"{quote(raw.path)} is compound and has no `states`"
                job.found.add("LS102", raw.entry, fault, "add `states`, or remove `type`")
            else:
                first = initial(job, raw.node, raw.path, raw.entry)
                job.states[raw.path] = put(state, initial=first)
        elif raw.type == "parallel":
            children = (s for s in job.states.values() if s.parent == raw.path)
            regions = [child for child in children if child.type != "history"]
            if len(regions) < 2:
                fault = f"{quote(raw.path)} is parallel and has {len(regions)} of at least 2 regions"
                remedy = "add the other region under `states`, or remove `type: parallel`"
                job.found.add("LS304", raw.entry, fault, remedy)


def _fits(job: Job, raw: Raw) -> None:
    """Refuse generic keys that the state's type does not have, and unknown ones without a kind."""
    allowed = FITS[raw.type]
    generic = TABLES["state"].names
    for entry in raw.node.entries:
        if entry.key in allowed:
            continue
        if entry.key in generic:
            fault = f"{_article(raw.type)} state cannot have {quote(entry.key)}"
            mine = [name for name in generic if name in allowed]
            job.found.add("LS303", entry, fault, f"remove it; it may have {listing(mine, 20)}")
        elif raw.type != "atomic" or raw.node.entry("kind") is None:
            mine = [name for name in generic if name in allowed]
            unknown_key(job.found, entry, f"{_article(raw.type)} state", mine)


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "atomic" else f"a {kind}"


def _work(job: Job, raw: Raw, state: State) -> State:
    """What the state does while it is active: its kind and the keys that belong to it."""
    given = scalar(raw.node, "kind") if raw.type == "atomic" else None
    if given is None:
        if raw.type == "atomic" and raw.node.entry("kind") is None:
            _belongs(job, raw, None)
        return state
    kind = job.kinds.get(given.text)
    if kind is None:
        fault = f"no kind is called {quote(given.text)}"
        plugin = BROUGHT_BY.get(given.text, "")
        remedy = f"use one of {listing(sorted(job.kinds))}, or install the plugin that brings it"
        remedy = f"install the plugin that brings it, {quote(plugin)}" if plugin else remedy
        job.found.add("LS501", given, fault, remedy, nearest(given.text, job.kinds))
        return state
    job.used.setdefault(kind.name, kind)
    _belongs(job, raw, kind)
    config = _config(job, raw, kind)
    calls_model = kind.effect == "call_model"
    return put(
        state,
        kind=kind.name,
        config=canonical_json(config),
        model=_model(job, raw, given) if calls_model else "",
        prompt=_prompt(job, raw.node) if calls_model else "",
        boundary=text(raw.node, "boundary") if kind.effect == "run_tool" else "",
        smaller=_smaller(job, raw.node) if calls_model else (),
    )


def _smaller(job: Job, node: Node) -> tuple[Profile, ...]:
    """The smaller profiles; each must be able to take less than the state itself."""
    given = node.get("smaller")
    if given is None or given.kind not in ("map", "list"):
        return ()
    whole = _tools(job, node) if node.get("tools") is not None else None
    made: list[Profile] = []
    for one in given.items if given.kind == "list" else (given,):
        tools = _tools(job, one) if one.get("tools") is not None else whole
        prompt = _prompt(job, one) or text(node, "prompt")
        made.append(Profile(str(len(made) + 1), prompt, None if tools is None else tuple(tools)))
        own = declared_names(job, "tools") if whole is None else whole
        more = [name for name in tools or () if name not in own]
        same = prompt == text(node, "prompt") and (tools is None or set(tools) >= set(own))
        if more and whole is not None:
            fault = f"this profile offers {quote(more[0])}, which the state itself does not"
            job.found.add("LS509", one, fault, f"name some of {listing(own)}")
        elif same:
            fault = "this profile takes as much of the window as the state itself"
            job.found.add("LS509", one, fault, "give it a shorter `prompt`, fewer `tools`, or both")
    return tuple(made)


def _belongs(job: Job, raw: Raw, kind: Kind | None) -> None:
    """Refuse keys of another sort of work."""
    apart = keys_apart(kind.effect, json.loads(kind.schema)) if kind else frozenset()
    for key, effect in WORK_KEYS.items():
        entry = raw.node.entry(key)
        if entry is None or key in apart or (kind is not None and kind.effect == effect):
            continue
        who = f"a state of kind {quote(kind.name)}" if kind else "a state without a kind"
        does = "calls a model" if effect == "call_model" else "runs tools"
        fits = [name for name, one in job.kinds.items() if one.effect == effect]
        fault = f"{who} cannot have {quote(key)}: only a kind that {does} can"
        job.found.add("LS506", entry, fault, f"remove it, or use the kind {listing(fits)}")


def _config(job: Job, raw: Raw, kind: Kind) -> dict[str, Any]:
    """The kind's own keys as plain data, checked by the kind's schema."""
    generic = TABLES["state"].names
    schema = json.loads(kind.schema)
    apart = keys_apart(kind.effect, schema)
    own = [entry for entry in raw.node.entries if entry.key in apart or entry.key not in generic]
    config: dict[str, Any] = meant(Node("map", raw.entry.line, raw.entry.col, entries=tuple(own)), schema)
    for index, entry in enumerate(own):
        if kind.timer and entry.key == kind.timer:
            own[index], config[entry.key] = _timer(job, entry)
    node = Node("map", raw.entry.line, raw.entry.col, entries=tuple(own))
    at = raw.node.entry("kind") or raw.entry
    allowed = tuple(name for name in generic if name in FITS["atomic"])
    owner = f"the kind {quote(kind.name)}"
    if own or schema.get("required"):
        validate(job.found, "LS502", node, at, schema, owner, allowed)
        for name in marked(node, schema, MODEL):
            _declared_model(job, name)
            if name.text in job.models and job.models[name.text].tiers:
                fault = f"{quote(name.text)} has tiers, which only a state of kind `model` asks"
                job.found.add("LS510", name, fault, "name a model without tiers")
        for template in marked(node, schema, TEMPLATE):
            check_text(job, template, None, f"a text of {owner}")
    if kind.effect == "call_model" and raw.node.entry("tools") is not None:
        config["tools"] = _tools(job, raw.node)
    return config


def _timer(job: Job, entry: Entry) -> tuple[Entry, int]:
    """A duration in a kind's configuration, as microseconds; its text is left for the schema."""
    value = literals.duration(entry.value.text)
    if value:
        return entry, value
    shown = quote(entry.value.text) if entry.value.kind == "scalar" else f"a {entry.value.kind}"
    fault = f"{quote(entry.key)} must be a duration, here stands {shown}"
    remedy = "write such as 90s; units are ms, s, m, h, d"
    job.found.add("LS105", entry.value, fault, remedy)
    return replace(entry, value=replace(entry.value, kind="scalar", text="1s", plain=False)), 0


def _tools(job: Job, node: Node) -> list[str]:
    declared = declared_names(job, "tools")
    names: list[str] = []
    for item in items(node, "tools"):
        if item.kind == "scalar" and item.text not in declared:
            fault = f"no tool called {quote(item.text)} is declared"
            uses = (name for name, tool in job.declared.items() if tool.use == item.text)
            near = nearest(item.text, declared) or tuple(uses)
            job.found.add("LS204", item, fault, _one_of(declared, "tools"), near)
        names.append(item.text)
    return names


def _one_of(declared: tuple[str, ...], section: str) -> str:
    """The remedy for a name that is not declared."""
    return f"use one of {listing(declared)}" if declared else f"declare it under `{section}`"


def _model(job: Job, raw: Raw, at: Node) -> str:
    declared = declared_names(job, "models")
    given = scalar(raw.node, "model")
    if given is None:
        if len(declared) == 1 or raw.node.entry("model") is not None:
            return declared[0] if declared else ""
        what = f"several are declared: {listing(declared)}" if declared else "none is declared"
        fault = f"{quote(raw.path)} does not say which model to call, and {what}"
        remedy = f"add `model: {declared[0]}`" if declared else "declare one under `models`"
        job.found.add("LS505", at, fault, remedy)
        return ""
    _declared_model(job, given)
    return given.text


def _declared_model(job: Job, given: Node) -> None:
    """Report a name that no declared model has."""
    declared = declared_names(job, "models")
    if given.text not in declared:
        fault = f"no model called {quote(given.text)} is declared"
        uses = (name for name, model in job.models.items() if model.use == given.text)
        near = nearest(given.text, declared) or tuple(uses)
        job.found.add("LS202", given, fault, _one_of(declared, "models"), near)


def _prompt(job: Job, node: Node) -> str:
    declared = declared_names(job, "prompts")
    given = scalar(node, "prompt")
    if given is None:
        return ""
    if given.text not in declared:
        fault = f"no prompt called {quote(given.text)} is declared"
        near = nearest(given.text, declared)
        job.found.add("LS203", given, fault, _one_of(declared, "prompts"), near)
    return given.text
