"""Verifying: whether a compacted view keeps what was promised, told from the two views alone.

Rules of this file:
1. Nothing here knows how a plan was made; it looks at the view before and the view after.
2. An empty answer means: every pin byte for byte and in order, every call with its result, roles as they
   may be, smaller than before, masks only where masks may be, handles that can be had back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from loopspec.context.limits import Limits
from loopspec.context.transcript import Item, masked
from loopspec.context.units import can_mask, pins_of, size_of, units_of
from loopspec.tokens import estimate

ROLES: Final = frozenset({"user", "note", "assistant", "result", "summary"})
# Only at the places where we write them: a text may hold anything that looks like one.
_HANDLE: Final = re.compile(
    r"^(?:- (\d+\.\d+) |… and \d+ more before these, from (\d+\.\d+) on$)", re.MULTILINE
)


def view_after(
    items: Iterable[Item], replaces: Iterable[str], masks: Mapping[str, str], summary: str
) -> tuple[Item, ...]:
    """The view as a compaction leaves it; the summary's item has no id yet."""
    gone = frozenset(replaces)
    placed = not summary.strip()
    out: list[Item] = []
    for item in items:
        if item.id not in gone:
            text = masks.get(item.id)
            out.append(item if text is None or text == item.text else masked(item, text))
        elif not placed:
            out.append(Item(id="", role="summary", text=summary, tokens=estimate(summary)))
            placed = True
    return tuple(out)


def faults(before: Sequence[Item], after: Sequence[Item], limits: Limits) -> tuple[str, ...]:
    """What is wrong with a compacted view, a sentence each; empty if nothing is."""
    return tuple(
        [
            *_pins(before, after, limits),
            *_pairs(before, after),
            *_roles(before, after),
            *_masks(before, after),
            *_handles(before, after),
            *_size(before, after),
        ]
    )


def _pins(before: Sequence[Item], after: Sequence[Item], limits: Limits) -> Iterator[str]:
    """Every pin has its bytes, and the pins their order."""
    places = {item.id: n for n, item in enumerate(after)}
    last = -1
    for n, why in sorted(pins_of(before, units_of(before), limits).items()):
        pin = before[n]
        at = places.get(pin.id, -1)
        if at < 0 or (after[at].text, after[at].calls, after[at].blocks) != (
            pin.text,
            pin.calls,
            pin.blocks,
        ):
            yield f"the pin {pin.id} ({why}) is not there as it was"
        elif at < last:
            yield f"the pin {pin.id} ({why}) is out of its order"
        last = max(last, at)


def _shown(item: Item) -> tuple[object, ...]:
    """What of an item a provider is given."""
    return item.role, item.text, item.calls, item.blocks, item.call, item.status


def _pairs(before: Sequence[Item], after: Sequence[Item]) -> Iterator[str]:
    """A call that had a result has it, a result that had a call has it."""
    owner = {call.id for item in before for call in item.calls}
    results = {item.call for item in before if item.role == "result"}
    calls_left = {call.id for item in after for call in item.calls}
    results_left = {item.call for item in after if item.role == "result"}
    for call in sorted((calls_left & results) - results_left):
        yield f"the call {call} has lost its result"
    for call in sorted((results_left & owner) - calls_left):
        yield f"the result of {call} has lost its call"


def _roles(before: Sequence[Item], after: Sequence[Item]) -> Iterator[str]:
    """Known roles, what stayed in its order, and no more summaries than one new one."""
    order = {item.id: n for n, item in enumerate(before)}
    kept = [item for item in after if item.id in order]
    places = [order[item.id] for item in kept]
    if places != sorted(set(places)):
        yield "what stayed is not in its order"
    for item in kept:
        old = before[order[item.id]]
        if item.role not in ROLES or (item.role, item.call, item.calls) != (
            old.role,
            old.call,
            old.calls,
        ):
            yield f"{item.id} is not the message it was"
    fresh = [item for item in after if item.id not in order]
    if len(fresh) > 1 or any(item.role != "summary" for item in fresh):
        yield "something came in that is no summary"


def _masks(before: Sequence[Item], after: Sequence[Item]) -> Iterator[str]:
    """Only what a tool put out has another text, and a shorter one."""
    old = {item.id: item for item in before}
    for item in after:
        was = old.get(item.id)
        if was is None or item.text == was.text:
            continue
        if not can_mask(was) or not item.masked:
            yield f"{item.id} has another text and is no output of a tool"
        elif size_of(item) >= size_of(was):
            yield f"the mask of {item.id} is no smaller than what it stands for"
        elif not item.text.strip():
            yield f"the mask of {item.id} is empty"


def _handles(before: Sequence[Item], after: Sequence[Item]) -> Iterator[str]:
    """Every handle that a mask or a summary names is an item of the view before, or was named in it."""
    known = {item.id for item in before}
    for item in before:
        if item.role == "summary":
            known.update(_named(item.text))
    for item in after:
        if item.id not in known and item.role == "summary":
            for handle in _named(item.text):
                if handle not in known:
                    yield f"the summary names {handle}, which is not to be had"
        elif item.masked:
            last = item.text.rsplit("\n", 1)[-1]
            if item.id not in last:
                yield f"the mask of {item.id} does not name its handle"


def _named(text: str) -> Iterator[str]:
    """The handles that a summary names."""
    for match in _HANDLE.finditer(text):
        yield match[1] or match[2]


def _size(before: Sequence[Item], after: Sequence[Item]) -> Iterator[str]:
    """Smaller than before."""
    old, new = sum(map(size_of, before)), sum(map(size_of, after))
    if new >= old:
        yield f"the view would have {new} tokens instead of {old}"
