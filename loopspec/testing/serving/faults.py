"""Faults: what a model server does wrong on command, as data; `breaking` applies them.

Rules of this file:
1. Pure and deterministic: frames and faults give the acts of the server, nothing is drawn.
2. Faults of frames come first, then those of bytes, both in the order of the list, each to what the one
   before has made.
3. Bytes are counted from the beginning of the body, before any transfer encoding; frames from 0. A place
   may be a text instead of a number: it means the byte after the text's first appearance.
"""

from dataclasses import dataclass
from typing import TypeAlias

Place: TypeAlias = int | str
"""A byte of a body: its number, or the text it comes after."""


@dataclass(frozen=True)
class CutAt:
    """Send what stands before `at` and end. `clean`: as a finished body (the connection is closed in
    order, or the last chunk is sent); else the connection is reset."""

    at: Place
    clean: bool = True


@dataclass(frozen=True)
class Corrupt:
    """Change the byte `at`: `to` None flips its high bit, which is no UTF-8 any more; else it becomes
    that byte."""

    at: Place
    to: int | None = None


@dataclass(frozen=True)
class Split:
    """Send the body in pieces that end at these bytes, or `every` so many bytes, or (`characters`) inside
    each multibyte character, after its first byte. Each is a chunk of the transfer encoding, so a client
    sees these borders whatever TCP does. Nothing is wrong with the reply."""

    at: tuple[int, ...] = ()
    every: int = 0
    characters: bool = False


@dataclass(frozen=True)
class Stall:
    """Send what stands before `at`, then nothing for `seconds` (None: until the client goes, or `release`
    is called on the server), then the rest. `pings`: keep the connection busy with `: ping` comments
    meanwhile, one each `every` seconds; they are no content, and being lines of their own they wait for
    the end of the frame that `at` falls into."""

    at: Place
    seconds: float | None = None
    pings: bool = False
    every: float = 0.05


@dataclass(frozen=True)
class Duplicate:
    """Send frame `frame` twice."""

    frame: int


@dataclass(frozen=True)
class Drop:
    """Leave frame `frame` out."""

    frame: int


@dataclass(frozen=True)
class Swap:
    """Send two frames in each other's place."""

    first: int
    second: int


@dataclass(frozen=True)
class ErrorInside:
    """An error object inside the stream, before frame `frame`; nothing follows it. `kind` and `status`
    are told in the way of the protocol (`overloaded_error` and 529, `rate_limit_error` and 429…)."""

    frame: int
    kind: str = "overloaded_error"
    status: int = 529
    message: str = "Overloaded"


@dataclass(frozen=True)
class Status:
    """No stream: an HTTP error, with `retry_after` seconds if it is not negative."""

    code: int
    message: str = "refused by the test"
    kind: str = "test_error"
    retry_after: float = -1


@dataclass(frozen=True)
class NoFinish:
    """End without what says that the reply is whole: a finish reason, `message_stop`, `[DONE]`…"""


@dataclass(frozen=True)
class EmptyText:
    """An empty text before everything else, in the way of the protocol. Nothing is wrong with the
    reply."""


@dataclass(frozen=True)
class UnknownFields:
    """A field of a name nobody knows in every frame and, where the protocol names its events, such an
    event after the first. Nothing is wrong with the reply."""


@dataclass(frozen=True)
class LongLine:
    """A data line of `size` bytes before frame `frame`; no memory should be filled by it."""

    frame: int
    size: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Reset:
    """Reset the connection instead of answering."""


@dataclass(frozen=True)
class SlowHead:
    """Send no status line for `seconds` (None: until the client goes, or `release` is called)."""

    seconds: float | None = None


def first(times: int, *faults: "Fault") -> dict[int, tuple["Fault", ...]]:
    """These faults for the first so many requests, as `ModelServer(faults=…)` takes them."""
    return dict.fromkeys(range(times), faults)


Fault: TypeAlias = (
    CutAt
    | Corrupt
    | Split
    | Stall
    | Duplicate
    | Drop
    | Swap
    | ErrorInside
    | Status
    | NoFinish
    | EmptyText
    | UnknownFields
    | LongLine
    | Reset
    | SlowHead
)


@dataclass(frozen=True)
class Wait:
    """The server waits, as `Stall` says."""

    seconds: float | None
    pings: bool = False
    every: float = 0.05


Act: TypeAlias = bytes | Wait
"""What a server does next with a body: send these bytes, or wait."""


@dataclass(frozen=True)
class Body:
    """What a body has become: acts in order, and how it ends."""

    acts: tuple[Act, ...]
    clean: bool = True
