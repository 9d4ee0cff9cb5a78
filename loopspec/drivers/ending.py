"""Ending: an event loop that ends although something in it will not."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

GRACE: Final = 3.0
"""Seconds that work which was cancelled may take to end once the run is over."""


async def _close_generators(loop: asyncio.AbstractEventLoop) -> None:
    """Close what libraries have left half read; one that will not close is left."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(loop.shutdown_asyncgens(), GRACE)


def run_to_end(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Run `work` in an event loop of its own; gives back its result and whether something would not stop.

    `asyncio.run` waits without a limit for tasks that swallow their cancellation.
    """
    loop = asyncio.new_event_loop()
    left: set[asyncio.Task[Any]] = set()
    try:
        try:
            result = loop.run_until_complete(work)
        finally:  # also when it raised: whoever waits for a task of it must hear that it has ended
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
            loop.run_until_complete(_close_generators(loop))
        return result, any(not task.done() for task in left)
    finally:
        if not any(not task.done() for task in asyncio.all_tasks(loop)):
            loop.close()
