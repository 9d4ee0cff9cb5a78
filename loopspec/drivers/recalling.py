"""Recalling: the original of an item of the view, read again in the journal.

Rules of this file:
1. A handle names an entry of this session and a change of the view in it, and nothing else.
2. What is given out is what the journal holds: it was redacted before it was written.
3. The entry must be whole: one that was edited is `Damaged`, not quoted.
"""

import re
from typing import Final

from loopspec.context.transcript import added, original
from loopspec.errors import Damaged, NotFound
from loopspec.events import AttemptFailed, ToolAnswered
from loopspec.journal.chain import hash_holds, read
from loopspec.journal.entry import Entry
from loopspec.record import AddOwn, AddResult
from loopspec.stores.base import Store

_HANDLE: Final = re.compile(r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,5})", re.ASCII)


def recall(store: Store, session: str, last: int, handle: str) -> str:
    """The whole text of the item called `handle` (`seq.n`), of entries up to `last`.

    A result of which the journal holds only head and tail comes from its blob. Raises `NotFound` for
    what names no item of this session, `Damaged` when the entry or its blob is not whole.
    """
    found = _HANDLE.fullmatch(handle)
    seq = int(found[1]) if found else -1
    if found is None or seq > last:
        raise _unknown(handle)
    entry = _entry(store, session, seq)
    item = added(entry, handle)
    if item is None:
        raise _unknown(handle)
    blob = _blob(entry, int(found[2]))
    if not blob:
        return original(item)
    whole = store.blob(blob).decode("utf-8", "replace")
    short = entry.event.output if isinstance(entry.event, ToolAnswered) else ""
    return item.text.removesuffix(short) + whole  # a note may stand before it


def partial_of(store: Store, session: str, last: int, seq: int) -> str:
    """The text that had come of a reply when its attempt failed, in the entry `seq` up to `last`.

    Raises `NotFound` for any other entry, `Damaged` for one that is not whole.
    """
    event = _entry(store, session, seq).event if 0 <= seq <= last else None
    if not isinstance(event, AttemptFailed):
        raise NotFound(f"entry {seq} is no attempt that failed", place=f"session {session}")
    return event.partial


def _entry(store: Store, session: str, seq: int) -> Entry:
    """One entry, whole."""
    data = next(iter(store.entries(session, seq, seq + 1)), None)
    if data is None:
        raise Damaged(f"entry {seq} is missing", place=f"session {session}")
    entry = read(data)
    if entry.seq != seq or not hash_holds(entry, data):
        raise Damaged("the entry's hash is not the one it had", place=f"session {session}, entry {seq}")
    return entry


def _blob(entry: Entry, index: int) -> str:
    """The blob that holds the whole output of a result, empty if the item has none."""
    op = entry.record.view[index]
    event = entry.event
    if isinstance(op, AddResult | AddOwn) and op.text is None and isinstance(event, ToolAnswered):
        return event.blob
    return ""


def _unknown(handle: str) -> NotFound:
    """What is said of a handle that names nothing here."""
    return NotFound(
        f"`{handle}` is no handle of this conversation",
        remedy="a handle stands in the summary or in the shortened text, such as 12.0",
    )
