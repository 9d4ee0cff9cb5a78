"""Reads: what a store of rows answers without writing.

Rules of this file:
1. Each answer comes from one committed state of the database; it waits for no writer.
2. How to connect is the store's business (`_reading`); here stands only what is asked.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

from loopspec import codec
from loopspec.stores import common, rows
from loopspec.stores.base import Head, Lease, SessionRow


class Reads(ABC):
    """The reading half of a store that keeps its sessions in rows."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[rows.Connection]:
        """A connection for one read; raises `StoreError`, and turns the engine's errors into it."""

    def lease(self, session: str) -> Lease:
        """Who drives the session now; raises `NotFound`."""
        with self._reading() as conn:
            return rows.lease(conn, session)

    def entries(self, session: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The entries with `start <= seq < stop` as of now, in order; raises `NotFound`.

        Rows are read as the iterator advances, so a huge session does not fill the memory.
        """
        with self._reading() as conn:
            key = rows.key_of(conn, session)
            end = rows.newest(conn, key) + 1
        return self._pages(key, start, end if stop is None else min(stop, end))

    def _pages(self, key: int, start: int, stop: int) -> Iterator[bytes]:
        """Entries' bytes, a page at a time; no read transaction stays open between pages."""
        while start < stop:
            with self._reading() as conn:
                page = rows.page(conn, key, start, stop)
            for _, body in page:
                yield body
            start = page[-1][0] + 1 if page else stop

    def head(self, session: str) -> Head | None:
        """The head, None for a session without entries; raises `NotFound`."""
        with self._reading() as conn:
            return rows.head(conn, session)

    def sessions(self) -> list[SessionRow]:
        """All sessions, newest first."""
        with self._reading() as conn:
            return rows.sessions(conn)

    def blob(self, digest: str) -> bytes:
        """A blob's bytes; raises `NotFound`, or `Damaged` if they do not match the digest."""
        with self._reading() as conn:
            data = rows.blob(conn, digest)
        if data is None:
            raise common.no_blob(digest)
        if codec.digest(data) != digest:
            raise common.wrong_blob(digest)
        return data

    def refusals(self, session: str) -> list[bytes]:
        """The ring of refusals, oldest first; raises `NotFound`."""
        with self._reading() as conn:
            return rows.refusals(conn, session)
