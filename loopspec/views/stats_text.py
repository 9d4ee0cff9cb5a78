"""Stats as text: tables that fit the columns there are, numbers at the right."""

from collections.abc import Iterator, Sequence
from typing import Final

from loopspec.views.stats import Stats, Took
from loopspec.views.words import cells, duration, moment, money, pad, plural, printable, wrap

LEAST: Final = 20
_NAME: Final = 12
"""Fewest columns of a table's first column; where it would have less, columns leave from the right."""
_LONGEST: Final = 40


def render(stats: Stats, width: int) -> str:
    """All of it, in lines of at most `width` columns (at least 20), ended by a newline."""
    width = max(width, LEAST)
    lines: list[str] = []
    for block in (_head(stats), _models(stats, width), _tools(stats, width), _rest(stats)):
        made = [text for line in block for text in _fitted(line, width)]
        if made:
            lines += [*made, ""]
    lines += [text for line in _left(stats) for text in wrap(line, width, "", "  ")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _fitted(line: str, width: int) -> list[str]:
    """A line as it is if it fits, else in several."""
    indent = " " * (len(line) - len(line.lstrip(" ")))
    return [line] if cells(line) <= width else wrap(line.strip(), width, indent, f"{indent}  ")


def _head(stats: Stats) -> Iterator[str]:
    """Sessions and time."""
    total = sum(stats.sessions.values())
    since = f" since {moment(stats.since)}" if stats.since else ""
    yield f"{plural(total, 'session')}{since}"
    if not total:
        return
    yield f"  status   {_counts(stats.sessions)}"
    yield f"  loops    {_counts(stats.loops)}"
    entries = f"{stats.entries:,} {'entry' if stats.entries == 1 else 'entries'}"
    yield f"  journal  {entries}, {plural(stats.turns, 'turn')}"
    awake = f" ({100 * stats.awake // stats.wall} %)" if stats.wall else ""
    spans = f"{duration(stats.wall)} from first to newest entry, {duration(stats.awake)} awake"
    yield f"  time     {spans}{awake}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {printable(name, _LONGEST)}" for name, count in counts.items())


def _models(stats: Stats, width: int) -> Iterator[str]:
    """Tokens and money by model."""
    rows = [
        (
            name,
            f"{use.replies:,}",
            f"{use.failed:,}",
            f"{use.input_tokens:,}",
            f"{use.output_tokens:,}",
            money(use.cost, use.unpriced),
        )
        for name, use in stats.models.items()
    ]
    if not rows:
        return
    yield from _table(("model", "replies", "failed", "tokens in", "out", "cost"), rows, width)
    cost = sum(use.cost for use in stats.models.values())
    unpriced = sum(use.unpriced for use in stats.models.values())
    tail = f"; {plural(unpriced, 'call')} of unknown price" if unpriced else ""
    yield f"  in all {money(cost, unpriced)}{tail}"


def _tools(stats: Stats, width: int) -> Iterator[str]:
    """Calls by tool."""
    rows = [
        (
            name,
            f"{use.calls:,}",
            f"{use.ok:,}",
            f"{use.error:,}",
            f"{use.timeout:,}",
            f"{use.denied:,}",
            f"{use.expired + use.interrupted + use.lost:,}",
            _short(use.took.p50, use.took),
            _short(use.took.p95, use.took),
        )
        for name, use in stats.tools.items()
    ]
    if rows:
        names = ("tool", "calls", "ok", "error", "timeout", "denied", "other", "p50", "p95")
        yield from _table(names, rows, width)


def _rest(stats: Stats) -> Iterator[str]:
    """People, upkeep, crashes."""
    asked = stats.approvals
    if asked.asked or asked.granted or asked.denied:
        yield (
            f"approvals  {asked.asked:,} asked, {asked.granted:,} granted, {asked.denied:,} denied, "
            f"{asked.unanswered:,} without an answer"
        )
        if asked.took.count:
            yield f"           people took {_spread(asked.took)}"
    if stats.compactions or stats.compactions_failed:
        yield f"upkeep     {_plus(stats.compactions, 'compaction', stats.compactions_failed)}"
    if stats.rollbacks or stats.rollbacks_partial or stats.rollbacks_failed:
        part = f", {stats.rollbacks_partial:,} in part" if stats.rollbacks_partial else ""
        yield f"rollbacks  {stats.rollbacks:,} whole{part}, {stats.rollbacks_failed:,} failed"
    crashes = stats.crashes
    if crashes.lost or crashes.model_calls_again:
        yield (
            f"crashes    {plural(crashes.lost, 'act')} lost (people said: {crashes.done:,} done, "
            f"{crashes.rerun:,} run again, {crashes.abandoned:,} given up), "
            f"{plural(crashes.model_calls_again, 'model call')} made again"
        )


def _plus(count: int, one: str, failed: int) -> str:
    return plural(count, one) + (f", {failed:,} that could not be done" if failed else "")


def _spread(took: Took) -> str:
    """`3 s (p50), 2 min (p95), 1 h at most`."""
    return f"{duration(took.p50)} (p50), {duration(took.p95)} (p95), {duration(took.longest)} at most"


def _short(micros: int, took: Took) -> str:
    return duration(micros) if took.count else "-"


def _left(stats: Stats) -> Iterator[str]:
    """What was left out."""
    for left in stats.left_out:
        yield printable(f"left out: session {left.session}: {left.why}", 400)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Rows under their names. Where it is narrow, columns that hold only zeros leave first, then the
    ones at the right."""
    keep = list(range(len(names)))
    sizes = [max(cells(row[n]) for row in (names, *rows)) for n in keep]

    def room() -> int:
        return width - sum(sizes[n] + 2 for n in keep[1:])

    bare = [n for n in keep[1:] if all(row[n] in ("0", "-") for row in rows)]
    while len(keep) > 1 and room() < min(sizes[0], _NAME):
        keep.remove(bare.pop() if bare else keep[-1])
    first = min(sizes[0], max(1, room()), _LONGEST)
    for row in (names, *rows):
        cut = pad(printable(row[0], first), first)
        yield (cut + "".join(f"  {row[n]:>{sizes[n]}}" for n in keep[1:])).rstrip()
