"""Lines: a session as a file of JSON lines, which anything that reads JSON can read.

Rules of this file:
1. An entry's line is its canonical bytes, verbatim: whoever has SHA-256 can check its hash.
2. A blob stands once, right before the first entry that rests on it.
3. The first line says where the journal ends, and the last one counts and hashes all lines before
   it: a file that was cut, joined or edited shows it without a look at the entries.
4. Nothing that is read is trusted: each fault names its line.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Final, TypeAlias

import msgspec

from loopspec.codec import digest, encode
from loopspec.errors import Damaged
from loopspec.events import SessionStarted, ToolAnswered
from loopspec.journal.entry import Entry

FORMAT: Final = 1
# A line is held in memory while it is checked, so one without an end must not fill it. The largest thing
# of ours is a tool's whole output: 64 MiB, as base64 86.
MAX_LINE: Final = 128 * 1024 * 1024
# Text in JSON is up to six times as long as its bytes. Up to here that is no matter.
READABLE: Final = 1024 * 1024

# Times and sequences are 64-bit in every store.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Hash: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BadFile(Damaged):
    """A file of JSON lines that cannot be taken as it stands."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the lines that are no entries."""


class Cut(_Line, frozen=True):
    """The head of the journal that this one was cut from; `seq` is -1 when it could not be read."""

    seq: int
    hash: str


class Opening(_Line, frozen=True):
    """The first line. `seq` and `hash` are the head's; `created` is UTC microseconds.

    `cut` tells that the journal went on after `seq` when it was exported.
    """

    session: str
    name: str
    created: Number
    seq: Number
    hash: Hash
    cut: Cut | None = None
    loopspec: str = "journal"
    v: int = FORMAT


class Blob(_Line, frozen=True):
    """A blob: its SHA-256, and its bytes, as `text` where they are UTF-8, else as `base64`."""

    blob: Hash
    text: str | None = None
    base64: str | None = None


class Closing(_Line, frozen=True):
    """The last line: how many entries and blobs came, and the SHA-256 of all lines before it."""

    entries: int
    blobs: int
    sha256: Hash


class _End(_Line, frozen=True):
    end: Closing


Line: TypeAlias = Opening | Blob | bytes | Closing
"""A line that was read; the bytes are an entry's."""

_OPENING: Final = msgspec.json.Decoder(Opening)
_BLOB: Final = msgspec.json.Decoder(Blob)
_END: Final = msgspec.json.Decoder(_End)
_KEYS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Those keys come first, so that a person who looks at the file sees at once what it is.
_FIRST: Final = ("loopspec", "v", "session")


def rests_on(entry: Entry) -> list[str]:
    """Every blob an entry rests on: those written with it, the machine, a tool's whole output."""
    named = ""
    if isinstance(entry.event, ToolAnswered):
        named = entry.event.blob
    elif isinstance(entry.event, SessionStarted):
        named = entry.event.machine
    return list(dict.fromkeys([*entry.blobs, *([named] if named else [])]))


def written(
    opening: Opening, entries: Iterable[Entry], fetch: Callable[[str], bytes]
) -> Iterator[bytes]:
    """The lines of a file, each with its end; `fetch` gives a blob's bytes by digest.

    Raises `Damaged` when a blob is too large for a line, and what `entries` and `fetch` raise.
    """
    total = hashlib.sha256()
    seen: set[str] = set()
    count = 0
    for line in _body(opening, entries, fetch, seen):
        total.update(line)
        yield line
        count += 1
    closing = Closing(count - 1 - len(seen), len(seen), total.hexdigest())
    yield encode(_End(closing)) + b"\n"


def _body(
    opening: Opening, entries: Iterable[Entry], fetch: Callable[[str], bytes], seen: set[str]
) -> Iterator[bytes]:
    """All lines but the last."""
    fields = msgspec.to_builtins(opening)
    yield msgspec.json.encode({**{k: fields[k] for k in _FIRST}, **fields}) + b"\n"
    for entry in entries:
        for key in rests_on(entry):
            if key not in seen:
                seen.add(key)
                yield _blob(key, fetch(key))
        yield encode(entry) + b"\n"


def _blob(key: str, data: bytes) -> bytes:
    """A blob's line, in the shorter of its two forms where it is text at all."""
    made = msgspec.json.encode({"blob": key, "base64": base64.b64encode(data).decode()}) + b"\n"
    with suppress(UnicodeDecodeError):
        text = msgspec.json.encode({"blob": key, "text": data.decode()}) + b"\n"
        if len(text) < max(len(made), READABLE):
            made = text
    if len(made) > MAX_LINE:
        raise Damaged(
            f"a blob of {len(data)} bytes is too large for a line of JSON",
            place=f"blob {key[:12]}",
            remedy="Copy the whole store with: loopspec backup DIR",
        )
    return made


