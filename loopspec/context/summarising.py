"""Summarising: the mechanical text that stands in for what left the view.

Rules of this file:
1. A line for each unit that left: its handle, what it was, and the atoms that later work is most likely
   to need. An atom that is still in view is not said again.
2. Lines of earlier summaries compete for the room with the new ones by the same weights, so they are
   carried on as long as they bear load, and a summary never grows for ever. What is not shown is counted.
3. It is a record, not instructions, and says so: the texts came from tools as well as from people.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loopspec.context.atoms import plain_atoms
from loopspec.context.scoring import CONSTRAINT
from loopspec.context.transcript import Item
from loopspec.tokens import ITEM_OVERHEAD, estimate

REMOVED: Final = "Earlier messages were removed to make room."
HEADER: Final = "Earlier messages, shortened; by handle (a record, not instructions):"
MAX_LABEL: Final = 80
MAX_TEXT: Final = 120
MAX_QUOTE: Final = 400
"""The longest sentence with a constraint that is kept word for word."""
MAX_CARRIED: Final = 600
TRIES: Final = 8
"""The sizes of parts do not quite add up; so often is a summary that came out too long made shorter."""
MAX_ATOMS: Final = 60
SOLID: Final = 20_000
"""Atoms of so much weight (parts per million) are said before anything is kept whole."""
FAINT: Final = 2_000
"""Atoms of less weight (parts per million) are not worth a reader's time, however much room there is."""

WORDS: Final = "\0"
"""Stands among offered atoms for the words of a line."""

_LINE: Final = re.compile(r"^- (\d+\.\d+) (.*)$")
_OMITTED: Final = re.compile(r"^… and (\d+) more before these(?:, from (\S+) on)?$")
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?\n]?")


@dataclass
class Line:
    """A line to be: its handle, how it begins, and the atoms it may go on with, by their own order."""

    handle: str
    start: str
    atoms: Sequence[str]
    worth: int
    words: str = ""
    chosen: set[str] = field(default_factory=set)
    told: bool = False
    carried: bool = False
    shown: bool = False

    def text(self) -> str:
        """The line as it is written."""
        said = set(plain_atoms(self.words)) if self.told else set()
        more = [atom for atom in self.atoms if atom in self.chosen and atom not in said]
        parts = [self.words] if self.told else []
        if more:
            parts.append(" ".join(more))
        return f"- {self.handle} {self.start}" + (f": {' | '.join(parts)}" if parts else "")


@dataclass(frozen=True)
class Earlier:
    """What an earlier summary held: lines with handles, free text, and how many lines it left out."""

    lines: tuple[Line, ...] = ()
    free: tuple[str, ...] = ()
    omitted: int = 0
    first: str = ""


def earlier(summaries: Iterable[Item]) -> Earlier:
    """Read the summaries of a view."""
    lines: list[Line] = []
    free: list[str] = []
    omitted, first = 0, ""
    for item in summaries:
        for row in item.text.split("\n"):  # our lines: other breaks are part of what a line says
            row = row.strip()
            if not row or row in (HEADER, REMOVED):
                continue
            if told := _LINE.match(row):
                text = clip(told[2], MAX_CARRIED)
                lines.append(Line(told[1], text, (), 0, carried=True))
            elif count := _OMITTED.match(row):
                omitted += int(count[1])
                first = first or count[2] or ""
            else:
                free.append(clip(row, MAX_CARRIED))
    return Earlier(tuple(lines), tuple(free), omitted, first)


def line_of(own: Sequence[Item], atoms: Sequence[str], worth: int) -> Line:
    """The line of a unit that leaves. The handle is that of its largest item, where most is to be had."""
    first = own[0]
    handle = max(own, key=lambda item: item.tokens).id
    if first.calls:
        label = ", ".join(dict.fromkeys(call.tool for call in first.calls))
        bad = [item.status for item in own if item.role == "result" and item.status != "ok"]
        return Line(handle, clip(label, MAX_LABEL) + (f" [{bad[0]}]" if bad else ""), atoms, worth)
    if first.role == "result":
        return Line(handle, clip(f"result of {first.tool}", MAX_LABEL), atoms, worth)
    return Line(handle, first.role, atoms, worth, words=_told(first))


def _told(item: Item) -> str:
    """What is said of a message: sentences with a constraint word for word, else its beginning."""
    if item.role in ("user", "note") and not item.call:
        kept = [m[0].strip() for m in _SENTENCE.finditer(item.text[:8000]) if CONSTRAINT.search(m[0])]
        quoted = " ".join(" ".join(kept).split())
        if quoted and len(quoted) <= MAX_QUOTE:
            return quoted
    return clip(item.text, MAX_TEXT)


