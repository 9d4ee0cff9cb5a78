"""Session: one session's machine, snapshot and view, kept in step with its journal.

Rules of this file:
1. **Write, then act.** `accept` gives back a step only after its entry is committed.
2. Nothing secret is written: texts are redacted here, before they become events.
3. The snapshot is a cache: loading checks it against the head and the newest entry, the view is read
   when it is needed (see `view`), `verify` walks the whole chain.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from itertools import islice
from typing import Any, Protocol

import msgspec

from loopspec.codec import args_hash, decode_snapshot, digest, encode
from loopspec.context.transcript import Item
from loopspec.drivers.clean import clean
from loopspec.drivers.verifying import load_machine as load_machine
from loopspec.drivers.verifying import verified as verified
from loopspec.drivers.view import View, load_view, replaces
from loopspec.errors import Conflict, Damaged
from loopspec.events import (
    ApprovalGiven,
    Kept,
    ModelReplied,
    SessionStarted,
    Stamped,
    UserCalled,
    name_of,
)
from loopspec.governance.redact import Redactor
from loopspec.journal.chain import Row, check, check_head, make_entry, read
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import Recomputed, empty
from loopspec.machine.model import Machine
from loopspec.machine.step import REFUSED, Step, step
from loopspec.snapshot import Call, Snapshot
from loopspec.stores.base import Append, Head, Store


class Clock(Protocol):
    """The two clocks events are stamped with."""

    def now(self) -> int:
        """UTC microseconds."""

    def awake(self) -> int:
        """Microseconds this process's machine was awake since some fixed point; monotone."""


class Session:
    """A session in a store. Only one task may call `accept` at a time."""

    def __init__(
        self, store: Store, machine: Machine, snapshot: Snapshot, clock: Clock, redactor: Redactor
    ) -> None:
        """Use `create` or `load`."""
        self.store = store
        self.machine = machine
        self.snapshot = snapshot
        self.clock = clock
        self.redactor = redactor
        self.last_entry: Entry | None = None
        self.token = 0  # of the lease, while a driver holds it
        self._hash = GENESIS
        self._view: View | None = View()  # None: not read yet
        self._look = False
        self._awake_base = snapshot.awake - clock.awake()
        self._args: dict[str, str] = {}

    @property
    def id(self) -> str:
        """The session's id."""
        return self.snapshot.session

    @classmethod
    async def create(
        cls,
        store: Store,
        machine: Machine,
        session: str,
        started: SessionStarted,
        clock: Clock,
        redactor: Redactor,
    ) -> "tuple[Session, Step]":
        """Make a new session and take its first step; raises `Conflict` if the id is taken.

        One that a killed process made and never began is taken over: nothing of it was acknowledged.
        """
        try:
            await asyncio.to_thread(store.create, session, machine.name, clock.now())
        except Conflict:
            begun = await asyncio.to_thread(store.head, session) is not None
            if begun or listed_as(store, session) != machine.name:
                raise
        self = cls(store, machine, empty(session), clock, redactor)
        first = await self.accept(started, by="driver", blobs={machine.digest: encode(machine)})
        return self, first

    @classmethod
    def load(
        cls,
        store: Store,
        session: str,
        clock: Clock,
        redactor: Redactor,
        *,
        look: bool = False,
    ) -> "Session":
        """Open a session as its head says; raises `NotFound` or `Damaged`.

        The head, its snapshot and the newest entry are held against each other; what the model will see
        is read, and checked, when it is first needed. So this costs the same however long the session
        is. `look` leaves the checks out, so that a person can look at what is damaged.
        """
        head = store.head(session)
        if head is None:
            raise Damaged(
                "the session has no entries: it was made and never begun",
                place=f"session {session}",
                remedy=f"Begin it with the spec of `{listed_as(store, session)}`: "
                f"loopspec run SPEC --session {session}",
            )
        snapshot = read_snapshot(head.snapshot, session)
        self = cls(store, load_machine(store, snapshot.machine), snapshot, clock, redactor)
        if not look:
            newest = list(islice(check(store.entries(session, head.seq), session, head.seq), 2))
            last = newest[-1] if newest else None
            if last is not None and last.seq > head.seq and store.head(session) != head:
                return cls.load(store, session, clock, redactor)  # a driver has just moved it
            check_head(last, head.seq, head.hash, session)
            if last is None or last.snapshot != digest(head.snapshot):
                raise Damaged("the stored snapshot is not the head's", place=f"session {session}")
        self._view, self._hash, self._look = None, head.hash, look
        return self

    @property
    def items(self) -> tuple[Item, ...]:
        """What the model sees, read now if it was not yet; raises `Damaged`."""
        return self.view().items

    def view(self) -> View:
        """The view, read now if it was not yet; raises `Damaged`."""
        if self._view is None:
            head = Head(self.id, self.snapshot.seq, self._hash, b"")
            self._view = load_view(self.store, head, self.snapshot.compacted, look=self._look)
        return self._view

    async def accept(
        self,
        event: Kept,
        by: str,
        blobs: Mapping[str, bytes] | None = None,
        *,
        alone: bool = False,
    ) -> Step:
        """Step one event and commit its entry; refused commands go to the ring of refusals.

        `alone` says that nothing else in this process wants the thread until the entry is written.
        Raises `Conflict` when another process moved the session, `StoreError` when the entry could
        not be written: then nothing has changed and nothing may be acted upon.
        """
        stamped = Stamped(
            at=self.clock.now(),
            awake=self.awake_now(),
            by=by,
            event=clean(event, self.redactor),
        )
        if self._view is None:  # before anything is written: a damaged view must not be added to
            await asyncio.to_thread(self.view)
        made = step(self.machine, self.snapshot, stamped)
        if made.outcome == REFUSED:  # it may quote what the command names
            made = msgspec.structs.replace(made, refusal=self.redactor.text(made.refusal))
            note = {"at": stamped.at, "event": name_of(event), "by": by, "why": made.refusal}
            await asyncio.to_thread(self.store.refuse, self.id, encode(note))
            return made
        view = self.view()
        entry, item = prepared(
            self.machine,
            self.snapshot,
            made,
            stamped,
            self._hash,
            blobs or {},
            view=view,
            token=self.token,
            alone=alone,
        )
        try:
            await written(self.store.append(item))
        except Conflict as err:
            raise Conflict(
                "another process has moved this session; nothing was written here",
                place=f"session {self.id}",
                remedy="let it finish, or end it, then resume",
            ) from err
        self.snapshot, self._hash = made.snapshot, entry.hash
        view.apply(entry)
        self.last_entry = entry
        return made

    def awake_now(self) -> int:
        """The session's awake clock in microseconds, continued over restarts."""
        return max(self.snapshot.awake, self._awake_base + self.clock.awake())

    def args(self, call: Call) -> str:
        """A call's canonical JSON arguments from the journal; raises `Damaged` when they differ."""
        key = f"{call.id} {call.args_hash}"
        found = self._args.get(key)
        if found is None:
            seq = call.seq if call.edited < 0 else call.edited
            found = proposed(read(next(self.store.entries(self.id, seq, seq + 1))).event, call)
            if found is None:
                raise Damaged(f"entry {seq} does not hold call {call.id}", place=self.id)
            if args_hash(call.tool, found) != call.args_hash:
                raise Damaged(f"the arguments of call {call.id} were changed", place=self.id)
            self._args = {key: found}
        return found


