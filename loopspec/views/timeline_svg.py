"""Timeline picture: a chart as an SVG inside a page; it needs no script and no style of its own file.

Rules of this file:
1. Whole pixels. What would be narrower than two pixels is two wide; neighbours in a row that overlap,
   or touch and are narrow, become one bar that says what it holds, in the colour that most of its time
   has: a picture is as large for 10 entries as for 10,000.
2. A bar leads to the entry that ended it, where that is in the page's list.
3. Colours are classes; the page gives them, light and dark. Texts are escaped here.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from loopspec.views.graph_width import fit, width
from loopspec.views.timeline_chart import Chart, Mark, Row, Span, Used
from loopspec.views.timeline_scale import Scale
from loopspec.views.words import amount, duration, money

WIDTH: Final = 1000
LEFT: Final = 150
"""Where the axis begins; left of it are the rows' names."""
RIGHT: Final = 16
PLOT: Final = WIDTH - LEFT - RIGHT
ROW: Final = 20
BAR: Final = 12
HEAD: Final = 24
CURVE: Final = 46
SIZE: Final = 11
TICKS: Final = 9
WIDE: Final = 4
"""Pixels from which bars that touch stay apart."""
NEAR: Final = 6
"""Pixels between two marks below which they become one."""
TOLD: Final = 3
"""How many things a bar that holds several names."""


def escape(text: str) -> str:
    """A printable text in elements and in double-quoted attributes."""
    table = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
    return "".join(table.get(char, char) for char in text)


def drawn(chart: Chart, listed: Collection[int], title: str, says: str) -> str:
    """The chart as one `svg` element. `listed` are the entries that bars may lead to; `title` and
    `says` tell it to who cannot see it."""
    scale = Scale(chart.moments, PLOT)
    body: list[str] = []
    y = HEAD
    groups = (
        ("states", chart.states),
        ("models", chart.models),
        ("tools", chart.tools),
        ("waits and upkeep", chart.waits),
    )
    for name, rows in groups:
        if rows:
            body.append(_text(8, y + 14, "group", name))
            y += ROW
        for row in rows:
            body += _row(row, y, scale, listed)
            y += ROW
    if chart.marks:
        body.append(_text(8, y + 14, "group", "moments"))
        body += _marks(chart.marks, y, scale, listed)
        y += ROW
    if chart.used:
        body.append(_text(8, y + 14, "group", "used so far"))
        y += ROW + 4
        for curve in _curves(chart.used):
            body += _curve(*curve, chart=chart, y=y, scale=scale)
            y += CURVE + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" width="{WIDTH}" '
        f'height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(says)}</desc>",
        *_axis(chart, scale, y),
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: int, y: int, look: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" class="{look}">{escape(text)}</text>'


def _axis(chart: Chart, scale: Scale, bottom: int) -> Iterator[str]:
    """Lines and times from top to bottom, and the silences that are folded."""
    free = LEFT - 20
    for at in scale.ticks(TICKS):
        x = LEFT + scale.x(at)
        label = duration(at - chart.start) if at > chart.start else "0"
        half = width(label, SIZE) // 2
        yield f'<path class="tick" d="M{x} {HEAD - 4}V{bottom}"/>'
        if x - half >= free and x + half <= WIDTH:
            yield _text(x, 14, "time", label)
            free = x + half + 8
    for begin, end in scale.folds:
        left, right = LEFT + scale.x(begin), LEFT + scale.x(end)
        says = f"nothing happened for {duration(end - begin)}; this stretch is folded"
        yield f'<g class="fold"><title>{escape(says)}</title>'
        room, high = max(2, right - left), bottom - HEAD + 4
        yield f'<rect x="{left}" y="{HEAD - 4}" width="{room}" height="{high}"/>'
        label = duration(end - begin)
        middle = (left + right) // 2
        if right - left >= width(label, SIZE) + 4:
            yield _text(middle, bottom + 2, "time", label)
        yield "</g>"


def _row(row: Row, y: int, scale: Scale, listed: Collection[int]) -> Iterator[str]:
    """A row: its name, its line, its bars."""
    yield f'<g class="row"><title>{escape(row.name)}</title>'
    yield f'<rect class="back" x="0" y="{y}" width="{WIDTH}" height="{ROW}"/>'
    yield _text(16, y + 14, "name", fit(row.name, LEFT - 24, SIZE))
    yield "</g>"
    for group in _bars(row.spans, scale):
        left, right = _edges(group[0], scale)[0], max(_edges(one, scale)[1] for one in group)
        look = _most(group)
        still = " open" if any(one.open for one in group) else ""
        shape = (
            f'<rect class="bar {look}{still}" x="{LEFT + left}" y="{y + 4}" '
            f'width="{right - left}" height="{BAR}" rx="2"/>'
        )
        yield _linked(shape, [one.title for one in group], group[-1].seq, listed)


