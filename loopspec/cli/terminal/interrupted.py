"""Interrupted: keep, roll back, resume, or say something. Whole lines answer, so that nothing typed in
haste starts anything."""

import asyncio
from typing import Final

from loopspec.cli.cards import call_name
from loopspec.cli.terminal.asker import BACK, Asker
from loopspec.cli.terminal.screen import Screen
from loopspec.drivers.session import Session
from loopspec.effects import RunTool
from loopspec.errors import LoopspecError
from loopspec.events import Kept, RollbackChosen, UserResumed
from loopspec.journal.chain import read
from loopspec.machine.step import accepted
from loopspec.snapshot import Boundary
from loopspec.views.words import moment, plural, wrap

RESUME: Final = ("", "r", "resume")
ROLL_BACK: Final = ("b", "back", "rollback")
KEEP: Final = ("k", "keep")
LOOKED_AT: Final = 5_000


class Interrupted:
    """The menu of an interrupted session."""

    def __init__(self, session: Session, screen: Screen, asker: Asker) -> None:
        """It is closed until `ask`."""
        self._session, self._screen, self._asker = session, screen, asker
        self._look = screen.look
        self._found: asyncio.Future[Kept | None] | None = None
        self._waiting = asyncio.Event()
        self._undone: list[str] = []
        self.lines: list[str] = []

    @property
    def open(self) -> bool:
        """Whether the menu waits for a line."""
        return self._found is not None and not self._found.done()

    async def ask(self) -> Kept | None:
        """What the person wants; None to leave. A message is told by whoever reads the line."""
        last = self._boundary()
        self._undone = await asyncio.to_thread(self._since, last) if last is not None else []
        self.lines = self._menu(last)
        self._found = asyncio.get_running_loop().create_future()
        self._screen.dirty()
        try:
            return await self._found
        finally:
            self._found, self.lines = None, []
            self._screen.dirty()

    async def line(self, text: str) -> bool:
        """A typed line; whether it meant something here."""
        word = text.strip().lower()
        if not self.open or self._found is None:
            return False
        taken = accepted(self._session.machine, self._session.snapshot)
        if word in RESUME:
            if "user.resumed" in taken:
                self._found.set_result(UserResumed())
            return True
        if word in KEEP:
            self.lines = [self._look.plain("Kept as it is. Type a message, or Enter to go on.")]
            self._screen.dirty()
            return True
        if word in ROLL_BACK and (last := self._boundary()) is not None:
            if await self._sure(last) and self.open:
                self._found.set_result(RollbackChosen(boundary=last.id))
            return True
        return False

    def leave(self) -> None:
        """Close the menu without a word."""
        if self.open and self._found is not None:
            self._found.set_result(None)

    async def _sure(self, last: Boundary) -> bool:
        """Ask once more: a rollback undoes changes of the person too."""
        style = self._look.style
        width = self._screen.columns
        text = f"Put the files back as they were at {moment(last.at)}? Your own changes since go too."
        hint = [style.strong(line) for line in wrap(text, width)]
        hint += wrap(self._look.plain("y roll back · n, Esc leave as it is"), width)
        return await self._asker.choose(("y", "n", BACK), hint) == "y"

    def _boundary(self) -> Boundary | None:
        """The newest rollback point, if the loop takes a rollback here."""
        snapshot = self._session.snapshot
        if "rollback.chosen" not in accepted(self._session.machine, snapshot):
            return None
        return snapshot.boundaries[-1] if snapshot.boundaries else None

    def _menu(self, last: Boundary | None) -> list[str]:
        """What can be done, a line each."""
        style = self._look.style
        out = [style.warn("Interrupted.") + " What was done so far is kept."]
        out.append("  Enter  resume: go on where it stood")
        if last is not None:
            out.append(f"  b      roll back to {last.id}, {moment(last.at)}")
            undone = ", ".join(self._undone[:3]) + (", …" if len(self._undone) > 3 else "")
            count = plural(len(self._undone), "call")
            what = f"undoes {count}: {undone}" if self._undone else "nothing was done since"
            out.append(style.dim(f"         {what}"))
        out.append("  k      keep everything and wait")
        out.append("  or type a message to steer; Ctrl-C leaves")
        return [self._look.plain(line) for line in out]

    def _since(self, last: Boundary) -> list[str]:
        """The calls begun since a boundary was taken that may have changed something."""
        session, found = self._session, dict[str, str]()
        tools = session.machine.tools
        try:
            stop = min(session.snapshot.seq + 1, last.seq + LOOKED_AT)
            for row in session.store.entries(session.id, last.seq, stop):
                begun = (e for e in read(row).effects if isinstance(e, RunTool))
                found |= {effect.call: effect.tool for effect in begun}
        except LoopspecError:
            return []
        reads = {name for name, tool in tools.items() if tool.effect == "read"}
        return [call_name(session, call) for call, tool in found.items() if tool not in reads]
