"""Aside: blocking work in a thread that an interruption can end.

Rule of this file: when the awaiting task is cancelled, the thread is told to stop and waited for,
so that nothing goes on behind the back of a tool that has answered.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from loopspec.hooks import ToolFailed

T = TypeVar("T")


class Stop:
    """A flag a thread looks at between two pieces of work."""

    def __init__(self) -> None:
        """A flag that is not set."""
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to stop at its next `check`."""
        self._event.set()

    def check(self) -> None:
        """Raise `ToolFailed` when the work was asked to stop."""
        if self._event.is_set():
            raise ToolFailed("interrupted before it was done; nothing was changed")


async def work(function: Callable[[Stop], T], late: Callable[[T], None] | None = None) -> T:
    """Run `function` in a thread and give back its result.

    When cancelled: sets the flag, waits for the thread, and raises `CancelledError`; if the thread
    had finished its work all the same, `late` is called with the result first, so that an act that
    did happen is not left unsaid.
    """
    stop = Stop()
    task = asyncio.ensure_future(asyncio.to_thread(function, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({task})
        # Its failure is looked at in any case, so that it is not reported as forgotten.
        whole = not task.cancelled() and task.exception() is None
        if whole and late is not None:
            late(task.result())
        raise


async def settled(doing: Awaitable[T]) -> T:
    """Await `doing` to its end even when cancelled meanwhile; the cancellation follows after it."""
    task = asyncio.ensure_future(doing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
        raise
