"""Model stream: one streamed reply, read under deadlines and put together piece by piece.

Rules of this file:
1. A piece is shown the moment it arrives; nothing waits for the next one. (The one exception: half
   a character, a lone UTF-16 surrogate, waits for its other half.)
2. Only content resets the watchdog. Keep-alive comments and empty chunks do not.
3. An end without a finish reason *from the provider* is a break. litellm invents a "stop" for it,
   so only `received_finish_reason` and `intermittent_finish_reason` are believed, and where the bytes
   are checked (`wire`), what they say.
4. However reading ends, the stream is closed, within `CLOSE_SECONDS`; an abandoned one would keep
   its socket open until garbage collection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from loopspec.events import CallDelta, TextDelta, ThinkingDelta
from loopspec.machine.model import ModelDecl
from loopspec.performers.model_errors import Late, mend
from loopspec.performers.model_prefill import Joint
from loopspec.performers.reply_faults import Certainty

T = TypeVar("T")
Delta = TextDelta | ThinkingDelta | CallDelta

CLOSE_SECONDS: Final = 2.0
# No provider's reply comes near this; a stream that never ends must not fill the memory.
MAX_CHARS: Final = 16 * 1024 * 1024
# Nobody proposes that many at once; each of them costs a gate, a row and an answer.
MAX_CALLS: Final = 1000
_FINISH_CHARS: Final = 64
_ITEM: Final = 64  # what a part that goes back verbatim takes, besides its texts
_MICRO: Final = 1_000_000
_END: Final = object()


class TooLarge(Exception):
    """A reply grew beyond `MAX_CHARS` or `MAX_CALLS`."""


@dataclass(frozen=True)
class Deadlines:
    """The four deadlines of an attempt, in seconds."""

    connect: float
    first_chunk: float
    between_chunks: float
    total: float

    @classmethod
    def of(cls, decl: ModelDecl) -> "Deadlines":
        """The deadlines a model declares in microseconds."""
        return cls(
            decl.connect / _MICRO,
            decl.first_chunk / _MICRO,
            decl.between_chunks / _MICRO,
            decl.total / _MICRO,
        )


@dataclass
class OpenCall:
    """A call that is being received. `done`: nothing more comes of it."""

    id: str = ""
    tool: str = ""
    args: list[str] = field(default_factory=list)
    signature: str = ""
    done: bool = False


class Gathered:
    """What has been received of one reply of the effect `effect`.

    Complete items are kept apart from the open one: calls that are `done`, thinking that is signed,
    `items` that go back to the provider as they are.
    """

    def __init__(self, effect: str, before: str = "", joint: Joint | None = None) -> None:
        """Begin with nothing, or with the text `before`, to which `joint` joins what comes."""
        self._effect = effect
        self._text: list[str] = [before] if before else []
        self._before = len(before)
        self._joint = joint
        self.certainty = Certainty()
        self._thoughts: list[str] = []
        self._refusal: list[str] = []
        self.items: dict[str, list[dict[str, Any]]] = {}
        self._half = {"text": "", "thinking": "", "refusal": ""}
        self._at: dict[int, int] = {}
        self._size = 0
        self.calls: list[OpenCall] = []
        self.thinking: list[dict[str, Any]] = []
        self.signatures: list[str] = []
        self.finish = ""

    @property
    def text(self) -> str:
        """The whole text so far."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def fresh(self) -> str:
        """The text of this attempt alone."""
        return self.text[self._before :]

    @property
    def thought(self) -> str:
        """The thinking so far."""
        return "".join(self._thoughts)

    @property
    def refusal(self) -> str:
        """Why the model says it will not answer, where it says so apart from the text."""
        return "".join(self._refusal)

    @property
    def chars(self) -> int:
        """Characters received so far, of text, thinking and arguments."""
        return self._size

    def rest(self) -> list[Delta]:
        """What was held back, in case it repeated the beginning, now that nothing more comes."""
        if self._joint is None or not (text := self._joint.rest()):
            return []
        self._text.append(text)
        return [TextDelta(self._effect, text)]

    def add(self, chunk: Any) -> tuple[list[Delta], bool]:
        """Take one chunk: what to show of it, and whether it held content.

        Raises `TooLarge` when the reply outgrows `MAX_CHARS` or `MAX_CALLS`.
        """
        content = getattr(chunk, "usage", None) is not None
        shown: list[Delta] = []
        for choice in (getattr(chunk, "choices", None) or [])[:1]:
            self.certainty.add(choice)
            if finish := getattr(choice, "finish_reason", None):
                self.finish, content = mend(str(finish)[:_FINISH_CHARS]), True
            delta = getattr(choice, "delta", None)
            if delta is not None:
                shown += self._deltas(delta)
                content = self._blocks(delta) or content
        if self._size > MAX_CHARS:
            raise TooLarge(f"the reply is longer than {MAX_CHARS} characters")
        return shown, content or bool(shown)

    def _deltas(self, delta: Any) -> list[Delta]:
        """The parts of a delta a person can see."""
        out: list[Delta] = []
        if thought := self._whole("thinking", getattr(delta, "reasoning_content", None)):
            self._thoughts.append(thought)
            out.append(ThinkingDelta(self._effect, thought))
        text = self._whole("text", getattr(delta, "content", None))
        if text and self._joint is not None:
            text = self._joint.take(text)
        if text:
            self._text.append(text)
            out.append(TextDelta(self._effect, text))
        if refusal := self._whole("refusal", getattr(delta, "refusal", None)):
            self._refusal.append(refusal)
        for part in getattr(delta, "tool_calls", None) or []:
            out.append(self._call(part))
        return out

    def _call(self, part: Any) -> CallDelta:
        """A piece of a call. Calls are told apart by index, and by id where a provider gives all
        of them the same index."""
        function = getattr(part, "function", None)
        name = mend(str(getattr(function, "name", None) or ""))
        args = getattr(function, "arguments", None)
        args = args if isinstance(args, str) else ""
        given = getattr(part, "id", None) or ""
        index = getattr(part, "index", None) or 0
        place = self._at.get(index)
        known = self.calls[place] if place is not None else None
        if known is None or (name and given and known.id and given != known.id):
            self._at[index] = place = len(self.calls)
            if self.calls:
                self.calls[-1].done = True  # calls come one after the other; see `kept_of`
            if place >= MAX_CALLS:
                raise TooLarge(f"the reply proposes more than {MAX_CALLS} calls")
            known = OpenCall()
            self.calls.append(known)
        known.id = known.id or str(given)
        known.tool = known.tool or name
        known.args.append(args)
        known.done = bool(getattr(part, "done", False))
        self._size += len(args) + len(name)
        fields = getattr(part, "provider_specific_fields", None)
        if isinstance(fields, dict) and isinstance(fields.get("thought_signature"), str):
            known.signature = fields["thought_signature"]
        return CallDelta(self._effect, place or 0, name, mend(args))

    def _blocks(self, delta: Any) -> bool:
        """Collect what must go back to the provider verbatim; whether there was any."""
        found = False
        for key, item in getattr(delta, "verbatim", None) or ():
            self.items.setdefault(key, []).append(item)
            self._size += _ITEM + sum(len(v) for v in item.values() if isinstance(v, str))
            found = True
        for block in getattr(delta, "thinking_blocks", None) or []:
            data = block if isinstance(block, dict) else block.model_dump(exclude_none=True)
            found = self._thought({k: v for k, v in data.items() if v is not None}) or found
        fields = getattr(delta, "provider_specific_fields", None)
        marks = fields.get("thought_signatures") if isinstance(fields, dict) else None
        for mark in marks if isinstance(marks, list) else []:
            if isinstance(mark, str):
                self.signatures.append(mark)
                found = True
        return found

    def _thought(self, data: dict[str, Any]) -> bool:
        """Append a piece of a thinking block; a signature ends its block."""
        if data.get("type") != "thinking":
            self.thinking.append(data)
            return True
        text, signature = str(data.get("thinking") or ""), data.get("signature")
        if not text and not signature:
            return False
        if text and signature:  # a whole one
            self.thinking.append(data)
            return True
        last = self.thinking[-1] if self.thinking else None
        if last is None or last.get("type") != "thinking" or last.get("signature"):
            last = {"type": "thinking", "thinking": ""}
            self.thinking.append(last)
        last["thinking"] += text
        if signature:
            last["signature"] = signature
        return True

    def _whole(self, kind: str, piece: Any) -> str:
        """`piece` without a half character at its end, which waits for the next piece."""
        if not isinstance(piece, str) or not piece:
            return ""
        piece = self._half[kind] + piece
        self._half[kind] = ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half[kind] = piece[:-1], piece[-1]
        self._size += len(piece)
        return mend(piece)


