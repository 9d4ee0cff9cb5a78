"""Forking: a new session that stands where another one stood, with a journal of its own.

Rules of this file:
1. Nothing is made up: each event of the original, up to the entry forked at, is stepped again under the
   new session's name, and what comes of it must be what was recorded. So the new journal holds for
   `verify` and for `replay --recompute` because it was made like every other one.
2. Nothing is done twice. An entry is no place to fork at while an effect is pending, or while a call is
   on its way (allowed, granted, running, lost): both sessions would run it, the second under an answer
   that was given once.
3. The original is only read. It may run meanwhile; what it adds does not concern the fork.
4. The new session comes at once or not at all, and only after all of it was made.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import msgspec

from loopspec.drivers.launch import check_id, new_id
from loopspec.drivers.session import prepared
from loopspec.drivers.verifying import each, load_machine, walk
from loopspec.drivers.view import View
from loopspec.drivers.world import SystemClock
from loopspec.effects import CallModel, Cancel, CompactContext, Effect
from loopspec.errors import Conflict, Damaged, LoopspecError, UsageError
from loopspec.events import Kept, SessionStarted, Stamped
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import empty
from loopspec.machine.dispatch import finished
from loopspec.machine.model import Machine
from loopspec.machine.step import Step, step
from loopspec.snapshot import Snapshot
from loopspec.stores.base import Append, Store

ON_ITS_WAY: Final = ("allowed", "granted", "running", "lost")
"""Calls that would run, or be asked about, in both sessions."""


@dataclass(frozen=True)
class Fork:
    """A fork that was made: the new session, and the entry of the old one at which it stands."""

    session: str
    parent: str
    seq: int


class NoFork(LoopspecError):
    """An entry that cannot be forked at; `nearest` is the newest one before it that can, -1 if none."""

    def __init__(self, fault: str, *, session: str, seq: int, nearest: int) -> None:
        """Say why, and where one can fork."""
        remedy = f"fork at entry {nearest}: loopspec fork {session} --at {nearest}"
        if nearest < 0:
            remedy = "no entry before it can be forked at either: start a new session"
        super().__init__(fault, place=f"session {session}, entry {seq}", remedy=remedy)
        self.why, self.nearest = fault, nearest


def fork(store: Store, session: str, at: int | None = None, to: str | None = None) -> str:
    """Make a session that stands where `session` stood after entry `at`; gives back its id.

    `at` is the head without a value, `to` the id that the new session gets. Raises `NoFork` where an
    entry is no place to fork at, `NotWhole` for a damaged journal, `UsageError` for a sequence or an id
    that cannot be, `Conflict` when the id is taken, `StoreError`.
    """
    return make(store, session, at, to).session


def make(store: Store, session: str, at: int | None = None, to: str | None = None) -> Fork:
    """As `fork`, and tells at which entry."""
    head = store.head(session)
    if head is None:
        raise UsageError(f"session {session} has no entries, so there is nothing to fork")
    seq = head.seq if at is None else at
    if not 0 <= seq <= head.seq:
        raise UsageError(f"session {session} has no entry {seq}; its last is {head.seq}")
    first = next(walk(each(store, session, 0, 1), session, store), None)
    if first is None:
        raise Damaged("entry 0 is missing", place=f"session {session}")
    machine = load_machine(store, first[1].machine)
    name = check_id(to) if to is not None else new_id(machine)
    with tempfile.TemporaryFile() as aside:
        _replayed(store, machine, session, seq, name, aside)
        aside.seek(0)
        try:
            store.adopt(name, machine.name, SystemClock().now(), _items(aside, name))
        except Conflict:
            remedy = "choose another id for the fork"
            raise Conflict(f"there is a session `{name}` already", remedy=remedy) from None
    return Fork(name, session, seq)


def obstacle(machine: Machine, snapshot: Snapshot) -> str:
    """Why no session can be forked off here, empty if one can."""
    if snapshot.pending:
        waits = ", ".join(sorted(snapshot.pending)[:3])
        return f"an effect is pending here ({waits}), and both sessions would do it"
    calls = sorted(snapshot.calls.values(), key=lambda c: (c.seq, c.index))
    for call in calls:
        if call.status in ON_ITS_WAY:
            return (
                f"call {call.id} of `{call.tool}` is {call.status} here, and both sessions would run it"
            )
    if finished(machine, snapshot):
        return "the session has finished here, so a fork could not go on"
    return ""


def forkable(store: Store, session: str) -> Iterator[int]:
    """The entries at which a session can be forked, oldest first; raises `NotWhole`."""
    head = store.head(session)
    if head is None:
        return
    machine: Machine | None = None
    for entry, snapshot in walk(each(store, session, 0, head.seq + 1), session, store):
        machine = machine or load_machine(store, snapshot.machine)
        if not obstacle(machine, snapshot):
            yield entry.seq


# ---------------------------------------------------------------- the new journal


def _replayed(
    store: Store, machine: Machine, session: str, seq: int, name: str, aside: IO[bytes]
) -> None:
    """Step each event again under the new name, and set aside what a store has to write."""
    now, view, prev, good, why = empty(name), View(), GENESIS, -1, ""
    for entry, was in walk(each(store, session, 0, seq + 1), session, store):
        event = renamed(entry.event, session, name)
        if isinstance(event, SessionStarted):
            event = msgspec.structs.replace(event, parent=f"{session}@{seq}")
        stamped = Stamped(at=entry.at, awake=entry.awake, by=entry.by, event=event)
        made = step(machine, now, stamped)
        _agree(entry, was, made, session, name)
        sealed, item = prepared(machine, now, made, stamped, prev, {}, view=view)
        view.apply(sealed)
        now, prev = made.snapshot, sealed.hash
        why = obstacle(machine, was)
        good = good if why else entry.seq
        _put(aside, item, last=entry.seq == seq)
    if now.seq != seq:
        raise Damaged(f"entry {now.seq + 1} is missing", place=f"session {session}")
    if why:
        raise NoFork(why, session=session, seq=seq, nearest=good)


def renamed(event: Kept, old: str, new: str) -> Kept:
    """The event as the new session has it: an effect it answers or claims has the new name."""
    effect = getattr(event, "effect", "")
    if not effect:
        return event
    made: Kept = msgspec.structs.replace(event, effect=_id(effect, old, new))
    return made


def _id(effect: str, old: str, new: str) -> str:
    """An effect's id, `session:seq:n`, in the new session; another one's stays."""
    return f"{new}:{effect.removeprefix(f'{old}:')}" if effect.startswith(f"{old}:") else effect


def _agree(entry: Entry, was: Snapshot, made: Step, session: str, name: str) -> None:
    """Hold a step against what was recorded; raises `LoopspecError` when they differ.

    A text may name its session, so texts and the tokens they are estimated at are left out.
    """
    same = (
        made.outcome == entry.outcome
        and _bare(made.snapshot, name, name) == _bare(was, session, name)
        and [_effect(e, name, name) for e in made.effects]
        == [_effect(e, session, name) for e in entry.effects]
    )
    if not same:
        raise LoopspecError(
            "stepped again, the event gives something else than it gave then, so this loopspec cannot "
            "make the same journal under another name",
            place=f"session {session}, entry {entry.seq}",
            remedy=f"what differs says: loopspec replay {session} --recompute; fork before that entry, "
            "or with the loopspec that wrote it",
        )


def _bare(snapshot: Snapshot, old: str, new: str) -> Snapshot:
    """A snapshot but for what follows from the session's name."""
    pending = {
        _id(key, old, new): msgspec.structs.replace(p, effect=_effect(p.effect, old, new))
        for key, p in snapshot.pending.items()
    }
    usage = msgspec.structs.replace(snapshot.usage, context=0)
    doing = {
        path: msgspec.structs.replace(act, after=_id(act.after, old, new))
        for path, act in snapshot.activations.items()
    }
    return msgspec.structs.replace(
        snapshot, session=new, pending=pending, usage=usage, activations=doing
    )


