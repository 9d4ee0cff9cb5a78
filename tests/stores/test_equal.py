"""Both stores, driven by the same random history, show the same at every step."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import item

from loopspec.errors import LoopspecError
from loopspec.stores.base import Store
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore

SESSIONS = st.sampled_from(["a", "b", "ü"])
EFFECTS = st.sampled_from(["1:0", "1:1"])
BYTES = st.binary(max_size=12)
Op = Callable[[Store], Any]


def op(name: str, make: Callable[..., Any], *of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An operation with drawn arguments; the name is what a failing example shows."""
    return st.tuples(st.just(name), st.just(make), st.tuples(*of))


def close_to_head(store: Store, session: str, off: int, pad: int, blob: bytes) -> Any:
    """Append near the head, mostly in turn."""
    try:
        head = store.head(session)
    except LoopspecError:
        head = None
    seq = (head.seq if head else -1) + 1 + off
    made = replace(item(session, seq, pad=pad, blobs=(blob,)), token=token_of(store, session))
    return store.append(made).result()


def token_of(store: Store, session: str) -> int:
    """The token a rightful writer has."""
    try:
        lease = store.lease(session)
    except LoopspecError:
        return 0
    return lease.token if lease.holder else 0


OPS = st.one_of(
    op("create", lambda s, i, t: s.create(i, f"spec {i}", t), SESSIONS, st.integers(0, 3)),
    op(
        "append",
        close_to_head,
        SESSIONS,
        st.sampled_from([0, 0, 0, 0, -1, 1]),
        st.integers(0, 3),
        BYTES,
    ),
    op(
        "entries",
        lambda s, i, a, b: list(s.entries(i, a, b)),
        SESSIONS,
        st.integers(-2, 6),
        st.none() | st.integers(-2, 6),
    ),
    op("lease", lambda s, i: s.lease(i), SESSIONS),
    op(
        "acquire",
        lambda s, i, h, t, n: s.acquire(i, h, t, n),
        *(SESSIONS, st.sampled_from(["ann", "bob"]), st.integers(0, 3), st.integers(0, 3)),
    ),
    op(
        "beat",
        lambda s, i, n, t: s.beat(i, n, t).result(),
        *(SESSIONS, st.integers(0, 3), st.integers(0, 9)),
    ),
    op("release", lambda s, i, n: s.release(i, n), SESSIONS, st.integers(0, 3)),
    op(
        "append under a token",
        lambda s, i, n, q: s.append(replace(item(i, q), token=n)).result(),
        *(SESSIONS, st.integers(0, 3), st.integers(0, 3)),
    ),
    op("put_blob", lambda s, d: s.blob(s.put_blob(d)), BYTES),
    op("put_partial", lambda s, i, e, d: s.put_partial(i, e, d), SESSIONS, EFFECTS, BYTES),
    op("drop_partial", lambda s, i, e: s.drop_partial(i, e), SESSIONS, EFFECTS),
    op("partials", lambda s, i: s.partials(i), SESSIONS),
    op("refuse", lambda s, i, d: s.refuse(i, d), SESSIONS, BYTES),
    op("refusals", lambda s, i: s.refusals(i), SESSIONS),
)


def outcome(act: Callable[[], Any]) -> Any:
    """What came out: a value, or the fault a person would read."""
    try:
        return act()
    except LoopspecError as error:
        return type(error), str(error)


def shown(store: Store) -> Any:
    """Everything a store shows."""
    rows = store.sessions()
    return rows, {
        row.session: (
            store.head(row.session),
            list(store.entries(row.session)),
            store.partials(row.session),
            store.refusals(row.session),
            store.lease(row.session),
        )
        for row in rows
    }


@settings(max_examples=60, deadline=None)
@given(history=st.lists(OPS, max_size=40))
def test_memory_and_sqlite_show_the_same(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, Any, tuple[Any, ...]]]
) -> None:
    path = tmp_path_factory.mktemp("store")
    memory, sqlite = MemoryStore(), SqliteStore(path)
    known: set[str] = set()
    try:
        for name, act, args in history:
            if name.endswith("_partial") and args[0] not in known:
                continue  # may be lost, or kept if the session is made meanwhile: both are right
            results = [outcome(partial(act, store, *args)) for store in (memory, sqlite)]
            assert results[0] == results[1], (name, args)
            if name == "create":
                known.add(args[0])
        assert shown(memory) == shown(sqlite)
        sqlite.close()
        sqlite = SqliteStore(path)
        assert shown(memory) == shown(sqlite)
    finally:
        memory.close()
        sqlite.close()
