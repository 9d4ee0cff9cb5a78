"""Chain: entries hashed one over the other, and what verifying them shows.

Rules of this file:
1. An entry's hash covers the previous hash and its own bytes, as they were written, without the hash.
2. A bare chain does not show a cut tail, so the head is kept apart and compared.
3. Verification reads bytes only: it needs no engine, no plugin and no spec, and does not depend on how
   this version would write the entry.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from loopspec.codec import answered_by, diff, digest, encode
from loopspec.errors import Damaged
from loopspec.events import Stamped
from loopspec.journal.entry import FORMAT, GENESIS, Entry
from loopspec.record import Record
from loopspec.snapshot import Snapshot

_KEY: Final = b',"hash":"'
_END: Final = b'"}'
"""What stands before and behind the hash, which is the last field of an entry."""
_BEHIND: Final = 64 + len(_END)
"""How many bytes stand behind `_KEY`: those of the hash in hex, and `_END`."""
_ENTRY: Final = msgspec.json.Decoder(Entry)


class Row(NamedTuple):
    """An entry with what a store keeps of it: its canonical bytes and those of the snapshot after it."""

    entry: Entry
    data: bytes
    snapshot: bytes


class OtherFormat(Damaged):
    """An entry that is whole, and of a format that this loopspec does not read."""


class _Seal(msgspec.Struct):
    """What every format of an entry has."""

    v: int
    hash: str


_SEAL: Final = msgspec.json.Decoder(_Seal)


def seal(entry: Entry) -> Entry:
    """The entry with its hash."""
    bare = msgspec.structs.replace(entry, hash="")
    _give_hash(bare)
    return bare


def _give_hash(entry: Entry) -> bytes:
    """Put its hash into an entry that has none and that nobody has seen yet; gives its canonical bytes,
    encoded once, with the hash where it belongs."""
    bare = encode(entry)
    made = digest(bare)
    msgspec.structs.force_setattr(entry, "hash", made)
    return bare[: -len(_END)] + made.encode() + _END


def hash_holds(entry: Entry, data: bytes) -> bool:
    """Whether `data`, of which `entry` was read, has the hash that stands at its end.

    If so, these are the bytes that this hash was made of, each of them: nothing between was changed,
    added or taken out. It is not claimed that loopspec made the hash. Whoever writes an entry anew
    (padded, in another order, with a key twice, or with other words altogether) can make one that holds;
    it is another hash then, and the entry after it, the head, or an index does not name it.
    """
    return _holds(entry.hash, data)


def _holds(key: str, data: bytes) -> bool:
    """Whether this hash stands at the end of the bytes and is theirs."""
    bare = data[:-_BEHIND]
    if not bare.endswith(_KEY) or data[-_BEHIND:] != key.encode() + _END:
        return False
    return digest(bare + _END) == key


def make_entry(
    *,
    old: Snapshot,
    new: Snapshot,
    stamped: Stamped,
    outcome: str,
    record: Record,
    effects: tuple[Any, ...],
    blobs: Iterable[str],
    prev: str,
    semantics: int,
) -> Row:
    """The sealed entry of an accepted step, with the bytes that were made on the way."""
    snapshot = encode(new)
    entry = Entry(
        v=FORMAT,
        sem=semantics,
        session=new.session,
        seq=new.seq,
        at=stamped.at,
        awake=stamped.awake,
        by=stamped.by,
        event=stamped.event,
        outcome=outcome,
        record=record,
        effects=effects,
        patch=diff(old, new, effects, answered_by(stamped.event)),
        snapshot=digest(snapshot),
        blobs=tuple(sorted(blobs)),
        prev=prev,
    )
    data = _give_hash(entry)
    return Row(entry, data, snapshot)


def read(data: bytes) -> Entry:
    """An entry from its bytes; raises `Damaged` when they are no entry, `OtherFormat` when this loopspec
    does not read their format."""
    try:
        entry = _ENTRY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        _look_at_format(data)
        raise Damaged(f"the bytes are no journal entry: {err}") from None
    if entry.v != FORMAT:
        _look_at_format(data)
        raise Damaged("the bytes are no journal entry: neither its format nor its hash is right")
    return entry


def _look_at_format(data: bytes) -> None:
    """Raises `OtherFormat` for an entry that is whole and of another format."""
    try:
        found = _SEAL.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if found.v != FORMAT and _holds(found.hash, data):
        raise OtherFormat(
            f"the entry is of format {found.v}, and this loopspec reads format {FORMAT}",
            remedy="Use the loopspec that wrote it; it can still show the session and go on with it",
        )


def check(rows: Iterable[bytes], session: str, start: int = 0) -> Iterator[Entry]:
    """The entries, each checked against its predecessor; raises `Damaged` naming the first bad one.

    `start` is the sequence of the first of `rows`; from 0 on, the whole chain is checked, else what
    comes before is not looked at.
    """
    prev: str | None = GENESIS if start == 0 else None
    seq = start
    for data in rows:
        where = f"session {session}, entry {seq}"
        try:
            entry = read(data)
        except Damaged as err:
            raise type(err)(err.fault, place=where, remedy=err.remedy or remedy(session)) from None
        fault = ""
        if entry.session != session:
            fault = f"the entry belongs to session {entry.session}"
        elif entry.seq != seq:
            fault = f"entry {entry.seq} stands where {seq} should be"
        elif prev is not None and entry.prev != prev:
            fault = "the previous hash does not match: dropped or swapped"
        elif not hash_holds(entry, data):
            fault = "the entry's own hash does not match: it was edited"
        if fault:
            raise Damaged(fault, place=where, remedy=remedy(session))
        yield entry
        prev, seq = entry.hash, seq + 1


def remedy(session: str) -> str:
    """What helps against a damaged session: knowing how far it is whole."""
    return f"How far it is whole says: loopspec verify {session}"


def check_head(last: Entry | None, seq: int, head: str, session: str) -> None:
    """Compare the last entry with the head kept apart; raises `Damaged` when the tail was cut."""
    if last is None or last.seq < seq:
        have = "none" if last is None else str(last.seq)
        raise Damaged(
            f"the head says entry {seq}, but the newest entry is {have}: the tail was cut",
            place=f"session {session}",
            remedy=remedy(session),
        )
    if last.seq > seq or last.hash != head:
        raise Damaged(
            f"the head says entry {seq} with another hash than entry {last.seq} has",
            place=f"session {session}",
            remedy=remedy(session),
        )
