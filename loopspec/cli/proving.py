"""`loopspec replay` and `loopspec verify`: the journal proves itself."""

from pathlib import Path

import click

from loopspec.cli.options import open_store, resolve_session, store_option
from loopspec.errors import Damaged, Exit, UsageError


@click.command()
@click.argument("session")
@click.option("--to", "to", type=click.IntRange(min=0), help="Only up to this entry.")
@click.option("--recompute", is_flag=True, help="Run every step again and compare.")
@store_option
@click.pass_context
def replay(
    ctx: click.Context, session: str, to: int | None, recompute: bool, store: Path | None
) -> None:
    """Fold SESSION's journal and show where it stands; nothing is run and nothing is called."""
    from loopspec.drivers.session import load_machine, stepper
    from loopspec.journal import fold
    from loopspec.journal.chain import check, check_head
    from loopspec.views.timeline import render
    from loopspec.views.timeline import timeline as lines

    opened = open_store(store, readonly=True)
    key = resolve_session(opened, session)
    stop = None if to is None else to + 1
    entries = list(check(opened.entries(key, 0, stop), key))
    if not entries:
        raise UsageError(f"session {key} has no entries")
    if to is not None and entries[-1].seq < to:
        raise UsageError(f"session {key} has no entry {to}; its last is {entries[-1].seq}")
    head = opened.head(key)
    if to is None and head is not None:
        check_head(entries[-1], head.seq, head.hash, key)
    snapshot = fold.fold(key, entries)
    machine = load_machine(opened, snapshot.machine)
    click.echo(render(lines(machine, entries), start=snapshot.started).rstrip("\n"))
    where = " › ".join(snapshot.configuration) or "nowhere"
    click.echo(f"\nafter entry {snapshot.seq}: {where}")
    click.echo(f"snapshot {entries[-1].snapshot[:16]}: every prefix folds to what was recorded")
    if not recompute:
        return
    differences = list(fold.recompute(key, entries, stepper(machine)))
    for line in differences[:20]:
        click.echo(line if len(line) < 400 else line[:400] + "…")
    if differences:
        click.echo(f"recompute: {len(differences)} differences")
        ctx.exit(int(Exit.VERIFY_FAILED))
    click.echo(f"recompute: {len(entries)} steps run again, 0 differences")


@click.command()
@click.argument("session")
@store_option
def verify(session: str, store: Path | None) -> None:
    """Check SESSION's whole chain: every entry, every snapshot, every blob, the head."""
    from loopspec.drivers.session import verified

    opened = open_store(store, readonly=True)
    key = resolve_session(opened, session)
    count, head = 0, ""
    try:
        for entry in verified(opened, key):
            count, head = count + 1, entry.hash
    except Damaged as err:
        raise Damaged(
            f"{err.fault} ({count} entries before it are whole)",
            place=err.place or f"session {key}",
            remedy=f"the last good entry is {count - 1}" if count else "no entry is whole",
        ) from None
    click.echo(f"session {key}: {count} entries, chain whole, head {head[:16]}")
