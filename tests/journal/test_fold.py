"""The journal is the only truth: folding any prefix gives the recorded snapshot, running it again
agrees, and no edit, drop, swap, cut or flipped byte goes unnoticed.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.builders import T0, coding
from machine.test_step_total import an_event

from loopspec.codec import apply, decode_event, diff, digest, encode
from loopspec.drivers.session import stepper
from loopspec.errors import Damaged
from loopspec.events import COMMANDS, FACTS, Kept, SessionStarted, Stamped, UserMessage
from loopspec.journal.chain import (
    OtherFormat,
    check,
    check_head,
    hash_holds,
    make_entry,
    read,
    seal,
)
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import advance, empty, fold, recompute
from loopspec.machine.step import REFUSED, step
from loopspec.snapshot import Snapshot

MACHINE = coding()


class Book:
    """A journal written by stepping events."""

    machine = MACHINE

    def __init__(self) -> None:
        self.snapshot: Snapshot = empty("s")
        self.entries: list[Entry] = []
        self.snapshots: list[Snapshot] = []
        self.write(SessionStarted(MACHINE.digest, workdir="/w"))

    def write(self, event: Kept) -> None:
        """Step one event and append its entry, unless it is refused."""
        n = len(self.entries)
        stamped = Stamped(T0 + n * 1_000, n * 1_000, "test", event)
        made = step(MACHINE, self.snapshot, stamped)
        if made.outcome == REFUSED:
            return
        entry = make_entry(
            old=self.snapshot,
            new=made.snapshot,
            stamped=stamped,
            outcome=made.outcome,
            record=made.record,
            effects=made.effects,
            blobs=made.blobs,
            prev=self.entries[-1].hash if self.entries else GENESIS,
            semantics=MACHINE.semantics,
        ).entry
        self.entries.append(entry)
        self.snapshot = made.snapshot
        self.snapshots.append(made.snapshot)

    @property
    def rows(self) -> list[bytes]:
        """The entries' bytes."""
        return [encode(e) for e in self.entries]


def random_book(draw: Any, most: int = 25) -> Book:
    """A journal of random events that often fit where the session stands."""
    book: Any = Book()
    book.write(UserMessage("go", tokens=3))
    for _ in range(draw(st.integers(3, most))):
        book.write(an_event(draw, book, draw(st.sampled_from(COMMANDS + FACTS))))
    made: Book = book
    return made


BOOKS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@BOOKS
@given(data=st.data())
def test_folding_any_prefix_gives_the_snapshot_that_was_there(data: st.DataObject) -> None:
    book = random_book(data.draw)
    for n, (entry, snapshot) in enumerate(zip(book.entries, book.snapshots, strict=True), start=1):
        folded = fold("s", book.entries[:n])
        assert folded == snapshot
        assert encode(folded) == encode(snapshot)
        assert digest(encode(folded)) == entry.snapshot
        assert read(encode(entry)) == entry
        assert decode_event(encode(entry.event)) == entry.event


@BOOKS
@given(data=st.data())
def test_running_it_again_gives_no_difference(data: st.DataObject) -> None:
    book = random_book(data.draw)
    assert list(recompute("s", book.entries, stepper(MACHINE))) == []
    reloaded = [read(row) for row in book.rows]
    assert list(recompute("s", reloaded, stepper(MACHINE))) == []


@BOOKS
@given(data=st.data())
def test_a_patch_is_the_whole_difference_between_any_two_snapshots(data: st.DataObject) -> None:
    book = random_book(data.draw)
    old, new = (data.draw(st.sampled_from(book.snapshots)) for _ in range(2))
    assert apply(old, diff(old, new)) == new
    assert diff(new, new) == type(diff(new, new))()


def test_a_changed_engine_shows_itself_with_the_entry_and_what_differs() -> None:
    book = Book()
    book.write(UserMessage("go"))
    other = coding(prompts={"system": "You rest."})
    lines = list(recompute("s", book.entries, stepper(other)))
    assert [line.split(":")[0] for line in lines] == ["entry 1"] * 2
    assert "the effects differs" in lines[1]


@pytest.fixture(name="rows", scope="module")
def _rows() -> list[bytes]:
    book = Book()
    for text in ("go", "on", "then", "stop"):
        book.write(UserMessage(text, tokens=1))
    return book.rows


