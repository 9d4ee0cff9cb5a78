"""Moving: a session out of a store as JSON lines, and into another.

Rules of this file:
1. What is written was walked through first, entry by entry: a file that is there is whole.
2. Nothing of a file reaches a store before all of it was checked, and then the session comes at once
   or not at all. What was checked is what is written: it is set aside while it is read.
3. A journal that was cut says so: what happened after the cut is not known to it.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from loopspec.codec import digest, encode
from loopspec.drivers.launch import check_id
from loopspec.drivers.verifying import NotWhole, each, load_machine, walk
from loopspec.errors import Conflict, Damaged, NotFound, UsageError
from loopspec.journal.chain import read
from loopspec.journal.entry import Entry
from loopspec.journal.lines import (
    AGAIN,
    MAX_LINE,
    BadFile,
    Blob,
    Cut,
    Opening,
    content,
    parsed,
    rests_on,
    written,
)
from loopspec.snapshot import Snapshot
from loopspec.stores.base import Append, Head, Store

_LONGEST_TIME: Final = 2**63 - 1


@dataclass(frozen=True)
class Exported:
    """What an export holds; `size` is in bytes."""

    opening: Opening
    size: int


def export(store: Store, session: str, upto: int | None, file: IO[bytes]) -> Exported:
    """Write a session's entries, up to and with entry `upto`, as JSON lines into `file`.

    Without `upto`, all entries up to the head as it is now. Raises `NotWhole` at the first entry that
    does not hold, `UsageError` when there is no entry `upto`; then `file` is worth nothing.
    """
    opening = _opening(store, session, upto)
    size = 0
    for line in written(opening, _checked(store, opening), store.blob):
        file.write(line)
        size += len(line)
    return Exported(opening, size)


def _checked(store: Store, opening: Opening) -> Iterator[Entry]:
    """The entries that an opening announces; raises `NotWhole`."""
    session, good = opening.session, -1
    rows = each(store, session, 0, opening.seq + 1)
    for entry, _ in walk(rows, session, store):
        if entry.seq == opening.seq and entry.hash != opening.hash:
            what = f"the head says entry {opening.seq} with another hash than it has"
            raise NotWhole(what, session=session, entry=entry.seq, good=entry.seq)
        yield entry
        good = entry.seq
    if good < opening.seq:
        what = f"entry {opening.seq} is announced, but the newest is {good}: the tail was cut"
        raise NotWhole(what, session=session, entry=good + 1, good=good)


def _opening(store: Store, session: str, upto: int | None) -> Opening:
    """The first line of an export; raises `NotWhole` or `UsageError`."""
    try:
        head = store.head(session)
    except Damaged:
        if upto is None:
            raise
        head = None  # entries are what counts, and each vouches for those before it
    if upto is None:
        if head is None:
            raise UsageError(f"session {session} has no entries")
        seq, key, cut = head.seq, head.hash, None
    else:
        seq, key = upto, _hash_of(store, session, upto, head)
        cut = _cut(head, seq, key)
    first = next(each(store, session, 0, 1), None)
    if first is None:
        raise NotWhole("entry 0 is missing", session=session, entry=0, good=-1)
    try:
        entry = read(first)
        name = load_machine(store, getattr(entry.event, "machine", "")).name
    except Damaged as err:
        raise NotWhole(err.fault, session=session, entry=0, good=-1) from None
    return Opening(session, name, _created(store, session, entry.at), seq, key, cut)


def _hash_of(store: Store, session: str, seq: int, head: Head | None) -> str:
    """The hash that entry `seq` gives itself; raises `NotWhole` or `UsageError`."""
    try:
        row = next(each(store, session, seq, seq + 1), None)
        if row is None:
            last = "" if head is None else f"; its last is {head.seq}"
            raise UsageError(f"session {session} has no entry {seq}{last}")
        return read(row).hash
    except Damaged as err:
        fault = f"{err.fault} (an earlier entry may be whole: loopspec verify {session})"
        raise NotWhole(fault, session=session, entry=seq, good=-1) from None


def _cut(head: Head | None, seq: int, key: str) -> Cut | None:
    """What an export leaves behind, None if nothing."""
    if head is None:
        return Cut(-1, "")
    return None if (head.seq, head.hash) == (seq, key) else Cut(head.seq, head.hash)


def _created(store: Store, session: str, at: int) -> int:
    """When a session was made, in UTC microseconds, as far as the store can tell; else `at`."""
    for row in store.sessions():
        if row.session == session and 0 < row.created <= at:
            return row.created
    return at


# ---------------------------------------------------------------- reading a file


class Received:
    """A session in JSON lines, checked as it is read, and set aside for `bring_in`.

    `entries` comes first, to its end; `close` it when done.
    """

    def __init__(self, source: Iterable[bytes], place: str) -> None:
        """`source` gives the lines, each with its end; `place` names the file."""
        self._lines = parsed(source, place)
        self._place = place
        self._aside = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._fresh: dict[str, bytes] = {}
        self._known: set[str] = set()
        self._rows: list[tuple[str, int]] = []
        self._snapshot: Snapshot | None = None
        self._line = 1
        opening = next(self._lines)
        assert isinstance(opening, Opening)  # `parsed` sees to it
        self.opening = opening

    def close(self) -> None:
        """Forget what was set aside."""
        self._aside.close()

    def entries(self) -> Iterator[Entry]:
        """Every entry, with all it rests on; raises `BadFile` at the first line that does not hold."""
        opening = self.opening
        self._check_id()
        last: Entry | None = None
        try:
            for entry, after in walk(self._bodies(), opening.session, self):
                last, self._snapshot = entry, after
                self._plausible(entry, after)
                self._keep(entry)
                yield entry
        except NotWhole as err:
            raise self._fault(f"entry {err.entry}: {err.fault}", self._line) from None
        if last is None or (last.seq, last.hash) != (opening.seq, opening.hash):
            end = "nothing" if last is None else f"entry {last.seq}, hash {last.hash[:12]}"
            raise self._fault(
                f"the opening line announces entry {opening.seq}, hash {opening.hash[:12]}, "
                f"but the file ends with {end}"
            )

    def blob(self, digest: str) -> bytes:
        """A blob that stands right before the entry in hand; raises `NotFound`.

        One that came earlier was checked then, and its bytes are not asked for again: empty.
        """
        if digest in self._fresh:
            return self._fresh[digest]
        if digest in self._known:
            return b""
        raise NotFound("the file does not hold it before this entry", place=digest)

    def _plausible(self, entry: Entry, after: Snapshot) -> None:
        """What no chain of hashes vouches for; raises `BadFile`."""
        if not 0 <= entry.at <= _LONGEST_TIME:
            raise self._fault(f"entry {entry.seq} has the time {entry.at}, which is none", self._line)
        if entry.seq == 0 and load_machine(self, after.machine).name != self.opening.name:
            raise self._fault("the opening line has another name than the machine", self._line)

    def _check_id(self) -> None:
        """The id becomes the name of files; raises `BadFile`."""
        try:
            check_id(self.opening.session)
        except UsageError as err:
            raise self._fault(f"the session's id cannot be one: {err.fault}") from None

    def _bodies(self) -> Iterator[bytes]:
        """The entries' bytes, once what stands before each was taken in; raises `BadFile`."""
        for number, line in enumerate(self._lines, 2):
            self._line = number
            if isinstance(line, Blob):
                self._fresh[line.blob] = content(line)
            elif isinstance(line, bytes):
                yield line
        if self._fresh:
            raise self._fault(f"blob {next(iter(self._fresh))[:12]} belongs to no entry")

    def _keep(self, entry: Entry) -> None:
        """Set aside an entry that was checked, and the blobs before it; raises `BadFile`."""
        unused = self._fresh.keys() - set(rests_on(entry))
        if unused:
            what = f"blob {min(unused)[:12]} does not belong to the entry after it"
            raise self._fault(what, self._line)
        for data in (*self._fresh.values(), encode(entry)):
            self._aside.write(len(data).to_bytes(8, "big") + data)
        self._rows.append((entry.hash, len(self._fresh)))
        self._known |= self._fresh.keys()
        self._fresh = {}

    def _fault(self, what: str, line: int = 0) -> BadFile:
        place = f"{self._place}, line {line}" if line else self._place
        return BadFile(what, place=place, remedy=AGAIN)

    def items(self) -> Iterator[Append]:
        """What a store has to write, once `entries` came to its end."""
        assert self._snapshot is not None
        self._aside.seek(0)
        session, newest = self.opening.session, len(self._rows) - 1
        for seq, (key, count) in enumerate(self._rows):
            blobs = {digest(data): data for data in (self._next() for _ in range(count))}
            snapshot = encode(self._snapshot) if seq == newest else b""
            yield Append(session, seq, key, self._next(), snapshot, blobs)

    def _next(self) -> bytes:
        """The next thing set aside."""
        return self._aside.read(int.from_bytes(self._aside.read(8), "big"))


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file, each with its end; one that is too long is given out cut."""
    while line := file.readline(MAX_LINE + 1):
        yield line


def bring_in(store: Store, received: Received) -> None:
    """Make a session out of what was received and checked; raises `Conflict` or `StoreError`."""
    opening = received.opening
    try:
        store.adopt(opening.session, opening.name, opening.created, received.items())
    except Conflict:
        raise Conflict(
            f"there is a session `{opening.session}` already",
            remedy="A session's id is inside its entries' hashes, so it cannot get another: "
            "import it into another store, with --store DIR",
        ) from None
