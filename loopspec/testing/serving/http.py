"""HTTP: just enough of it for one request a connection, on loopback.

Rules of this file:
1. A request is bounded in size and read whole; the connection is closed after its answer.
2. A client that goes away ends its answer and nothing else.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BODY: Final = 64 * 1024 * 1024
_SECRET: Final = ("authorization", "x-api-key", "api-key", "cookie")
HIDDEN: Final = "[hidden]"


@dataclass(frozen=True)
class Asked:
    """A request that came: `body` is its JSON, None when it is none. Keys in headers are hidden."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


class Client:
    """The client of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the connection over."""
        self._reader, self._writer = reader, writer
        self._chunked = False

    async def asked(self) -> Asked | None:
        """The request, None when the connection was closed before one came."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, *_ = [*first.split(" "), "", ""]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers[name] = HIDDEN if name in _SECRET else value.strip()
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > MAX_BODY:
            return None
        try:
            data = await self._reader.readexactly(int(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        try:
            body = json.loads(data) if data else None
        except ValueError:
            body = None
        return Asked(method.upper(), target.partition("?")[0], headers, body)

    async def head(self, status: int, headers: Mapping[str, str], *, chunked: bool = False) -> None:
        """The status line and the headers."""
        self._chunked = chunked
        lines = [f"HTTP/1.1 {status} Test", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if chunked:
            lines.append("transfer-encoding: chunked")
        await self._write("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        """A piece of the body; as a chunk of its own where the body goes in chunks."""
        if self._chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        await self._write(data)

    async def finish(self) -> None:
        """The end of a whole body."""
        if self._chunked:
            await self._write(b"0\r\n\r\n")

    async def gone(self) -> None:
        """Wait until the client has closed its side."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(4096):
                pass

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _write(self, data: bytes) -> None:
        """Write, and wait until the client keeps up."""
        self._writer.write(data)
        await self._writer.drain()
