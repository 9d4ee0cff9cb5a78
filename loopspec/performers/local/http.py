"""HTTP: one request and its response, over a connection of its own.

The protocol is h11's, the connection asyncio's: together half a megabyte and seven milliseconds, where
a client of httpx takes thirteen and a hundred (`docs/why/local.md`). A library for connections that
stay open, proxies, redirects and cookies has nothing to do here.

Rules of this file:
1. A response is read as it comes, never gathered, and what is gathered (an error's text) is bounded.
2. However it ends, the socket is closed at once.
3. Proxies of the environment are not for this machine, and redirects lead nowhere.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Final

import h11

from loopspec.performers.local.address import Address

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS: Final = 10.0
"""The longest wait for a connection; a server that is up accepts one in milliseconds."""
_HINT: Final = " (LOOPSPEC_LOCAL_BASE names another address)"
HEAD_BYTES: Final = 64 * 1024
"""The most a response's head may take."""
PIECE_BYTES: Final = 64 * 1024


class Exchange:
    """One request and its response."""

    def __init__(self, address: Address) -> None:
        """Nothing is opened yet."""
        self._address = address
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.status = 0
        self.headers: dict[str, str] = {}

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        """Send a request and read the head of its response into `status` and `headers`.

        `path` follows the address's prefix. Raises `OSError` when there is no connection, and
        `h11.RemoteProtocolError` for an answer that is no HTTP.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._reader, self._writer = await asyncio.open_connection(
                    self._address.host, self._address.port, ssl=_tls(self._address)
                )
        except TimeoutError:
            late = f"no connection to {self._address} in {CONNECT_SECONDS:g} s{_HINT}"
            raise ConnectionError(late) from None
        except OSError as error:
            raise ConnectionError(f"no connection to {self._address}: {error}{_HINT}") from None
        lines = {
            "host": self._address.authority,
            "user-agent": "loopspec",
            "accept-encoding": "identity",
            "connection": "close",
            **headers,
            "content-length": str(len(body)),
        }
        request = h11.Request(method=method, target=self._address.prefix + path, headers=[*lines.items()])
        self._send(request)
        if body:
            self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        await self._writer.drain()
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise ConnectionError(f"{self._address} closed the connection without an answer")
        self.status = event.status_code
        self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. A body that is cut off just ends: its own protocol tells."""
        while True:
            try:
                event = await self._next()
            except h11.RemoteProtocolError:
                return
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def body(self, limit: int) -> bytes:
        """At most `limit` bytes of the body."""
        out = b""
        async for piece in self.pieces():
            out += piece
            if len(out) >= limit:
                break
        return out[:limit]

    def close(self) -> None:
        """Close the socket now; safe to call twice."""
        if self._writer is not None:
            self._writer.transport.abort()

    def _send(self, event: h11.Event) -> None:
        """Write one event."""
        assert self._writer is not None
        data = self._protocol.send(event)
        if data:
            self._writer.write(data)

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        """The next event of the response."""
        assert self._reader is not None
        while True:
            event = self._protocol.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self._protocol.receive_data(await self._reader.read(PIECE_BYTES))


def _tls(address: Address) -> "ssl.SSLContext | None":
    """The context for an `https` address, None for another."""
    if not address.tls:
        return None
    import ssl

    return ssl.create_default_context()
