"""What a store is. Every store passes the same conformance suite (`tests/stores`).

Rules of this file:
1. `append` resolves only after a full fsync: whoever acts on an entry waits for it.
2. `append` carries the expected sequence: a second driver gets `Conflict`, never a fork.
3. `append` carries the lease's token, looked at in the same transaction: a driver that was superseded
   gets `Conflict`, however long it slept. Without a token, only while nobody holds the lease.
4. A lease's token only grows. Who may take over is judged by drivers; a store asks no clock.
5. Blobs are written no later than the entry that names them.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Append:
    """One entry to be written: canonical bytes of it and of the snapshot, its own hash and time
    (`at` 0: looked for in the bytes).

    `blobs` maps digest to bytes. `seq` is the entry's sequence, which must be the head's plus one.
    `token` is that of the lease the writer holds, 0 if it holds none. `alone` says that whoever appends
    has nothing else to do until it is written: then a store need not hand it to another thread.
    """

    session: str
    seq: int
    hash: str
    entry: bytes
    snapshot: bytes
    blobs: dict[str, bytes] = field(default_factory=dict)
    token: int = 0
    alone: bool = False
    at: int = 0


@dataclass(frozen=True)
class Lease:
    """Who drives a session. `holder` is what a driver said of itself, empty if nobody drives.

    `token` is the newest one given out, 0 before the first; it stays when the lease is released.
    `since` and `beat`, the last sign of life, are UTC microseconds by the holder's clock.
    """

    session: str
    token: int = 0
    holder: str = ""
    since: int = 0
    beat: int = 0


@dataclass(frozen=True)
class Head:
    """The newest entry of a session, kept apart from the entries so that a cut tail shows."""

    session: str
    seq: int
    hash: str
    snapshot: bytes


@dataclass(frozen=True)
class SessionRow:
    """A session as `loopspec sessions` lists it; times in UTC microseconds."""

    session: str
    name: str
    created: int
    head: int
    updated: int


class Store(Protocol):
    """Keeps journals, blobs, heads, partial rows and the ring of refusals."""

    @property
    def directory(self) -> Path:
        """A private directory (0700) for things that belong to the sessions."""

    def create(self, session: str, name: str, created: int) -> None:
        """Make an empty session; raises `Conflict` if it exists, `StoreError` if it cannot."""

    def append(self, item: Append) -> "Future[None]":
        """Write one entry. The future raises `Conflict`, `NotFound` or `StoreError`."""

    def adopt(self, session: str, name: str, created: int, items: Iterable[Append]) -> None:
        """Make a session with all its entries, at once: all of it or nothing.

        Of the items' snapshots only the last counts. Raises `Conflict` if the session exists,
        `StoreError`, and whatever `items` raises.
        """

    def lease(self, session: str) -> Lease:
        """Who drives the session now; raises `NotFound`."""

    def acquire(self, session: str, holder: str, at: int, after: int) -> int:
        """Take the lease as `holder` (not empty) at time `at`; gives back the token, `after` + 1.

        `after` is the token of the lease the caller looked at and judged to be free: raises `Conflict`
        when somebody was faster, `NotFound` or `StoreError`. From now on every other token is void.
        """

    def beat(self, session: str, token: int, at: int) -> "Future[None]":
        """Note a sign of life at time `at`. The future raises `Conflict` when `token` is void."""

    def release(self, session: str, token: int) -> None:
        """Give the lease back; changes nothing when `token` is void. Raises `NotFound`, `StoreError`."""

    def entries(self, session: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Entries' bytes with `start <= seq < stop`, in order; raises `NotFound`."""

    def head(self, session: str) -> Head | None:
        """The head, None for a session without entries; raises `NotFound`."""

    def sessions(self) -> list[SessionRow]:
        """All sessions, newest first."""

    def put_blob(self, data: bytes) -> str:
        """Keep bytes at once and for good; gives back their SHA-256 in hex."""

    def blob(self, digest: str) -> bytes:
        """A blob's bytes; raises `NotFound`, or `Damaged` if they do not match the digest."""

    def put_partial(self, session: str, effect: str, data: bytes) -> None:
        """Replace what is kept of an open stream. Not chained, not awaited, may be lost."""

    def partials(self, session: str) -> dict[str, bytes]:
        """What is kept of open streams, by effect."""

    def drop_partial(self, session: str, effect: str) -> None:
        """Forget an open stream that has settled."""

    def refuse(self, session: str, note: bytes) -> None:
        """Add to the session's ring of refusals; the last twenty stay."""

    def refusals(self, session: str) -> list[bytes]:
        """The ring of refusals, oldest first."""

    def close(self) -> None:
        """Write what is queued and let go of everything."""
