"""A long session under a small window: never too long, the task unforgotten, memory flat."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.long_kit import TASK, WINDOW, Counting, files, talk
from loopspec.context.transcript import fold
from loopspec.drivers.session import Session, verified
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import ContextCompacted
from loopspec.journal.chain import read
from loopspec.performers import providers
from loopspec.registry import installed
from loopspec.stores.sqlite import SqliteStore


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """The provider `counting/…`."""
    made = Counting()
    registry = installed()
    monkeypatch.setitem(registry.models, "counting", lambda: made)  # type: ignore[arg-type]
    monkeypatch.setitem(registry.origins, "model counting", "tests")  # type: ignore[arg-type]
    providers.made.cache_clear()
    yield made
    providers.made.cache_clear()


def messages(start: int, stop: int) -> list[str]:
    """What the person says: the task, then step after step."""
    first = [TASK] if start == 0 else []
    return first + [f"step {n}: look at part {n} and add it to the table" for n in range(start, stop)]


def held(counting: Counting) -> None:
    """What must be true of the last request."""
    said = [m for m in counting.last if m["role"] == "user"]
    assert TASK in [m["content"] for m in said]
    assert counting.refused == 0
    assert counting.largest <= WINDOW


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_session_many_windows_long_never_overflows_and_never_forgets_its_task(
    tmp_path: Path, counting: Counting
) -> None:
    files(tmp_path)
    store = SqliteStore(tmp_path / "store")
    session, person = asyncio.run(talk(store, tmp_path, messages(0, 60)))
    held(counting)
    assert person.said == []
    entries = list(verified(store, "long"))
    compactions = [e for e in entries if isinstance(e.event, ContextCompacted)]
    assert len(compactions) >= 2
    assert 2_000_000 > session.snapshot.usage.scale > 0  # this provider counts more than the estimate
    again = Session.load(store, "long", SystemClock(), redactor())
    assert again.items == session.items == fold(read(row) for row in store.entries("long"))
    store.close()


@pytest.mark.slow
def test_ten_thousand_messages_under_a_small_window_in_flat_memory(
    tmp_path: Path, counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four messages a step: the person's, a reply with a call, its result, a reply."""
    files(tmp_path)
    store = SqliteStore(tmp_path / "store")
    measured: dict[int, int] = {}
    held_hashes: list[int] = []
    for start, stop in ((0, 250), (250, 1_250), (1_250, 2_500)):
        session, person = asyncio.run(talk(store, tmp_path, messages(start, stop)))
        held(counting)
        assert person.said == []
        measured[stop * 4] = memory()
        held_hashes.append(len(session.view()._hashes))
    store.close()
    with capsys.disabled():
        print({n: f"{size / 1e6:.0f} MB" for n, size in measured.items()}, held_hashes)
    assert max(held_hashes) < 1_000
    assert measured[10_000] - measured[1_000] < 40_000_000
