"""SQLite: the store that lasts. One directory, one database, one thread that writes.

Rules of this file:
1. A future of `append` resolves after the COMMIT of its group, and a COMMIT (WAL,
   `synchronous=FULL`) returns after the fsync: what was acknowledged survives a power cut.
2. Entry, head, snapshot and blobs of one append stand in one transaction: all of it or nothing.
3. Only the writer's thread writes; one item's fault spares the others of its group, while a fault
   of the COMMIT fails them all.
4. Reads have connections of their own and wait for nobody; partial rows that are not written yet
   are read from memory.
5. No `sqlite3` error leaves this file: each becomes a `StoreError` that names the database.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

from loopspec import codec
from loopspec.errors import StoreError
from loopspec.stores import common, log, rows
from loopspec.stores.base import Append
from loopspec.stores.reads import Reads
from loopspec.stores.writer import Streams, Writer

FILE: Final = "journal.db"
# How long to wait for another process's transaction, in seconds; ours last milliseconds.
BUSY: Final = 10.0
# The log is cut back to this many bytes after a checkpoint, so one huge append does not stay.
LOG_LIMIT: Final = 64 * 1024 * 1024
# What a statement raises; the second is about SQLite's own words on a damaged schema.
ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)


class SqliteStore(Reads):
    """Keeps sessions in `journal.db` inside the directory `path`. Safe to use from many threads.

    The directory is made (0700) if it is absent. With `readonly`, nothing is made and nothing can
    be written; a directory that turns out to be read-only gives such a store too. `salvage` reads a
    store with a damaged log up to the damage, and leaves all of it as it is. `crash` is the seam
    for named crash points, called in the writer's thread with `before-write`, `after-write` (not
    yet committed) and `after-commit`.

    Raises `NotFound` (read-only and absent), `Damaged` or `StoreError`. `commits` counts committed
    groups and `lost_partials` the partial rows that could not be kept. Close it when done.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        salvage: bool = False,
        crash: Callable[[str], None] | None = None,
    ) -> None:
        """Open or make the store."""
        self._path = path
        self._place = str(path / FILE)
        self._pid = os.getpid()
        self._crash = crash or (lambda point: None)
        self._lock = threading.Lock()
        self._closed = False
        self._streams = Streams()
        self.commits = 0
        self.lost_partials = 0
        with _translated(self._place):
            self._conn, self._uri, first = _open(path, path / FILE, readonly, salvage)
        self._idle = [first]
        self._writer: Writer[rows.Work] | None = None
        if self._conn is not None:
            again = partial(common.again, place=self._place)
            self._writer = Writer(partial(self._commit, self._conn), again, "loopspec-writer")

    @property
    def directory(self) -> Path:
        """The private directory (0700) that holds the database."""
        return self._path

    # ------------------------------------------------------------ writing

    def create(self, session: str, name: str, created: int) -> None:
        """Make an empty session, synced; raises `Conflict` if it exists, `StoreError`."""
        self._wait(partial(rows.create, session=session, name=name, created=created))

    def append(self, item: Append) -> "Future[None]":
        """Queue one entry. The future raises `Conflict`, `NotFound` or `StoreError`."""
        return self._submit(partial(rows.append, item=item), item.alone)

    def adopt(self, session: str, name: str, created: int, items: Iterable[Append]) -> None:
        """Make a session with all its entries in one transaction. Raises `Conflict`, `StoreError`."""
        self._wait(partial(rows.adopt, session=session, name=name, created=created, items=items))

    def backup(self, file: Path) -> None:
        """Copy the database to the new file `file` (0600), synced: one committed state of it.

        Others may write meanwhile; nobody waits. Raises `StoreError`; then `file` is worth nothing.
        """
        with self._reading() as conn:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                copy = _connect(f"{file.absolute().as_uri()}?mode=rw")
                try:
                    conn.backup(copy)
                    rows.unhold(copy)
                finally:
                    copy.close()
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def acquire(self, session: str, holder: str, at: int, after: int) -> int:
        """Take the lease, synced; gives back its token. Raises `Conflict`, `NotFound`, `StoreError`."""
        self._wait(partial(rows.acquire, session=session, holder=holder, at=at, after=after))
        return after + 1

    def beat(self, session: str, token: int, at: int) -> "Future[None]":
        """Queue a sign of life. The future raises `Conflict`, `NotFound` or `StoreError`."""
        return self._submit(partial(rows.beat, session=session, token=token, at=at))

    def release(self, session: str, token: int) -> None:
        """Give the lease back, if `token` still holds it; raises `NotFound`, `StoreError`."""
        self._wait(partial(rows.release, session=session, token=token))

    def put_blob(self, data: bytes) -> str:
        """Keep bytes, synced; gives back their SHA-256 in hex. Raises `StoreError`."""
        digest = codec.digest(data)
        self._wait(partial(rows.put_blob, digest=digest, data=data))
        return digest

    def refuse(self, session: str, note: bytes) -> None:
        """Add to the session's ring of refusals; the last twenty stay. Raises `NotFound`."""
        self._wait(partial(rows.refuse, session=session, note=note))

    def put_partial(self, session: str, effect: str, data: bytes) -> None:
        """Replace what is kept of an open stream. Never waits, never raises, may be lost."""
        self._stream(session, effect, data)

    def drop_partial(self, session: str, effect: str) -> None:
        """Forget an open stream that has settled. Never waits, never raises."""
        self._stream(session, effect, None)

    def close(self) -> None:
        """Write what is queued and let go of everything. May be called again.

        In a forked child it does nothing: the connections belong to the parent.
        """
        if os.getpid() != self._pid:
            return
        if self._writer is not None:
            if self._writer.inside:
                raise common.inside(self._place)
            self._writer.close()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            conn, self._conn = self._conn, None
        for reader in idle:
            reader.close()
        # Last, because the last connection to go folds the log into the database.
        if conn is not None:
            conn.close()

    def _submit(self, work: rows.Work, alone: bool = False) -> "Future[None]":
        """Queue work for the writer's thread; `alone`, do it here if that is quicker."""
        fault = self._fault()
        if fault is None and self._writer is None:
            fault = common.readonly(self._place)
        if fault is not None or self._writer is None:
            return common.resolved(fault)
        future = (self._writer.now(work) if alone else None) or self._writer.submit(work)
        return common.resolved(common.closed(self._place)) if future is None else future

    def _wait(self, work: rows.Work) -> None:
        """Queue work and wait until it is committed."""
        if self._writer is not None and self._writer.inside:
            raise common.inside(self._place)
        self._submit(work).result()

    def _stream(self, session: str, effect: str, data: bytes | None) -> None:
        """Note the newest state of a stream; the next group takes it along."""
        if os.getpid() != self._pid:
            return  # no counting: the fork may have copied the lock while it was held
        if self._closed or self._writer is None:
            self._lose(1)
        elif self._streams.put(session, effect, data):
            self._writer.wake()

    def _lose(self, count: int) -> None:
        """Count partial rows that could not be kept."""
        with self._lock:
            self.lost_partials += count

    def _commit(self, conn: sqlite3.Connection, group: list[rows.Work]) -> list[BaseException | None]:
        """Write one group, and the open streams beside it; runs in the writer's thread."""
        streams = self._streams.take()
        works = group
        if streams:
            works = group + [
                partial(rows.keep_partial, session=session, effect=effect, data=data)
                for (session, effect), data in streams.items()
            ]
        if not works:  # an earlier group took along what it was woken for
            return []
        lost = len(streams)
        try:
            faults = rows.in_one(conn, works, self._crash)
            lost -= faults[len(group) :].count(None)
        except ERRORS as error:
            raise self._fault_of(error) from error
        finally:
            if streams:
                self._lose(lost)
                self._streams.settle(streams)
        self.commits += 1
        self._crash("after-commit")
        return [
            self._fault_of(fault) if isinstance(fault, ERRORS) else fault
            for fault in faults[: len(group)]
        ]

    # ------------------------------------------------------------ reading

    def partials(self, session: str) -> dict[str, bytes]:
        """What is kept of open streams, by effect; raises `NotFound`."""
        # Memory first: what is committed between the two looks is then seen at least once.
        fresh = self._streams.of(session)
        with self._reading() as conn:
            merged = {**rows.partials(conn, session), **fresh}
        return {effect: data for effect, data in merged.items() if data is not None}

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read; as many are open as reads have ever run at once."""
        fault = self._fault()
        if fault is not None:
            raise fault
        with _translated(self._place):
            with self._lock:
                conn = self._idle.pop() if self._idle else None
            if conn is None:
                conn = _reader(self._uri)
            try:
                yield conn
            finally:
                with self._lock:
                    keep = not self._closed
                    if keep:
                        self._idle.append(conn)
                if not keep:
                    conn.close()

    # ------------------------------------------------------------ faults

    def _fault(self) -> StoreError | None:
        """Why the store cannot be used at all, if so."""
        if os.getpid() != self._pid:
            return common.forked(self._place)
        return common.closed(self._place) if self._closed else None

    def _fault_of(self, error: Exception) -> StoreError:
        """What a person can act on."""
        return common.engine(_code(error), str(error), self._place)


def _code(error: Exception) -> int:
    """SQLite's primary result code, 0 when the error is not SQLite's own."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a `StoreError`."""
    try:
        yield
    except ERRORS as error:
        raise common.engine(_code(error), str(error), place) from error
    except OSError as error:
        raise StoreError(
            f"the store cannot be opened: {error.strerror or error}",
            place=str(error.filename or place),
            remedy="Check the path and its permissions",
        ) from error


