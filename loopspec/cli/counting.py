"""`loopspec stats`: what the sessions of a store did, counted.

Rules of this file:
1. It reads and moves nothing, and takes no lease: sessions may run beside it. Of such a session it
   counts what its head names.
2. A session that does not hold together is named and left out, and the exit code is still 0: the counts
   are right for all others.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from loopspec.cli.options import open_store, store_option
from loopspec.errors import LoopspecError, NotFound, UsageError
from loopspec.stores.base import Head, SessionRow, Store

if TYPE_CHECKING:
    from loopspec.journal.entry import Entry
    from loopspec.views.stats import Counting

VERSION: Final = 1
"""Of the JSON; raised when a name in it means something else than before."""


@click.command()
@click.option(
    "--since",
    metavar="TIME",
    help="Count only entries of the last 90s, 10m, 24h, 7d.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@store_option
def stats(since: str | None, form: str, store: Path | None) -> None:
    """Count what the sessions of the store did: tokens and cost by model, calls by tool, approvals."""
    import msgspec

    from loopspec.cli.looking import columns
    from loopspec.drivers.world import SystemClock
    from loopspec.views.stats import Counting
    from loopspec.views.stats_text import render

    now = SystemClock().now()
    counting = Counting(_begin(since, now))
    try:
        kept = open_store(store, readonly=True)
        rows = kept.sessions()
    except NotFound:
        rows = []
    for row in sorted(rows, key=lambda one: (one.created, one.session)):
        if row.updated >= counting.since:
            _count(kept, row, now, counting)
    made = counting.done()
    if form == "json":
        told = {"stats": VERSION, **msgspec.to_builtins(made)}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        click.echo(render(made, columns()), nl=False)


def _begin(since: str | None, now: int) -> int:
    """The time in UTC microseconds from which entries count; raises `UsageError`."""
    from loopspec.spec.literals import duration

    if since is None:
        return 0
    span = duration(since)
    if not span:
        raise UsageError(f"`--since {since}` is no time", remedy="write 90s, 10m, 24h or 7d")
    return max(0, now - span)


def _count(kept: Store, row: SessionRow, now: int, counting: "Counting") -> None:
    """Count one session, or note why it cannot be."""
    from loopspec.drivers.lease import runs
    from loopspec.drivers.session import load_machine, read_snapshot
    from loopspec.machine.rest import resting

    try:
        head = kept.head(row.session)
        if head is None:
            counting.add("never started", row.name, ())
            return
        snapshot = read_snapshot(head.snapshot, row.session)
        machine = load_machine(kept, snapshot.machine)
        rest = resting(machine, snapshot)
        running = runs(kept, row.session, now)
        status = "running" if running else rest.reason if rest is not None else "stopped"
        counting.add(status, machine.name, _entries(kept, head))
    except LoopspecError as err:
        counting.leave(row.session, err.fault if err.place.endswith(row.session) else str(err))


def _entries(kept: Store, head: Head) -> "Iterator[Entry]":
    """The entries up to the head, each held against the one before; raises `Damaged`."""
    from loopspec.journal.chain import check, check_head

    last = None
    for entry in check(kept.entries(head.session, 0, head.seq + 1), head.session):
        last = entry
        yield entry
    check_head(last, head.seq, head.hash, head.session)
