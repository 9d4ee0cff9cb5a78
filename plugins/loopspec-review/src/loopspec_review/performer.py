"""The reviewer: asks the judge, once more if its reply cannot be read, and says what came of it."""

import asyncio
import json
from typing import Any

from loopspec.hooks import (
    AskFailed,
    Effect,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    Kept,
    Perform,
    World,
)

from loopspec_review import MOST
from loopspec_review.question import newest_answer, question
from loopspec_review.verdict import Unreadable, Verdict, read

AGAIN = (
    "That cannot be read as a verdict: {fault}. Answer once more, with the one JSON object and nothing "
    "else."
)
NOTHING = "there is no answer to judge yet"


class Reviewer:
    """Does `Perform` of the kind `review`."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Judge the conversation. Never raises; a cancel gives `EffectCancelled`."""
        if not isinstance(effect, Perform):
            return EffectFailed(effect.id, "the reviewer only reviews")
        try:
            ending, data = await _review(effect, world)
        except asyncio.CancelledError:
            return EffectCancelled(effect.id)
        return EffectAnswered(effect.id, ending, json.dumps(data))


async def _review(effect: Perform, world: World) -> tuple[str, dict[str, Any]]:
    """The ending and its data."""
    config: dict[str, Any] = json.loads(effect.config)
    criteria: list[str] = config["criteria"]
    if not newest_answer(world.items):
        return "review.unclear", {"reason": NOTHING}
    most = min(int(config.get("most", MOST)), _room(world, config["model"]))
    about = str(config.get("about", "conversation"))
    asked = question(world.items, criteria, about, most, str(config.get("instructions", "")))
    messages = [{"role": "user", "content": asked.message}]
    fault = ""
    for _ in range(2):
        try:
            reply = await world.ask(effect, config["model"], messages, asked.system)
        except AskFailed as err:
            return "review.unclear", {"reason": str(err)}
        try:
            return _ending(read(reply.text, criteria, asked.message))
        except Unreadable as err:
            fault = str(err)
        messages += [
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": AGAIN.format(fault=fault)},
        ]
    return "review.unclear", {"reason": f"the judge gave no verdict that can be read: {fault}"}


def _ending(verdict: Verdict) -> tuple[str, dict[str, Any]]:
    """How a verdict ends the state."""
    data: dict[str, Any] = {"notes": verdict.notes, "score": verdict.score}
    if verdict.passed:
        return "review.passed", data
    return "review.failed", data | {"faults": list(verdict.faults)}


def _room(world: World, model: str) -> int:
    """Characters of conversation that fit the judge's window beside everything else: half of it, at
    about four characters a token; no limit where the window is unknown."""
    found, chosen = world.snapshot, model in world.snapshot.models
    declared = 0 if chosen else world.machine.models[model].window
    tokens = declared or found.windows.get(model, 0)
    return tokens * 2 if tokens else MOST * 100
