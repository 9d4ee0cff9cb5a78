"""`loopspec fork`: a new session that stands where another one stood."""

import json
from pathlib import Path

import click

from loopspec.cli.moving import format_option
from loopspec.cli.options import open_store, resolve_session, store_option


@click.command()
@click.argument("session", metavar="ID")
@click.option("--at", type=click.IntRange(min=0), metavar="SEQ", help="The entry. Default: the newest.")
@click.option("--session", "to", metavar="NEW", help="The new session's id. Default: made up.")
@format_option
@store_option
def fork(session: str, at: int | None, to: str | None, form: str, store: Path | None) -> None:
    """Make a session that stands where ID stood after entry SEQ, with a journal of its own.

    ID is only read and may run meanwhile. Where an effect is pending or a call is on its way, a fork
    would do it a second time: such an entry is refused, and the nearest earlier one named. The two
    sessions share the work directory, and the files in it stay as they are.
    """
    from loopspec.drivers.forking import make

    opened = open_store(store)
    try:
        made = make(opened, resolve_session(opened, session), at, to)
    finally:
        opened.close()
    if form == "json":
        found = {"session": made.session, "parent": made.parent, "entry": made.seq}
        click.echo(json.dumps(found))
        return
    click.echo(f"session {made.session} stands where {made.parent} stood after entry {made.seq}")
    click.echo(f"go on with: loopspec resume {made.session}")
