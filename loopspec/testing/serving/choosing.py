"""Choosing: which reply a request gets.

Rules of this file:
1. Replies are given in order; a recorded one only at the path, by its end, at which it was recorded. When
   none is left, the last one that fits is given again.
2. With a `match` a recorded one is given only to a request that matches its own.
3. A request that nothing fits is the test's fault, and said to be.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from loopspec.errors import UsageError
from loopspec.testing.serving.http import Asked
from loopspec.testing.serving.recorded import Exchange
from loopspec.testing.serving.replies import PROTOCOLS, Say

Reply: TypeAlias = Say | Exchange
Match: TypeAlias = Callable[[Asked, Exchange], bool]
_TALK: Final = ("messages", "input")


class Replies:
    """The replies of one server."""

    def __init__(self, replies: Sequence[Reply], match: Match | None) -> None:
        """None of them has been given."""
        self._replies = replies
        self._match = match
        self._given: set[int] = set()

    def next(self, asked: Asked) -> Reply:
        """The reply to a request; raises `UsageError` if nothing fits it."""
        fit = [n for n, reply in enumerate(self._replies) if self._fits(asked, reply)]
        if not fit:
            known = sorted({f"{r.method} {r.path}" for r in self._replies if isinstance(r, Exchange)})
            raise UsageError(
                f"no recorded exchange fits {asked.method} {asked.path}",
                remedy=f"recorded are {', '.join(known)}",
            )
        number = next((n for n in fit if n not in self._given), fit[-1])
        self._given.add(number)
        return self._replies[number]

    def _fits(self, asked: Asked, reply: Reply) -> bool:
        """Whether a reply may be given to a request."""
        if isinstance(reply, Say):
            return True
        if ending_of(asked.path) != ending_of(reply.path):
            return False
        return self._match is None or self._match(asked, reply)


def ending_of(path: str) -> str:
    """What tells the protocol: the end of the path, or all of it where that is unknown."""
    return next((end for end in PROTOCOLS if path.rstrip("/").endswith(end)), path)


def same_talk(asked: Asked, recorded: Exchange) -> bool:
    """Whether a request holds the messages of the recorded one; the rest may differ."""
    return bool(_talk(asked.body) == _talk(recorded.request))


def _talk(body: Any) -> Any:
    """The messages of a request."""
    return {name: body.get(name) for name in _TALK} if isinstance(body, dict) else body
