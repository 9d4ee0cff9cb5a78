"""Conformance, what every trial needs: accounts, work directories, cancelling."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 10.0
"""Seconds that something which was cancelled may take to end."""


@dataclass
class Account:
    """What was tried with `subject`: each promise with what was wrong, empty where it was kept."""

    subject: str
    promises: dict[str, str] = field(default_factory=dict)

    def note(self, promise: str, fault: str = "") -> bool:
        """Write down a promise; whether it was kept."""
        self.promises[promise] = fault
        return not fault

    @property
    def faults(self) -> list[str]:
        """The promises that were broken, each with what was wrong."""
        return [f"{promise}: {fault}" for promise, fault in self.promises.items() if fault]

    def check(self) -> None:
        """Raise `AssertionError`, showing everything, unless all was kept."""
        if self.faults:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        """The report: a line for each promise."""
        lines = [f"{self.subject}: {len(self.promises)} promises, {len(self.faults)} broken"]
        for promise, fault in self.promises.items():
            lines.append(f"  {'BROKEN' if fault else 'kept  '}  {promise}" + (f": {fault}" * bool(fault)))
        return "\n".join(lines)


async def ends_when_cancelled(
    work: Callable[[], Awaitable[Any]], begun: asyncio.Event | None, ticks: int = 1
) -> str:
    """Start, cancel, wait; what was wrong with how it ended (empty: nothing).

    It is cancelled when `begun` is set, or after `ticks` turns of the event loop.
    """
    before = asyncio.all_tasks()
    children = _children()
    task = asyncio.ensure_future(work())
    waits: set[asyncio.Future[Any]] = {task}
    if begun is not None:
        waits.add(asyncio.ensure_future(begun.wait()))
        await asyncio.wait(waits, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(0 if begun is not None else ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    if not task.done():
        return f"it did not end within {PATIENCE:.0f} s"
    for one in waits - {task}:
        one.cancel()
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:  # a process that was killed takes a moment to be gone
        left = [t for t in asyncio.all_tasks() - before if not t.done()]
        more = {pid: name for pid, name in _children().items() if pid not in children}
        if not left and not more:
            return ""
        if loop.time() > end:
            return f"it left {len(left)} tasks and the processes {more} running"
        await asyncio.sleep(0.02)


def _children() -> dict[int, str]:
    """The living children of this process with their names; empty where that cannot be seen."""
    found: dict[int, str] = {}
    try:
        for task in Path("/proc/self/task").iterdir():
            for pid in (task / "children").read_text().split():
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
                if not rest.startswith(" Z"):  # one that has ended and was not collected yet
                    found[int(pid)] = name.partition("(")[2]
    except OSError:  # not Linux, or it is gone by now
        return {}
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes: to see whether anything has changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


@dataclass
class Folder:
    """A temporary work directory with files in it."""

    files: Mapping[str, str]

    def __enter__(self) -> Path:
        """Make it."""
        self._made = tempfile.TemporaryDirectory(prefix="loopspec-conformance-")
        where = Path(os.path.realpath(self._made.name))
        for name, text in self.files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_text(text, encoding="utf-8")
        return where

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self._made.cleanup()
