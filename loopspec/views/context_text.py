"""Context, as lines: what `loopspec context` and `/context` print. All of it is printable as it is."""

from collections.abc import Iterator
from typing import Final

from loopspec.views.context import ContextNow, SeenUnit
from loopspec.views.words import plural, printable, wrap

BAR: Final = 40
SHOWN: Final = 60
"""Units of a list that are shown unless more are wanted."""


def lines(told: ContextNow, width: int, shown: int = SHOWN) -> list[str]:
    """The lines of a view, each of at most `width` columns; of each list the newest `shown` units."""
    out = [part for text in _head(told) for part in wrap(printable(text, 4_000), width, "", "  ")]
    if told.window:
        out.insert(1, f"[{bar(told.tokens, told.window, min(BAR, width - 2))}]")
    for title, units in (("in view, oldest first", told.units), (_gone(told), told.went)):
        if units:
            out += ["", *wrap(title, width, "", "  "), *_units(units, width, shown)]
    if told.went:
        back = "What went or was shortened is had back by its handle, with the tool `context.recall`."
        out += ["", *wrap(back, width)]
    return out


def bar(part: int, whole: int, width: int) -> str:
    """A bar of `width` columns, in characters every terminal has; something is never shown as nothing."""
    full = min(width, part * width // whole) if whole > 0 else 0
    full = max(full, 1 if part > 0 else 0)
    return "#" * full + "." * (width - full)


def _head(told: ContextNow) -> Iterator[str]:
    """How full the window is, and what the newest compaction did."""
    if told.window:
        share = told.tokens * 100 // told.window
        yield (
            f"window {share} %, {told.tokens:,} of {told.window:,} tokens; pressed above "
            f"{told.compact_at:,}, compacted to {told.target:,}"
        )
    else:
        yield f"view {told.tokens:,} tokens; how large the window is, is not known"
    model = f" of {told.model} ({told.use})" if told.model else ""
    units = plural(len(told.units), "unit")
    yield f"next request{model}: {told.view:,} tokens in {units}, {told.beside:,} beside them"
    if told.scale:
        yield f"an estimated token is {told.scale / 1_000_000:.2f} reported ones"
    yield f"pinned: {', '.join(told.pins) or 'nothing'}"
    if (new := told.newest) is not None:
        rung = f" ({new.rung})" if new.rung else ""
        by = f"; the summary is by {new.written_by}" if new.written_by else ""
        yield (
            f"compacted at entry {new.entry}{rung}: {new.before:,} to {new.after:,} tokens, "
            f"{plural(new.left, 'unit')} went, {plural(new.masked, 'item')} shortened{by}"
        )
        if not new.same_plan:
            yield "scores of what went are those of the present version, which would plan otherwise"


def _gone(told: ContextNow) -> str:
    """The title of what went."""
    return f"went at entry {told.newest.entry}, oldest first" if told.newest is not None else ""


def _units(units: tuple[SeenUnit, ...], width: int, most: int) -> Iterator[str]:
    """A line for each unit, and one for its reasons; of very many the newest."""
    shown = units[-most:]
    if len(shown) < len(units):
        yield f"  … {len(units) - len(shown):,} older ones"
    for unit in shown:
        score = "pinned" if unit.score < 0 else f"{unit.score / 1_000_000:.2f}"
        handles = unit.handles[0] + (f"…{unit.handles[-1]}" if len(unit.handles) > 1 else "")
        size = f"{unit.tokens:,}" + (f" of {unit.was:,}" if unit.was else "")
        state = "" if unit.state in ("whole", "went") else f" [{unit.state}]"
        about = f"  {score:>6}  {size:>7}  {handles} {unit.what}{state}: {unit.text}"
        yield printable(about.rstrip(": "), width)
        if unit.why:
            yield printable(f"{'':>19}{'; '.join(unit.why)}", width)
