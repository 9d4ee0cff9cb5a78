"""Bounded: keeps the head and the tail of an output of any length, and all of it up to a cap.

Rules of this file:
1. Memory stays within head + tail + `_IN_MEMORY`, disk within the cap, whatever is added.
2. What is shown never cuts a UTF-8 character in two.
3. What is left out is said, with how many bytes.
"""

import codecs
import tempfile
from typing import Final

HEAD: Final = 16 * 1024
TAIL: Final = 16 * 1024
CAP: Final = 64 * 1024 * 1024
_IN_MEMORY: Final = 256 * 1024
_NOTE_ROOM: Final = 128


class Bounded:
    """An output keeper; sizes in bytes.

    Up to `cap` everything is kept (beyond `_IN_MEMORY` in a temporary file that has no name);
    beyond it the beginning and the tail. Raises `ValueError` when `cap` has no room for head, tail
    and a note.
    """

    def __init__(self, head: int = HEAD, tail: int = TAIL, cap: int = CAP) -> None:
        """An empty keeper."""
        if head < 4 or tail < 4 or cap < head + tail + _NOTE_ROOM:
            raise ValueError("head and tail need 4 bytes, cap head + tail + room for a note")
        self.size = 0
        self._head_size, self._tail_size, self._cap = head, tail, cap
        self._head = bytearray()
        self._tail = bytearray()
        self._spilled = 0
        self._spill = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - kept open

    def add(self, data: bytes) -> None:
        """Take the next piece of the output."""
        self.size += len(data)
        if len(self._head) < self._head_size:
            self._head += data[: self._head_size - len(self._head)]
        self._tail += data[-self._tail_size :]
        if len(self._tail) > 2 * self._tail_size:
            del self._tail[: -self._tail_size]
        room = self._cap - self._spilled
        if room > 0:
            self._keep(data[:room])

    def _keep(self, data: bytes) -> None:
        try:
            self._spill.write(data)
            self._spilled += len(data)
        except OSError:
            self._cap = self._spilled  # no room on the disk: keep what is there

    def text(self) -> str:
        """The output as text; when longer than head and tail, those two and a note between."""
        if self.size <= self._head_size + self._tail_size:
            rest = self.size - len(self._head)
            return (bytes(self._head) + self._last(rest)).decode("utf-8", "replace")
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        head = decoder.decode(bytes(self._head), final=False)
        dangling = len(decoder.getstate()[0])
        tail = _from_boundary(self._last(self._tail_size))
        out = self.size - (len(self._head) - dangling) - len(tail)
        note = f"\n[… {out} bytes left out; the whole output is in the call's blob]\n"
        return head + note + tail.decode("utf-8", "replace")

    def whole(self) -> bytes:
        """Everything, at most `cap` bytes: beyond that its beginning, a note, and its tail."""
        if self._spilled == self.size:
            return self._spilled_bytes(self.size)
        tail = _from_boundary(self._last(self._tail_size))
        begin = _to_boundary(self._spilled_bytes(self._cap - self._tail_size - _NOTE_ROOM))
        out = self.size - len(begin) - len(tail)
        return begin + f"\n[… {out} bytes were not kept]\n".encode() + tail

    @property
    def cut(self) -> bool:
        """Whether `text` leaves something out."""
        return self.size > self._head_size + self._tail_size

    def _last(self, size: int) -> bytes:
        return bytes(self._tail[-size:]) if size > 0 else b""

    def _spilled_bytes(self, size: int) -> bytes:
        try:
            self._spill.seek(0)
            data = self._spill.read(max(size, 0))
            self._spill.seek(0, 2)
        except OSError:
            return bytes(self._head[:size])  # a full disk shows as late as here
        return data


def _from_boundary(data: bytes) -> bytes:
    """`data` without the rest of a character at its beginning."""
    begin = 0
    while begin < min(3, len(data)) and data[begin] & 0xC0 == 0x80:
        begin += 1
    return data[begin:]


def _to_boundary(data: bytes) -> bytes:
    """`data` without the beginning of a character at its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data, final=False)
    dangling = len(decoder.getstate()[0])
    return data[: len(data) - dangling]
