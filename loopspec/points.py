"""Points: named places where a drill may end this process. In a run they do nothing.

Rules of this file:
1. Only a program that calls `listen` can make a point do something; no file, option or environment
   variable can.
2. A point stands between two writes that a crash could part, and says so in its name.
"""

from collections.abc import Callable

_listener: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """Say that the point `name` was reached; whoever listens may never come back."""
    if _listener is not None:
        _listener(name)


def listen(listener: Callable[[str], None] | None) -> None:
    """Call `listener` at each point this process reaches from now on, in the thread that does."""
    global _listener
    _listener = listener
