"""Tiers: the tiers of a declared model become the machine's, and what cannot be is refused (LS510).

Rules of this file:
1. What is left out is filled in on the safe side: what may be far away sees public things only and needs
   the network.
"""

from collections.abc import Iterator
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.machine import patterns, texts
from loopspec.machine.model import ModelDecl, Tier
from loopspec.machine.pattern_syntax import PatternError
from loopspec.machine.tiering import REASONS, RULES, undeclared
from loopspec.spec import literals
from loopspec.spec.diagnose import Located, nearest, quote
from loopspec.spec.job import Job, count, duration, entries, items, place, scalar, text
from loopspec.spec.source import Entry, Node, plain

CODE: Final = "LS510"
FAILURES: Final = 2
DAY: Final = 86_400_000_000
ONLY: Final = ("escalate", "reply_schema", "confidence", "privacy", "outbox")
"""Keys of a model that mean something only beside `tiers`."""
_ROOTS: Final = {"groups": (), "result": ()}


def tiered(job: Job, entry: Entry) -> dict[str, Any]:
    """What a model's keys about tiers come to, as fields of its declaration."""
    node = entry.value
    if node.kind != "map":
        return {}
    given = node.entry("tiers")
    if given is None:
        for key in ONLY:
            if (one := node.entry(key)) is not None:
                _wrong(job, one, f"{quote(key)} is for a model with `tiers`", "remove it, or add `tiers`")
        return {}
    for key in ("use", "fallbacks", "window"):
        if (one := node.entry(key)) is not None:
            _wrong(job, one, f"a model with `tiers` has no {quote(key)}", "move it into a tier")
    tiers = _tiers(job, entry.key, given.value)
    box = node.get("outbox")
    escalate, failures = _escalate(node)
    return {
        "tiers": tiers,
        "escalate": escalate,
        "failures": failures,
        "reply_schema": _schema(job, node),
        "confidence": literals.share(text(node, "confidence")) or 0,
        "privacy": text(node, "privacy"),
        "expires": duration(box, "expires", DAY) if box is not None else 0,
        "poll": duration(box, "poll", ModelDecl("", "").poll),
    }


def _escalate(node: Node) -> tuple[tuple[str, ...], int]:
    """The declared reasons, and after how many failures."""
    if node.get("escalate") is None:
        return REASONS, FAILURES
    given = items(node, "escalate")
    named = tuple(item.text for item in given if item.kind == "scalar")
    after = [count(item, "failures") for item in given if item.kind == "map"]
    return tuple(dict.fromkeys(named)), min(after, default=0)


def _tiers(job: Job, model: str, node: Node) -> tuple[Tier, ...]:
    """The tiers in order; names and models may stand once."""
    made: list[Tier] = []
    for item in node.items if node.kind == "list" else ():
        if item.kind != "map":
            continue  # `shape` has reported it
        tier = _tier(job, model, item)
        for other in made:
            if other.name == tier.name or (tier.use and other.use == tier.use):
                same = tier.name if other.name == tier.name else tier.use
                fault = f"two tiers with {quote(same)}"
                _wrong(job, item, fault, "a tier is told apart by its name and its model")
        made.append(tier)
    return tuple(made)


def _tier(job: Job, model: str, node: Node) -> Tier:
    """One tier."""
    name, use = text(node, "name"), text(node, "use")
    rules = node.entry("rules")
    given = node.get("params")
    params = plain(given) if given is not None and given.kind == "map" else {}
    if rules is not None and node.entry("use") is not None:
        _wrong(job, rules, f"the tier {quote(name)} has both `use` and `rules`", "it is a model or rules")
    if rules is not None:
        use = f"{RULES}{model}.{name}"
        params = {**params, "rules": list(_rules(job, rules.value))}
    elif use.startswith(RULES):
        _wrong(job, node, "`rules/` is for tiers with `rules`", "write the rules into the tier")
    default = undeclared(use)
    return Tier(
        name=name,
        use=use,
        privacy=text(node, "privacy", default.privacy),
        network=_flag(node, "network", default.network),
        memory=literals.size(text(node, "memory")) or 0,
        latency=duration(node, "latency"),
        tools=_flag(node, "tools", True),
        window=count(node, "window"),
        params=canonical_json(params),
        place=place(node),
    )


