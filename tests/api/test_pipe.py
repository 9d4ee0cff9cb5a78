"""The pipe between a run and its reader: nothing kept is lost, nobody waits for a slow reader."""

import asyncio
import threading

import pytest

from loopspec.api.pipe import LIVE_LIMIT, Pipe
from loopspec.drivers.lines import LiveLine, Opened
from loopspec.events import Progress

LIVE = LiveLine("s", "progress", Progress("x"))


def kept(n: int) -> Opened:
    """A line that may not be lost."""
    return Opened(session=str(n), name="x")


def test_a_reader_that_reads_nothing_loses_live_lines_and_no_other() -> None:
    pipe = Pipe()
    for n in range(LIVE_LIMIT * 2):
        pipe.put(LIVE)
        pipe.put(kept(n))
    pipe.end()
    got = []
    while (line := pipe.get()) is not None:
        got.append(line)
    assert [line.session for line in got if isinstance(line, Opened)] == [
        str(n) for n in range(LIVE_LIMIT * 2)
    ]
    assert 0 < sum(isinstance(line, LiveLine) for line in got) <= LIVE_LIMIT


def test_what_ended_the_run_comes_after_the_last_line_and_once() -> None:
    pipe = Pipe()
    pipe.put(kept(1))
    pipe.end(ValueError("gone"))
    assert pipe.get() == kept(1)
    with pytest.raises(ValueError, match="gone"):
        pipe.get()
    assert pipe.get() is None


def test_idle_is_a_reader_that_has_read_everything_and_waits() -> None:
    pipe, idle = Pipe(), threading.Event()
    assert not pipe.when_idle(idle.set)
    pipe.put(kept(1))
    reader = threading.Thread(target=lambda: [pipe.get(), pipe.get()])
    reader.start()
    assert idle.wait(60)
    assert pipe.when_idle(idle.clear) and idle.is_set()
    pipe.end()
    reader.join(60)
    assert not reader.is_alive()


def test_an_async_reader_is_woken_from_another_thread() -> None:
    pipe = Pipe()

    async def read() -> list[object]:
        writer = threading.Thread(target=lambda: [pipe.put(kept(1)), pipe.put(kept(2)), pipe.end()])
        asyncio.get_running_loop().call_soon(writer.start)
        return [await pipe.next(), await pipe.next(), await pipe.next()]

    assert asyncio.run(read()) == [kept(1), kept(2), None]


def test_a_reader_that_was_cancelled_does_not_count_as_waiting() -> None:
    pipe = Pipe()

    async def give_up() -> None:
        reading = asyncio.create_task(pipe.next())
        while not pipe.when_idle(lambda: None):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert not pipe.when_idle(lambda: None)

    asyncio.run(give_up())
    pipe.put(kept(1))
    assert pipe.get() == kept(1)
