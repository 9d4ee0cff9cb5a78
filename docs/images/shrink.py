"""Make a png smaller: at most 256 colours, each other one becomes the nearest of them.

For flat pictures with few colours, as graphs are. It reads what the library resvg writes, RGBA of 8 bits,
and takes its time.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256


def shrink(path: Path) -> None:
    """Write the png at `path` anew, with a palette."""
    width, height, data = parts(path.read_bytes())
    rows = [struct.unpack(f">{width}I", row) for row in plain(zlib.decompress(data), 4 * width, height)]
    counts: Counter[int] = Counter()
    for row in rows:
        counts.update(row)
    palette = [colour for colour, _ in counts.most_common(COLOURS)]
    places = {colour: nearest(colour, palette) for colour in counts}
    lines = b"".join(b"\0" + bytes(places[colour] for colour in row) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colours = b"".join(colour.to_bytes(4, "big")[:3] for colour in palette)
    body = zlib.compress(lines, 9)
    chunks = (chunk(b"IHDR", head), chunk(b"PLTE", colours), chunk(b"IDAT", body), chunk(b"IEND", b""))
    path.write_bytes(SIGNATURE + b"".join(chunks))


def parts(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and compressed rows."""
    width, height, depth, colours = struct.unpack(">IIBB", png[16:26])
    assert (depth, colours) == (8, 6), "this is no RGBA of 8 bits"
    at, data = len(SIGNATURE), b""
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += 12 + size
    return width, height, data


def plain(raw: bytes, length: int, height: int) -> Iterator[bytes]:
    """The rows without the filters they were compressed with."""
    above = bytes(length)
    for n in range(height):
        start = n * (length + 1)
        above = unfiltered(raw[start], raw[start + 1 : start + 1 + length], above)
        yield above


def unfiltered(kind: int, row: bytes, above: bytes) -> bytes:
    """One row; `kind` is the filter of the png format: none, left, up, mean, nearest of three."""
    if kind == 0:
        return row
    if kind == 2:
        return bytes([(a + b) & 255 for a, b in zip(row, above, strict=True)])
    made = bytearray(row)
    for x, value in enumerate(row):
        left = made[x - 4] if x >= 4 else 0
        corner = above[x - 4] if x >= 4 else 0
        guess = {1: left, 3: (left + above[x]) >> 1}.get(kind)
        if guess is None:
            guess = closest(left, above[x], corner)
        made[x] = (value + guess) & 255
    return bytes(made)


def closest(left: int, up: int, corner: int) -> int:
    """Whichever of the three is nearest to left + up - corner."""
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def nearest(colour: int, palette: list[int]) -> int:
    """The place in the palette of the colour that is nearest."""
    red, green, blue, _ = colour.to_bytes(4, "big")

    def far(place: int) -> int:
        r, g, b, _ = palette[place].to_bytes(4, "big")
        return (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2

    return min(range(len(palette)), key=far)


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of the png format."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
