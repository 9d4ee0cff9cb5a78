"""Asking: one line from a terminal, without a thread that could not be stopped."""

import asyncio
import contextlib
import os
import termios

_MAX_LINE = 64 * 1024


def drop_typed(fd: int) -> None:
    """Forget what was typed and not read yet, so that it cannot answer a question nobody saw."""
    with contextlib.suppress(termios.error):
        termios.tcflush(fd, termios.TCIFLUSH)


async def ask_line(fd: int) -> str | None:
    """A line read from `fd`, without its end; None at the end of input. May be cancelled.

    The terminal's own line editing applies. Bytes after the line wait in the terminal for the next
    question, because a terminal hands out one line per read.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()
    parts: list[bytes] = []

    def readable() -> None:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        parts.append(data)
        whole = b"".join(parts)
        if (not data or b"\n" in data or len(whole) > _MAX_LINE) and not found.done():
            found.set_result(whole)

    loop.add_reader(fd, readable)
    try:
        line = await found
    finally:
        loop.remove_reader(fd)
    if not line:
        return None
    return line.decode("utf-8", "replace").split("\n")[0].rstrip("\r")
