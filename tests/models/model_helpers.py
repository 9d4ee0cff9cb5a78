"""What the tests of model calls share: a world that records, and a provider on loopback."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from loopspec.codec import digest
from loopspec.context.transcript import Item
from loopspec.effects import CallModel
from loopspec.errors import NotFound
from loopspec.events import Kept, Live
from loopspec.machine.model import Machine, ModelDecl, State, ToolDecl
from loopspec.performers.model import ModelPerformer
from loopspec.snapshot import Snapshot

T = TypeVar("T")
SECRET = "hunter2-correct-horse"
READ = ToolDecl(
    name="read_file",
    use="files.read",
    description="Reads a file.",
    parameters='{"type":"object","properties":{"path":{"type":"string"}}}',
)
LIST = ToolDecl(name="list_files", use="files.list")


def machine(decl: ModelDecl, config: str = "{}") -> Machine:
    """A machine with one model state and two tools."""
    return Machine(
        name="test",
        version="1.0.0",
        initial="ask",
        states={"ask": State(path="ask", kind="model", model="main", config=config)},
        transitions=(),
        models={"main": decl},
        tools={"read_file": READ, "list_files": LIST},
        file="test.yaml",
    )


@dataclass
class RecordingWorld:
    """A world that keeps what a performer does to it. `secret` is replaced by `[redacted]`."""

    machine: Machine
    directory: Path
    items: tuple[Item, ...] = (Item(id="0.0", role="user", text="Hello"),)
    blobs: dict[str, bytes] = field(default_factory=dict)
    watched: list[Live] = field(default_factory=list)
    partials: list[tuple[str, bytes]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    people: None = None
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def workdir(self) -> Path:
        return self.directory

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(session="s", machine=self.machine.digest)

    def args(self, call: Any) -> str:
        raise AssertionError("a model call reads no arguments")

    def blob(self, name: str) -> bytes:
        return self.blobs[name]

    def put_blob(self, data: bytes) -> str:
        self.blobs[digest(data)] = data
        return digest(data)

    def watch(self, event: Live) -> None:
        self.watched.append(event)
        self.seen.set()

    def partial(self, effect: str, data: bytes) -> None:
        self.partials.append((effect, data))

    def last_partial(self, effect: str) -> bytes:
        return b""

    def partial_of(self, seq: int) -> str:
        if seq not in self.broken:
            raise NotFound(f"entry {seq} is no attempt that failed")
        return self.broken[seq]

    def recall(self, handle: str) -> str:
        raise AssertionError("a model call recalls nothing")

    def redact(self, text: str) -> str:
        return text.replace(SECRET, "[redacted]")

    def draw(self) -> int:
        return 123_456


def effect(use: str, system: str = "") -> CallModel:
    return CallModel(id="s:1:0", state="ask", model="main", use=use, system=system)


def call(
    use: str,
    directory: Path,
    items: tuple[Item, ...] | None = None,
    config: str = "{}",
    **decl: Any,
) -> tuple[Kept, RecordingWorld]:
    """One attempt on an event loop of its own."""
    world = world_for(use, directory, items, config, **decl)
    return asyncio.run(ModelPerformer().perform(effect(use), world)), world


def world_for(
    use: str,
    directory: Path,
    items: tuple[Item, ...] | None = None,
    config: str = "{}",
    **decl: Any,
) -> RecordingWorld:
    world = RecordingWorld(machine(ModelDecl(name="main", use=use, **decl), config), directory)
    if items is not None:
        world.items = items
    return world


# ---------------------------------------------------------------- a provider on loopback


def sse(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of an OpenAI chat stream; without a delta, one without choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "xyz"}
    return f"data: {json.dumps({**chunk, 'choices': choices, **more})}\n\n".encode()


DONE = b"data: [DONE]\n\n"
USAGE = sse(
    None,
    usage={
        "prompt_tokens": 70,
        "completion_tokens": 30,
        "total_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 40},
    },
)


def reply(*parts: bytes, finish: str = "stop") -> list[bytes]:
    """A complete stream with usage."""
    return [*parts, sse({}, finish), USAGE, DONE]


class Connection:
    """What a handler does to its client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def head(self, status: int = 200, chunked: bool = False, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", "connection: close"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        if chunked:
            lines.append("transfer-encoding: chunked")
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def stream(self, *parts: bytes) -> None:
        await self.head(content_type="text/event-stream")
        await self.send(*parts)

    async def refuse(self, status: int, message: str, code: str = "x", **headers: str) -> None:
        await self.head(status, content_type="application/json", **headers)
        await self.send(json.dumps({"error": {"message": message, "code": code}}).encode())

    async def gone(self) -> None:
        """Wait until the client has closed its side."""
        try:
            while await self._reader.read(1024):
                pass
        except ConnectionError:
            return


Handler = Callable[[Connection], Awaitable[None]]


@dataclass
class Provider:
    """A server that speaks just enough HTTP for one POST per connection."""

    handler: Handler
    requests: list[dict[str, Any]] = field(default_factory=list)
    closed: int = 0
    base: str = ""
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> "Provider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\r\n")[0])
            self.requests.append(json.loads(await reader.readexactly(size)))
            await self.handler(Connection(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.closed += 1
            writer.close()


def parts(*bodies: bytes) -> Handler:
    """A handler that streams `bodies` and ends."""

    async def handle(client: Connection) -> None:
        await client.stream(*bodies)

    return handle


def ask(
    handler: Handler, directory: Path, use: str = "openai/xyz", **more: Any
) -> tuple[Kept, RecordingWorld, Provider]:
    """One attempt against a provider on loopback, reached through `api_base`."""

    async def go() -> tuple[Kept, RecordingWorld, Provider]:
        async with Provider(handler) as provider:
            params = {"api_base": provider.base, **more.pop("params", {})}
            world = world_for(use, directory, params=json.dumps(params), **more)
            return await ModelPerformer().perform(effect(use), world), world, provider

    return run(go())


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)