# ---------------------------------------------------------------- opening


def _open(
    path: Path, file: Path, readonly: bool, salvage: bool
) -> tuple[sqlite3.Connection | None, str, sqlite3.Connection]:
    """The writing connection (None: read only), the URI for reading, and a first reader."""
    if path.exists() and not path.is_dir():
        raise common.not_a_directory(str(path))
    if salvage and file.exists():
        # `mode=ro`: the last connection to go would else fold in the log, and remove the evidence.
        uri = f"{file.absolute().as_uri()}?mode=ro"
        return None, uri, _checked_reader(uri, path, file)
    log.check(file)
    conn = None if readonly else _open_for_writing(path, file)
    try:
        uri, first = _open_for_reading(path, file)
    except BaseException:
        if conn is not None:
            conn.close()
        raise
    return conn, uri, first


def _connect(uri: str) -> sqlite3.Connection:
    """A connection in autocommit mode that any one thread at a time may use."""
    return sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)


def _reader(uri: str) -> sqlite3.Connection:
    """A connection that cannot change the database."""
    conn = _connect(uri)
    # A text that is damaged is to be shown, not to hide everything beside it.
    conn.text_factory = lambda data: data.decode("utf-8", "replace")
    conn.execute("PRAGMA query_only = ON")
    return conn


