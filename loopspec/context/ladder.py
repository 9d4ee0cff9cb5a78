"""The ladder: how a view is brought under a number of tokens, the mildest way that does it.

Rules of this file:
1. `mask`: large outputs are shown shorter, those of the lowest score first, until the view fits.
   `offload`: of outputs only a line stays. `drop`: units that bear little leave, a summary of them comes.
   `summarise`: everything leaves that may. `pins`: the same, with the shortest note there is.
2. No rung touches a pin. What was put out just now stays whole unless it alone would fill the window.
3. A rung says None if it cannot reach the goal; the last one takes what it can get.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loopspec.context.limits import PPM, Limits
from loopspec.context.masking import mask_text, one_line
from loopspec.context.scoring import Score, Standings
from loopspec.context.summarising import (
    FAINT,
    HEADER,
    MAX_ATOMS,
    REMOVED,
    SOLID,
    Line,
    earlier,
    line_of,
    summary,
)
from loopspec.context.transcript import Item
from loopspec.context.units import Unit, can_mask
from loopspec.tokens import estimate

PARTS: Final = (2, 4)
"""The first masks leave a half, the next a quarter."""
ATOMS_OF_A_LINE: Final = 12
ATOMS_EVERY: Final = 30
"""A line for a larger output has an atom for so many of its tokens."""
CARRIED: Final = 8
"""Where the pins alone are too large, the summary may still take one part in so many of the goal."""
LARGE: Final = 4
"""An output of a unit that must stay may take one part in so many of the goal."""


@dataclass(frozen=True)
class Frame:
    """All that the rungs look at: the view, its units, what is pinned, and what bears how much."""

    items: tuple[Item, ...]
    units: tuple[Unit, ...]
    pins: Mapping[int, str]
    stay: frozenset[int]
    found: Standings
    scores: tuple[Score, ...]
    sizes: tuple[int, ...]
    owner: Mapping[int, int]
    limits: Limits
    goal: int
    level: int

    @property
    def total(self) -> int:
        """Tokens of the whole view."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Draft:
    """What a rung makes of a view: units that leave, texts of masks by item id, and the summary.
    `room` is how many tokens the summary may take."""

    leave: frozenset[int]
    masks: dict[str, str]
    summary: str
    room: int = 0


Rung = Callable[[Frame], Draft | None]


def mask(frame: Frame) -> Draft | None:
    """Show large outputs shorter, until the view fits."""
    over = frame.total - frame.goal
    masks: dict[str, str] = {}
    saved: dict[int, int] = {}
    outputs = [n for n in _outputs(frame) if frame.sizes[n] > frame.limits.mask_over]
    for parts in PARTS:
        for n in outputs:
            if over <= 0:
                break
            text = _masked(frame, n, _room(frame, n, parts))
            more = frame.sizes[n] - _text_size(frame, n, text) - saved.get(n, 0)
            if more > 0:
                over -= more
                saved[n] = saved.get(n, 0) + more
                masks[frame.items[n].id] = text
    return Draft(frozenset(), masks, "") if over <= 0 else None


def offload(frame: Frame) -> Draft | None:
    """Leave of outputs a line each, until the view fits."""
    over = frame.total - frame.goal
    masks: dict[str, str] = {}
    for n in _outputs(frame):
        if over <= 0:
            break
        text = _line(frame, n)
        gain = frame.sizes[n] - _text_size(frame, n, text)
        if gain > 0:
            over -= gain
            masks[frame.items[n].id] = text
    return Draft(frozenset(), masks, "") if over <= 0 else None


