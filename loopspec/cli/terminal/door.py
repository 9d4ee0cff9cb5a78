"""The door for a person at a terminal: what happens scrolls by, what goes on stands below it.

Rules of this file:
1. The door decides nothing: it shows, it asks, and what a person wants is told to the driver.
2. What the driver calls never waits for the terminal.
3. Ctrl-C and the end of input always leave in the end; nothing is lost by leaving.
"""

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from loopspec.cli.cards import restful
from loopspec.cli.exits import words_of
from loopspec.cli.style import printable_block
from loopspec.cli.terminal.approving import Approving
from loopspec.cli.terminal.asker import Asker
from loopspec.cli.terminal.completing import Completing
from loopspec.cli.terminal.device import Device
from loopspec.cli.terminal.framing import Framing
from loopspec.cli.terminal.history import TypedLines
from loopspec.cli.terminal.interrupted import Interrupted
from loopspec.cli.terminal.keys import bind
from loopspec.cli.terminal.look import look_here
from loopspec.cli.terminal.saying import Saying
from loopspec.cli.terminal.screen import Screen
from loopspec.cli.terminal.showing import Showing
from loopspec.cli.terminal.slashes import Slashes
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError
from loopspec.events import HostSuspended, Kept, Live, UserInterrupted, name_of
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest, resting
from loopspec.registry import installed
from loopspec.views.words import printable

TWICE: Final = 3.0
"""Seconds in which a second key confirms leaving."""
BUSY_BEAT: Final = 0.2
QUIET_BEAT: Final = 1.0


