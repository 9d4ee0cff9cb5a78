"""Pack: how a body stands in its row.

An entry of a kilobyte of text has about two kilobytes. Two of that size do not fit into one page of
4 KiB together, so each would waste the rest of its page: what is longer than `HALF` is compressed. Short
ones stay as they are, readable with any tool.

Rules of this file:
1. Bytes that were packed come back as they were; bytes that are no packed ones come back unchanged, so
   that damage is named by whoever reads the entry, with the entry's number.
2. Unpacking never takes more than `LIMIT` bytes, whatever a damaged or hostile row claims.
"""

import zlib
from typing import Final

HALF: Final = 2_000
"""Bytes: half a page, less what SQLite needs beside the rows."""
LEVEL: Final = 1
"""The quickest: a higher one gains three hundredths and costs a quarter more time."""
LIMIT: Final = 256 * 1024 * 1024
_ZLIB: Final = b"\x78"
"""The first byte of what zlib made; a canonical entry begins with `{`."""


def pack(data: bytes) -> bytes:
    """What is written for `data`."""
    if len(data) <= HALF or not data.startswith(b"{"):
        return data
    made = zlib.compress(data, LEVEL)
    return made if len(made) < len(data) else data


def unpack(body: bytes) -> bytes:
    """What was packed; the body itself where it is not a packed one."""
    if not body.startswith(_ZLIB):
        return body
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(body, LIMIT)
    except zlib.error:
        return body
    return data if reader.eof and not reader.unused_data else body
