"""Lease: one driver moves a session. The kernel's lock first, the store's lease second.

Rules of this file:
1. Whoever moves a session holds its lease, and every entry carries the token: a driver that was
   superseded cannot write, however long it slept (the store sees to that).
2. A process of this machine is judged by whether it lives, never by a clock: one that is stopped or
   hangs is not robbed, and a clock that jumps robs nobody.
3. A process that cannot be seen from here (another machine, another container) loses the lease when
   its signs of life have stopped: the last one is old, and no new one comes while we look.
4. No effect starts unless the lease was ours less than `Timing.expiry` ago, by a clock that counts
   sleep too.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from loopspec.codec import decode, encode
from loopspec.drivers import lock
from loopspec.drivers.process import Holder, Sight, ourselves, same_process, sight
from loopspec.drivers.session import Clock, written
from loopspec.errors import Conflict, LoopspecError, StoreError
from loopspec.stores.base import Lease, Store
from loopspec.views.words import duration, moment, printable

SECOND: Final = 1_000_000
# The runs of this process that hold a lease: after a failed release, it must not stand in its own way.
_HELD: Final[set[str]] = set()


@dataclass(frozen=True)
class Timing:
    """How often a holder gives a sign of life and when it is given up, in seconds.

    `watch` is how long somebody who cannot see the holder looks for another sign before taking over:
    it outlives two beats, so that clocks that differ rob nobody.
    """

    beat: float = 5.0
    expiry: float = 30.0
    watch: float = 12.0


def boottime() -> float:
    """Seconds since boot, those asleep included (where the system can tell)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Tenure:
    """A driver's hold on one session, from `take` to `free`. `token` is what its entries carry."""

    def __init__(
        self,
        store: Store,
        session: str,
        clock: Clock,
        *,
        us: Holder | None = None,
        locks: Path | None = None,
        timing: Timing | None = None,
        elapsed: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` stamps the signs of life. The rest are seams: who we are, where the kernel's locks
        are (the store's directory), the timing, the clock that counts sleep, and how to wait."""
        self.token = 0
        self._store = store
        self._session = session
        self._clock = clock
        self._us = msgspec.structs.replace(us or ourselves(), run=uuid.uuid4().hex)
        self._lock = lock.SessionLock(locks if locks is not None else store.directory, session)
        self._timing = timing if timing is not None else Timing()
        self._elapsed = elapsed
        self._sleep = sleep
        self._known = 0.0

    # ------------------------------------------------------------ taking and giving back

    async def take(self, say: Callable[[str], None] = lambda _: None) -> int:
        """Take the session; gives back the token. `say` hears why it takes long, if it does.

        Raises `LoopspecError` saying who runs it and what to do, `StoreError` when it cannot be taken.
        """
        try:
            self._lock.take()
        except lock.Busy as busy:
            found = self._store.lease(self._session)
            holder = read_holder(found.holder)
            if holder is None or str(holder.pid) != busy.pid:
                raise  # it holds the kernel's lock, and has not got to the lease yet
            raise self._refused(found, holder, sight(holder, self._us)) from None
        try:
            self.token = await self._acquire(say)
        except BaseException:
            self._lock.free()
            raise
        _HELD.add(self._us.run)
        return self.token

    async def _acquire(self, say: Callable[[str], None]) -> int:
        """Take the lease from nobody, from a dead process, or from one that gave no sign of life."""
        while True:
            found = self._store.lease(self._session)
            holder = read_holder(found.holder)
            if found.holder and not self._gone(found, holder):
                await self._watch(found, holder, say)
            asked, us = self._elapsed(), encode(self._us).decode()
            now = self._clock.now()
            try:
                token = await asyncio.to_thread(
                    self._store.acquire, self._session, us, now, found.token
                )
            except Conflict:
                continue  # somebody was faster; look who it is
            self._known = asked
            return token

    def _gone(self, found: Lease, holder: Holder | None) -> bool:
        """Whether the holder is known not to run any more; raises `LoopspecError` if it does run."""
        if holder is None:
            return False
        if same_process(holder, self._us):
            seen = Sight.ALIVE if holder.run in _HELD else Sight.DEAD
        else:
            seen = sight(holder, self._us)
        if seen in (Sight.ALIVE, Sight.STOPPED):
            raise self._refused(found, holder, seen)
        return seen is Sight.DEAD

    async def _watch(
        self, found: Lease, holder: Holder | None, say: Callable[[str], None]
    ) -> None:
        """Look whether a holder we cannot see gives a sign of life; raises `LoopspecError` if so."""
        age = self._clock.now() - found.beat
        if abs(age) <= self._timing.expiry * SECOND:
            raise self._refused(found, holder, Sight.HIDDEN)
        say(
            f"{who(holder, self._us)} has run it; its last sign of life is {_ago(age)}. "
            f"Looking for {self._timing.watch:g} s whether another one comes"
        )
        await self._sleep(self._timing.watch)
        later = self._store.lease(self._session)
        if later != found and later.holder:
            raise self._refused(later, read_holder(later.holder), Sight.HIDDEN)

    def free(self) -> None:
        """Give it back. A store that fails keeps the lease; it is void once this process has ended."""
        _HELD.discard(self._us.run)
        token, self.token = self.token, 0
        try:
            with contextlib.suppress(LoopspecError):
                self._store.release(self._session, token)
        finally:
            self._lock.free()

    # ------------------------------------------------------------ keeping

    async def keep(
        self, lost: Callable[[LoopspecError], None], wake: Callable[[], None] = lambda: None
    ) -> None:
        """Give signs of life until cancelled; `lost` hears when the lease has passed on.

        `wake` is called at every beat: asyncio's timeouts stand still while the machine sleeps and know
        nothing of a clock that was set, so this is when a driver notices that a timer is due.
        """
        while True:
            # At whole multiples, so that all sessions of a process beat in one commit.
            await self._sleep(self._timing.beat - self._elapsed() % self._timing.beat)
            wake()
            try:
                await self._beat()
            except Conflict as err:
                lost(err)
                return
            except StoreError:
                continue  # a full disk may have room again; `sure` judges when that took too long

    async def sure(self, lost: Callable[[LoopspecError], None]) -> bool:
        """Whether the lease is ours, so that an effect may start; if not, `lost` hears why.

        Costs a look at a clock, unless no sign of life could be given for too long: then one is given
        now, and a store that cannot take it means no.
        """
        if self._elapsed() - self._known > self._timing.expiry:
            try:
                await self._beat()
            except StoreError as err:
                lost(err)
                return False
        return True

    async def _beat(self) -> None:
        """Give one sign of life."""
        asked = self._elapsed()
        try:
            await written(self._store.beat(self._session, self.token, self._clock.now()))
        except Conflict as err:
            raise self._lost() from err
        self._known = asked

    # ------------------------------------------------------------ what a person reads

    def _refused(self, found: Lease, holder: Holder | None, seen: Sight) -> LoopspecError:
        """Somebody else runs it."""
        age = self._clock.now() - found.beat
        told = f"its last sign of life was {_ago(age)}"
        remedy = "let it finish or end it, then resume"
        late = age > self._timing.expiry * SECOND
        if seen is Sight.STOPPED:
            told += "; it is stopped, not dead"
            remedy = f"let it go on (kill -CONT {holder.pid if holder else ''}) or end it, then resume"
        elif seen is Sight.ALIVE and late:
            told += "; it hangs, or the clock has jumped, but it lives"
        elif seen is Sight.HIDDEN:
            wait = f"{self._timing.expiry:g} s"
            remedy = f"let it finish; if it is gone, resume {wait} after its last sign of life"
        return LoopspecError(
            f"it has been run by {who(holder, self._us)} since {moment(found.since)}; {told}",
            place=f"session {self._session}",
            remedy=remedy,
        )

    def _lost(self) -> Conflict:
        """Somebody took it over while we slept."""
        by = ""
        with contextlib.suppress(LoopspecError):
            found = self._store.lease(self._session)
            by = f" by {who(read_holder(found.holder), self._us)}" if found.holder else ""
        return Conflict(
            f"it was taken over{by} while this process gave no sign of life; nothing was done here since",
            place=f"session {self._session}",
            remedy="let the other one finish, or end it, then resume",
        )


def read_holder(text: str) -> Holder | None:
    """What a holder said of itself, None if that cannot be read."""
    try:
        return decode(text.encode(), Holder)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def who(holder: Holder | None, us: Holder) -> str:
    """A holder in words, as `us` sees it: with its host when it is not seen from here."""
    if holder is None:
        return "somebody unknown"
    here = (holder.pid_space, holder.boot) == (us.pid_space, us.boot)
    return f"process {holder.pid}" + ("" if here else f" on {printable(holder.host, 60)}")


def runs(store: Store, session: str, now: int) -> str:
    """Who drives a session at `now` (UTC µs), in words, empty if nobody does."""
    found = store.lease(session)
    holder = read_holder(found.holder)
    if holder is None:
        pid = lock.holder(store.directory, session)
        return f"process {pid}" if pid else ""
    us = ourselves()
    seen = sight(holder, us)
    age = now - found.beat
    if seen is Sight.DEAD or (seen is Sight.HIDDEN and abs(age) > Timing().expiry * SECOND):
        return ""
    state = ", stopped" if seen is Sight.STOPPED else ""
    return f"{who(holder, us)} since {moment(found.since)}{state} (last sign of life {_ago(age)})"


def _ago(age: int) -> str:
    """Microseconds as `3 s ago`; a clock that disagrees shows."""
    return f"{duration(age)} ago" if age >= 0 else f"{duration(-age)} ahead of this machine's clock"
