"""Breaking: a model that fails again and again is left out for a while, durably.

Rules of this file:
1. Only faults of the service count; what we asked wrongly, or stopped ourselves, does not.
2. A reply closes the breaker. One more failure after its time opens it again at once.
3. An open one leaves a model out only while another one is there to take: a session is never left
   without a model.
4. The clock is the wall's. One that was set back keeps nothing open longer than the declared time.

The pattern is Michael Nygard's (*Release It!*, 2007): closed, open, half-open.
"""

from collections.abc import Iterable
from typing import Final

from loopspec.machine.draft import Draft
from loopspec.machine.model import ModelDecl
from loopspec.snapshot import Breaker

COUNTED: Final = frozenset(
    {"connection", "timeout", "stalled", "truncated", "corrupt"}
    | {"overloaded", "rate_limited", "provider"}
)
"""Reasons of failed attempts that are faults of the service."""


def failed(draft: Draft, decl: ModelDecl, use: str, reason: str) -> None:
    """Count a failed attempt of the model `use`."""
    if not decl.breaker or reason not in COUNTED:
        return
    old = draft.breakers.get(use)
    count = (old.failures if old is not None else 0) + 1
    until = draft.at + decl.cooldown if count >= decl.breaker else 0
    known = _known(draft)
    kept = {name: made for name, made in draft.breakers.items() if name in known}
    draft.breakers = {**kept, use: Breaker(failures=count, reason=reason, until=until)}


def replied(draft: Draft, use: str) -> None:
    """A reply of the model `use` closes its breaker."""
    if use in draft.breakers:
        draft.breakers = {name: made for name, made in draft.breakers.items() if name != use}


def open_until(draft: Draft, decl: ModelDecl, use: str) -> int:
    """Until when (UTC µs) the model `use` is left out, 0 if it is not."""
    made = draft.breakers.get(use)
    if made is None or not decl.breaker:
        return 0
    return made.until if 0 < made.until - draft.at <= decl.cooldown else 0


def choose(draft: Draft, decl: ModelDecl, names: Iterable[str], now: str) -> str:
    """Which of `names` (at least one, in declared order) is asked; `now` is the one asked so far.

    The one that is asked goes on while it may; then the first that is not open. When all are open, the
    one that is asked goes on all the same, else the one that reopens first is tried.
    """
    found = {name: open_until(draft, decl, name) for name in names}
    closed = [name for name, until in found.items() if not until]
    if closed:
        return now if now in closed else closed[0]
    return now if now in found else min(found, key=found.__getitem__)


def _known(draft: Draft) -> set[str]:
    """Every model this machine or a person may ask: so the map does not grow."""
    decls = draft.machine.models.values()
    uses = {use for decl in decls for use in (decl.use, *decl.fallbacks, *(t.use for t in decl.tiers))}
    return uses | set(draft.models.values())
