"""A real pseudo-terminal with a process in it."""

import codecs
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from time import monotonic

from cli.kit import TIMEOUT, Place

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What a person at a terminal can do: read, type, press Ctrl-C, hang up."""

    def __init__(self, process: "subprocess.Popen[bytes]", fd: int) -> None:
        self.process = process
        self.fd = fd
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._seen = 0

    @property
    def text(self) -> str:
        """Everything shown so far, without escape codes."""
        return ESCAPE.sub("", self.raw).replace("\r\n", "\n")

    def until(self, wanted: str) -> str:
        """Read until `wanted` appears after what was read before; gives back what came."""
        end = monotonic() + TIMEOUT
        while wanted not in self.text[self._seen :]:
            if monotonic() > end or not self.more(end - monotonic()):
                raise AssertionError(f"{wanted!r} never came; the screen said:\n{self.text}")
        start, found = self._seen, self.text.index(wanted, self._seen) + len(wanted)
        self._seen = found
        return self.text[start:found]

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.fd, text.encode())

    def ctrl_c(self) -> None:
        """Press Ctrl-C; the terminal turns it into SIGINT for the foreground process."""
        os.write(self.fd, b"\x03")

    def ends(self) -> int:
        """Read to the end; gives back the exit code."""
        end = monotonic() + TIMEOUT
        while self.more(end - monotonic()):
            pass
        return self.process.wait(TIMEOUT)

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self.fd)
        self.fd = -1

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size."""
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def more(self, wait: float) -> bool:
        """Read what comes within `wait` seconds; whether anything came."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, wait))
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += self._decoder.decode(data)
        return bool(data)


@contextmanager
def terminal(
    place: Place,
    *args: object,
    columns: int = 80,
    rows: int = 24,
    argv: list[str] | None = None,
    **env: str,
) -> Iterator[Terminal]:
    """Run `loopspec ARGS` (or the words of `argv`) in a terminal of its own.

    It can only print (TERM=dumb), unless `env` says more; `screen.kit` has one with a screen.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        argv or place.argv(*[str(a) for a in args]),
        cwd=place.work,
        env=place.env(**{"TERM": "dumb", **env}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    made = Terminal(process, ours)
    try:
        yield made
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if made.fd >= 0:
            os.close(made.fd)
