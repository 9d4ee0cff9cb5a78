"""What every store must do. A new store joins by adding its factory to `FACTORIES`."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from store_kit import fill, head_of, item, whole

from loopspec import codec
from loopspec.errors import Conflict, Damaged, NotFound, StoreError
from loopspec.stores.base import Append, SessionRow, Store
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore

FACTORIES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda path: SqliteStore(path / "store"),
}


@pytest.fixture(params=sorted(FACTORIES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = FACTORIES[request.param](tmp_path)
    yield made
    made.close()


def test_a_new_session_is_empty(store: Store) -> None:
    store.create("s", "spec", 7)
    assert whole(store, "s") == (None, [])
    assert store.partials("s") == {}
    assert store.refusals("s") == []
    assert store.sessions() == [SessionRow("s", "spec", 7, -1, 7)]


def test_an_appended_entry_is_there_with_its_head_and_its_blobs(store: Store) -> None:
    store.create("s", "spec", 7)
    made = item("s", 0, blobs=(b"machine", b"prompt"))
    assert store.append(made).result() is None
    assert whole(store, "s") == (head_of(made), [made.entry])
    assert [store.blob(digest) for digest in made.blobs] == [b"machine", b"prompt"]
    assert store.sessions() == [SessionRow("s", "spec", 7, 0, 1000)]


def test_the_same_session_cannot_be_made_twice(store: Store) -> None:
    made = fill(store, "s", 2)
    with pytest.raises(Conflict) as caught:
        store.create("s", "other", 9)
    assert str(caught.value) == ("s: the session exists already. Choose another id, or resume it")
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])
    assert [row.name for row in store.sessions()] == ["spec"]


@pytest.mark.parametrize("seq", [-1, 0, 1, 3, 1000])
def test_an_entry_out_of_turn_conflicts_and_changes_nothing(store: Store, seq: int) -> None:
    made = fill(store, "s", 2)
    wrong = item("s", seq, blobs=(b"never kept",), pad=3)
    fault = store.append(wrong).exception()
    assert type(fault) is Conflict
    assert str(fault) == (
        f"s: entry {seq} does not follow the head, which is 1; nothing was written. "
        "Another driver has moved the session: let it, or read the session again"
    )
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])
    with pytest.raises(NotFound):
        store.blob(next(iter(wrong.blobs)))


def test_the_first_entry_is_number_zero(store: Store) -> None:
    store.create("s", "spec", 1)
    assert type(store.append(item("s", 1)).exception()) is Conflict
    assert store.head("s") is None


def test_a_conflict_in_the_queue_does_not_spoil_its_neighbours(store: Store) -> None:
    store.create("a", "spec", 1)
    store.create("b", "spec", 2)
    wanted = [item("a", 0), item("b", 5), item("a", 0), item("b", 0), item("a", 1), item("c", 0)]
    faults = [future.exception() for future in [store.append(one) for one in wanted]]
    assert [type(fault) for fault in faults] == [
        type(None),
        Conflict,
        Conflict,
        type(None),
        type(None),
        NotFound,
    ]
    assert whole(store, "a") == (head_of(wanted[4]), [wanted[0].entry, wanted[4].entry])
    assert whole(store, "b") == (head_of(wanted[3]), [wanted[3].entry])


def test_entries_are_read_by_range(store: Store) -> None:
    made = [one.entry for one in fill(store, "s", 12)]
    ranges = [(0, None), (0, 0), (3, 7), (3, None), (11, 12), (12, None), (5, 99), (7, 3), (0, -2)]
    assert {(a, b): list(store.entries("s", a, b)) for a, b in ranges} == {
        (a, b): made[a : max(0, len(made) if b is None else b)] for a, b in ranges
    }
    assert list(store.entries("s", -4, 2)) == made[:2]


def test_an_iterator_shows_the_journal_as_it_was(store: Store) -> None:
    made = fill(store, "s", 3)
    before = store.entries("s")
    store.append(item("s", 3)).result()
    assert list(before) == [one.entry for one in made]


def test_sessions_come_newest_first(store: Store) -> None:
    for name, created in [("a", 5), ("b", 9), ("c", 1), ("d", 9)]:
        store.create(name, f"spec {name}", created)
    store.append(item("c", 0)).result()
    assert store.sessions() == [
        SessionRow("d", "spec d", 9, -1, 9),
        SessionRow("b", "spec b", 9, -1, 9),
        SessionRow("a", "spec a", 5, -1, 5),
        SessionRow("c", "spec c", 1, 0, 1000),
    ]


def test_an_entry_without_a_time_keeps_the_old_one(store: Store) -> None:
    store.create("s", "spec", 7)
    store.append(Append("s", 0, "h", b"\xffnot json", b"{}")).result()
    assert store.sessions() == [SessionRow("s", "spec", 7, 0, 7)]


def test_every_reader_and_writer_of_an_unknown_session_says_so(store: Store) -> None:
    asks: list[Callable[[], object]] = [
        lambda: store.entries("x"),
        lambda: store.head("x"),
        lambda: store.partials("x"),
        lambda: store.refusals("x"),
        lambda: store.refuse("x", b"note"),
        lambda: store.append(item("x", 0)).result(),
    ]
    for ask in asks:
        with pytest.raises(NotFound) as caught:
            ask()
        assert str(caught.value) == ("x: no such session. `loopspec sessions` lists those that exist")
    assert store.sessions() == []


def test_blobs_are_found_by_their_digest(store: Store) -> None:
    datas = [b"", b"one", b"\x00\xff" * 5000, b"one"]
    digests = [store.put_blob(data) for data in datas]
    assert digests == [codec.digest(data) for data in datas]
    assert [store.blob(digest) for digest in digests] == datas
    with pytest.raises(NotFound) as caught:
        store.blob("0" * 64)
    assert str(caught.value) == f"{'0' * 64}: no such blob. Check the digest"


def test_a_blob_that_is_not_what_its_digest_says_is_damaged(store: Store) -> None:
    store.create("s", "spec", 1)
    digest = codec.digest(b"what was meant")
    store.append(Append("s", 0, "h", b"{}", b"{}", {digest: b"what came"})).result()
    with pytest.raises(Damaged) as caught:
        store.blob(digest)
    assert caught.value.place == digest


def test_partials_are_replaced_dropped_and_kept_apart(store: Store) -> None:
    store.create("a", "spec", 1)
    store.create("b", "spec", 2)
    store.put_partial("a", "a:1:0", b"Hel")
    store.put_partial("a", "a:1:0", b"Hello")
    store.put_partial("a", "a:1:1", b"")
    store.put_partial("b", "a:1:0", b"other")
    store.drop_partial("b", "never there")
    assert store.partials("a") == {"a:1:0": b"Hello", "a:1:1": b""}
    assert store.partials("b") == {"a:1:0": b"other"}
    store.drop_partial("a", "a:1:0")
    assert store.partials("a") == {"a:1:1": b""}
    assert store.partials("b") == {"a:1:0": b"other"}


def test_partials_of_an_unknown_session_are_lost_without_a_word(store: Store) -> None:
    store.put_partial("x", "x:0:0", b"gone")
    store.drop_partial("x", "x:0:0")
    with pytest.raises(NotFound):
        store.partials("x")


def test_the_ring_keeps_the_last_twenty_refusals(store: Store) -> None:
    store.create("a", "spec", 1)
    store.create("b", "spec", 2)
    store.refuse("b", b"only")
    for n in range(33):
        store.refuse("a", b"note %d" % n)
    assert store.refusals("a") == [b"note %d" % n for n in range(13, 33)]
    assert store.refusals("b") == [b"only"]


def test_the_directory_is_private(store: Store) -> None:
    assert store.directory.is_dir()
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert store.directory == store.directory


def test_futures_resolve_in_the_order_of_the_appends(store: Store) -> None:
    store.create("s", "spec", 1)
    order: list[int] = []
    futures: list[Future[None]] = []
    for seq in range(300):
        future = store.append(item("s", seq))
        future.add_done_callback(lambda _, seq=seq: order.append(seq))
        futures.append(future)
    store.close()  # after it, the callbacks of all that was queued have run
    assert order == list(range(300))
    assert [future.exception() for future in futures] == [None] * 300


def test_what_a_callback_of_an_append_reads_is_written(store: Store) -> None:
    store.create("s", "spec", 1)
    seen: list[object] = []
    over = threading.Event()

    def look(_: "Future[None]") -> None:
        seen.append(whole(store, "s"))
        over.set()

    made = item("s", 0)
    store.append(made).add_done_callback(look)
    assert over.wait(30)
    assert seen == [(head_of(made), [made.entry])]


def test_an_append_cannot_be_taken_back(store: Store) -> None:
    store.create("s", "spec", 1)
    future = store.append(item("s", 0))
    assert future.cancel() is False
    assert future.result() is None
    assert store.append(item("s", 1)).result() is None


def test_many_sessions_move_at_once_from_many_threads(store: Store) -> None:
    names = [f"s{n}" for n in range(40)]

    def drive(name: str) -> list[Append]:
        store.create(name, "spec", 1)
        made = [item(name, seq, blobs=(b"shared", name.encode())) for seq in range(8)]
        for one in made:
            store.append(one).result()
            assert store.head(name) == head_of(one)
        store.refuse(name, name.encode())
        return made

    with ThreadPoolExecutor(16) as pool:
        driven = dict(zip(names, pool.map(drive, names), strict=True))
    assert {name: whole(store, name) for name in names} == {
        name: (head_of(made[-1]), [one.entry for one in made]) for name, made in driven.items()
    }
    assert sorted(row.session for row in store.sessions()) == sorted(names)


def test_of_many_threads_with_the_same_seq_one_wins(store: Store) -> None:
    store.create("s", "spec", 1)
    rivals = [item("s", 0, pad=n) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(lambda one: store.append(one).exception(), rivals))
    winners = [one for one, fault in zip(rivals, faults, strict=True) if fault is None]
    assert len(winners) == 1
    assert {type(fault) for fault in faults} == {type(None), Conflict}
    assert whole(store, "s") == (head_of(winners[0]), [winners[0].entry])


def test_after_close_everything_says_closed(store: Store) -> None:
    fill(store, "s", 1)
    store.close()
    store.close()
    future = store.append(item("s", 1))
    assert future.done()
    asks: list[Callable[[], object]] = [
        future.result,
        lambda: store.create("t", "spec", 1),
        lambda: store.entries("s"),
        lambda: store.head("s"),
        lambda: store.sessions(),
        lambda: store.put_blob(b"x"),
        lambda: store.blob("x"),
        lambda: store.partials("s"),
        lambda: store.refuse("s", b"x"),
        lambda: store.refusals("s"),
    ]
    for ask in asks:
        with pytest.raises(StoreError, match=r"the store is closed\. Open it again$"):
            ask()
    store.put_partial("s", "e", b"x")
    store.drop_partial("s", "e")
