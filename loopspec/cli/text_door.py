"""The door for people: plain, pleasant text; with a terminal it asks, without one it never does.

Rules of this file:
1. With a terminal everything goes to stdout; without one the answer goes to stdout and what happens
   to stderr, without escape codes.
2. Text of models and tools is made printable: nobody's output steers the terminal.
3. Ctrl-C and the end of input always leave; nothing is lost by leaving.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from loopspec.cli.asking import ask_line, drop_typed
from loopspec.cli.cards import call_card, entry_lines, preview_of, restful, void_line
from loopspec.cli.exits import words_of
from loopspec.cli.output import Out
from loopspec.cli.program_door import answer_of
from loopspec.cli.style import Style, printable_block
from loopspec.drivers.door import granted, waiting_call
from loopspec.drivers.session import Session
from loopspec.events import (
    ApprovalGiven,
    Kept,
    Live,
    ModelReplied,
    Progress,
    RollbackChosen,
    StreamDiscarded,
    TextDelta,
    ThinkingDelta,
    ToolOutput,
    UserInterrupted,
    UserMessage,
    UserResumed,
    name_of,
)
from loopspec.hooks import People
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.registry import installed
from loopspec.views.words import moment

LEAVE = ("q", "quit", "exit", "/q", "/quit", "/exit")


class TextDoor:
    """Shows a run as text and asks the person at the terminal, if there is one."""

    def __init__(self, *, yes: bool, terminal: bool, ask: bool) -> None:
        """`ask`: whether to wait for messages when the session rests (no `--prompt` was given)."""
        self.yes = yes
        self.terminal = terminal
        self.people: People | None = self if terminal else None
        self._ask = ask
        self._out = Out(sys.stdout)
        self._progress = self._out if terminal else Out(sys.stderr)
        color = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._style = Style(color)
        self._open = ""  # what kind of text stands unfinished on the current line
        self._streamed: set[str] = set()
        self._one = asyncio.Lock()  # one question at a time, whoever asks
        self._hinted = False
        self._first = 0
        self.session = ""

    # ------------------------------------------------------------ what the driver calls

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the reader has gone."""
        self._out.when_gone(call)

    def opened(self, session: Session, driver: Any) -> None:
        """Name the session, so that it can be found again."""
        machine = session.machine
        self._first, self.session = session.snapshot.seq + 1, session.id
        self.say(
            self._style.dim(f"{machine.name} {machine.version} · session {session.id}")
            + self._style.dim(f" · in {session.snapshot.workdir}")
        )

    def kept(self, session: Session, entry: Entry) -> None:
        """Show what an entry means to a person."""
        if isinstance(entry.event, ModelReplied):
            self._end_line()
        for line in entry_lines(session, entry, self._style, frozenset(self._streamed)):
            self.say(line)

    def live(self, event: Live) -> None:
        """Show text as it streams."""
        match event:
            case TextDelta(text=text):
                self._stream("text", text, self._style.plain)
            case ThinkingDelta(text=text):
                self._stream("thinking", text, self._style.dim)
            case ToolOutput(text=text, call=call):
                self._streamed.add(call)
                self._stream("tool", text, self._style.dim)
            case StreamDiscarded(reason=reason):
                self.say(self._style.warn(void_line(reason)))
            case Progress(text=text):
                self.say(self._style.dim(printable_block(text)))
            case _:
                pass

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """Say why a command was not taken, and what would be."""
        if isinstance(event, UserInterrupted):
            return  # pressed twice, or while it stops already
        self.say(
            self._style.warn(f"not taken: {name_of(event)}: {reason}")
            + self._style.dim(f" (accepted here: {', '.join(accepted)})")
        )

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """Ask the person what the session waits for."""
        async with self._one:
            self._end_line()
            if rest.reason == "approval":
                return await self._approve(session)
            if not self.terminal:
                return None
            if rest.reason == "input" and self._ask:
                return await self._message()
            if rest.reason == "interrupted":
                return await self._interrupted(session)
            if rest.reason == "outbox":  # it goes on by itself, and then this question is called off
                await asyncio.get_running_loop().create_future()
            return None

    def ended(self, session: Session, rest: Rest, code: int) -> None:
        """The last lines: the answer where nobody watched, and how it ended."""
        self._end_line()
        if not self.terminal and (answer := answer_of(session, self._first)):
            self._progress.drain()
            self._out.write(printable_block(answer).rstrip("\n") + "\n")
            self._out.drain()
        words = words_of(session.machine, session.snapshot, rest)
        if rest.reason == "input" and self._ask and not self.terminal:
            words += " (nothing is read from a pipe)"
        self.say(self._style.dim(restful(session, words)))

    @property
    def gone(self) -> bool:
        """Whether the reader of stdout has gone."""
        return self._out.gone

    def close(self) -> None:
        """Write what is queued."""
        self._end_line()
        self._progress.close()
        self._out.close()

    # ------------------------------------------------------------ asking

    async def answer(self, question: str) -> str:
        """Put a tool's question to the person (see `loopspec.hooks.People`)."""
        async with self._one:
            self._end_line()
            self.say(self._style.strong("? ") + printable_block(question))
            return await self._line("> ") or ""

    async def _approve(self, session: Session) -> Kept | None:
        """Put one waiting call before the person."""
        call = waiting_call(session)
        if call is None:
            return None
        preview = await asyncio.to_thread(preview_of, session, call, installed().tools)
        self.say(call_card(session, call, preview, self._style))
        if self.yes:
            given = granted(session)
            if given is not None:
                self.say(self._style.good(f"  {given.answer}ed by --yes"))
            return given
        if not self.terminal:
            return None
        drop_typed(sys.stdin.fileno())  # what was typed before the question is no answer to it
        if call.status == "lost":
            keys = {"d": "done", "r": "rerun", "g": "abandon"}
            text = "It may have happened. [d]one already, [r]un again, [g]ive it up? "
        else:
            keys = {"y": "grant", "n": "deny", "a": "grant"}
            text = "Allow it? [y]es, [n]o, [a]lways this tool in this session? "
        while True:
            line = await self._line(text)
            if line is None:
                return None
            key = line.strip().lower()[:1]
            if key in keys:
                if keys[key] in ("deny", "abandon"):
                    self.say(self._style.warn(f"  {'denied' if key == 'n' else 'given up'}"))
                return ApprovalGiven(
                    call=call.id,
                    args_hash=call.args_hash,
                    answer=keys[key],
                    scope="tool" if key == "a" else "call",
                    reason=line.strip()[1:].strip(" ,:") if key == "n" else "",
                )

    async def _message(self) -> Kept | None:
        """Wait for the next message."""
        while True:
            hint = "" if self._hinted else self._style.dim("(Ctrl-D leaves) ")
            self._hinted = True
            line = await self._line("> ", hint)
            if line is None or line.strip() in LEAVE:
                return None
            if line.strip():
                return UserMessage(text=line)

    async def _interrupted(self, session: Session) -> Kept | None:
        """Keep, roll back, resume, or say something."""
        back = ""
        if session.snapshot.boundaries:
            last = session.snapshot.boundaries[-1]
            back = f", [b]ack to {moment(last.at)} (undoes every change of files since, yours too)"
        text = f"Interrupted. Enter goes on{back}, [q]uit, or type a message: "
        word = line = "?"
        while word in ("?", "h", "help"):
            given = await self._line(text)
            if given is None:
                return None
            line, word = given, given.strip()
        if word in ("", "r", "resume"):
            return UserResumed()
        if word in LEAVE:
            return None
        if word in ("b", "back") and session.snapshot.boundaries:
            return RollbackChosen()
        return UserMessage(text=line)

    async def _line(self, prompt: str, hint: str = "") -> str | None:
        """One line from the terminal, None at the end of input."""
        self._out.write(hint + self._style.strong(prompt))
        self._out.drain()
        return await ask_line(sys.stdin.fileno())

    # ------------------------------------------------------------ writing

    def _stream(self, kind: str, text: str, style: Callable[[str], str]) -> None:
        """Write a piece of streaming text, beginning a new block when the kind changes."""
        if self._open != kind:
            self._end_line()
            if kind == "text":
                self._progress.write("\n")
            self._open = kind
        self._progress.write(style(printable_block(text)), live=True)

    def _end_line(self) -> None:
        """End an unfinished line."""
        if self._open:
            self._open = ""
            self._progress.write("\n")

    def say(self, line: str) -> None:
        """Write a whole line."""
        self._end_line()
        self._progress.write(line + "\n")
