"""Rows: the tables of a store and every statement on them.

Rules of this file:
1. A connection is given, never opened here; whoever gives it turns its errors into faults.
2. What writes runs inside `in_one`, one transaction per group; among others, one savepoint per item.
3. A session's `key` is its row; ids stand in one place, so that entries stay small.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from loopspec.errors import Damaged, StoreError
from loopspec.stores import common
from loopspec.stores.base import Append, Head, Lease, SessionRow
from loopspec.stores.pack import pack, unpack

FORMAT: Final = 2
# Format 1 had no leases: it can be read as it is, and is upgraded when it is opened for writing.
OLDEST: Final = 1
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
    # Apart from `sessions`, whose rows are long: a sign of life must not rewrite a snapshot.
    "leases": """(session INTEGER PRIMARY KEY REFERENCES sessions(key), token INTEGER NOT NULL,
        holder TEXT NOT NULL, since INTEGER NOT NULL, beat INTEGER NOT NULL)""",
}
# Table by the format it came with, if that was not the first.
_SINCE: Final = {"leases": 2}
_INDEX: Final = "CREATE INDEX refusals_of ON refusals (session, row)"


def prepare(conn: Connection, place: str) -> None:
    """Check the format; make the tables that a new or an older store lacks, in one transaction."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        found = formatted(conn, place)
        if found < FORMAT:
            for name, columns in _TABLES.items():
                if found < _SINCE.get(name, 1):
                    conn.execute(f"CREATE TABLE {name} {columns}")
            if not found:
                conn.execute(_INDEX)
            conn.execute(f"PRAGMA application_id = {APPLICATION}")
            conn.execute(f"PRAGMA user_version = {FORMAT}")
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.execute("ROLLBACK")


def formatted(conn: Connection, place: str) -> int:
    """The format of a store we can read, 0 for an empty database; raises `StoreError` otherwise."""
    application = conn.execute("PRAGMA application_id").fetchone()[0]
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master").fetchall()}
    if not tables and application == 0 and version == 0:
        return 0
    if application != APPLICATION:
        raise StoreError(
            "this database belongs to another program",
            place=place,
            remedy="Choose another directory",
        )
    if not OLDEST <= version <= FORMAT:
        raise StoreError(
            f"the store has format {version}; this loopspec reads formats {OLDEST} to {FORMAT}",
            place=place,
            remedy="Use the loopspec that wrote it, or a newer one",
        )
    missing = sorted(t for t in _TABLES.keys() - tables if _SINCE.get(t, 1) <= version)
    if missing:
        raise Damaged(
            f"the table `{missing[0]}` is missing",
            place=place,
            remedy="Restore the store from a copy",
        )
    return int(version)


def in_one(
    conn: Connection, works: Sequence[Work], crash: Callable[[str], None]
) -> list[Exception | None]:
    """Do all works in one transaction; gives back each one's fault.

    A work's fault is its own, as long as the transaction survived it. Anything else is raised, and the
    fault of a single work too; then nothing of the group is written.
    """
    crash("before-write")
    if conn.in_transaction:  # an earlier rollback failed, on a disk that was failing
        conn.execute("ROLLBACK")
    try:
        conn.execute("BEGIN IMMEDIATE")
        if len(works) == 1:  # nothing has to be spared its fault, so it needs no savepoint
            works[0](conn)
            faults: list[Exception | None] = [None]
        else:
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
    _typed(row, (int,), f"session {session}")
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
        "SELECT key, head_seq, updated, coalesce((SELECT token FROM leases"
        " WHERE session = key AND holder <> ''), 0) FROM sessions WHERE id = ?",
        (item.session,),
    ).fetchone()
    if row is None:
        raise common.unknown(item.session)
    _typed(row, (int, int, int, int), f"session {item.session}")
    key, head, updated, holds = row
    if item.token != holds:
        raise common.superseded(item.session, item.token, holds)
    if item.seq != head + 1:
        raise common.out_of_turn(item.session, item.seq, head)
    for digest, data in item.blobs.items():
        put_blob(conn, digest, data)
    conn.execute(
        "INSERT INTO entries (session, seq, body) VALUES (?, ?, ?)", (key, item.seq, pack(item.entry))
    )
    conn.execute(
        "UPDATE sessions SET head_seq = ?, head_hash = ?, snapshot = ?, updated = ? WHERE key = ?",
        (item.seq, item.hash, item.snapshot, item.at or common.stamp_of(item.entry, updated), key),
    )


def adopt(
    conn: Connection, session: str, name: str, created: int, items: Iterable[Append]
) -> None:
    """Insert a session with all its entries."""
    create(conn, session, name, created)
    for item in items:
        append(conn, item)


