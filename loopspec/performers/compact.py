"""Compaction of the view: asks the pure planner, lets a model write where the spec names one.

Rules of this file:
1. What leaves and what is shown shorter is the planner's choice, made without a model or a network: it
   works in the very situation it is for.
2. A model only writes the text about what leaves (see `writing`). Whatever it does, the plan with its
   mechanical summary stands, and its words are taken only if the view is smaller with them.
3. When cancelled: stop, and answer so. The view is as it was; what the model consumed is counted.
"""

import asyncio
import json
from collections.abc import Sequence

from loopspec.context.compaction import Plan, Stuck, with_text
from loopspec.context.planning import planned
from loopspec.context.transcript import Item
from loopspec.effects import CompactContext, Effect
from loopspec.events import ContextCompacted, ContextStuck, EffectCancelled, EffectFailed, Kept, Progress
from loopspec.hooks import AskFailed, World
from loopspec.performers.writing import write


class CompactPerformer:
    """Does `CompactContext` and answers with `ContextCompacted` or `ContextStuck`."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Plan what leaves the view, and have it written about."""
        if not isinstance(effect, CompactContext):
            return EffectFailed(effect=effect.id, reason="compaction only makes the view smaller")
        items: tuple[Item, ...] = world.items
        try:
            made = await asyncio.to_thread(planned, effect, items, world.machine.context)
            if isinstance(made, Stuck):
                return ContextStuck(effect=effect.id, reason=made.reason)
            by = ""
            if writer := _writer(effect, world):
                made, by = await _written(effect, items, made, writer, world)
        except asyncio.CancelledError:
            return EffectCancelled(effect=effect.id, started=True)
        return ContextCompacted(
            effect=effect.id,
            replaces=made.replaces,
            masks=made.masks,
            summary=made.summary,
            before=made.before,
            after=made.after,
            rung=made.rung,
            written_by=by,
        )


def _writer(effect: CompactContext, world: World) -> str:
    """The declared model that writes, empty for none."""
    state = world.machine.states.get(effect.state)
    name = json.loads(state.config).get("model", "") if state is not None else ""
    return name if isinstance(name, str) else ""


async def _written(
    effect: CompactContext, items: Sequence[Item], made: Plan, writer: str, world: World
) -> tuple[Plan, str]:
    """The plan with a model's text, and who wrote it; the plan as it was if that came to nothing."""
    leaving = frozenset(made.replaces)
    gone = [item for item in items if item.id in leaving]
    if not gone:  # outputs are shown shorter and nothing leaves: there is nothing to write about
        return made, ""
    try:
        text, by = await write(effect, gone, writer, made.room, world)
    except AskFailed as err:
        world.watch(Progress(text=f"the summary is made without a model: {err}"))
        return made, ""
    told = with_text(made, text)
    return (made, "") if told == made else (told, by)
