"""`/sessions`, `/resume`, `/fork`, `/export`, `/quit`: other sessions, and ways out of this one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from loopspec.cli.options import resolve_session
from loopspec.cli.slash.desk import Choice, Desk, Reply, joined, refused, told
from loopspec.drivers.forking import NoFork, make
from loopspec.drivers.lease import runs
from loopspec.drivers.moving import export as write
from loopspec.drivers.session import load_machine, read_snapshot
from loopspec.errors import LoopspecError
from loopspec.machine.dispatch import finished
from loopspec.machine.rest import resting
from loopspec.stores.base import SessionRow
from loopspec.views.words import duration, money, pad, plural, printable

LISTED: Final = 15
DIGITS: Final = 18
"""Of an entry's number: more than any journal needs, and few enough to be read as a number."""


def sessions(desk: Desk, given: str) -> Reply:
    """The newest sessions of this store, to go on with."""
    rows = desk.store.sessions()
    begun = sorted((r for r in rows if r.head >= 0), key=lambda r: (-r.updated, r.session))
    lines: list[str] = []
    choices: list[Choice] = []
    for row in begun[:LISTED]:
        label = _row(desk, row)
        here = row.session == desk.session.id
        lines.append(printable(("* " if here else "  ") + label, desk.room))
        if not here:
            choices.append(Choice(printable(label, desk.room), f"/resume {row.session}"))
    if len(begun) > LISTED:
        lines += desk.wrapped(f"and {len(begun) - LISTED} older: loopspec sessions")
    return joined(lines, choose=tuple(choices))


def _row(desk: Desk, row: SessionRow) -> str:
    """One session in a line; a damaged one hides no other."""
    now = desk.session.clock.now()
    ago = f"{duration(max(0, now - row.updated))} ago"
    try:
        head = desk.store.head(row.session)
        assert head is not None
        snapshot = read_snapshot(head.snapshot, row.session)
        machine = load_machine(desk.store, snapshot.machine)
        rest = resting(machine, snapshot)
        word = rest.reason if rest is not None else "stopped"
        if runs(desk.store, row.session, now):
            word = "running"
    except LoopspecError:
        return f"{pad(row.session, 26)} damaged, {ago}"
    spent = money(snapshot.usage.cost, snapshot.usage.unpriced)
    turns = plural(snapshot.usage.turns, "turn")
    return f"{pad(row.session, 26)} {pad(word, 11)} {turns}, {spent}, {ago}"


def resume(desk: Desk, given: str) -> Reply:
    """Leave this session and go on with another one."""
    if not given:
        listed = sessions(desk, "")
        if not listed.choose:
            return refused(desk, "There is no other session in this store")
        return listed
    key = resolve_session(desk.store, given)
    if key == desk.session.id:
        return told(desk, f"This is session {key}.")
    head = desk.store.head(key)
    if head is None:
        return refused(desk, f"Session {key} was never begun")
    snapshot = read_snapshot(head.snapshot, key)
    if finished(load_machine(desk.store, snapshot.machine), snapshot):
        return refused(desk, f"Session {key} has finished", f"Look at it: loopspec timeline {key}")
    by = runs(desk.store, key, desk.session.clock.now())
    if by:
        return refused(desk, f"Session {key} is being run by {by}")
    if not Path(snapshot.workdir).is_dir():
        return refused(desk, f"The work directory of {key} is gone: {snapshot.workdir}")
    if desk.session.snapshot.pending:
        return refused(desk, "This session is at work", "Interrupt it (Esc), then /resume again")
    lines = desk.wrapped(f"Leaving {desk.session.id}; it stays as it is: /resume {desk.session.id}")
    return joined(lines, open=key)


def fork(desk: Desk, given: str) -> Reply:
    """Make a session that stands where this one stands, or stood after an entry."""
    if given and not (given.isascii() and given.isdigit() and len(given) <= DIGITS):
        what = f"`{printable(given, 40)}` is no entry"
        return refused(desk, what, "Write a number: /fork 12 (/explain shows them)")
    try:
        made = make(desk.store, desk.session.id, int(given) if given else None)
    except NoFork as err:
        return _no_fork(desk, err)
    lines = desk.wrapped(
        f"Session {made.session} stands where {made.parent} stood after entry {made.seq}. Both work in "
        f"{desk.session.snapshot.workdir}: files are shared, journals are not."
    )
    choices = (
        Choice(printable(f"go on in {made.session}", desk.room), f"/resume {made.session}"),
        Choice("stay here", ""),
    )
    return joined(lines, choose=choices)


def _no_fork(desk: Desk, err: NoFork) -> Reply:
    """That entry is no place to fork at; the nearest one that is, to pick."""
    if err.nearest < 0:
        return refused(desk, f"No fork was made: {err.why}", "No entry before it can be forked at either")
    near = f"/fork {err.nearest}"
    made = refused(desk, f"No fork was made: {err.why}", f"The nearest entry before it that can: {near}")
    choices = (Choice(f"fork at entry {err.nearest}", near), Choice("no fork", ""))
    return joined(made.lines, choose=choices)


def export(desk: Desk, given: str) -> Reply:
    """Write the session as JSON lines into a new file."""
    name = given.strip().strip("\"'") or f"{desk.session.id}.jsonl"
    if "\0" in name:
        return refused(desk, "No file's name can hold a NUL", "Name another file")
    path = Path(os.path.expanduser(name)).absolute()
    if os.path.lexists(path):
        return refused(desk, f"{path} is there already", "Name another file: nothing is overwritten")
    aside = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(aside, flags, 0o600), "wb") as file:
            made = write(desk.store, desk.session.id, None, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)  # unlike a rename, it fails where somebody else was faster
    except OSError as err:
        return refused(desk, f"{path} was not written: {err.strerror or err}", "Name another file")
    finally:
        with suppress(OSError):
            aside.unlink()
    return told(desk, f"Entries 0 to {made.opening.seq} are in {path}, {made.size:,} bytes.")


def leave(desk: Desk, given: str) -> Reply:
    """Leave; the session stays resumable."""
    return Reply(leave=True)
