"""Bodies: decompression that stops at the limit, and text out of bytes."""

import re
import zlib
from typing import Final

from loopspec.hooks import ToolFailed

ENCODINGS: Final = "gzip, deflate"
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
        self._deflate = name == "deflate"
        if name in ("gzip", "x-gzip"):
            self._zip = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def add(self, data: bytes) -> bool:
        """Take a piece; whether more is wanted. Raises `ToolFailed` for what cannot be decompressed."""
        if self._deflate and self._zip is None and data:
            # Some servers send the bare stream: the first byte tells.
            wrapped = data[0] & 0x0F == 8
            self._zip = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        if self._zip is None:
            return self._keep(data)
        room = self._cap + 1 - len(self._out)
        try:
            return self._keep(self._zip.decompress(data, room))
        except zlib.error as err:
            raise ToolFailed(f"the answer cannot be decompressed: {err}") from None

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
