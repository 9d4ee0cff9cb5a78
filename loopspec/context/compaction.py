"""Compaction: which items leave the view, which are shown shorter, and what stands in for them.

Rules of this file:
1. Items leave in whole *units*: a reply with its calls and their results is one unit, every other
   item is one by itself. So a call is never parted from its result.
2. Pins stay as they are, byte for byte and in their order, and so do the newest unit's calls and texts.
3. The mildest rung of the ladder that reaches the target is taken. Every plan is verified on the view it
   leads to; one that fails gives way to the next rung.
4. The result is smaller than what was there, or the answer is `Stuck`: there is no third outcome.
5. The same items give the same plan: no clock, no dice, no model.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from loopspec.context.ladder import RUNGS, Draft, Frame
from loopspec.context.limits import PPM as PPM
from loopspec.context.limits import Limits as Limits
from loopspec.context.limits import Weights as Weights
from loopspec.context.scoring import scores, standings
from loopspec.context.summarising import HEADER as HEADER
from loopspec.context.summarising import REMOVED as REMOVED
from loopspec.context.summarising import with_words
from loopspec.context.transcript import Item, masked, masks_of
from loopspec.context.units import pins_of, units_of
from loopspec.context.units import size_of as size_of
from loopspec.context.verifying import faults as faults
from loopspec.context.verifying import view_after as view_after
from loopspec.events import Mask
from loopspec.tokens import estimate


@dataclass(frozen=True)
class UnitView:
    """How a unit stands, and what a plan does with it.

    `handles` are the ids of its items. `tokens` is its size before. `pinned`: it must stay. `score` is
    parts per million, `reasons` say in words what gave it. `fate` is `stays`, `masked` or `leaves`.
    """

    handles: tuple[str, ...]
    tokens: int
    pinned: bool
    score: int
    reasons: tuple[str, ...]
    fate: str = "stays"


@dataclass(frozen=True)
class Plan:
    """A compaction. `replaces` are the items that leave, in order; `summary` stands in for them.

    `before` and `after` are tokens as the provider counts them, by the `scale` that was given. `masks`
    are all masks in force after it. `rung` is how far down the ladder it went. `why` has every unit of
    the view. A model that writes about what leaves may take `room` estimated tokens (see `with_text`).
    """

    replaces: tuple[str, ...]
    masks: tuple[Mask, ...]
    summary: str
    before: int
    after: int
    rung: str
    why: tuple[UnitView, ...] = ()
    room: int = 0
    scale: int = PPM


@dataclass(frozen=True)
class Stuck:
    """The view cannot be made smaller; `reason` says why, with the numbers."""

    reason: str


def plan(
    items: Iterable[Item],
    target: int,
    rules: Limits | None = None,
    level: int = 0,
    scale: int = PPM,
    older_masks: Iterable[Mask] = (),
) -> Plan | Stuck:
    """A plan that brings a view near `target` tokens, or why there is none.

    `target` counts as the provider does, who counts `scale` parts per million of a token for an
    estimated one (0: as many). `level` counts earlier compactions since the last reply: each begins a
    rung lower and halves the summary. `older_masks` are masks in force that `items` do not show yet.
    Never raises. Linear in the length of the view, but for sorting.
    """
    limits = rules or Limits()
    scale = scale or PPM
    view = _shown(items, older_masks)
    if not view:
        return Stuck("the view is empty")
    frame = _frame(view, target * PPM // scale, limits, max(0, level))
    for name, rung in RUNGS[min(max(0, level), len(RUNGS) - 2) :]:
        draft = rung(frame)
        if draft is None:
            continue
        gone = [n for u in sorted(draft.leave) for n in frame.units[u].members]
        replaces = tuple(view[n].id for n in sorted(gone))
        after = view_after(view, replaces, draft.masks, draft.summary)
        size = sum(map(size_of, after))
        if (size > frame.goal and name != RUNGS[-1][0]) or faults(view, after, limits):
            continue
        return Plan(
            replaces=replaces,
            summary=draft.summary if replaces else "",
            before=frame.total * scale // PPM,
            after=size * scale // PPM,
            masks=masks_of(after),
            rung=name,
            why=_why(frame, draft),
            room=draft.room,
            scale=scale,
        )
    return _stuck(frame)


def with_text(plan: Plan, text: str) -> Plan:
    """The plan with a model's `text` about what leaves; the plan as it is if the text cannot be taken.

    A text that is empty or takes more than the plan's `room` is not taken. As many of the mechanical
    lines stay as have room beside it, for they have the handles and the exact words.
    """
    told = text.strip()
    if not told or not plan.replaces or not plan.summary:
        return plan
    summary = with_words(plan.summary, told, max(plan.room, estimate(plan.summary)))
    if not summary:
        return plan
    change = estimate(summary) - estimate(plan.summary)
    after = plan.after + change * plan.scale // PPM
    if after >= plan.before:
        return plan
    return replace(plan, summary=summary, after=after)


def standing(items: Iterable[Item], rules: Limits | None = None) -> tuple[UnitView, ...]:
    """How each unit of a view stands, without a plan."""
    view = tuple(items)
    if not view:
        return ()
    frame = _frame(view, sum(map(size_of, view)), rules or Limits(), 0)
    return _why(frame, Draft(frozenset(), {}, ""))


def _shown(items: Iterable[Item], masks: Iterable[Mask]) -> tuple[Item, ...]:
    """The view with masks on that it does not show yet."""
    texts = {mask.item: mask.text for mask in masks}
    return tuple(
        masked(item, texts[item.id]) if item.id in texts and not item.masked else item for item in items
    )


def _frame(items: tuple[Item, ...], target: int, limits: Limits, level: int) -> Frame:
    """All that the rungs look at."""
    sizes = tuple(map(size_of, items))
    before = sum(sizes)
    units = tuple(units_of(items))
    pins = pins_of(items, units, limits)
    found = standings(items, units, limits)
    newest = len(units) - max(1, limits.keep_newest)
    stay = (u for u, unit in enumerate(units) if u >= newest or not pins.keys().isdisjoint(unit.members))
    return Frame(
        items=items,
        units=units,
        pins=pins,
        stay=frozenset(stay),
        found=found,
        scores=tuple(scores(items, units, found, limits, pins)),
        sizes=sizes,
        owner={n: u for u, unit in enumerate(units) for n in unit.members},
        limits=limits,
        # Asked although the estimate already fits: then the estimate is wrong, or what else the request
        # holds (system prompt, tools) takes the room. Half as much is an honest next step.
        goal=max(1, target if before > target else before // 2),
        level=level,
    )


def _why(frame: Frame, draft: Draft) -> tuple[UnitView, ...]:
    """Every unit, how it stands and what becomes of it."""
    made = []
    for u, unit in enumerate(frame.units):
        handles = tuple(frame.items[n].id for n in unit.members)
        shorter = any(handle in draft.masks for handle in handles)
        made.append(
            UnitView(
                handles=handles,
                tokens=unit.size,
                pinned=u in frame.stay,
                score=frame.scores[u].total,
                reasons=frame.scores[u].reasons,
                fate="leaves" if u in draft.leave else "masked" if shorter else "stays",
            )
        )
    return tuple(made)


def _stuck(frame: Frame) -> Stuck:
    """Why nothing can be done, with the numbers."""
    held = sum(frame.units[u].size for u in frame.stay)
    if held == frame.total:
        return Stuck(f"all of the {held} tokens in view are pinned or newest; nothing may leave")
    return Stuck(
        f"what may leave ({frame.total - held} of {frame.total} tokens) is no larger than a note about it"
    )
