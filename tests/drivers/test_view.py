"""The view found again in the journal: what a resume reads, and that it reads no more than it must."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place, small

from drivers.moving_kit import Written
from loopspec.codec import encode
from loopspec.context.transcript import fold, masks_of
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session, verified
from loopspec.drivers.view import Index, Kept
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import Damaged
from loopspec.events import ContextCompacted, Mask, ModelOverflowed, UserMessage
from loopspec.journal.chain import read, seal
from loopspec.registry import installed
from loopspec.stores.base import Store
from loopspec.stores.sqlite import FILE, SqliteStore

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"
TALKS = 60


class Counting(SqliteStore):
    """Counts the entries that are read."""

    read = 0

    def entries(self, session: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        for row in super().entries(session, start, stop):
            self.read += 1
            yield row


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a session `s1` in which so much was said that the view was made smaller often."""
    place = Place(tmp_path_factory.mktemp("talked"))
    spec = small(place, {"when": "question", "reply": f"{WORDS} {WORDS} {WORDS}"})
    text = spec.read_text().replace("retry: {", "window: 1200, retry: {")
    spec.write_text(text.replace("turns: 20", "turns: 200"))
    asyncio.run(_talk(place, spec))
    return place.store


async def _talk(place: Place, spec: Path) -> None:
    registry = installed()
    machine = launch.load(str(spec), registry).machine
    assert machine is not None
    store = SqliteStore(place.store)
    event = launch.started(machine, registry, "{}", place.work, launch.preflight(machine), "0")
    session, first = await Session.create(store, machine, "s1", event, SystemClock(), redactor())
    await LocalDriver(session, registry, Nobody()).run(step=first)
    for n in range(TALKS):
        said = [(UserMessage(text=f"question {n}: {WORDS}"), "person")]
        await LocalDriver(session, registry, Nobody()).run(said)
        assert session.items == folded(store)
    store.close()


def folded(store: Store) -> tuple[Any, ...]:
    """The view by walking the whole journal."""
    return fold(read(row) for row in store.entries("s1"))


def loaded(store: Store) -> Session:
    return Session.load(store, "s1", SystemClock(), redactor())


def test_what_is_found_again_is_the_fold_of_the_whole_journal(talked: Path) -> None:
    store = Counting(talked, readonly=True)
    session = loaded(store)
    assert store.read == 1  # the newest; the view is not needed yet
    assert session.snapshot.compacted > 0
    items = session.items
    found = store.read
    assert items == folded(store)
    total = session.snapshot.seq + 1
    assert found < total / 2
    assert session.view().items is session.view().items
    store.close()


def test_each_compaction_has_an_index_that_verify_sees(talked: Path) -> None:
    store = SqliteStore(talked, readonly=True)
    compactions = [e for e in verified(store, "s1") if type(e.event).__name__ == "ContextCompacted"]
    assert len(compactions) >= 3
    for entry in compactions:
        indexes = [key for key in entry.blobs if store.blob(key).startswith(b'{"type":"view"')]
        assert len(indexes) == 1
    store.close()


def copy(talked: Path, to: Path) -> sqlite3.Connection:
    """A copy of the store, open to be damaged."""
    to.mkdir()
    (to / FILE).write_bytes((talked / FILE).read_bytes())
    return sqlite3.connect(to / FILE)


def stayed(talked: Path) -> list[int]:
    """The entries before the newest compaction whose items are still in view."""
    store = SqliteStore(talked, readonly=True)
    session = loaded(store)
    seqs = {int(item.id.partition(".")[0]) for item in session.items}
    store.close()
    return sorted(s for s in seqs if s < session.snapshot.compacted)


