"""A world for the reviewer: a conversation, and a judge that says what it is told to say."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from loopspec.hooks import AskFailed, Effect, Reply


@dataclass(frozen=True)
class Item:
    """A message, with the fields the reviewer reads."""

    role: str
    text: str = ""
    calls: tuple[Any, ...] = ()
    tool: str = ""
    status: str = "ok"


@dataclass
class Judge:
    """The part of `loopspec.hooks.World` a reviewer uses. `says` are replies or failures, in order."""

    items: tuple[Item, ...]
    says: list[str | AskFailed]
    window: int = 0
    asked: list[tuple[str, list[dict[str, str]], str]] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def machine(self) -> Any:
        return SimpleNamespace(models={"judge": SimpleNamespace(window=self.window)})

    @property
    def snapshot(self) -> Any:
        return SimpleNamespace(windows={}, models={})

    async def ask(
        self, effect: Effect, model: str, messages: Sequence[Mapping[str, str]], system: str = ""
    ) -> Reply:
        """Say the next thing; when nothing is left to say, never answer."""
        self.asked.append((model, [dict(m) for m in messages], system))
        self.reached.set()
        if not self.says:
            await asyncio.Event().wait()
        said = self.says.pop(0)
        if isinstance(said, AskFailed):
            raise said
        return Reply(said)


def verdict(*met: bool, why: str = "because", notes: str = "So it is.") -> str:
    """A judge's reply."""
    told = [{"criterion": n, "met": yes, "why": why} for n, yes in enumerate(met, 1)]
    return json.dumps({"criteria": told, "notes": notes})
