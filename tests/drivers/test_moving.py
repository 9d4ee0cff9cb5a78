"""Export and import: what comes in is what went out, to the byte, or nothing comes in at all."""

import base64
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from machine.builders import changed, coding

from drivers.moving_kit import (
    BINARY,
    MACHINE,
    Written,
    everything,
    exported,
    imported,
    received,
    written,
)
from loopspec.codec import apply, decode_snapshot, digest, encode
from loopspec.drivers.moving import lines_of
from loopspec.drivers.session import stepper
from loopspec.drivers.verifying import NotWhole, verified
from loopspec.drivers.view import load_view
from loopspec.errors import Conflict, Damaged, LoopspecError, StoreError, UsageError
from loopspec.events import UserMessage
from loopspec.journal.chain import read, seal
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import empty, recompute
from loopspec.journal.lines import MAX_LINE, BadFile, parsed
from loopspec.stores.base import Append, Store
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda path: MemoryStore(),
    "sqlite": lambda path: SqliteStore(path / "store"),
}


@pytest.fixture(params=sorted(STORES), name="store")
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module", name="source")
def _source() -> Iterator[MemoryStore]:
    """A store with session `s` of nine entries and session `t` of six."""
    made = MemoryStore()
    written(made, "s", turns=2)
    written(made, "t", turns=1)
    yield made
    made.close()


@pytest.fixture(scope="module", name="data")
def _data(source: MemoryStore) -> bytes:
    return exported(source, "s")


def refused(data: bytes) -> str:
    """The one line that says why a file is not taken."""
    with pytest.raises(LoopspecError) as caught:
        received(data)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ------------------------------------------------------------ there and back


def test_what_comes_in_is_what_went_out(source: MemoryStore, data: bytes, store: Store) -> None:
    imported(store, data)
    assert everything(store, "s") == everything(source, "s")
    assert exported(store, "s") == data
    assert len(list(verified(store, "s"))) == 9
    entries = [read(row) for row in store.entries("s")]
    assert list(recompute("s", entries, stepper(MACHINE))) == []


def test_any_json_reader_reads_it_and_the_hashes_are_those_of_the_lines(data: bytes) -> None:
    lines = data.splitlines(keepends=True)
    opening, *body, closing = [json.loads(line) for line in lines]
    entries = [line for line in body if "blob" not in line]
    blobs = [line for line in body if "blob" in line]
    assert opening == {
        "loopspec": "journal",
        "v": 1,
        "session": "s",
        "name": "test",
        "created": 1_699_999_999_000_000,
        "seq": 8,
        "hash": entries[-1]["hash"],
        "cut": None,
    }
    assert [e["seq"] for e in entries] == list(range(9))
    assert [e["prev"] for e in entries[1:]] == [e["hash"] for e in entries[:-1]]
    for line in lines:
        if (found := json.loads(line)).get("hash") and "loopspec" not in found:
            own = f'"hash":"{found["hash"]}"'.encode()
            assert digest(line.rstrip(b"\n").replace(own, b'"hash":""')) == found["hash"]
    contents = [b.get("text", "").encode() or base64.b64decode(b["base64"]) for b in blobs]
    assert BINARY in contents
    assert [digest(c) for c in contents] == [b["blob"] for b in blobs]
    assert closing["end"] == {
        "entries": 9,
        "blobs": len(blobs),
        "sha256": digest(b"".join(lines[:-1])),
    }


@pytest.mark.parametrize("upto", range(9))
def test_a_cut_journal_is_a_whole_shorter_one_that_knows_it_was_cut(
    source: MemoryStore, store: Store, upto: int
) -> None:
    data = exported(source, "s", upto)
    made = received(data)
    made.close()
    head = source.head("s")
    assert head is not None
    cut = made.opening.cut
    assert (None if cut is None else (cut.seq, cut.hash)) == (
        None if upto == 8 else (head.seq, head.hash)
    )
    imported(store, data)
    assert list(store.entries("s")) == list(source.entries("s", 0, upto + 1))
    assert len(list(verified(store, "s"))) == upto + 1
    assert exported(store, "s").splitlines()[1:-1] == data.splitlines()[1:-1]


def test_an_imported_session_goes_on(source: MemoryStore, store: Store) -> None:
    imported(store, exported(source, "s", 5))
    again = Written.__new__(Written)
    head = store.head("s")
    assert head is not None
    again.store, again.session, again.head = store, "s", head.hash
    again.machine, again.at, again.awake = MACHINE, 1_800_000_000_000_000, 900_000_000
    again.snapshot = decode_snapshot(head.snapshot)
    again.told = load_view(store, head, again.snapshot.compacted)
    again.tell(UserMessage("more"))
    assert len(list(verified(store, "s"))) == 7