def checked(rows: list[bytes], head: Entry) -> None:
    """What verifying does: the chain, the snapshots, the head."""
    last, snapshot = None, empty("s")
    for last in check(rows, "s"):
        snapshot = advance(snapshot, last)
    check_head(last, head.seq, head.hash, "s")


def test_an_untouched_journal_holds_together(rows: list[bytes]) -> None:
    checked(rows, read(rows[-1]))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_flipped_byte_of_any_entry_is_noticed(rows: list[bytes], data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(rows) - 1))
    row = bytearray(rows[which])
    row[data.draw(st.integers(0, len(row) - 1))] ^= data.draw(st.integers(1, 255))
    bad = [*rows[:which], bytes(row), *rows[which + 1 :]]
    with pytest.raises(Damaged):
        checked(bad, read(rows[-1]))


def test_every_byte_of_an_entry_counts(rows: list[bytes]) -> None:
    for place in range(len(rows[1])):
        for flip in (1, 0x20, 0x80):
            row = bytearray(rows[1])
            row[place] ^= flip
            with pytest.raises(Damaged, match="session s, entry 1: "):
                list(check([rows[0], bytes(row)], "s"))


def hashed(bare: bytes) -> bytes:
    """Bytes that end in an empty hash, with the hash that is theirs: by hand, as a stranger would."""
    assert bare.endswith(b',"hash":""}')
    return bare[:-2] + hashlib.sha256(bare).hexdigest().encode() + b'"}'


def bare(row: bytes) -> bytes:
    """An entry's bytes without its hash."""
    return row[:-66] + b'"}'


def test_an_entry_of_an_older_loopspec_that_knew_a_field_less_holds(rows: list[bytes]) -> None:
    older = hashed(bare(rows[1]).replace(b',"tokens":1},"outcome"', b'},"outcome"'))
    assert len(older) < len(rows[1])
    entry = list(check([rows[0], older], "s"))[1]
    assert entry.event == UserMessage("go")
    assert encode(entry) != older and hash_holds(entry, older) and not hash_holds(entry, rows[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda row: b" " + row,
        lambda row: row.replace(b'"seq":1,', b'"seq": 1,', 1),
        lambda row: row.replace(b'"v":2,"sem":4,', b'"sem":4,"v":2,', 1),
        lambda row: row.replace(b'"by":"test",', b'"by":"nobody","by":"test",', 1),
    ],
    ids=["padded", "spaced", "in another order", "a key twice"],
)
def test_an_entry_that_is_written_otherwise_is_another_entry(
    rows: list[bytes], change: Callable[[bytes], bytes]
) -> None:
    same = change(rows[1])
    assert same != rows[1]
    with pytest.raises(Damaged, match="entry 1: the entry's own hash does not match: it was edited"):
        list(check([rows[0], same], "s"))
    forged = hashed(change(bare(rows[1])))  # what no hash can know is whose it is; its place can
    with pytest.raises(Damaged, match="entry 2: the previous hash does not match"):
        list(check([rows[0], forged, *rows[2:]], "s"))
    with pytest.raises(Damaged, match="another hash"):
        checked([rows[0], forged], read(rows[1]))


@pytest.mark.parametrize("after", [b" ", b"\n", b"{}", b'"}'])
def test_nothing_may_stand_behind_an_entry(rows: list[bytes], after: bytes) -> None:
    with pytest.raises(Damaged, match="entry 1: "):
        list(check([rows[0], rows[1] + after], "s"))


@pytest.mark.parametrize("more", [b"", b',"new":{"a":1}'], ids=["as ours", "with what we do not know"])
@pytest.mark.parametrize("form", [1, 3])
def test_an_entry_of_another_format_is_no_damage(rows: list[bytes], form: int, more: bytes) -> None:
    row = hashed(bare(rows[1]).replace(b'{"v":2', b'{"v":%d%s' % (form, more)))
    with pytest.raises(OtherFormat) as caught:
        list(check([rows[0], row], "s"))
    assert str(caught.value) == (
        f"session s, entry 1: the entry is of format {form}, and this loopspec reads format 2. "
        "Use the loopspec that wrote it; it can still show the session and go on with it"
    )


