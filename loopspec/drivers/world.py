"""World: what performers see of a session on this machine."""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from loopspec.context.transcript import Item
from loopspec.drivers.recalling import partial_of, recall
from loopspec.drivers.session import Session
from loopspec.drivers.shown import Shown
from loopspec.effects import Effect
from loopspec.errors import NotFound
from loopspec.events import (
    AttemptFailed,
    ContextCompacted,
    ContextStuck,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    Kept,
    Live,
    TokenUsage,
)
from loopspec.governance.redact import Redactor
from loopspec.governance.streamed import broken_off
from loopspec.hooks import People, Reply, Tool
from loopspec.machine.model import Machine
from loopspec.snapshot import Call, Snapshot

_BILLED: Final = (EffectAnswered, EffectFailed, EffectCancelled, ContextCompacted, ContextStuck)
"""What may end an effect whose performer asks models; a model's own answer has its usage already."""


class SystemClock:
    """The machine's own clocks. CLOCK_MONOTONIC stands still while a Linux machine sleeps."""

    def now(self) -> int:
        """UTC microseconds."""
        return time.time_ns() // 1_000

    def awake(self) -> int:
        """Microseconds awake since boot."""
        return time.monotonic_ns() // 1_000


def redactor() -> Redactor:
    """A redactor for the secrets of this process's environment."""
    return Redactor.from_environment(os.environ)


class LocalWorld:
    """A performer's view of one session (see `loopspec.hooks.World`)."""

    def __init__(
        self,
        session: Session,
        tools: Mapping[str, Tool],
        watch: Callable[[Live], None],
        people: People | None,
    ) -> None:
        """`watch` receives live events; it must not raise."""
        self.session = session
        self.machine: Machine = session.machine
        self.workdir = Path(session.snapshot.workdir)
        self.people = people
        self._shown = Shown(session.redactor, watch)
        self._tools = tools
        self._dice = random.SystemRandom()
        self._consumed: dict[str, TokenUsage] = {}  # by asking models, of effects without an answer
        self._partials: dict[str, bytes] = {}
        self._kept: set[str] = set()  # effects of which the store may hold a partial

    def begin(self) -> None:
        """Look what an earlier process has kept of its streams; it must have no hold any more."""
        self._partials = self.session.store.partials(self.session.id)
        self._kept = set(self._partials)

    @property
    def snapshot(self) -> Snapshot:
        """Where the session stands now."""
        return self.session.snapshot

    @property
    def items(self) -> tuple[Item, ...]:
        """What the model sees."""
        return self.session.items

    @property
    def directory(self) -> Path:
        """The store's directory."""
        return self.session.store.directory

    def args(self, call: Call) -> str:
        """A call's arguments from the journal."""
        return self.session.args(call)

    def blob(self, digest: str) -> bytes:
        """A blob's bytes."""
        return self.session.store.blob(digest)

    def watch(self, event: Live) -> None:
        """Show a live event at once, without secrets."""
        self._shown(event)

    def settled(self, effect: str) -> None:
        """Nothing more is shown of an effect: what was held back, in case a secret began, is shown."""
        self._shown.settled(effect)

    def put_blob(self, data: bytes) -> str:
        """Keep bytes for good."""
        return self.session.store.put_blob(data)

    def partial(self, effect: str, data: bytes) -> None:
        """Keep what is open of a stream, unless it has settled."""
        if effect not in self.snapshot.pending:
            return
        self._kept.add(effect)
        text = broken_off(self.session.redactor, data.decode("utf-8", "replace"))
        self.session.store.put_partial(self.session.id, effect, text.encode("utf-8", "replace"))

    def last_partial(self, effect: str) -> bytes:
        """What an earlier process kept of this stream."""
        return self._partials.get(effect, b"")

    def forget(self, effect: str) -> None:
        """Keep nothing more of a stream that has settled."""
        if effect in self._kept:  # most effects have none: the store's writer need not be woken
            self._kept.discard(effect)
            self.session.store.drop_partial(self.session.id, effect)

    async def ask(
        self, effect: Effect, model: str, messages: Sequence[Mapping[str, str]], system: str = ""
    ) -> Reply:
        """Ask a declared model once (see `loopspec.hooks.World.ask`)."""
        from loopspec.performers.asking import ask

        def spend(usage: TokenUsage) -> None:
            self._consumed[effect.id] = self._consumed.get(effect.id, TokenUsage()).plus(usage)

        return await ask(effect, model, messages, system, self, spend)

    def billed(self, answer: Kept) -> Kept:
        """The answer of an effect with what asking models for it has consumed, which nobody can forget; a
        text that broke off within what may be a secret ends before that."""
        if isinstance(answer, AttemptFailed | EffectCancelled) and answer.partial:
            kept = broken_off(self.session.redactor, answer.partial)
            answer = msgspec.structs.replace(answer, partial=kept)
        used = self._consumed.pop(getattr(answer, "effect", ""), None)
        if used and isinstance(answer, _BILLED):
            return msgspec.structs.replace(answer, usage=answer.usage.plus(used))
        return answer

    def partial_of(self, seq: int) -> str:
        """The text of a reply that broke off (see `loopspec.hooks.World.partial_of`)."""
        return partial_of(self.session.store, self.session.id, self.snapshot.seq, seq)

    def recall(self, handle: str) -> str:
        """The original of an item (see `loopspec.hooks.World.recall`)."""
        return recall(self.session.store, self.session.id, self.snapshot.seq, handle)

    def redact(self, text: str) -> str:
        """The text without secrets."""
        return self.session.redactor.text(text)

    def tool(self, use: str) -> Tool:
        """A tool by the name specs use."""
        found = self._tools.get(use)
        if found is None:
            raise NotFound(
                f"no installed plugin brings the tool `{use}`", remedy="install the plugin again"
            )
        return found

    def draw(self) -> int:
        """A draw for jitter."""
        return self._dice.randint(0, 1_000_000)
