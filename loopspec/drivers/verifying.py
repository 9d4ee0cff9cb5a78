"""Verifying: the whole walk through a journal, entry by entry, wherever it stands.

Rules of this file:
1. What is called whole was read and compared: every link, hash, snapshot and blob, the head, and what
   the store's list says of the session.
2. What is not whole is named: the entry, the fault, the newest entry before it that is whole, and the
   command that saves what is whole.
3. A session that runs meanwhile is no fault: the walk goes on until it has met the head.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from loopspec.codec import decode, digest, encode
from loopspec.errors import Damaged, LoopspecError, NotFound
from loopspec.events import SessionStarted
from loopspec.journal.chain import OtherFormat, check, hash_holds, read, remedy
from loopspec.journal.entry import Entry
from loopspec.journal.fold import advance, empty
from loopspec.journal.lines import BadFile, rests_on
from loopspec.machine.model import FORMAT, Machine
from loopspec.snapshot import Snapshot
from loopspec.stores.base import Head, Store


class Blobs(Protocol):
    """Whatever gives bytes by their digest."""

    def blob(self, digest: str) -> bytes:
        """A blob's bytes; raises `NotFound`, or `Damaged` if they do not match the digest."""


class NotWhole(Damaged):
    """A journal that does not hold together.

    `entry` is the first that does not hold, -1 when the fault stands beside the entries; `good` is the
    newest one that is whole with all before it, -1 without any.
    """

    def __init__(self, fault: str, *, session: str, entry: int, good: int) -> None:
        """Say what is wrong with which entry of which session."""
        place = f"session {session}, entry {entry}" if entry >= 0 else f"session {session}"
        super().__init__(fault, place=place, remedy=_remedy(session, good))
        self.session, self.entry, self.good = session, entry, good


def rescue(session: str, good: int) -> str:
    """The command that saves what is whole, empty if nothing is."""
    return f"loopspec export {session} --upto {good} -o {session}.jsonl" if good >= 0 else ""


def _remedy(session: str, good: int) -> str:
    if good < 0:
        return "No entry is whole; restore the store from a backup"
    return f"The last good entry is {good}; save what is whole with: {rescue(session, good)}"


