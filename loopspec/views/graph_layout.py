"""Layout: where everything of a loop's picture stands, in whole pixels.

Rules of this file:
1. Boxes stand below each other and in each other, and every row has a height of its own: no two texts
   and no two horizontal lines ever meet.
2. All rows that lead to one state join one wire. A wire runs in a lane right of all boxes; two wires
   share a lane only where they do not touch, so no line lies on another.
3. A text gets the room `width` says it needs, up to a limit; actions get a second line. What is longer
   is cut, and the whole of it stays in the title that shows when one points at it.
4. A session's trail adds counts, places and colours and moves nothing: the picture stays the loop's.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from loopspec.views.graph import Act, Arrow, Box, Picture, history_mark, plain
from loopspec.views.graph_trail import Trail
from loopspec.views.graph_width import fit, split, width
from loopspec.views.words import plural

NAME_SIZE: Final = 13
TEXT_SIZE: Final = 12
TITLE_SIZE: Final = 18
MARGIN: Final = 20
INDENT: Final = 14
"""How much narrower a box in a box is, on each side."""
INSET: Final = 16
"""From a box's border to its texts."""
HEAD: Final = 30
ROW: Final = 20
FOOT: Final = 8
GAP: Final = 14
FIRST: Final = 22
"""From the outermost boxes to the first lane: room for an arrow's head and a bend."""
LANE: Final = 11
COLOURS: Final = 8
BADGE: Final = 22
"""Room for the mark before a name: the dot of an initial state, the H of a history."""
_LEAST: Final = 300
_NAME: Final = 400
_KIND: Final = 340
_TRIGGER: Final = 250
_DETAIL: Final = 400
_ACTS: Final = 190
_GOAL: Final = 220
_SPACE: Final = 16
_HOVER: Final = 400
_HERE: Final = 60
"""Room at the right of a head for the word that says where the session stands."""
_CLEAR: Final = 8
"""Pixels between two wires of one lane."""


@dataclass(frozen=True)
class Row:
    """One line of text in a box: a transition, a default, or actions on entry and exit.

    `y` is its middle. `target` is the path its wire leads to, empty without one; `title` says it whole.
    `move` is the transition's id, -1 for other lines; `taken` how often a session took it, `place` its
    place in the session's last path, from 1, 0 outside it. `more`: it goes on from the line above.
    """

    trigger: str
    guard: str
    acts: str
    goal: str
    target: str
    title: str
    y: int = 0
    move: int = -1
    taken: int = 0
    place: int = 0
    more: bool = False


@dataclass(frozen=True)
class Frame:
    """A placed box. `name` and `kind` are cut to fit; `column` is where guards and actions begin.

    `cuts` are the heights of the dashed lines between regions; `middle` is the middle of its head.
    `here`: the session stands in it; `visited`: it was there at some time.
    """

    box: Box
    name: str
    kind: str
    rows: tuple[Row, ...]
    x: int
    y: int
    w: int
    h: int
    column: int
    cuts: tuple[int, ...] = ()
    here: bool = False
    visited: bool = False

    @property
    def right(self) -> int:
        """The right border."""
        return self.x + self.w

    @property
    def middle(self) -> int:
        """The height at which wires enter."""
        return self.y + HEAD // 2

    @property
    def name_x(self) -> int:
        """Where the name begins."""
        return self.x + INSET + (BADGE if badge(self.box) else 0)


@dataclass(frozen=True)
class Wire:
    """The line into one state: from each row that leads there to a lane, and from there to its head.

    `starts` are (right border of the row's box, height of the row), by height; `colour` counts from 0.
    """

    target: str
    starts: tuple[tuple[int, int], ...]
    end: tuple[int, int]
    lane: int = 0
    x: int = 0
    colour: int = 0

    @property
    def top(self) -> int:
        """The upper end of its part in the lane."""
        return min(self.end[1], self.starts[0][1])

    @property
    def bottom(self) -> int:
        """The lower end of its part in the lane."""
        return max(self.end[1], self.starts[-1][1])

    def segments(self) -> tuple[tuple[int, int, int, int], ...]:
        """Its straight parts as `(x1, y1, x2, y2)`: the one in the lane, the starts, the end."""
        flat = (*self.starts, self.end)
        return ((self.x, self.top, self.x, self.bottom), *((x, y, self.x, y) for x, y in flat))


@dataclass(frozen=True)
class Layout:
    """The whole picture, placed. `title` and `notes` are the lines above the boxes."""

    width: int
    height: int
    title: str
    notes: tuple[str, ...]
    frames: tuple[Frame, ...]
    wires: tuple[Wire, ...]


def badge(box: Box) -> bool:
    """Whether a mark stands before the name."""
    return box.first or box.type == "history"


