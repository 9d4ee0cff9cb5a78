"""SVG: the picture of a loop as one self-contained file: no script, no font, nothing to fetch.

Rules of this file:
1. Where things stand is decided in `graph_layout`; here they are only written, in whole pixels.
2. Every text passes `_esc`, and was made printable when it was cut to fit.
3. Of a session's trail, what was never taken stands back, the last path is thick and numbered, and the
   states it stands in have a border of their own: it can be read without colours.
4. The style names plain colours for light pages and overrides them for dark ones, and touches only
   what is inside this picture, so that it may stand in a page with others.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from loopspec.views.graph import Picture, history_mark, plain
from loopspec.views.graph_layout import (
    INSET,
    MARGIN,
    NAME_SIZE,
    ROW,
    TEXT_SIZE,
    TITLE_SIZE,
    Frame,
    Layout,
    Row,
    Wire,
    badge,
    guard_end,
    kind_x,
    layout,
)
from loopspec.views.graph_trail import Trail
from loopspec.views.words import plural

_BEND: Final = 5
"""Radius of a wire's bends."""
_HEAD: Final = 9
"""Length of an arrow head."""
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_LIGHT: Final = {
    "page": "#ffffff",
    "box": "#ffffff",
    "frame": "#f6f8fa",
    "edge": "#c4ccd4",
    "ink": "#1f2328",
    "soft": "#59636e",
    "hover": "#eef2f6",
    "model": "#0969da",
    "tools": "#bc4c00",
    "decision": "#0a7c86",
    "person": "#8250df",
    "good": "#1a7f37",
    "bad": "#cf222e",
    "here": "#fff8c5",
    "seen": "#f2f7fd",
    "ring": "#9a6700",
}
_DARK: Final = {
    "page": "#0d1117",
    "box": "#161b22",
    "frame": "#10151c",
    "edge": "#3d444d",
    "ink": "#e6edf3",
    "soft": "#9198a1",
    "hover": "#21262d",
    "model": "#58a6ff",
    "tools": "#f0883e",
    "decision": "#39c5cf",
    "person": "#bc8cff",
    "good": "#3fb950",
    "bad": "#ff7b72",
    "here": "#2e2711",
    "seen": "#121d2b",
    "ring": "#e3b341",
}
_WIRES: Final = (
    ("#0969da", "#58a6ff"),
    ("#bc4c00", "#f0883e"),
    ("#8250df", "#bc8cff"),
    ("#1a7f37", "#3fb950"),
    ("#bf3989", "#f778ba"),
    ("#0a7c86", "#39c5cf"),
    ("#9a6700", "#d29922"),
    ("#57606a", "#9198a1"),
)


def svg(picture: Picture, trail: Trail | None = None, steps: str = "", *, font: str = FONT) -> str:
    """The picture as an SVG document, ended by a newline. The same picture gives the same text.

    `trail` is the way of a session, `steps` its last path in words; `font` a list of fonts as in CSS.
    """
    placed = layout(picture, trail)
    wires = {wire.target: wire for wire in placed.wires}
    ends = {start: wire for wire in placed.wires for start in wire.starts}
    lines = [*_start(picture, placed, trail, steps, font)]
    for frame in placed.frames:
        lines += _off(_frame(frame), trail is not None and not frame.visited)
    for wire in placed.wires:
        lines += _off(_wire(wire), trail is not None)
    over: list[str] = []
    for frame in placed.frames:
        for row in frame.rows:
            wire_of = wires.get(row.target)
            colour = wire_of.colour if wire_of else None
            drawn = _row(frame, row, colour, ends.get((frame.right, row.y)))
            lines += _off(drawn, trail is not None and not row.taken)
            if row.taken and not row.more:
                over += _taken(frame, row, wire_of)
    return "\n".join((*lines, *over, "</svg>")) + "\n"


def _off(lines: Iterable[str], off: bool) -> Iterator[str]:
    """The same, standing back if `off`."""
    if off:
        yield '<g class="off">'
    yield from lines
    if off:
        yield "</g>"


