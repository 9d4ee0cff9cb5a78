"""Anthropic's Messages stream, checked, and what each event brings.

Rules of this file:
1. Blocks come one after the other, by index, each begun, filled and ended; a piece belongs to the block
   that is open and fits its type. So a lost, doubled or moved event shows.
2. Only `tool_use` is a call of ours. What the provider's own tools did (`server_tool_use` and their
   results) goes back verbatim with the other blocks, and proposes nothing.
3. The reply is whole once its stop reason has come and no block is open.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from loopspec.performers.wire.chunks import Cached, CallPiece, Chunk, Delta, Function, Told, chunk
from loopspec.performers.wire.faults import Damage
from loopspec.performers.wire.protocol import Protocol, count, mapping, need, piece, whole_number

BLOCKS: Final = "anthropic_blocks"
_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
_FITS: Final[Mapping[str, frozenset[str]]] = {
    "text_delta": frozenset({"text"}),
    "citations_delta": frozenset({"text"}),
    "thinking_delta": frozenset({"thinking"}),
    "signature_delta": frozenset({"thinking"}),
}
_CLOSED: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_JSON: Final = "input_json_delta"


class Messages(Protocol):
    """One stream of `/messages`."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._begun = False
        self._next = 0  # the index of the next block
        self._block: dict[str, Any] | None = None
        self._json: list[str] = []
        self._said: list[str] = []  # of the open block: its text or thinking
        self._known = True  # whether everything that came of the open block is understood
        self._calls = 0
        self._asked: dict[str, Any] = {}

    def take(self, name: str, data: dict[str, Any]) -> Iterator[Chunk]:
        """What one event brings."""
        kind = need(data, "type")
        if name and name != kind:
            raise Damage(f"an event called {name!r} that says it is {kind!r}")
        if kind == "ping":
            return
        if kind == "message_start":
            yield self._start(data)
            return
        if not self._begun:
            raise Damage(f"{kind} before message_start")
        match kind:
            case "content_block_start":
                yield from self._open(data)
            case "content_block_delta":
                yield from self._more(data)
            case "content_block_stop":
                yield from self._close(data)
            case "message_delta":
                yield self._stop(data)
            case "message_stop":
                if not self.whole:
                    raise Damage("message_stop without a stop reason")
                self.over = True
            case _:  # nothing is lost by what is new between blocks; inside one it may be a piece
                if self._block is not None and self._block["type"] in _CLOSED:
                    raise Damage(f"an unknown event {kind[:40]!r} inside a block")

    def _start(self, data: Mapping[str, Any]) -> Chunk:
        """The message begins."""
        if self._begun:
            raise Damage("message_start twice")
        self._begun = True
        usage = mapping(data, "message").get("usage")
        self._asked = usage if isinstance(usage, dict) else {}
        return Chunk((), _usage(self._asked))

    def _open(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """A block begins."""
        index = whole_number(data, "index")
        if self._block is not None or index != self._next or self.whole:
            raise Damage(f"block {index} begins where block {self._next} was due")
        self._block, self._json, self._known = dict(mapping(data, "content_block")), [], True
        self._said = []
        kind = need(self._block, "type")
        if kind == "text" and (text := piece(self._block, "text")):
            yield chunk(Delta(text))
        elif kind == "thinking" and (text := piece(self._block, "thinking")):
            yield chunk(Delta(reasoning_content=text))
        elif kind == "tool_use":
            function = Function(need(self._block, "name"), "")
            yield chunk(Delta(tool_calls=(CallPiece(self._calls, need(self._block, "id"), function),)))

    def _more(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """A piece of the open block."""
        index, delta = whole_number(data, "index"), mapping(data, "delta")
        block, kind = self._block, need(delta, "type")
        if block is None or index != self._next:
            raise Damage(f"a piece of block {index}, which is not open")
        of = block["type"]
        fits = of in _FITS[kind] if kind in _FITS else kind != _JSON or "tool_use" in of
        if not fits:
            raise Damage(f"a {kind} in a block of type {of}")
        match kind:
            case "text_delta":
                text = need(delta, "text")
                self._said.append(text)
                yield chunk(Delta(text))
            case "thinking_delta":
                text = need(delta, "thinking")
                self._said.append(text)
                yield chunk(Delta(reasoning_content=text))
            case "signature_delta":
                block["signature"] = piece(block, "signature") + need(delta, "signature")
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), mapping(delta, "citation")]
            case "input_json_delta":
                text = need(delta, "partial_json")
                self._json.append(text)
                if of == "tool_use" and text:
                    function = Function(None, text)
                    yield chunk(Delta(tool_calls=(CallPiece(self._calls, None, function),)))
            case _:
                if of in _CLOSED:
                    raise Damage(f"an unknown piece {kind[:40]!r} of a block of type {of}")
                self._known = False

    def _close(self, data: Mapping[str, Any]) -> Iterator[Chunk]:
        """The open block ends."""
        index, block = whole_number(data, "index"), self._block
        if block is None or index != self._next:
            raise Damage(f"block {index} ends, and is not open")
        self._block, self._next = None, self._next + 1
        kind, text = block["type"], "".join(self._json)
        if self._said:
            block[kind] = piece(block, kind) + "".join(self._said)
        if kind == "tool_use":
            # Some give the arguments at once, with the beginning of the block.
            whole = "" if text else json.dumps(block.get("input") or {}, ensure_ascii=False)
            function = Function(None, whole if whole != "{}" else "")
            call = CallPiece(self._calls, None, function, done=True)
            self._calls += 1
            yield chunk(Delta(tool_calls=(call,)))
            return
        if text:
            try:
                block["input"] = json.loads(text)
            except ValueError:
                raise Damage(f"the input of a block of type {kind} is no JSON") from None
        if self._known and not (kind == "text" and not block.get("text")):
            thoughts = (block,) if kind in ("thinking", "redacted_thinking") else ()
            yield chunk(Delta(thinking_blocks=thoughts, verbatim=((BLOCKS, block),)))

    def _stop(self, data: Mapping[str, Any]) -> Chunk:
        """The message's stop reason, and what it consumed."""
        if self._block is not None:
            raise Damage("message_delta inside a block")
        usage = data.get("usage")
        told = _usage({**self._asked, **usage}) if isinstance(usage, dict) else None
        reason = mapping(data, "delta").get("stop_reason")
        if reason is None:
            return Chunk((), told)
        if not isinstance(reason, str):
            raise Damage("a stop reason that is no text")
        if reason == "tool_use" and not self._calls:
            raise Damage("the reply stops for a call, and none has come")
        self.finish, self.whole = _FINISH.get(reason, reason), True
        return chunk(Delta(), self.finish, told)


def _usage(given: Mapping[str, Any]) -> Told | None:
    """Anthropic counts cached tokens apart from the input's."""
    if not given:
        return None
    read, made = count(given, "cache_read_input_tokens"), count(given, "cache_creation_input_tokens")
    asked = count(given, "input_tokens") + read + made
    cached = Cached(read)
    return Told(asked, count(given, "output_tokens"), prompt_tokens_details=cached, created=made)
