"""Framing: puts the live region together, for any width and height."""

import asyncio
from typing import Final

from loopspec.cli.terminal.asker import Asker
from loopspec.cli.terminal.completing import Completing
from loopspec.cli.terminal.interrupted import Interrupted
from loopspec.cli.terminal.look import Look
from loopspec.cli.terminal.screen import ANSWER, CHOICE, LINE, Frame
from loopspec.cli.terminal.showing import Showing
from loopspec.cli.terminal.status import activity, status
from loopspec.drivers.session import Session
from loopspec.views.words import printable

SPARE: Final = 8
"""Rows kept for the input, the status and the questions."""
WIDE: Final = 40
HIGH: Final = 20
"""From this size on an empty line stands between what was said and the input."""
HINT: Final = "Enter sends · Esc interrupts · Ctrl-O output · / commands · Ctrl-D leaves"


class Framing:
    """Makes frames."""

    def __init__(
        self,
        session: Session,
        look: Look,
        showing: Showing,
        asker: Asker,
        menu: Interrupted,
        completing: Completing,
    ) -> None:
        """Everything that has a say in what is shown."""
        self._session, self._look, self._style = session, look, look.style
        self._showing, self._asker, self._menu = showing, asker, menu
        self._completing = completing
        self.beat = 0
        self.notice = ("", 0.0)  # a line, and until when (of the loop's clock) it is shown

    def frame(self, columns: int, rows: int) -> Frame:
        """The frame for a terminal of this size."""
        plain, style = self._look.plain, self._style
        busy, words = activity(self._session)
        mark = self._look.spinner(self.beat) if busy else plain("·")
        mode = self._asker.shown_mode
        cards = self._showing.cards(mark)
        above = self._showing.open_lines(max(1, rows - SPARE - len(cards)))
        above += cards
        if self._menu.open and mode != CHOICE:
            above += ["", *self._menu.lines]
        above += self._showing.queue()
        if not above and mode == LINE and columns >= WIDE and rows >= HIGH:
            above = [""]
        above += [style.dim(plain(line)) for line in self._completing.lines(columns)]
        below: list[str] = []
        if mode == CHOICE:
            above += [""]
            below += self._asker.hint
        elif mode == ANSWER:
            above += [""]
            if self._asker.fault:
                below.append(style.bad(plain(printable(self._asker.fault, columns))))
            below += [style.dim(plain(printable(line, columns))) for line in self._asker.hint]
        below += self._status(columns, mark, words, busy)
        if mode in (CHOICE, ANSWER):
            self._asker.seen()
        label = style.strong(self._asker.label if mode == ANSWER else "> ")
        return Frame(above, below, label, mode)

    def _status(self, columns: int, mark: str, words: str, busy: bool) -> list[str]:
        """What it waits for, where it stands, and a hint or notice."""
        plain, style = self._look.plain, self._style
        text, until = self.notice
        noticed = bool(text) and asyncio.get_running_loop().time() < until
        first = printable(f"{mark} {words}", columns)
        out = [style.warn(plain(first)) if busy else style.dim(plain(first))]
        out.append(style.dim(plain(status(self._session, columns))))
        if noticed:
            out.append(style.warn(plain(printable(text, columns))))
        elif columns >= len(HINT) and not self._asker.open:
            out.append(style.dim(plain(HINT)))
        return out
