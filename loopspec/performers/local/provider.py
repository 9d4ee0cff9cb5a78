"""Local models as a provider: `local/NAME`, by the public door (see `loopspec.hooks.ModelProvider`).

What answers is llama.cpp's server, Ollama, vLLM, LM Studio, or whatever else speaks OpenAI's chat
protocol. litellm is never imported.

Rules of this file:
1. Every byte of a reply is checked before anything is made of it (see `performers.wire`).
2. A model on one's own machine costs nothing; its tokens are counted as it tells them.
3. A fault keeps its HTTP status, wherever it was told; a request that does not fit is 413.
"""

import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Final

from loopspec.errors import LoopspecError
from loopspec.events import TokenUsage
from loopspec.hooks import ModelAsk, ModelFacts, Piece, ProviderFailed
from loopspec.performers.local.address import OURS, address_of, headers_of
from loopspec.performers.local.http import Exchange
from loopspec.performers.local.windows import window_told
from loopspec.performers.model_errors import asked_wait
from loopspec.performers.reply_faults import Certainty
from loopspec.performers.wire.chat import Chat
from loopspec.performers.wire.checker import Checker, refusal
from loopspec.performers.wire.chunks import CallPiece, Chunk, Told
from loopspec.performers.wire.faults import Told as ToldFault
from loopspec.performers.wire.faults import told

ERROR_BYTES: Final = 64 * 1024
"""The most that is read of an answer that is no reply."""
_PLAIN: Final = ("role", "content", "tool_calls", "tool_call_id")
_TOO_LONG: Final = 413
_OVERFLOW: Final = re.compile(
    r"exceeds? the available context size|exceed_context_size|context the overflows|context overflow"
    r"|greater than the (model's )?context length|maximum context length",
    re.IGNORECASE,
)
"""How llama.cpp, LM Studio and vLLM say that a request does not fit."""


class LocalProvider:
    """Asks the server on this machine."""

    def facts(self, name: str) -> ModelFacts:
        """A local model costs nothing; its window is asked of the server (`window`). Never asks here."""
        if not name:
            remedy = "write local/NAME, with the name that the server knows"
            raise LoopspecError("`local/` names no model", remedy=remedy)
        return ModelFacts(priced=True)

    def window(self, name: str, params: Mapping[str, Any]) -> int:
        """The window in tokens that the server gives the model now, 0 if it does not say.

        Asks the server, for two seconds at most; raises `LoopspecError` for an address that is none.
        """
        return window_told(address_of(params), headers_of(params), name)

    async def stream(self, ask: ModelAsk) -> AsyncGenerator[Piece, None]:
        """The reply in pieces; raises `ProviderFailed`, and `Damage` for bytes that are no reply."""
        exchange = Exchange(address_of(ask.params))
        try:
            headers = {"content-type": "application/json", **_key(ask.params)}
            await exchange.ask("POST", "/chat/completions", headers, _body(ask))
            if exchange.status != 200:
                raise await _refused(exchange)
            if "json" in exchange.headers.get("content-type", ""):
                raise _failed(refusal(await exchange.body(ERROR_BYTES), exchange.headers))
            async for piece in _pieces(exchange):
                yield piece
        except ToldFault as fault:
            raise _failed(fault) from None
        finally:
            exchange.close()


def _key(params: Mapping[str, Any]) -> dict[str, str]:
    """The headers of the key; one that is missing is a key that is refused."""
    try:
        return headers_of(params)
    except LoopspecError as error:
        raise ProviderFailed(401, str(error)) from None