class Reader:
    """Reads one stream under `deadlines`, handing each chunk to `take`.

    `take` gives back whether the chunk held content.
    """

    def __init__(self, deadlines: Deadlines, take: Callable[[Any], bool]) -> None:
        """Prepare to read; nothing starts yet."""
        self._deadlines = deadlines
        self._take = take
        self._stream: Any = None
        self._usage: Any = None
        self._end = 0.0

    async def read(self, start: Awaitable[Any]) -> bool:
        """Read to the end; gives back whether the provider ended the reply itself.

        Raises `Late`, `TooLarge`, or whatever the provider's library raises.
        """
        loop = asyncio.get_running_loop()
        limits = self._deadlines
        self._end = loop.time() + limits.total
        self._stream = await self._by("connect", loop.time() + limits.connect, start)
        try:
            which, due = "first_chunk", loop.time() + limits.first_chunk
            while True:
                chunk = await self._by(which, due, anext(self._stream, _END))
                if chunk is _END or self._invented(chunk):
                    return self._finished()
                self._usage = getattr(chunk, "usage", None) or self._usage
                if self._take(chunk):
                    which, due = "between_chunks", loop.time() + limits.between_chunks
                elif loop.time() > due:
                    raise self._late(which)
                if loop.time() > self._end:
                    raise self._late("total")
                # A stream whose chunks are all at hand would never let anything else run.
                await asyncio.sleep(0)
        except Late:
            if not getattr(self._stream, "complete", False):  # a whole reply is not lost to a late end
                raise
            return True
        finally:
            await self._close()

    @property
    def usage(self) -> Any:
        """The usage the provider reported, None when it reported none.

        litellm makes one up by counting tokens; only a chunk of the provider's own is believed.
        """
        chunks = getattr(self._stream, "chunks", None) or []
        told = [u for u in (getattr(c, "usage", None) for c in chunks) if u is not None]
        return (self._usage or told[-1]) if told else None

    def _finished(self) -> bool:
        """Whether a finish reason came from the provider (rule 3)."""
        return any(
            getattr(self._stream, name, None) is not None
            for name in ("received_finish_reason", "intermittent_finish_reason")
        )

    def _invented(self, chunk: Any) -> bool:
        """Whether this is the chunk litellm ends a broken stream with."""
        choices = getattr(chunk, "choices", None) or []
        return not self._finished() and any(getattr(c, "finish_reason", None) for c in choices)

    async def _by(self, which: str, due: float, work: Awaitable[T]) -> T:
        """The result of `work` if it comes by `due` and before the end of the total deadline."""
        if self._end <= due:
            which, due = "total", self._end
        try:
            async with asyncio.timeout_at(due) as scope:
                return await work
        except TimeoutError:
            if scope.expired():
                raise self._late(which) from None
            raise

    def _late(self, which: str) -> Late:
        """The deadline `which`, passed."""
        return Late(which, getattr(self._deadlines, which))

    async def _close(self) -> None:
        """Close the stream (rule 4)."""
        close = getattr(self._stream, "aclose", None)
        if close is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
        except Exception:
            # A stream that broke may fail again on closing; the first fault is the one that counts.
            return


def signed(blocks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The thinking blocks a provider wants back: signed or redacted ones."""
    return [b for b in blocks if b.get("signature") or b.get("type") == "redacted_thinking"]
