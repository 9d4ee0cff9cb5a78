"""Threads that never keep a process alive: blocking work whose deadline has passed is left behind."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor for asyncio: one daemon thread per piece of work, none waited for at the end.

    asyncio wants a `ThreadPoolExecutor`; its own waits for every thread when the loop closes, for ever
    when one hangs on a dead network mount.
    """

    def __init__(self, limit: int = 64) -> None:
        """`limit` is how many threads may work at once."""
        super().__init__(max_workers=1)
        self._room = threading.BoundedSemaphore(limit)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Run `fn` in a daemon thread of its own."""
        future: Future[T] = Future()

        def work() -> None:
            with self._room:
                if not future.set_running_or_notify_cancel():
                    return
                try:
                    result = fn(*args, **kwargs)
                except BaseException as err:
                    future.set_exception(err)
                else:
                    future.set_result(result)

        threading.Thread(target=work, daemon=True, name="loopspec-aside").start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)
