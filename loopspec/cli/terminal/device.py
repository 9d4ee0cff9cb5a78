"""Device: the terminal itself, as prompt_toolkit reads and writes it.

Rules of this file:
1. A thread writes (see `loopspec.cli.output`): a terminal that stands still never holds up the loop,
   it only is not repainted until it has caught up.
2. Ctrl-C stays a signal, so that it is heard even while a step computes. Every other key is read.
3. However the run ends, the terminal is left as a shell expects it.
"""

import contextlib
import io
import os
import sys
import termios
import tty
from typing import Any, Final

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.vt100 import Vt100Input, raw_mode
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from loopspec.cli.output import Out
from loopspec.cli.terminal.look import Look

BEHIND: Final = 4
"""Writes that may wait before repainting pauses."""
LEAST: Final = Size(rows=5, columns=10)

_COOKED: Final = termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN
_DISABLED: Final = b"\0"


class Writer(Out):
    """The thread that writes, which also tells whether the terminal keeps up."""

    @property
    def behind(self) -> bool:
        """Whether much waits to be written."""
        return self._queue.qsize() > BEHIND


class _Sink(io.TextIOBase):
    """What prompt_toolkit takes for standard output."""

    def __init__(self, writer: Writer, number: int) -> None:
        self._writer, self._number = writer, number

    def write(self, text: str) -> int:
        """Queue it."""
        self._writer.write(text)
        return len(text)

    def flush(self) -> None:
        """The thread does that."""

    def isatty(self) -> bool:
        """It is."""
        return True


class Device:
    """The terminal at standard input and output."""

    def __init__(self, look: Look) -> None:
        """Remembers the terminal's modes, so that they can be given back."""
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._modes = _sane(self._in)
        self.writer = Writer(sys.stdout)
        self.output = Vt100_Output(
            _Sink(self.writer, self._out),  # type: ignore[arg-type]
            self.size,
            term=os.environ.get("TERM"),
            default_color_depth=ColorDepth.DEPTH_8_BIT if look.color else ColorDepth.DEPTH_1_BIT,
            enable_bell=False,
            enable_cpr=False,  # its answers would mix with what is typed
        )
        self.input = _Keyboard(sys.stdin)

    def size(self) -> Size:
        """Rows and columns, as they are now."""
        try:
            found = os.get_terminal_size(self._out)
        except OSError:
            return Size(rows=24, columns=80)
        rows, columns = found.lines or 24, found.columns or 80
        return Size(rows=max(LEAST.rows, rows), columns=max(LEAST.columns, columns))

    def drop_typed(self) -> None:
        """Forget what was typed and not read yet."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._in, termios.TCIFLUSH)

    def restore(self) -> None:
        """Give the terminal its modes back; may be called from a signal handler, and twice."""
        if self._modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSANOW, self._modes)
                self._modes = None
                # Paste marks off, attributes off, cursor on: past the queue, which may stand still.
                with contextlib.suppress(OSError):
                    os.write(self._out, b"\x1b[?2004l\x1b[0m\x1b[?25h")


def _sane(number: int) -> "list[Any] | None":
    """The modes to give back in the end. A terminal that a killed program has left raw is put
    right, here and now."""
    try:
        found = termios.tcgetattr(number)
        if found[tty.LFLAG] & _COOKED != _COOKED:
            found[tty.LFLAG] |= _COOKED
            found[tty.IFLAG] |= termios.ICRNL | termios.IXON
            found[tty.OFLAG] |= termios.OPOST | termios.ONLCR
            found[tty.CC][termios.VSUSP] = b"\x1a"
            found[tty.CC][termios.VQUIT] = b"\x1c"
            termios.tcsetattr(number, termios.TCSANOW, found)
        return found
    except termios.error:
        return None


class _Keyboard(Vt100Input):
    """Keys, with Ctrl-C left to the terminal."""

    def raw_mode(self) -> "contextlib.AbstractContextManager[None]":
        """Every key at once, without echo; only Ctrl-C still is a signal."""
        return _Raw(self.fileno())


class _Raw(raw_mode):
    """prompt_toolkit's raw mode, with rule 2."""

    def __enter__(self) -> None:
        super().__enter__()
        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(self.fileno)
            modes[tty.LFLAG] |= termios.ISIG | termios.NOFLSH
            for key in (termios.VSUSP, termios.VQUIT):
                modes[tty.CC][key] = _DISABLED
            termios.tcsetattr(self.fileno, termios.TCSANOW, modes)