def _edges(span: Span, scale: Scale) -> tuple[int, int]:
    """The left and right edge of a bar on the axis, at least two pixels apart and inside it."""
    left, right = scale.x(span.start), scale.x(span.end)
    if right - left < 2:
        left = min(left, scale.width - 2)
        right = left + 2
    return left, right


def _bars(spans: Sequence[Span], scale: Scale) -> Iterator[list[Span]]:
    """Spans of a row, those together that would hide each other."""
    group: list[Span] = []
    start = end = -1
    for span in spans:
        left, right = _edges(span, scale)
        wide = min(right - left, end - start) >= WIDE
        if group and (left > end or (left == end and wide)):
            yield group
            group = []
        start, end = (left, right) if not group else (start, max(end, right))
        group.append(span)
    if group:
        yield group


def _most(spans: Sequence[Span]) -> str:
    """The look that most of the time has; a failure where two have as much."""
    times: dict[str, int] = {}
    for span in spans:
        times[span.look] = times.get(span.look, 0) + span.end - span.start
    return max(times, key=lambda look: (times[look], look == "bad"))


def _linked(shape: str, titles: Sequence[str], seq: int, listed: Collection[int]) -> str:
    """A shape that says what it is, and leads to its entry where that is listed."""
    told = list(titles[:TOLD])
    if len(titles) > TOLD:
        told.append(f"and {len(titles) - TOLD:,} more")
    says = f"<title>{escape('; '.join(told))}</title>"
    if seq in listed:
        return f'<a href="#e{seq}">{says}{shape}</a>'
    return f"<g>{says}{shape}</g>"


def _marks(marks: Sequence[Mark], y: int, scale: Scale, listed: Collection[int]) -> Iterator[str]:
    """Diamonds; those too near to each other are one."""
    group: list[Mark] = []
    for mark in marks:
        if group and scale.x(mark.at) - scale.x(group[0].at) >= NEAR:
            yield _diamond(group, y, scale, listed)
            group = []
        group.append(mark)
    yield _diamond(group, y, scale, listed)


def _diamond(group: Sequence[Mark], y: int, scale: Scale, listed: Collection[int]) -> str:
    x, middle = LEFT + scale.x(group[0].at), y + ROW // 2
    look = "bad" if any(one.look == "bad" for one in group) else group[0].look
    path = f"M{x - 5} {middle}L{x} {middle - 5}L{x + 5} {middle}L{x} {middle + 5}Z"
    shape = f'<path class="bar {look}" d="{path}"/>'
    return _linked(shape, [one.title for one in group], group[0].seq, listed)


_Curve = tuple[str, str, list[tuple[int, int]], str]


def _curves(used: Sequence[Used]) -> Iterator[_Curve]:
    """What was consumed: the name, the total in words, the points, the colour."""
    last = used[-1]
    yield (
        "tokens",
        f"{last.input:,} in + {last.output:,} out",
        [(one.at, one.input + one.output) for one in used],
        "model",
    )
    if last.cost:
        spent = money(last.cost, last.unpriced)
        yield "cost", spent, [(one.at, one.cost) for one in used], "tools"


def _curve(
    name: str,
    total: str,
    points: Sequence[tuple[int, int]],
    look: str,
    *,
    chart: Chart,
    y: int,
    scale: Scale,
) -> Iterator[str]:
    """A sum that grows, as steps; at most two points for each pixel."""
    top = max(points[-1][1], 1)
    by_x: dict[int, int] = {}
    for at, value in points:
        by_x[scale.x(at)] = value
    path = f"M{LEFT} {y + CURVE}"
    for x, value in by_x.items():
        path += f"H{LEFT + x}V{y + CURVE - (CURVE - 4) * value // top}"
    end = LEFT + scale.x(chart.end)
    full = amount("usd" if name == "cost" else "tokens", top)
    yield f"<g><title>{escape(f'{name}: {total}')}</title>"
    yield f'<path class="area {look}" d="{path}H{end}V{y + CURVE}Z"/>'
    yield f'<path class="curve line-{look}" d="{path}H{end}"/>'
    yield f'<path class="tick" d="M{LEFT} {y + CURVE}H{WIDTH - RIGHT}"/>'
    yield _text(16, y + 14, "name", name)
    yield _text(16, y + 30, "soft", fit(full if name == "cost" else f"{top:,}", LEFT - 24, SIZE))
    yield "</g>"
