"""Marked: the real store, whose writes are named points, and which can be made to run full.

The store calls its crash seam in its writer's thread; what is being written then is known here,
because whoever writes waits for it.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from loopspec.stores.base import Append
from loopspec.stores.sqlite import SqliteStore

WORK: Final = ("create", "lease", "entry", "blob", "refusal", "beat")


class MarkedStore(SqliteStore):
    """A `SqliteStore` that calls `reached` with `entry.before-write` and the like.

    The names are one of `create`, `lease`, `entry`, `blob`, `refusal`, `beat` (a sign of life) or
    `partial` (an open stream's rows), then one of `before-write`, `after-write` (not yet committed)
    and `after-commit`.
    """

    def __init__(self, path: Path, reached: Callable[[str], None]) -> None:
        """Open or make the store."""
        self._reached = reached
        self._count = threading.Lock()
        self._doing = dict.fromkeys(WORK, 0)
        super().__init__(path, crash=self._at)

    def create(self, session: str, name: str, created: int) -> None:
        """Make an empty session."""
        with self._busy("create"):
            super().create(session, name, created)

    def append(self, item: Append) -> "Future[None]":
        """Queue one entry."""
        return self._queued("entry", partial(super().append, item))

    def acquire(self, session: str, holder: str, at: int, after: int) -> int:
        """Take the lease."""
        with self._busy("lease"):
            return super().acquire(session, holder, at, after)

    def release(self, session: str, token: int) -> None:
        """Give the lease back."""
        with self._busy("lease"):
            super().release(session, token)

    def beat(self, session: str, token: int, at: int) -> "Future[None]":
        """Queue a sign of life."""
        return self._queued("beat", partial(super().beat, session, token, at))

    def put_blob(self, data: bytes) -> str:
        """Keep bytes."""
        with self._busy("blob"):
            return super().put_blob(data)

    def refuse(self, session: str, note: bytes) -> None:
        """Add to the ring of refusals."""
        with self._busy("refusal"):
            super().refuse(session, note)

    def fill_disk(self) -> None:
        """From now on the engine itself finds no room for another page (SQLITE_FULL).

        To be called inside `reached`, at `before-write`: there the writer's connection is idle.
        """
        assert self._conn is not None
        self._conn.execute("PRAGMA max_page_count = 1")  # never below what is there already

    def _at(self, point: str) -> None:
        with self._count:
            what = next((w for w in WORK if self._doing[w]), "partial")
        self._reached(f"{what}.{point}")

    def _queued(self, what: str, submit: Callable[[], "Future[None]"]) -> "Future[None]":
        self._change(what, 1)
        future = submit()
        future.add_done_callback(lambda _: self._change(what, -1))
        return future

    def _change(self, what: str, by: int) -> None:
        with self._count:
            self._doing[what] += by

    @contextmanager
    def _busy(self, what: str) -> Iterator[None]:
        self._change(what, 1)
        try:
            yield
        finally:
            self._change(what, -1)
