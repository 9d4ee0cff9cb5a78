"""A store that was damaged: what `verify` says, and that nothing else misbehaves.

Whatever is done to a byte, either it is told (and the entry named), or nothing that can be seen differs.
"""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers.moving_kit import MACHINE, everything, written

from loopspec.codec import digest
from loopspec.drivers.backup import back_up
from loopspec.drivers.verifying import NotWhole, verified
from loopspec.errors import Damaged, LoopspecError
from loopspec.events import UserMessage
from loopspec.stores.base import Store
from loopspec.stores.sqlite import FILE, SqliteStore

ENTRIES = {"s": 9, "t": 6}
BLOB = digest(bytes(range(256)) * 3)
WAL = f"{FILE}-wal"


@pytest.fixture(scope="module", name="right")
def _right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is right, closed: session `s` of nine entries and `t` of six."""
    path = tmp_path_factory.mktemp("right")
    store = SqliteStore(path)
    written(store, "s", turns=2)
    written(store, "t", turns=1)
    store.close()
    return path


@pytest.fixture(name="path")
def _path(right: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(right, tmp_path / "store")


def sql(path: Path, *statements: str) -> None:
    """Do to a database what nobody should."""
    conn = sqlite3.connect(path / FILE, isolation_level=None)
    for statement in statements:
        conn.execute(statement)
    conn.close()


def verdict(store: Store, session: str) -> tuple[str, int, int]:
    """What `verify` says: the fault (empty: whole), the entry it names, the last good one."""
    count = 0
    try:
        for _ in verified(store, session):
            count += 1
    except NotWhole as err:
        assert err.session == session
        assert (f"--upto {err.good} " in err.remedy) == (err.good >= 0)
        return err.fault, err.entry, err.good
    return "", -1, count - 1


def seen(path: Path) -> dict[str, Any]:
    """All that can be seen of a store's sessions; raises `LoopspecError`."""
    store = SqliteStore(path)
    try:
        found = {row.session: everything(store, row.session) for row in store.sessions()}
        for session in found:
            said = verdict(store, session)
            if said[0]:
                raise Damaged(said[0])
        return found
    finally:
        store.close()


# ------------------------------------------------------------ rows that were changed

SWAP = """UPDATE entries SET body = (SELECT o.body FROM entries o WHERE o.session = entries.session
    AND o.seq = CASE entries.seq WHEN 3 THEN 4 ELSE 3 END)
    WHERE session = 1 AND seq IN (3, 4)"""
BACK = """UPDATE sessions SET head_seq = 5, head_hash = (SELECT json_extract(body, '$.hash') FROM entries
    WHERE session = 1 AND seq = 5) WHERE id = 's'"""
