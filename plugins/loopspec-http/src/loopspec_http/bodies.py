"""Bodies: decompression that stops at the limit, and text out of bytes."""

import re
import zlib
from typing import Final

from loopspec.hooks import ToolFailed

ENCODINGS: Final = "gzip, deflate"
SPARE: Final = 65_536
"""Bytes that a packed body may be longer than twice its limit before it is cut."""
_GZIP: Final = 0x1F  # each part of a gzip body begins with it
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_TEXT: Final = re.compile(
    r"text/|application/(?:[\w.+-]*\+)?(?:json|xml|yaml|javascript)|application/x-www-form-urlencoded"
)
_KNOWN: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"}) | {
    *("windows-1252", "cp1252", "utf-16", "utf-16le", "utf-16be", "shift_jis", "euc-jp", "gb2312"),
    *("gbk", "big5", "euc-kr", "koi8-r", "windows-1251", "iso-8859-15", "iso-8859-2"),
}


class Body:
    """Takes a body piece by piece, decompressed, until `cap` bytes are there."""

    def __init__(self, encoding: str, cap: int) -> None:
        """`encoding` is the answer's `Content-Encoding`; raises `ToolFailed` for an unknown one."""
        self._cap = cap
        self._out = bytearray()
        self.cut = False
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ToolFailed(f"the answer is encoded as `{name}`, which was not asked for")
        self._zip: zlib._Decompress | None = None
        self._packed = name not in ("", "identity")
        self._deflate = name == "deflate"
        self._ended = False  # one part at least is whole
        self._read = 0

    def add(self, data: bytes) -> bool:
        """Take a piece; whether more is wanted. Raises `ToolFailed` for what cannot be decompressed."""
        if not self._packed:
            return self._keep(data)
        self._read += len(data)
        while data:
            if self._zip is None:
                if self._ended and (self._deflate or data[0] != _GZIP):
                    return False  # it belongs to nothing, and may never end itself
                self._zip = self._unpacking(data[0])
            room = self._cap + 1 - len(self._out)
            try:
                wanted = self._keep(self._zip.decompress(data, room))
            except zlib.error as err:
                raise ToolFailed(f"the answer cannot be decompressed: {err}") from None
            if not wanted:
                return False
            if not self._zip.eof:
                break
            data, self._zip, self._ended = self._zip.unused_data, None, True
        if self._read > 2 * self._cap + SPARE:  # packed so badly that only the wire is kept busy
            self.cut = True
        return not self.cut

    def end(self) -> None:
        """The server has said all; raises `ToolFailed` when that was not the whole packed body."""
        if self._zip is not None and not self.cut:
            raise ToolFailed("the answer cannot be decompressed: its end is missing")

    def _unpacking(self, first: int) -> "zlib._Decompress":
        """What unpacks a body (or a further part of one) that begins with this byte."""
        if not self._deflate:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        # Some servers send the bare stream: the first byte tells.
        return zlib.decompressobj(zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS)

    def _keep(self, data: bytes) -> bool:
        """Keep as much as there is room for."""
        room = self._cap - len(self._out)
        self._out += data[:room]
        self.cut = self.cut or len(data) > room
        return not self.cut

    @property
    def data(self) -> bytes:
        """All that was kept."""
        return bytes(self._out)


def text_of(data: bytes, content_type: str) -> str | None:
    """The text of a body, None for what is none (an image, an archive)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not _TEXT.match(kind):
        return None
    if not kind and b"\0" in data:
        return None
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else "utf-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        charset = "utf-16"
    return data.decode(charset if charset in _KNOWN else "utf-8", "replace").removeprefix("\ufeff")
