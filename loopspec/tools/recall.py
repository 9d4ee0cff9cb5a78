"""`context.recall`: the whole of what a compaction has shortened or left out, page by page.

Rules of this file:
1. Only items of this session's own journal, by their handles; nothing else of the store can be named.
2. An answer is bounded: a page of lines, long ones broken, with the way to the next page.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from loopspec.errors import LoopspecError
from loopspec.hooks import Tool, ToolContext, ToolFailed

LINES: Final = 200
MOST: Final = 1_000
WIDTH: Final = 500
"""Longer lines are broken: a result that is one line of JSON could not be paged otherwise."""
ROOM: Final = 16_000
"""The most characters of a page, about four thousand tokens: a recall must not fill what was freed."""
AROUND: Final = 2
"""Lines shown before and after a line that was looked for."""


async def _recall(ctx: ToolContext, args: dict[str, Any]) -> str:
    return await asyncio.to_thread(_read, ctx, args)  # the whole of an output may be many megabytes


def _read(ctx: ToolContext, args: dict[str, Any]) -> str:
    """Read an item and choose what is shown of it."""
    handle = args["handle"].strip().strip("[]`")
    try:
        text = ctx.recall(handle)
    except LoopspecError as err:
        raise ToolFailed(str(err)) from None
    wanted = args.get("find", "")
    rows = list(_rows(text))
    if wanted:
        held = [
            _holds(row, more, wanted) for row, more in zip(rows, _going_on(text, wanted), strict=True)
        ]
        return _found(handle, rows, held, wanted, args.get("from", 1))
    return _page(handle, rows, args.get("from", 1), args.get("lines", LINES))


def _rows(text: str) -> Iterator[str]:
    """The lines of a text, those too long in several."""
    for line in text.split("\n"):
        for start in range(0, max(1, len(line)), WIDTH):
            yield line[start : start + WIDTH]


def _going_on(text: str, wanted: str) -> Iterator[str]:
    """For each of the rows, as much of what its line goes on with as a text may reach into."""
    for line in text.split("\n"):
        for start in range(0, max(1, len(line)), WIDTH):
            yield line[start + WIDTH : start + WIDTH + len(wanted) - 1]


def _holds(row: str, more: str, wanted: str) -> bool:
    """Whether a text begins in a row, whatever the case of its letters."""
    return wanted.casefold() in (row + more).casefold()


def _page(handle: str, rows: list[str], start: int, count: int) -> str:
    """So many lines from `start` (the first is 1) on, as far as there is room."""
    total = len(rows)
    if start > total:
        raise ToolFailed(f"`{handle}` has {total} lines; `from` may be 1 to {total}")
    shown: list[str] = []
    room = ROOM
    for row in rows[start - 1 : start - 1 + count]:
        room -= len(row) + 1
        if room < 0 and shown:
            break
        shown.append(row)
    end = start - 1 + len(shown)
    more = f"; go on with from: {end + 1}" if end < total else ""
    return "\n".join([f"[{handle}: lines {start} to {end} of {total}{more}]", *shown])


def _found(handle: str, rows: list[str], held: list[bool], wanted: str, start: int) -> str:
    """The lines that hold a text, from line `start` on, each with its number and its neighbours."""
    hits = [n for n, holds in enumerate(held) if holds and n >= start - 1]
    if not hits:
        where = f" from line {start} on" if start > 1 else ""
        raise ToolFailed(f"`{wanted}` is in none of the {len(rows)} lines of `{handle}`{where}")
    shown: list[str] = []
    room, last, seen = ROOM, -1, 0
    for hit in hits:
        near = range(max(last + 1, hit - AROUND), min(len(rows), hit + AROUND + 1))
        block = [f"{n + 1}: {rows[n]}" for n in near]
        room -= sum(len(row) + 1 for row in block)
        if room < 0 and shown:
            break
        if last >= 0 and near.start > last + 1:
            shown.append("…")
        shown += block
        last, seen = max(last, near.stop - 1), seen + 1
    more = f"; go on with from: {hits[seen] + 1}" if seen < len(hits) else ""
    return "\n".join([f"[{handle}: {len(hits)} of {len(rows)} lines hold `{wanted}`{more}]", *shown])


RECALL: Final = Tool(
    name="context.recall",
    description=(
        "Give back the whole of an earlier message or result that was shortened or left out to make "
        "room. `handle` is the id that stands there, such as 12.0. Long ones come in pages: `from` is "
        "the first line, `lines` how many; or `find` a text in it."
    ),
    parameters={
        "type": "object",
        "properties": {
            "handle": {"type": "string", "minLength": 1, "maxLength": 40},
            "from": {"type": "integer", "minimum": 1, "maximum": 100_000_000},
            "lines": {"type": "integer", "minimum": 1, "maximum": MOST},
            "find": {"type": "string", "minLength": 1, "maxLength": 200},
        },
        "required": ["handle"],
        "additionalProperties": False,
    },
    run=_recall,
    effect="read",
    after_crash="rerun",
    total=60.0,
)
