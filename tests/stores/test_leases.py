"""Leases: who may write, in every store; and the store's format, which came to know them."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_kit import fill, head_of, item, whole

from loopspec.errors import Conflict, NotFound
from loopspec.stores.base import Append, Lease, Store
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import FILE, SqliteStore

FACTORIES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda path: SqliteStore(path / "store"),
}
AGAIN = "Let the other driver finish, or end it, then resume"


@pytest.fixture(params=sorted(FACTORIES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = FACTORIES[request.param](tmp_path)
    yield made
    made.close()


def under(token: int, seq: int) -> Append:
    """Entry `seq` of session `s` under a token."""
    return replace(item("s", seq), token=token)


def fault(store: Store, made: Append) -> str:
    """What a person reads when this append is refused with `Conflict`."""
    error = store.append(made).exception()
    assert type(error) is Conflict
    return str(error)


def test_nobody_drives_a_new_session(store: Store) -> None:
    store.create("s", "spec", 7)
    assert store.lease("s") == Lease("s", 0, "", 0, 0)


def test_a_lease_is_taken_kept_given_back_and_taken_again_under_a_new_token(store: Store) -> None:
    store.create("s", "spec", 7)
    seen = [store.acquire("s", "ann", 10, 0), store.lease("s")]
    seen += [store.beat("s", 1, 20).result(), store.lease("s")]
    seen += [store.release("s", 1), store.lease("s")]
    seen += [store.acquire("s", "bob", 30, 1), store.lease("s")]
    assert seen == [
        *(1, Lease("s", 1, "ann", 10, 10)),
        *(None, Lease("s", 1, "ann", 10, 20)),
        *(None, Lease("s", 1, "", 10, 20)),
        *(2, Lease("s", 2, "bob", 30, 30)),
    ]


def test_of_two_who_saw_the_same_lease_one_gets_it(store: Store) -> None:
    store.create("s", "spec", 7)
    store.acquire("s", "ann", 10, 0)
    with pytest.raises(Conflict) as caught:
        store.acquire("s", "bob", 11, 0)
    assert str(caught.value) == (
        "s: somebody else was faster: the newest token is 1, not 0. Look again who drives the session"
    )
    assert store.lease("s") == Lease("s", 1, "ann", 10, 10)


def test_only_the_holders_token_writes(store: Store) -> None:
    made = fill(store, "s", 2)
    store.acquire("s", "ann", 10, 0)
    assert fault(store, under(0, 2)) == (
        f"s: a driver holds the lease, and this writer has no token; nothing was written. {AGAIN}"
    )
    made.append(under(1, 2))
    assert store.append(made[-1]).result() is None
    store.acquire("s", "bob", 20, 1)
    assert fault(store, under(1, 3)) == (
        "s: the lease has passed on (its token is 2, this writer's 1); nothing was written. " + AGAIN
    )
    made.append(under(2, 3))
    assert store.append(made[-1]).result() is None
    store.release("s", 2)
    assert fault(store, under(2, 4)) == (
        f"s: nobody holds the lease, so token 2 is void; nothing was written. {AGAIN}"
    )
    made.append(under(0, 4))
    assert store.append(made[-1]).result() is None
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])


def test_a_superseded_append_leaves_no_blob_and_spares_its_neighbours(store: Store) -> None:
    fill(store, "s", 1)
    store.create("t", "spec", 1)
    store.acquire("s", "ann", 10, 0)
    store.acquire("s", "bob", 11, 1)
    late = replace(item("s", 1, blobs=(b"late",)), token=1)
    wanted = [late, item("t", 0), under(2, 1)]
    faults = [future.exception() for future in [store.append(one) for one in wanted]]
    assert [type(one) for one in faults] == [Conflict, type(None), type(None)]
    with pytest.raises(NotFound):
        store.blob(next(iter(late.blobs)))
    assert store.head("s") == head_of(under(2, 1))


@pytest.mark.parametrize("token", [0, 1, 3])
def test_a_void_token_gives_no_sign_of_life_and_releases_nothing(store: Store, token: int) -> None:
    store.create("s", "spec", 7)
    store.acquire("s", "ann", 10, 0)
    store.acquire("s", "bob", 20, 1)
    assert type(store.beat("s", token, 30).exception()) is Conflict
    store.release("s", token)
    assert store.lease("s") == Lease("s", 2, "bob", 20, 20)


def test_a_lease_that_was_given_back_takes_no_sign_of_life(store: Store) -> None:
    store.create("s", "spec", 7)
    assert type(store.beat("s", 0, 5).exception()) is Conflict
    store.acquire("s", "ann", 10, 0)
    store.release("s", 1)
    assert type(store.beat("s", 1, 30).exception()) is Conflict
    assert store.lease("s") == Lease("s", 1, "", 10, 10)


def test_sessions_have_leases_of_their_own(store: Store) -> None:
    store.create("a", "spec", 1)
    store.create("b", "spec", 2)
    store.acquire("a", "ann", 10, 0)
    assert store.append(item("b", 0)).result() is None
    assert (store.lease("a").holder, store.lease("b").holder) == ("ann", "")


def test_an_unknown_session_has_no_lease(store: Store) -> None:
    asks: list[Callable[[], object]] = [
        lambda: store.lease("x"),
        lambda: store.acquire("x", "ann", 1, 0),
        lambda: store.beat("x", 1, 1).result(),
        lambda: store.release("x", 1),
    ]
    for ask in asks:
        with pytest.raises(NotFound):
            ask()


# ---------------------------------------------------------------- the format


def format_1(path: Path) -> list[Append]:
    """A store as the first format had it: no leases."""
    store = SqliteStore(path)
    made = fill(store, "s", 3)
    store.close()
    conn = sqlite3.connect(path / FILE)
    with conn:
        conn.execute("DROP TABLE leases")
        conn.execute("PRAGMA user_version = 1")
    conn.close()
    return made


def marks(path: Path) -> tuple[int, set[str]]:
    """The format and the tables of a closed store."""
    conn = sqlite3.connect(path / FILE)
    version = conn.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    conn.close()
    return version, tables


BEFORE = {"sessions", "entries", "blobs", "partials", "refusals"}


def test_a_store_of_format_1_is_read_as_it_is(tmp_path: Path) -> None:
    made = format_1(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    store = SqliteStore(tmp_path, readonly=True)
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])
    assert store.lease("s") == Lease("s")
    store.close()
    assert (tmp_path / FILE).read_bytes() == before
    assert marks(tmp_path) == (1, BEFORE)


def test_a_store_of_format_1_is_upgraded_when_it_is_opened_for_writing(tmp_path: Path) -> None:
    made = format_1(tmp_path)
    reader = SqliteStore(tmp_path, readonly=True)
    store = SqliteStore(tmp_path)
    assert whole(store, "s") == (head_of(made[-1]), [one.entry for one in made])
    assert store.acquire("s", "ann", 10, 0) == 1
    assert store.append(under(1, 3)).result() is None
    assert reader.lease("s") == Lease("s", 1, "ann", 10, 10)  # it was opened before the upgrade
    reader.close()
    store.close()
    assert marks(tmp_path) == (2, {*BEFORE, "leases"})
    again = SqliteStore(tmp_path)
    assert again.lease("s") == Lease("s", 1, "ann", 10, 10)
    again.close()


def test_an_upgrade_that_is_cut_short_leaves_format_1(tmp_path: Path) -> None:
    made = format_1(tmp_path)
    conn = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("CREATE TABLE leases (session INTEGER PRIMARY KEY)")
    conn.execute("PRAGMA user_version = 2")
    conn.close()  # before its commit
    assert marks(tmp_path) == (1, BEFORE)
    store = SqliteStore(tmp_path)
    assert store.head("s") == head_of(made[-1])
    assert store.acquire("s", "ann", 10, 0) == 1
    store.close()


def test_a_lease_outlives_its_process_and_its_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    fill(store, "s", 1)
    store.acquire("s", "ann", 10, 0)
    store.beat("s", 1, 25).result()
    store.close()
    again = SqliteStore(tmp_path)
    assert again.lease("s") == Lease("s", 1, "ann", 10, 25)
    assert type(again.append(item("s", 1)).exception()) is Conflict
    again.close()


def test_signs_of_life_share_the_commit_of_the_entries_they_meet(tmp_path: Path) -> None:
    held, go = threading.Event(), threading.Event()
    armed: list[bool] = []

    def crash(point: str) -> None:
        if armed and point == "before-write":
            armed.clear()
            held.set()
            assert go.wait(30)

    store = SqliteStore(tmp_path, crash=crash)
    for n in range(50):
        store.create(f"s{n}", "spec", n)
        store.acquire(f"s{n}", "ann", 1, 0)
    armed.append(True)
    first = store.append(replace(item("s0", 0), token=1))
    assert held.wait(30)
    before = store.commits
    beats = [store.beat(f"s{n}", 1, 9) for n in range(50)]
    second = store.append(replace(item("s0", 1), token=1))
    go.set()
    assert [future.exception() for future in [first, second, *beats]] == [None] * 52
    store.close()
    assert store.commits - before == 2
