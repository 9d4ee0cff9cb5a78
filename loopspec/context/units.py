"""Units: what of a view stays or leaves together, and what must stay as it is.

Rules of this file:
1. A reply with its calls and their results is one unit; every other item is one by itself.
2. A pinned item keeps every byte of its text. Its unit stays; what else is in the unit may be masked.
3. What a unit waits for is always pinned, whatever the spec says: a result would arrive without its call.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopspec.context.limits import Limits
from loopspec.context.transcript import Item
from loopspec.tokens import estimate

BY_PERSON: Final = frozenset({"denied_by_person", "lost"})
"""Results that carry a person's decision: a refusal, and a call given up after it was lost."""
BY_RULE: Final = frozenset({"denied_by_policy", "gate_failed"})
"""Results that say what may not be done at all."""
PLAN_TOOLS: Final = frozenset({"plan", "update_plan", "todo", "todos", "todowrite", "write_todos"})
"""Last parts of tool names whose arguments are a plan."""

_UNTICKED: Final = re.compile(r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+\[ \]", re.MULTILINE)
_TICKED: Final = re.compile(r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+\[[xX]\]", re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """Items that stay or leave together, by their index in the view; `size` is in tokens."""

    members: tuple[int, ...]
    size: int
    waits: bool


def size_of(item: Item) -> int:
    """Tokens of an item: its own estimate, or one made here if it carries none."""
    return item.tokens or estimate(item.text) + sum(estimate(c.args) for c in item.calls)


def units_of(items: Sequence[Item]) -> list[Unit]:
    """The units of a view, in the order of their last item: the last of them is the newest."""
    owner = {call.id: n for n, item in enumerate(items) for call in item.calls}
    members: dict[int, list[int]] = {}
    for n, item in enumerate(items):
        first = owner.get(item.call, n) if item.role == "result" else n
        members.setdefault(first, []).append(n)
    answered = {i.call for i in items if i.role == "result"}
    made = [
        Unit(
            members=tuple(sorted(found)),
            size=sum(size_of(items[n]) for n in found),
            waits=any(call.id not in answered for n in found for call in items[n].calls),
        )
        for found in members.values()
    ]
    return sorted(made, key=lambda unit: unit.members[-1])


def pins_of(items: Sequence[Item], units: Sequence[Unit], limits: Limits) -> dict[int, str]:
    """The items that stay byte for byte, by index, and as what: the first reason that holds.

    The same note, or the same refusal of the same call, is pinned once, at its newest place.
    """
    found: dict[int, str] = {}
    said = [n for n, i in enumerate(items) if i.role in ("user", "note") and not i.call]
    asked = [n for n in said if items[n].role == "user"]
    if limits.pins("task"):
        found.update((n, "task") for n in said[:1])
    found.update((n, "last request") for n in asked[-1:] if n not in found)
    if limits.pins("constraints"):
        _newest(found, {i.text: n for n, i in enumerate(items) if i.role == "note"}, "constraint")
    args = {call.id: call.args for item in items for call in item.calls}
    for pin, statuses, word in (
        ("approvals", BY_PERSON, "approval"),
        ("authority", BY_RULE, "authority"),
    ):
        if limits.pins(pin):
            denied = {
                (i.tool, args.get(i.call, ""), i.text): n
                for n, i in enumerate(items)
                if i.role == "result" and i.status in statuses
            }
            _newest(found, denied, word)
    if limits.pins("plan") and (n := open_plan(items)) is not None:
        found.setdefault(n, "open plan")
    for unit in units:
        if unit.waits:
            found.update((n, "open call") for n in unit.members if items[n].calls and n not in found)
    return found


def _newest(found: dict[int, str], places: Mapping[Any, int], word: str) -> None:
    """Pin what stands at these places."""
    for n in places.values():
        found.setdefault(n, word)


def open_plan(items: Sequence[Item]) -> int | None:
    """The index of the reply that holds the newest plan, if something of it is still to be done.

    A plan is a list with boxes, or what was given to a tool for plans.
    """
    for n in range(len(items) - 1, -1, -1):
        item = items[n]
        if item.role != "assistant":
            continue
        if any(is_plan_tool(call.tool) for call in item.calls) or _UNTICKED.search(item.text):
            return n
        if _TICKED.search(item.text):
            return None
    return None


def is_plan_tool(tool: str) -> bool:
    """Whether a tool is for plans, by the last part of its name."""
    return re.split(r"[./:]", tool)[-1].lower() in PLAN_TOOLS


def can_mask(item: Item) -> bool:
    """Whether an item may be shown shorter: what a tool put out, for the model or for a person."""
    return item.role == "result" or (item.role == "user" and bool(item.call))
