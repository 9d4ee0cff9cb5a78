"""Real servers on loopback, each with one way to answer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """What a server has been asked, and where it listens."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(answer: Answer) -> Any:
    """A server that reads a request's head (and body, if any) and answers it so."""
    server = Server()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            server.asked.append(head + (await reader.readexactly(length) if length else b""))
            await answer(server.asked[-1], writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(talk, "127.0.0.1", 0)
    server.port = made.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        made.close()


def whole(status: str = "200 OK", body: bytes = b"hello", **headers: str) -> Answer:
    """The same answer to everything."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer
