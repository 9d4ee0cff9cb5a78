"""Server-sent events, read strictly (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Rules of this file:
1. Bytes may be cut anywhere, also inside a character; what comes out is the same (fault F23).
2. Bytes that are no UTF-8, a NUL, a field the standard does not know, an event with a name and no data,
   and a line or an event beyond `MAX_LINE` are damage. (The standard passes over most of them; where a
   bit of `data`, or of the line's end before it, has flipped, an event would be lost.)
3. An event is given out the moment its blank line is there, and not before.
"""

import codecs
from collections.abc import Iterator
from typing import Final, NamedTuple

from loopspec.performers.wire.faults import Damage

# The longest event seen is the whole response that OpenAI repeats at its end, with a long system
# prompt and many tools: under a megabyte. A line that grows beyond this is not kept.
MAX_LINE: Final = 8 * 1024 * 1024
_SHOWN: Final = 40
_ALIVE: Final = frozenset({"ping", "keepalive", "keep-alive", "heartbeat"})


class Event(NamedTuple):
    """One event: its number in the stream (from 1), its name (may be empty) and its data."""

    number: int
    name: str
    data: str


class Events:
    """Makes events of the pieces of one stream."""

    def __init__(self) -> None:
        """Begin a stream."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._open: list[str] = []  # of the line that is not finished
        self._size = 0
        self._returned = False  # the last character was a CR: a LF after it ends no further line
        self._first = True
        self._name = ""
        self._named = False
        self._data: list[str] = []
        self._held = 0
        self.count = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that are complete now; raises `Damage`."""
        try:
            text = self._decoder.decode(piece)
        except UnicodeDecodeError as err:
            yield from self._lines(err.object[: err.start].decode())
            raise Damage(f"{self.place}: byte 0x{err.object[err.start]:02x} is not UTF-8") from None
        yield from self._lines(text)

    def end(self) -> None:
        """The bytes have ended. An event whose blank line is missing never was one, as the standard says,
        and half a character was cut off; raises `Damage` for a NUL in what stands there."""
        if any("\0" in part for part in self._open):
            raise Damage(f"{self.place}: a NUL in a line")

    @property
    def place(self) -> str:
        """Where the stream stands: the number of the event that is open."""
        return f"event {self.count + 1}"

    def _lines(self, text: str) -> Iterator[Event]:
        """Cut at LF, CR or CRLF, and nowhere else."""
        if not text:
            return
        if self._first:
            self._first, text = False, text.removeprefix("\ufeff")
        if self._returned and text.startswith("\n"):
            text = text[1:]
        self._returned = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, rest = text.split("\n")
        for line in lines:
            self._grow(line)
            whole, self._open, self._size = "".join(self._open), [], 0
            if (event := self._line(whole)) is not None:
                yield event
        if rest:
            self._grow(rest)

    def _grow(self, part: str) -> None:
        """Keep a part of the open line, unless it is too long."""
        self._size += len(part)
        if self._size + self._held > MAX_LINE:
            raise Damage(f"{self.place}: a line or an event of more than {MAX_LINE} characters")
        self._open.append(part)

    def _line(self, line: str) -> Event | None:
        """Take one whole line; a blank one ends an event."""
        if not line:
            return self._event()
        if "\0" in line:
            raise Damage(f"{self.place}: a NUL in a line")
        if line.startswith(":"):
            return None
        field, _, value = line.partition(":")
        match field:
            case "data":
                self._data.append(_value(value))
                self._held += len(value)
            case "event":
                self._name = _value(value)
            case "id":
                self._named = True
            case "retry":
                pass
            case _:
                raise Damage(f"{self.place}: a line that begins with {field[:_SHOWN]!r}")
        return None

    def _event(self) -> Event | None:
        """The open event, ended; None if it has no data."""
        name, data, named = self._name, self._data, self._named
        self._name, self._data, self._held, self._named = "", [], 0, False
        if not data:
            if (name or named) and name not in _ALIVE:
                raise Damage(f"{self.place}: an event without data")
            return None
        self.count += 1
        return Event(self.count, name, "\n".join(data))


def _value(text: str) -> str:
    """A field's value: one space after the colon does not belong to it."""
    return text[1:] if text.startswith(" ") else text
