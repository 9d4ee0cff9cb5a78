"""Common: what both stores say and count in the same way.

Rules of this file:
1. No store is imported here, and nothing here touches a disk.
2. A fault is built fresh for each future: an exception raised in two places mixes up tracebacks.
"""

from concurrent.futures import Future
from typing import Final

import msgspec

from loopspec.errors import Conflict, Damaged, NotFound, StoreError

# Enough for `explain` to show what a person tried lately; more is noise (DESIGN section 2).
REFUSALS_KEPT: Final = 20
EMPTY: Final = -1
"""The head's sequence in a session without entries."""


class _Stamp(msgspec.Struct, frozen=True):
    """The one field of an entry a store reads, to say when a session was last touched."""

    at: int


_STAMP: Final = msgspec.json.Decoder(_Stamp)


def stamp_of(entry: bytes, before: int) -> int:
    """The entry's own time in UTC microseconds; `before` when its bytes do not tell.

    A store asks no clock: a simulated session must list the same times on every run.
    """
    try:
        return _STAMP.decode(entry).at
    except msgspec.DecodeError:
        return before


def resolved(error: BaseException | None = None) -> "Future[None]":
    """A future that is done, with `error` if there is one."""
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


def exists(session: str) -> Conflict:
    """The fault of making a session twice."""
    return Conflict("the session exists already", place=session, remedy="Choose another id, or resume it")


def unknown(session: str) -> NotFound:
    """The fault of naming a session the store does not hold."""
    return NotFound("no such session", place=session, remedy="`loopspec sessions` lists those that exist")


def out_of_turn(session: str, seq: int, head: int) -> Conflict:
    """The fault of appending an entry that is not the head's next."""
    return Conflict(
        f"entry {seq} does not follow the head, which is {head}; nothing was written",
        place=session,
        remedy="Another driver has moved the session: let it, or read the session again",
    )


def superseded(session: str, token: int, current: int) -> Conflict:
    """The fault of writing under a token that is not the lease's; 0 stands for no token, no lease."""
    if not current:
        what = f"nobody holds the lease, so token {token} is void"
    elif not token:
        what = "a driver holds the lease, and this writer has no token"
    else:
        what = f"the lease has passed on (its token is {current}, this writer's {token})"
    return Conflict(
        f"{what}; nothing was written",
        place=session,
        remedy="Let the other driver finish, or end it, then resume",
    )


def not_free(session: str, after: int, newest: int) -> Conflict:
    """The fault of taking a lease that somebody else took in between."""
    return Conflict(
        f"somebody else was faster: the newest token is {newest}, not {after}",
        place=session,
        remedy="Look again who drives the session",
    )


def no_blob(digest: str) -> NotFound:
    """The fault of asking for a blob that was never kept."""
    return NotFound("no such blob", place=digest, remedy="Check the digest")


def wrong_blob(digest: str) -> Damaged:
    """The fault of a blob whose bytes are not those that were kept."""
    return Damaged(
        "the blob's bytes do not match its digest",
        place=digest,
        remedy="Restore the store from a copy; the session cannot be trusted past this blob",
    )


def closed(place: str) -> StoreError:
    """The fault of using a store after `close`."""
    return StoreError("the store is closed", place=place, remedy="Open it again")


_RESTORE: Final = "Restore the store from a copy"
# By SQLite's primary result code (https://sqlite.org/rescode.html).
_ENGINE: Final[dict[int, tuple[type[StoreError], str, str]]] = {
    5: (StoreError, "another process holds it", "Try again when that process is done"),
    8: (StoreError, "it cannot be written", "Make it writable and try again"),
    10: (StoreError, "the disk reports an error", "Check the disk and try again"),
    11: (Damaged, "the database is damaged", _RESTORE),
    13: (StoreError, "the disk is full", "Free some space and try again"),
    14: (StoreError, "it cannot be opened", "Check the permissions of the file and its directory"),
    18: (StoreError, "too large for one row", "Keep it as a file instead"),
    19: (Damaged, "the rows contradict each other", _RESTORE),
    26: (Damaged, "not a SQLite database", "Restore it from a copy, or name another directory"),
}


def engine(code: int, text: str, place: str) -> StoreError:
    """The fault behind an error of the database engine: its result code and its own words."""
    kind, fault, remedy = _ENGINE.get(
        code, (StoreError, f"the database engine reports: {text}", "Check the file")
    )
    return kind(fault, place=place, remedy=remedy)


def again(error: BaseException, place: str) -> StoreError:
    """A group's fault, anew for one of its futures."""
    if isinstance(error, StoreError):
        fresh = type(error)(error.fault, place=error.place, remedy=error.remedy)
    else:
        what = f"the writer failed: {type(error).__name__}: {error}"
        remedy = "Read the session again to see where it stands"
        fresh = StoreError(what, place=place, remedy=remedy)
    fresh.__cause__ = error
    return fresh


def readonly(place: str) -> StoreError:
    """The fault of writing to a store that can only be read."""
    return StoreError(
        "the store can only be read",
        place=place,
        remedy="Open it for writing, in a directory that allows it",
    )


def forked(place: str) -> StoreError:
    """The fault of using a store that the parent process opened."""
    return StoreError(
        "the store was opened before this process was forked",
        place=place,
        remedy="Open it again in this process",
    )


def inside(place: str) -> StoreError:
    """The fault of waiting for the writer in the writer's own thread."""
    return StoreError(
        "a callback of an append waits for the store, which waits for the callback",
        place=place,
        remedy="Do it in another thread",
    )


def not_a_directory(place: str) -> StoreError:
    """The fault of a store's path that is something else."""
    return StoreError("not a directory", place=place, remedy="A store is a directory: name one")


def no_store(place: str) -> NotFound:
    """The fault of reading a store that was never made."""
    return NotFound("no store here", place=place, remedy="Check the directory")
