"""Fallback: the screen while it works, plain text from the moment it does not.

Rules of this file:
1. No fault of the screen reaches the driver: the session goes on, with the plain door in front.
2. The fault is said in one line; the terminal's modes are given back first.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from loopspec.cli.terminal.door import TerminalDoor
from loopspec.cli.text_door import TextDoor
from loopspec.drivers.session import Session
from loopspec.events import Kept, Live
from loopspec.hooks import People
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.views.words import printable

T = TypeVar("T")


class SafeDoor:
    """A `TerminalDoor`, and a `TextDoor` after the first fault of it."""

    def __init__(self, *, yes: bool, ask: bool) -> None:
        """As for the two doors."""
        self.people: People | None = self
        self._yes, self._ask = yes, ask
        self._front: TerminalDoor | TextDoor | None = None
        self._opened: tuple[Session, Any] | None = None
        self._gone: list[Callable[[], Any]] = []
        self._broke = asyncio.Event()
        self.session = ""

    # ------------------------------------------------------------ what the driver calls

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the terminal has gone."""
        self._gone.append(call)
        if self._front is not None:
            self._front.on_gone(call)

    @property
    def gone(self) -> bool:
        """Whether the terminal has gone."""
        return self._front is not None and self._front.gone

    def opened(self, session: Session, driver: Any) -> None:
        """The session is about to run."""
        self._opened, self.session = (session, driver), session.id
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_fault)
        try:
            self._front = TerminalDoor(yes=self._yes, ask=self._ask, broken=self._fall)
            self._front.opened(session, driver)
        except Exception as err:
            self._fall(err)

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed."""
        self._careful(lambda door: door.kept(session, entry))

    def live(self, event: Live) -> None:
        """A live event."""
        self._careful(lambda door: door.live(event))

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """A command was refused."""
        self._careful(lambda door: door.refused(event, reason, accepted))

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """What the person says to this rest."""
        return await self._asked(lambda door: door.at_rest(session, rest))

    async def answer(self, question: str) -> str:
        """What the person says to a tool's question."""
        return await self._asked(lambda door: door.answer(question))

    def ended(self, session: Session, rest: Rest, code: int) -> None:
        """The run is over."""
        self._careful(lambda door: door.ended(session, rest, code))

    def close(self) -> None:
        """Give the terminal back."""
        if self._front is not None:
            self._front.close()

    def ctrl_c(self) -> bool:
        """Ctrl-C, before it interrupts; whether that was all it meant."""
        try:
            return isinstance(self._front, TerminalDoor) and self._front.ctrl_c()
        except Exception as err:
            self._fall(err)
            return False

    def restore(self) -> None:
        """The process ends now."""
        if isinstance(self._front, TerminalDoor):
            self._front.restore()

    # ------------------------------------------------------------ within

    def _careful(self, call: Callable[[Any], None]) -> None:
        """Call the door in front; a fault of the screen puts the plain one there, which is called too."""
        front = self._front
        if front is None:
            return
        try:
            call(front)
        except Exception as err:
            if isinstance(front, TextDoor):
                raise
            self._fall(err)
            call(self._front)

    async def _asked(self, call: Callable[[Any], Awaitable[T]]) -> T:
        """Ask the door in front; when it falls while asking, the plain one asks again."""
        if isinstance(self._front, TextDoor):
            return await call(self._front)
        asking = asyncio.ensure_future(call(self._front))
        falling = asyncio.ensure_future(self._broke.wait())
        try:
            await asyncio.wait({asking, falling}, return_when=asyncio.FIRST_COMPLETED)
            if not self._broke.is_set():
                try:
                    return asking.result()
                except Exception as err:
                    self._fall(err)
        finally:
            for task in (asking, falling):
                task.cancel()
            await asyncio.gather(asking, falling, return_exceptions=True)
        return await call(self._front)

    def _fall(self, err: BaseException) -> None:
        """Put the plain door in front, once."""
        if self._broke.is_set() or self._opened is None:
            return
        self._broke.set()
        old = self._front
        if isinstance(old, TerminalDoor):
            old.close()
        plain = TextDoor(yes=self._yes, terminal=True, ask=self._ask)
        self._front = plain
        for call in self._gone:
            plain.on_gone(call)
        plain.opened(*self._opened)
        why = printable(f"{type(err).__name__}: {err}", 300)
        sys.stdout.flush()
        plain.say(f"the screen failed ({why}); plain text from here on, the session goes on")

    def _loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault in a callback of the loop: the screen's own is a reason to fall."""
        err = context.get("exception")
        frame = err.__traceback__ if isinstance(err, Exception) else None
        while frame is not None:
            name = frame.tb_frame.f_globals.get("__name__", "")
            if str(name).startswith(("prompt_toolkit", "loopspec.cli.terminal")):
                self._fall(err)  # type: ignore[arg-type]
                return
            frame = frame.tb_next
        loop.default_exception_handler(context)