# ---------------------------------------------------------------- reading


def parsed(lines: Iterable[bytes], place: str) -> Iterator[Line]:
    """What the lines hold, an `Opening` first and a `Closing` last; raises `BadFile`.

    `place` names the file. Checked here: that each line is whole JSON of its sort, the order of the
    lines, each blob's digest, and what the last line says of those before it. Not checked: entries.
    """
    total = hashlib.sha256()
    blobs: set[str] = set()
    entries = number = 0
    closed = False
    for number, line in enumerate(lines, 1):
        where = f"{place}, line {number}"
        if closed:
            raise BadFile("something follows the closing line", place=where, remedy=AGAIN)
        found = _line(line, number == 1, where)
        if isinstance(found, Closing):
            counts = (found.entries, found.blobs, found.sha256)
            if counts != (entries, len(blobs), total.hexdigest()):
                raise BadFile(
                    "the closing line does not fit the lines before it", place=where, remedy=AGAIN
                )
            closed = True
        elif isinstance(found, Blob):
            if found.blob in blobs:
                raise BadFile(f"blob {found.blob[:12]} stands twice", place=where, remedy=AGAIN)
            blobs.add(found.blob)
        elif isinstance(found, bytes):
            entries += 1
        total.update(line)
        yield found
    if not closed:
        what = "the file is empty" if not number else "the file ends without its closing line"
        raise BadFile(what, place=place, remedy=AGAIN)


AGAIN: Final = "Export the session again"


def _line(line: bytes, first: bool, where: str) -> Line:
    """One line; raises `BadFile`."""
    if len(line) > MAX_LINE:
        raise BadFile(
            f"the line is longer than {MAX_LINE} bytes, the most this loopspec reads",
            place=where,
            remedy=AGAIN,
        )
    try:
        if not line.endswith(b"\n"):
            raise BadFile("the line is cut: it has no end", place=where, remedy=AGAIN)
        keys = _KEYS.decode(line)
        if first:
            return _opening(line, keys, where)
        if "blob" in keys:
            return _whole(_BLOB.decode(line), where)
        if "end" in keys:
            return _END.decode(line).end
        if "loopspec" in keys:
            raise BadFile("a second journal begins here", place=where, remedy="Import one at a time")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        if first:
            raise BadFile(NO_JOURNAL, place=where, remedy=MAKE) from None
        raise BadFile(f"the line cannot be read: {err}", place=where, remedy=AGAIN) from None
    return line[:-1]


NO_JOURNAL: Final = "this is no journal of loopspec in JSON lines"
MAKE: Final = "Make one with: loopspec export SESSION -o FILE"


def _opening(line: bytes, keys: dict[str, msgspec.Raw], where: str) -> Opening:
    """The first line; raises `BadFile` or `msgspec.MsgspecError`."""
    if bytes(keys.get("loopspec", b"")) != b'"journal"':
        raise BadFile(NO_JOURNAL, place=where, remedy=MAKE)
    if bytes(keys.get("v", b"")) != str(FORMAT).encode():
        raise BadFile(
            f"the file is not of format {FORMAT}, which is the one this loopspec reads",
            place=where,
            remedy="Use the loopspec that wrote it, or a newer one",
        )
    try:
        return _OPENING.decode(line)
    except msgspec.ValidationError as err:
        raise BadFile(f"the opening line is wrong: {err}", place=where, remedy=AGAIN) from None


def _whole(found: Blob, where: str) -> Blob:
    """The blob, if it is what its digest says; raises `BadFile`."""
    if digest(content(found, where)) != found.blob:
        raise BadFile(f"the blob's bytes do not match {found.blob[:12]}", place=where, remedy=AGAIN)
    return found


def content(found: Blob, where: str = "") -> bytes:
    """A blob's bytes; raises `BadFile` when the line holds none."""
    if (found.text is None) == (found.base64 is None):
        raise BadFile("a blob has either `text` or `base64`", place=where, remedy=AGAIN)
    if found.text is not None:
        return found.text.encode()
    try:
        return base64.b64decode(found.base64 or "", validate=True)
    except (binascii.Error, ValueError) as err:
        raise BadFile(f"the blob is no base64: {err}", place=where, remedy=AGAIN) from None
