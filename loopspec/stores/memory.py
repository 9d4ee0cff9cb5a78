"""Memory: a store of plain dicts, for tests and simulations.

Rules of this file:
1. It behaves like the SQLite store in everything but durability; one conformance suite proves it.
2. `append` is decided and done before it returns; its future is already resolved.
3. A simulated disk fault comes before the write, so a failed append has written nothing.
"""

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from loopspec import codec
from loopspec.errors import StoreError
from loopspec.stores import common
from loopspec.stores.base import Append, Head, Lease, SessionRow

PLACE: Final = "memory store"


@dataclass
class _Session:
    """What is kept of one session."""

    name: str
    created: int
    updated: int
    hash: str = ""
    snapshot: bytes = b""
    entries: list[bytes] = field(default_factory=list)
    partials: dict[str, bytes] = field(default_factory=dict)
    lease: Lease = field(default_factory=lambda: Lease(""))
    refusals: deque[bytes] = field(default_factory=lambda: deque(maxlen=common.REFUSALS_KEPT))

    @property
    def head(self) -> int:
        """The sequence of the newest entry, -1 without entries."""
        return len(self.entries) - 1


class MemoryStore:
    """Keeps sessions in memory until it is closed. Safe to use from many threads.

    `fault` is the seam for a simulated disk: called with each append that is in turn, before the
    write; a `StoreError` it raises becomes the append's answer and nothing is written.

    `fenced=False` leaves out what keeps two drivers apart, the token and the expected sequence: for
    proving that a simulation notices, and for nothing else.
    """

    def __init__(
        self, fault: Callable[[Append], None] | None = None, *, fenced: bool = True
    ) -> None:
        """Make an empty store."""
        self._fault = fault
        self._fenced = fenced
        self._lock = threading.RLock()
        self._sessions: dict[str, _Session] = {}
        self._blobs: dict[str, bytes] = {}
        self._directory: Path | None = None
        self._closed = False

    @property
    def directory(self) -> Path:
        """A private temporary directory (0700), made when first asked for, removed on `close`."""
        with self._lock:
            self._check()
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="loopspec-"))
            return self._directory

    def create(self, session: str, name: str, created: int) -> None:
        """Make an empty session; raises `Conflict` if it exists."""
        with self._lock:
            self._check()
            if session in self._sessions:
                raise common.exists(session)
            self._sessions[session] = _Session(name, created, created, lease=Lease(session))

    def append(self, item: Append) -> "Future[None]":
        """Write one entry. The future is resolved: `Conflict`, `NotFound` or `StoreError`."""
        try:
            with self._lock:
                self._write(item)
        except StoreError as error:
            return common.resolved(error)
        return common.resolved()

    def adopt(self, session: str, name: str, created: int, items: Iterable[Append]) -> None:
        """Make a session with all its entries: all of it or nothing. Raises `Conflict` if it exists."""
        with self._lock:
            self.create(session, name, created)
            try:
                for item in items:
                    self._write(item)
            except BaseException:
                del self._sessions[session]
                raise

    def _write(self, item: Append) -> None:
        """Check the turn, ask the simulated disk, write."""
        found = self._session(item.session)
        holds = found.lease.token if found.lease.holder else 0
        if self._fenced and item.token != holds:
            raise common.superseded(item.session, item.token, holds)
        if self._fenced and item.seq != found.head + 1:
            raise common.out_of_turn(item.session, item.seq, found.head)
        if self._fault is not None:
            self._fault(item)
        for digest, data in item.blobs.items():
            self._blobs.setdefault(digest, data)
        found.entries.append(item.entry)
        found.hash, found.snapshot = item.hash, item.snapshot
        found.updated = common.stamp_of(item.entry, found.updated)

    def lease(self, session: str) -> Lease:
        """Who drives the session now; raises `NotFound`."""
        with self._lock:
            return self._session(session).lease

    def acquire(self, session: str, holder: str, at: int, after: int) -> int:
        """Take the lease; gives back its token. Raises `Conflict` if `after` is not the newest."""
        with self._lock:
            found = self._session(session)
            if found.lease.token != after:
                raise common.not_free(session, after, found.lease.token)
            found.lease = Lease(session, after + 1, holder, at, at)
            return after + 1

    def beat(self, session: str, token: int, at: int) -> "Future[None]":
        """Note a sign of life. The future is resolved: `Conflict`, `NotFound` or `StoreError`."""
        try:
            with self._lock:
                found = self._session(session)
                holds = found.lease.token if found.lease.holder else 0
                if token != holds or not token:
                    raise common.superseded(session, token, holds)
                found.lease = replace(found.lease, beat=at)
        except StoreError as error:
            return common.resolved(error)
        return common.resolved()

    def release(self, session: str, token: int) -> None:
        """Give the lease back, if `token` still holds it; raises `NotFound`."""
        with self._lock:
            found = self._session(session)
            if found.lease.token == token:
                found.lease = replace(found.lease, holder="")

    def entries(self, session: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The entries with `start <= seq < stop` as of now, in order; raises `NotFound`."""
        with self._lock:
            found = self._session(session).entries
            end = len(found) if stop is None else max(0, stop)
            return iter(found[max(0, start) : end])

    def head(self, session: str) -> Head | None:
        """The head, None for a session without entries; raises `NotFound`."""
        with self._lock:
            found = self._session(session)
            if not found.entries:
                return None
            return Head(session, found.head, found.hash, found.snapshot)

    def sessions(self) -> list[SessionRow]:
        """All sessions, newest first."""
        with self._lock:
            self._check()
            rows = [
                SessionRow(key, s.name, s.created, s.head, s.updated)
                for key, s in reversed(self._sessions.items())
            ]
        # The sort is stable: of two sessions created in the same microsecond, the later one leads.
        return sorted(rows, key=lambda row: -row.created)

    def put_blob(self, data: bytes) -> str:
        """Keep bytes; gives back their SHA-256 in hex."""
        digest = codec.digest(data)
        with self._lock:
            self._check()
            self._blobs.setdefault(digest, data)
        return digest

    def blob(self, digest: str) -> bytes:
        """A blob's bytes; raises `NotFound`, or `Damaged` if they do not match the digest."""
        with self._lock:
            self._check()
            data = self._blobs.get(digest)
        if data is None:
            raise common.no_blob(digest)
        if codec.digest(data) != digest:
            raise common.wrong_blob(digest)
        return data

    def put_partial(self, session: str, effect: str, data: bytes) -> None:
        """Replace what is kept of an open stream; for an unknown session, keeps nothing."""
        with self._lock:
            if not self._closed and session in self._sessions:
                self._sessions[session].partials[effect] = data

    def partials(self, session: str) -> dict[str, bytes]:
        """What is kept of open streams, by effect; raises `NotFound`."""
        with self._lock:
            return dict(self._session(session).partials)

    def drop_partial(self, session: str, effect: str) -> None:
        """Forget an open stream that has settled."""
        with self._lock:
            if not self._closed and session in self._sessions:
                self._sessions[session].partials.pop(effect, None)

    def refuse(self, session: str, note: bytes) -> None:
        """Add to the session's ring of refusals; the last twenty stay. Raises `NotFound`."""
        with self._lock:
            self._session(session).refusals.append(note)

    def refusals(self, session: str) -> list[bytes]:
        """The ring of refusals, oldest first; raises `NotFound`."""
        with self._lock:
            return list(self._session(session).refusals)

    def close(self) -> None:
        """Forget everything and remove the directory. May be called again."""
        with self._lock:
            self._closed = True
            self._sessions.clear()
            self._blobs.clear()
            directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _check(self) -> None:
        """Raise `StoreError` after `close`."""
        if self._closed:
            raise common.closed(PLACE)

    def _session(self, session: str) -> _Session:
        """What is kept of a session; raises `NotFound`."""
        self._check()
        try:
            return self._sessions[session]
        except KeyError:
            raise common.unknown(session) from None