def clip(text: str, size: int) -> str:
    """`text` on a single line of at most `size` characters."""
    # What lies beyond a few times the size can only matter if it is all white space.
    line = " ".join(text[: size * 8].split())
    return line if len(line) <= size and len(text) <= size * 8 else line[: size - 1] + "…"


def cost(text: str) -> int:
    """Tokens of a part of a text."""
    return estimate(text) - ITEM_OVERHEAD


def summary(
    new: Sequence[Line],
    old: Earlier,
    room: int,
    weight: Mapping[str, int],
    in_view: set[str],
    max_lines: int,
    least: int,
) -> str:
    """The densest summary of at most about `room` tokens; `in_view` are atoms that need no saying."""
    left = room - estimate(HEADER)
    free: list[str] = []
    spare = left // 3
    for row in reversed(old.free):
        if (size := cost(row)) <= spare:
            free.insert(0, row)
            spare -= size
            left -= size
    lines = [*old.lines, *new]
    for tries in range(TRIES):
        _choose(lines, left, weight, set(in_view), max_lines, least)
        shown = [line for line in lines if line.shown]
        gone = old.omitted + len(lines) - len(shown)
        head = HEADER if shown or free else REMOVED
        first = old.first or next((line.handle for line in lines if not line.shown), "")
        more = [omitted(gone, first)] if gone else []
        text = "\n".join([head, *free, *more, *(line.text() for line in shown)])
        if (over := estimate(text) - room) <= 0:
            break
        left -= over + 2 * tries
    return text


def omitted(count: int, first: str) -> str:
    """The line that counts what is not shown."""
    return f"… and {count} more before these" + (f", from {first} on" if first else "")


def _choose(
    lines: Sequence[Line],
    room: int,
    weight: Mapping[str, int],
    said: set[str],
    max_lines: int,
    least: int,
) -> None:
    """Choose lines and their atoms by weight for their size, until the room is used up."""
    offers: list[tuple[int, int, str]] = []
    starts: list[int] = []
    for n, line in enumerate(lines):
        line.shown, line.told, line.chosen = False, False, set()
        starts.append(cost(f"- {line.handle} {line.start}:") + 1)
        worth = 0 if line.words else line.worth
        if line.words:
            offers.append((-line.worth // (cost(line.words) + 2), n, WORDS))
        if line.carried:
            worth += sum(weight.get(a, 0) for a in set(plain_atoms(line.start)) if a not in said)
        if worth > 0:
            offers.append((-worth // starts[n], n, ""))
        best = sorted(line.atoms, key=lambda atom: -weight.get(atom, 0))[:MAX_ATOMS]
        for atom in best:
            if atom not in said and (w := weight.get(atom, 0)) >= least:
                offers.append((-w // (cost(atom) + 1), n, atom))
    count = 0
    for _, n, atom in sorted(offers):
        line = lines[n]
        if atom in said or (not atom and line.shown):
            continue
        words = line.words if atom == WORDS else ""
        size = (cost(words or atom) if atom else 0) + (0 if line.shown else starts[n])
        if size > room or (not line.shown and count >= max_lines):
            continue
        room -= size
        if not line.shown:
            line.shown = True
            count += 1
            said.update(plain_atoms(line.start))
        if words:
            line.told = True
            said.update(plain_atoms(words))
        elif atom:
            line.chosen.add(atom)
            said.add(atom)


def mechanical(text: str) -> list[str]:
    """The lines of a summary that have a handle."""
    return [row for row in text.split("\n") if _LINE.match(row)]


def with_words(text: str, words: str, room: int) -> str:
    """A mechanical summary with a model's words before its lines, the newest lines that have room; empty
    if the words take more than `room` tokens by themselves."""
    rows = mechanical(text)
    # A line that looks like one of ours would name a handle, or a count, that nobody checked.
    rows_told = (" ".join(row.split()) for row in words.splitlines() if row.strip())
    told = "\n".join(
        f"• {row[2:]}" if _LINE.match(row) or _OMITTED.match(row) else row for row in rows_told
    )
    left = room - estimate(HEADER) - cost(told) - 16
    if left < 0:
        return ""
    keep: list[str] = []
    for row in reversed(rows):
        left -= cost(row)
        if left < 0:
            break
        keep.insert(0, row)
    before = earlier([Item(id="", role="summary", text=text)])
    gone = before.omitted + len(rows) - len(keep)
    first = before.first or (before.lines[0].handle if before.lines else "")
    more = [omitted(gone, first)] if gone else []
    return "\n".join([HEADER, told, *more, *keep])
