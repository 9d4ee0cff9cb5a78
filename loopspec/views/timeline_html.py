"""Timeline page: a session as one HTML file that fetches nothing and runs without a script.

Rules of this file:
1. Nothing from outside becomes markup: every text passes `escape`, and was made printable before.
2. The page's policy forbids all but its own style and its own script, each named by its hash.
3. The page is bounded: the list holds the first and the newest entries and says what it left out; the
   picture above it covers all of them.
4. Texts of messages stand in it shortened, unless all of them are asked for.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from loopspec.events import EffectAnswered, Kept, ModelReplied, ToolAnswered, UserMessage
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.snapshot import Snapshot
from loopspec.views.timeline import Line, timeline
from loopspec.views.timeline_chart import Chart, chart
from loopspec.views.timeline_look import SCRIPT, STYLE
from loopspec.views.timeline_svg import drawn, escape
from loopspec.views.waits import waits
from loopspec.views.words import duration, moment, money, plural, printable

FIRST: Final = 200
"""Entries of the list from the session's beginning."""
NEWEST: Final = 1_800
"""Entries of the list from its end."""
WHOLE: Final = 8_000
"""Characters of one text with `full`."""
_NAME: Final = 200
_SENTENCE: Final = 400


def page(
    machine: Machine, snapshot: Snapshot, entries: Sequence[Entry], *, full: bool = False, last: int = 0
) -> str:
    """The page of a session, ended by a newline. The same journal gives the same page.

    `snapshot` is where it stands, `entries` are all it has, oldest first. `full` puts whole texts
    behind what is shortened; `last` lists only so many of the newest entries (0: as many as fit).
    """
    made = chart(machine, entries)
    lines = timeline(machine, entries)
    shown, left = _listed(lines, last)
    title = printable(f"{snapshot.session}: {machine.name} {machine.version}", _NAME)
    _, sentence = waits(machine, snapshot, snapshot.at, snapshot.awake)
    stands = printable(sentence.replace(", for 0 ms", ""), _SENTENCE)
    says = f"{counted(len(lines))}, {duration(made.end - made.start)}."
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        *_head(title),
        "<body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="stands">{escape(stands)}</p>',
        *_facts(made, snapshot, len(entries)),
        '<div class="scroll" tabindex="0" role="region" aria-label="The session over time">',
        drawn(made, {line.seq for line in shown}, title, f"{says} {stands}.").rstrip("\n"),
        "</div>",
        *_legend(made),
        *_list(shown, left, made.start, {e.seq: e.event for e in entries} if full else {}),
        f"<script>{SCRIPT}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _listed(lines: Sequence[Line], last: int) -> tuple[list[Line], int]:
    """The lines that are listed, and how many were left out between them."""
    if last:
        lines = lines[-last:]
    if len(lines) <= FIRST + NEWEST:
        return list(lines), 0
    return [*lines[:FIRST], *lines[-NEWEST:]], len(lines) - FIRST - NEWEST


def counted(entries: int) -> str:
    """`1 entry`, `2 entries`."""
    return f"{entries:,} entry" if entries == 1 else f"{entries:,} entries"


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _head(title: str) -> Iterator[str]:
    policy = (
        f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"


def _facts(made: Chart, snapshot: Snapshot, entries: int) -> Iterator[str]:
    """The session in a few numbers."""
    usage = snapshot.usage
    facts = (
        ("began", moment(made.start)),
        ("took", duration(made.end - made.start)),
        ("awake", duration(snapshot.awake)),
        ("entries", f"{entries:,}"),
        ("turns", f"{usage.turns:,}"),
        ("tool calls", f"{usage.calls:,}"),
        ("tokens", f"{usage.input_tokens:,} in, {usage.output_tokens:,} out"),
        ("cost", money(usage.cost, usage.unpriced)),
    )
    yield '<dl class="facts">'
    yield from (f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    yield "</dl>"


_LEGEND: Final = (
    ("model", "asks a model"),
    ("decision", "decides"),
    ("tools", "runs tools"),
    ("person", "waits for a person"),
    ("upkeep", "compacts, rolls back"),
    ("plugin", "a plugin's work"),
    ("away", "asleep, or nobody ran it"),
    ("good", "finished"),
    ("bad", "failed"),
)


def _legend(made: Chart) -> Iterator[str]:
    """What the colours that are there mean."""
    rows = (*made.states, *made.models, *made.tools, *made.waits)
    there = {span.look for row in rows for span in row.spans} | {mark.look for mark in made.marks}
    found = [(look, words) for look, words in _LEGEND if look in there]
    if found:
        yield '<ul class="legend">'
        for look, words in found:
            shape = f'<rect class="bar {look}" width="12" height="12" rx="2"/>'
            yield f'<li><svg width="12" height="12" aria-hidden="true">{shape}</svg> {words}</li>'
        yield "</ul>"


def _list(lines: Sequence[Line], left: int, start: int, events: dict[int, Kept]) -> Iterator[str]:
    """Every listed entry, and the box that filters them (which only a script can)."""
    yield '<p class="filter" hidden>'
    yield '<label>Filter <input type="search" id="filter" autocomplete="off"></label>'
    yield '<output id="count" for="filter"></output></p>'
    yield '<table id="entries">'
    yield "<caption>Entries</caption>"
    yield "<thead><tr><th>entry</th><th>at</th><th>event</th><th>by</th><th>what it did</th></tr></thead>"
    yield "<tbody>"
    for n, line in enumerate(lines):
        if left and n == FIRST:
            yield f'<tr class="left"><td colspan="5">{counted(left)} left out here</td></tr>'
        yield _entry(line, start, events.get(line.seq))
    yield "</tbody>"
    yield "</table>"


def _entry(line: Line, start: int, event: Kept | None) -> str:
    """One entry as a row of the table."""
    moved = ", ".join(line.moves) or line.outcome
    did = f'<span class="{"moved" if line.moves else "noted"}">{escape(moved)}</span>'
    if line.detail:
        did += f" {escape(line.detail)}"
    did += "".join(f' <q class="says">{escape(text)}</q>' for text in line.says)
    whole = _whole(event) if event is not None else ""
    if whole:
        did += f"<details><summary>whole text</summary><pre>{escape(whole)}</pre></details>"
    return (
        f'<tr id="e{line.seq}"><td>{line.seq}</td><td>{_offset(line.at - start)}</td>'
        f"<td>{escape(line.event)}</td><td>{escape(line.by)}</td><td>{did}</td></tr>"
    )


def _offset(micros: int) -> str:
    """Since the beginning, with milliseconds while that tells something."""
    if 0 <= micros < 60_000_000:
        return f"{micros // 1_000_000}.{micros % 1_000_000 // 1000:03d} s"
    return duration(micros) if micros >= 0 else f"-{duration(-micros)}"


def _whole(event: Kept) -> str:
    """All of an event's text, line by line and printable, up to `WHOLE` characters."""
    if isinstance(event, UserMessage):
        text = event.text
    elif isinstance(event, ModelReplied):
        text = "\n".join((event.text, *(f"{call.tool} {call.args}" for call in event.calls))).strip("\n")
    elif isinstance(event, ToolAnswered):
        text = event.output
    elif isinstance(event, EffectAnswered):
        text = event.data
    else:
        text = ""
    cut = text[:WHOLE].expandtabs(4)
    lines = [printable(line, 4 * WHOLE) for line in cut.split("\n")]
    more = len(text) - WHOLE
    return "\n".join(lines) + (f"\n… and {plural(more, 'character')} more" if more > 0 else "")
