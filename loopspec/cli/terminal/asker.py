"""Asker: puts one question at a time before the person: a choice by a key, or a line to edit.

Rules of this file:
1. What was typed before a question was there never answers it: whoever is just typing finishes first,
   and what is still unread in the terminal is dropped. Within one talk typing ahead is fine.
2. A draft in the input line is kept, whatever is asked meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from loopspec.cli.terminal.screen import ANSWER, CHOICE, LINE, Screen

PAUSE: Final = 0.8
"""Seconds without a key after which somebody who was typing is taken to look up."""
LEAVE: Final = "\x04"
BACK: Final = "\x1b"


class Asker:
    """One open question, or none."""

    def __init__(self, screen: Screen) -> None:
        """The screen whose keys answer."""
        self.screen = screen
        self.mode = LINE
        self.label = ""
        self.hint: list[str] = []
        self.fault = ""
        self.aside = False  # a line is typed although a choice is open
        self._keys: frozenset[str] = frozenset()
        self._check: Callable[[str], str] | None = None
        self._found: asyncio.Future[str] | None = None
        self._typed_at = -PAUSE
        self._unseen = False  # the question is not on the screen yet: no key means it
        self._ahead = ""  # keys that came between two questions of one talk
        screen.line.on_text_changed += lambda _: self._typed()

    @property
    def open(self) -> bool:
        """Whether a question waits for its answer."""
        return self._found is not None and not self._found.done()

    async def choose(self, keys: Iterable[str], hint: list[str], *, first: bool = False) -> str:
        """One of `keys`, or `LEAVE`, or `BACK`. `first`: the question is new to the person, so rule 1
        holds; what follows it in the same talk may be typed ahead. May be cancelled."""
        self._keys, self._check = frozenset(keys), None
        if first:
            await self._looked_up()
        self._unseen = first
        return await self._ask(CHOICE, "", hint)

    async def edit(
        self,
        label: str,
        text: str,
        hint: list[str],
        check: Callable[[str], str] | None = None,
        *,
        first: bool = False,
    ) -> str | None:
        """A line, edited from `text`; None when the person goes back. `check` says what is wrong."""
        if first:
            await self._looked_up()
        self.screen.answer.reset()
        self.screen.answer.insert_text(text)
        self._check = check
        found = await self._ask(ANSWER, label, hint)
        return None if found == BACK else found

    async def _looked_up(self) -> None:
        """Wait until whoever is typing pauses; drop what nobody has read yet."""
        loop = asyncio.get_running_loop()
        while self.screen.line.text and (left := self._typed_at + PAUSE - loop.time()) > 0:
            await asyncio.sleep(left)
        self.screen.device.drop_typed()
        self.screen.app.key_processor.empty_queue()
        self._ahead = ""

    async def _ask(self, mode: str, label: str, hint: list[str]) -> str:
        loop = asyncio.get_running_loop()
        self.mode, self.label, self.hint, self.fault = mode, label, hint, ""
        self.aside = False
        self._found = loop.create_future()
        self.screen.dirty()
        ahead, self._ahead = self._ahead, ""
        self._replay(ahead)
        try:
            return await self._found
        finally:
            self._found, self.hint, self.fault = None, [], ""
            self.mode = LINE
            self.screen.dirty()

    # ------------------------------------------------------------ what keys do

    def press(self, key: str) -> None:
        """A key while a choice is open. `/` and `!` begin a line beside it."""
        if self._found is None or self._found.done():
            self._ahead += key
            return
        if self._unseen:
            return
        if key.lower() in self._keys:
            self._found.set_result(key.lower())
        elif key in ("/", "!"):
            self.aside = True
            self.screen.line.insert_text(key)

    def seen(self) -> None:
        """The open question has been painted."""
        self._unseen = False

    def _replay(self, keys: str) -> None:
        """Keys that came while the talk went from one question to the next."""
        for n, key in enumerate(keys):
            if self._found is not None and self._found.done():
                self._ahead = keys[n:]
                return
            if self.mode == CHOICE:
                self.press(key)
            elif key == "\n":
                self.enter(self.screen.answer.text)
            elif key.isprintable():
                self.screen.answer.insert_text(key)

    def enter(self, text: str) -> None:
        """The end of an answer's line."""
        if self._found is None or self._found.done():
            return
        self.fault = self._check(text) if self._check is not None else ""
        if not self.fault:
            self._found.set_result(text)

    def back(self) -> bool:
        """Esc; whether it meant something here."""
        if self.aside:
            self.aside = False
            return True
        if self.open and self._found is not None and (self.mode == ANSWER or BACK in self._keys):
            self._found.set_result(BACK)
            return True
        return False

    def leave(self) -> bool:
        """Ctrl-D; whether a question was open: a choice is left, an answer goes back to its choice."""
        if not self.open or self._found is None:
            return False
        self._found.set_result(LEAVE if self.mode == CHOICE else BACK)
        return True

    @property
    def shown_mode(self) -> str:
        """What the keys do now."""
        return LINE if self.aside else self.mode

    def _typed(self) -> None:
        self._typed_at = asyncio.get_running_loop().time()
