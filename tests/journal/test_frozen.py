"""A journal written once and never again: what was written stays readable, byte for byte.

`frozen/v2.jsonl` is an export of a small session: calls that were allowed, asked about and failed,
approvals, rollback points, two compactions, and a command whose driver was killed (lost, and run again on
a person's word). It is never made anew. If a test here fails, loopspec must learn to read it, or `FORMAT`
of `journal.entry` is raised and a file of the new format is frozen beside it.
"""

from pathlib import Path

import pytest
from drivers.moving_kit import exported, imported, received

from loopspec.codec import digest, encode
from loopspec.drivers.session import stepper
from loopspec.drivers.verifying import load_machine, verified
from loopspec.drivers.view import load_view
from loopspec.events import Stamped, name_of
from loopspec.journal.chain import check, read
from loopspec.journal.entry import Entry
from loopspec.journal.fold import advance, empty, fold, recompute
from loopspec.machine.model import SEMANTICS
from loopspec.machine.step import step
from loopspec.stores.memory import MemoryStore

DATA = (Path(__file__).parent / "frozen" / "v2.jsonl").read_bytes()
LAST = "10fc7c8d0e9a42cf517745e4171848a2c473bc56b8001bd33f87df56d78c9814"
"""The digest of the last snapshot."""
FACTS = {
    "session.started": 1,
    "user.message": 5,
    "model.replied": 9,
    "gate.decided": 4,
    "approval.given": 3,
    "boundary.taken": 4,
    "effect.claimed": 4,
    "tool.answered": 5,
    "effect.lost": 1,
    "context.compacted": 2,
}


@pytest.fixture(name="store", scope="module")
def _store() -> MemoryStore:
    """The file, imported."""
    store = MemoryStore()
    imported(store, DATA)
    return store


@pytest.fixture(name="entries", scope="module")
def _entries(store: MemoryStore) -> list[Entry]:
    """Its entries."""
    return list(map(read, store.entries("frozen")))


def test_the_file_is_the_one_that_was_frozen() -> None:
    assert digest(DATA) == "64bfcd74d7208d0af3f3c967ddf5bc86fb5a210a0c379364dde948233e4b1644"
    received(DATA).close()


def test_it_holds_what_sessions_are_made_of(entries: list[Entry]) -> None:
    found: dict[str, int] = {}
    for entry in entries:
        found[name_of(entry.event)] = found.get(name_of(entry.event), 0) + 1
    assert found == FACTS
    assert {entry.v for entry in entries} == {2}


def test_it_is_verified_and_folds_to_the_snapshot_that_it_had(
    store: MemoryStore, entries: list[Entry]
) -> None:
    assert list(verified(store, "frozen")) == entries
    assert digest(encode(fold("frozen", entries))) == LAST == entries[-1].snapshot
    head = store.head("frozen")
    assert head is not None
    assert (head.seq, head.hash, digest(head.snapshot)) == (37, entries[-1].hash, LAST)


def test_what_its_model_saw_is_found_again(store: MemoryStore, entries: list[Entry]) -> None:
    head = store.head("frozen")
    assert head is not None
    whole = load_view(store, head, -1).items
    assert load_view(store, head, fold("frozen", entries).compacted).items == whole
    ids = "1.0 26.0 11.0 12.0 13.0 18.0 19.0 20.0 21.0 22.0 24.0 25.0 27.0 36.0 37.0"
    assert [item.id for item in whole] == ids.split()


def test_it_goes_out_again_byte_for_byte(store: MemoryStore) -> None:
    assert exported(store, "frozen") == DATA


def test_today_s_step_still_gives_what_is_written_there(store: MemoryStore, entries: list[Entry]) -> None:
    """A step that gives anything else has other semantics, and `SEMANTICS` must say so."""
    machine = load_machine(store, fold("frozen", entries).machine)
    differences = list(recompute("frozen", entries, stepper(machine)))
    assert not differences or entries[0].sem < SEMANTICS, differences


def test_a_step_writes_nothing_into_the_snapshot_it_was_given(
    store: MemoryStore, entries: list[Entry]
) -> None:
    """Maps that a step leaves alone are shared with the next snapshot (`machine.draft`, rule 3)."""
    machine = load_machine(store, fold("frozen", entries).machine)
    snapshot = empty("frozen")
    for entry in entries:
        before = encode(snapshot)
        step(machine, snapshot, Stamped(entry.at, entry.awake, entry.by, entry.event))
        assert encode(snapshot) == before, f"entry {entry.seq}"
        snapshot = advance(snapshot, entry)


def test_each_entry_stands_under_a_hash_of_its_own_bytes(store: MemoryStore) -> None:
    rows = list(store.entries("frozen"))
    assert rows == [line for line in DATA.splitlines() if line.startswith(b'{"v":2,')]
    assert len(list(check(rows, "frozen"))) == 38
