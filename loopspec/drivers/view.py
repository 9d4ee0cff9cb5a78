"""View: what the model of a session sees, kept in step with the journal and found again in it.

Rules of this file:
1. The view is a fold of entries and nothing else; `verify` walks them all, a resume need not. Masks
   stand in the newest compaction's entry, all of them, so no earlier one is read for them.
2. A compaction leaves an *index* beside its entry: which items stay, and the hash of the entry each
   stands in. So a resume reads those entries and the ones since, however long the session is.
3. Every entry that is read is held against a hash that the head vouches for: the entries since the
   compaction by their chain, the ones that stayed by the index, the index by the compaction's entry.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from loopspec.codec import decode, encode
from loopspec.context.transcript import Item, added, apply, masked
from loopspec.errors import Damaged, NotFound
from loopspec.events import ContextCompacted
from loopspec.journal.chain import check, check_head, hash_holds, read
from loopspec.journal.entry import Entry
from loopspec.record import Replace
from loopspec.stores.base import Head, Store

NEAR: Final = 8
"""Entries that stayed are read in one go when at most this many others lie between them: reading one
row more is cheaper than asking once more."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item that stayed: its id, and the hash of its entry (empty: the compaction's own)."""

    item: str
    hash: str


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="view"):
    """The view as a compaction left it, in order."""

    items: tuple[Kept, ...]


class View:
    """The items a model sees, and the hashes of the entries they stand in."""

    def __init__(self) -> None:
        """An empty view."""
        self._items: list[Item] = []
        self._hashes: dict[str, str] = {}  # of the entry in which an item stands, by its sequence
        self._shown: tuple[Item, ...] | None = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """The items, oldest first."""
        if self._shown is None:
            self._shown = tuple(self._items)
        return self._shown

    def apply(self, entry: Entry) -> None:
        """Follow an entry that was written."""
        if not entry.record.view:
            return
        apply(self._items, entry)
        self._shown = None
        self._hashes[str(entry.seq)] = entry.hash
        if replaces(entry):
            staying = {_seq(item.id) for item in self._items}
            self._hashes = {seq: key for seq, key in self._hashes.items() if seq in staying}

    def index_after(self, entry: Entry) -> bytes:
        """The index that belongs beside a compaction's entry, before that entry is sealed."""
        items = list(self._items)
        apply(items, entry)
        kept = (Kept(item.id, self._hashes.get(_seq(item.id), "")) for item in items)
        return encode(Index(tuple(kept)))

    def restore(self, store: Store, compaction: Entry, index: Index) -> None:
        """Stand where a compaction left the view; raises `Damaged`."""
        session = compaction.session
        wanted = sorted({int(_seq(k.item)) for k in index.items})
        hashes = {int(_seq(k.item)): k.hash or compaction.hash for k in index.items}
        event = compaction.event
        masks = {m.item: m.text for m in event.masks} if isinstance(event, ContextCompacted) else {}
        found = {e.seq: e for e in _some(store, session, wanted, hashes)}
        for kept in index.items:
            entry = found.get(int(_seq(kept.item)))
            item = added(entry, kept.item) if entry is not None else None
            if item is None:
                raise Damaged(
                    f"item {kept.item} of the view stands in no entry", place=f"session {session}"
                )
            text = masks.get(item.id)
            self._items.append(item if text is None else masked(item, text))
        self._hashes = {str(seq): key for seq, key in hashes.items()}
        self._shown = None


def replaces(entry: Entry) -> bool:
    """Whether an entry made the view smaller."""
    return any(isinstance(op, Replace) for op in entry.record.view)


def load_view(store: Store, head: Head, compacted: int, *, look: bool = False) -> View:
    """The view of a session as its head says; raises `Damaged`.

    `compacted` is the sequence of the newest compaction, -1 without one. `look` leaves out the checks,
    so that a person can look at what is damaged.
    """
    view, session = View(), head.session
    rows = store.entries(session, max(0, compacted), head.seq + 1)  # another process may go on
    entries = map(read, rows) if look else check(rows, session, max(0, compacted))
    last: Entry | None = None
    for last in entries:
        if last.seq != compacted:
            view.apply(last)
        elif (index := _index_of(store, last)) is not None:
            view.restore(store, last, index)
        else:  # written without an index: everything from the beginning, then
            return load_view(store, head, -1, look=look)
    if not look:
        check_head(last, head.seq, head.hash, session)
    return view


def _index_of(store: Store, compaction: Entry) -> Index | None:
    """The index beside a compaction's entry, None if there is none."""
    for key in compaction.blobs:
        try:
            return decode(store.blob(key), Index)
        except NotFound:
            where = f"session {compaction.session}, entry {compaction.seq}"
            raise Damaged(f"its blob {key[:12]} is missing", place=where) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # another blob of the same entry
    return None


def _some(
    store: Store, session: str, wanted: list[int], hashes: dict[int, str]
) -> Iterator[Entry]:
    """The wanted entries, each with the hash it must have; raises `Damaged`."""
    for start, stop in _runs(wanted):
        for seq, data in enumerate(store.entries(session, start, stop), start):
            if seq not in hashes:
                continue
            where = f"session {session}, entry {seq}"
            try:
                entry = read(data)
            except Damaged as err:
                raise type(err)(err.fault, place=where, remedy=err.remedy) from None
            if entry.hash != hashes[seq] or not hash_holds(entry, data):
                raise Damaged("the entry's hash is not the one it had: it was edited", place=where)
            yield entry


def _runs(wanted: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ranges `start <= seq < stop` that hold all the wanted sequences, few and short."""
    start = stop = -1
    for seq in wanted:
        if start < 0:
            start, stop = seq, seq + 1
        elif seq - stop <= NEAR:
            stop = seq + 1
        else:
            yield start, stop
            start, stop = seq, seq + 1
    if start >= 0:
        yield start, stop


def _seq(item: str) -> str:
    """The sequence of the entry in which an item stands."""
    return item.partition(".")[0]

