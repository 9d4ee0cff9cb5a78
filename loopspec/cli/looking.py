"""`loopspec sessions`, `explain` and `timeline`: what is there, and why it stands where it stands."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click

from loopspec.cli.options import open_store, resolve_session, store_option
from loopspec.errors import Damaged, LoopspecError, NotFound
from loopspec.stores.base import SessionRow, Store

LAST: Final = 50


@click.command()
@store_option
def sessions(store: Path | None) -> None:
    """List the sessions of the store, newest first."""
    from loopspec.drivers.world import SystemClock
    from loopspec.views.words import printable

    try:
        opened = open_store(store, readonly=True)
        rows = opened.sessions()
    except NotFound:
        rows = []
    if not rows:
        click.echo("no sessions yet; start one with: loopspec demo")
    now = SystemClock().now()
    for row in rows:
        try:
            line = _row(opened, row, now)
        except LoopspecError as err:
            line = f"{row.session:<28} damaged: {err}"
        click.echo(printable(line, 140))


def _row(opened: Store, row: SessionRow, now: int) -> str:
    """One session in a line."""
    from loopspec.drivers.lease import runs
    from loopspec.drivers.session import load_machine, read_snapshot
    from loopspec.drivers.verifying import sound
    from loopspec.machine.rest import resting
    from loopspec.views.words import duration, money

    head = opened.head(row.session)
    if head is None:
        return f"{row.session:<28} never started"
    sound(opened, head)
    snapshot = read_snapshot(head.snapshot, row.session)
    rest = resting(load_machine(opened, snapshot.machine), snapshot)
    state = snapshot.configuration[-1] if snapshot.configuration else "nowhere"
    word = "running" if runs(opened, row.session, now) else rest.reason if rest is not None else "stopped"
    cost = money(snapshot.usage.cost, snapshot.usage.unpriced)
    return (
        f"{row.session:<28} {word:<12} {state:<28} {snapshot.usage.turns:>3} turns  "
        f"{cost:>9}  {duration(max(0, now - row.updated))} ago"
    )


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
    from loopspec.drivers.session import Session
    from loopspec.drivers.verifying import looked_at
    from loopspec.drivers.world import SystemClock, redactor
    from loopspec.views.explain import explain as explained
    from loopspec.views.explain import render

    opened = open_store(store, readonly=True)
    key = resolve_session(opened, session)
    clock = SystemClock()
    loaded = Session.load(opened, key, clock, redactor(), look=True)
    start = max(0, loaded.snapshot.seq + 1 - LAST)
    refusals: list[dict[str, Any]] = []
    for note in opened.refusals(key):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # not chained: one may be damaged
            refusals.append(decode(note, dict))
    with _doubting() as doubt:
        entries = list(looked_at(opened, key, start, doubt))
        made = explained(
            loaded.machine, loaded.snapshot, entries, refusals, clock.now(), loaded.awake_now()
        )
        text = render(made).rstrip("\n")
    if form == "json":
        click.echo(json.dumps(msgspec.to_builtins(made), indent=2, ensure_ascii=False))
    else:
        click.echo(text)
        driver = runs(opened, key, clock.now())
        if driver:
            click.echo(f"\nIt is being run by {driver}.")
        elif loaded.snapshot.pending:
            click.echo(f"\nNobody is running it; go on with: loopspec resume {key}")


@click.command()
@click.argument("session")
@click.option("--last", type=click.IntRange(1, 10**9), help="Only the last N entries.")
@store_option
def timeline(session: str, last: int | None, store: Path | None) -> None:
    """Show every transition of SESSION, one line each."""
    from loopspec.drivers.session import Session
    from loopspec.drivers.verifying import looked_at
    from loopspec.drivers.world import SystemClock, redactor
    from loopspec.views.timeline import render
    from loopspec.views.timeline import timeline as lines

    opened = open_store(store, readonly=True)
    key = resolve_session(opened, session)
    loaded = Session.load(opened, key, SystemClock(), redactor(), look=True)
    with _doubting() as doubt:
        rows = looked_at(opened, key, 0, doubt)
        entries = list(rows) if last is None else list(deque(rows, maxlen=last))
        made = lines(loaded.machine, entries)
        text = render(made, start=loaded.snapshot.started).rstrip("\n")
    click.echo(text)


@contextmanager
def _doubting() -> Iterator[Callable[[Damaged], None]]:
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