def _esc(text: str) -> str:
    """A printable text as XML, in elements and in double-quoted attributes."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _start(
    picture: Picture, placed: Layout, trail: Trail | None, steps: str, font: str
) -> Iterator[str]:
    """The head of the document, its style, and the lines above the boxes."""
    w, h = placed.width, placed.height
    boxes = picture.walk()
    moves = sum(len(box.arrows) for box in boxes)
    first = next((box.name for box in picture.boxes if box.first), "")
    name = plain(f"The loop {picture.name} {picture.version}", 200)
    holds = f"{plural(len(boxes), 'state')} and {plural(moves, 'transition')}"
    says = plain(f"{holds}; it starts in {first}.", 200)
    if trail is not None:
        name = plain(f"{name}: {trail.head()}", 400)
        says += f" The session stands in {plain(', '.join(trail.here), 400)}. {trail.waits}. {steps}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="loopspec" role="img" width="{w}" '
        f'height="{h}" viewBox="0 0 {w} {h}">'
    )
    yield f"<title>{_esc(name)}</title>"
    yield f"<desc>{_esc(says)}</desc>"
    yield f"<style>{_style(font)}</style>"
    yield f'<rect class="page" width="{w}" height="{h}"/>'
    yield _text(MARGIN, MARGIN + TITLE_SIZE - 2, "title", placed.title)
    for n, note in enumerate(placed.notes, 1):
        yield _text(MARGIN, MARGIN + TITLE_SIZE + n * ROW, "soft", note)


def _style(font: str) -> str:
    """The style: shapes and the colours of light pages, then what dark pages change."""
    base = (
        f".loopspec text{{font:{TEXT_SIZE}px {font};direction:ltr}}"
        f".loopspec .title{{font-size:{TITLE_SIZE}px;font-weight:600}}"
        f".loopspec .name{{font-size:{NAME_SIZE}px;font-weight:600}}"
        ".loopspec .mark{font-size:10px;font-weight:600;text-anchor:middle}"
        ".loopspec .goal{text-anchor:end}"
        ".loopspec .line{fill:none;stroke-width:1.5}"
        ".loopspec .cut{stroke-dasharray:5 4}"
        ".loopspec .bar{stroke:none}"
        ".loopspec .back{fill:none;pointer-events:all}"
        ".loopspec g:hover>.line{stroke-width:3}"
        ".loopspec .off{opacity:.6}"
        ".loopspec .way{stroke-width:3.5}"
        ".loopspec .now{stroke-width:2.5}"
    )
    dark = "".join(_colours(_DARK, 1))
    return f"{base}{''.join(_colours(_LIGHT, 0))}@media (prefers-color-scheme:dark){{{dark}}}"


def _colours(c: dict[str, str], side: int) -> Iterator[str]:
    """The rules that colour; `side` is 0 for light pages, 1 for dark ones."""
    yield f".loopspec .page{{fill:{c['page']}}}"
    yield f".loopspec .box{{fill:{c['box']};stroke:{c['edge']}}}"
    yield f".loopspec .frame{{fill:{c['frame']};stroke:{c['edge']}}}"
    yield f".loopspec .seen{{fill:{c['seen']}}}"
    yield f".loopspec .now{{fill:{c['here']};stroke:{c['ring']}}}"
    yield f".loopspec .cut{{stroke:{c['soft']}}}"
    yield f".loopspec .ring{{fill:none;stroke:{c['soft']}}}"
    yield f".loopspec text,.loopspec .dot{{fill:{c['ink']}}}"
    yield f".loopspec .soft{{fill:{c['soft']}}}"
    yield f".loopspec .row:hover .back{{fill:{c['hover']}}}"
    for name in ("model", "tools", "decision", "person", "good", "bad"):
        yield f".loopspec .{name}{{fill:{c[name]}}}"
    yield f".loopspec .here,.loopspec .step{{fill:{c['ring']}}}.loopspec .num{{fill:{c['page']}}}"
    for n, pair in enumerate(_WIRES):
        yield f".loopspec .c{n}{{fill:{pair[side]}}}.loopspec .s{n}{{stroke:{pair[side]}}}"


def _text(x: int, y: int, look: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" class="{look}">{_esc(text)}</text>'


def _frame(frame: Frame) -> Iterator[str]:
    """A box: its border, its marks, its name and what it does."""
    box = frame.box
    look = "frame" if box.children else "box"
    if not box.children and (frame.here or frame.visited):
        look += " now" if frame.here else " seen"
    radius = 15 if box.type == "history" else 7
    yield _rect(frame, look, 0, radius)
    if box.type == "final":
        yield _rect(frame, "box", 3, 5)
    colour = _accent(frame)
    if box.work and colour != "soft":
        yield (
            f'<rect class="bar {colour}" x="{frame.x + 5}" y="{frame.y + 7}" width="3" '
            f'height="{frame.h - 14}" rx="1"/>'
        )
    if badge(box):
        x, y = frame.x + INSET + 7, frame.middle
        mark = history_mark(box)
        if mark:
            yield f'<circle class="ring" cx="{x}" cy="{y}" r="9"/>'
            yield _text(x, y + 4, "mark", mark)
        else:
            yield f'<circle class="dot" cx="{x}" cy="{y}" r="5"/>'
    yield _text(frame.name_x, frame.middle + 5, "name", frame.name)
    if frame.kind:
        yield _text(kind_x(frame), frame.middle + 5, colour, frame.kind)
    if frame.here:
        yield _text(frame.right - INSET, frame.middle + 5, "goal here", "● here")
    for y in frame.cuts:
        yield f'<path class="cut" d="M{frame.x} {y}H{frame.right}"/>'


def _rect(frame: Frame, look: str, inside: int, radius: int) -> str:
    """A border, `inside` pixels within the box."""
    return (
        f'<rect class="{look}" x="{frame.x + inside}" y="{frame.y + inside}" '
        f'width="{frame.w - 2 * inside}" height="{frame.h - 2 * inside}" rx="{radius}"/>'
    )


def _accent(frame: Frame) -> str:
    """The class that colours what a box does."""
    if frame.box.failed and frame.box.type in ("atomic", "final"):
        return "bad"
    if frame.box.type == "final":
        return "good"
    return frame.box.work if frame.box.work in ("model", "tools", "decision", "person") else "soft"


def _row(frame: Frame, row: Row, colour: int | None, wire: Wire | None) -> Iterator[str]:
    """A row of text, and the line from it to its wire's lane."""
    y = row.y + 4
    yield f'<g class="row"><title>{_esc(row.title)}</title>'
    yield (
        f'<rect class="back" x="{frame.x + 10}" y="{row.y - ROW // 2}" width="{frame.w - 11}" '
        f'height="{ROW}"/>'
    )
    yield _text(frame.x + INSET, y, "trigger", row.trigger)
    if row.guard:
        yield _text(frame.column, y, "soft", row.guard)
    if row.acts:
        yield _text(guard_end(frame, row), y, "soft", row.acts)
    if row.goal:
        look = "soft" if colour is None else f"c{colour}"
        yield _text(frame.right - INSET, y, f"goal {look}", row.goal)
    if wire is not None:
        yield f'<path class="line s{wire.colour}" d="{_branch(wire, frame.right, row.y)}"/>'
        if wire.top < row.y < wire.bottom:
            yield f'<circle class="c{wire.colour}" cx="{wire.x}" cy="{row.y}" r="3"/>'
    yield "</g>"


