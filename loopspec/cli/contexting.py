"""`loopspec context`: what the model of a session sees now, unit by unit. It reads and moves nothing."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopspec.cli.looking import columns, doubting, opened
from loopspec.cli.options import store_option
from loopspec.errors import UsageError

if TYPE_CHECKING:
    from loopspec.drivers.session import Session
    from loopspec.errors import Damaged
    from loopspec.snapshot import Snapshot
    from loopspec.stores.base import Store
    from loopspec.views.context import ContextNow


@click.command()
@click.argument("session")
@click.option("--at", type=click.IntRange(0, 10**15), metavar="SEQ", help="As it stood after entry SEQ.")
@click.option("--full", is_flag=True, help="Every unit, also the oldest of many.")
@click.option(
    "--output-format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@store_option
def context(session: str, at: int | None, full: bool, form: str, store: Path | None) -> None:
    """Show what the model of SESSION sees: how full its window is, each unit with its size and score, and
    why it stays, is shown shorter, or went.
    """
    import msgspec

    from loopspec.views.context_text import SHOWN, lines

    kept, loaded = opened(session, store)
    last = loaded.snapshot.seq
    if at is not None and at > last:
        raise UsageError(f"session {loaded.id} has entries 0 to {last}, none {at}")
    with doubting() as doubt:
        told = seen(kept, loaded, last if at is None else at, doubt)
    if form == "json":
        click.echo(json.dumps(msgspec.to_builtins(told), indent=2, ensure_ascii=False))
        return
    most = max(len(told.units), len(told.went), 1) if full else SHOWN
    for line in lines(told, columns(), most):
        click.echo(line)


def seen(
    store: "Store", session: "Session", at: int, doubt: "Callable[[Damaged], None]"
) -> "ContextNow":
    """What the model saw after entry `at`; reads the whole journal until there. Raises `Damaged`."""
    from loopspec.drivers.verifying import looked_at
    from loopspec.journal.entry import Entry
    from loopspec.journal.fold import advance, empty
    from loopspec.views.context import context_now, gathered

    snapshot: Snapshot = session.snapshot if at == session.snapshot.seq else empty(session.id)

    def walked() -> Iterator[Entry]:
        nonlocal snapshot
        for entry in islice(looked_at(store, session.id, 0, doubt), at + 1):
            if snapshot.seq < at:
                snapshot = advance(snapshot, entry)
            yield entry

    items, newest = gathered(walked())
    return context_now(session.machine, snapshot, items, newest)
