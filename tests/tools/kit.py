"""What the tests of tools share: a context that writes down what was shown."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopspec.hooks import People, Tool, ToolContext


@dataclass
class Shown:
    """A work directory and what a tool has shown in it."""

    workdir: Path
    config: dict[str, Any] = field(default_factory=dict)
    people: People | None = None
    texts: list[str] = field(default_factory=list)
    call: str = "call-1"

    @property
    def context(self) -> ToolContext:
        return ToolContext(self.workdir, self.texts.append, self.config, self.people, self.call)

    def run(self, tool: Tool, **args: Any) -> str:
        return asyncio.run(self.arun(tool, **args))

    async def arun(self, tool: Tool, **args: Any) -> str:
        return await tool.run(self.context, args)
