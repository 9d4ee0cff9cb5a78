"""`loopspec outbox`: the work that waits for the network, in all sessions, and going on with it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from loopspec.cli.options import open_store, store_option
from loopspec.errors import Exit, LoopspecError, NotFound
from loopspec.machine.outbox import Waiting
from loopspec.stores.base import Store

MOST = 100
"""Sessions that `outbox run` goes on with at most, unless it is told."""


class Found(NamedTuple):
    """A session with work in its outbox, and whether a process runs it now."""

    session: str
    waiting: Waiting
    runs: bool


@click.group(invoke_without_command=True)
@store_option
@click.pass_context
def outbox(ctx: click.Context, store: Path | None) -> None:
    """List the work that waits for the network: session, state, tiers, since when, until when."""
    ctx.obj = store
    if ctx.invoked_subcommand is None:
        ctx.exit(listed(store))


@outbox.command()
@store_option
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=MOST,
    show_default=True,
    help="Go on with so many sessions at most.",
)
@click.pass_context
def run(ctx: click.Context, store: Path | None, limit: int) -> None:
    """Go on, one after the other, with everything that can go on now.

    Without a network only what has expired is ended. A session that another process runs is left to it.
    """
    ctx.exit(gone_on(store if store is not None else ctx.obj, limit))


def waiting_in(store: Store) -> Iterator[Found]:
    """What waits in a store, the first to expire first; sessions that cannot be read are passed over."""
    from loopspec.drivers.lease import runs
    from loopspec.drivers.session import load_machine, read_snapshot
    from loopspec.drivers.world import SystemClock
    from loopspec.machine.outbox import waiting

    now = SystemClock().now()
    found: list[Found] = []
    for row in store.sessions():
        try:
            head = store.head(row.session)
            if head is None:
                continue
            snapshot = read_snapshot(head.snapshot, row.session)
            machine = load_machine(store, snapshot.machine)
        except LoopspecError:
            continue  # `loopspec sessions` says what is wrong with it
        busy = bool(runs(store, row.session, now))
        found += (Found(row.session, one, busy) for one in waiting(machine, snapshot))
    yield from sorted(found, key=lambda one: (one.waiting.expires, one.session))


def listed(given: Path | None) -> int:
    """Print what waits, one line each; gives back the exit code."""
    from loopspec.cli.looking import columns
    from loopspec.drivers.world import SystemClock
    from loopspec.views.words import due, duration, plural, printable

    found = list(_found(given))
    if not found:
        click.echo("nothing waits for the network")
        return int(Exit.OK)
    now = SystemClock().now()
    longest = max(len(printable(one.session, 40)) for one in found)
    for one in found:
        what = one.waiting
        facts = (
            f"{printable(one.session, 40):<{longest}}",
            f"{what.state} asks {', '.join(what.tiers)}",
            f"waits for {duration(max(0, now - what.since))}",
            f"expires {due(what.expires - now)}",
            *(("runs",) if one.runs else ()),
        )
        click.echo(printable("  ".join(facts), columns()))
    many = plural(len(found), "call")
    click.echo(f"{many} in the outbox; go on with: loopspec outbox run", err=True)
    return int(Exit.OK)


def _found(given: Path | None) -> Iterator[Found]:
    """What waits in the store that is meant; nothing where there is no store yet."""
    try:
        store = open_store(given, readonly=True)
    except NotFound:
        return
    try:
        yield from waiting_in(store)
    finally:
        store.close()


def gone_on(given: Path | None, limit: int) -> int:
    """Go on with what can go on; 56 if something still waits, 1 if a session could not be run."""
    from loopspec.cli.running import again
    from loopspec.drivers.world import SystemClock
    from loopspec.performers.host_survey import look

    found = list(_found(given))
    if not found:
        click.echo("nothing waits for the network")
        return int(Exit.OK)
    network, now = asyncio.run(look()), SystemClock().now()
    ready = [one for one in found if network.up or one.waiting.expires <= now]
    names = dict.fromkeys(one.session for one in ready if not one.runs)
    if not network.up:
        click.echo(f"no network: {network.why}", err=True)
    code = Exit.OK
    for session in list(names)[:limit]:
        click.echo(f"— {session}", err=True)
        try:
            again(session, None, store=given)
        except LoopspecError as err:
            click.echo(f"{session}: {err}", err=True)
            code = Exit.FAILED
    left = list(_found(given))
    if left and code == Exit.OK:
        click.echo(f"still waiting: {len(left)}", err=True)
        code = Exit.SUSPENDED
    return int(code)