def _rules(job: Job, node: Node) -> Iterator[dict[str, Any]]:
    """The rules as the provider reads them: plain data."""
    declared = {entry.key for entry in entries(job.root, "tools")}
    for item in node.items if node.kind == "list" else ():
        if item.kind != "map":
            continue
        match, reply, call = scalar(item, "match"), item.get("reply"), item.get("call")
        if match is not None:
            try:
                patterns.read(match.text)
            except PatternError as err:
                _wrong(job, match, f"the pattern cannot be used: {err}", "write a simpler one")
        if reply is None and call is None:
            _wrong(job, item, "the rule says nothing", "add `reply`, `call`, or both")
        made: dict[str, Any] = {"match": match.text if match is not None else ""}
        if reply is not None and reply.kind == "scalar":
            _text(job, reply, reply.text)
            made["reply"] = reply.text
        if call is not None and call.kind == "map":
            tool = scalar(call, "tool")
            if tool is not None and tool.text not in declared:
                fault = f"no tool is declared as {quote(tool.text)}"
                near = nearest(tool.text, declared)
                job.found.add("LS204", tool, fault, "declare it, or name another", near)
            args = call.get("args")
            values = plain(args) if args is not None and args.kind == "map" else {}
            for one in _texts(values):
                _text(job, call, one)
            made["call"] = {"tool": text(call, "tool"), "args": values}
        if (sure := literals.share(text(item, "confidence"))) is not None:
            made["confidence"] = sure
        yield made


def _text(job: Job, at: Located, source: str) -> None:
    """A Jinja2 text over `groups` and `result`."""
    if "{" not in source:
        return
    for wrong in texts.check_all(source, _ROOTS):
        code = "LS403" if wrong.unknown else "LS402"
        job.found.add(code, at, f"the text of a rule: {wrong.fault}", "it reads `groups` and `result`")


def _texts(value: Any) -> Iterator[str]:
    """Every text in free data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _schema(job: Job, node: Node) -> str:
    """The schema of replies as JSON text, empty for none or one that cannot be used."""
    entry = node.entry("reply_schema")
    if entry is None or entry.value.kind != "map":
        return ""
    made = plain(entry.value)
    if fault := schema_fault(made):
        _wrong(job, entry, f"`reply_schema` {fault}", "write a JSON Schema (draft 2020-12) of its own")
        return ""
    return canonical_json(made)


SLOW: Final = frozenset({"patternProperties", "uniqueItems", "$dynamicRef"})
"""What takes more than linear time with values a model may write, or leads who knows where."""
MOST_REFERENCES: Final = 20
"""Each two that lead on to two others double the time; so many cost a thousandfold at most."""


def schema_fault(schema: Any) -> str:
    """Why a schema of replies cannot be used, to follow its name; empty if it can."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as err:
        said = err.message if isinstance(err, SchemaError) else "it is nested too deeply"
        return f"is no JSON Schema: {said[:200]}"
    references = 0
    for key, value in _keywords(schema):
        if key in SLOW:
            return f"has `{key}`, which is not for schemas here"
        if key == "$ref":
            references += 1
            if not str(value).startswith("#"):
                return f"refers to {str(value)[:100]}, and nothing is fetched"
            if references > MOST_REFERENCES:
                return f"has more than {MOST_REFERENCES} references"
        if key == "pattern" and isinstance(value, str):
            try:
                patterns.read(value)
            except PatternError as err:
                return f"has a pattern that cannot be used: {err}"
    return ""


def _keywords(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of free data with its value."""
    if isinstance(value, dict):
        yield from value.items()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keywords(part)


def _flag(node: Node, key: str, default: bool) -> bool:
    """A truth value that need not be false by default."""
    found = scalar(node, key)
    return found.value if found is not None and isinstance(found.value, bool) else default


def _wrong(job: Job, at: Located, fault: str, remedy: str) -> None:
    job.found.add(CODE, at, fault, remedy)

