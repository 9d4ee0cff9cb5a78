"""An event loop that ends tells everybody who waits in it."""

import asyncio

import pytest

from loopspec.drivers.ending import run_to_end


def test_a_task_that_waits_hears_of_the_end_also_when_the_run_has_failed() -> None:
    heard: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("over")
            raise

    async def work() -> None:
        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        assert not task.done()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        run_to_end(work())
    assert heard == ["over"]