def lease(conn: Connection, session: str) -> Lease:
    """Who drives a session; raises `NotFound`. Nobody, in a store from before there were leases."""
    key = key_of(conn, session)
    if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'leases'").fetchone():
        return Lease(session)
    row = conn.execute(
        "SELECT token, holder, since, beat FROM leases WHERE session = ?", (key,)
    ).fetchone()
    if row is None:
        return Lease(session)
    _typed(row, (int, str, int, int), f"session {session}, its lease")
    return Lease(session, *row)


def acquire(conn: Connection, session: str, holder: str, at: int, after: int) -> None:
    """Give the lease to `holder` under token `after` + 1, unless somebody was faster."""
    newest = lease(conn, session).token
    if newest != after:
        raise common.not_free(session, after, newest)
    conn.execute(
        "INSERT OR REPLACE INTO leases (session, token, holder, since, beat) VALUES (?, ?, ?, ?, ?)",
        (key_of(conn, session), after + 1, holder, at, at),
    )


def beat(conn: Connection, session: str, token: int, at: int) -> None:
    """Note a sign of life of the lease's holder."""
    found = lease(conn, session)
    holds = found.token if found.holder else 0
    if token != holds or not token:
        raise common.superseded(session, token, holds)
    conn.execute("UPDATE leases SET beat = ? WHERE session = ?", (at, key_of(conn, session)))


def release(conn: Connection, session: str, token: int) -> None:
    """Empty the lease of its holder, if that is the token's."""
    key = key_of(conn, session)
    conn.execute("UPDATE leases SET holder = '' WHERE session = ? AND token = ?", (key, token))


def unhold(conn: Connection) -> None:
    """Empty every lease of its holder: a copy's sessions are driven by nobody."""
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'leases'").fetchone():
        conn.execute("UPDATE leases SET holder = ''")


def put_blob(conn: Connection, digest: str, data: bytes) -> None:
    """Insert a blob unless it is there; one whose bytes were damaged is healed."""
    conn.execute(
        "INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT (digest)"
        " DO UPDATE SET data = excluded.data WHERE data IS NOT excluded.data",
        (digest, data),
    )


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
    _typed((found,), (int | None,), "an entry's sequence")
    return common.EMPTY if found is None else int(found)


def page(conn: Connection, key: int, start: int, stop: int) -> list[tuple[int, bytes]]:
    """At most `PAGE` entries with `start <= seq < stop`, as sequence and bytes, in order."""
    found = conn.execute(
        "SELECT seq, body FROM entries WHERE session = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (key, start, stop, PAGE),
    ).fetchall()
    for row in found:
        _typed(row, (int, bytes), f"entry {row[0]}")
    return [(seq, unpack(body)) for seq, body in found]


def head(conn: Connection, session: str) -> Head | None:
    """The head, None for a session without entries; raises `NotFound`."""
    row = conn.execute(
        "SELECT head_seq, head_hash, snapshot FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    if row is None:
        raise common.unknown(session)
    _typed(row, (int, str, bytes), f"session {session}, its head")
    return None if row[0] == common.EMPTY else Head(session, *row)


def sessions(conn: Connection) -> list[SessionRow]:
    """All sessions, newest first; a damaged row is shown as well as it can be and hides no other."""
    rows = conn.execute(
        "SELECT id, name, created, head_seq, updated FROM sessions ORDER BY created DESC, key DESC"
    ).fetchall()
    return [SessionRow(_text(row[0]), _text(row[1]), *map(_number, row[2:])) for row in rows]


def _text(value: Any) -> str:
    """A text as it should stand in a row, whatever does."""
    return value if isinstance(value, str) else str(value)


def _number(value: Any) -> int:
    """A number as it should stand in a row, 0 when something else does."""
    return value if isinstance(value, int) else 0


def _typed(row: Sequence[Any], kinds: Sequence[Any], place: str) -> None:
    """Raise `Damaged` unless a row's values are of the sorts that were written: SQLite keeps any."""
    if not all(map(isinstance, row, kinds)):
        raise Damaged(
            "the row holds something that was never written there",
            place=place,
            remedy="Restore the store from a copy",
        )


def blob(conn: Connection, digest: str) -> bytes | None:
    """A blob's bytes as they stand, None if it was never kept."""
    row = conn.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        return None
    _typed(row, (bytes,), f"blob {digest[:12]}")
    return bytes(row[0])


def partials(conn: Connection, session: str) -> dict[str, bytes]:
    """The partial rows of a session, by effect, but for damaged ones; raises `NotFound`."""
    found = conn.execute("SELECT effect, data FROM partials WHERE session = ?", (key_of(conn, session),))
    return {e: data for e, data in found.fetchall() if isinstance(e, str) and isinstance(data, bytes)}


def refusals(conn: Connection, session: str) -> list[bytes]:
    """The ring of refusals, oldest first, but for damaged ones; raises `NotFound`."""
    found = conn.execute(
        "SELECT note FROM refusals WHERE session = ? ORDER BY row", (key_of(conn, session),)
    )
    return [note for (note,) in found.fetchall() if isinstance(note, bytes)]
