"""Rastering: an SVG as a PNG, with letters that come along, so that it needs no font of the machine."""

from importlib.resources import as_file, files
from typing import Final

from loopspec.errors import LoopspecError

try:
    import resvg_py
except ImportError:  # it comes with the extra `png`
    resvg_py = None  # type: ignore[assignment]

FONT: Final = "'Loopspec Sans', sans-serif"
"""The fonts a picture names that becomes a PNG: ours; characters it lacks come from the machine's."""
FILES: Final = ("LoopspecSans-Regular.ttf", "LoopspecSans-Bold.ttf")
SCALE: Final = 1.5
"""Pixels of the PNG for each of the SVG: sharp on screens of today, and still a small file."""
MOST: Final = 16_000
"""Pixels of the longest side; a larger picture is made smaller."""


def png(svg: str, width: int, height: int, scale: float = SCALE) -> bytes:
    """The picture in `svg`, `width` times `height` pixels large, as a PNG `scale` times as large.

    Raises `LoopspecError` when the library for it is missing or cannot draw the picture.
    """
    if resvg_py is None:
        remedy = "pip install 'loopspec[png]', or write an svg, which needs nothing"
        raise LoopspecError("a png needs the library resvg_py", remedy=remedy)
    zoom = min(scale, MOST / max(width, height))
    with as_file(files("loopspec") / "cli" / "fonts") as folder:
        try:
            made = resvg_py.svg_to_bytes(
                svg_string=svg,
                background="#ffffff",
                width=max(1, round(width * zoom)),
                height=max(1, round(height * zoom)),
                font_files=[str(folder / name) for name in FILES],
                font_family="Loopspec Sans",
                sans_serif_family="Loopspec Sans",
            )
        except ValueError as err:
            remedy = "write an svg instead"
            raise LoopspecError(f"the png cannot be drawn: {err}", remedy=remedy) from err
    return bytes(made)
