"""Signals: Ctrl-C interrupts at once; SIGTERM, a lost terminal and a closed output park the session.

Rules of this file:
1. A signal becomes an event; the loop in the spec decides what it means.
2. A person can always leave: what nothing answers to ends the run, and the third Ctrl-C in a row ends
   the process even when the event loop is busy. Nothing is lost by that: what matters is on disk.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

from loopspec.cli.output import is_terminal
from loopspec.errors import Exit, LoopspecError
from loopspec.events import HostSuspended, UserInterrupted
from loopspec.machine.rest import Rest

PATIENCE: Final = 3
PR_SET_DUMPABLE: Final = 4


@contextlib.asynccontextmanager
async def signals(driver: Any, door: Any) -> AsyncIterator[None]:
    """Handle signals for `driver` while the body runs.

    A door with a screen has `ctrl_c` (whether a Ctrl-C meant something to it alone) and `restore`
    (gives the terminal back, for a process that ends at once).
    """
    hear, restore = getattr(door, "ctrl_c", None), getattr(door, "restore", None)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    unheard = [0]
    idle: list[tuple[str, ...]] = []
    last: list[asyncio.Task[None]] = []

    def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def heard() -> None:
        if hear is not None and hear():  # it meant something to the screen alone
            unheard[0] = 0
            return
        if last and not last[0].done():  # an earlier one still waits to be written
            driver.stop(Rest("interrupted"))
            return
        unheard[0] = 0
        last[:] = [begin(_interrupt(driver, idle))]

    def interrupted(number: int, frame: object) -> None:
        unheard[0] += 1
        if unheard[0] >= PATIENCE:
            if restore is not None:
                restore()
            os._exit(Exit.INTERRUPTED)
        with contextlib.suppress(RuntimeError):  # the loop may have closed
            loop.call_soon_threadsafe(heard)

    def gone() -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(parked, "the output was closed")

    def parked(name: str) -> None:
        begin(park(driver, HostSuspended(reason=name)))

    # What the parent has us ignore stays ignored: `nohup` SIGHUP, a script's `&` SIGINT.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, parked, number.name)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # asyncio's own handler needs a free loop; this one counts even while a step computes.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        signal.signal(signal.SIGINT, interrupted)
    door.on_gone(gone)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _interrupt(driver: Any, idle: list[tuple[str, ...]]) -> None:
    """The first Ctrl-C interrupts the work; one that changes nothing lets the next one leave.

    `idle` keeps the configuration in which one has changed nothing.
    """
    snapshot = driver.session.snapshot
    resting = any(
        kind is not None and kind.rests in ("interrupted", "input")
        for kind in map(driver.session.machine.kind_of, snapshot.configuration)
    )
    if snapshot.configuration in idle or driver.recovering or (resting and not snapshot.pending):
        driver.stop(Rest("interrupted"))
        return
    before = snapshot.configuration
    with contextlib.suppress(LoopspecError):
        await driver.tell(UserInterrupted(reason="Ctrl-C"))
    if driver.session.snapshot.configuration == before or not is_terminal():
        idle[:] = [driver.session.snapshot.configuration]
    if driver.session.snapshot.configuration == before and not driver.session.snapshot.pending:
        driver.stop(Rest("interrupted"))


async def park(driver: Any, asked: HostSuspended) -> None:
    """Ask the session to park; one that does not route this is left as the journal has it."""
    if driver.recovering:
        driver.stop(Rest("suspended"))
        return
    with contextlib.suppress(LoopspecError):
        await driver.tell(asked, "host")
    machine, snapshot = driver.session.machine, driver.session.snapshot
    kinds = [machine.kind_of(path) for path in snapshot.configuration]
    if not any(kind is not None and kind.rests == "suspended" for kind in kinds):
        driver.stop(Rest("suspended"))


def keep_to_ourselves() -> None:
    """Keep other processes of the same user from reading this one's environment (Linux only).

    Keys live there, and a shell command could otherwise read them under /proc. Root still can.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def as_interrupt() -> None:
    """From now on SIGTERM and a closed terminal end this process as Ctrl-C does, so that what it has
    begun is cleared away. For commands that drive no session."""

    def heard(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, heard)
