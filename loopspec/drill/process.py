"""Process: forked children that answer through a pipe, and a terminal that can be closed on one.

Rules of this file:
1. Fork only from a process that has opened nothing: no threads, no event loop, no store.
2. A child is waited for through its pipe, which the kernel closes however it dies; one that is late
   is killed and said to be late.
"""

import fcntl
import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

ROOM: Final = 1 << 16


@dataclass
class Child:
    """A running child; `fd` gives what it answers, and ends when it does."""

    pid: int
    fd: int
    answer: bytes = b""

    def read(self) -> bool:
        """Take what is there; False once the child has closed its end."""
        data = os.read(self.fd, ROOM)
        self.answer += data
        return bool(data)

    def end(self) -> int:
        """Reap it; gives back its exit code, or minus the signal that ended it."""
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """End it, and all of its group if it leads one."""
        if os.getpgid(self.pid) == self.pid:
            os.killpg(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Over:
    """A child's end: `code` is minus the signal that ended it; `late`: it had to be killed."""

    code: int
    answer: bytes
    late: bool = False


def fork(body: Callable[[], bytes], log: Path, *, leader: bool = False) -> Child:
    """Run `body` in a child and let it answer. Its output goes to `log`; it never comes back.

    `leader`: it leads a group of its own, so that it can be ended with all it has forked.
    """
    reader, writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader)
    _answer(body, log, writer, reader, leader)


def _answer(
    body: Callable[[], bytes], log: Path, writer: int, reader: int, leader: bool
) -> NoReturn:
    """The child's whole life after the fork.

    Whatever fails here must not leave this function: above it stands the torturer's own code, which
    would end the other children and clear the directory they work in.
    """
    code = 70
    try:
        for heard in (signal.SIGTERM, signal.SIGHUP):  # the torturer has its own way to hear them
            signal.signal(heard, signal.SIG_DFL)
        os.close(reader)
        if leader:
            os.setsid()
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((nothing, 0), (number, 1), (number, 2)):
            os.dup2(fd, target)
        data = body()
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    finally:
        try:
            sys.stderr.flush()  # fails when its terminal has been closed
        finally:
            os._exit(code)


def wait(child: Child, seconds: float) -> Over:
    """Wait for a child's end, at most `seconds`; then it is killed."""
    late = not _until_closed(child, time.monotonic() + seconds)
    if late:
        child.kill()
    return Over(child.end(), child.answer, late)


def _until_closed(child: Child, due: float) -> bool:
    """Read until the child has closed its end; False when the time is over first."""
    while True:
        ready, _, _ = select.select([child.fd], [], [], max(0.0, due - time.monotonic()))
        if not ready:
            return False
        if not child.read():
            return True


class Terminal:
    """A pseudo-terminal that becomes a child's controlling one, and is closed when the child says.

    The child calls `enter` first and `meet` at its point; the parent calls `serve`.
    """

    def __init__(self) -> None:
        """Open both ends."""
        self._master, self._slave = pty.openpty()
        self._told, self._tell = os.pipe()
        self._heard, self._hear = os.pipe()

    def enter(self) -> None:
        """In the child: lead a session whose terminal this is; standard files are on it."""
        for fd in (self._master, self._told, self._hear):
            os.close(fd)
        os.setsid()
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
        for number in range(3):
            os.dup2(self._slave, number)
        os.close(self._slave)

    def meet(self) -> None:
        """In the child: say that the point is reached, and wait until the terminal is gone."""
        os.write(self._tell, b"!")
        os.read(self._heard, 1)

    def serve(self, child: Child, seconds: float) -> Over:
        """In the parent: read what the child shows, close the terminal when it says so, wait."""
        for fd in (self._slave, self._tell, self._heard):
            os.close(fd)
        due, shows = time.monotonic() + seconds, True
        while True:
            ends = [self._told, child.fd, *([self._master] if shows else [])]
            ready, _, _ = select.select(ends, [], [], max(0.0, due - time.monotonic()))
            if not ready or self._told in ready or (child.fd in ready and not child.read()):
                break
            shows = shows and (self._master not in ready or _drained(self._master))
        os.close(self._master)
        with suppress(OSError):  # it may have ended without coming to its point
            os.write(self._hear, b"!")
        for fd in (self._told, self._hear):
            os.close(fd)
        return wait(child, max(0.0, due - time.monotonic()))


def _drained(master: int) -> bool:
    """Throw away what the child shows; False when its side is closed."""
    try:
        return bool(os.read(master, ROOM))
    except OSError:
        return False
