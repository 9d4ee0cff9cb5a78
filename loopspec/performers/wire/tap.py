"""Tap: where the bytes of a reply are taken, below the library that made the request.

Rules of this file:
1. The library makes the request: provider, key, address, form. What it would make of the reply is not
   used where the protocol is known: it invents an end for a stream that broke, and drops what it cannot
   read. There the reply is read here, from the checked events.
2. Where the protocol is not read here (Gemini, Bedrock), or the library has to change the reply, it
   reads, and the bytes are checked on their way to it.
3. One attempt, one tap: it is found by the context the attempt runs in.
4. A reply that is whole stays whole: what the connection does after its end counts for nothing, and only
   `AFTER_SECONDS` are given to what may still come (what it consumed).
5. A request goes where the spec says. Only the same server may send it on; a library would take the key
   and the conversation along to any other, or ask it for something else (GET).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final

from loopspec.performers.wire.checker import Checker, protocol_of, refusal
from loopspec.performers.wire.chunks import Chunk
from loopspec.performers.wire.faults import Damage, Told

CURRENT: Final[ContextVar["Tap | None"]] = ContextVar("loopspec_tap", default=None)
CLOSE_SECONDS: Final = 2.0
_STREAM: Final = "text/event-stream"
_BODY: Final = 1024 * 1024
_ERROR: Final = 64 * 1024  # what is read of the body of an error; it may come compressed
AFTER_SECONDS: Final = 5.0


class Tap:
    """The tap of one attempt. `status` and `headers` are those of the newest response, 0 before one."""

    def __init__(self, relayed: bool = False) -> None:
        """`relayed`: the library is to make the reply, whatever the protocol."""
        self._relayed = relayed
        self.response: Any = None
        self.checker: Checker | None = None
        self.known = False
        self.reads = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.fault: Damage | Told | None = None

    @property
    def ours(self) -> bool:
        """Whether the reply is read here."""
        return self.response is not None and self.reads and not self._relayed

    def seen(self, response: Any) -> None:
        """A response has begun; its body is still to come."""
        self.status, self.headers = response.status_code, dict(response.headers)
        if (fault := _elsewhere(response)) is not None:
            self.fault = fault
            raise fault
        if not 200 <= response.status_code < 300 or response.request.method != "POST":
            response.stream = _begun(response.stream)
            return
        if _is(response, "json") and not _streams(response.request):
            return  # a model without streams: the library asked for the whole reply, and plays it
        kind = protocol_of(response.request.url.path)
        if kind is None and not _is(response, _STREAM):
            return
        self.response, self.known, self.fault = response, kind is not None, None
        self.reads = kind is not None and kind.reads
        self.checker = Checker(kind() if kind else None, self.headers)
        if not self.ours and "content-encoding" not in response.headers and not _is(response, "json"):
            response.stream = _relay(response.stream, self)

    async def close(self) -> None:
        """Leave no connection open, however the attempt ended."""
        if self.response is not None:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.response.aclose()

    def check(self, piece: bytes) -> None:
        """Check bytes that the library reads; keeps the fault and raises it."""
        assert self.checker is not None
        try:
            for _ in self.checker.feed(piece):
                pass
        except (Damage, Told) as fault:
            self.fault = fault
            raise

    def ended(self) -> None:
        """The bytes that the library reads have ended."""
        assert self.checker is not None
        try:
            self.checker.end()
        except Damage as fault:
            self.fault = fault
            raise


class Wire:
    """The reply as it is read from the tap, chunk by chunk (see `model_stream.Reader`)."""

    def __init__(self, tap: Tap, library: Any) -> None:
        """`library` is the stream the library gave back, which is never read."""
        assert tap.checker is not None
        self._response, self._checker, self._library = tap.response, tap.checker, library
        self._chunks = self._read()
        self.chunks: list[Chunk] = []  # those that tell what the reply consumes
        self._until = 0.0  # when waiting for more of a whole reply ends

    @property
    def received_finish_reason(self) -> str | None:
        """Set once the reply is whole."""
        return "whole" if self._checker.whole else None

    @property
    def complete(self) -> bool:
        """Whether the reply is whole by its protocol."""
        return self._checker.whole

    def __aiter__(self) -> "Wire":
        """The stream itself."""
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk; raises `Damage`, `Told`, or what the connection raises."""
        made = await (self._last() if self._checker.whole else anext(self._chunks))
        if made.usage is not None:
            self.chunks.append(made)
        return made

    async def _last(self) -> Chunk:
        """What comes after the end of the reply (rule 4)."""
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + AFTER_SECONDS
        if now >= self._until:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout_at(self._until):
                return await anext(self._chunks)
        except (Damage, Told):
            raise
        except Exception:  # whatever the connection does now
            raise StopAsyncIteration from None

    async def _read(self) -> AsyncIterator[Chunk]:
        """The chunks of the bytes as they come."""
        if _is(self._response, "json") or _is(self._response, "html"):
            raise await self._refusal()
        pieces = self._response.aiter_bytes()
        async for piece in pieces:
            if not piece:
                continue
            made = False
            for chunk in self._checker.feed(piece):
                made = True
                yield chunk
            if self._checker.over:
                return
            if not made:  # a comment, or half an event: whoever reads looks at its deadline
                yield Chunk()
        self._checker.end()

    async def _refusal(self) -> Damage | Told:
        """The fault of a response that is no stream."""
        body = b""
        async for piece in self._response.aiter_bytes():
            body += piece
            if len(body) > _BODY:
                break
        return refusal(body, dict(self._response.headers))

    async def aclose(self) -> None:
        """Close the connection's stream and the library's."""
        with suppress(Exception):
            await self._response.aclose()
        close = getattr(self._library, "aclose", None)
        if close is not None:
            await close()


