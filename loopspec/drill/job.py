"""Job: what is tortured, and what is done to it. Plain values, ready before the first fork."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loopspec.drivers.local import LocalDriver
from loopspec.errors import UsageError
from loopspec.events import SessionStarted
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.registry import Registry
from loopspec.snapshot import Snapshot
from loopspec.stores.base import Store

KILL: Final = "kill"
TERM: Final = "term"
HANGUP: Final = "hangup"
FULL: Final = "full"
HARMS: Final = (KILL, TERM, HANGUP, FULL)
"""SIGKILL; SIGTERM; the terminal is closed; the disk is full from the next page on."""

PROMPT: Final = "Do what there is to do."

Signals = Callable[[LocalDriver, Any], AbstractAsyncContextManager[None]]
StoreMaker = Callable[[Path, Callable[[str], None]], Store]


@dataclass(frozen=True)
class Point:
    """The `nth` time (from 1) that the point called `name` is reached."""

    name: str
    nth: int

    def __str__(self) -> str:
        """`name#nth`, as the command line takes it."""
        return f"{self.name}#{self.nth}"


@dataclass(frozen=True)
class Case:
    """One torture: `harm` is done at `point`; with `again`, the resume is killed at its `again`th
    point, counting all names."""

    harm: str
    point: Point
    again: int = 0

    def __str__(self) -> str:
        """`NAME#N`, `term@NAME#N`, `NAME#N+J`."""
        head = "" if self.harm == KILL else f"{self.harm}@"
        return f"{head}{self.point}" + (f"+{self.again}" if self.again else "")


@dataclass(frozen=True)
class Job:
    """A loop that is ready to be run any number of times.

    `started` is entry 0's event, its `workdir` filled in for each run; `prompts` are said in turn
    whenever the loop rests for a message. `ends` gives the exit code a rest means, `signals` handles
    signals as the command line does, and `terminal` makes the door for people at a terminal (it
    writes to this process's standard output). `store` is there for tests that sabotage it.
    """

    machine: Machine
    registry: Registry
    started: SessionStarted
    workdir: Path | None
    prompts: tuple[str, ...]
    ends: Callable[[Rest, Snapshot], int]
    signals: Signals
    terminal: Callable[[], Any]
    store: StoreMaker | None = None
    seconds: float = field(default=120.0)


def parse_case(text: str) -> Case:
    """A case from its words; raises `UsageError`."""
    harm, _, rest = text.rpartition("@")
    body, _, again = rest.partition("+")
    name, _, nth = body.rpartition("#")
    numbers = nth.isdecimal() and (not again or again.isdecimal())
    if (harm or KILL) not in HARMS or not name or not numbers or int(nth) < 1:
        raise UsageError(
            f"`{text}` names no case",
            remedy="copy one from the report: NAME#N, term@NAME#N, hangup@NAME#N, full@NAME#N",
        )
    return Case(harm or KILL, Point(name, int(nth)), int(again or 0))