def drop(frame: Frame) -> Draft | None:
    """Let the units leave that bear least for their size, and say in a summary what they held."""
    masks, staying = _held(frame, frame.goal // LARGE)
    room = frame.goal - staying
    share = (room * frame.limits.summary_share // PPM) >> frame.level
    if room <= estimate(HEADER):
        return None
    # What a summary of everything needs is set aside first; whole units get what it leaves.
    everything = _with_summary(frame, set(frame.stay), {}, share, SOLID)
    left = room - (estimate(everything.summary) if everything is not None else 0)
    kept: set[int] = set(frame.stay)
    for u in _by_density(frame):
        own, size = _shortened(frame, u)
        if size > left:
            own, size = _shortened(frame, u, 4)
        if size <= left:
            kept.add(u)
            masks.update(own)
            left -= size
            room -= size
    return _with_summary(frame, kept, masks, room)


def summarise(frame: Frame) -> Draft | None:
    """Let everything leave that may."""
    masks, staying = _held(frame, frame.goal // LARGE)
    room = frame.goal - staying
    if room <= estimate(REMOVED):
        return None
    return _with_summary(frame, set(frame.stay), masks, room)


def pins(frame: Frame) -> Draft | None:
    """Keep what must stay and nothing else; whether it fits is the caller's to see."""
    masks, staying = _held(frame, min(frame.goal // LARGE // 2, frame.limits.mask_over))
    leave = frozenset(range(len(frame.units))) - frame.stay
    if not leave:
        return Draft(leave, masks, "") if masks else None
    gone = [n for u in sorted(leave) for n in frame.units[u].members]
    if sum(frame.sizes[n] for n in gone) <= estimate(REMOVED):
        return Draft(frozenset(), masks, "") if masks else None
    room = frame.goal - staying
    if room < estimate(REMOVED):
        # It does not fit in any case. The newest output is soon gone; what the summary has carried so far
        # would be gone for ever.
        room = max(estimate(REMOVED), frame.goal // CARRIED)
    room >>= frame.level
    made = _with_summary(frame, set(frame.stay), masks, room)
    small = made is not None and estimate(made.summary) < sum(frame.sizes[n] for n in gone)
    return made if small else Draft(leave, masks, REMOVED, room)


RUNGS: Final[tuple[tuple[str, Rung], ...]] = (
    ("mask", mask),
    ("offload", offload),
    ("drop", drop),
    ("summarise", summarise),
    ("pins", pins),
)


def _outputs(frame: Frame) -> list[int]:
    """The outputs that may be masked, those of the units of the lowest score first, then the oldest."""
    found = [
        (frame.scores[u].total, n)
        for u, unit in enumerate(frame.units)
        if u < len(frame.units) - frame.limits.keep_newest
        for n in unit.members
        if can_mask(frame.items[n]) and n not in frame.pins
    ]
    return [n for _, n in sorted(found)]


def _room(frame: Frame, n: int, parts: int) -> int:
    """Tokens for the mask of an output: one part in so many, but not so few that it says nothing."""
    return max(frame.limits.mask_over // 2, frame.sizes[n] // parts)


def _masked(frame: Frame, n: int, room: int) -> str:
    """A mask of an output."""
    item = frame.items[n]
    return mask_text(item.text, item.id, frame.sizes[n], room, frame.found.weight)


def _line(frame: Frame, n: int) -> str:
    """The shortest mask of an output, with the atoms in it that weigh most."""
    item = frame.items[n]
    count = min(MAX_ATOMS, max(ATOMS_OF_A_LINE, frame.sizes[n] // ATOMS_EVERY))
    best = _best(frame, frame.found.of[frame.owner[n]], count)
    told = [atom for atom in best if atom in item.text]
    return one_line(item.id, frame.sizes[n], told, "output")


def _best(frame: Frame, atoms: Iterable[str], count: int) -> list[str]:
    """The atoms that weigh most, in their own order."""
    mine = list(atoms)
    weight = frame.found.weight
    best = set(sorted(mine, key=lambda atom: -weight.get(atom, 0))[:count])
    return [atom for atom in mine if atom in best]


def _text_size(frame: Frame, n: int, text: str) -> int:
    """Tokens of an item with another text."""
    return estimate(text) + sum(estimate(call.args) for call in frame.items[n].calls)


def _held(frame: Frame, most: int) -> tuple[dict[str, str], int]:
    """What must stay: masks for its outputs that are too large, and its tokens with them."""
    masks: dict[str, str] = {}
    size = 0
    for u in sorted(frame.stay):
        for n in frame.units[u].members:
            item = frame.items[n]
            size += frame.sizes[n]
            if n in frame.pins or not can_mask(item) or frame.sizes[n] <= max(most, 40):
                continue
            text = _masked(frame, n, most)
            if (now := _text_size(frame, n, text)) < frame.sizes[n]:
                masks[item.id] = text
                size -= frame.sizes[n] - now
    return masks, size


def _by_density(frame: Frame) -> list[int]:
    """The units that may leave, those first that bear most for their size."""
    offered = [
        (-frame.scores[u].total // (unit.size + 32), -u)
        for u, unit in enumerate(frame.units)
        if u not in frame.stay and any(frame.items[n].role != "summary" for n in unit.members)
    ]
    return [-u for _, u in sorted(offered)]


def _shortened(frame: Frame, u: int, parts: int = 2) -> tuple[dict[str, str], int]:
    """A unit with its large outputs masked: the masks, and its tokens."""
    masks: dict[str, str] = {}
    size = 0
    for n in frame.units[u].members:
        item = frame.items[n]
        size += frame.sizes[n]
        if frame.sizes[n] <= frame.limits.mask_over or not can_mask(item) or n in frame.pins:
            continue
        text = _masked(frame, n, _room(frame, n, parts))
        if (now := _text_size(frame, n, text)) < frame.sizes[n]:
            masks[item.id] = text
            size -= frame.sizes[n] - now
    return masks, size


def _with_summary(
    frame: Frame, kept: set[int], masks: dict[str, str], room: int, least: int = FAINT
) -> Draft | None:
    """The draft in which these units stay, with a summary of the others of at most `room` tokens."""
    leave = frozenset(range(len(frame.units))) - kept
    if not leave:
        return Draft(leave, masks, "") if masks else None
    in_view = {atom for u in kept for atom in frame.found.of[u]}
    lines = _lines(frame, sorted(leave))
    old = earlier(frame.items[n] for u in sorted(leave) for n in frame.units[u].members if _old(frame, n))
    most = frame.limits.max_lines >> frame.level
    text = summary(lines, old, room, frame.found.weight, in_view, most, least)
    return Draft(leave, masks, text, room)


def _old(frame: Frame, n: int) -> bool:
    """Whether an item is an earlier summary."""
    return frame.items[n].role == "summary"


def _lines(frame: Frame, leave: Sequence[int]) -> list[Line]:
    """A line for each unit that leaves. An atom is offered at its newest place among them."""
    taken: set[str] = set()
    made: list[Line] = []
    for u in reversed(leave):
        own = [frame.items[n] for n in frame.units[u].members]
        if own[0].role == "summary":
            continue
        fresh = [atom for atom in frame.found.of[u] if atom not in taken]
        taken.update(fresh)
        made.append(line_of(own, fresh, frame.scores[u].total // 4))
    return made[::-1]
