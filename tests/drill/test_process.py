"""The torturer's children: whatever happens to one, it never goes on as the torturer."""

import os
import sys
from pathlib import Path

from loopspec.drill.process import fork


class ClosedTerminal:
    """A standard error whose terminal has gone while text was waiting."""

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def begun(log: Path, answer: bytes | None) -> tuple[int, bytes]:
    """The code and the answer of a child whose standard error cannot be flushed; None: it fails."""

    def body() -> bytes:
        sys.stderr = ClosedTerminal()  # type: ignore[assignment]
        if answer is None:
            raise KeyboardInterrupt
        return answer

    me = os.getpid()
    try:
        child = fork(body, log, leader=True)
    finally:
        if os.getpid() != me:
            os._exit(99)  # the child has come back
    while child.read():
        pass
    return child.end(), child.answer


def test_a_child_whose_terminal_was_closed_ends_where_it_is(tmp_path: Path) -> None:
    assert begun(tmp_path / "log", b"said") == (0, b"said")


def test_a_child_that_fails_ends_where_it_is(tmp_path: Path) -> None:
    assert begun(tmp_path / "log", None) == (70, b"")
