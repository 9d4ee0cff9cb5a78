"""Rows: the tables of a store and every statement on them.

Rules of this file:
1. A connection is given, never opened here; whoever gives it turns its errors into faults.
2. What writes runs inside `in_one`, one transaction per group, one savepoint per item.
3. A session's `key` is its row; ids stand in one place, so that entries stay small.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from loopspec.errors import Damaged, StoreError
from loopspec.stores import common
from loopspec.stores.base import Append, Head, SessionRow

FORMAT: Final = 1
# "LSPC"; tells `file(1)` and us that a database is a loopspec store.
APPLICATION: Final = 0x4C535043
# Rows read at once: few enough to stay small in memory, many enough to make queries rare.
PAGE: Final = 500


class Cursor(Protocol):
    """The rows of one statement."""

    def fetchone(self) -> Any:
        """The next row, None after the last."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


class Connection(Protocol):
    """A connection in autocommit mode."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""


Work = Callable[[Connection], None]

_TABLES: Final = {
    "sessions": """(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL, head_seq INTEGER NOT NULL DEFAULT -1,
        head_hash TEXT NOT NULL DEFAULT '', snapshot BLOB NOT NULL DEFAULT x'')""",
    # A rowid table: appends go to its end of any session; WITHOUT ROWID was three times slower.
    "entries": """(row INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions(key),
        seq INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (session, seq))""",
    "blobs": "(row INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, data BLOB NOT NULL)",
    "partials": """(session INTEGER NOT NULL REFERENCES sessions(key), effect TEXT NOT NULL,
        data BLOB NOT NULL, PRIMARY KEY (session, effect))""",
    "refusals": """(row INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions(key),
        note BLOB NOT NULL)""",
}
_INDEX: Final = "CREATE INDEX refusals_of ON refusals (session, row)"


def prepare(conn: Connection, place: str) -> None:
    """Check the format and make the tables of a new store, in one transaction."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        if not formatted(conn, place):
            for name, columns in _TABLES.items():
                conn.execute(f"CREATE TABLE {name} {columns}")
            conn.execute(_INDEX)
            conn.execute(f"PRAGMA application_id = {APPLICATION}")
            conn.execute(f"PRAGMA user_version = {FORMAT}")
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


def formatted(conn: Connection, place: str) -> bool:
    """Whether this is a store of our format; False for an empty database; raises otherwise."""
    application = conn.execute("PRAGMA application_id").fetchone()[0]
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master").fetchall()}
    if not tables and application == 0 and version == 0:
        return False
    if application != APPLICATION:
        raise StoreError(
            "this database belongs to another program",
            place=place,
            remedy="Choose another directory",
        )
    if version != FORMAT:
        raise StoreError(
            f"the store has format {version}; this loopspec reads format {FORMAT}",
            place=place,
            remedy="Use the loopspec that wrote it, or a newer one",
        )
    missing = sorted(_TABLES.keys() - tables)
    if missing:
        raise Damaged(
            f"the table `{missing[0]}` is missing",
            place=place,
            remedy="Restore the store from a copy",
        )
    return True


def in_one(
    conn: Connection, works: Iterable[Work], crash: Callable[[str], None]
) -> list[Exception | None]:
    """Do all works in one transaction; gives back each one's fault.

    A work's fault is its own, as long as the transaction survived it. Anything else is raised, and
    then nothing of the group is written.
    """
    crash("before-write")
    if conn.in_transaction:  # an earlier rollback failed, on a disk that was failing
        conn.execute("ROLLBACK")
    try:
        conn.execute("BEGIN IMMEDIATE")
        faults = [_attempt(conn, work) for work in works]
        crash("after-write")
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
    return faults


def _attempt(conn: Connection, work: Work) -> Exception | None:
    """Do one work under a savepoint."""
    fault: Exception | None = None
    conn.execute("SAVEPOINT item")
    try:
        work(conn)
    except Exception as error:
        if not conn.in_transaction:  # the disk failed: the whole group is rolled back already
            raise
        conn.execute("ROLLBACK TO item")
        fault = error
    conn.execute("RELEASE item")
    return fault


def key_of(conn: Connection, session: str) -> int:
    """The row of a session; raises `NotFound`."""
    row = conn.execute("SELECT key FROM sessions WHERE id = ?", (session,)).fetchone()
    if row is None:
        raise common.unknown(session)
    return int(row[0])