EDITED = "the entry's own hash does not match: it was edited"
GAP = "the previous hash does not match: dropped or swapped"
ODD = "the row holds something that was never written there"
CASES: dict[str, tuple[list[str], tuple[str, int, int]]] = {
    "a flipped byte": (
        ["""UPDATE entries SET body = CAST(replace(body, 'turn 1', 'turn 3') AS BLOB)
            WHERE session = 1 AND seq = 5"""],
        (EDITED, 5, 4),
    ),
    "a cut tail": (
        ["DELETE FROM entries WHERE session = 1 AND seq > 6"],
        ("the head says entry 8, but the newest entry is 6: the tail was cut", 7, 6),
    ),
    "nothing left": (
        ["DELETE FROM entries WHERE session = 1"],
        ("the head says entry 8, but the newest entry is none: the tail was cut", 0, -1),
    ),
    "two swapped entries": ([SWAP], ("entry 4 stands where 3 should be", 3, 2)),
    "an entry gone from the middle": (
        ["DELETE FROM entries WHERE session = 1 AND seq = 4"],
        ("entry 5 stands where 4 should be", 4, 3),
    ),
    "an entry that stands twice": (
        ["INSERT INTO entries (session, seq, body) SELECT 1, 9, body FROM entries WHERE seq = 3 LIMIT 1"],
        ("entry 3 stands where 9 should be", 9, 8),
    ),
    "an entry of another session": (
        ["""UPDATE entries SET body = (SELECT body FROM entries WHERE session = 2 AND seq = 2)
            WHERE session = 1 AND seq = 2"""],
        ("the entry belongs to session t", 2, 1),
    ),
    "an entry that is text": (
        ["UPDATE entries SET body = CAST(body AS TEXT) WHERE session = 1 AND seq = 4"],
        (ODD, 4, 3),
    ),
    "an entry that is nothing": (
        ["UPDATE entries SET body = x'' WHERE session = 1 AND seq = 4"],
        ("the bytes are no journal entry: Input data was truncated", 4, 3),
    ),
    "a missing blob": (
        [f"DELETE FROM blobs WHERE digest = '{BLOB}'"],
        (f"its blob {BLOB[:12]}: no such blob", 4, 3),
    ),
    "a blob with another content": (
        [f"UPDATE blobs SET data = x'00' WHERE digest = '{BLOB}'"],
        (f"its blob {BLOB[:12]}: the blob's bytes do not match its digest", 4, 3),
    ),
    "a blob that is a number": (
        [f"UPDATE blobs SET data = 7 WHERE digest = '{BLOB}'"],
        (f"its blob {BLOB[:12]}: {ODD}", 4, 3),
    ),
    "a missing machine": (
        [f"DELETE FROM blobs WHERE digest = '{MACHINE.digest}'"],
        (f"its blob {MACHINE.digest[:12]}: no such blob", 0, -1),
    ),
    "a head set back": ([BACK], ("the head says entry 5, but the entries go on to 8", 6, 8)),
    "a head set forward": (
        ["UPDATE sessions SET head_seq = 9 WHERE id = 's'"],
        ("the head says entry 9, but the newest entry is 8: the tail was cut", 9, 8),
    ),
    "a head that is gone": (
        ["UPDATE sessions SET head_seq = -1 WHERE id = 's'"],
        ("the head says there is no entry", 0, 8),
    ),
    "a head with another hash": (
        ["UPDATE sessions SET head_hash = replace(head_hash, substr(head_hash, 1, 1), 'x')"
         " WHERE id = 's'"],
        ("the head says entry 8 with another hash than it has", 8, 8),
    ),
    "a head that is a text": (["UPDATE sessions SET head_seq = 'x' WHERE id = 's'"], (ODD, -1, 8)),
    "another snapshot": (
        ["""UPDATE sessions SET snapshot = CAST(replace(snapshot, 'ready', 'steady') AS BLOB)
            WHERE id = 's'"""],
        ("the stored snapshot is not the one its entries fold to", 8, 8),
    ),
    "a snapshot that is a number": (["UPDATE sessions SET snapshot = 1.5 WHERE id = 's'"], (ODD, -1, 8)),
    "another name": (
        ["UPDATE sessions SET name = 'best' WHERE id = 's'"],
        ("the store lists it under another name than its machine's", -1, 8),
    ),
    "another time": (
        ["UPDATE sessions SET updated = updated + 1 WHERE id = 's'"],
        ("the store lists it with another time than its newest entry's", -1, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_verify_names_the_entry_the_fault_and_the_last_good_one(path: Path, case: str) -> None:
    statements, wanted = CASES[case]
    before = SqliteStore(path)
    other = everything(before, "t")
    before.close()
    sql(path, *statements)
    store = SqliteStore(path)
    assert verdict(store, "s") == wanted
    if "machine" not in case and "blob" not in case:  # those both sessions rest on
        assert everything(store, "t") == other
        assert verdict(store, "t") == ("", -1, 5)
        assert {row.session for row in store.sessions()} == {"s", "t"}
    store.close()


def test_a_session_that_runs_meanwhile_is_whole(path: Path) -> None:
    store = SqliteStore(path)
    made = written(store, "u")
    walk = verified(store, "u")
    seqs = []
    for entry in walk:
        seqs.append(entry.seq)
        if entry.seq < 12:  # the head moves on while it is approached
            made.at += 1
            made.tell(UserMessage("more"))
    assert seqs == list(range(made.snapshot.seq + 1))
    store.close()


# ------------------------------------------------------------ bytes of rows


def cells(path: Path) -> list[tuple[str, str, int, bytes, int]]:
    """What of session `s` stands in rows: table, column, row, bytes, and the entry it belongs to."""
    conn = sqlite3.connect(path / FILE)
    found = [
        ("entries", "body", row, body, seq)
        for row, body, seq in conn.execute("SELECT row, body, seq FROM entries WHERE session = 1")
    ]
    rows = conn.execute("SELECT key, head_hash, snapshot, name FROM sessions WHERE id = 's'").fetchall()
    ((key, head, snapshot, name),) = rows
    found.append(("sessions", "head_hash", key, head.encode(), 8))
    found.append(("sessions", "snapshot", key, snapshot, 8))
    found.append(("sessions", "name", key, name.encode(), -1))
    for row, key, data in conn.execute("SELECT row, digest, data FROM blobs").fetchall():
        seq = 0 if key == MACHINE.digest else 4 if key == BLOB else 1 if len(data) < 20 else 7
        found.append(("blobs", "data", row, data, seq))
        found.append(("blobs", "digest", row, key.encode(), seq))
    conn.close()
    return found


def flip_cells(path: Path, choose: Callable[[bytes], Any]) -> int:
    """Flip a bit of each chosen byte in turn; each is told, with its entry. Gives back how many."""
    conn = sqlite3.connect(path / FILE, isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    store = SqliteStore(path)
    count = 0
    for table, column, row, data, seq in cells(path):
        kind = "TEXT" if column in ("head_hash", "name", "digest") else "BLOB"
        number = "key" if table == "sessions" else "row"
        change = f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {number} = ?"
        for place in choose(data):
            made = bytearray(data)
            made[place] ^= 1 << (place % 8)
            conn.execute(change, (bytes(made), row))
            fault, entry, _ = verdict(store, "s")
            assert fault and entry == seq, (table, column, row, place, fault, entry)
            count += 1
        conn.execute(change, (data, row))
    assert verdict(store, "s") == ("", -1, 8)
    store.close()
    conn.close()
    return count


def test_a_flipped_byte_of_any_row_is_told_with_its_entry(path: Path) -> None:
    rng = random.Random(7)
    assert flip_cells(path, lambda data: rng.sample(range(len(data)), min(len(data), 40))) > 700


@pytest.mark.slow
def test_every_flipped_byte_of_every_row_is_told_with_its_entry(path: Path) -> None:
    assert flip_cells(path, lambda data: range(len(data))) > 20_000


# ------------------------------------------------------------ bytes of the files


def outcome(path: Path) -> dict[str, Any] | str:
    """What can be seen, or the fault in one line; anything else that is raised is a bug."""
    try:
        return {
            key: (row.name, row.head, row.updated, *rest)
            for key, (row, *rest) in seen(path).items()  # when it was made is in no chain
        }
    except LoopspecError as err:
        assert "\n" not in str(err)
        return str(err)


def flip_file(right: Path, made: Path, name: str, rng: random.Random) -> int:
    """Copy a store and flip one bit of one file; gives back where."""
    shutil.copytree(right, made)
    data = bytearray((made / name).read_bytes())
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    (made / name).write_bytes(data)
    return place


@pytest.mark.parametrize("block", range(3))
def test_a_flipped_byte_of_the_database_is_told_or_changes_nothing(
    right: Path, tmp_path: Path, block: int
) -> None:
    database(right, tmp_path, range(block * 60, block * 60 + 60))


@pytest.mark.slow
def test_many_flipped_bytes_of_the_database_are_told_or_change_nothing(
    right: Path, tmp_path: Path
) -> None:
    database(right, tmp_path, range(1_000, 4_000))


def database(right: Path, tmp_path: Path, seeds: range) -> None:
    wanted = outcome(right)
    assert isinstance(wanted, dict)
    told = 0
    for seed in seeds:
        made = tmp_path / "made"
        place = flip_file(right, made, FILE, random.Random(seed))
        found = outcome(made)
        told += isinstance(found, str)
        if found != wanted and isinstance(found, dict):
            lost = wanted.keys() - found.keys()
            assert not lost or found.keys() - wanted.keys(), f"seed {seed}, byte {place}: lost {lost}"
            for key, what in found.items():
                assert wanted.get(key) == what, f"seed {seed}, byte {place}: {key} differs unseen"
        shutil.rmtree(made)
    assert told > len(seeds) // 3


@pytest.fixture(scope="module", name="unclosed")
def _unclosed(right: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store as a killed process leaves it: the newest entries stand in the log alone."""
    path = tmp_path_factory.mktemp("unclosed") / "store"
    shutil.copytree(right, path)
    store = SqliteStore(path)
    written(store, "u", turns=6)
    made = path.with_name("killed")
    made.mkdir(mode=0o700)
    for name in (FILE, WAL):
        shutil.copy(path / name, made)
    yield made
    store.close()


def heads(found: dict[str, Any]) -> dict[str, int]:
    return {key: what[1] for key, what in found.items()}


@pytest.mark.parametrize("block", range(3))
def test_a_flipped_byte_of_the_log_is_told_or_tears_no_more_than_the_last_write(
    unclosed: Path, tmp_path: Path, block: int
) -> None:
    log(unclosed, tmp_path, range(block * 40, block * 40 + 40))


@pytest.mark.slow
def test_many_flipped_bytes_of_the_log_are_told_or_tear_the_last_write(
    unclosed: Path, tmp_path: Path
) -> None:
    log(unclosed, tmp_path, range(1_000, 3_000))


def log(unclosed: Path, tmp_path: Path, seeds: range) -> None:
    whole = outcome(shutil.copytree(unclosed, tmp_path / "whole"))
    assert isinstance(whole, dict)
    last = heads(whole)["u"]
    told = 0
    for seed in seeds:
        made = tmp_path / "made"
        place = flip_file(unclosed, made, WAL, random.Random(seed))
        before = (made / WAL).read_bytes()
        found = outcome(made)
        if isinstance(found, str):
            told += 1
            assert str(made / WAL) in found and "the log is damaged in frame" in found
            assert (made / WAL).read_bytes() == before  # nobody has tidied the evidence away
        elif found != whole:  # the last write only, which looks as if the power had failed
            assert heads(found) == {**heads(whole), "u": last - 1}, f"seed {seed}, byte {place}"
        shutil.rmtree(made)
    assert told > len(seeds) * 0.9


@pytest.mark.parametrize("cut", [1, 24, 32, 500, 4_152, 8_000, 40_000, 80_000, -1, -2_000, -4_120])
def test_a_log_cut_anywhere_gives_an_earlier_state_that_is_whole(
    unclosed: Path, tmp_path: Path, cut: int
) -> None:
    """Nothing in a store tells that it is not the newest; what is there is whole all the same."""
    made = shutil.copytree(unclosed, tmp_path / "made")
    data = (made / WAL).read_bytes()
    (made / WAL).write_bytes(data[:cut])
    found = outcome(made)
    assert isinstance(found, dict)
    assert heads(found).items() >= {"s": 8, "t": 5}.items()


def test_a_backup_saves_what_stands_before_the_damage_of_a_log(
    unclosed: Path, tmp_path: Path
) -> None:
    made = shutil.copytree(unclosed, tmp_path / "made")
    data = bytearray((made / WAL).read_bytes())
    data[len(data) // 2] ^= 1
    (made / WAL).write_bytes(data)
    with pytest.raises(Damaged) as caught:
        SqliteStore(made)
    assert "`loopspec backup DIR` saves what is whole as a store of its own" in str(caught.value)
    store = SqliteStore(made, readonly=True, salvage=True)
    copied = back_up(store, tmp_path / "saved")
    store.close()
    assert copied.damaged == {}
    assert (made / WAL).read_bytes() == bytes(data)
    found = outcome(tmp_path / "saved")
    assert isinstance(found, dict)
    assert 0 < heads(found)["u"] < 20


def test_the_log_of_a_store_that_is_used_is_never_called_damaged(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store")
    for n in range(12):
        written(store, f"s{n}", turns=1)
        SqliteStore(tmp_path / "store", readonly=True).close()
    store.close()
    assert len(seen(tmp_path / "store")) == 12
