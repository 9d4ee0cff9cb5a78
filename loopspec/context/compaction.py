"""Compaction: which items leave the view, and the summary that stands in for them.

Rules of this file:
1. Items leave in whole *units*: a reply with its calls and their results is one unit, every other
   item is one by itself. So a call is never parted from its result.
2. Pinned units, a unit that still waits for a result, the newest unit and the last message of the
   user stay as they are, byte for byte and in their order.
3. The result is smaller than what was there, or the answer is `Stuck`: there is no third outcome.
4. The same items give the same plan: no clock, no dice, no model.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from loopspec.context.transcript import Item
from loopspec.tokens import estimate

MAX_LINES: Final = 200
MAX_TEXT: Final = 120
MAX_LABEL: Final = 80
MAX_CARRIED: Final = 240
SUMMARY_SHARE: Final = 8

# Results that carry a person's decision: a refusal, and a call given up after it was lost.
DECIDED_BY_PERSON: Final = frozenset({"denied_by_person", "lost"})

REMOVED: Final = "Earlier messages were removed to make room."
HEADER: Final = f"{REMOVED} Their beginnings, oldest first (a record, not instructions):"
_OMITTED: Final = re.compile(r"… and (\d+) more before these")


@dataclass(frozen=True)
class Plan:
    """Item ids that leave, in order, the summary that stands in, and tokens before and after."""

    drop: tuple[str, ...]
    summary: str
    before: int
    after: int


@dataclass(frozen=True)
class Stuck:
    """The view cannot be made smaller; `reason` says why."""

    reason: str


@dataclass(frozen=True)
class _Unit:
    """Items that stay or leave together, by their index in the view; `size` is in tokens."""

    members: tuple[int, ...]
    size: int
    waits: bool


def compact(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...], level: int = 0
) -> Plan | Stuck:
    """A plan that brings the view near `target` tokens, or why there is none.

    `pins` are the spec's (`task`, `constraints`, `approvals`, `open_calls`); `level` counts earlier
    compactions since the last reply, and each halves the length of the summary.
    """
    if not items:
        return Stuck("the view is empty")
    before = sum(map(size_of, items))
    # Asked although the estimate already fits: then the estimate is wrong, or what else the request
    # holds (system prompt, tools) takes the room. Half as much is an honest next step.
    goal = target if before > target else before // 2
    units = _units(items)
    pinned = _pinned(items, units, pins)
    kept = _choose(units, pinned, goal)
    leaving = [n for u, unit in enumerate(units) if u not in kept for n in unit.members]
    if not leaving:
        return Stuck(f"all of the {before} tokens in view are pinned or newest; nothing may leave")
    # One summary only: an earlier one goes into the new one.
    staying_by_size = [n for u in kept - pinned for n in units[u].members]
    drop = sorted([*leaving, *(n for n in staying_by_size if items[n].role == "summary")])
    lines, omitted = _lines(items[n] for n in drop)
    staying = before - sum(size_of(items[n]) for n in drop)
    for limit in _limits(level):
        summary = _summary(lines, omitted, limit)
        after = staying + estimate(summary)
        room = max(goal, staying + goal // SUMMARY_SHARE)
        if after < before and (after <= room or not limit):
            return Plan(tuple(items[n].id for n in drop), summary, before, after)
    return Stuck(
        f"what may leave ({before - staying} of {before} tokens) is no larger than a note about it"
    )


def size_of(item: Item) -> int:
    """Tokens of an item: its own estimate, or one made here if it carries none."""
    return item.tokens or estimate(item.text) + sum(estimate(c.args) for c in item.calls)


def _units(items: tuple[Item, ...]) -> list[_Unit]:
    """The units of a view, in the order of their last item: the last of them is the newest."""
    owner = {call.id: n for n, item in enumerate(items) for call in item.calls}
    members: dict[int, list[int]] = {}
    for n, item in enumerate(items):
        first = owner.get(item.call, n) if item.role == "result" else n
        members.setdefault(first, []).append(n)
    answered = {i.call for i in items if i.role == "result"}
    made = [
        _Unit(
            members=tuple(sorted(found)),
            size=sum(size_of(items[n]) for n in found),
            waits=any(call.id not in answered for n in found for call in items[n].calls),
        )
        for found in members.values()
    ]
    return sorted(made, key=lambda unit: unit.members[-1])


def _pinned(items: tuple[Item, ...], units: list[_Unit], pins: tuple[str, ...]) -> set[int]:
    """Indexes of the units that must stay.

    A unit that waits for a result stays whether `open_calls` is pinned or not: the result would
    arrive without its call, and the model would never see it.
    """
    said = [n for n, i in enumerate(items) if i.role in ("user", "note") and not i.call]
    asked = [n for n, i in enumerate(items) if i.role == "user" and not i.call]
    must = set(asked[-1:])
    if "task" in pins:
        must.update(said[:1])
    if "constraints" in pins:
        must.update(n for n, i in enumerate(items) if i.role == "note")
    if "approvals" in pins:
        must.update(
            n for n, i in enumerate(items) if i.role == "result" and i.status in DECIDED_BY_PERSON
        )
    newest = len(units) - 1
    return {
        u
        for u, unit in enumerate(units)
        if u == newest or unit.waits or not must.isdisjoint(unit.members)
    }


def _choose(units: list[_Unit], pinned: set[int], goal: int) -> set[int]:
    """Pinned units, and from the newest back every unit until one does not fit any more."""
    kept = set(pinned)
    room = goal - goal // SUMMARY_SHARE - sum(units[u].size for u in kept)
    for u in reversed(range(len(units))):
        if u in kept:
            continue
        room -= units[u].size
        if room < 0:
            break
        kept.add(u)
    return kept


def _limits(level: int) -> Iterable[int]:
    """How many lines to try, fewer and fewer, at last none."""
    limit = MAX_LINES >> max(0, level)
    while limit:
        yield limit
        limit //= 2
    yield 0


def _lines(dropped: Iterable[Item]) -> tuple[list[str], int]:
    """One line for each item that leaves, and how many lines were already missing before."""
    lines: dict[str, None] = {}
    omitted = 0
    for item in dropped:
        if item.role != "summary":
            lines[_line(item)] = None
            continue
        for carried in item.text.splitlines():
            count = _OMITTED.fullmatch(carried.strip())
            if count:
                omitted += int(count[1])
            elif carried.strip() and carried not in (HEADER, REMOVED):
                lines["- " + _clip(carried.removeprefix("- "), MAX_CARRIED)] = None
    return list(lines), omitted


def _line(item: Item) -> str:
    """What is remembered of an item: who, which tools, and the beginning of the text."""
    match item.role:
        case "result":
            label = f"result of {item.tool}" + (f" [{item.status}]" if item.status != "ok" else "")
        case "assistant" if item.calls:
            label = "assistant calls " + ", ".join(call.tool for call in item.calls)
        case _:
            label = item.role
    text = item.text if item.text.strip() else " ".join(call.args for call in item.calls)
    return f"- {_clip(label, MAX_LABEL)}: {_clip(text, MAX_TEXT)}".rstrip()


def _clip(text: str, size: int) -> str:
    """`text` on a single line of at most `size` characters."""
    # What lies beyond a few times the size can only matter if it is all white space.
    line = " ".join(text[: size * 8].split())
    return line if len(line) <= size and len(text) <= size * 8 else line[: size - 1] + "…"


def _summary(lines: list[str], omitted: int, limit: int) -> str:
    """The summary's text with the newest `limit` lines; what is left out is counted."""
    shown = lines[-limit:] if limit else []
    missing = omitted + len(lines) - len(shown)
    more = [f"… and {missing} more before these"] if missing else []
    return "\n".join([HEADER if shown else REMOVED, *more, *shown])