def test_an_edited_entry_that_stayed_is_noticed_even_when_its_own_hash_was_made_right(
    talked: Path, tmp_path: Path
) -> None:
    seq = stayed(talked)[0]
    conn = copy(talked, tmp_path / "bad")
    (body,) = conn.execute("SELECT body FROM entries WHERE seq = ?", (seq,)).fetchone()
    forged = encode(seal(read(body.replace(b"question", b"QUESTION"))))
    conn.execute("UPDATE entries SET body = ? WHERE seq = ?", (forged, seq))
    conn.commit()
    conn.close()
    store = SqliteStore(tmp_path / "bad")
    with pytest.raises(Damaged, match=f"entry {seq}: the entry's hash is not the one it had"):
        asyncio.run(loaded(store).accept(UserMessage(text="more"), "person"))
    head = store.head("s1")
    assert head is not None
    assert head.seq == len(list(store.entries("s1"))) - 1
    store.close()


def test_a_missing_index_is_noticed(talked: Path, tmp_path: Path) -> None:
    conn = copy(talked, tmp_path / "bad")
    conn.execute("DELETE FROM blobs WHERE CAST(data AS TEXT) LIKE '{\"type\":\"view\"%'")
    conn.commit()
    conn.close()
    store = SqliteStore(tmp_path / "bad", readonly=True)
    session = loaded(store)
    seq = session.snapshot.compacted
    with pytest.raises(Damaged, match=f"entry {seq}: its blob .* is missing"):
        session.view()
    store.close()


def test_an_index_that_names_what_no_entry_holds_is_damage(talked: Path) -> None:
    store = SqliteStore(talked, readonly=True)
    session = loaded(store)
    seq = session.snapshot.compacted
    entry = read(next(store.entries("s1", seq, seq + 1)))
    bad = Index((Kept("999999.0", ""),))
    with pytest.raises(Damaged, match=r"item 999999\.0 of the view stands in no entry"):
        type(session.view())().restore(store, entry, bad)
    store.close()


def test_a_head_that_was_set_back_or_whose_newest_entry_was_edited_is_refused(
    talked: Path, tmp_path: Path
) -> None:
    conn = copy(talked, tmp_path / "back")
    conn.execute("UPDATE sessions SET head_seq = head_seq - 1")
    conn.commit()
    conn.close()
    store = SqliteStore(tmp_path / "back", readonly=True)
    with pytest.raises(Damaged, match="the head says entry"):
        loaded(store)
    store.close()
    conn = copy(talked, tmp_path / "edited")
    conn.execute(
        "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '\"by\":', '\"by\" :') AS BLOB)"
        " WHERE seq = (SELECT max(seq) FROM entries)"
    )
    conn.commit()
    conn.close()
    store = SqliteStore(tmp_path / "edited", readonly=True)
    with pytest.raises(Damaged, match="own hash does not match"):
        loaded(store)
    store.close()


def test_masks_are_found_again_in_the_newest_compaction_alone(tmp_path: Path) -> None:
    """Two compactions: the second lists the mask of the first again, and takes one item away."""
    store = Counting(tmp_path / "store")
    made = Written(store, "m1")
    made.tell(UserMessage("the task"))
    for n in range(3):
        made.turn(f"look {n}", b"line\n" * 400)
    for n in range(2):
        ids = [item.id for item in made.told.items]
        made.tell(ModelOverflowed(made.effect.id), "model")
        results = [i for i in made.told.items if i.role == "result"]
        masks = tuple(Mask(i.id, f"[{i.id}: 400 lines]") for i in results[: n + 1])
        event = ContextCompacted(
            made.effect.id, replaces=(ids[0],), masks=masks, summary=f"s{n}", before=10, after=5
        )
        made.tell(event, "compact")
        made.turn(f"more {n}", b"small")
    rows = [read(row) for row in store.entries("m1")]
    assert [i.masked for i in made.told.items].count(True) == 2
    store.read = 0
    again = Session.load(store, "m1", SystemClock(), redactor())
    assert again.items == made.told.items == fold(rows)
    assert masks_of(again.items) == tuple(Mask(i.id, i.text) for i in made.told.items if i.masked)
    store.close()