def layout(picture: Picture, trail: Trail | None = None) -> Layout:
    """Place a picture, with a session's trail or without. The same picture gives the same numbers."""
    plan = _Plan(picture, trail)
    frames = plan.place()
    wires = _wires(frames, MARGIN + plan.width)
    lanes = max((wire.lane + 1 for wire in wires), default=0)
    wide = plan.width + (FIRST + (lanes - 1) * LANE if lanes else 0) + 2 * MARGIN
    title = fit(f"{picture.name} {picture.version}", wide - 2 * MARGIN, TITLE_SIZE, bold=True)
    notes = tuple(fit(note, wide - 2 * MARGIN, TEXT_SIZE) for note in plan.notes)
    return Layout(wide, plan.bottom + MARGIN, title, notes, frames, wires)


@dataclass
class _Plan:
    """The boxes being measured and placed, from the top down."""

    picture: Picture
    trail: Trail | None = None
    width: int = _LEAST
    bottom: int = 0
    frames: list[Frame] = field(default_factory=list)

    def place(self) -> tuple[Frame, ...]:
        """Place every box; `width` and `bottom` are then known."""
        self.names = self.picture.short_names()
        self.marks = {box.path: history_mark(box) for box in self.picture.walk()}
        self.measured: dict[str, Frame] = {}
        for top in self.picture.boxes:
            self._measure(top, 0)
        about = self.trail
        notes = (self.picture.description, *((about.head(), about.waits) if about else ()))
        self.notes = tuple(note for note in notes if note)
        y = MARGIN + TITLE_SIZE + ROW * (1 + len(self.notes))
        for top in self.picture.boxes:
            y = self._put(top, 0, y) + GAP
        self.bottom = y - GAP
        return tuple(self.frames)

    def _measure(self, box: Box, depth: int) -> None:
        """Cut a box's texts to size and let them widen the picture; then its children's."""
        rows = self._rows(box)
        column = INSET + max((width(row.trigger, TEXT_SIZE) for row in rows), default=0) + _SPACE
        name = fit(box.name, _NAME, NAME_SIZE, bold=True)
        kind = fit(_kind(box), _KIND, TEXT_SIZE)
        trail = self.trail
        here, visited = (box.path in trail.here, box.path in trail.visited) if trail else (False, False)
        made = Frame(box, name, kind, rows, 0, 0, 0, 0, column, here=here, visited=visited)
        needs = [_extent(made, row) for row in rows]
        needs.append(kind_x(made) + width(kind, TEXT_SIZE) + INSET + (_HERE if here else 0))
        self.width = max(self.width, max(needs) + 2 * INDENT * depth)
        self.measured[box.path] = made
        for child in box.children:
            self._measure(child, depth + 1)

    def _put(self, box: Box, depth: int, y: int) -> int:
        """Place a box with its top at `y`, and all in it; gives back its bottom."""
        made = self.measured[box.path]
        at = len(self.frames)
        self.frames.append(made)
        inner = y + HEAD + len(made.rows) * ROW + (FOOT if made.rows else 0)
        cuts: list[int] = []
        regions = 0
        for child in box.children:
            if box.type == "parallel" and child.type != "history":
                regions += 1
                if regions > 1:
                    cuts.append(inner)
                    inner += GAP
            inner = self._put(child, depth + 1, inner) + GAP
        x = MARGIN + INDENT * depth
        self.frames[at] = replace(
            made,
            rows=tuple(replace(r, y=y + HEAD + n * ROW + ROW // 2) for n, r in enumerate(made.rows)),
            x=x,
            y=y,
            w=self.width - 2 * INDENT * depth,
            h=inner - y,
            column=x + made.column,
            cuts=tuple(cuts),
        )
        return inner

    def _rows(self, box: Box) -> tuple[Row, ...]:
        """The rows of a box: actions on entry and exit, a history's default, the transitions."""
        rows = []
        for word, actions in (("entry", box.entry), ("exit", box.exit)):
            if actions:
                acts = _acts(actions)
                rows.append(Row(word, "", fit(acts, _DETAIL, TEXT_SIZE), "", "", _whole(box, word, acts)))
        if box.default:
            title = plain(f"{box.path} → {box.default} by default", _HOVER)
            rows.append(Row("by default", "", "", self._goal(box.default), box.default, title))
        for arrow in box.arrows:
            rows += self._rows_of(arrow)
        return tuple(rows)

    def _rows_of(self, arrow: Arrow) -> tuple[Row, ...]:
        """The row of a transition, and the one below it when its actions do not fit."""
        guard = f"[{plain(arrow.guard, _HOVER)}]" if arrow.guard else ""
        acts = plain(_acts(arrow.actions), _HOVER)
        least = min(width(acts, TEXT_SIZE), _ACTS)
        guard = fit(guard, _DETAIL - least, TEXT_SIZE)
        acts, rest = split(acts, _DETAIL - width(guard, TEXT_SIZE), TEXT_SIZE)
        if arrow.target is None:
            goal, target = "stays", ""
        elif arrow.target == arrow.source:
            goal, target = "→ itself", ""
        else:
            goal, target = self._goal(arrow.target), arrow.target
        title, trail = describe(arrow), self.trail
        taken = trail.taken.get(arrow.id, 0) if trail else 0
        place = trail.place(arrow.id) if trail else 0
        if taken:
            goal = f"×{taken:,} {goal}"
            title += f" – taken {plural(taken, 'time')}"
            title += f", number {place} of the last" if place else ""
        trigger = fit(arrow.trigger, _TRIGGER, TEXT_SIZE)
        row = Row(trigger, guard, acts, goal, target, title, 0, arrow.id, taken, place)
        if not rest:
            return (row,)
        below = Row("", "", fit(rest, _DETAIL, TEXT_SIZE), "", "", title, 0, arrow.id, taken, more=True)
        return row, below

    def _goal(self, path: str) -> str:
        """How a row names the state it leads to."""
        mark = f" ({self.marks[path]})" if self.marks[path] else ""
        return fit(f"→ {self.names[path]}", _GOAL - width(mark, TEXT_SIZE), TEXT_SIZE) + mark


def describe(arrow: Arrow) -> str:
    """A transition in one sentence, for whoever points at it."""
    where = f" → {arrow.target}" if arrow.target else " stays"
    text = f"{arrow.source}{where}" + (" (internal)" if arrow.internal else "")
    text += f" {'on ' if arrow.sort == 'event' else ''}{arrow.trigger}"
    if arrow.guard:
        text += f" [{arrow.guard}]"
    if arrow.actions:
        text += f" {_acts(arrow.actions)}"
    return plain(text, _HOVER) + (f" (line {arrow.line})" if arrow.line else "")


def _acts(actions: tuple[Act, ...]) -> str:
    """Actions as a row has them, empty for none."""
    return f"/ {'; '.join(act.text for act in actions)}" if actions else ""


def kind_x(frame: Frame) -> int:
    """Where the text after the name begins."""
    return frame.name_x + width(frame.name, NAME_SIZE, bold=True) + 12


def guard_end(frame: Frame, row: Row) -> int:
    """Where a row's guard ends at most, and its actions begin."""
    return frame.column + (width(row.guard, TEXT_SIZE) + 6 if row.guard else 0)


def _extent(frame: Frame, row: Row) -> int:
    """The width a box needs for a row, from border to border."""
    text = guard_end(frame, row) + width(row.acts, TEXT_SIZE)
    return text + 2 * _SPACE + width(row.goal, TEXT_SIZE) + INSET


def _kind(box: Box) -> str:
    """What stands after a box's name."""
    parts = [box.kind, *box.details] if box.kind else []
    if box.type in ("parallel", "final"):
        parts.append(box.type)
    if box.type == "history":
        parts.append("deep history" if box.deep else "history")
    if box.failed and box.type in ("atomic", "final"):
        parts.append("failed")
    return " · ".join(parts)


def _whole(box: Box, word: str, acts: str) -> str:
    return plain(f"{box.path} on {word} {acts}", _HOVER)


def _wires(frames: tuple[Frame, ...], right: int) -> tuple[Wire, ...]:
    """The wires, each in the innermost lane that is free beside it; short ones first."""
    by_path = {frame.box.path: frame for frame in frames}
    starts: dict[str, list[tuple[int, int]]] = {}
    for frame in frames:
        for row in frame.rows:
            if row.target:
                starts.setdefault(row.target, []).append((frame.right, row.y))
    bare = []
    for path, found in starts.items():
        into = by_path[path]
        bare.append(Wire(path, tuple(sorted(found, key=lambda at: at[1])), (into.right, into.middle)))
    bare.sort(key=lambda wire: (wire.bottom - wire.top, wire.top))
    done: list[Wire] = []
    for wire in bare:
        near = [other for other in done if _touch(wire, other)]
        taken = {other.lane for other in near}
        lane = next(n for n in range(len(bare)) if n not in taken)
        close = {other.colour for other in near if abs(other.lane - lane) <= 2}
        start = len(done) % COLOURS
        wheel = [(start + n) % COLOURS for n in range(COLOURS)]
        colour = next((c for c in wheel if c not in close), start)
        x = right + FIRST + lane * LANE
        done.append(replace(wire, lane=lane, x=x, colour=colour))
    return tuple(done)


def _touch(one: Wire, other: Wire) -> bool:
    """Whether two wires would meet in one lane."""
    return one.top - _CLEAR < other.bottom and other.top - _CLEAR < one.bottom
