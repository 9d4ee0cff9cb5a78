"""A provider on loopback that refuses what is too long or not paired, and a loop that talks to it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import Kept, UserMessage
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.registry import installed
from loopspec.stores.base import Store

SPEC = """\
loopspec: 1
name: window
version: 1.0.0
vars: {told: {type: bool, default: false}}
models:
  main:
    use: openai/served
    window: WINDOW
    params: {api_base: "BASE"}
    retry: {attempts: 1}
  writer:
    use: openai/writer
    params: {api_base: "BASE"}
    retry: {attempts: 1}
tools:
  read: {use: files.read}
  write: {use: files.write}
  recall: {use: context.recall}
prompts: {system: "Work."}
authority: {allow: [{tools: [read, recall]}], deny: [{tools: [write]}]}
context: {compact_at: 0.8, target: 0.4}
initial: ready
states:
  ready:
    kind: input
    on:
      user.message:
        - guard: "!vars.told"
          target: working
          actions: [{assign: {told: "true"}}, {say: {text: "Constraint: never push to main.", to: model}}]
        - {target: working}
      compaction.requested: working.tidying
  working:
    initial: streaming
    on: {user.interrupted: stopped, budget.exhausted: ready}
    states:
      streaming:
        kind: model
        model: main
        prompt: system
        on:
          model.replied:
            - {guard: size(event.calls) > 0, target: deciding}
            - {target: ready}
          context.pressed: compacting
          model.overflowed: compacting
          model.failed: {target: ready, say: "failed, {{ event.reason }}: {{ event.detail }}"}
      deciding:
        kind: gate
        on: {gate.allowed: running, gate.asked: streaming, gate.denied: streaming}
      running: {kind: tools, on: {tools.settled: streaming, effect.lost: ready}}
      compacting:
        kind: compactWRITER
        on:
          context.compacted: streaming
          context.stuck: {target: ready, say: "stuck, {{ event.reason }}"}
      tidying:
        kind: compactWRITER
        on: {context.compacted: ready, context.stuck: {target: ready, say: "stuck, {{ event.reason }}"}}
      resume: {type: history, deep: true, target: streaming}
  stopped: {kind: interrupt, on: {user.resumed: working.resume, user.message: working}}
"""


def text(said: str) -> dict[str, Any]:
    """A reply of text."""
    return {"content": said}


def calls(tool: str, **args: Any) -> dict[str, Any]:
    """A reply with one call."""
    function = {"name": tool, "arguments": json.dumps(args)}
    return {"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": function}]}


@dataclass
class Served:
    """A server that speaks as much of OpenAI's chat as is needed; `answer` gives the reply's delta.

    A request of more than `window` tokens (`per` bytes each), or one whose calls and results do not
    pair, is refused with status 400. Requests of `writer` are held against nothing.
    """

    answer: Callable[[list[dict[str, Any]]], dict[str, Any]]
    window: int = 3_000
    per: int = 3
    summary: str = "The record: part one was read and f1.txt holds 42."
    writer_fails: str = ""
    hang: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[list[dict[str, Any]]] = field(default_factory=list)
    records: list[list[dict[str, Any]]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    base: str = ""
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> "Served":
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
            body = json.loads(await reader.readexactly(size))
            await self._reply(body, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _reply(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        messages = body["messages"]
        size = len(json.dumps([messages, body.get("tools")]).encode()) // self.per
        self.models.append(body["model"])
        if body["model"] == "writer":
            self.records.append(messages)
            self.asked.set()
            if self.hang is not None:
                await self.hang.wait()
            if self.writer_fails:
                return _refuse(writer, self.writer_fails)
            return _stream(writer, text(self.summary), len(str(messages)) // self.per, self.per)
        if fault := pairing(messages):
            self.unpaired.append(fault)
            return _refuse(writer, fault)
        if size > self.window:
            self.refused.append(size)
            told = f"This model's maximum context length is {self.window} tokens. However, your messages"
            return _refuse(writer, f"{told} resulted in {size} tokens.", "context_length_exceeded")
        self.requests.append(messages)
        _stream(writer, self.answer(messages), size, self.per)


def pairing(messages: list[dict[str, Any]]) -> str:
    """What a provider would refuse about the order of messages, empty if nothing."""
    waiting: list[str] = []
    for n, message in enumerate(messages):
        if message["role"] == "tool":
            if not waiting or message["tool_call_id"] != waiting.pop(0):
                return f"messages[{n}]: a result without its call"
            continue
        if waiting:
            return f"messages[{n}]: call {waiting[0]} has no result"
        waiting = [c["id"] for c in message.get("tool_calls") or []]
        if not message.get("content") and not waiting:
            return f"messages[{n}]: an empty text"
    first = next((m["role"] for m in messages if m["role"] != "system"), "")
    return "" if first == "user" and not waiting else "the first message is not the user's"


def _refuse(writer: asyncio.StreamWriter, message: str, code: str = "bad") -> None:
    body = json.dumps({"error": {"message": message, "code": code, "type": "invalid_request_error"}})
    head = f"HTTP/1.1 400 Bad\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n{body}"
    writer.write(head.encode())


def _stream(writer: asyncio.StreamWriter, delta: dict[str, Any], size: int, per: int) -> None:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served"}
    finish = "tool_calls" if "tool_calls" in delta else "stop"
    said = len(json.dumps(delta)) // per
    usage = {"prompt_tokens": size, "completion_tokens": said, "total_tokens": size + said}
    lines = [
        {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", **delta}}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {**chunk, "choices": [], "usage": usage},
    ]
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n")
    for line in lines:
        writer.write(f"data: {json.dumps(line)}\n\n".encode())
    writer.write(b"data: [DONE]\n\n")


class Person(Nobody):
    """Says one thing after the other, and keeps what is said back."""

    def __init__(self, things: list[str | Kept]) -> None:
        super().__init__()
        self.things = things
        self.heard: list[str] = []
        self.entries: list[Entry] = []

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        if not self.things:
            return None
        thing = self.things.pop(0)
        return UserMessage(text=thing) if isinstance(thing, str) else thing

    def kept(self, session: Session, entry: Entry) -> None:
        self.entries.append(entry)
        self.heard += [s.text for s in entry.record.said if s.to == "person"]


async def begin(
    store: Store, work: Path, served: Served, *, window: int = 0, writer: bool = False, by: str = "writer"
) -> Session:
    """A session that talks to `served`; `window` 0 leaves it to the provider to refuse. With `writer` the
    declared model `by` writes the summaries."""
    registry = installed()
    source = SPEC.replace("    window: WINDOW\n", f"    window: {window}\n" if window else "")
    source = source.replace("BASE", served.base)
    source = source.replace("compactWRITER", f"compact\n        model: {by}" if writer else "compact")
    loaded = launch.load_text(source, registry)
    assert loaded.machine is not None, loaded.diagnostics
    windows = launch.preflight(loaded.machine)
    event = launch.started(loaded.machine, registry, "{}", work, windows, "0")
    session, first = await Session.create(store, loaded.machine, "w", event, SystemClock(), redactor())
    await LocalDriver(session, registry, Nobody()).run(step=first)
    return session


async def say(session: Session, *things: str | Kept) -> Person:
    """Go on with the session until all of it is said and nothing more happens."""
    person = Person(list(things))
    await LocalDriver(session, installed(), person).run()
    return person
