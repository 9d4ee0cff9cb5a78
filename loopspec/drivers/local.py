"""Local driver: runs one session with asyncio on this machine.

Rules of this file:
1. **Write, then act.** An effect starts only from a step whose entry is committed.
2. **Claim before the irreversible.** `effect.claimed` is committed before such an effect starts.
3. First run, retry and recovery enter by one door: what is pending in the snapshot is started.
4. One task moves the session; performers only hand in events.
5. Nothing is looked at, moved or started without the session's lease (see `lease`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeAlias

from loopspec.drivers.answers import checked
from loopspec.drivers.crew import Crew, in_words
from loopspec.drivers.door import Door
from loopspec.drivers.lease import Tenure
from loopspec.drivers.mailbox import Mailbox, Told, turn_away
from loopspec.drivers.observing import Watchers, wanted
from loopspec.drivers.recovery import decide_recovery, needs_claim
from loopspec.drivers.session import Session
from loopspec.drivers.world import LocalWorld
from loopspec.effects import Cancel, Effect
from loopspec.errors import LoopspecError
from loopspec.events import (
    EffectCancelled,
    EffectClaimed,
    EffectFailed,
    EffectLost,
    EffectStarted,
    Kept,
    Live,
    Progress,
    TimerFired,
)
from loopspec.machine.draft import effect_order
from loopspec.machine.rest import Rest, resting
from loopspec.machine.step import REFUSED, Step
from loopspec.registry import Registry

CANCEL_GRACE: Final = 10.0
CLOSED: Final = ("finished", "failed", "stuck")
OVER: Final = "the run has ended"
Events: TypeAlias = Iterable[tuple[Kept, str]]
_RUNNING: Final["set[LocalDriver]"] = set()
First: TypeAlias = Events | Callable[[Session], Events]


class LocalDriver:
    """Runs a session until it rests and nobody has anything more to say."""

    def __init__(
        self, session: Session, registry: Registry, door: Door, tenure: Tenure | None = None
    ) -> None:
        """`registry` brings performers and tools, `door` shows and asks; `tenure` is a test's seam."""
        self.session = session
        self._crew = Crew(registry, session.machine)
        self._door = door
        self._watchers = Watchers(wanted(registry), self._watch)
        self._world = LocalWorld(session, registry.tools, self._watch, door.people)
        self._tenure = tenure or Tenure(session.store, session.id, session.clock)
        self._box: Mailbox[Told] = Mailbox()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._side: set[asyncio.Task[Any]] = set()
        self._asking: asyncio.Task[Kept | None] | None = None
        self._asked: Rest | None = None
        self._silent = False  # the open question ended without a word
        self._stop: asyncio.Future[Rest] = asyncio.get_running_loop().create_future()
        self._ended = False
        self.recovering = False

    # ------------------------------------------------------------ outside calls

    async def tell(self, event: Kept, by: str = "person") -> Step:
        """Hand in an event and wait until it is committed or refused.

        Raises `LoopspecError` when the run ends before that.
        """
        if self._ended:
            raise LoopspecError(OVER)
        done: asyncio.Future[Step] = asyncio.get_running_loop().create_future()
        self._box.put((event, by, done))
        return await done

    def stop(self, rest: Rest) -> None:
        """Leave the loop as soon as possible; the session stays as the journal has it."""
        if not self._stop.done():
            self._stop.set_result(rest)
        self._box.knock()

    async def run(self, first: First = (), step: Step | None = None) -> Rest:
        """Run until rest. `first` are events to hand in at once, or a function that looks at the
        session after recovery and gives them; `step` is a fresh session's own.

        Raises `LoopspecError` when another process runs the session, `StoreError` when an entry
        cannot be written: nothing was done after the last entry.
        """
        try:
            self.session.token = await self._tenure.take(lambda why: self._watch(Progress(text=why)))
        except BaseException:
            self._ended = True
            turn_away(self._box, OVER)  # nothing comes of what was handed in already
            raise
        beating = asyncio.create_task(self._tenure.keep(self._fail, self._box.knock))
        whole = False
        _RUNNING.add(self)
        try:
            self._still_here()
            self._world.begin()
            self._watchers.begin(self.session, fresh=step is not None)
            if step is not None:
                self._shown()
                self._act(step.effects)
            else:
                self.recovering = True
                await self._recover()
                self.recovering = False
            if not self._stop.done():
                await self._fire_due()  # they were due before anybody said anything
                for event, by in first(self.session) if callable(first) else first:
                    if self._stop.done():
                        break  # one before it has ended the run; this one was not taken
                    await self._accept(event, by, None)
            rest = await self._loop()
            whole = True
        finally:
            try:
                await self._shutdown(whole)
            finally:
                _RUNNING.discard(self)
                beating.cancel()
                self.session.token = 0
                self._tenure.free()
                await self._watchers.end(self.session, whole)
        after = resting(self.session.machine, self.session.snapshot)
        return after if after is not None and after.reason in CLOSED else rest

    def _fail(self, err: LoopspecError) -> None:
        """Leave the loop because of a fault that none of its own steps has met."""
        if not self._stop.done():
            self._stop.set_exception(err)
            self._stop.exception()  # `run` raises it, unless something else has ended it first
        self._box.knock()

    def _still_here(self) -> None:
        """Between loading and locking another process may have moved the session."""
        head = self.session.store.head(self.session.id)
        if head is None or head.seq != self.session.snapshot.seq:
            raise LoopspecError(
                "another process moved it just now",
                place=f"session {self.session.id}",
                remedy="resume it again",
            )

    # ------------------------------------------------------------ the loop

    async def _loop(self) -> Rest:
        """Take events, fire timers, ask at rest."""
        while not self._stop.done():
            await self._fire_due()
            if (said := self._said()) is not None:
                await self._accept(said, "person", None)
                continue
            if not self._box:
                rest = resting(self.session.machine, self.session.snapshot)
                if rest is not None and rest.reason in CLOSED:
                    return rest
                if self._silent and rest is not None and rest == self._asked:
                    return rest
                self._ask(rest)
            item = await self._box.next(self._until_due())
            if item is not None:
                await self._accept(*item)
        return self._stop.result()

    def _said(self) -> Kept | None:
        """What came of the open question. Words are never dropped: a stale answer is refused later."""
        asking, self._silent = self._asking, False
        if asking is None or not asking.done():
            return None
        self._asking = None
        if asking.cancelled():
            return None
        error = asking.exception()
        if isinstance(error, LoopspecError):
            raise error
        if error is not None:
            self._watch(Progress(text=f"nobody could be asked: {type(error).__name__}: {error}"))
        said = asking.result() if error is None else None
        self._silent = said is None
        return said

    def _ask(self, rest: Rest | None) -> None:
        """Keep exactly one question open: the one that belongs to this rest."""
        if self._asking is not None and rest != self._asked and not self._asking.done():
            self._asking.cancel()
            self._side.add(self._asking)
            self._asking.add_done_callback(self._side.discard)
            self._asking = None
        if rest is not None and self._asking is None:
            self._asked = rest
            self._asking = asyncio.create_task(self._door.at_rest(self.session, rest))
            self._asking.add_done_callback(self._box.knock)

    async def _accept(
        self, event: Kept, by: str, done: "asyncio.Future[Step] | None"
    ) -> None:
        """Commit one event and start what it asks for."""
        try:
            step = await self.session.accept(event, by, alone=self._alone())
        except BaseException as err:
            if done is not None and not done.done():
                done.set_exception(err)
                done.exception()  # the loop reports it; the waiter may be gone
            raise
        if step.outcome == REFUSED:
            self._door.refused(event, step.refusal, step.accepted)
        else:
            self._shown()
            self._forget_partials(event)
            self._act(step.effects)
        if done is not None and not done.done():
            done.set_result(step)

    def _alone(self) -> bool:
        """Whether nothing of this process goes on while an entry is written: no other session, no
        stream, no tool. Only then may the write hold up the event loop."""
        return len(_RUNNING) == 1 and all(task.done() for task in self._tasks.values())

    def _shown(self) -> None:
        """Show the entry that was just committed."""
        if self.session.last_entry is not None:
            self._door.kept(self.session, self.session.last_entry)
            self._watchers.see(self.session.last_entry)

    def _forget_partials(self, event: Kept) -> None:
        """A settled effect's open stream needs no keeping."""
        effect = getattr(event, "effect", "")
        if effect and effect not in self.session.snapshot.pending:
            self._world.forget(effect)

    # ------------------------------------------------------------ timers

    async def _fire_due(self) -> None:
        """Fire what is due now, the longest due first; what that arms is looked at the next time."""
        for left, key in self._waits():
            if left > 0:
                return
            late = next((-left for left, armed in self._waits() if armed == key), -1)
            if late >= 0:  # an earlier one may have disarmed it
                await self._accept(TimerFired(timer=key, late=late), "timer", None)

    def _waits(self) -> list[tuple[int, str]]:
        """Microseconds until each timer is due, and its id, the first one first."""
        session = self.session
        if not session.snapshot.timers:
            return []
        now = {"wall": session.clock.now(), "awake": session.awake_now()}
        return sorted((t.due - now[t.clock], t.id) for t in session.snapshot.timers.values())

    def _until_due(self) -> float | None:
        """Seconds until the first timer; looked at again within the hour, for clocks that jump."""
        waits = self._waits()
        return min(max(0.0, waits[0][0] / 1e6), 3600.0) if waits else None

    # ------------------------------------------------------------ effects

    def _act(self, effects: Sequence[Effect]) -> None:
        """Start the effects of a committed step."""
        for effect in effects:
            if isinstance(effect, Cancel):
                self._spawn(self._cancel(effect.target))
            else:
                self._start(effect)

    def _start(self, effect: Effect, *, claimed: bool = False) -> None:
        """Start one effect in a task of its own."""
        task = asyncio.create_task(self._perform(effect, claimed))
        self._tasks[effect.id] = task

        def over(done: "asyncio.Task[None]") -> None:
            self._tasks.pop(effect.id, None)
            if done.cancelled():  # before its first step: nothing of it has begun
                never = EffectCancelled(effect=effect.id, started=False)
                self._box.put((never, "driver", None))

        task.add_done_callback(over)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the effects, and keep hold of it."""
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _perform(self, effect: Effect, claimed: bool) -> None:
        """Claim if need be, do the effect, hand in its one answer."""
        started = False
        answer: Kept
        try:
            if needs_claim(self.session.machine, effect) and not claimed:
                await self.tell(EffectClaimed(effect=effect.id), "driver")
            if not await self._tenure.sure(self._fail):
                return
            started = True
            self._watch(EffectStarted(effect=effect.id, what=in_words(effect)))
            given = await self._crew.of(effect).perform(effect, self._world)
            answer = checked(self.session.machine, effect, given)
        except asyncio.CancelledError:
            answer = EffectCancelled(effect=effect.id, started=started)
        except LoopspecError as err:
            answer = EffectFailed(effect=effect.id, reason=str(err))
        except BaseException as err:  # a plugin's own code, `sys.exit` included
            answer = EffectFailed(effect=effect.id, reason=f"{type(err).__name__}: {err}")
        self._world.settled(effect.id)
        self._box.put((self._world.billed(answer), self._crew.name(effect), None))

    async def _cancel(self, target: str) -> None:
        """Stop an effect; one that does not stop in time is reported as lost."""
        task = self._tasks.get(target)
        if task is None:
            return  # its answer is in the queue already, or recovery has settled it
        task.cancel()
        _, late = await asyncio.wait({task}, timeout=CANCEL_GRACE)
        if late:
            reason = f"it did not stop within {CANCEL_GRACE:.0f} s of being cancelled"
            self._box.put((EffectLost(effect=target, reason=reason), "driver", None))

    # ------------------------------------------------------------ start and end

    async def _recover(self) -> None:
        """Take up what an earlier process left pending, by the crash table.

        Each verdict is committed before the next effect is looked at, because it may leave the state
        and so cancel what has not begun; whatever may start, starts when all verdicts are in.
        """
        todo = sorted(self.session.snapshot.pending, key=effect_order)
        ready: list[str] = []
        while todo:
            key = todo.pop(0)
            found = self.session.snapshot.pending.get(key)
            if found is None:
                continue
            deciding = asyncio.ensure_future(decide_recovery(found, self._world))
            either: set[asyncio.Future[Any]] = {deciding, self._stop}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not deciding.done():
                deciding.cancel()
                return
            verdict = deciding.result()
            if verdict is None:
                ready.append(key)
                continue
            await self._accept(verdict, "recovery", None)
            self._world.forget(key)
            pending = self.session.snapshot.pending
            stopped = [k for k in ready if k in pending and pending[k].status == "cancelling"]
            ready = [k for k in ready if k not in stopped]
            todo = stopped + todo
        for key in ready:
            left = self.session.snapshot.pending.get(key)
            if left is not None:
                self._start(left.effect, claimed=left.claimed)

    async def _shutdown(self, whole: bool) -> None:
        """Stop every task; what they were doing is pending in the journal.

        Answers that are in already, or come from work that was being cancelled, are still committed
        (unless the store has failed), so that nothing done is forgotten.
        """
        self._ended = True
        tasks: list[asyncio.Task[Any]] = [*self._tasks.values(), *self._side]
        if self._asking is not None:
            tasks.append(self._asking)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_GRACE)
        for event, by in turn_away(self._box, OVER):
            pending = self.session.snapshot.pending.get(getattr(event, "effect", ""))
            given_up = isinstance(event, EffectCancelled | EffectFailed | EffectClaimed)
            if whole and pending is not None and (pending.status == "cancelling" or not given_up):
                with contextlib.suppress(LoopspecError):
                    await self.session.accept(event, by)
                    self._shown()

    def _watch(self, event: Live) -> None:
        """Show a live event; a door that fails must not stop the loop."""
        self._watchers.see(event)
        with contextlib.suppress(Exception):
            self._door.live(event)
