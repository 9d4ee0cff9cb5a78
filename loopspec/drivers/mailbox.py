"""Mailbox: what a driver's loop waits at: events that were handed in, a clock, or a knock."""

import asyncio
from collections import deque
from typing import Generic, TypeAlias, TypeVar

from loopspec.errors import LoopspecError
from loopspec.events import Kept
from loopspec.machine.step import Step

T = TypeVar("T")
Told: TypeAlias = tuple[Kept, str, "asyncio.Future[Step] | None"]
"""An event that was handed in, by whom, and who waits for what comes of it."""


class Mailbox(Generic[T]):
    """A queue for one waiter, cheaper than `asyncio.Queue` beside other things to wait for."""

    def __init__(self) -> None:
        """An empty box."""
        self._items: deque[T] = deque()
        self._knocked = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether something is in it."""
        return bool(self._items)

    def put(self, item: T) -> None:
        """Hand something in."""
        self._items.append(item)
        self._knocked.set()

    def knock(self, *_: object) -> None:
        """Make the waiter look up, with nothing to hand in."""
        self._knocked.set()

    def take(self) -> T:
        """The oldest item; raises `IndexError` when there is none."""
        return self._items.popleft()

    async def next(self, seconds: float | None) -> T | None:
        """The oldest item, or None after a knock or after `seconds` (None: any time).

        A knock counts once, and also when it came since the last wait.
        """
        if not self._items:
            if seconds is None:
                await self._knocked.wait()
            elif not self._knocked.is_set():
                alarm = asyncio.get_running_loop().call_later(seconds, self._knocked.set)
                try:
                    await self._knocked.wait()
                finally:
                    alarm.cancel()
        self._knocked.clear()
        return self._items.popleft() if self._items else None


def turn_away(box: Mailbox[Told], why: str) -> list[tuple[Kept, str]]:
    """Empty the box; whoever waits for an event of it hears `why` nothing came of it."""
    left: list[tuple[Kept, str]] = []
    while box:
        event, by, done = box.take()
        left.append((event, by))
        if done is not None and not done.done():
            done.set_exception(LoopspecError(why))
            done.exception()  # its waiter may be gone
    return left