def tapped(client: Any) -> Any:
    """Have a client of httpx show each response to the tap of the attempt that asked for it."""
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks.get("response", []), _seen]}
    # A stream in compressed pieces waits for its next piece; and its bytes could not be checked.
    client.headers["accept-encoding"] = "identity"
    return client


def tapping(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, with each client it makes tapped."""

    def made(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        return tapped(client) if client is not None else None

    return made


async def _seen(response: Any) -> None:
    """A response has begun."""
    tap = CURRENT.get()
    if tap is not None:
        tap.seen(response)


def _streams(request: Any) -> bool:
    """Whether a request asks for a stream; Google's says so in its path."""
    try:
        return bool(json.loads(request.content).get("stream")) or "stream" in request.url.path
    except (ValueError, AttributeError, RuntimeError):
        return False


def _is(response: Any, kind: str) -> bool:
    """Whether a response says it is of a kind."""
    return kind in str(response.headers.get("content-type", "")).lower().partition(";")[0]


def _elsewhere(response: Any) -> Told | None:
    """The fault of a response that sends the request to where it may not go (rule 5)."""
    aim = response.headers.get("location")
    if not 300 < response.status_code < 400 or not aim:
        return None
    here = response.request.url
    try:
        there = here.join(aim)
    except Exception:  # httpx has more than one class for an address that is none
        return Told("the server sends the request to an address that is none", 400, {})
    secured = (here.scheme, there.scheme) == ("http", "https")
    same = here.host == there.host and (secured or (here.scheme, here.port) == (there.scheme, there.port))
    if same and response.status_code in (307, 308):
        return None
    place = f"{there.scheme}://{there.netloc.decode('ascii', 'replace')}"
    text = f"the server redirects to {place}, where this request may not go: name it in `api_base`"
    return Told(text, 400, {})


def _relay(stream: Any, tap: Tap) -> Any:
    """A body that checks its bytes before it hands them on."""

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in stream:
            tap.check(piece)
            yield piece
        tap.ended()

    return _body(stream, pieces)


def _begun(stream: Any) -> Any:
    """The beginning of a body: an error without an end must not fill the memory."""

    async def pieces() -> AsyncIterator[bytes]:
        left = _ERROR
        async for piece in stream:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    return _body(stream, pieces)


def _body(stream: Any, pieces: Callable[[], AsyncIterator[bytes]]) -> Any:
    """What httpx takes for a body: that of `stream`, as `pieces` gives it."""
    # Whoever made the response has loaded its class.
    base = next(kind for kind in type(stream).__mro__ if kind.__name__ == "AsyncByteStream")

    class Body(base):  # type: ignore[misc, valid-type]
        """The same body, looked at."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            """The pieces as they come."""
            async for piece in pieces():
                yield piece

        async def aclose(self) -> None:
            """Close it."""
            await stream.aclose()

    return Body()
