"""Output: writing to people and programs without ever stopping the loop.

Rules of this file:
1. A thread writes; the loop only queues. A reader that is slow loses live pieces, never kept ones.
2. A reader that has gone is noticed once, told to whoever asked, and then nothing more is written.
"""

import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import Final, TextIO

LIVE_LIMIT: Final = 5_000
CLOSE_SECONDS: Final = 5.0


class Out:
    """A stream written by its own thread."""

    def __init__(self, stream: TextIO | None) -> None:
        """A stream that is None has no reader."""
        self._stream = stream
        self._told: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self.gone = stream is None
        self._thread = threading.Thread(target=self._work, daemon=True, name="loopspec-out")
        self._thread.start()

    def when_gone(self, call: Callable[[], object]) -> None:
        """Call this, once, when the reader has gone; at once if it has gone already."""
        with self._lock:
            self._told.append(call)
            gone = self.gone
        if gone:
            call()

    def write(self, text: str, *, live: bool = False) -> None:
        """Queue text; a live piece is dropped when the reader is far behind."""
        if self.gone or (live and self._queue.qsize() > LIVE_LIMIT):
            return
        self._queue.put(text)

    def close(self, *, patient: bool = False) -> None:
        """Wait for what is queued to be written: for a bounded time, or until it is if `patient`.

        A signal that ends the process ends the waiting too.
        """
        self._queue.put(None)
        self._thread.join(None if patient else CLOSE_SECONDS)

    def drain(self) -> None:
        """Wait until what is queued has been written, for a bounded time."""
        done = threading.Event()
        self._queue.put(done)
        done.wait(CLOSE_SECONDS)

    def _work(self) -> None:
        """Write what is queued until told to stop."""
        while (first := self._queue.get()) is not None:
            parts: list[str] = []
            waiting: list[threading.Event] = []
            item: str | threading.Event | None = first
            while item is not None:
                if isinstance(item, str):
                    parts.append(item)
                else:
                    waiting.append(item)
                if self._queue.empty():
                    break
                item = self._queue.get()
            if parts and not self.gone:
                self._put("".join(parts))
            for event in waiting:
                event.set()
            if item is None:
                return

    def _put(self, text: str) -> None:
        """Write all of it; a closed or broken stream is gone for good, a full one is waited for."""
        assert self._stream is not None
        data = text.encode(self._stream.encoding or "utf-8", "replace")
        try:
            number = self._stream.fileno()
            while data:
                try:
                    data = data[os.write(number, data) :]
                except BlockingIOError:
                    select.select([], [number], [])
        except (OSError, ValueError):
            with self._lock:
                self.gone = True
                told = list(self._told)
            for call in told:
                call()


def is_terminal() -> bool:
    """Whether a person sits at both ends, and this process may ask: it is not in the background.

    A process in the background that reads from its terminal, or sets its modes, is stopped.
    """
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (ValueError, AttributeError, OSError):
        return False


def standard_input(limit: int = 4 * 1024 * 1024) -> str:
    """What comes on standard input, at most `limit` bytes; bytes that are no UTF-8 stay visible."""
    data = sys.stdin.buffer.read(limit) if sys.stdin is not None else b""
    return data.decode("utf-8", "surrogateescape")
