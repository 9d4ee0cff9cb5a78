"""Open text: what has come of a stream so far, kept beside the journal so that a crash costs little.

Rules of this file:
1. At most once a second or every four kilobytes: a stream of small pieces must not wear the disk. Of a
   long text, only when it has grown by an eighth: each time the whole of it is written.
2. Nobody waits for it, and it may be lost; the answer is what counts.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from loopspec.hooks import World

BYTES: Final = 4096
SECONDS: Final = 1.0


class OpenText:
    """Keeps the open text of one effect, from the first piece until it is closed."""

    def __init__(self, effect: str, world: World, text: Callable[[], str]) -> None:
        """`text` gives what has come so far, without secrets."""
        self._effect = effect
        self._world = world
        self._text = text
        self._new = self._size = 0
        self._alarm: asyncio.TimerHandle | None = None

    def grown(self, size: int) -> None:
        """`size` bytes more have come."""
        self._new += size
        self._size += size
        if self._new >= max(BYTES, self._size // 8):
            self._keep()
        elif self._alarm is None:  # a stream that falls silent is kept all the same
            self._alarm = asyncio.get_running_loop().call_later(SECONDS, self._keep)

    def close(self) -> None:
        """The stream has ended; its answer takes over."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _keep(self) -> None:
        """Hand the text over."""
        self.close()
        self._new = 0
        self._world.partial(self._effect, self._text().encode("utf-8", "replace"))
