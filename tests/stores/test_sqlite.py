"""What only the SQLite store promises: groups, reopening, opening faults, reading while writing."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from store_kit import fill, head_of, item, whole

from loopspec.errors import Conflict, Damaged, NotFound, StoreError
from loopspec.stores import rows
from loopspec.stores.pack import pack
from loopspec.stores.sqlite import FILE, SqliteStore
from loopspec.stores.writer import GROUP


class Hold:
    """A crash seam that holds the writer before its next write until it is let go."""

    def __init__(self) -> None:
        self.armed = False
        self.held = threading.Event()
        self.go = threading.Event()

    def __call__(self, point: str) -> None:
        if self.armed and point == "before-write":
            self.armed = False
            self.held.set()
            assert self.go.wait(30)


def all_of(store: SqliteStore, session: str) -> object:
    """All that stays of a session after closing."""
    return whole(store, session), store.partials(session), store.refusals(session), store.sessions()


def raw(path: Path, *statements: str) -> None:
    """Change a closed store behind its back."""
    conn = sqlite3.connect(path / FILE)
    with conn:
        for statement in statements:
            conn.execute(statement)
    conn.close()


# ---------------------------------------------------------------- reopening


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "deep" / "store")
    made = fill(store, "s", 5)
    digest = store.put_blob(b"kept")
    store.put_partial("s", "s:4:0", b"half a reply")
    store.refuse("s", b"no")
    before = all_of(store, "s")
    store.close()
    again = SqliteStore(tmp_path / "deep" / "store")
    assert all_of(again, "s") == before
    assert again.blob(digest) == b"kept"
    follower = item("s", 5)
    assert again.append(follower).result() is None
    assert whole(again, "s") == (head_of(follower), [e.entry for e in [*made, follower]])
    again.close()


def test_close_writes_what_is_queued_and_leaves_one_file(tmp_path: Path) -> None:
    hold = Hold()
    store = SqliteStore(tmp_path, crash=hold)
    store.create("s", "spec", 1)
    hold.armed = True
    futures = [store.append(item("s", seq)) for seq in range(2 * GROUP)]
    store.put_partial("s", "s:0:0", b"open")
    assert hold.held.wait(30)
    closer = threading.Thread(target=store.close)
    closer.start()
    assert not any(future.done() for future in futures)
    hold.go.set()
    closer.join()
    assert [future.exception() for future in futures] == [None] * (2 * GROUP)
    assert [one.name for one in tmp_path.iterdir()] == [FILE]
    again = SqliteStore(tmp_path)
    assert again.head("s") == head_of(item("s", 2 * GROUP - 1))
    assert again.partials("s") == {"s:0:0": b"open"}
    again.close()


def test_the_directory_and_its_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "store")
        fill(store, "s", 1)
        found = {
            one.name: stat.S_IMODE(one.stat().st_mode)
            for one in [store.directory, *store.directory.iterdir()]
        }
    finally:
        os.umask(old)
    assert found == {"store": 0o700, FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}
    store.close()


def test_the_database_is_what_the_format_says(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.close()
    conn = sqlite3.connect(tmp_path / FILE)
    marks = ["application_id", "user_version", "journal_mode"]
    assert [conn.execute(f"PRAGMA {mark}").fetchone()[0] for mark in marks] == [
        rows.APPLICATION,
        2,
        "wal",
    ]
    conn.close()


# ---------------------------------------------------------------- groups


def test_what_queues_up_is_committed_as_one_group(tmp_path: Path) -> None:
    hold = Hold()
    store = SqliteStore(tmp_path, crash=hold)
    for n in range(10):
        store.create(f"s{n}", "spec", n)
    hold.armed = True
    first = store.append(item("s0", 0))
    assert hold.held.wait(30)
    before = store.commits
    others = [store.append(item(f"s{n}", 0)) for n in range(1, 10)]
    wrong = [store.append(item("s1", 7)), store.append(item("x", 0))]
    others += [store.append(item("s0", seq)) for seq in range(1, 50)]
    hold.go.set()
    assert [future.exception() for future in [first, *others]] == [None] * 59
    assert [type(future.exception()) for future in wrong] == [Conflict, NotFound]
    store.close()
    assert store.commits - before == 2  # the one that was held, and one for all that waited


def test_a_group_has_a_largest_size(tmp_path: Path) -> None:
    hold = Hold()
    store = SqliteStore(tmp_path, crash=hold)
    store.create("s", "spec", 1)
    hold.armed = True
    store.append(item("s", 0))
    assert hold.held.wait(30)
    before = store.commits
    futures = [store.append(item("s", seq)) for seq in range(1, 2 * GROUP + 2)]
    hold.go.set()
    assert [future.exception() for future in futures] == [None] * len(futures)
    store.close()
    assert store.commits - before == 4


def test_a_future_is_open_until_its_commit(tmp_path: Path) -> None:
    points: list[tuple[str, bool, int]] = []
    futures: list[Future[None]] = []
    hold = Hold()

    def crash(point: str) -> None:
        hold(point)
        if futures:
            points.append((point, futures[0].done(), len(list(store.entries("s")))))

    store = SqliteStore(tmp_path, crash=crash)
    store.create("s", "spec", 1)
    hold.armed = True
    future = store.append(item("s", 0))
    assert hold.held.wait(30)
    futures.append(future)
    hold.go.set()
    future.result()
    store.close()
    assert points == [
        ("before-write", False, 0),
        ("after-write", False, 0),
        ("after-commit", False, 1),
    ]


def test_a_fault_of_the_group_fails_each_item_and_the_thread_lives_on(tmp_path: Path) -> None:
    hold = Hold()
    broken = threading.Event()

    def crash(point: str) -> None:
        hold(point)
        if point == "after-write" and broken.is_set():
            broken.clear()
            raise SystemExit("the machine goes down")

    store = SqliteStore(tmp_path, crash=crash)
    made = fill(store, "s", 1)
    hold.armed = True
    first = store.append(item("s", 1))
    assert hold.held.wait(30)
    broken.set()
    store.put_partial("s", "s:1:0", b"rides along")
    hold.go.set()
    fault = first.exception()
    assert type(fault) is StoreError
    assert str(fault) == (
        f"{tmp_path / FILE}: the writer failed: SystemExit: the machine goes down. "
        "Read the session again to see where it stands"
    )
    assert whole(store, "s") == (head_of(made[0]), [made[0].entry])
    assert store.append(item("s", 1)).result() is None
    store.close()


def test_waiting_for_the_store_in_a_callback_is_refused(tmp_path: Path) -> None:
    hold = Hold()
    store = SqliteStore(tmp_path, crash=hold)
    store.create("s", "spec", 1)
    faults: list[str] = []
    over = threading.Event()

    def call(_: "Future[None]") -> None:
        for ask in (lambda: store.put_blob(b"x"), store.close):
            with pytest.raises(StoreError) as caught:
                ask()
            faults.append(str(caught.value))
        over.set()

    hold.armed = True
    store.append(item("s", 0)).add_done_callback(call)
    hold.go.set()
    assert over.wait(30)
    says = (
        f"{tmp_path / FILE}: a callback of an append waits for the store, "
        "which waits for the callback. Do it in another thread"
    )
    assert faults == [says, says]
    assert store.append(item("s", 1)).result() is None
    store.close()


# ---------------------------------------------------------------- partial rows


def test_partial_rows_are_flushed_without_an_append(tmp_path: Path) -> None:
    flushed = threading.Event()
    asked = threading.Event()

    def crash(point: str) -> None:
        if point == "after-commit" and asked.is_set():
            flushed.set()

    store = SqliteStore(tmp_path, crash=crash)
    store.create("s", "spec", 1)
    asked.set()
    store.put_partial("s", "s:0:0", b"half")
    assert flushed.wait(30)
    other = SqliteStore(tmp_path, readonly=True)
    assert other.partials("s") == {"s:0:0": b"half"}
    other.close()
    store.close()
    assert store.lost_partials == 0


def test_a_fast_stream_costs_one_row_however_often_it_is_put(tmp_path: Path) -> None:
    hold = Hold()
    store = SqliteStore(tmp_path, crash=hold)
    store.create("s", "spec", 1)
    hold.armed = True
    store.put_partial("s", "s:0:0", b"first")
    assert hold.held.wait(30)
    before = store.commits
    for n in range(1000):
        store.put_partial("s", "s:0:0", b"%d" % n)
        store.put_partial("s", "s:0:1", b"gone")
    store.drop_partial("s", "s:0:1")
    assert store.partials("s") == {"s:0:0": b"999"}
    hold.go.set()
    store.close()
    assert store.commits - before == 2
    again = SqliteStore(tmp_path, readonly=True)
    assert again.partials("s") == {"s:0:0": b"999"}
    again.close()


def test_lost_partial_rows_are_counted(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.put_partial("nobody", "n:0:0", b"x")
    store.close()
    assert store.lost_partials == 1
    store.put_partial("nobody", "n:0:0", b"x")
    assert store.lost_partials == 2


# ---------------------------------------------------------------- reading


def test_readers_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    inside, go = threading.Event(), threading.Event()
    armed = threading.Event()

    def crash(point: str) -> None:
        if armed.is_set() and point == "after-write":
            inside.set()
            assert go.wait(30)

    store = SqliteStore(tmp_path, crash=crash)
    made = fill(store, "s", 3)
    before = all_of(store, "s")
    armed.set()
    future = store.append(item("s", 3))
    assert inside.wait(30)
    assert all_of(store, "s") == before
    assert [e.entry for e in made] == list(store.entries("s"))
    go.set()
    future.result()
    assert store.head("s") == head_of(item("s", 3))
    store.close()


def test_a_long_session_is_read_page_by_page(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    count = 2 * rows.PAGE + 7
    made = [one.entry for one in fill(store, "s", count)]
    assert list(store.entries("s")) == made
    assert list(store.entries("s", rows.PAGE - 1, rows.PAGE + 1)) == made[rows.PAGE - 1 : rows.PAGE + 1]
    lazy = store.entries("s")
    assert next(lazy) == made[0]
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        list(lazy)  # the first page is in memory, the second would have to be read


def test_entries_beyond_a_wrong_head_and_gaps_show(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    made = [one.entry for one in fill(store, "s", 5)]
    store.close()
    raw(tmp_path, "UPDATE sessions SET head_seq = 1", "DELETE FROM entries WHERE seq = 2")
    store = SqliteStore(tmp_path)
    assert list(store.entries("s")) == [*made[:2], *made[3:]]
    store.append(item("s", 2)).result()
    wrong = item("s", 3, blobs=(b"written before the fault shows",))
    ordered = [store.append(wrong), store.append(item("s", 3))]
    fault = ordered[0].exception()
    assert [type(future.exception()) for future in ordered] == [Damaged, Damaged]
    with pytest.raises(NotFound):
        store.blob(next(iter(wrong.blobs)))
    assert str(fault) == (
        f"{tmp_path / FILE}: the rows contradict each other. Restore the store from a copy"
    )
    store.close()


def test_a_flipped_byte_in_a_blob_is_noticed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    data = b"a blob that fills more than a page " * 400
    digest = store.put_blob(data)
    store.close()
    database = tmp_path / FILE
    content = bytearray(database.read_bytes())
    content[content.index(b"a blob that fills", 4096) + 3] ^= 1
    database.write_bytes(content)
    store = SqliteStore(tmp_path)
    with pytest.raises(Damaged) as caught:
        store.blob(digest)
    assert str(caught.value) == (
        f"{digest}: the blob's bytes do not match its digest. "
        "Restore the store from a copy; the session cannot be trusted past this blob"
    )
    store.close()


# ---------------------------------------------------------------- opening


def break_header(path: Path) -> None:
    (path / FILE).write_bytes(b"this is not a database, " * 400)


def break_pages(path: Path) -> None:
    content = (path / FILE).read_bytes()
    (path / FILE).write_bytes(content[:100] + b"\xff" * (len(content) - 100))


OPENING: list[tuple[str, Callable[[Path], object], type[StoreError], str]] = [
    (
        "text",
        break_header,
        Damaged,
        "not a SQLite database. Restore it from a copy, or name another directory",
    ),
    ("pages", break_pages, Damaged, "the database is damaged. Restore the store from a copy"),
    (
        "newer",
        lambda path: raw(path, "PRAGMA user_version = 3"),
        StoreError,
        "the store has format 3; this loopspec reads formats 1 to 2. "
        "Use the loopspec that wrote it, or a newer one",
    ),
    (
        "foreign",
        lambda path: raw(path, "PRAGMA application_id = 77"),
        StoreError,
        "this database belongs to another program. Choose another directory",
    ),
    (
        "table",
        lambda path: raw(path, "DROP TABLE blobs"),
        Damaged,
        "the table `blobs` is missing. Restore the store from a copy",
    ),
    (
        "leases",
        lambda path: raw(path, "DROP TABLE leases"),
        Damaged,
        "the table `leases` is missing. Restore the store from a copy",
    ),
]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(("name", "spoil", "kind", "says"), OPENING, ids=[o[0] for o in OPENING])
def test_a_database_that_is_not_a_store_is_refused_in_one_line(
    tmp_path: Path,
    name: str,
    spoil: Callable[[Path], object],
    kind: type[StoreError],
    says: str,
    readonly: bool,
) -> None:
    store = SqliteStore(tmp_path)
    fill(store, "s", 3)
    store.close()
    spoil(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path, readonly=readonly)
    assert (type(caught.value), str(caught.value)) == (kind, f"{tmp_path / FILE}: {says}")
    assert (tmp_path / FILE).read_bytes() == before


def test_damage_found_while_reading_is_a_fault_in_one_line(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.create("s", "spec", 1)
    for seq in range(40):
        store.append(item("s", seq, pad=3000))
    store.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    start = content.index(pack(item("s", 5, pad=3000).entry)[:500])
    for page in range(start // 4096, len(content) // 4096):
        content[page * 4096 : page * 4096 + 12] = b"\xff" * 12
    (tmp_path / FILE).write_bytes(content)
    store = SqliteStore(tmp_path)
    with pytest.raises(Damaged) as caught:
        list(store.entries("s"))
    assert str(caught.value) == (
        f"{tmp_path / FILE}: the database is damaged. Restore the store from a copy"
    )
    store.close()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    for readonly in (False, True):
        with pytest.raises(StoreError) as caught:
            SqliteStore(path, readonly=readonly)
        assert str(caught.value) == f"{path}: not a directory. A store is a directory: name one"
    with pytest.raises(StoreError) as caught:
        SqliteStore(path / "below")
    assert str(caught.value) == (
        f"{path / 'below'}: the store cannot be opened: Not a directory. "
        "Check the path and its permissions"
    )
    assert path.read_bytes() == b"mine"


def test_reading_only_makes_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(NotFound) as caught:
            SqliteStore(path, readonly=True)
        assert str(caught.value) == f"{path}: no store here. Check the directory"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(NotFound):
        SqliteStore(tmp_path, readonly=True)
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


def test_a_store_opened_for_reading_only_reads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    fill(store, "s", 2)
    live = SqliteStore(tmp_path, readonly=True)
    store.append(item("s", 2)).result()
    assert live.head("s") == head_of(item("s", 2))
    live.close()
    before = all_of(store, "s")
    store.close()
    reader = SqliteStore(tmp_path, readonly=True)
    assert all_of(reader, "s") == before
    says = (
        f"{tmp_path / FILE}: the store can only be read. "
        "Open it for writing, in a directory that allows it"
    )
    asks: list[Callable[[], object]] = [
        lambda: reader.create("t", "spec", 1),
        lambda: reader.append(item("s", 3)).result(),
        lambda: reader.put_blob(b"x"),
        lambda: reader.refuse("s", b"x"),
    ]
    for ask in asks:
        with pytest.raises(StoreError) as caught:
            ask()
        assert str(caught.value) == says
    reader.put_partial("s", "e", b"x")
    assert reader.lost_partials == 1
    assert all_of(reader, "s") == before
    reader.close()
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


def test_a_half_made_store_is_finished(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(0o600)
    store = SqliteStore(tmp_path)
    fill(store, "s", 1)
    store.close()


def test_a_path_with_signs_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=memory#c%20ü"
    store = SqliteStore(path)
    fill(store, "s", 1)
    store.close()
    assert [one.name for one in path.iterdir()] == [FILE]


def test_many_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    many = 6
    for n in range(10):
        path = tmp_path / str(n)
        start = threading.Barrier(many)

        def make(seq: int, path: Path = path, start: threading.Barrier = start) -> SqliteStore:
            start.wait()
            return SqliteStore(path)

        with ThreadPoolExecutor(many) as pool:
            stores = list(pool.map(make, range(many)))
        stores[0].create("s", "spec", 1)
        assert [store.append(item("s", seq)).exception() for seq, store in enumerate(stores)] == [
            None
        ] * many
        for store in stores:
            store.close()
        assert [one.name for one in path.iterdir()] == [FILE]
