"""Showing: events become finished lines for the scrollback and unfinished ones for the live region.

Rules of this file:
1. A finished block, card or message is said once and never again.
2. A running tool is one line: its mark, what it is, how long already, the last line it wrote.
3. What is kept of outputs for looking at is bounded.
"""

from collections.abc import Callable
from typing import Final

from loopspec.cli.cards import call_name, note_lines, outcome, void_line
from loopspec.cli.style import printable_block
from loopspec.cli.terminal.blocks import Block, Blocks
from loopspec.cli.terminal.look import Look
from loopspec.cli.terminal.paint import bare, clip, markdown, plain
from loopspec.drivers.session import Session
from loopspec.effects import RunTool
from loopspec.errors import LoopspecError
from loopspec.events import (
    Kept,
    Live,
    ModelReplied,
    Progress,
    StreamDiscarded,
    TextDelta,
    ThinkingDelta,
    ToolAnswered,
    ToolOutput,
    UserMessage,
)
from loopspec.journal.entry import Entry
from loopspec.snapshot import Waiting
from loopspec.views.words import cells, duration, plural, printable

THOUGHT: Final = 400
"""Characters of thinking that stay open before they are said."""
TAIL: Final = 4_000
CARDS: Final = 4
WHOLE: Final = 5_000
MARK: Final = "┊ "


