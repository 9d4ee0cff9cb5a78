"""`loopspec export`, `import` and `backup`: sessions leave a store and come into another.

Rules of this file:
1. A file or a directory appears whole or not at all; what stands there already is not lost to a failure.
2. What is moved is private: files 0600, directories 0700.
"""

import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import click

from loopspec.cli.options import open_store, resolve_session, store_option, store_path
from loopspec.errors import Damaged, Exit, LoopspecError, UsageError

CHUNK: Final = 1024 * 1024

format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.command()
@click.argument("session")
@click.option("--upto", type=click.IntRange(min=0), help="Only entries 0 to this one.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE. Default: - (stdout).")
@store_option
def export(session: str, upto: int | None, output: str, store: Path | None) -> None:
    """Write SESSION as JSON lines: its entries, and the blobs they rest on.

    Only what is whole is written. From a damaged session, --upto saves what comes before the damage;
    `loopspec verify SESSION` says how far that is.
    """
    from loopspec.drivers.moving import export as write

    opened = open_store(store, readonly=True)
    key = resolve_session(opened, session)
    with writing(output) as file:
        made = write(opened, key, upto, file)
    if output == "-":
        return
    line = f"session {key}: entries 0 to {made.opening.seq} in {output}, {made.size:,} bytes"
    click.echo(line)
    if made.opening.cut is not None:
        click.echo(left_behind(made.opening.cut.seq, made.opening.seq))


def left_behind(last: int, seq: int) -> str:
    """What a cut means, in a line."""
    after = f"the journal went on to entry {last}" if last > seq else "the journal's head is another"
    return f"cut after entry {seq}: {after}; resuming it may do again what was done since"


@click.command(name="import")
@click.argument("file", metavar="FILE")
@format_option
@store_option
def import_(file: str, form: str, store: Path | None) -> None:
    """Make a session out of FILE, which `loopspec export` wrote (- reads stdin).

    Everything in it is checked before anything is written. A session is a program: resuming it does
    what it has pending, so import only what you would run.
    """
    from loopspec.drivers.moving import bring_in

    with receiving(file) as received:
        count = sum(1 for _ in received.entries())
        opened = open_store(store)
        try:
            bring_in(opened, received)
        finally:
            opened.close()
    opening = received.opening
    if form == "json":
        found = {"session": opening.session, "entries": count, "head": opening.hash}
        click.echo(json.dumps({**found, "cut": opening.cut is not None}))
        return
    click.echo(f"session {opening.session}: {count} entries, chain whole, head {opening.hash[:16]}")
    if opening.cut is not None:
        click.echo(left_behind(opening.cut.seq, opening.seq))


@contextmanager
def receiving(file: str) -> Iterator[Any]:
    """A file of JSON lines to be read; raises `Damaged` or `UsageError`."""
    from loopspec.drivers.moving import Received, lines_of

    with opened_for_reading(file) as source:
        received = Received(lines_of(source), "stdin" if file == "-" else file)
        try:
            yield received
        finally:
            received.close()


@contextmanager
def opened_for_reading(file: str) -> Iterator[IO[bytes]]:
    """A file's bytes, or what comes on standard input; raises `UsageError`."""
    if file == "-":
        if sys.stdin is None:
            raise UsageError("there is no standard input", remedy="name a file")
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or str(err)
        raise UsageError(f"it cannot be read: {why}", place=file) from None
    with source:
        yield source


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@format_option
@store_option
@click.pass_context
def backup(ctx: click.Context, target: Path, form: str, store: Path | None) -> None:
    """Copy the whole store into the new directory DIR, while its sessions may run.

    The copy is a store: use it with --store DIR. Every session in it is verified. A store whose log is
    damaged is copied up to the damage.
    """
    from loopspec.cli.signals import as_interrupt
    from loopspec.drivers.backup import back_up
    from loopspec.stores.sqlite import SqliteStore

    as_interrupt()
    path, damage = store_path(store), ""
    try:
        opened = SqliteStore(path, readonly=True)
    except Damaged as err:
        opened, damage = SqliteStore(path, readonly=True, salvage=True), str(err)
    try:
        made = back_up(opened, target)
    finally:
        opened.close()
    if form == "json":
        found = {
            "directory": str(target),
            "sessions": made.sessions,
            "damaged": {key: str(fault) for key, fault in made.damaged.items()},
            "log": damage,
            "files": made.files,
            "unread": made.unread,
        }
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        whole = len(made.sessions) - len(made.damaged)
        points = f"{_count(made.files, 'file')} of rollback points"
        click.echo(f"{target}: {_count(whole, 'session')} whole, {points}")
        for file in made.unread:
            click.echo(f"not copied, it cannot be read: {file}", err=True)
        if damage:
            click.echo(f"copied up to the damage: {damage}", err=True)
        for fault in made.damaged.values():
            click.echo(f"copied as it is: {fault}", err=True)
    if made.damaged or damage:
        ctx.exit(int(Exit.VERIFY_FAILED))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


# ---------------------------------------------------------------- writing a file


@contextmanager
def writing(output: str) -> Iterator[IO[bytes]]:
    """A file that appears in its place, 0600 and synced, once the block is left without a fault.

    `-` is standard output; what is no file (a pipe, a device) is written to and never replaced. There,
    too, nothing is written before all is there. Raises `LoopspecError`.
    """
    try:
        path = None if output == "-" else Path(output).resolve()
        if path is None or (path.exists() and not path.is_file()):
            with tempfile.TemporaryFile() as aside:
                yield aside
                aside.seek(0)
                _pour(aside, path)
            return
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with open(os.open(temporary, flags, stat.S_IRUSR | stat.S_IWUSR), "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except BrokenPipeError:
        raise
    except (OSError, ValueError, RuntimeError) as err:
        why = getattr(err, "strerror", None) or str(err)
        remedy = "name a file in a folder that exists, that you may write to and that has room"
        raise LoopspecError(f"the file was not written: {why}", place=output, remedy=remedy) from err


def _pour(aside: IO[bytes], path: Path | None) -> None:
    """Write what was set aside to standard output, or to what `path` is."""
    if path is not None:
        with open(path, "wb") as target:
            shutil.copyfileobj(aside, target, CHUNK)
    elif sys.stdout is not None:
        shutil.copyfileobj(aside, sys.stdout.buffer, CHUNK)
        sys.stdout.flush()
