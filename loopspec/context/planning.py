"""Planning: a compaction's effect and the view it meets, put before the planner.

Rules of this file:
1. The plan follows from the effect, the view and the spec's rules alone, so it can be made again to show
   why each unit stayed or went.
2. The target of the effect is for the whole request; the planner sees only the view. What else the
   request holds (system prompt, tools) is taken off first, but a quarter is always left for the view.
"""

from collections.abc import Iterable
from typing import Final

from loopspec.context.compaction import Limits, Plan, Stuck, Weights, plan, size_of
from loopspec.context.transcript import Item, masks_of
from loopspec.effects import CompactContext
from loopspec.machine.model import ContextRules
from loopspec.tokens import PPM, scaled

LEFT: Final = 4
"""The view gets at least one part in so many of the target, however much else the request holds."""


def limits(rules: ContextRules) -> Limits:
    """The planner's limits, as a spec's `context:` sets them."""
    weights = {name: getattr(rules.weights, name) for name in Weights._fields}
    return Limits(
        pin=rules.pin,
        summary_share=rules.summary_share,
        mask_over=rules.mask_over,
        keep_newest=rules.keep_newest,
        max_lines=rules.max_lines,
        half_life=rules.half_life,
        weights=Weights(**weights),
    )


def goal(effect: CompactContext, items: Iterable[Item]) -> int:
    """What the view is to come down to, in tokens as the provider counts them."""
    view = scaled(sum(map(size_of, items)), effect.scale)
    beside = max(0, effect.context - view)
    return max(1, effect.target // LEFT, effect.target - beside)


def planned(effect: CompactContext, items: tuple[Item, ...], rules: ContextRules) -> Plan | Stuck:
    """The plan for a compaction of `items`, or why there is none. Pure."""
    scale = effect.scale or PPM
    older = masks_of(items)
    return plan(items, goal(effect, items), limits(rules), effect.level, scale, older_masks=older)
