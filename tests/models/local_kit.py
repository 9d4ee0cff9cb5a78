"""A server of local models for tests: chat streams by a handler, everything else as JSON by its path."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_helpers import Connection, Handler, RecordingWorld, effect, run, world_for

from loopspec.events import Kept
from loopspec.performers.model import ModelPerformer

CHAT = "/v1/chat/completions"
USE = "local/qwen3:4b"


@dataclass
class LocalServer:
    """Speaks HTTP for one request per connection. `told` are answers by path; the rest is 404."""

    handler: Handler | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    base: str = ""
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> "LocalServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Connection(reader, writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            size = int(head.lower().split("content-length:")[1].split("\r\n")[0])
            body = await reader.readexactly(size)
            self.asked.append(f"{head.split(' ')[0]} {path}")
            self.heads.append(head)
            if path == CHAT and self.handler is not None:
                self.bodies.append(json.loads(body))
                await self.handler(client)
            elif path in self.told:
                await client.head(content_type="application/json")
                await client.send(json.dumps(self.told[path]).encode())
            else:
                await client.refuse(404, "not found")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def ask(
    handler: Handler, directory: Path, use: str = USE, **more: Any
) -> tuple[Kept, RecordingWorld, LocalServer]:
    """One attempt at a local server."""

    async def go() -> tuple[Kept, RecordingWorld, LocalServer]:
        async with LocalServer(handler) as server:
            params = {"api_base": server.base, **more.pop("params", {})}
            world = world_for(use, directory, params=json.dumps(params), **more)
            return await ModelPerformer().perform(effect(use), world), world, server

    return run(go())
