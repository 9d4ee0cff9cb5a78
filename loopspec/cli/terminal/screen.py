"""Screen: a scrollback written once, and below it a small live region that is painted again and again.

Rules of this file:
1. What was said goes into the scrollback in one go with the next painting and is never touched again.
2. A painting that fails tells `broken`, once; a terminal that is behind is not painted until it has
   caught up.
3. The live region is never higher than the terminal.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import ConditionalContainer, Dimension, HSplit, Layout, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.styles import Style as PromptStyle
from prompt_toolkit.widgets import SearchToolbar

from loopspec.cli.terminal.device import Device
from loopspec.cli.terminal.look import Look
from loopspec.cli.terminal.paint import clip

SOON: Final = 0.05
LATER: Final = 0.1
INPUT_ROWS: Final = 8
LINE: Final = "line"
ANSWER: Final = "answer"
CHOICE: Final = "choice"


@dataclass
class Frame:
    """One picture of the live region: lines above and below the input, what stands before it, and
    what the keys do: edit the `line`, edit an `answer`, or make a `choice`."""

    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    label: str = "> "
    mode: str = LINE


class Screen:
    """The terminal's application."""

    def __init__(
        self,
        device: Device,
        look: Look,
        compose: Callable[[int, int], Frame],
        broken: Callable[[BaseException], None],
        history: History,
    ) -> None:
        """`compose` makes the frame for a number of columns and rows; `broken` is told of a fault."""
        self.device, self.look = device, look
        self._compose, self._broken = compose, broken
        self._lines: list[str] = []
        self._frame = Frame()
        self._due: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self.line = Buffer(multiline=True, history=history, name=LINE)
        self.answer = Buffer(multiline=True, name=ANSWER)
        self.keys = KeyBindings()
        self.app: Application[None] = self._application()

    @property
    def mode(self) -> str:
        """What the keys do now."""
        return self._frame.mode

    @property
    def columns(self) -> int:
        """Columns of the terminal."""
        return self.device.size().columns

    @property
    def rows(self) -> int:
        """Rows of the terminal."""
        return self.device.size().rows

    def start(self) -> None:
        """Begin to read keys and to paint."""
        self._task = self._loop.create_task(self._run())

    def say(self, *lines: str) -> None:
        """Put lines into the scrollback."""
        self._lines += lines
        self.dirty()

    def dirty(self) -> None:
        """Something of the frame has changed: paint soon."""
        if self._due is None and not self._ended:
            self._due = self._loop.call_later(SOON, self._paint)

    def end(self) -> None:
        """Paint for the last time: what was said, without the live region; leave the terminal."""
        if self._ended:
            return
        self._ended = True
        if self._due is not None:
            self._due.cancel()
        running = self.app.is_running
        if running:
            self.app.renderer.erase()
        self._pour()
        self.app.output.show_cursor()
        self.app.output.flush()
        if running and not self.app.is_done:
            self.app.exit()

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Await `work()` while the terminal is its own: an editor, a stop by Ctrl-Z."""
        async with in_terminal():
            self._pour()
            self.app.output.show_cursor()
            self.app.output.flush()
            self.device.writer.drain()
            return await work()

    # ------------------------------------------------------------ painting

    def _paint(self) -> None:
        self._due = None
        if self._ended:
            return
        if self.device.writer.behind:
            self._due = self._loop.call_later(LATER, self._paint)
            return
        self.app.invalidate()

    def _before(self, app: "Application[None]") -> None:
        """Make the frame, and pour what was said into the scrollback."""
        try:
            if self._ended:
                self._frame = Frame()
                return
            size = self.device.size()
            frame = self._compose(size.columns, size.rows)
            room = max(1, size.rows - len(frame.below) - 2)
            frame.above = [clip(line, size.columns) for line in frame.above[-room:]]
            frame.below = [clip(line, size.columns) for line in frame.below[-(size.rows - 2) :]]
            self._frame = frame
            self._focus(frame.mode)
            if self._lines:
                app.renderer.erase(leave_alternate_screen=False)
                self._pour()
        except Exception as err:
            self._frame = Frame()
            self._broken(err)

    def _pour(self) -> None:
        """Write what was said."""
        lines, self._lines = self._lines, []
        if lines:
            self.app.output.write_raw("".join(f"{self.look.plain(x)}\r\n" for x in lines))

    def _focus(self, mode: str) -> None:
        """The keys go where the frame says."""
        wanted = {LINE: self._line_window, ANSWER: self._answer_window, CHOICE: self._footer}[mode]
        if self.app.layout.current_window is not wanted and not self.app.layout.is_searching:
            self.app.layout.focus(wanted)

    # ------------------------------------------------------------ the application

    async def _run(self) -> None:
        try:
            await self.app.run_async(set_exception_handler=False, handle_sigint=False)
        except asyncio.CancelledError:
            raise
        except BaseException as err:
            if not self._ended:
                self._broken(err)

    def _application(self) -> "Application[None]":
        """prompt_toolkit's part."""
        searching = SearchToolbar()
        self._line_window = self._editor(self.line, LINE, searching)
        self._answer_window = self._editor(self.answer, ANSWER, None)
        self._footer = Window(
            FormattedTextControl(
                lambda: ANSI("\n".join(self._frame.below)), focusable=True, show_cursor=False
            ),
            height=lambda: Dimension.exact(max(1, len(self._frame.below))),
            wrap_lines=False,
        )
        above = Window(
            FormattedTextControl(lambda: ANSI("\n".join(self._frame.above))),
            height=lambda: Dimension.exact(len(self._frame.above)),
            wrap_lines=False,
        )
        root = HSplit(
            [
                ConditionalContainer(above, Condition(lambda: bool(self._frame.above))),
                ConditionalContainer(self._line_window, self._mode(LINE)),
                ConditionalContainer(self._answer_window, self._mode(ANSWER)),
                searching,
                self._footer,
            ]
        )
        app: Application[None] = Application(
            Layout(root, focused_element=self._line_window),
            key_bindings=self.keys,
            style=PromptStyle([]),
            include_default_pygments_style=False,
            editing_mode=EditingMode.EMACS,
            erase_when_done=True,
            terminal_size_polling_interval=None,
            input=self.device.input,
            output=self.device.output,
            before_render=self._before,
        )
        app.ttimeoutlen = 0.05  # how long a lone Esc waits for the rest of a key
        app.timeoutlen = 0.2
        return app

    def _mode(self, mode: str) -> Condition:
        return Condition(lambda: self._frame.mode == mode)

    def _editor(self, buffer: Buffer, mode: str, search: SearchToolbar | None) -> Window:
        """A window to edit in."""
        control = BufferControl(
            buffer,
            input_processors=[BeforeInput(lambda: ANSI(self._frame.label))],
            search_buffer_control=search.control if search else None,
            preview_search=True,
        )
        return Window(
            control,
            wrap_lines=True,
            height=lambda: Dimension(min=1, max=max(1, min(INPUT_ROWS, self.rows - 4))),
            dont_extend_height=True,
        )

    async def closed(self) -> None:
        """Wait until the application has ended."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