class TerminalDoor:
    """Shows a run in the terminal and asks the person there. `Hands` of its keys, too."""

    def __init__(self, *, yes: bool, ask: bool, broken: Callable[[BaseException], None]) -> None:
        """`ask`: wait for messages when the session rests. `broken` is told when the screen cannot
        go on."""
        self.people = self
        self._yes, self._ask, self._broken = yes, ask, broken
        self._look = look_here()
        self._style = self._look.style
        self._device = Device(self._look)
        self._one = asyncio.Lock()  # one question at a time, whoever asks
        self._rest: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._warned = (-TWICE, "")
        self._aside = False  # an editor or a stop has the terminal
        self._beat: asyncio.TimerHandle | None = None
        self.session = ""

    # ------------------------------------------------------------ what the driver calls

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the terminal has gone."""
        self._device.writer.when_gone(call)

    @property
    def gone(self) -> bool:
        """Whether the terminal has gone."""
        return self._device.writer.gone

    def opened(self, session: Session, driver: Any) -> None:
        """The session is about to run: build the screen and name the session."""
        self._session, self._driver, self.session = session, driver, session.id
        history = TypedLines(session.store.directory, session.redactor.holds)
        self._screen = Screen(self._device, self._look, self._frame, self._fault, history)
        screen = self._screen
        self._asker = Asker(screen)
        self._showing = Showing(session, self._look, screen.say)
        registry = installed()
        self._approving = Approving(session, screen, self._asker, registry)
        self._menu = Interrupted(session, screen, self._asker)
        slashes = Slashes.of(session, driver, registry, self._style, screen.columns)
        self._completing = Completing(screen, slashes)
        self._saying = Saying(session, driver, screen, self._asker, self._menu, slashes, self._leave)
        self._framing = Framing(
            session, self._look, self._showing, self._asker, self._menu, self._completing
        )
        bind(screen, self._asker, self)
        machine = session.machine
        screen.say(
            self._style.dim(f"{machine.name} {machine.version} · session {session.id}"),
            self._style.dim(printable(f"in {session.snapshot.workdir}", screen.columns)),
            self._style.dim(f"if this process dies: loopspec resume {session.id}"),
        )
        screen.start()
        self._tick()

    def kept(self, session: Session, entry: Entry) -> None:
        """Show what an entry means to a person."""
        self._showing.kept(session, entry)
        self._screen.dirty()

    def live(self, event: Live) -> None:
        """Show a piece of a stream."""
        self._showing.live(event)
        self._screen.dirty()

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """Say why a command was not taken, and what would be."""
        if isinstance(event, UserInterrupted):
            return  # pressed twice, or while it stops already
        self._screen.say(
            self._style.warn(printable(f"not taken: {name_of(event)}: {reason}", 400))
            + self._style.dim(f" (accepted here: {', '.join(accepted)})")
        )

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """Ask the person what the session waits for."""
        async with self._one:
            match rest.reason:
                case "approval":
                    return await self._approving.ask(self._yes)
                case "interrupted":
                    return await self._menu.ask()
                case "input":
                    if self._ask or self._screen.line.text.strip():
                        await self._wait()
                    return None
                case "outbox":  # it goes on by itself; a question whose rest has passed is called off
                    await asyncio.get_running_loop().create_future()
                    return None
                case _:
                    return None

    def ended(self, session: Session, rest: Rest, code: int) -> None:
        """How it ended, and how to go on."""
        self._showing.end()
        words = words_of(session.machine, session.snapshot, rest)
        lines = restful(session, words).split("\n")
        self._screen.say("", *(self._style.dim(line) for line in lines))
        self._end()

    def close(self) -> None:
        """Give the terminal back."""
        self._end()
        self._device.writer.drain()
        self._device.restore()
        self._device.writer.close()

    def restore(self) -> None:
        """The process ends now: give the terminal its modes back."""
        self._device.restore()

    # ------------------------------------------------------------ asking

    async def answer(self, question: str) -> str:
        """Put a tool's question to the person (see `loopspec.hooks.People`)."""
        async with self._one:
            self._screen.say("", self._style.strong("? ") + printable_block(question))
            hint = ["Enter answers; Esc interrupts"]
            found = await self._asker.edit("answer: ", "", hint, first=True)
            if found is None:
                await self._interrupt()  # which cancels the tool, and so this
            return found or ""

    async def _wait(self) -> None:
        """Wait until the person leaves; a message is told by whoever reads it."""
        self._rest = asyncio.get_running_loop().create_future()
        try:
            await self._rest
        finally:
            self._rest = None

    # ------------------------------------------------------------ what keys do

    def submit(self, text: str) -> None:
        """A line was sent."""
        self._completing.clear()
        self._begin(self._saying.take(text))

    def escape(self) -> None:
        """Back from where one is, else an interrupt."""
        if self._completing.clear() or self._asker.back():
            self._screen.dirty()
        elif not self._rests("input", "interrupted"):
            self._begin(self._interrupt())

    def ctrl_c(self) -> bool:
        """Ctrl-C, before it interrupts; whether that was all it meant."""
        if self._aside:
            return True  # it was meant for the editor
        if self._rests("input", "interrupted") and self._screen.line.text:
            self._screen.line.reset()
            return True
        if self._rests("input"):
            return not self._twice("Ctrl-C", "Ctrl-C again leaves; the session can be resumed")
        return False

    def end_of_input(self) -> None:
        """Ctrl-D in an empty line."""
        if self._asker.leave():
            return
        working = resting(self._session.machine, self._session.snapshot) is None
        if not working or self._twice("Ctrl-D", "Ctrl-D again parks the session and leaves"):
            self._leave("")

    def stop(self) -> None:
        """Ctrl-Z."""

        async def work() -> None:
            os.kill(0, signal.SIGTSTP)

        self._begin(self._away(work))

    def show_output(self) -> None:
        """Ctrl-O."""

        async def work() -> None:
            self._screen.say(*await asyncio.to_thread(self._showing.whole))

        self._begin(work())

    def up(self) -> None:
        """Up in an empty line: the newest waiting message, else what was typed before."""

        async def work() -> None:
            if not await self._saying.take_back(self._showing.withdraw):
                self._screen.line.history_backward()

        self._begin(work())

    def complete(self) -> None:
        """Tab."""
        self._completing.complete()
        self._screen.dirty()

    # ------------------------------------------------------------ leaving

    def _leave(self, then: str = "") -> None:
        """End the run; `then` is the session to go on with."""
        if then:
            atexit.register(_go_on, then, str(self._session.store.directory))
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
        elif self._menu.open:
            self._menu.leave()
        elif not self._asker.leave():
            self._begin(self._park())

    async def _park(self) -> None:
        """Leave in the middle of work: the loop is asked to park, as on SIGTERM."""
        from loopspec.cli.signals import park

        await park(self._driver, HostSuspended(reason="the person has left"))

    async def _interrupt(self) -> None:
        await self._driver.tell(UserInterrupted(reason="Esc"))

    def _twice(self, key: str, words: str) -> bool:
        """Whether a key was pressed for the second time in short order; else say what that does."""
        now = asyncio.get_running_loop().time()
        at, last = self._warned
        if last == key and now - at < TWICE:
            return True
        self._warned = (now, key)
        self._framing.notice = (words, now + TWICE)
        self._screen.dirty()
        return False

    # ------------------------------------------------------------ within

    def _rests(self, *reasons: str) -> bool:
        found = resting(self._session.machine, self._session.snapshot)
        return found is not None and found.reason in reasons

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what a key asked for, beside the loop."""

        async def careful() -> None:
            try:
                await work
            except LoopspecError as err:
                self._screen.say(self._style.warn(printable(f"  {err}", 400)))
            except Exception as err:
                self._fault(err)

        task = asyncio.get_running_loop().create_task(careful())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _away(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """The terminal is somebody else's for a while."""
        self._aside = True
        try:
            await self._screen.aside(work)
        finally:
            self._aside = False

    def _frame(self, columns: int, rows: int) -> Any:
        self._showing.width = columns
        self._completing.resized(columns)
        return self._framing.frame(columns, rows)

    def _tick(self) -> None:
        """Times go on although nothing happens; at rest, more slowly."""
        loop = asyncio.get_running_loop()
        rest = resting(self._session.machine, self._session.snapshot)
        self._framing.beat += 1
        self._screen.dirty()
        self._beat = loop.call_later(BUSY_BEAT if rest is None else QUIET_BEAT, self._tick)

    def _fault(self, err: BaseException) -> None:
        """The screen cannot go on."""
        if isinstance(err, EOFError):
            self._begin(self._park())
            return
        self._broken(err)

    def _end(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        for task in self._tasks:
            task.cancel()
        screen = getattr(self, "_screen", None)
        if screen is not None:
            with contextlib.suppress(Exception):
                screen.end()


def _go_on(session: str, store: str) -> None:
    """Become `loopspec resume SESSION`, when everything of this run is over."""
    sys.stdout.flush()
    words = [sys.executable, "-m", "loopspec", "resume", session, "--store", store]
    os.execv(words[0], words)