def test_a_format_that_was_written_over_is_damage(rows: list[bytes]) -> None:
    for row in (rows[1].replace(b'{"v":2', b'{"v":3'), rows[1].replace(b'{"v":2', b'{"v":3,"x":1')):
        with pytest.raises(Damaged, match="entry 1: the bytes are no journal entry") as caught:
            list(check([rows[0], row], "s"))
        assert type(caught.value) is Damaged


@BOOKS
@given(data=st.data())
def test_what_a_step_leaves_alone_is_the_same_object_and_what_it_was_given_is_as_before(
    data: st.DataObject,
) -> None:
    """`diff` skips by identity; a map that was written in place would change the past."""
    book = random_book(data.draw)
    for entry, before in zip(book.entries[1:], book.snapshots, strict=False):
        bytes_before = encode(before)
        stamped = Stamped(entry.at, entry.awake, entry.by, entry.event)
        after = step(MACHINE, before, stamped).snapshot
        assert encode(before) == bytes_before
        written = {*entry.patch.put, *entry.patch.edit, *entry.patch.drop}
        for name in ("history", "vars", "extended", "timers", "marks", "windows"):
            assert name in written or getattr(after, name) is getattr(before, name), name


@pytest.mark.parametrize("which", range(5))
def test_a_dropped_entry_is_noticed_where_it_is_missing(rows: list[bytes], which: int) -> None:
    bad = rows[:which] + rows[which + 1 :]
    with pytest.raises(Damaged) as caught:
        checked(bad, read(rows[-1]))
    where = f"entry {which}" if which < 4 else "the tail was cut"
    assert where in str(caught.value)


@pytest.mark.parametrize("which", range(4))
def test_swapped_entries_are_noticed(rows: list[bytes], which: int) -> None:
    bad = list(rows)
    bad[which], bad[which + 1] = bad[which + 1], bad[which]
    with pytest.raises(Damaged, match=f"entry {which}: entry {which + 1} stands where {which}"):
        checked(bad, read(rows[-1]))


@pytest.mark.parametrize("left", range(5))
def test_a_cut_tail_is_noticed_by_the_head(rows: list[bytes], left: int) -> None:
    list(check(rows[:left], "s"))  # the bare chain cannot tell
    with pytest.raises(Damaged, match="the tail was cut"):
        checked(rows[:left], read(rows[-1]))


def test_an_entry_sealed_again_after_an_edit_breaks_the_chain_after_it(rows: list[bytes]) -> None:
    entry = read(rows[1])
    forged = seal(msgspec.structs.replace(entry, by="nobody"))
    bad = [rows[0], encode(forged), *rows[2:]]
    with pytest.raises(Damaged, match="entry 2: the previous hash does not match"):
        checked(bad, read(rows[-1]))
    with pytest.raises(Damaged, match="another hash"):
        checked([rows[0], encode(forged)], entry)


def test_a_forged_patch_differs_from_the_recorded_snapshot(rows: list[bytes]) -> None:
    entry = read(rows[1])
    patch = msgspec.structs.replace(entry.patch, set={**entry.patch.set, "stuck": msgspec.Raw(b'"x"')})
    forged = seal(msgspec.structs.replace(entry, patch=patch))
    with pytest.raises(Damaged, match="entry 1: the snapshot differs"):
        fold("s", [read(rows[0]), forged])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"nonsense":1}',
        b'{"set":1}',
        b'{"put":{"calls":{"c":5}}}',
        b'{"put":{"seq":{"a":1}}}',
        b'{"put":{"inputs":{"a":1}}}',
    ],
)
def test_a_patch_that_cannot_be_applied_is_damage_not_a_crash(raw: bytes) -> None:
    book = Book()
    try:
        patch = msgspec.json.decode(raw, type=type(book.entries[0].patch))
    except msgspec.ValidationError:
        data = book.rows[0].replace(encode(book.entries[0].patch), raw)
        with pytest.raises(Damaged, match="no journal entry"):
            read(data)
        return
    forged = seal(msgspec.structs.replace(book.entries[0], patch=patch))
    with pytest.raises(Damaged):
        fold("s", [forged])


def test_an_entry_of_another_session_is_noticed(rows: list[bytes]) -> None:
    with pytest.raises(Damaged, match="belongs to session s"):
        list(check(rows, "other"))
