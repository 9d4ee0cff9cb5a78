"""Saying: a typed line becomes a message, a command of the screen, or a call of the person's own.

Rules of this file:
1. A message is told at once, so it is on disk before the next key; what waits, waits in the inbox.
2. Lines are taken one after another, in the order they were typed.
3. Whatever goes wrong is one line in the scrollback, and the text goes back to where it was typed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from loopspec.cli.slash import commands
from loopspec.cli.terminal.asker import Asker
from loopspec.cli.terminal.interrupted import Interrupted
from loopspec.cli.terminal.screen import Screen
from loopspec.cli.terminal.slashes import Slashes
from loopspec.codec import canonical_json
from loopspec.drivers.resuming import plain_prompt
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError
from loopspec.events import UserCalled, UserMessage, UserWithdrew
from loopspec.machine.step import REFUSED
from loopspec.views.words import printable

LEAVE: Final = ("q", "quit", "exit", "/q")
MOST: Final = 12


class Saying:
    """What typed lines do."""

    def __init__(
        self,
        session: Session,
        driver: Any,
        screen: Screen,
        asker: Asker,
        menu: Interrupted,
        slashes: Slashes,
        leave: Callable[[str], None],
    ) -> None:
        """`leave` ends the run in the way that fits where it stands, and goes on with the session it
        is given, if any."""
        self._session, self._driver, self._screen = session, driver, screen
        self._asker, self._menu, self._slashes, self._leave = asker, menu, slashes, leave
        self._one = asyncio.Lock()
        self._style = screen.look.style

    async def take(self, text: str) -> None:
        """A line was sent."""
        async with self._one:
            try:
                await self._take(text)
            except LoopspecError as err:
                self._screen.say(self._style.warn(printable(f"  {err}", 400)))
                if not self._screen.line.text:
                    self._screen.line.insert_text(text)

    async def take_back(self, withdrawing: Callable[[int], None]) -> bool:
        """The newest waiting message returns to the input line; whether there was one."""
        async with self._one:
            inbox = self._session.snapshot.inbox
            if not inbox:
                return False
            withdrawing(inbox[-1].seq)
            step = await self._driver.tell(UserWithdrew(message=inbox[-1].seq))
            if step.outcome == REFUSED:
                return False  # it was taken meanwhile
            self._screen.line.reset()
            self._screen.line.insert_text(inbox[-1].text)
            return True

    async def _take(self, text: str) -> None:
        word = text.strip()
        if word in LEAVE:
            self._leave("")
        elif await self._menu.line(text) or not word:
            return
        elif commands.meant(word):
            await self._slash(word)
        elif word.startswith("!"):
            await self._own_call(word[1:].strip())
        else:
            await self._message(text)

    async def _message(self, text: str) -> None:
        """A message, with what its `@` mentions name."""
        shown, notes = self._slashes.expand(text)
        for note in notes:
            self._screen.say(self._style.dim(printable(f"  {note}", 400)))
        await self._driver.tell(UserMessage(text=plain_prompt(shown)))

    async def _own_call(self, command: str) -> None:
        """A command of the person's own, through the same gate."""
        tools = self._session.machine.tools.values()
        tool = next((t for t in tools if t.command), None)
        if tool is None:
            raise LoopspecError("this loop declares no tool that runs commands")
        if not command:
            raise LoopspecError("write the command after the `!`")
        args = canonical_json({tool.command: command})
        await self._driver.tell(UserCalled(tool=tool.name, args=args))

    async def _slash(self, line: str) -> None:
        """A `/` command."""
        reply = await self._slashes.answer(line)
        if reply.lines:
            self._screen.say("", *reply.lines)
        for told in reply.events:
            step = await self._driver.tell(told)
            if step.outcome == REFUSED:
                return
        if reply.fill:
            self._screen.line.insert_text(reply.fill)
        if reply.choose:
            await self._pick(reply.choose)
        if reply.open or reply.leave:
            self._leave(reply.open)

    async def _pick(self, choices: Any) -> None:
        """Pick one of several things; the line it stands for is taken as if it had been typed."""
        shown = [f"  {n}  {c.label}" for n, c in enumerate(choices[:MOST], 1)]
        hint = [*shown, "a number and Enter; Esc goes back"]

        def fault(text: str) -> str:
            fits = text.strip().isdecimal() and 1 <= int(text) <= len(shown)
            return "" if fits else f"write a number from 1 to {len(shown)}"

        found = await self._asker.edit("which? ", "", hint, fault)
        if found is not None:
            await self._take(choices[int(found) - 1].line)
