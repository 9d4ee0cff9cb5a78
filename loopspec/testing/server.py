"""A model server for tests: real HTTP on loopback, recorded or scripted replies, faults on command.

It speaks OpenAI's chat completions and responses and Anthropic's messages, streamed or in one piece, by
the end of the path; `GET …/models` lists one model. Give a loop its `base` as `api_base`.

```python
async with ModelServer(Say("Hello"), faults={0: Status(429, retry_after=1)}) as server:
    ...  # a loop with params: {api_base: "<server.base>"}
assert server.requests[-1].body["messages"][-1]["content"] == "Hi"
```

`python -m loopspec.testing.serve FILE` serves a recording or a script (`script: 1`, see
docs/testing-models.md) until it is ended, and prints its address.

Rules of this file:
1. Loopback only. Nothing is kept of a request's keys.
2. Each request gets the next reply; the last one again when there is no other (see `serving.choosing`).
   A request with a fault has used up no reply unless the fault lets one through.
3. What waits can be let go by `release`, and lets go by itself when the client does.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias

from loopspec.errors import LoopspecError, UsageError
from loopspec.performers.script_file import Turn, parse
from loopspec.spec.source import load_plain
from loopspec.testing.serving.breaking import broken, frames_of
from loopspec.testing.serving.choosing import Match, Replies, Reply, ending_of
from loopspec.testing.serving.faults import Body, Fault, Reset, SlowHead, Split, Status, Wait
from loopspec.testing.serving.http import Asked, Client
from loopspec.testing.serving.recorded import Exchange, read
from loopspec.testing.serving.replies import PROTOCOLS, Call, Say

Faults: TypeAlias = Mapping[int, Fault | Sequence[Fault]] | Callable[[int, Asked], Sequence[Fault]]
SSE: Final = {"content-type": "text/event-stream; charset=utf-8"}
JSON: Final = {"content-type": "application/json"}
PROBES: Final = ("/props", "/api/ps", "/api/show", "/api/v0/models")
"""Where local servers tell how large their window is; this one does not."""
_PING: Final = b": ping\n\n"


class ModelServer:
    """Serves `replies` in order. As an async context manager in the running event loop, as a plain one in
    a thread of its own.

    `faults` is what goes wrong, by the number of the request (from 0), or a function of that and the
    request; `always` are faults of every request. `requests` holds what came, in order.
    Leaving the context raises `UsageError` if it was told something it could not do (`wrong`).
    """

    def __init__(
        self,
        *replies: Reply | str,
        faults: Faults | None = None,
        always: Fault | Sequence[Fault] = (),
        match: Match | None = None,
    ) -> None:
        """A text is a reply of that text. Without replies there is one that says `Hello.`. `match` picks
        recorded replies by their requests (`same_talk`: by the messages); else they go by their order."""
        given = [Say(reply) if isinstance(reply, str) else reply for reply in replies]
        self._replies = Replies(given or [Say("Hello.")], match)
        self._faults: Faults = faults if faults is not None else {}
        self._always = tuple(always) if isinstance(always, Sequence) else (always,)
        self._server: asyncio.Server | None = None
        self._going: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released = asyncio.Event()
        self._waits = asyncio.Event()
        self.requests: list[Asked] = []
        self.wrong: list[str] = []
        """What the server could not do as it was told; each was answered with status 500."""
        self.waiting = threading.Event()
        """Set once an answer waits (a stall, a slow head): for tests in other threads."""
        self.base = ""
        """The address, `http://127.0.0.1:PORT`."""

    @classmethod
    def recorded(cls, path: Path | str, **more: Any) -> "ModelServer":
        """A server of the exchanges in a recording; raises `LoopspecError` for a file that is none."""
        return cls(*read(Path(path)), **more)

    @classmethod
    def scripted(cls, path: Path | str, **more: Any) -> "ModelServer":
        """A server of the turns in a script; raises `LoopspecError` for a file that is none."""
        turns = parse(load_plain(Path(path)), str(path)).turns
        return cls(*map(_said, turns), **more)

    # ------------------------------------------------------------ starting and ending

    async def __aenter__(self) -> "ModelServer":
        """Serve in the running event loop."""
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, with every answer that is under way."""
        await self._close()
        self._judge(_[0])

    def __enter__(self) -> "ModelServer":
        """Serve in a thread of its own."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._threaded(ready)), daemon=True, name="model-server"
        )
        self._thread.start()
        ready.wait()
        if not self.base:
            raise LoopspecError("the model server could not be started on loopback")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._judge(err)

    def _judge(self, err: object) -> None:
        """Say what could not be done, unless something else went wrong already."""
        if self.wrong and err is None:
            raise UsageError("; ".join(self.wrong))

    def release(self) -> None:
        """Let everything go on that waits, now and from now on. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._released.set)

    async def until_waiting(self) -> None:
        """Wait until an answer waits: for tests in the server's own event loop."""
        await self._waits.wait()

    async def _threaded(self, ready: threading.Event) -> None:
        """The thread's work."""
        self._ending = asyncio.Event()
        try:
            await self._open()
        finally:
            ready.set()
        await self._ending.wait()
        await self._close()

    async def _open(self) -> None:
        """Listen on a free port of loopback."""
        self._loop = asyncio.get_running_loop()
        self._released, self._waits = asyncio.Event(), asyncio.Event()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**20)
        self.base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        """Stop listening and end every answer."""
        assert self._server is not None
        self._server.close()
        for task in list(self._going):
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    # ------------------------------------------------------------ answering

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._going.add(task)
        client = Client(reader, writer)
        try:
            asked = await client.asked()
            if asked is not None:
                await self._answer(client, asked)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server ends: nobody is there to be told
        except Exception as err:  # a reply that cannot be written: the fault of the test that ordered it
            self.wrong.append(f"{type(err).__name__}: {err}")
        finally:
            self._going.discard(task)
            with contextlib.suppress(asyncio.CancelledError):
                await client.close()

    async def _answer(self, client: Client, asked: Asked) -> None:
        """Answer one request, with what was to go wrong."""
        if asked.method == "GET" and asked.path.endswith("/models"):
            await self._models(client)
            return
        if asked.path.endswith(PROBES):
            await self._refuse(client, Status(404, "no such page here", "not_found"), asked.path)
            return
        number = len(self.requests)
        self.requests.append(asked)
        faults = [*self._always, *self._ordered(number, asked)]
        for fault in faults:
            match fault:
                case Reset():
                    client.reset()
                    return
                case SlowHead(seconds=seconds):
                    await self._wait(client, Wait(seconds))
                case Status():
                    await self._refuse(client, fault, asked.path)
                    return
                case _:
                    pass
        try:
            status, headers, frames = self._reply(asked)
            streams = headers.get("content-type", "").startswith("text/event-stream")
            body = broken(frames, faults, asked.path, streams=streams)
        except UsageError as err:
            self.wrong.append(str(err))
            await self._refuse(client, Status(500, str(err), "wrong_use_of_the_test_server"), asked.path)
            return
        chunked = any(isinstance(fault, Split) for fault in faults)
        await client.head(status, headers, chunked=chunked)
        await self._send(client, body)

    def _ordered(self, number: int, asked: Asked) -> Sequence[Fault]:
        """The faults of one request."""
        if callable(self._faults):
            return self._faults(number, asked)
        found = self._faults.get(number, ())
        return found if isinstance(found, Sequence) else (found,)

    def _reply(self, asked: Asked) -> tuple[int, Mapping[str, str], list[bytes]]:
        """The next reply, as this request wants it."""
        reply = self._replies.next(asked)
        if isinstance(reply, Exchange):
            return reply.status, reply.headers, frames_of(reply.body)
        given = asked.body if isinstance(asked.body, dict) else {}
        made = PROTOCOLS.get(ending_of(asked.path))
        if made is None:
            known = ", ".join(f"…{end}" for end in PROTOCOLS)
            raise UsageError(f"no protocol is spoken at {asked.path}", remedy=f"there are {known}")
        stream, whole = made
        model = str(given.get("model", "test"))
        if given.get("stream"):
            return 200, SSE, stream(reply, model)
        return 200, JSON, [json.dumps(whole(reply, model)).encode()]

    async def _send(self, client: Client, body: Body) -> None:
        """Do the acts of a body."""
        for act in body.acts:
            if isinstance(act, bytes):
                await client.send(act)
            else:
                await self._wait(client, act)
        if body.clean:
            await client.finish()
        else:
            client.reset()

    async def _wait(self, client: Client, wait: Wait) -> None:
        """Wait as ordered; a client that goes away ends it."""
        pinging = asyncio.ensure_future(self._ping(client, wait)) if wait.pings else None
        gone = asyncio.ensure_future(client.gone())
        released = asyncio.ensure_future(self._released.wait())
        self.waiting.set()
        self._waits.set()
        try:
            await asyncio.wait(
                {gone, released}, timeout=wait.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if gone.done():
                raise ConnectionResetError("the client has gone")
        finally:
            for task in (gone, released, pinging):
                if task is not None:
                    task.cancel()

    async def _ping(self, client: Client, wait: Wait) -> None:
        """Keep a connection busy with comments."""
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(_PING)
                await asyncio.sleep(wait.every)

    async def _refuse(self, client: Client, fault: Status, path: str) -> None:
        """An HTTP error in the way of the protocol."""
        headers = dict(JSON)
        if fault.retry_after >= 0:
            headers["retry-after"] = f"{fault.retry_after:g}"
        inner: dict[str, Any] = {"message": fault.message, "type": fault.kind}
        body: dict[str, Any] = {"error": inner}
        if path.endswith("/messages"):
            body["type"] = "error"
        else:
            inner.update(code=fault.kind, param=None)
        await client.head(fault.code, headers)
        await client.send(json.dumps(body).encode())

    async def _models(self, client: Client) -> None:
        """The list of models: one."""
        await client.head(200, JSON)
        data = [{"id": "test", "object": "model", "created": 0, "owned_by": "test"}]
        await client.send(json.dumps({"object": "list", "data": data}).encode())


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """The address of a server that refuses every connection: the port is taken, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def _said(turn: Turn) -> Say:
    """A script's turn as a reply; its faults are ordered from the server instead."""
    if turn.fault:
        raise UsageError(
            "a script for the server holds replies only",
            remedy="give faults to ModelServer, or play the script as the model `scripted/FILE`",
        )
    calls = tuple(Call(call.tool, call.args) for call in turn.calls)
    told = (turn.usage.input_tokens, turn.usage.output_tokens) if turn.usage else (20, 10)
    return Say(turn.reply, turn.thinking, turn.signature, calls, turn.finish, told, turn.chunk)
