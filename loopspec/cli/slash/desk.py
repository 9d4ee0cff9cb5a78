"""Desk: what a `/` command is given, and what it gives back.

Rules of this file:
1. A command decides nothing and does nothing to the session: what it wants done is in the reply, as
   events for the driver or as a session to open.
2. Lines of a reply are printable as they are: whoever shows them need not look at them again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loopspec.cli.style import Style, printable_block
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.events import Kept
from loopspec.registry import Registry
from loopspec.stores.base import Store
from loopspec.views.words import printable, wrap

NARROW = 20


@dataclass(frozen=True)
class Choice:
    """Something to pick: how it is shown, and the line that picking it is as good as typing.

    An empty line means that nothing happens.
    """

    label: str
    line: str


@dataclass(frozen=True)
class Completion:
    """A way to go on typing: `text` stands for the last `back` characters before the cursor.

    `note` is a word beside it; both are printable.
    """

    text: str
    back: int
    note: str = ""


@dataclass(frozen=True)
class Reply:
    """What came of a line.

    `lines` are to be shown. `events` are to be told to the driver in this order, each when the one before
    was taken; after a refusal the rest is dropped. `leave` ends the terminal, the session stays
    resumable. `fill` is put into the input line. `open` is the id of a session to go on with, in this
    store, once the present one was left. `choose` are things to pick from.
    """

    lines: tuple[str, ...] = ()
    events: tuple[Kept, ...] = ()
    leave: bool = False
    fill: str = ""
    open: str = ""
    choose: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Desk:
    """What a command looks at. `width` is the terminal's columns; `driver` is None where none runs."""

    session: Session
    driver: LocalDriver | None
    registry: Registry
    store: Store
    style: Style
    width: int = 80

    @property
    def workdir(self) -> Path:
        """The session's work directory."""
        return Path(self.session.snapshot.workdir)

    @property
    def room(self) -> int:
        """Columns a line may take."""
        return max(NARROW, self.width)

    def wrapped(self, text: str, first: str = "", rest: str = "  ") -> list[str]:
        """A text from anywhere, printable, in lines that fit."""
        return wrap(printable(text, 4000), self.room, first, rest)

    def block(self, text: str) -> list[str]:
        """A text of several lines, printable, each cut to what fits."""
        return [printable(line, self.room) for line in printable_block(text).split("\n")]


def told(desk: Desk, *lines: str) -> Reply:
    """A reply of a few sentences."""
    return Reply(lines=tuple(line for text in lines for line in desk.wrapped(text)))


def refused(desk: Desk, fault: str, remedy: str = "") -> Reply:
    """A reply to what cannot be: the fault, and what helps."""
    text = f"{fault}. {remedy}" if remedy else fault
    return Reply(lines=tuple(desk.style.warn(line) for line in desk.wrapped(text)))


def joined(
    lines: Sequence[str],
    *,
    events: tuple[Kept, ...] = (),
    open: str = "",
    choose: tuple[Choice, ...] = (),
) -> Reply:
    """A reply of lines that are printable already."""
    return Reply(lines=tuple(lines), events=events, open=open, choose=choose)