def _branch(wire: Wire, x: int, y: int) -> str:
    """A line from a border to the lane, bent into it at the lane's ends."""
    if wire.top < y < wire.bottom:
        return f"M{x} {y}H{wire.x}"
    bend = _BEND if y == wire.top else -_BEND
    return f"M{x} {y}H{wire.x - _BEND}Q{wire.x} {y} {wire.x} {y + bend}"


def _wire(wire: Wire) -> Iterator[str]:
    """A wire's part in its lane, and its head at the state it leads to."""
    x, y = wire.end
    yield f"<g><title>{_esc(_leads(wire))}</title>"
    trunk = f"M{wire.x} {wire.top + _BEND}V{wire.bottom - _BEND}"
    yield f'<path class="line s{wire.colour}" d="{trunk}{_branch(wire, x + _HEAD - 1, y)}"/>'
    if wire.top < y < wire.bottom:
        yield f'<circle class="c{wire.colour}" cx="{wire.x}" cy="{y}" r="3"/>'
    yield f'<path class="c{wire.colour}" d="M{x} {y}L{x + _HEAD} {y - 5}V{y + 5}Z"/>'
    yield "</g>"


def _taken(frame: Frame, row: Row, wire: Wire | None) -> Iterator[str]:
    """A transition a session took, over what stands back: all of its line, and its place in the path."""
    if wire is not None:
        look = f"line {'way ' if row.place else ''}s{wire.colour}"
        x, y = wire.end
        down = _BEND if y > row.y else -_BEND
        way = f"M{frame.right} {row.y}H{wire.x - _BEND}Q{wire.x} {row.y} {wire.x} {row.y + down}"
        back = f"V{y - down}Q{wire.x} {y} {wire.x - _BEND} {y}H{x + _HEAD - 1}"
        yield f'<path class="{look}" d="{way}{back}"/>'
        yield f'<path class="c{wire.colour}" d="M{x} {y}L{x + _HEAD} {y - 5}V{y + 5}Z"/>'
    if row.place:
        yield f'<circle class="step" cx="{frame.right}" cy="{row.y}" r="8"/>'
        yield _text(frame.right, row.y + 4, "mark num", str(row.place))


def _leads(wire: Wire) -> str:
    """What a wire is, for whoever points at it."""
    many = len(wire.starts)
    return plain(f"into {wire.target}: {many} {'row leads' if many == 1 else 'rows lead'} here", 400)
