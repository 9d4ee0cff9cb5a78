"""Limits: budgets, the context's rules and the authority envelope.

Rules of this file:
1. Money and shares are read from their text exactly; no float takes part.
2. A rule without a wildcard must name a declared tool: one that matches nothing is no rule.
"""

from typing import Final

from loopspec.machine.model import Authority, Budgets, ContextRules, ContextWeights, Guidance, Rule
from loopspec.spec import literals
from loopspec.spec.diagnose import listing, nearest, quote
from loopspec.spec.job import Job, count, entries, items, place, scalar, text, texts
from loopspec.spec.source import Node
from loopspec.tokens import PPM

_WILD: Final = frozenset("*?[")


def guidance(job: Job) -> Guidance | None:
    """Which files guide the agent, None without the key."""
    entry = job.root.entry("guidance")
    if entry is None:
        return None
    default = Guidance()
    return Guidance(
        files=texts(entry.value, "files") or default.files,
        max_bytes=count(entry.value, "max_bytes", default.max_bytes),
        place=place(entry),
    )


def budgets(job: Job) -> Budgets:
    """The budgets; what is missing is unlimited."""
    node = job.root.get("budgets")
    return Budgets(
        turns=literals.whole(text(node, "turns")),
        tokens=literals.count(text(node, "tokens")),
        usd=literals.usd(text(node, "usd")),
        elapsed=literals.duration(text(node, "elapsed")),
    )


def context(job: Job) -> ContextRules:
    """The context's rules; the shares must leave room between them."""
    node = job.root.get("context")
    default = ContextRules()
    at, to = scalar(node, "compact_at"), scalar(node, "target")
    rules = ContextRules(
        compact_at=_share(node, "compact_at", default.compact_at),
        target=_share(node, "target", default.target),
        pin=texts(node, "pin") if node is not None and node.get("pin") else default.pin,
        window=literals.count(text(node, "window")) or 0,
        failures=count(node, "failures", default.failures),
        summary_share=_share(node, "summary_share", default.summary_share),
        mask_over=count(node, "mask_over", default.mask_over),
        keep_newest=count(node, "keep_newest", default.keep_newest),
        max_lines=count(node, "max_lines", default.max_lines),
        half_life=count(node, "half_life", default.half_life),
        weights=_weights(node.get("weights") if node is not None else None),
        reserve=count(node, "reserve", default.reserve),
    )
    where = to or at
    if rules.target >= rules.compact_at and where is not None:
        fault = "`target` must be smaller than `compact_at`, or every compaction comes too late"
        job.found.add("LS602", where, fault, "write such as `compact_at: 0.80` and `target: 0.40`")
    share = scalar(node, "summary_share")
    if rules.summary_share >= PPM and share is not None:
        fault = "`summary_share` leaves no room for what stays beside the summary"
        job.found.add("LS602", share, fault, "write such as `summary_share: 0.5`")
    return rules


def _weights(node: Node | None) -> ContextWeights:
    """What each sort of unit is worth."""
    default = ContextWeights()
    names = ContextWeights.__struct_fields__
    return ContextWeights(**{name: _share(node, name, getattr(default, name)) for name in names})


def _share(node: Node | None, key: str, default: int) -> int:
    """The share under a key, in parts per million."""
    given = scalar(node, key)
    value = literals.share(given.text) if given else None
    return default if value is None else value


def authority(job: Job) -> Authority:
    """The envelope."""
    node = job.root.get("authority")
    return Authority(
        allow=tuple(_rule(job, item) for item in items(node, "allow")),
        ask=tuple(_rule(job, item) for item in items(node, "ask")),
        deny=tuple(_rule(job, item) for item in items(node, "deny")),
    )


def _rule(job: Job, node: Node) -> Rule:
    declared = [entry.key for entry in entries(job.root, "tools")]
    for item in items(node, "tools"):
        name = item.text
        if item.kind == "scalar" and not _WILD & set(name) and name not in declared:
            fault = f"this rule names {quote(name)}, and no tool of that name is declared"
            remedy = f"name one of {listing(declared)}, or use a wildcard such as `*`"
            uses = (tool for tool, made in job.declared.items() if made.use == name)
            job.found.add("LS601", item, fault, remedy, nearest(name, declared) or tuple(uses))
    return Rule(
        tools=texts(node, "tools"),
        paths=texts(node, "paths"),
        commands=texts(node, "commands"),
        reason=text(node, "reason"),
        place=place(node),
    )