class Showing:
    """What a run looks like."""

    def __init__(self, session: Session, look: Look, say: Callable[..., None]) -> None:
        """`say` puts lines into the scrollback."""
        self._session, self._look, self._say = session, look, say
        self._style = look.style
        self._blocks = Blocks()
        self._thought = ""
        self._kind = ""  # what kind of text is open: `text`, `thinking` or none
        self._spoken: set[str] = set()  # effects of which text has been streamed
        self._tails: dict[str, str] = {}  # the end of each running call's output
        self._inbox: tuple[Waiting, ...] = session.snapshot.inbox
        self._withdrawn: set[int] = set()
        self._last: ToolAnswered | None = None
        self.width = 80

    # ------------------------------------------------------------ events

    def live(self, event: Live) -> None:
        """A piece of a stream."""
        match event:
            case TextDelta(effect=effect, text=text):
                self._spoken.add(effect)
                self._turn("text")
                self._blocks_said(self._blocks.feed(text))
            case ThinkingDelta(text=text):
                self._turn("thinking")
                self._think(text)
            case ToolOutput(call=call, text=text):
                self._tails[call] = (self._tails.get(call, "") + text)[-TAIL:]
            case StreamDiscarded(effect=effect, reason=reason):
                self._spoken.discard(effect)
                self._turn("")
                self._say(self._look.plain(self._style.warn(void_line(reason))))
            case Progress(text=text):
                self._say(self._style.dim("  " + printable(text, self.width - 2)))
            case _:
                pass

    def kept(self, session: Session, entry: Entry) -> None:
        """A committed entry."""
        event = entry.event
        if isinstance(event, ModelReplied):
            if event.text and event.effect not in self._spoken:
                self._turn("text")
                self._blocks_said(self._blocks.feed(event.text))
            self._spoken.discard(event.effect)
            self._turn("")
        self._tails = {c: t for c, t in self._tails.items() if c in session.snapshot.calls}
        lines = note_lines(session, entry, self._style)
        lines = [x if bare(x).startswith("»") else clip(x, self.width) for x in lines]
        if isinstance(event, ToolAnswered):
            lines = [self._card(event)]
        if lines:
            self._turn("")
            self._say(*lines)
        self._messages(event, entry.seq)

    def withdraw(self, seq: int) -> None:
        """A waiting message is about to be taken back: its leaving the inbox is no saying."""
        self._withdrawn.add(seq)

    def end(self) -> None:
        """Nothing more comes: what is open is said as it is."""
        self._turn("")

    # ------------------------------------------------------------ the live region

    def open_lines(self, rows: int) -> list[str]:
        """The end of the text that is still streaming, at most `rows` lines."""
        if rows <= 0:
            return []
        if self._kind == "text" and (text := self._blocks.open):
            return ["", *markdown(text, self.width, self._look)[-rows:]]
        if self._kind == "thinking" and self._thought:
            return self._dimmed(self._thought)[-rows:]
        return []

    def cards(self, mark: str) -> list[str]:
        """A line for each running tool."""
        session, style = self._session, self._style
        now = session.clock.now()
        running = [p for p in session.snapshot.pending.values() if isinstance(p.effect, RunTool)]
        out: list[str] = []
        for pending in running[:CARDS]:
            effect = pending.effect
            assert isinstance(effect, RunTool)
            head = f"{mark} {call_name(session, effect.call)} · {duration(now - pending.at)}"
            tail = self._tails.get(effect.call, "").rstrip().rsplit("\n", 1)[-1].strip()
            line = printable(head, self.width)
            room = self.width - len(line) - 3
            shown = style.dim(f" · {printable(tail, room)}") if tail and room > 8 else ""
            out.append(self._look.plain(style.warn(line) + shown))
        if len(running) > CARDS:
            out.append(style.dim(f"  and {len(running) - CARDS} more"))
        return out

    def queue(self) -> list[str]:
        """The messages that wait in the inbox."""
        waiting = self._session.snapshot.inbox
        if not waiting:
            return []
        style = self._style
        out = [style.dim(self._look.plain(f"queued ({plural(len(waiting), 'message')}, ↑ takes back):"))]
        out += [
            self._look.plain(style.dim(f"  {n}. ") + printable(w.text, self.width - 6))
            for n, w in enumerate(waiting[-5:], max(1, len(waiting) - 4))
        ]
        return out

    def whole(self) -> list[str]:
        """The whole output of the last finished call."""
        event = self._last
        if event is None:
            return [self._style.dim("no tool has run yet")]
        text = event.output
        if event.blob:
            try:
                text = self._session.store.blob(event.blob).decode("utf-8", "replace")
            except LoopspecError as err:
                return [self._style.warn(printable(str(err), 400))]
        lines = text.rstrip("\n").split("\n")
        style = self._style
        head = f"── {call_name(self._session, event.call)} · {plural(len(lines), 'line')}"
        out = ["", self._look.plain(style.strong(printable(head, self.width)))]
        out += plain("\n".join(lines[:WHOLE]), self.width, self._look, mark="  ")
        if len(lines) > WHOLE:
            more = f"  {len(lines) - WHOLE:,} more lines: loopspec timeline {self._session.id}"
            out.append(style.dim(more))
        return out

    # ------------------------------------------------------------ within

    def _turn(self, kind: str) -> None:
        """Another kind of text begins (or none): what is open is said."""
        if kind == self._kind:
            return
        if self._kind == "text":
            self._blocks_said(self._blocks.close())
        elif self._kind == "thinking" and self._thought:
            self._say(*self._dimmed(self._thought))
            self._thought = ""
        self._kind = kind
        if kind == "thinking":
            self._say("", self._style.dim(self._look.plain(f"{MARK}thinking")))

    def _blocks_said(self, blocks: list[Block]) -> None:
        """Say closed blocks, with a line between them."""
        for block in blocks:
            lines = markdown(block.text, self.width, self._look)
            if lines:
                self._say(*([] if block.joined else [""]), *lines)

    def _think(self, text: str) -> None:
        """Say what of the thinking is complete."""
        *whole, self._thought = (self._thought + text).split("\n")
        for line in whole:
            if line.strip():
                self._say(*self._dimmed(line))
        if len(self._thought) > THOUGHT and (at := self._thought.rfind(" ")) > 0:
            self._say(*self._dimmed(self._thought[:at]))
            self._thought = self._thought[at + 1 :]

    def _dimmed(self, text: str) -> list[str]:
        return plain(text, self.width, self._look, dim=True, mark=MARK)

    def _card(self, event: ToolAnswered) -> str:
        """A finished call on one line."""
        self._last = event
        self._tails.pop(event.call, None)
        style = self._style
        mark, word, lines = outcome(event, style)
        name = call_name(self._session, event.call)
        room = self.width - 4
        ended = f": {word}, {duration(event.duration)}"
        shown = printable(printable(name, max(6, room - len(ended))) + ended, room)
        more = ""
        if lines:
            last = lines[-1].strip() if event.status != "ok" or word not in ("ok", "exit code 0") else ""
            more = f" · {plural(len(lines), 'line')}" + (f" · {last}" if last else "")
        left = room - cells(shown)
        if len(more.split(" · ")[1] if more else "") + 3 > left:
            more = ""
        return mark + shown + style.dim(printable(more, left))

    def _messages(self, event: Kept, seq: int) -> None:
        """Say what a person said when it is taken, not while it waits."""
        old, self._inbox = self._inbox, self._session.snapshot.inbox
        left = {w.seq for w in self._inbox}
        for waiting in old:
            if waiting.seq not in left and waiting.seq not in self._withdrawn:
                self._said(waiting.text)
        if isinstance(event, UserMessage) and seq not in left:
            self._said(event.text)

    def _said(self, text: str) -> None:
        """A person's own words."""
        lines = printable_block(text).split("\n")
        shown = [self._style.strong("> ") + lines[0], *(f"  {line}" for line in lines[1:])]
        self._turn("")
        self._say("", *shown)
