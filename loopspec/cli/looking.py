"""`loopspec sessions`, `explain` and `timeline`: what is there, and why it stands where it stands."""

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from loopspec.cli.options import open_store, resolve_session, store_option
from loopspec.errors import Damaged, LoopspecError, NotFound
from loopspec.stores.base import SessionRow, Store

if TYPE_CHECKING:
    from loopspec.drivers.session import Session

LAST: Final = 50
BEFORE: Final = 200
"""Entries before the last N that are read too: what a call is for stands where it was proposed."""
STATE: Final = 26
"""Most columns of a state in the list of sessions."""


@click.command()
@store_option
def sessions(store: Path | None) -> None:
    """List the sessions of the store, the one that moved last first (`last` is that one)."""
    from loopspec.drivers.world import SystemClock
    from loopspec.views.words import printable

    try:
        kept = open_store(store, readonly=True)
        rows = sorted(kept.sessions(), key=lambda row: -row.updated)
    except NotFound:
        rows = []
    if not rows:
        click.echo("no sessions yet; start one with: loopspec demo")
    now, width = SystemClock().now(), columns()
    longest = max((len(row.session) for row in rows), default=0)
    for row in rows:
        try:
            line = _row(kept, row, now, width, longest)
        except LoopspecError as err:
            line = f"{row.session}  damaged: {err}"
        click.echo(printable(line, width))


def _row(kept: Store, row: SessionRow, now: int, width: int, longest: int) -> str:
    """One session in a line of `width` columns: what matters least leaves first where it is narrow."""
    from loopspec.drivers.lease import runs
    from loopspec.drivers.session import load_machine, read_snapshot
    from loopspec.drivers.verifying import sound
    from loopspec.machine.rest import resting
    from loopspec.views.words import cells, money, pad, plural, printable

    name = printable(row.session, min(longest, max(12, width // 3)))
    name = pad(name, min(longest, max(12, width // 3)))
    head = kept.head(row.session)
    if head is None:
        return f"{name}  never started"
    sound(kept, head)
    snapshot = read_snapshot(head.snapshot, row.session)
    rest = resting(load_machine(kept, snapshot.machine), snapshot)
    state = snapshot.configuration[-1] if snapshot.configuration else "nowhere"
    word = "running" if runs(kept, row.session, now) else rest.reason if rest is not None else "stopped"
    usage = snapshot.usage
    facts = [
        f"{word:<11}",
        f"{plural(usage.turns, 'turn'):>9}",
        f"{money(usage.cost, usage.unpriced):>9}",
        f"{_about(now - row.updated):>7} ago",
    ]
    while len(facts) > 1 and cells(name) + sum(len(fact) + 2 for fact in facts) > width:
        facts.pop(1)
    left = width - cells(name) - sum(len(fact) + 2 for fact in facts) - 2
    if left >= 8:
        facts.insert(1, pad(printable(state, min(left, STATE)), min(left, STATE)))
    return "  ".join([name, *facts]).rstrip()


def _about(micros: int) -> str:
    """How long ago, in one unit: `3 min`."""
    from loopspec.views.words import duration

    return " ".join(duration(max(0, micros)).split()[:2])


@click.command()
@click.argument("session")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@store_option
def explain(session: str, form: str, store: Path | None) -> None:
    """Say where SESSION stands, what it waits for, and what would move it."""
    import msgspec

    from loopspec.codec import decode
    from loopspec.drivers.lease import runs
    from loopspec.drivers.verifying import looked_at
    from loopspec.views.explain import explain as explained
    from loopspec.views.explain import render

    kept, loaded = opened(session, store)
    key, clock = loaded.id, loaded.clock
    start = max(0, loaded.snapshot.seq + 1 - LAST)
    refusals: list[dict[str, Any]] = []
    for note in kept.refusals(key):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # not chained: one may be damaged
            refusals.append(decode(note, dict))
    with doubting() as doubt:
        entries = list(looked_at(kept, key, start, doubt))
        made = explained(
            loaded.machine, loaded.snapshot, entries, refusals, clock.now(), loaded.awake_now()
        )
        text = render(made).rstrip("\n")
    if form == "json":
        click.echo(json.dumps(msgspec.to_builtins(made), indent=2, ensure_ascii=False))
    else:
        click.echo(text)
        driver = runs(kept, key, clock.now())
        if driver:
            click.echo(f"\nIt is being run by {driver}.")
        elif loaded.snapshot.pending:
            click.echo(f"\nNobody is running it; go on with: loopspec resume {key}")


@click.command()
@click.argument("session")
@click.option("--last", type=click.IntRange(1, 10**9), help="Only the last N entries.")
@click.option("--full", is_flag=True, help="Whole texts: what does not fit a line goes on below it.")
@click.option(
    "--html",
    metavar="FILE",
    help="Write a page that any browser shows, offline (- writes it to standard output).",
)
@store_option
def timeline(session: str, last: int | None, full: bool, html: str | None, store: Path | None) -> None:
    """Show every entry of SESSION: what happened, by whom, and what it moved.

    With --html as a picture over time: states, calls of models and tools, waits, tokens, cost.
    """
    from loopspec.cli.drawing import write
    from loopspec.drivers.verifying import looked_at
    from loopspec.views.timeline import render
    from loopspec.views.timeline import timeline as lines

    kept, loaded = opened(session, store)
    with doubting() as doubt:
        rows = looked_at(kept, loaded.id, 0, doubt)
        if html is not None:
            from loopspec.views.timeline_html import page

            text = page(loaded.machine, loaded.snapshot, list(rows), full=full, last=last or 0)
        else:
            entries = list(rows) if last is None else list(deque(rows, maxlen=last + BEFORE))
            made = lines(loaded.machine, entries)[-last if last else 0 :]
            started = loaded.snapshot.started
            text = render(made, start=started, width=columns(), full=full).rstrip("\n")
    if html is None:
        click.echo(text)
    elif html == "-":
        click.echo(text.encode(), nl=False)
    else:
        write(html, text.encode(), "the page")


def opened(session: str, store: Path | None) -> "tuple[Store, Session]":
    """The store, and a session in it to look at; raises `NotFound`, `UsageError`, `StoreError`."""
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    kept = open_store(store, readonly=True)
    key = resolve_session(kept, session)
    return kept, Session.load(kept, key, SystemClock(), redactor(), look=True)


def columns() -> int:
    """How wide the terminal is; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


@contextmanager
def doubting() -> Iterator[Callable[[Damaged], None]]:
    """What does not hold is shown all the same, and told; it is the fault when it cannot be shown."""
    told: list[Damaged] = []
    try:
        yield told.append
    except LoopspecError:
        raise
    except Exception as err:
        if not told:
            raise
        fault = "what stands there cannot be shown"
        raise Damaged(fault, place=told[0].place, remedy=told[0].remedy) from err
    for doubt in told:
        click.echo(f"loopspec: {doubt}", err=True)
