"""A terminal with a screen: the real command line in a pseudo-terminal, seen through an emulator."""

import difflib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pyte
import pytest

from cli.kit import TIMEOUT, Place
from cli.terminal import Terminal, terminal

GOLDEN = Path(__file__).parent / "golden"
ENTER, ESC, UP, TAB = "\r", "\x1b", "\x1b[A", "\t"
CTRL_C, CTRL_D, CTRL_J, CTRL_O, CTRL_R, CTRL_Z = "\x03", "\x04", "\n", "\x0f", "\x12", "\x1a"

_TIMES = re.compile(r"\b\d+ (?:ms|s|min \d\d s|min)(?![a-z])|\b\d+ ?m?…")
_TOKENS = re.compile(r"\b[\d.]+k? tokens")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
_SPIN = re.compile(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
_SPIN_ASCII = re.compile(r"^[|/\\-](?= )")
_ID = re.compile(r"\bsmall-[0-9a-z-]+")
_CALL = re.compile(r"\bc\d+(?:\.\d+)?\b")


class Screen:
    """What a person sees and does at a terminal of a fixed size."""

    def __init__(self, tty: Terminal, columns: int, rows: int) -> None:
        self.tty = tty
        self.emulator = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self.stream = pyte.Stream(self.emulator)
        self._fed = 0

    @property
    def lines(self) -> list[str]:
        """The rows of the screen as it stands, without what is blank at its end."""
        rows = [line.rstrip() for line in self.emulator.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(self.lines)

    @property
    def scrolled(self) -> str:
        """What has left the screen at its top, and the screen."""
        columns = self.emulator.columns
        gone = [
            "".join(row[x].data for x in range(columns)).rstrip() for row in self.emulator.history.top
        ]
        return "\n".join([*gone, *self.lines])

    def until(self, wanted: str | Callable[["Screen"], bool], *, all: bool = False) -> None:
        """Wait until the screen (with `all`: or what has scrolled off it) shows `wanted`."""
        end = monotonic() + TIMEOUT

        def there() -> bool:
            if callable(wanted):
                return wanted(self)
            return wanted in (self.scrolled if all else self.text)

        while not there():
            if monotonic() > end or not self.more(end - monotonic()):
                self.feed()
                if there():
                    return
                raise AssertionError(f"{wanted!r} never came; the screen says:\n{self.scrolled}")

    def gone(self, unwanted: str) -> None:
        """Wait until the screen does not show a text any more."""
        self.until(lambda screen: unwanted not in screen.text)

    def more(self, wait: float) -> bool:
        """Take what comes, with what follows at once; whether anything came."""
        came = self.tty.more(wait)
        end = monotonic() + 0.5
        while came and monotonic() < end and self.tty.more(0.03):
            pass
        self.feed()
        return came

    def feed(self) -> None:
        """Give the emulator what was read."""
        raw = self.tty.raw
        self.stream.feed(raw[self._fed :])
        self._fed = len(raw)

    def type(self, keys: str) -> None:
        """Type keys."""
        self.tty.type(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size, as a window manager does."""
        self.tty.resize(columns, rows)
        self.emulator.resize(rows, columns)

    def ends(self) -> int:
        """Read to the end; gives back the exit code."""
        code = self.tty.ends()
        self.feed()
        return code

    def normal(self, place: Place) -> str:
        """The screen with what differs from run to run made equal."""
        return normal(self.text, place)


def normal(text: str, place: Place) -> str:
    """A screen's text with times, ids, paths and spinners made equal."""
    out: list[str] = []
    for line in text.replace(str(place.work), "WORK").split("\n"):
        line = "in WORK" if line.startswith("in ") else _MOMENT.sub("MOMENT", line)
        line = _ID.sub("SESSION", line)
        line = _TOKENS.sub("N tokens", _TIMES.sub("TIME", line))
        line = _CALL.sub("CALL", line)
        line = _SPIN.sub("*", line)
        if line.endswith("TIME"):
            line = _SPIN_ASCII.sub("*", line)
        out.append(line.rstrip())
    return "\n".join(out) + "\n"


def golden(name: str, found: str) -> None:
    """Compare with a golden file; LOOPSPEC_GOLDEN=write writes it."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LOOPSPEC_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(found)
        return
    wanted = path.read_text() if path.exists() else ""
    if found != wanted:
        lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "golden", "found", "")
        raise AssertionError(f"{path.name} differs:\n" + "\n".join(lines) + "\n\n" + found)


@contextmanager
def screen(
    place: Place, *args: object, columns: int = 80, rows: int = 24, **env: str
) -> Iterator[Screen]:
    """Run `loopspec ARGS` in a terminal of this size."""
    more: dict[str, Any] = {"TERM": "xterm-256color", **env}
    with terminal(place, *args, columns=columns, rows=rows, **more) as tty:
        yield Screen(tty, columns, rows)


@contextmanager
def shell(place: Place, columns: int = 80, rows: int = 24) -> Iterator[Screen]:
    """A shell with job control in a terminal, in which `loopspec` can be typed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no shell with job control here")
    words = [bash, "--norc", "--noprofile", "-i"]
    with terminal(
        place, columns=columns, rows=rows, argv=words, TERM="xterm-256color", PS1="READY> "
    ) as tty:
        yield Screen(tty, columns, rows)


def kill(found: Screen) -> None:
    """kill -9."""
    found.tty.process.send_signal(signal.SIGKILL)
    found.tty.process.wait(TIMEOUT)
