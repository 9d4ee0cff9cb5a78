"""Retrying: keys of `retry` and `breaker` that can never have an effect.

Rules of this file:
1. Only keys that the document writes are looked at; what a default does is our affair.
"""

from loopspec.machine.model import ModelDecl
from loopspec.spec.diagnose import Diagnostics, quote
from loopspec.spec.job import entries
from loopspec.spec.parse import Draft
from loopspec.spec.source import Entry, Node


def check_retrying(found: Diagnostics, draft: Draft) -> None:
    """Report LS709 for keys that nothing reads."""
    for entry in entries(draft.job.root, "models"):
        made = draft.machine.models.get(entry.key)
        if made is None or entry.value.kind != "map":
            continue
        _retry(found, made, entry.value.get("retry"))
        _breaker(found, draft, made, entry.value)


def _retry(found: Diagnostics, made: ModelDecl, retry: Node | None) -> None:
    """Waits that never come."""
    if retry is None or retry.kind != "map":
        return
    if made.attempts == 1:
        for key in ("base", "cap", "longest", "budget"):
            _dead(found, retry.entry(key), "with one attempt nothing is waited for")
        return
    if made.cap < made.base and retry.entry("cap"):
        _dead(found, retry.entry("base"), "every wait is cut to `cap`, which is under `base`")
    if made.longest > made.budget and retry.entry("longest"):
        _dead(found, retry.entry("longest"), "such a wait is longer than all waits may take (`budget`)")


def _breaker(found: Diagnostics, draft: Draft, made: ModelDecl, model: Node) -> None:
    """A breaker that leaves nothing out."""
    given = model.entry("breaker")
    if given is None or given.value.kind != "map":
        return
    if not made.breaker:
        _dead(found, given.value.entry("cooldown"), "`failures: 0` switches the breaker off")
        return
    if len(made.tiers) > 1:
        return
    others = (m for m in draft.machine.models.values() if m is not made)
    shared = {use for other in others if other.fallbacks for use in (other.use, *other.fallbacks)}
    if not made.fallbacks and made.use not in shared:
        _dead(found, given, "without `fallbacks` there is no other model to ask instead")


def _dead(found: Diagnostics, entry: Entry | None, why: str) -> None:
    if entry is not None:
        remedy = "remove it, or change what makes it useless"
        found.add("LS709", entry, f"{quote(entry.key)} has no effect: {why}", remedy)
