"""Direct: the stream of a plugin's provider, in the form in which replies are read.

Rules of this file:
1. No litellm here: the models a plugin brings cost neither its seconds nor its memory.
2. A piece becomes a chunk of the sort litellm gives out, so that one reader, one watchdog and one set
   of rules about broken streams serve both.
3. However reading ends, the provider's own stream is closed.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

from loopspec.hooks import ModelAsk, Piece, ProviderFailed
from loopspec.performers.providers import Found
from loopspec.performers.wire.chunks import Cached, CallPiece, Chunk, Delta, Function, Told
from loopspec.performers.wire.chunks import chunk as made_chunk


class Failed(Exception):
    """The provider said why it failed; the classifier reads the status and the headers."""

    def __init__(self, fault: ProviderFailed) -> None:
        """Take over what the provider said."""
        super().__init__(fault.message)
        self.status_code = fault.status
        after = fault.retry_after
        self.headers: Mapping[str, str] = {"retry-after": f"{after:g}"} if after else {}


class Direct:
    """The provider's reply to one request, chunk by chunk.

    `received_finish_reason` is set once the provider has ended the reply itself; `chunks` keeps those
    in which it told what the reply consumed.
    """

    def __init__(self, found: Found, ask: ModelAsk) -> None:
        """Nothing is asked before the first chunk is wanted."""
        self._pieces: AsyncIterator[Piece] = found.provider.stream(ask)
        self.received_finish_reason: str | None = None
        self.chunks: list[Chunk] = []

    def __aiter__(self) -> "Direct":
        """The stream itself."""
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk; raises `Failed`, or whatever the provider's code raises."""
        try:
            piece = await anext(self._pieces)
        except ProviderFailed as fault:
            raise Failed(fault) from None
        if piece.finish:
            self.received_finish_reason = piece.finish
        made = _chunk(piece)
        if made.usage is not None:
            self.chunks.append(made)
        return made

    async def aclose(self) -> None:
        """Close the provider's stream."""
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


async def begin(
    found: Found, messages: list[dict[str, Any]], tools: list[dict[str, Any]], params: Mapping[str, Any]
) -> Direct:
    """The stream of one attempt."""
    return Direct(found, ModelAsk(found.name, messages, tools, params))


_THINKING: Final = "thinking"


def _chunk(piece: Piece) -> Chunk:
    """One piece as a chunk."""
    blocks: tuple[dict[str, Any], ...] = ()
    if piece.thinking:
        blocks = ({"type": _THINKING, "thinking": piece.thinking},)
    if piece.signature:
        blocks = (*blocks, {"type": _THINKING, "thinking": "", "signature": piece.signature})
    calls: tuple[CallPiece, ...] = ()
    if piece.call:
        index, tool, args = piece.call
        calls = (CallPiece(index, f"call-{index}" if tool else None, Function(tool or None, args)),)
    delta = Delta(piece.text, piece.thinking, blocks, calls)
    told = piece.usage
    usage = None
    if told is not None and told:
        cached = Cached(told.cached_tokens)
        usage = Told(told.input_tokens, told.output_tokens, told.cost, cached)
    made = made_chunk(delta, piece.finish or None, usage)
    if piece.confidence < 0:
        return made
    return Chunk((replace(made.choices[0], confidence=piece.confidence),), usage)
