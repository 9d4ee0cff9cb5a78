"""Checker: the bytes of one stream go in, its chunks come out, or it says where the stream is damaged.

Rules of this file:
1. Nothing is given out that was not checked, and nothing after the first fault.
2. An error the provider puts into its stream ends the attempt, wherever it stands.
3. Whether the reply is whole is told by the protocol's own events, never by the end of the bytes.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from loopspec.performers.wire.chat import Chat
from loopspec.performers.wire.chunks import Chunk
from loopspec.performers.wire.faults import Damage, Told, told
from loopspec.performers.wire.gemini import Gemini
from loopspec.performers.wire.messages import Messages
from loopspec.performers.wire.protocol import Protocol
from loopspec.performers.wire.responses import Responses
from loopspec.performers.wire.sse import Event, Events

PROTOCOLS: Final[Mapping[str, type[Protocol]]] = {
    "/chat/completions": Chat,
    "/messages": Messages,
    "/responses": Responses,
    ":streamGenerateContent": Gemini,
}
DONE: Final = "[DONE]"


def protocol_of(path: str) -> type[Protocol] | None:
    """The protocol spoken at a URL's path, None for one that is not known here."""
    found = (kind for end, kind in PROTOCOLS.items() if path.rstrip("/").endswith(end))
    return next(found, None)


class Checker:
    """Checks one stream. Without a protocol only its form is checked, and no chunks come of it."""

    def __init__(self, protocol: Protocol | None, headers: Mapping[str, str]) -> None:
        """`headers` are those of the response."""
        self._events = Events()
        self._protocol = protocol
        self._headers = headers
        self._done = False
        self.bytes = 0

    @property
    def whole(self) -> bool:
        """Whether everything the reply needs has come."""
        return self._protocol is not None and self._protocol.whole

    @property
    def over(self) -> bool:
        """Whether the last event of the protocol has come; what follows is of no interest."""
        return self._done or (self._protocol is not None and self._protocol.over)

    def feed(self, piece: bytes) -> Iterator[Chunk]:
        """The chunks that are complete now; raises `Damage`, or `Told` for an error of the provider's."""
        self.bytes += len(piece)
        for event in self._events.feed(piece):
            if self.over:
                return
            yield from self._take(event)

    def end(self) -> None:
        """The bytes have ended; raises `Damage` for what stands at the end. That something is missing is
        no fault of this kind: see `whole`."""
        if not self.over:
            self._events.end()

    def _take(self, event: Event) -> Iterator[Chunk]:
        """Check one event."""
        if event.data == DONE:
            self._done = True
            return
        data = _parsed(event.data)
        if data is None and event.name == "error":
            raise told(event.data, self._headers)
        if data is None:
            raise Damage(f"event {event.number}: its data are no JSON")
        if not isinstance(data, dict):
            raise Damage(f"event {event.number}: its data are no JSON object")
        if (fault := _error(event.name, data)) is not None:
            raise told(fault, self._headers)
        if self._protocol is None:
            return
        try:
            yield from self._protocol.take(event.name, data)
        except Damage as damage:
            raise Damage(f"event {event.number}: {damage}") from None


def refusal(body: bytes, headers: Mapping[str, str]) -> Damage | Told:
    """The fault of a response that is JSON, or a page, where a stream was asked for."""
    data = _parsed(body.decode("utf-8", "replace"))
    fault = _error("", data) if isinstance(data, dict) else None
    return told(fault, headers) if fault is not None else Damage("the response is no event stream")


def _parsed(text: str) -> Any:
    """The JSON value of a text, None if it is none (or null, which no event is)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _error(name: str, data: Mapping[str, Any]) -> Any:
    """The error that an event tells of, None for any other event."""
    inner = data.get("error")
    kind = data.get("type")
    if kind == "response.failed":
        response = data.get("response")
        inner = response.get("error") if isinstance(response, dict) else None
        return inner or "the provider says that the response failed"
    if kind == "error" or name == "error":
        return inner or {k: v for k, v in data.items() if k != "type"}
    return inner if inner and not (isinstance(kind, str) and kind.startswith("response.")) else None
