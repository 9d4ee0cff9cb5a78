"""Pipe: the lines of a run on their way from the thread that drives it to whoever reads.

Rules of this file:
1. Putting never waits: a reader, however slow, cannot hold up a loop.
2. What is kept is never lost, it waits in memory. A live piece is dropped when the reader is more than
   `LIVE_LIMIT` lines behind.
3. The pipe knows when its reader has read everything and waits for more: only then is nobody about to
   say something.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from loopspec.drivers.lines import Line, LiveLine

LIVE_LIMIT: Final = 5_000


class Pipe:
    """Lines, written by one thread and read by another."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._lines: deque[Line] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._waiting = False
        self._left = False
        self._wake: Callable[[], object] | None = None
        self._idle: Callable[[], object] | None = None

    # ------------------------------------------------------------ the writing side

    def put(self, line: Line) -> None:
        """Hand a line over."""
        with self._changed:
            if self._left:
                return
            if isinstance(line, LiveLine) and len(self._lines) > LIVE_LIMIT:
                return
            self._lines.append(line)
            self._waiting = False
            self._notify()

    def end(self, error: BaseException | None = None) -> None:
        """No more lines; `error` is raised to the reader when it has read them all."""
        with self._changed:
            self._ended, self._error = True, error
            self._notify()

    def when_idle(self, call: Callable[[], object]) -> bool:
        """Whether the reader waits for more, or has left; if not, `call` is called once when it does."""
        with self._changed:
            idle = self._waiting or self._left
            self._idle = None if idle else call
            return idle

    def _notify(self) -> None:
        """Wake whoever waits."""
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()

    # ------------------------------------------------------------ the reading side

    def get(self) -> Line | None:
        """The next line, None at the end; blocks. Raises what ended the run."""
        with self._changed:
            while not (self._lines or self._ended):
                self._rest()
                self._changed.wait()
            return self._take()

    async def next(self) -> Line | None:
        """The next line, None at the end. Raises what ended the run."""
        loop, came = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the reader's event loop has been closed
                loop.call_soon_threadsafe(came.set)

        while True:
            with self._changed:
                if self._lines or self._ended:
                    return self._take()
                self._wake = wake
                self._rest()
            try:
                await came.wait()
            finally:
                with self._changed:
                    self._wake = None
                    self._waiting = False
            came.clear()

    def leave(self) -> None:
        """The reader reads no more."""
        with self._changed:
            self._left = True
            self._lines.clear()
            self._rest()

    def _rest(self) -> None:
        """The reader has read everything and waits."""
        self._waiting = True
        call, self._idle = self._idle, None
        if call is not None:
            call()

    def _take(self) -> Line | None:
        """The oldest line; what ended the run after the last one."""
        self._waiting = False
        if self._lines:
            return self._lines.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None