def test_a_session_that_is_there_is_left_alone(source: MemoryStore, store: Store) -> None:
    written(store, "s")
    before = everything(store, "s")
    with pytest.raises(Conflict) as caught:
        imported(store, exported(source, "s"))
    assert str(caught.value) == (
        "there is a session `s` already. A session's id is inside its entries' hashes, so it cannot "
        "get another: import it into another store, with --store DIR"
    )
    assert everything(store, "s") == before


def test_an_adoption_that_fails_half_way_leaves_nothing(store: Store) -> None:
    def items() -> Iterator[Append]:
        yield Append("s", 0, "h", b"{}", b"{}", {digest(b"x"): b"x"})
        raise StoreError("the source is gone")

    with pytest.raises(StoreError, match="the source is gone"):
        store.adopt("s", "spec", 1, items())
    assert store.sessions() == []
    with pytest.raises(Conflict):  # entries out of turn
        store.adopt("s", "spec", 1, iter([Append("s", 1, "h", b"{}", b"{}")]))
    assert store.sessions() == []
    store.create("s", "spec", 1)


def test_a_session_without_entries_and_an_entry_that_is_not_there(source: MemoryStore) -> None:
    bare = MemoryStore()
    bare.create("s", "test", 1)
    with pytest.raises(UsageError, match="session s has no entries"):
        exported(bare, "s")
    with pytest.raises(UsageError, match="session s has no entry 0"):
        exported(bare, "s", 0)
    with pytest.raises(UsageError, match="session s has no entry 9; its last is 8"):
        exported(source, "s", 9)
    bare.close()


def test_a_blob_that_was_damaged_is_healed_by_the_same_bytes(tmp_path: Path, data: bytes) -> None:
    store = SqliteStore(tmp_path)
    written(store, "u")
    with sqlite3.connect(tmp_path / "journal.db") as conn:
        conn.execute("UPDATE blobs SET data = x'00' WHERE digest = ?", (MACHINE.digest,))
    conn.close()
    with pytest.raises(NotWhole):
        list(verified(store, "u"))
    imported(store, data)
    assert len(list(verified(store, "u"))) == 6
    assert len(list(verified(store, "s"))) == 9
    store.close()


# ------------------------------------------------------------ files that are not right


def test_a_flipped_byte_anywhere_is_seen(data: bytes) -> None:
    flips(data, random.Random(4).sample(range(len(data)), 700))


@pytest.mark.slow
def test_every_flipped_byte_is_seen(data: bytes) -> None:
    flips(data, range(len(data)))


def flips(data: bytes, places: Any) -> None:
    """Flip a bit at each place in turn: none is taken, and no one but a fault of ours says so."""
    for place in places:
        made = bytearray(data)
        made[place] ^= 1 << (place % 8)
        with pytest.raises(LoopspecError):
            received(bytes(made)).close()


def test_a_file_cut_anywhere_is_seen(data: bytes) -> None:
    for size in [*range(0, len(data), 97), len(data) - 1]:
        assert refused(data[:size])


def test_lines_that_are_gone_doubled_or_swapped_are_seen(data: bytes) -> None:
    lines = data.splitlines(keepends=True)
    for n in range(len(lines)):
        assert refused(b"".join([*lines[:n], *lines[n + 1 :]]))
        assert refused(b"".join([*lines[:n], lines[n], *lines[n:]]))
        if n + 1 < len(lines):
            assert refused(b"".join([*lines[:n], lines[n + 1], lines[n], *lines[n + 2 :]]))


def closed(lines: list[bytes]) -> bytes:
    """The lines of a forger: with a closing line that fits."""
    body = b"".join(lines)
    blobs = sum(line.startswith(b'{"blob"') for line in lines)
    end = {"entries": len(lines) - 1 - blobs, "blobs": blobs, "sha256": digest(body)}
    return body + encode({"end": end}) + b"\n"


