"""Conformance of stores: each rule of `loopspec.stores.base`, tried on a store that is really there.

Rules of this file:
1. A check takes an empty store, and raises `AssertionError` or whatever the store raises.
2. What is appended is the same every time, so that two stores can be compared.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from loopspec.codec import digest, encode
from loopspec.errors import Conflict, Damaged, LoopspecError, NotFound, StoreError
from loopspec.stores.base import Append, Head, Lease, Store
from loopspec.testing.conformance_base import Account

Check = Callable[[Store], None]
SPEC: Final = "spec"


def store(opens: Callable[[Path], Store], *, durable: bool = True, name: str = "") -> Account:
    """Try a store. `opens` opens it at a new directory (or a place that follows from it).

    `durable`: what was appended must be there when the same place is opened again.
    """
    account = Account(f"store {name or getattr(opens, '__name__', 'here')}")
    with tempfile.TemporaryDirectory(prefix="loopspec-conformance-") as folder:
        for number, (promise, check) in enumerate(CHECKS.items()):
            account.note(promise, _tried(opens, Path(folder) / str(number), check))
        if durable:
            promise = "what was appended is there when it is opened again"
            account.note(promise, _again(opens, Path(folder) / "again"))
    return account


def _tried(opens: Callable[[Path], Store], where: Path, check: Check) -> str:
    """What a check says of a new store."""
    where.mkdir()
    try:
        made = opens(where)
        try:
            check(made)
        finally:
            made.close()
    except AssertionError as err:
        return str(err) or "no"
    except Exception as err:
        return f"{type(err).__name__}: {err}"
    return ""


def _again(opens: Callable[[Path], Store], where: Path) -> str:
    """Whether a journal outlives its store."""
    where.mkdir()
    try:
        first = opens(where)
        made = _fill(first, "s", 3)
        first.close()
        second = opens(where)
        try:
            found = list(second.entries("s"))
            head = second.head("s")
        finally:
            second.close()
    except Exception as err:
        return f"{type(err).__name__}: {err}"
    return "" if (found, head) == ([one.entry for one in made], _head(made[-1])) else "it is not"


def _item(session: str, seq: int, *blobs: bytes, token: int = 0, mark: str = "") -> Append:
    """Entry `seq` of a session."""
    entry = encode({"session": session, "seq": seq, "at": 1000 + seq, "mark": mark})
    return Append(
        session=session,
        seq=seq,
        hash=digest(entry),
        entry=entry,
        snapshot=encode({"seq": seq, "mark": mark}),
        blobs={digest(data): data for data in blobs},
        token=token,
        at=1000 + seq,
    )


def _head(made: Append) -> Head:
    """The head after an append."""
    return Head(made.session, made.seq, made.hash, made.snapshot)


def _fill(tested: Store, session: str, count: int) -> list[Append]:
    """A session of `count` entries."""
    tested.create(session, SPEC, 1)
    made = [_item(session, seq) for seq in range(count)]
    for future in [tested.append(one) for one in made]:
        future.result()
    return made


def _refuses(sort: type[LoopspecError], act: Callable[[], object]) -> None:
    """An act must raise a fault of a sort, and say something."""
    try:
        given = act()
    except sort as err:
        assert err.fault.strip(), f"its {sort.__name__} says nothing"
        return
    except Exception as err:
        raise AssertionError(f"{type(err).__name__}: {err}, wanted {sort.__name__}") from err
    raise AssertionError(f"gave {given!r}, wanted {sort.__name__}")


def _append_and_read(tested: Store) -> None:
    tested.create("s", SPEC, 7)
    assert tested.head("s") is None, "a new session has a head"
    made = _item("s", 0, b"machine", b"prompt")
    assert tested.append(made).result() is None
    assert tested.head("s") == _head(made), "the head is not the entry's"
    assert list(tested.entries("s")) == [made.entry]
    assert [tested.blob(key) for key in made.blobs] == [b"machine", b"prompt"]
    (row,) = tested.sessions()
    assert (row.session, row.name, row.created, row.head) == ("s", SPEC, 7, 0)


def _exists(tested: Store) -> None:
    _fill(tested, "s", 2)
    _refuses(Conflict, lambda: tested.create("s", "other", 9))
    assert [row.name for row in tested.sessions()] == [SPEC]


def _out_of_turn(tested: Store) -> None:
    made = _fill(tested, "s", 2)
    for seq in (-1, 0, 1, 3, 99):
        wrong = _item("s", seq, b"never kept %d" % seq, mark="wrong")
        _refuses(Conflict, lambda wrong=wrong: tested.append(wrong).result())  # type: ignore[misc]
        _refuses(NotFound, lambda wrong=wrong: tested.blob(next(iter(wrong.blobs))))  # type: ignore[misc]
    assert tested.head("s") == _head(made[-1])
    assert list(tested.entries("s")) == [one.entry for one in made]


def _ranges(tested: Store) -> None:
    made = [one.entry for one in _fill(tested, "s", 9)]
    for start, stop in ((0, None), (3, 7), (8, 9), (9, None), (5, 99), (7, 3)):
        wanted = made[start : len(made) if stop is None else max(stop, start)]
        assert list(tested.entries("s", start, stop)) == wanted, f"entries {start} to {stop}"


def _rivals(tested: Store) -> None:
    tested.create("s", SPEC, 1)
    rivals = [_item("s", 0, mark=str(n)) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(lambda one: tested.append(one).exception(), rivals))
    winners = [one for one, fault in zip(rivals, faults, strict=True) if fault is None]
    assert len(winners) == 1, f"{len(winners)} writers of the same entry won"
    assert all(fault is None or isinstance(fault, Conflict) for fault in faults)
    assert list(tested.entries("s")) == [winners[0].entry]


def _many(tested: Store) -> None:
    names = [f"s{n}" for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        made = dict(zip(names, pool.map(lambda name: _fill(tested, name, 6), names), strict=True))
    for name, items in made.items():
        assert list(tested.entries(name)) == [one.entry for one in items], name
    assert sorted(row.session for row in tested.sessions()) == sorted(names)


def _unknown(tested: Store) -> None:
    asks: list[Callable[[], object]] = [
        lambda: list(tested.entries("x")),
        lambda: tested.head("x"),
        lambda: tested.partials("x"),
        lambda: tested.refusals("x"),
        lambda: tested.lease("x"),
        lambda: tested.append(_item("x", 0)).result(),
    ]
    for ask in asks:
        _refuses(NotFound, ask)
    assert tested.sessions() == []


def _blobs(tested: Store) -> None:
    datas = [b"", b"one", b"\x00\xff" * 5000, b"one"]
    keys = [tested.put_blob(data) for data in datas]
    assert keys == [digest(data) for data in datas], "a blob's name is its SHA-256 in hex"
    assert [tested.blob(key) for key in keys] == datas
    _refuses(NotFound, lambda: tested.blob("0" * 64))


def _bad_blob(tested: Store) -> None:
    tested.create("s", SPEC, 1)
    key = digest(b"what was meant")
    tested.append(Append("s", 0, "h", b"{}", b"{}", {key: b"what came"})).result()
    _refuses(Damaged, lambda: tested.blob(key))


def _lease(tested: Store) -> None:
    _fill(tested, "s", 1)
    assert tested.lease("s") == Lease("s"), "a session nobody drives has a holder"
    first = tested.acquire("s", "one", 5, 0)
    assert (first, tested.lease("s")) == (1, Lease("s", 1, "one", 5, 5))
    _refuses(Conflict, lambda: tested.acquire("s", "late", 6, 0))
    _refuses(Conflict, lambda: tested.append(_item("s", 1)).result())
    tested.append(_item("s", 1, token=first)).result()
    tested.beat("s", first, 9).result()
    assert tested.lease("s").beat == 9
    second = tested.acquire("s", "two", 10, first)
    _refuses(Conflict, lambda: tested.append(_item("s", 2, token=first)).result())
    _refuses(Conflict, lambda: tested.beat("s", first, 11).result())
    tested.release("s", first)  # void: changes nothing
    assert tested.lease("s").holder == "two"
    tested.append(_item("s", 2, token=second)).result()
    tested.release("s", second)
    assert (tested.lease("s").holder, tested.lease("s").token) == ("", second)
    tested.append(_item("s", 3)).result()


def _partials(tested: Store) -> None:
    tested.create("a", SPEC, 1)
    tested.create("b", SPEC, 2)
    tested.put_partial("a", "e", b"Hel")
    tested.put_partial("a", "e", b"Hello")
    tested.put_partial("b", "e", b"other")
    assert (tested.partials("a"), tested.partials("b")) == ({"e": b"Hello"}, {"e": b"other"})
    tested.drop_partial("a", "e")
    assert (tested.partials("a"), tested.partials("b")) == ({}, {"e": b"other"})


def _ring(tested: Store) -> None:
    tested.create("a", SPEC, 1)
    for n in range(33):
        tested.refuse("a", b"note %d" % n)
    assert tested.refusals("a") == [b"note %d" % n for n in range(13, 33)]


def _adopts(tested: Store) -> None:
    made = [_item("s", seq, b"blob %d" % seq) for seq in range(4)]
    tested.adopt("s", SPEC, 7, made)
    assert list(tested.entries("s")) == [one.entry for one in made]
    assert tested.head("s") == _head(made[-1])
    _refuses(Conflict, lambda: tested.adopt("s", SPEC, 7, made))


def _adopts_nothing_by_half(tested: Store) -> None:
    def items() -> object:
        yield _item("s", 0)
        raise StoreError("the source broke")

    _refuses(StoreError, lambda: tested.adopt("s", SPEC, 7, items()))  # type: ignore[arg-type]
    assert tested.sessions() == [], "half a session was kept"


def _private(tested: Store) -> None:
    mode = tested.directory.stat().st_mode & 0o777
    assert tested.directory.is_dir() and mode == 0o700, f"its mode is {mode:o}"


def _closed(tested: Store) -> None:
    _fill(tested, "s", 1)
    tested.close()
    tested.close()
    for ask in (
        lambda: tested.append(_item("s", 1)).result(),
        lambda: tested.create("t", SPEC, 1),
        lambda: tested.head("s"),
        lambda: tested.sessions(),
    ):
        _refuses(StoreError, ask)
    tested.put_partial("s", "e", b"x")


CHECKS: Final[dict[str, Check]] = {
    "an appended entry is there with its head and its blobs": _append_and_read,
    "the same session cannot be made twice": _exists,
    "an entry out of turn conflicts and changes nothing": _out_of_turn,
    "entries are read by range": _ranges,
    "of many writers of the same entry one wins": _rivals,
    "many sessions move at once": _many,
    "an unknown session is said to be unknown": _unknown,
    "blobs are found by their digest": _blobs,
    "a blob that is not what its digest says is damaged": _bad_blob,
    "who does not hold the lease cannot append": _lease,
    "open streams are replaced, dropped and kept apart": _partials,
    "the last twenty refusals stay": _ring,
    "a session is adopted with all its entries": _adopts,
    "a session that cannot be adopted whole is not there": _adopts_nothing_by_half,
    "its directory is private": _private,
    "after it was closed it says so": _closed,
}
