"""Handed: a command that was handed in, and what came of it."""

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any

from loopspec.errors import UsageError
from loopspec.machine.step import REFUSED


class Refused(UsageError):
    """The loop did not take a command here; nothing has changed. `accepted` are those it would take."""

    def __init__(self, fault: str, accepted: tuple[str, ...]) -> None:
        """Say why, and what would be taken."""
        super().__init__(fault, remedy=f"accepted here: {', '.join(accepted) or 'nothing'}")
        self.accepted = accepted


class Handed:
    """A command on its way. Await it, or call `wait`, to know that it is on disk.

    Nobody has to: it was handed in when it was made. One that waits for the next run is done at once.
    """

    def __init__(self, *futures: "Future[Any]") -> None:
        """What will come of it."""
        self._futures = futures

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is committed; raises `Refused` if it was refused, `LoopspecError` if the run
        ended before."""
        for future in self._futures:
            # Shielded: whoever stops waiting takes nothing back.
            _judge((yield from asyncio.shield(asyncio.wrap_future(future)).__await__()))

    def wait(self, seconds: float | None = None) -> None:
        """As awaiting it, for code that is not async; raises `TimeoutError` after `seconds`."""
        for future in self._futures:
            _judge(future.result(seconds))


def _judge(step: Any) -> None:
    """Raise `Refused` for a step that was refused."""
    if step is not None and step.outcome == REFUSED:
        raise Refused(step.refusal, step.accepted)
