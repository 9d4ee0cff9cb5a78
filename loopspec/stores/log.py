"""Log: looks for what SQLite passes over in silence.

After a crash SQLite reads its write-ahead log up to the first frame whose checksum fails and forgets
the rest: right for a write that the power cut tore, which nobody was told of; wrong for a log whose
middle was damaged later, behind which stand entries that were acknowledged.

Rules of this file:
1. A bad frame with a whole *later* transaction behind it is damage: a transaction begins only after the
   one before it was synced. A bad frame in the last one is a torn write.
2. Only read, and only the log: closing a second descriptor of the other files would drop SQLite's locks.

The format: https://sqlite.org/fileformat2.html#walformat
"""

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from loopspec.errors import Damaged

HEADER: Final = 32
FRAME: Final = 24
LOOKS: Final = 3
"""How often the log is looked at before it is called damaged."""
_MAGIC: Final = 0x377F0682
_MASK: Final = 0xFFFFFFFF

_Sum = tuple[int, int]


@dataclass(frozen=True)
class _Head:
    """The log's header; `swap` tells whether checksums read words the other way round than we do."""

    page: int
    salt: bytes
    swap: bool
    sum: _Sum
    whole: bool


def check(file: Path) -> None:
    """Raise `Damaged` when the log of the database `file` has lost what was acknowledged."""
    log = file.with_name(file.name + "-wal")
    try:
        with open(log, "rb") as source:
            bad = _lost(source)
            # A busy writer that has begun the log anew overwrites frames in place: one that was caught
            # half-written, with whole ones of later transactions behind it by the time they are read,
            # looks damaged once. Damage looks the same each time.
            for _ in range(LOOKS - 1):
                if bad is not None:
                    source.seek(0)
                    bad = bad if _lost(source) == bad else None
    except OSError:
        return  # there is none, or opening the database says what is wrong
    if bad is not None:
        raise Damaged(
            f"the log is damaged in frame {bad}: entries that were written after it cannot be read, "
            "and going on without them could do things twice",
            place=str(log),
            remedy="`loopspec backup DIR` saves what is whole as a store of its own; "
            "look there how far each session got",
        )


def _lost(source: BinaryIO) -> int | None:
    """The first bad frame with a later transaction behind it, None if all is well."""
    first = source.read(HEADER)
    head = _head(first)
    if head is None:
        return None
    bad = _first_bad(source, head)
    # A writer that began the log anew meanwhile has made the comparison worthless.
    source.seek(0)
    return bad if source.read(HEADER) == first else None


def _head(data: bytes) -> _Head | None:
    """The log's header, None when there is no log worth the name."""
    if len(data) < HEADER:
        return None
    magic, _, page = struct.unpack(">III", data[:12])
    swap = (magic & 1) != (struct.pack("=I", 1) == struct.pack(">I", 1))
    found = struct.unpack(">II", data[24:])
    whole = (magic & ~1) == _MAGIC and _sum(data[:24], (0, 0), swap) == found
    if page < 512 or page > 65536 or page & (page - 1):
        page = 4096  # what this store's databases have
    return _Head(page, data[16:24], swap, (found[0], found[1]), whole)


def _first_bad(source: BinaryIO, head: _Head) -> int | None:
    """Walk through the frames of the log; see `_lost`."""
    salt, before = head.salt, head.sum
    bad = None if head.whole else 0
    ends = 0  # of transactions, since the bad frame
    number = 0
    while len(data := source.read(FRAME + head.page)) == FRAME + head.page:
        number += 1
        if number == 1 and not head.whole:
            salt = data[8:16]
        stored = struct.unpack(">II", data[16:24])
        right = data[8:16] == salt and _sum(data[:8] + data[24:], before, head.swap) == stored
        before = stored
        commits = data[4:8] != bytes(4)
        if right:
            ends += commits and bad is not None
        elif bad is None:
            if data[8:16] != salt and not _returns(source, salt, head.page):
                return None  # left over from before the log was begun anew
            bad, ends = number, int(commits)
    return bad if ends >= (1 if bad == 0 else 2) else None


def _returns(source: BinaryIO, salt: bytes, page: int) -> bool:
    """Whether a later frame belongs to this log again. Leaves the position as it was."""
    here = source.tell()
    try:
        while len(header := source.read(FRAME)) == FRAME:
            if header[8:16] == salt:
                return True
            source.seek(page, 1)
        return False
    finally:
        source.seek(here)


def _sum(data: bytes, start: _Sum, swap: bool) -> _Sum:
    """SQLite's checksum over words of four bytes."""
    words = array("I", data)
    if swap:
        words.byteswap()
    one, two = start
    pairs = iter(words)
    for a, b in zip(pairs, pairs, strict=True):
        one = (one + a + two) & _MASK
        two = (two + b + one) & _MASK
    return one, two
