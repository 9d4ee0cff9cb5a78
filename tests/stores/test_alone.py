"""An append that nobody else waits for may be committed in the caller's thread, if that is quick."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_kit import item

from loopspec.errors import Conflict
from loopspec.stores.sqlite import SqliteStore
from loopspec.stores.writer import QUICK


class Watched:
    """A store that notes in which thread each commit was made; `hold` makes commits slow."""

    def __init__(self, path: Path) -> None:
        self.where: list[str] = []
        self.hold = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.store = SqliteStore(path, crash=self._at)
        self.store.create("s", "spec", 1)
        self.seq = 0

    def _at(self, point: str) -> None:
        if point != "after-write":
            return
        self.where.append("writer" if threading.current_thread().name == "loopspec-writer" else "here")
        self.gate.wait()
        until = time.monotonic() + self.hold
        while time.monotonic() < until:
            pass

    def append(self, alone: bool = True) -> str:
        """Append the next entry; which thread committed it."""
        self.store.append(replace(item("s", self.seq), alone=alone)).result()
        self.seq += 1
        return self.where[-1]

    def quick(self) -> None:
        """Append until a commit was quick, as it is sooner or later on any disk."""
        while self.append() != "here":
            pass


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.gate.set()
    made.store.close()
    assert len(list(SqliteStore(tmp_path, readonly=True).entries("s"))) == made.seq


def test_a_quick_disk_is_waited_for_here_and_a_slow_one_by_the_writer(watched: Watched) -> None:
    watched.quick()
    assert watched.append(alone=False) == "writer"
    watched.quick()
    watched.hold = 2 * QUICK
    watched.append()  # nobody could know before; after it everybody does
    assert watched.append() == "writer"
    watched.hold = 0.0
    assert watched.append() == "writer"
    watched.quick()


def test_what_is_queued_goes_before(watched: Watched) -> None:
    watched.quick()
    watched.gate.clear()
    first = watched.store.append(replace(item("s", watched.seq), alone=False))
    second = watched.store.append(replace(item("s", watched.seq + 1), alone=True))
    assert not second.done()
    watched.gate.set()
    first.result()
    second.result()
    watched.seq += 2
    assert watched.where[-1] == "writer"


def test_a_fault_is_the_items_own(watched: Watched) -> None:
    watched.quick()
    for _ in range(3):
        with pytest.raises(Conflict, match="does not follow the head"):
            watched.store.append(replace(item("s", watched.seq + 7), alone=True)).result()
    assert watched.append() in ("here", "writer")


def test_many_threads_at_once_keep_their_order_and_lose_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    names = [f"s{n}" for n in range(4)]
    for name in names:
        store.create(name, "spec", 1)

    def work(name: str) -> None:
        for seq in range(60):
            store.append(replace(item(name, seq), alone=bool(seq % 3))).result()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert list(store.entries(name)) == [item(name, seq).entry for seq in range(60)]
    store.close()
