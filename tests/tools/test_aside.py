"""Blocking work beside the loop: how it ends when it is interrupted."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from loopspec.hooks import ToolFailed
from loopspec.tools.aside import Stop, work


def test_work_that_is_interrupted_leaves_no_failure_unseen() -> None:
    told: list[dict[str, Any]] = []
    begun = threading.Event()

    def busy(stop: Stop) -> None:
        begun.set()
        while True:
            stop.check()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        task = asyncio.ensure_future(work(busy))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()

    asyncio.run(main())
    assert told == []


def test_work_that_was_done_all_the_same_is_said() -> None:
    begun, go, said = threading.Event(), threading.Event(), list[str]()

    def slow(stop: Stop) -> str:
        begun.set()
        go.wait()
        return "done"

    async def main() -> None:
        task = asyncio.ensure_future(work(slow, said.append))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        asyncio.get_running_loop().call_soon(go.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert said == ["done"]


def test_a_failure_of_the_work_is_the_workers() -> None:
    def failing(stop: Stop) -> None:
        raise ToolFailed("no")

    with pytest.raises(ToolFailed, match="no"):
        asyncio.run(work(failing))
