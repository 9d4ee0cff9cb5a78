"""`loopspec replay` and `loopspec verify`: the journal proves itself."""

import json
from pathlib import Path
from typing import Any

import click

from loopspec.cli.moving import format_option, left_behind, receiving
from loopspec.cli.options import open_store, resolve_session, store_option
from loopspec.errors import Damaged, Exit, NotFound, UsageError


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
@click.argument("session", metavar="SESSION|FILE")
@format_option
@store_option
@click.pass_context
def verify(ctx: click.Context, session: str, form: str, store: Path | None) -> None:
    """Check a whole chain: every entry, every snapshot, every blob, the head.

    SESSION is one of the store; FILE is one that `loopspec export` wrote (- reads stdin).
    """
    found = _file(session, store)
    made = _verified_file(found) if found else _verified(session, store)
    if form == "json":
        click.echo(json.dumps(made, ensure_ascii=False))
    elif made["whole"]:
        what = f"session {made['session']}: {made['entries']} entries, chain whole"
        click.echo(f"{what}, head {made['head'][:16]}")
        if made["cut"] is not None:
            click.echo(left_behind(made["cut"], made["entries"] - 1))
    if not made["whole"]:
        if form == "text":
            raise Damaged(made["fault"], place=made["place"], remedy=made["remedy"])
        ctx.exit(int(Exit.VERIFY_FAILED))


def _file(given: str, store: Path | None) -> str:
    """The file that is meant, empty if a session of the store is."""
    if given == "-":
        return given
    if not Path(given).is_file():
        return ""
    try:
        opened = open_store(store, readonly=True)
    except NotFound:
        return given
    try:
        return "" if given in (row.session for row in opened.sessions()) else given
    finally:
        opened.close()


def _verified(session: str, store: Path | None) -> dict[str, Any]:
    """What walking through a session of the store gives."""
    from loopspec.drivers.verifying import NotWhole, rescue, verified

    opened = open_store(store, readonly=True)
    try:
        key = resolve_session(opened, session)
    except NotFound:
        fault = f"there is no session and no file `{session}`"
        raise NotFound(fault, remedy="see: loopspec sessions") from None
    count, head = 0, ""
    try:
        for entry in verified(opened, key):
            count, head = count + 1, entry.hash
    except NotWhole as err:
        named = err.entry if err.entry >= 0 else None
        good = err.good if err.good >= 0 else None
        whole = f"{count} entries before it are whole" if err.entry == count else f"{count} are whole"
        return {
            "session": key,
            "whole": False,
            "entries": count,
            "entry": named,
            "last_good": good,
            "rescue": rescue(key, err.good),
            "fault": f"{err.fault} ({whole})",
            "place": err.place,
            "remedy": err.remedy,
        }
    return {"session": key, "whole": True, "entries": count, "head": head, "cut": None}


def _verified_file(file: str) -> dict[str, Any]:
    """What walking through a file of JSON lines gives."""
    count = 0
    try:
        with receiving(file) as received:
            opening = received.opening
            for _ in received.entries():
                count += 1
    except Damaged as err:
        return {
            "file": file,
            "whole": False,
            "entries": count,
            "fault": err.fault,
            "place": err.place,
            "remedy": err.remedy,
        }
    cut = None if opening.cut is None else opening.cut.seq
    return {
        "session": opening.session,
        "file": file,
        "whole": True,
        "entries": count,
        "head": opening.hash,
        "cut": cut,
    }
