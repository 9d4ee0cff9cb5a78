"""Fold: the snapshot a journal amounts to. Applies recorded results; runs nothing.

`recompute` is the other way round: it runs `step` again on every event and compares, so that a
change of engine, guard language or template language shows itself.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from loopspec.codec import answered_by, apply, digest, encode
from loopspec.errors import Damaged
from loopspec.events import Stamped
from loopspec.journal.entry import Entry
from loopspec.snapshot import Snapshot


class Recomputed(msgspec.Struct, frozen=True):
    """A step run again: its outcome, snapshot and effects as canonical bytes."""

    outcome: str
    snapshot: Snapshot
    effects: bytes
    record: bytes


Stepper = Callable[[Snapshot, Stamped], Recomputed]


def empty(session: str) -> Snapshot:
    """The snapshot before entry 0."""
    return Snapshot(session=session, machine="")


def advance(snapshot: Snapshot, entry: Entry) -> Snapshot:
    """The snapshot after `entry`; raises `Damaged` if it is not the one recorded there."""
    try:
        new = apply(snapshot, entry.patch, entry.effects, answered_by(entry.event))
    except (msgspec.MsgspecError, TypeError, ValueError, LookupError, AttributeError) as err:
        raise Damaged(
            f"the patch cannot be applied: {err}", place=f"entry {entry.seq}"
        ) from None
    if digest(encode(new)) != entry.snapshot:
        raise Damaged("the snapshot differs from the one recorded", place=f"entry {entry.seq}")
    return new


def fold(session: str, entries: Iterable[Entry]) -> Snapshot:
    """The snapshot after all of `entries`; raises `Damaged` at the first that does not fit."""
    snapshot = empty(session)
    for entry in entries:
        snapshot = advance(snapshot, entry)
    return snapshot


def recompute(session: str, entries: Iterable[Entry], stepper: Stepper) -> Iterator[str]:
    """Run every event again; yields a line for each difference (none: the engine agrees)."""
    snapshot = empty(session)
    for entry in entries:
        stamped = Stamped(at=entry.at, awake=entry.awake, by=entry.by, event=entry.event)
        again = stepper(snapshot, stamped)
        recorded = advance(snapshot, entry)
        pairs = (
            ("outcome", entry.outcome, again.outcome),
            ("snapshot", entry.snapshot, digest(encode(again.snapshot))),
            ("effects", encode(entry.effects), again.effects),
            ("record", encode(entry.record), again.record),
        )
        for what, old, new in pairs:
            if old != new:
                yield f"entry {entry.seq}: the {what} differs: recorded {old!r}, now {new!r}"
        snapshot = recorded
