"""Spending: what a session may consume, asked before it works and folded after.

Rules of this file:
1. Budgets are checked before work is emitted; a spent one raises `budget.exhausted` instead.
2. What failed attempts consumed counts like everything else.
"""

from typing import Final

import msgspec

from loopspec.events import BudgetExhausted, TokenUsage
from loopspec.machine.doing import activation
from loopspec.machine.draft import ELAPSED, Draft

BUDGETS: Final = ("turns", "tokens", "usd", "elapsed")


def _spent(draft: Draft, *, turns: bool) -> str:
    """The budget that is spent, empty if none is; turns count only before a model call."""
    budgets, usage, more = draft.machine.budgets, draft.usage, draft.extended
    limits = (
        ("turns", budgets.turns if turns else None, usage.turns),
        ("tokens", budgets.tokens, usage.tokens),
        ("usd", budgets.usd, usage.cost),
    )
    for which, limit, used in limits:
        if limit is not None and used >= limit + more.get(which, 0):
            return which
    fired = budgets.elapsed is not None and ELAPSED not in draft.timers
    return "elapsed" if fired else ""


def stopped_by_budget(draft: Draft, path: str, *, turns: bool = False) -> bool:
    """Raise `budget.exhausted` instead of working, if a budget is spent."""
    which = _spent(draft, turns=turns)
    if not which:
        return False
    draft.spent = which
    activation(draft, path, phase="ended")
    draft.push("budget.exhausted", BudgetExhausted(which=which), path, ending=True)
    return True


def spend(draft: Draft, usage: TokenUsage, turns: int, context: int | None = None) -> None:
    """Count what a model call consumed, of failed attempts too; `context` is how large the view is."""
    old = draft.usage
    priced = usage.cost is not None or not (usage.input_tokens or usage.output_tokens)
    draft.usage = msgspec.structs.replace(
        old,
        turns=old.turns + turns,
        input_tokens=old.input_tokens + usage.input_tokens,
        output_tokens=old.output_tokens + usage.output_tokens,
        cost=old.cost + (usage.cost or 0),
        unpriced=old.unpriced + (not priced),
        context=old.context if context is None else context,
    )