def test_faults_are_said_in_one_line_with_their_place(source: MemoryStore, data: bytes) -> None:
    *lines, closing = data.splitlines(keepends=True)
    other = exported(source, "t").splitlines(keepends=True)
    blob = next(line for line in lines if b'"base64"' in line)
    at = lines.index(blob)
    bad = base64.b64encode(b"other").decode().encode()
    again = "Export the session again"
    none = "this is no journal of loopspec in JSON lines. Make one with: loopspec export SESSION -o FILE"
    table: list[tuple[bytes, str]] = [
        (b"", f"s.jsonl: the file is empty. {again}"),
        (b"\n", f"s.jsonl, line 1: {none}"),
        (b"\0" * 100, f"s.jsonl, line 1: the line is cut: it has no end. {again}"),
        (b"\xff\xfe\n", f"s.jsonl, line 1: {none}"),
        (b"[" * 99 + b"\n", f"s.jsonl, line 1: {none}"),
        (b'{"a":' * 9999 + b"\n", f"s.jsonl, line 1: {none}"),
        (
            b'{"loopspec":"journal","v":2}\n',
            "s.jsonl, line 1: the file is not of format 1, which is the one this loopspec reads. "
            "Use the loopspec that wrote it, or a newer one",
        ),
        (
            data.replace(b'"created":1', b'"created":-1', 1),
            f"s.jsonl, line 1: the opening line is wrong: Expected `int` >= 0 - at `$.created`. {again}",
        ),
        (
            data.replace(b'"created":1', b'"created":111111', 1),
            "s.jsonl, line 1: the opening line is wrong: "
            f"Expected `int` <= 9223372036854775807 - at `$.created`. {again}",
        ),
        (b"".join(lines), f"s.jsonl: the file ends without its closing line. {again}"),
        (data + b"{}\n", f"s.jsonl, line 16: something follows the closing line. {again}"),
        (
            b"".join([*lines[:5], closing]),
            f"s.jsonl, line 6: the closing line does not fit the lines before it. {again}",
        ),
        (
            b"".join([*lines[:2], b"\0" + lines[2], *lines[3:], closing]),
            "s.jsonl, line 3: the line cannot be read: JSON is malformed: invalid character (byte 0). "
            f"{again}",
        ),
        (
            closed([lines[0], blob.replace(b'"base64"', b'"text"'), *lines[1:]]),
            f"s.jsonl, line 2: the blob's bytes do not match f3a25aa93aa2. {again}",
        ),
        (
            closed([*lines[:at], blob[:75] + b'"base64":"*"}\n', *lines[at + 1 :]]),
            f"s.jsonl, line {at + 1}: the blob is no base64: Only base64 data is allowed. {again}",
        ),
        (
            closed([*lines[:at], blob[:75] + b'"base64":"' + bad + b'"}\n', *lines[at + 1 :]]),
            f"s.jsonl, line {at + 1}: the blob's bytes do not match f3a25aa93aa2. {again}",
        ),
        (
            closed([*lines[:at], blob[:74] + b"}\n", *lines[at + 1 :]]),
            f"s.jsonl, line {at + 1}: a blob has either `text` or `base64`. {again}",
        ),
        (closed([*lines, blob]), f"s.jsonl, line 15: blob f3a25aa93aa2 stands twice. {again}"),
        (
            closed([*lines[:at], *lines[at + 1 :]]),
            f"s.jsonl, line {at + 1}: entry 4: its blob f3a25aa93aa2: "
            f"the file does not hold it before this entry. {again}",
        ),
        (
            closed([lines[0], *lines[3:]]),
            f"s.jsonl, line 3: entry 0: entry 1 stands where 0 should be. {again}",
        ),
        (
            closed([lines[0], lines[1], blob, *lines[2:at], *lines[at + 1 :]]),
            f"s.jsonl, line 4: blob f3a25aa93aa2 does not belong to the entry after it. {again}",
        ),
        (
            closed([*lines, b'{"blob":"%s","text":"x"}\n' % digest(b"x").encode()]),
            f"s.jsonl: blob 2d711642b726 belongs to no entry. {again}",
        ),
        (
            closed([*lines[:2], other[2], *lines[3:]]),
            f"s.jsonl, line 3: entry 0: the entry belongs to session t. {again}",
        ),
        (
            closed([*lines[:4], *lines[0:1], *lines[4:]]),
            "s.jsonl, line 5: a second journal begins here. Import one at a time",
        ),
        (
            closed([*lines[:-1]]),
            f"s.jsonl: the opening line announces entry 8, hash {json.loads(lines[0])['hash'][:12]}, but "
            f"the file ends with entry 7, hash {json.loads(lines[-2])['hash'][:12]}. {again}",
        ),
        (
            closed([lines[0].replace(b'"name":"test"', b'"name":"best"'), *lines[1:]]),
            f"s.jsonl, line 3: the opening line has another name than the machine. {again}",
        ),
    ]
    for made, wanted in table:
        assert refused(made) == wanted