def create(conn: Connection, session: str, name: str, created: int) -> None:
    """Insert an empty session."""
    if conn.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone() is not None:
        raise common.exists(session)
    conn.execute(
        "INSERT INTO sessions (id, name, created, updated) VALUES (?, ?, ?, ?)",
        (session, name, created, created),
    )


def append(conn: Connection, item: Append) -> None:
    """Insert an entry with its blobs and move the head."""
    row = conn.execute(
        "SELECT key, head_seq, updated FROM sessions WHERE id = ?", (item.session,)
    ).fetchone()
    if row is None:
        raise common.unknown(item.session)
    key, head, updated = row
    if item.seq != head + 1:
        raise common.out_of_turn(item.session, item.seq, head)
    for digest, data in item.blobs.items():
        put_blob(conn, digest, data)
    conn.execute("INSERT INTO entries (session, seq, body) VALUES (?, ?, ?)", (key, item.seq, item.entry))
    conn.execute(
        "UPDATE sessions SET head_seq = ?, head_hash = ?, snapshot = ?, updated = ? WHERE key = ?",
        (item.seq, item.hash, item.snapshot, common.stamp_of(item.entry, updated), key),
    )


def put_blob(conn: Connection, digest: str, data: bytes) -> None:
    """Insert a blob unless it is there."""
    conn.execute("INSERT OR IGNORE INTO blobs (digest, data) VALUES (?, ?)", (digest, data))


def keep_partial(conn: Connection, session: str, effect: str, data: bytes | None) -> None:
    """Replace a partial row, or delete it when there is no data."""
    key = key_of(conn, session)
    if data is None:
        conn.execute("DELETE FROM partials WHERE session = ? AND effect = ?", (key, effect))
    else:
        conn.execute(
            "INSERT OR REPLACE INTO partials (session, effect, data) VALUES (?, ?, ?)",
            (key, effect, data),
        )


def refuse(conn: Connection, session: str, note: bytes) -> None:
    """Add a refusal and let the oldest go."""
    key = key_of(conn, session)
    conn.execute("INSERT INTO refusals (session, note) VALUES (?, ?)", (key, note))
    conn.execute(
        "DELETE FROM refusals WHERE session = ? AND row NOT IN"
        " (SELECT row FROM refusals WHERE session = ? ORDER BY row DESC LIMIT ?)",
        (key, key, common.REFUSALS_KEPT),
    )


def newest(conn: Connection, key: int) -> int:
    """The highest sequence among a session's entries, -1 without any.

    Asked of the rows, not of the head: `verify` must see what stands beyond a wrong head.
    """
    found = conn.execute("SELECT max(seq) FROM entries WHERE session = ?", (key,)).fetchone()[0]
    return common.EMPTY if found is None else int(found)


def page(conn: Connection, key: int, start: int, stop: int) -> list[tuple[int, bytes]]:
    """At most `PAGE` entries with `start <= seq < stop`, as sequence and bytes, in order."""
    return conn.execute(
        "SELECT seq, body FROM entries WHERE session = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (key, start, stop, PAGE),
    ).fetchall()


def head(conn: Connection, session: str) -> Head | None:
    """The head, None for a session without entries; raises `NotFound`."""
    row = conn.execute(
        "SELECT head_seq, head_hash, snapshot FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    if row is None:
        raise common.unknown(session)
    return None if row[0] == common.EMPTY else Head(session, *row)


def sessions(conn: Connection) -> list[SessionRow]:
    """All sessions, newest first."""
    rows = conn.execute(
        "SELECT id, name, created, head_seq, updated FROM sessions ORDER BY created DESC, key DESC"
    ).fetchall()
    return [SessionRow(*row) for row in rows]


def blob(conn: Connection, digest: str) -> bytes | None:
    """A blob's bytes as they stand, None if it was never kept."""
    row = conn.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else bytes(row[0])


def partials(conn: Connection, session: str) -> dict[str, bytes]:
    """The partial rows of a session, by effect; raises `NotFound`."""
    found = conn.execute("SELECT effect, data FROM partials WHERE session = ?", (key_of(conn, session),))
    return dict(found.fetchall())


def refusals(conn: Connection, session: str) -> list[bytes]:
    """The ring of refusals, oldest first; raises `NotFound`."""
    found = conn.execute(
        "SELECT note FROM refusals WHERE session = ? ORDER BY row", (key_of(conn, session),)
    )
    return [note for (note,) in found.fetchall()]
