"""Chain: entries hashed one over the other, and what verifying them shows.

Rules of this file:
1. An entry's hash covers the previous hash and its own canonical bytes without the hash.
2. A bare chain does not show a cut tail, so the head is kept apart and compared.
3. Verification reads bytes only: it needs no engine, no plugin and no spec.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from loopspec.codec import answered_by, decode, diff, digest, encode
from loopspec.errors import Damaged
from loopspec.events import Stamped
from loopspec.journal.entry import FORMAT, GENESIS, Entry
from loopspec.record import Record
from loopspec.snapshot import Snapshot

_END: Final = b'"}'
"""What stands behind the hash, which is the last field of an entry."""


class Row(NamedTuple):
    """An entry with what a store keeps of it: its canonical bytes and those of the snapshot after it."""

    entry: Entry
    data: bytes
    snapshot: bytes


def seal(entry: Entry) -> Entry:
    """The entry with its hash."""
    return _sealed(entry)[0]


def _sealed(entry: Entry) -> tuple[Entry, bytes]:
    """The entry with its hash, and its canonical bytes: encoded once, the hash put where it belongs."""
    bare = encode(msgspec.structs.replace(entry, hash="") if entry.hash else entry)
    made = digest(bare)
    return msgspec.structs.replace(entry, hash=made), bare[: -len(_END)] + made.encode() + _END


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
    entry, data = _sealed(
        Entry(
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
    )
    return Row(entry, data, snapshot)


def read(data: bytes) -> Entry:
    """An entry from its bytes; raises `Damaged` when they are no entry."""
    try:
        return decode(data, Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise Damaged(f"the bytes are no journal entry: {err}") from None


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
            raise Damaged(err.fault, place=where, remedy=remedy(session)) from None
        fault = ""
        if entry.session != session:
            fault = f"the entry belongs to session {entry.session}"
        elif entry.seq != seq:
            fault = f"entry {entry.seq} stands where {seq} should be"
        elif prev is not None and entry.prev != prev:
            fault = "the previous hash does not match: dropped or swapped"
        elif _sealed(entry) != (entry, data):
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