def _effect(effect: Effect, old: str, new: str) -> Effect:
    """An effect under the new name, without the digest of a text that may hold the name."""
    made = msgspec.structs.replace(effect, id=_id(effect.id, old, new))
    if isinstance(made, CallModel):
        return msgspec.structs.replace(made, system="", after=_id(made.after, old, new))
    if isinstance(made, CompactContext):
        return msgspec.structs.replace(made, system="", target=0, context=0)
    if isinstance(made, Cancel):
        return msgspec.structs.replace(made, target=_id(made.target, old, new))
    return made


# ---------------------------------------------------------------- what is set aside


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """What a store has to write, in a file; only the last one's snapshot counts."""

    seq: int
    at: int
    hash: str
    entry: bytes
    snapshot: bytes
    blobs: dict[str, bytes]


_ROWS: Final = msgspec.msgpack.Decoder(_Row)
_PACK: Final = msgspec.msgpack.Encoder()


def _put(aside: IO[bytes], item: Append, *, last: bool) -> None:
    """Set an entry aside: no long journal is held in memory, and the store's writer waits for no step."""
    snapshot = item.snapshot if last else b""
    row = _PACK.encode(_Row(item.seq, item.at, item.hash, item.entry, snapshot, item.blobs))
    aside.write(len(row).to_bytes(8, "big") + row)


def _items(aside: IO[bytes], session: str) -> Iterator[Append]:
    """What was set aside, in order."""
    while size := aside.read(8):
        row = _ROWS.decode(aside.read(int.from_bytes(size, "big")))
        yield Append(session, row.seq, row.hash, row.entry, row.snapshot, row.blobs, at=row.at)
