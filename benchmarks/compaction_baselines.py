"""What others do with a full window, each under the same number of tokens.

Every method keeps the first message (the task) whole and outside the count, and works on the rest. Each
uses its tokens to the end: where a unit no longer fits whole, as much of it is kept as fits.
"""

from collections.abc import Sequence

from compaction_runs import groups, raw, text_of

from loopspec.context.transcript import Item
from loopspec.tokens import estimate

MARK = "[output removed to make room]"
NEWEST = 3
"""Outputs that masking leaves alone, the newest ones, as long as there is room."""


def truncated(items: Sequence[Item], budget: int) -> list[str]:
    """Newest first: units from the end back; of the first that does not fit, its end."""
    return _back(groups(items), budget)[::-1]


def head_and_tail(items: Sequence[Item], budget: int) -> list[str]:
    """A half from the beginning, a half from the end."""
    units = groups(items)
    out: list[str] = []
    room, n = budget // 2, 0
    while n < len(units) and room >= (size := _size(units[n])):
        out += [text_of(one) for one in units[n]]
        room -= size
        n += 1
    if n < len(units):
        out.append(cut("\n".join(raw(one) for one in units[n]), room, end=False))
    return out + _back(units[n:], budget - budget // 2)[::-1]


def masked(items: Sequence[Item], budget: int) -> list[str]:
    """Outputs of tools are replaced, oldest first, until the rest fits; then truncation."""
    shown = list(items)
    total = sum(one.tokens for one in shown)
    outputs = [n for n, one in enumerate(shown) if one.role == "result"]
    for n in [*outputs[:-NEWEST], *outputs[-NEWEST:-1]]:
        if total <= budget:
            break
        size = estimate(MARK)
        if size < shown[n].tokens:
            total -= shown[n].tokens - size
            one = shown[n]
            shown[n] = Item(one.id, one.role, MARK, call=one.call, tool=one.tool, tokens=size)
    return truncated(shown, budget)


METHODS = {"truncation": truncated, "head + tail": head_and_tail, "masking": masked}


def _size(unit: Sequence[Item]) -> int:
    return sum(one.tokens for one in unit)


def _back(units: Sequence[Sequence[Item]], budget: int) -> list[str]:
    """Texts from the end back, newest first."""
    out: list[str] = []
    for unit in reversed(units):
        if _size(unit) > budget:
            out.append(cut("\n".join(raw(one) for one in unit), budget, end=True))
            break
        out += [text_of(one) for one in reversed(unit)]
        budget -= _size(unit)
    return out


def cut(text: str, budget: int, end: bool) -> str:
    """As much of a text as fits, its end or its beginning."""
    low, high = 0, len(text)
    while low < high:
        half = (low + high + 1) // 2
        part = text[len(text) - half :] if end else text[:half]
        if estimate(part) <= budget:
            low = half
        else:
            high = half - 1
    return (text[len(text) - low :] if end else text[:low]) if low else ""