def _body(ask: ModelAsk) -> bytes:
    """The request. What a local server does not know (signed thinking of another provider) stays here."""
    body: dict[str, Any] = {
        **{key: value for key, value in ask.params.items() if key not in OURS},
        "model": ask.name,
        "messages": [_message(message) for message in ask.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if ask.tools:
        body["tools"] = list(ask.tools)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with the keys of the protocol alone."""
    made = {key: message[key] for key in _PLAIN if key in message}
    if calls := made.get("tool_calls"):
        made["tool_calls"] = [{k: call[k] for k in ("id", "type", "function")} for call in calls]
    return made


async def _pieces(exchange: Exchange) -> AsyncGenerator[Piece, None]:
    """The pieces of a stream; what was consumed and why it ends come last, as the door wants it.

    One that ends without a finish reason gives none: it was cut off.
    """
    checker, reply = Checker(Chat(), exchange.headers), _Reply()
    try:
        async for data in exchange.pieces():
            empty = True
            for chunk in checker.feed(data):
                for piece in reply.take(chunk):
                    empty = False
                    yield piece
            if checker.over:
                break
            if empty:  # half an event, or a comment: whoever reads looks at its deadline
                yield Piece()
        checker.end()
    except OSError:
        if not checker.whole:  # else all that matters has come
            raise
    for piece in reply.last():
        yield piece


class _Reply:
    """What the chunks of one reply add up to."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._calls = _Calls()
        self._refused = False
        self._certainty = Certainty()
        self._usage: Told | None = None
        self._finish = ""

    def take(self, chunk: Chunk) -> Iterator[Piece]:
        """A checked chunk as pieces."""
        self._usage = chunk.usage or self._usage  # some servers tell it with every chunk
        for choice in chunk.choices:
            self._certainty.add(choice)
            delta = choice.delta
            if delta.reasoning_content:
                yield Piece(thinking=delta.reasoning_content)
            if delta.content:
                yield Piece(text=delta.content)
            for part in delta.tool_calls:
                place = self._calls.place(part)
                yield Piece(call=(place, part.function.name or "", part.function.arguments))
            self._refused = self._refused or bool(delta.refusal)
            self._finish = choice.finish_reason or self._finish

    def last(self) -> Iterator[Piece]:
        """What is told at the end. It costs nothing."""
        if (told := self._usage) is not None:
            cached = told.prompt_tokens_details.cached_tokens
            usage = TokenUsage(told.prompt_tokens, told.completion_tokens, cached_tokens=cached, cost=0)
            yield Piece(usage=usage)
        if self._finish:
            finish = "refusal" if self._refused else self._finish
            yield Piece(finish=finish, confidence=self._certainty.ppm)


class _Calls:
    """The calls of a reply, counted by their beginnings: some servers give all of them one index."""

    def __init__(self) -> None:
        """None yet."""
        self._at: dict[int, tuple[int, str]] = {}
        self._count = 0

    def place(self, part: CallPiece) -> int:
        """The number of the call that a piece belongs to."""
        known, key = self._at.get(part.index), part.id or ""
        if known is None or (part.function.name and key and known[1] and key != known[1]):
            known = (self._count, key)
            self._count += 1
            self._at[part.index] = known
        return known[0]


async def _refused(exchange: Exchange) -> ProviderFailed:
    """The fault of an answer that is no reply."""
    body = (await exchange.body(ERROR_BYTES)).decode("utf-8", "replace").strip()
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    error = given.get("error", given) if isinstance(given, dict) else body
    fault = told(error or f"the server answered with status {exchange.status}", exchange.headers)
    kind = error.get("type") if isinstance(error, dict) else ""
    words = f"{fault} ({kind})" if isinstance(kind, str) and _OVERFLOW.search(kind) else str(fault)
    return _failure(exchange.status, words, exchange.headers)


def _failed(fault: Exception) -> Exception:
    """A fault told inside an answer, with its status; damage stays what it is."""
    if not isinstance(fault, ToldFault):
        return fault
    return _failure(fault.status_code, str(fault), fault.headers)


def _failure(status: int, words: str, headers: Mapping[str, str]) -> ProviderFailed:
    """The fault as the door wants it (rule 3)."""
    if status not in (401, 403, 404, 429) and _OVERFLOW.search(words):
        status = _TOO_LONG
    return ProviderFailed(status, words, asked_wait(headers) / 1_000_000)


