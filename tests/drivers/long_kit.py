"""A long conversation through the real driver: a provider that counts, and a person who goes on."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import Kept, TokenUsage, UserMessage
from loopspec.hooks import ModelAsk, ModelFacts, Piece, ProviderFailed
from loopspec.machine.rest import Rest
from loopspec.registry import installed
from loopspec.stores.base import Store

WINDOW = 32_000
TASK = "Übersicht halten: zähle jede Datei ⟨genau einmal⟩,\n\tund vergiss nie die Losung `quark-7741`.  "
FILES = 40

SPEC = """\
loopspec: 1
name: long
version: 1.0.0
models: {main: {use: counting/main, retry: {attempts: 1}}}
tools:
  read: {use: files.read}
  recall: {use: context.recall}
prompts: {system: "Work in {{ session.workdir }}."}
authority: {allow: [{tools: [read, recall]}]}
context: {compact_at: 0.8, target: 0.4}
initial: ready
states:
  ready: {kind: input, on: {user.message: working}}
  working:
    initial: streaming
    on: {user.interrupted: ready, budget.exhausted: ready}
    states:
      streaming:
        kind: model
        prompt: system
        on:
          model.replied:
            - {guard: size(event.calls) > 0, target: deciding}
            - {target: ready}
          context.pressed: compacting
          model.overflowed: compacting
          model.failed: {target: failed, say: "{{ event.reason }}: {{ event.detail }}"}
      deciding:
        kind: gate
        on: {gate.allowed: running, gate.asked: streaming, gate.denied: streaming}
      running:
        kind: tools
        on: {tools.settled: streaming, effect.lost: failed}
      compacting:
        kind: compact
        on:
          context.compacted: streaming
          context.stuck: {target: failed, say: "{{ event.reason }}"}
  failed: {outcome: failed, on: {user.message: working}}
"""


@dataclass
class Counting:
    """A model that counts a token for three bytes, refuses what does not fit, and reads file by file."""

    window: int = WINDOW
    requests: int = 0
    refused: int = 0
    largest: int = 0
    last: list[dict[str, object]] = field(default_factory=list)

    def facts(self, name: str) -> ModelFacts:
        return ModelFacts(window=self.window, priced=True)

    async def stream(self, ask: ModelAsk) -> AsyncIterator[Piece]:
        sent = json.dumps([list(ask.messages), list(ask.tools)], ensure_ascii=False)
        size = len(sent.encode()) // 3
        self.requests += 1
        self.largest = max(self.largest, size)
        self.last = [dict(m) for m in ask.messages]
        if size > self.window:
            self.refused += 1
            told = f"This model's maximum context length is {self.window} tokens. However, your messages"
            raise ProviderFailed(400, f"{told} resulted in {size} tokens.")
        newest = self.last[-1]
        said = str(newest["content"])
        step = re.match(r"step (\d+)", said)
        if newest["role"] == "user" and step:
            n = int(step[1])
            yield Piece(text=f"I look at part {n} in f{n % FILES}.txt.")
            yield Piece(call=(0, "read", json.dumps({"path": f"f{n % FILES}.txt"})))
            finish = "tool_calls"
        else:
            yield Piece(text=f"Noted: {said[:60]!r} is part of it; value {size} goes into the table.")
            finish = "stop"
        yield Piece(usage=TokenUsage(size, 30, cost=10), finish=finish)


class Person(Nobody):
    """Goes on as long as there is something to say; `seen` is called before each message."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages
        self.said: list[str] = []

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        if rest.reason != "input" or not self.messages:
            return None
        return UserMessage(text=self.messages.pop(0))

    def kept(self, session: Session, entry: object) -> None:
        self.said += [s.text for s in entry.record.said]  # type: ignore[attr-defined]


def files(work: Path) -> None:
    """Files of some size to read."""
    for n in range(FILES):
        lines = [
            f"{n}.{k}: item_{n * k:05d} costs {k * 37 % 991} in /srv/part{n}/v{k}" for k in range(60)
        ]
        (work / f"f{n}.txt").write_text("\n".join(lines) + "\n")


async def talk(
    store: Store, work: Path, messages: list[str], session: str = "long", spec: str = SPEC
) -> tuple[Session, Person]:
    """Begin a session, or go on with it, and say all of `messages`."""
    registry = installed()
    person = Person(list(messages))
    if session not in [row.session for row in store.sessions()]:
        loaded = launch.load_text(spec, registry)
        assert loaded.machine is not None, loaded.diagnostics
        windows = launch.preflight(loaded.machine)
        event = launch.started(loaded.machine, registry, "{}", work, windows, "0")
        made, first = await Session.create(
            store, loaded.machine, session, event, SystemClock(), redactor()
        )
        await LocalDriver(made, registry, person).run(step=first)
    else:
        made = await asyncio.to_thread(Session.load, store, session, SystemClock(), redactor())
        await LocalDriver(made, registry, person).run()
    return made, person