def _open_for_writing(path: Path, file: Path) -> sqlite3.Connection | None:
    """The writing connection; None when an existing store can only be read."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        # SQLite gives its log the same permissions as the database.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    conn = _connect(f"{file.absolute().as_uri()}?mode=rw")
    try:
        # Two processes that make the same store take turns; a half-made one is finished here.
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows.prepare(conn, str(file))
        if conn.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(
                "this file system does not support a write-ahead log",
                place=str(file),
                remedy="Keep the store on a local disk",
            )
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    except BaseException as error:
        conn.close()
        if isinstance(error, sqlite3.OperationalError) and _read_only(error):
            return None
        raise
    finally:
        os.close(lock)
    return conn


def _read_only(error: sqlite3.OperationalError) -> bool:
    """Whether an error can mean that the directory or the file cannot be written."""
    return _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _open_for_reading(path: Path, file: Path) -> tuple[str, sqlite3.Connection]:
    """How to connect for reading, and the first such connection."""
    if not file.exists():
        raise common.no_store(str(path))
    # Not `mode=ro`: such a connection leaves an empty log behind, this one clears up after itself.
    uri = f"{file.absolute().as_uri()}?mode=rw"
    try:
        return uri, _checked_reader(uri, path, file)
    except sqlite3.OperationalError as error:
        if not _read_only(error):
            raise
    # SQLite cannot put its lock file here. Nobody else can write either, so none is needed, but
    # `immutable` would skip the log, and with it acknowledged entries.
    wal = file.with_name(file.name + "-wal")
    if wal.exists() and wal.stat().st_size > 0:
        raise StoreError(
            "the store was not closed, so its last entries cannot be read where nobody can write",
            place=str(file),
            remedy="Copy the directory to where you can write, and open the copy",
        )
    uri = f"{file.absolute().as_uri()}?immutable=1"
    return uri, _checked_reader(uri, path, file)


def _checked_reader(uri: str, path: Path, file: Path) -> sqlite3.Connection:
    """A reader of a database that is a store of our format; raises otherwise."""
    conn = _reader(uri)
    try:
        if not rows.formatted(conn, str(file)):
            raise common.no_store(str(path))
    except BaseException:
        conn.close()
        raise
    return conn