def load_machine(store: Blobs, key: str) -> Machine:
    """The compiled machine of a session; raises `Damaged` or `LoopspecError`."""
    try:
        data = store.blob(key)
    except NotFound:
        raise Damaged("the session's compiled machine is missing", place=f"blob {key[:12]}") from None
    try:
        machine = decode(data, Machine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise Damaged(f"the machine cannot be read: {err}", place=f"blob {key[:12]}") from None
    if machine.format > FORMAT:
        raise LoopspecError(
            f"the session was written by a newer loopspec (machine format {machine.format})",
            remedy="install that version to go on",
        )
    return machine


def walk(rows: Iterable[bytes], session: str, blobs: Blobs) -> Iterator[tuple[Entry, Snapshot]]:
    """Each entry of a journal with the snapshot after it, checked; raises `NotWhole`.

    `rows` are the entries' bytes from 0 on. Whether the end is the right one, the head knows.
    """
    snapshot = empty(session)
    good = -1
    try:
        for entry in check(rows, session):
            snapshot = advance(snapshot, entry)
            if (snapshot.session, snapshot.seq) != (session, entry.seq):
                raise Damaged("its snapshot is another session's or another entry's")
            for key in rests_on(entry):
                _hold(blobs, key)
            if entry.seq == 0:
                _begin(entry, snapshot, blobs)
            yield entry, snapshot
            good = entry.seq
    except (NotWhole, BadFile, OtherFormat):
        raise
    except Damaged as err:
        raise NotWhole(err.fault, session=session, entry=good + 1, good=good) from None


def _hold(blobs: Blobs, key: str) -> None:
    """See to it that a blob is there and right; raises `Damaged`."""
    try:
        blobs.blob(key)
    except (NotFound, Damaged) as err:
        raise Damaged(f"its blob {key[:12]}: {err.fault}") from None


def _begin(entry: Entry, snapshot: Snapshot, blobs: Blobs) -> None:
    """See to it that entry 0 begins a session with its machine; raises `Damaged`, `LoopspecError`."""
    started = entry.event
    if not isinstance(started, SessionStarted) or started.machine != snapshot.machine:
        raise Damaged("a session begins with `session.started` and its machine")
    load_machine(blobs, snapshot.machine)


def verified(store: Store, session: str) -> Iterator[Entry]:
    """Every entry of a session in a store, the whole of it checked; raises `NotWhole`, `NotFound`."""
    rows = ToTheHead(store, session)
    good, snapshot = -1, empty(session)
    last: Entry | None = None
    try:
        for entry, after in walk(rows, session, store):
            last, snapshot = entry, after
            yield entry
            good = entry.seq
        if rows.fault is not None:
            raise rows.fault
        _compare(rows.head, last, snapshot, session)
        _listed(store, snapshot)
    except NotWhole:
        raise
    except Damaged as err:
        raise NotWhole(err.fault, session=session, entry=-1, good=good) from None


class ToTheHead:
    """The rows of a session's entries, on and on until the head is met, and what stands beyond it.

    An append writes entry and head at once, so rows beyond a head that was read *after* them are a
    fault, and rows beyond one that was read before them only mean that the session runs.
    """

    def __init__(self, store: Store, session: str) -> None:
        """Raises `NotFound` for an unknown session."""
        self._store, self._session = store, session
        self.head: Head | None = None
        self.fault: Damaged | None = None
        try:
            self.head = store.head(session)
        except Damaged as err:
            self.fault = err

    def __iter__(self) -> Iterator[bytes]:
        """The rows, from entry 0; all there are, when the head cannot be read."""
        if self.fault is not None:
            yield from each(self._store, self._session, 0, None)
            return
        seq = 0
        while True:
            stop = self.head.seq + 1 if self.head is not None else 0
            for row in each(self._store, self._session, seq, stop):
                yield row
                seq += 1
            if seq < stop:
                return  # cut: `_compare` says so
            more = next(each(self._store, self._session, stop, stop + 1), None) is not None
            newer = self._store.head(self._session)
            if not more:
                return
            if newer is None or newer.seq < stop:
                yield from each(self._store, self._session, stop, None)
                return
            self.head = newer


def each(store: Store, session: str, start: int, stop: int | None) -> Iterator[bytes]:
    """The rows `start <= seq < stop`, as far as they can be read; raises `Damaged` at the first that
    cannot.

    A store reads many rows at once, so a damaged one takes its neighbours along: they are read again
    one by one.
    """
    seq = start
    try:
        for row in store.entries(session, start, stop):
            yield row
            seq += 1
        return
    except Damaged:
        pass
    while stop is None or seq < stop:
        for row in store.entries(session, seq, seq + 1):
            yield row
            break
        else:
            return
        seq += 1


def _compare(head: Head | None, last: Entry | None, snapshot: Snapshot, session: str) -> None:
    """Hold the end of a walk against the head kept apart; raises `NotWhole`."""
    good = -1 if last is None else last.seq
    if head is None and last is None:
        raise Damaged(
            "the session has no entries: it was made and never begun",
            place=f"session {session}",
            remedy="Nothing is lost: begin it, or leave it",
        )
    if head is None:
        what = "the head says there is no entry"
        raise NotWhole(what, session=session, entry=0, good=good)
    if last is None or last.seq < head.seq:
        have = "none" if last is None else str(last.seq)
        what = f"the head says entry {head.seq}, but the newest entry is {have}: the tail was cut"
        raise NotWhole(what, session=session, entry=good + 1, good=good)
    if last.seq > head.seq:
        what = f"the head says entry {head.seq}, but the entries go on to {last.seq}"
        raise NotWhole(what, session=session, entry=head.seq + 1, good=good)
    if last.hash != head.hash:
        what = f"the head says entry {head.seq} with another hash than it has"
        raise NotWhole(what, session=session, entry=head.seq, good=good)
    if encode(snapshot) != head.snapshot:
        what = "the stored snapshot is not the one its entries fold to"
        raise NotWhole(what, session=session, entry=head.seq, good=good)


def sound(store: Store, head: Head) -> None:
    """Hold a head against the entry it names, and no more; raises `Damaged`."""
    row = next(each(store, head.session, head.seq, head.seq + 1), None)
    entry = None if row is None else read(row)
    if entry is None or (entry.hash, entry.snapshot) != (head.hash, digest(head.snapshot)):
        raise Damaged(f"the head does not fit entry {head.seq}", remedy=remedy(head.session))


def looked_at(
    store: Store, session: str, start: int, doubt: Callable[[Damaged], None]
) -> Iterator[Entry]:
    """The entries from `start` on, for a person to look at; raises `Damaged` at one that is unreadable.

    What can be read and does not hold is given out all the same, and `doubt` is told of the first.
    """
    head = store.head(session)  # before the entries: what a running session adds is no fault then
    found: Damaged | None = None
    prev: str | None = None
    last = start - 1
    for seq, row in enumerate(each(store, session, start, None), start):
        place = f"session {session}, entry {seq}"
        try:
            entry = read(row)
        except Damaged as err:
            raise Damaged(err.fault, place=place, remedy=remedy(session)) from None
        right = entry.seq == seq and prev in (None, entry.prev) and hash_holds(entry, row)
        if head is not None and entry.seq == head.seq:
            right = right and (entry.hash, entry.snapshot) == (head.hash, digest(head.snapshot))
        if found is None and not right:
            found = Damaged("this does not hold", place=place, remedy=remedy(session))
            doubt(found)  # at once: who looks at a part of it never comes to the end
        prev, last = entry.hash, seq
        yield entry
    if found is None and head is not None and last < head.seq:
        place = f"session {session}, entry {last + 1}"
        doubt(Damaged("the tail was cut here", place=place, remedy=remedy(session)))


def _listed(store: Store, snapshot: Snapshot) -> None:
    """Hold the store's list of sessions against the end of a walk; raises `Damaged`."""
    for row in store.sessions():
        if row.session != snapshot.session or row.head != snapshot.seq:
            continue  # another one, or it has moved on since
        if row.name != load_machine(store, snapshot.machine).name:
            raise Damaged("the store lists it under another name than its machine's")
        if row.updated != snapshot.at:
            raise Damaged("the store lists it with another time than its newest entry's")