def test_a_line_that_is_too_long_ends_the_reading_there(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl"
    with path.open("wb") as file:  # sparse: it takes no room on the disk
        file.truncate(64 * MAX_LINE)
    with path.open("rb") as file, pytest.raises(BadFile) as caught:
        list(parsed(lines_of(file), "bomb.jsonl"))
    assert str(caught.value) == (
        f"bomb.jsonl, line 1: the line is longer than {MAX_LINE} bytes, the most this loopspec reads. "
        "Export the session again"
    )


# ------------------------------------------------------------ forged, with every hash made right


def forged(data: bytes, change: Callable[[list[Entry]], list[Entry]], **opening: Any) -> bytes:
    """An export with changed entries, chained and sealed anew, and a head that fits."""
    lines = data.splitlines(keepends=True)[:-1]
    at = [n for n, line in enumerate(lines) if line.startswith(b'{"v":')]
    prev = GENESIS
    for n, entry in zip(at, change([read(lines[n][:-1]) for n in at]), strict=False):
        sealed = seal(changed(entry, prev=prev))
        lines[n], prev = encode(sealed) + b"\n", sealed.hash
        last = sealed
    first = {**json.loads(lines[0]), "hash": prev, "seq": last.seq, **opening}
    lines[0] = json.dumps(first, separators=(",", ":")).encode() + b"\n"
    return closed(lines)


def each_entry(**changes: Any) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [changed(entry, **changes) for entry in entries]


def test_a_forger_who_can_hash_gains_nothing(data: bytes) -> None:
    same = forged(data, lambda entries: entries)
    assert same.splitlines()[1:-1] == data.splitlines()[1:-1]
    again = "Export the session again"
    rule = "`../../x` is no session id"
    assert refused(forged(data, each_entry(session="../../x"), session="../../x")) == (
        f"s.jsonl: the session's id cannot be one: {rule}. {again}"
    )
    assert refused(forged(data, each_entry(session="last"), session="last")) == (
        f"s.jsonl: the session's id cannot be one: `last` always means the newest session. {again}"
    )
    assert refused(forged(data, each_entry(session="u"), session="u")) == (
        f"s.jsonl, line 3: entry 0: the snapshot differs from the one recorded. {again}"
    )
    patch = read(data.splitlines()[2]).patch
    elsewhere = changed(patch, set={**patch.set, "session": msgspec.Raw(b'"u"')})
    assert refused(refolded(data, each_entry(patch=elsewhere))) == (
        f"s.jsonl, line 3: entry 0: its snapshot is another session's or another entry's. {again}"
    )
    assert refused(forged(data, each_entry(at=-1))) == (
        f"s.jsonl, line 3: entry 0 has the time -1, which is none. {again}"
    )
    assert refused(forged(data, each_entry(snapshot="0" * 64))) == (
        f"s.jsonl, line 3: entry 0: the snapshot differs from the one recorded. {again}"
    )
    for name in ("foo", "session", "__class__", "__dict__"):
        wild = changed(patch, put={name: {"a": msgspec.Raw(b"1")}})
        assert "the patch cannot be applied" in refused(forged(data, each_entry(patch=wild)))


def test_a_machine_that_is_none_or_newer_is_not_taken() -> None:
    store = MemoryStore()
    made = written(store, "s")
    data = exported(store, "s")
    for machine, wanted in (
        (b"{}", "the machine cannot be read"),
        (encode(changed(coding(), format=99)), "written by a newer loopspec (machine format 99)"),
    ):
        key = digest(machine)
        old = made.machine.digest
        text = data.decode().replace(old, key)
        lines = text.encode().splitlines(keepends=True)
        lines[1] = encode({"blob": key, "text": machine.decode()}) + b"\n"

        assert wanted in refused(refolded(b"".join(lines), lambda entries: entries))
    store.close()


def refolded(data: bytes, change: Callable[[list[Entry]], list[Entry]]) -> bytes:
    """A forgery whose snapshots' digests are made right too."""

    def right(entries: list[Entry]) -> list[Entry]:
        snapshot, out = empty("s"), []
        for entry in change(entries):
            snapshot = apply(snapshot, entry.patch, entry.effects)
            out.append(changed(entry, snapshot=digest(encode(snapshot))))
        return out

    return forged(data, right)


def test_a_session_that_does_not_begin_with_its_machine_is_not_taken(data: bytes) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        return [changed(entries[0], event=UserMessage("go"), blobs=(MACHINE.digest,)), *entries[1:]]

    assert refused(refolded(data, change)) == (
        "s.jsonl, line 3: entry 0: a session begins with `session.started` and its machine. "
        "Export the session again"
    )


# ------------------------------------------------------------ what a damaged store still gives


def test_an_export_of_a_damaged_session_stops_at_the_damage(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    written(store, "s", turns=2)
    conn = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    conn.execute("UPDATE entries SET body = CAST(replace(body, 'gate', 'mate') AS BLOB) WHERE seq = 6")
    conn.close()
    with pytest.raises(Damaged) as caught:
        exported(store, "s")
    assert str(caught.value).startswith("session s, entry 6: ")
    assert str(caught.value).endswith(
        "The last good entry is 5; save what is whole with: loopspec export s --upto 5 -o s.jsonl"
    )
    with pytest.raises(NotWhole):
        exported(store, "s", 6)
    rescued = MemoryStore()
    imported(rescued, exported(store, "s", 5))
    assert len(list(verified(rescued, "s"))) == 6
    rescued.close()
    store.close()
