"""Compaction of the view: asks the pure planner and answers with what it says.

Needs neither network nor model, so it works in the very situation it is for.
"""

from loopspec.context.compaction import Plan, Stuck, compact
from loopspec.effects import CompactContext, Effect
from loopspec.events import ContextCompacted, ContextStuck, EffectFailed, Kept
from loopspec.hooks import World


class CompactPerformer:
    """Does `CompactContext` and answers with `ContextCompacted` or `ContextStuck`."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Plan what leaves the view. Nothing is awaited, so a cancellation finds it done."""
        if not isinstance(effect, CompactContext):
            return EffectFailed(effect=effect.id, reason="compaction only makes the view smaller")
        pins = world.machine.context.pin
        match compact(world.items, effect.target, pins, effect.level):
            case Plan(drop=drop, summary=summary, before=before, after=after):
                return ContextCompacted(
                    effect=effect.id, drop=list(drop), summary=summary, before=before, after=after
                )
            case Stuck(reason=reason):
                return ContextStuck(effect=effect.id, reason=reason)