def proposed(event: Kept, call: Call) -> str | None:
    """The arguments of a call as this event holds them: as the model or a person proposed them, or as
    a person changed them. None where it holds none."""
    match event:
        case ModelReplied(calls=calls) if call.edited < 0 and call.index < len(calls):
            return calls[call.index].args
        case ApprovalGiven(args=args) if args and event.call == call.id:
            return args
        case UserCalled(args=args) if call.own:
            return args
        case _:
            return None


def listed_as(store: Store, session: str) -> str:
    """The name of the spec a session was made for, as the store lists it."""
    return next((row.name for row in store.sessions() if row.session == session), "")


async def written(future: "Future[None]") -> None:
    """Wait until an entry is committed; raises what the store says."""
    if not future.done():
        await asyncio.wrap_future(future)
    future.result()


def prepared(
    machine: Machine,
    old: Snapshot,
    made: Step,
    stamped: Stamped,
    prev: str,
    blobs: Mapping[str, bytes],
    *,
    view: View,
    token: int = 0,
    alone: bool = False,
) -> tuple[Entry, Append]:
    """The sealed entry of an accepted step, and what a store has to write for it under `token`.

    `view` is the view before the step: a compaction's entry gets the index of what stays of it.
    """

    def sealed(beside: Mapping[str, bytes]) -> Row:
        return make_entry(
            old=old,
            new=made.snapshot,
            stamped=stamped,
            outcome=made.outcome,
            record=made.record,
            effects=made.effects,
            blobs=beside,
            prev=prev,
            semantics=machine.semantics,
        )

    beside = made.blobs
    row = sealed(beside)
    if replaces(row.entry):  # seldom, and only now is known what stays
        index = view.index_after(row.entry)
        beside = {**beside, digest(index): index}
        row = sealed(beside)
    return row.entry, Append(
        session=row.entry.session,
        seq=row.entry.seq,
        hash=row.entry.hash,
        entry=row.data,
        snapshot=row.snapshot,
        blobs={**beside, **blobs} if blobs else beside,
        token=token,
        alone=alone,
        at=row.entry.at,
    )


def read_snapshot(data: bytes, session: str) -> Snapshot:
    """The stored snapshot; raises `Damaged`."""
    try:
        return decode_snapshot(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise Damaged(f"the stored snapshot cannot be read: {err}", place=session) from None


def stepper(machine: Machine) -> Any:
    """`step` in the shape that `journal.fold.recompute` compares with."""

    def again(snapshot: Snapshot, stamped: Stamped) -> Recomputed:
        made = step(machine, snapshot, stamped)
        return Recomputed(made.outcome, made.snapshot, encode(made.effects), encode(made.record))

    return again
