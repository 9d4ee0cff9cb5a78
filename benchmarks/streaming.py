"""Streaming: from a chunk's sending to the watcher's callback, through loopspec and through bare litellm.

    python benchmarks/streaming.py [--quick]

A server in a process of its own, on loopback, writes into each chunk when it sent it (a clock both
processes share), waits, sends the next. Both sides read the same streams, in turns, in one process: a
whole session of loopspec, store and all, to the callback of whoever watches; and a bare `async for`.
"""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from figures import middle, ratios, spread, two, us
from kit import Options, Section, main

CHUNKS: Final = 200
PAUSE: Final = 0.003
"""Seconds between two chunks: longer than either side needs for one, so that none queues."""
SPEC: Final = """
loopspec: 1
name: streaming
version: 1.0.0
description: Asks once.
models:
  main: {use: openai/xyz, params: {api_base: "http://127.0.0.1:%d"}}
prompts: {system: Talk.}
budgets: {turns: 1000, elapsed: 1h}
initial: ready
states:
  ready: {kind: input, on: {user.message: asking}}
  asking:
    kind: model
    model: main
    prompt: system
    on:
      model.replied: ready
      model.failed: ready
      model.overflowed: ready
      context.pressed: ready
      budget.exhausted: ready
      user.interrupted: ready
"""
SERVER: Final = "--serve"


# ---------------------------------------------------------------- the server


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request: a stream of chunks that say when they were sent."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(CHUNKS):
                await asyncio.sleep(PAUSE)
                _chunk(writer, {"content": f"{time.monotonic_ns()} "})
                await writer.drain()
            _chunk(writer, {}, "stop")
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _chunk(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    """One chunk of a chat stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "xyz"}
    body = f"data: {json.dumps({**data, 'choices': [choice]})}\n\n".encode()
    writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")


async def _server() -> None:
    """Serve until the end of stdin."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The server in a process of its own; gives its port."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).resolve()), SERVER, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


# ---------------------------------------------------------------- both sides


def since(text: str) -> list[float]:
    """Seconds since the chunks in a text were sent."""
    now = time.monotonic_ns()
    return [(now - int(sent)) / 1e9 for sent in text.split()]


async def bare(port: int) -> list[float]:
    """One stream through litellm alone."""
    from loopspec.performers import model_litellm

    lib: Any = model_litellm.load()
    out: list[float] = []
    stream = await lib.acompletion(
        model="openai/xyz",
        messages=[{"role": "user", "content": "Go"}],
        api_base=f"http://127.0.0.1:{port}",
        api_key="none",
        stream=True,
    )
    async for chunk in stream:
        out += since(chunk.choices[0].delta.content or "")
    return out


async def whole(port: int, directory: Path) -> list[float]:
    """One stream through a session of loopspec."""
    from loopspec.drivers import launch
    from loopspec.drivers.door import Nobody
    from loopspec.drivers.local import LocalDriver
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor
    from loopspec.events import Live, TextDelta, UserMessage
    from loopspec.registry import installed
    from loopspec.stores.sqlite import SqliteStore

    class Watching(Nobody):
        """Notes how old each piece of text is when it is shown."""

        def __init__(self) -> None:
            super().__init__()
            self.ages: list[float] = []

        def live(self, event: Live) -> None:
            """A piece is shown."""
            if isinstance(event, TextDelta):
                self.ages.extend(since(event.text))

    spec = directory / "streaming.yaml"
    spec.write_text(SPEC % port)
    registry = installed()
    machine = launch.load(str(spec), registry).machine
    assert machine is not None
    store = SqliteStore(directory / "store")
    try:
        event = launch.started(machine, registry, "{}", directory, launch.preflight(machine), "0")
        session, first = await Session.create(store, machine, "s", event, SystemClock(), redactor())
        door = Watching()
        await LocalDriver(session, registry, door).run([(UserMessage(text="Go"), "person")], first)
    finally:
        store.close()
    return door.ages


# ---------------------------------------------------------------- the report


async def _rounds(count: int) -> tuple[list[list[float]], list[list[float]]]:
    """Ages of the chunks, round by round: through loopspec, and through litellm alone."""
    ours: list[list[float]] = []
    alone: list[list[float]] = []
    async with served() as port:
        for round_ in range(count + 1):
            with tempfile.TemporaryDirectory() as made:
                a, b = await whole(port, Path(made)), await bare(port)
            if len(a) != CHUNKS or len(b) != CHUNKS:
                raise SystemExit(f"{len(a)} and {len(b)} chunks of {CHUNKS} have arrived")
            if round_:  # the first one imports and connects
                ours.append(a)
                alone.append(b)
    return ours, alone


def measure(options: Options) -> list[Section]:
    """Both in turns; the figure of a round is its median chunk."""
    ours, alone = asyncio.run(_rounds(3 if options.quick else 15))
    medians = [middle(r) for r in ours], [middle(r) for r in alone]
    shares = ratios(*medians)
    out = Section("From sending a chunk to the watcher's callback")
    rows = [
        (name, spread(middles, us), spread([max(r) for r in rounds], us))
        for name, middles, rounds in (
            ("loopspec", medians[0], ours),
            ("litellm alone", medians[1], alone),
        )
    ]
    out.table((f"{len(ours)} rounds of {CHUNKS} chunks", "median chunk", "slowest chunk"), rows)
    ratio = middle(shares)
    out.want("a chunk through loopspec against bare litellm", "≤ 1.00", spread(shares, two), ratio <= 1)
    return [out]


if __name__ == "__main__":
    if SERVER in sys.argv:
        asyncio.run(_server())
    else:
        sys.exit(main(__doc__, measure))
