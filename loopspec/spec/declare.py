"""Declare: inputs, vars, models, tools and prompts become the machine's declarations.

Rules of this file:
1. A name that guards or texts may read must mean the same in CEL and in Jinja2.
2. A tool may only be made stricter than it says of itself.
"""

import re
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.machine.model import Field, ModelDecl, ToolDecl
from loopspec.spec.diagnose import listing, nearest, quote
from loopspec.spec.expressions import check_text
from loopspec.spec.forms import VARIABLE
from loopspec.spec.job import (
    Job,
    ToolInfo,
    count,
    duration,
    entries,
    place,
    scalar,
    text,
)
from loopspec.spec.job import texts as listed
from loopspec.spec.source import Entry, Node, plain
from loopspec.spec.tiers import tiered
from loopspec.spec.typed import meant
from loopspec.spec.validate import validate

CEL_RESERVED: Final = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function"}
    | {"if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
# Jinja2 finds the methods of a map before its keys, so such a name would read a method.
TEXT_RESERVED: Final = frozenset(
    {"clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem"}
    | {"setdefault", "update", "values"}
)
_VARIABLE: Final = re.compile(VARIABLE, re.ASCII)
_STRICTNESS: Final = ("read", "write", "irreversible")
_FIELD_TYPES: Final = ("string", "int", "bool", "number", "json")


def declare(job: Job) -> None:
    """Fill the job's declarations, in document order."""
    job.inputs = _fields(job, "inputs")
    job.vars = _fields(job, "vars")
    for entry in entries(job.root, "models"):
        job.models[entry.key] = _model(entry, tiered(job, entry))
    for entry in entries(job.root, "tools"):
        made = _tool(job, entry)
        if made is not None:
            job.declared[entry.key] = made
    for entry in entries(job.root, "prompts"):
        _prompt(job, entry)


def _fields(job: Job, section: str) -> dict[str, Field]:
    made: dict[str, Field] = {}
    alike: dict[str, str] = {}
    for entry in entries(job.root, section):
        _field_name(job, entry, section, alike)
        kind = text(entry.value, "type")
        made[entry.key] = Field(
            type=kind if kind in _FIELD_TYPES else "json",
            default=_default(job, entry, kind),
            description=text(entry.value, "description"),
            privacy=text(entry.value, "privacy") if section == "inputs" else "",
            place=place(entry),
        )
    return made


def _field_name(job: Job, entry: Entry, section: str, alike: dict[str, str]) -> None:
    name = entry.key
    if not _VARIABLE.fullmatch(name):
        job.typed = False
        return  # `shape` has reported it
    fault = ""
    if name in CEL_RESERVED:
        fault = f"{quote(name)} is a reserved word of CEL"
    elif name in TEXT_RESERVED:
        fault = f"{quote(name)} would read a method of the map `{section}` in a text"
    else:
        # Guards read these names through typed messages, where `a_b` and `aB` are one name.
        other = alike.setdefault(name.replace("_", "").lower(), name)
        if other != name:
            fault = f"{quote(name)} and {quote(other)} differ only in case or `_`"
    if fault:
        job.found.add("LS111", entry, fault, "choose another name")
        job.typed = False


def _default(job: Job, owner: Entry, kind: str) -> str | None:
    """A default as canonical JSON text, None when there is none or it does not fit."""
    entry = owner.value.entry("default") if owner.value.kind == "map" else None
    if entry is None or kind not in _FIELD_TYPES:
        return None
    node = entry.value
    value = _typed(node, kind)
    if value is not None or (kind == "json" and node.empty):
        return canonical_json(value)
    fault = f"the default of {quote(owner.key)} is no {kind}"
    remedy = {
        "string": 'write a text; an empty one is `""`',
        "int": "write a whole number without quotes",
        "bool": "write `true` or `false` without quotes",
        "number": "write a number without quotes",
        "json": "write a JSON value",
    }[kind]
    job.found.add("LS112", node, fault, remedy)
    return None


def _typed(node: Node, kind: str) -> Any:
    """The value of a default, None when it does not have the type."""
    if kind == "json":
        return plain(node)
    if node.kind != "scalar":
        return None
    value = node.value
    match kind:
        case "string":
            return None if node.empty else node.text
        case "int":
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case "bool":
            return value if isinstance(value, bool) else None
        case _:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if number and isinstance(value, int | float) else None


def _model(entry: Entry, tiers: dict[str, Any]) -> ModelDecl:
    node = entry.value
    default = ModelDecl(entry.key, "")
    waits, retry, params = node.get("deadlines"), node.get("retry"), node.get("params")
    breaker = node.get("breaker")
    return ModelDecl(
        name=entry.key,
        use=text(node, "use"),
        fallbacks=listed(node, "fallbacks"),
        connect=duration(waits, "connect", default.connect),
        first_chunk=duration(waits, "first_chunk", default.first_chunk),
        between_chunks=duration(waits, "between_chunks", default.between_chunks),
        total=duration(waits, "total", default.total),
        attempts=count(retry, "attempts", default.attempts),
        base=duration(retry, "base", default.base),
        cap=duration(retry, "cap", default.cap),
        longest=duration(retry, "longest", default.longest),
        budget=duration(retry, "budget", default.budget),
        breaker=count(breaker, "failures", default.breaker),
        cooldown=duration(breaker, "cooldown", default.cooldown),
        window=count(node, "window"),
        params=canonical_json(plain(params)) if params and params.kind == "map" else "{}",
        unpriced=text(node, "unpriced", default.unpriced),
        cache=duration(node, "cache"),
        place=place(entry),
        **tiers,
    )


def _tool(job: Job, entry: Entry) -> ToolDecl | None:
    node = entry.value
    use = scalar(node, "use")
    if use is None:
        return ToolDecl(entry.key, "", place=place(entry))
    info = job.tools.get(use.text)
    if info is None:
        fault = f"no installed tool is called {quote(use.text)}"
        remedy = f"use one of {listing(sorted(job.tools))}, or install the plugin that brings it"
        job.found.add("LS503", use, fault, remedy, nearest(use.text, job.tools))
        return ToolDecl(entry.key, use.text, place=place(entry))
    waits = node.get("deadlines")
    config = node.get("with")
    given = config if config is not None and config.kind == "map" else None
    owner = f"the tool {quote(info.name)}"
    absent = Node("map", entry.line, entry.col)
    if given is not None or info.config_schema.get("required"):
        at = node.entry("with") or entry
        validate(job.found, "LS504", given or absent, at, info.config_schema, owner)
    effect = _effect(job, node, info)
    return ToolDecl(
        name=entry.key,
        use=info.name,
        description=text(node, "description", info.description),
        parameters=canonical_json(dict(info.parameters)),
        effect=effect,
        after_crash=_after_crash(job, node, info, effect),
        paths=tuple(info.paths),
        command=info.command,
        total=duration(waits, "total", round(info.total * 1_000_000)),
        silence=duration(waits, "silence", round(info.silence * 1_000_000)),
        config=canonical_json(meant(given, info.config_schema)) if given is not None else "{}",
        place=place(entry),
    )


def _effect(job: Job, node: Node, info: ToolInfo) -> str:
    given = scalar(node, "effect")
    if given is None or given.text not in _STRICTNESS:
        return info.effect
    if _STRICTNESS.index(given.text) < _STRICTNESS.index(info.effect):
        fault = f"{quote(info.name)} is {info.effect}; {quote(given.text)} would be weaker"
        remedy = "remove `effect`, or make it stricter: read, then write, then irreversible"
        job.found.add("LS507", given, fault, remedy)
        return info.effect
    return given.text


def _after_crash(job: Job, node: Node, info: ToolInfo, effect: str) -> str:
    given = scalar(node, "after_crash")
    probes = info.probes or info.after_crash == "probe"
    if given is None:
        # A tool made stricter is no longer what its author called safe to run again.
        stricter = effect != info.effect and info.after_crash == "rerun"
        return "ask" if stricter else info.after_crash
    if given.text == "probe" and not probes:
        fault = f"{quote(info.name)} cannot tell whether a call has happened"
        job.found.add("LS508", given, fault, "use `after_crash: ask` or `rerun`")
    return given.text


def _prompt(job: Job, entry: Entry) -> None:
    node = entry.value
    if node.kind != "scalar":
        return
    check_text(job, node, None, f"prompt {quote(entry.key)}")
    job.prompts[entry.key] = node.text
    job.prompt_places[entry.key] = place(entry)


def declared_names(job: Job, section: str) -> tuple[str, ...]:
    """Every name in a section of the document, also of declarations with faults."""
    return tuple(entry.key for entry in entries(job.root, section))
