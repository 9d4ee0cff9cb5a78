"""The seams of the memory store: the simulated disk and the temporary directory."""

from dataclasses import replace

import pytest
from store_kit import fill, head_of, item, whole

from loopspec.errors import Conflict, NotFound, StoreError
from loopspec.stores.base import Append
from loopspec.stores.memory import MemoryStore


class Disk:
    """A disk that fails the appends of the given sequences, once each."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, item: Append) -> None:
        self.asked.append((item.session, item.seq))
        if item.seq in self.bad:
            self.bad.remove(item.seq)
            raise StoreError("the disk is full", place="simulated", remedy="Free some space")


def test_a_failing_disk_fails_the_append_and_nothing_is_written() -> None:
    disk = Disk(1)
    store = MemoryStore(disk)
    store.create("s", "spec", 1)
    first, second = item("s", 0), item("s", 1, blobs=(b"one",))
    assert store.append(first).exception() is None
    before = (whole(store, "s"), store.sessions())
    fault = store.append(second).exception()
    assert str(fault) == "simulated: the disk is full. Free some space"
    assert (whole(store, "s"), store.sessions()) == before
    with pytest.raises(NotFound):
        store.blob(next(iter(second.blobs)))
    assert store.append(second).exception() is None
    assert whole(store, "s") == (head_of(second), [first.entry, second.entry])
    assert disk.asked == [("s", 0), ("s", 1), ("s", 1)]
    store.close()


def test_the_disk_is_not_asked_about_an_append_out_of_turn() -> None:
    disk = Disk()
    store = MemoryStore(disk)
    fill(store, "s", 1)
    assert type(store.append(item("s", 0)).exception()) is Conflict
    assert type(store.append(item("x", 0)).exception()) is NotFound
    assert disk.asked == [("s", 0)]
    store.close()


def test_a_crash_of_the_simulated_world_goes_through() -> None:
    class Crash(BaseException):
        pass

    def crash(_: Append) -> None:
        raise Crash

    store = MemoryStore(crash)
    store.create("s", "spec", 1)
    with pytest.raises(Crash):
        store.append(item("s", 0))
    assert whole(store, "s") == (None, [])
    store.close()


def test_without_its_fence_a_store_lets_two_drivers_fork_a_journal() -> None:
    store = MemoryStore(fenced=False)
    fill(store, "s", 2)
    store.acquire("s", "ann", 1, 0)
    store.acquire("s", "bob", 2, 1)
    ann, bob = (replace(item("s", 2, pad=n), token=n) for n in (1, 2))
    assert [store.append(one).exception() for one in (bob, ann)] == [None, None]
    rows = list(store.entries("s"))
    assert rows == [item("s", 0).entry, item("s", 1).entry, bob.entry, ann.entry]
    store.close()


def test_an_append_is_done_when_it_returns() -> None:
    store = MemoryStore()
    store.create("s", "spec", 1)
    assert store.append(item("s", 0)).done()
    assert store.append(item("s", 0)).done()
    store.close()


def test_the_directory_goes_with_the_store() -> None:
    store = MemoryStore()
    directory = store.directory
    (directory / "shadow").mkdir()
    (directory / "shadow" / "file").write_bytes(b"x")
    store.close()
    assert not directory.exists()
    with pytest.raises(StoreError, match="the store is closed"):
        _ = store.directory
