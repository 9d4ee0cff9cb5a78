"""Engine: one run of a session in a thread of its own, with an event loop of its own.

Rules of this file:
1. The thread that reads is not the thread that drives: code that blocks, or stops reading, holds up
   neither the loop, nor the lease's signs of life, nor a deadline.
2. A run ends when the session rests, everything has been read, and the reader waits for more.
3. A process that ends takes the thread with it. Nothing is lost by that: what matters is on disk.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from loopspec.api.pipe import Pipe
from loopspec.drivers.behind import behind
from loopspec.drivers.conforming import QUIET, Wanted
from loopspec.drivers.door import Nobody
from loopspec.drivers.ending import run_to_end
from loopspec.drivers.limiting import Limits
from loopspec.drivers.lines import Opened, RefusedLine, Result, kept_line, live_line
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.outcome import Denials, exit_of, result_of
from loopspec.drivers.session import Session
from loopspec.drivers.threads import DaemonThreads
from loopspec.errors import Exit, LoopspecError
from loopspec.events import HostSuspended, Kept, Live, UserInterrupted, name_of
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.machine.step import REFUSED, Step
from loopspec.registry import Registry


@dataclass(frozen=True)
class Plan:
    """What a run does besides driving: answers with yes, holds limits, wants a certain answer."""

    yes: bool = False
    limits: Limits = field(default_factory=Limits)
    wanted: Wanted | None = None


class ReaderDoor(Nobody):
    """The door behind which the reader of a pipe sits."""

    def __init__(self, pipe: Pipe, *, yes: bool) -> None:
        """`yes`: answer what is asked with yes."""
        super().__init__(yes=yes)
        self._pipe = pipe
        self.session: Session | None = None
        self.denials = Denials()

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed."""
        self.denials.kept(session, entry)
        self._pipe.put(kept_line(entry, session.snapshot))

    def live(self, event: Live) -> None:
        """A live event."""
        if self.session is not None:
            self._pipe.put(live_line(self.session.id, event))

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """A command was refused."""
        name = self.session.id if self.session is not None else ""
        self._pipe.put(RefusedLine(name, name_of(event), reason, accepted))

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """Wait until the reader has read everything and says nothing more."""
        if (said := await super().at_rest(session, rest)) is not None:
            return said
        loop, idle = asyncio.get_running_loop(), asyncio.Event()

        def heard() -> None:
            with suppress(RuntimeError):  # the run has ended meanwhile
                loop.call_soon_threadsafe(idle.set)

        if not self._pipe.when_idle(heard):
            await idle.wait()
        return None


Begun = tuple[Session, Step | None, Any]

OVER: Final = "the run has ended"


class Engine:
    """Drives one run. Made by the reader's thread; everything else here is safe from any thread."""

    def __init__(self, begin: Callable[[], Any], registry: Registry, plan: Plan) -> None:
        """`begin` is a coroutine function that makes or loads the session, in the engine's thread.

        It gives back the session, its first step (None to go on), and what to tell it first.
        """
        self.pipe = Pipe()
        self._begin = begin
        self._registry = registry
        self._plan = plan
        self._driver: LocalDriver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parking = False
        self._result: Result | None = None
        self._lock = threading.Lock()
        self._waiting: list[tuple[Kept, str, Future[Step]]] = []
        self._told: set[Future[Step]] = set()  # without an answer yet
        run = contextvars.copy_context().run  # whoever begins the run has chosen its observers
        self._thread = threading.Thread(
            target=run, args=(self._work,), daemon=True, name="loopspec-run"
        )
        self._thread.start()

    # ------------------------------------------------------------ from the reader's side

    def tell(self, event: Kept, by: str = "person") -> "Future[Step]":
        """Hand in an event; the future gives the step once it is committed or refused.

        It raises `LoopspecError` when the run has ended before that.
        """
        future: Future[Step] = Future()
        self._told.add(future)
        future.add_done_callback(self._told.discard)
        with self._lock:
            if self._driver is None and self._thread.is_alive() and not self._parking:
                self._waiting.append((event, by, future))
                return future
        self._hand_in(event, by, future)
        return future

    def interrupt(self) -> "Future[None]":
        """Ask the loop to interrupt what it does; one that does not route this is left as it stands."""
        return self._call(self._interrupt)

    def park(self) -> None:
        """The reader has left: end the run soon, the session resumable; does not wait."""
        self._parking = True
        self.pipe.leave()
        with suppress(LoopspecError):
            self._call(self._park)

    def join(self) -> None:
        """Wait until the run has ended and everything of it is closed."""
        self._thread.join()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    # ------------------------------------------------------------ in the engine's thread

    def _work(self) -> None:
        """The thread: drive, and tell the reader how it ended."""
        error: BaseException | None = None
        try:
            result, _ = run_to_end(self._main())
            self.pipe.put(result)
        except BaseException as err:
            error = err
        finally:
            with self._lock:
                self._loop = None
                self._waiting.clear()
            try:
                # Also what was handed to the event loop at its very end and never got its turn there.
                for future in list(self._told):
                    _fail(future, LoopspecError(OVER))
            finally:
                self.pipe.end(error)

    async def _main(self) -> Result:
        """Make or load the session, drive it, and put its result together."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(DaemonThreads())
        door = ReaderDoor(self.pipe, yes=self._plan.yes)
        session, step, events, close = await self._begin()
        try:
            return await self._drive(door, session, step, events)
        finally:
            with self._lock:
                self._loop = None  # from here on nothing can be handed in
            close()

    async def _drive(
        self, door: ReaderDoor, session: Session, step: Step | None, events: Any
    ) -> Result:
        """Drive a session that has been made or loaded."""
        plan, begun = self._plan, session.clock.awake()
        door.session = session
        door.denials.begin(session)
        made = behind(door, session, self._registry, plan.limits, plan.wanted)
        driver, conforming = made.driver, made.conforming
        self.pipe.put(opened(session))
        with self._lock:
            self._driver, self._loop = driver, asyncio.get_running_loop()
            waiting, self._waiting = self._waiting, []
        for event, by, future in waiting:
            self._hand_in(event, by, future)
        if self._parking:
            self._call(self._park)
        rest = await driver.run(events, step)
        code = exit_of(rest, session.snapshot)
        result = result_of(
            *(session, rest, code), first=made.first, begun=begun, denials=door.denials.all
        )
        if conforming is not None and code == Exit.OK and rest.reason in QUIET:
            found = conforming.verdict(session)
            result = msgspec.structs.replace(result, output=found.value, faults=found.faults)
            if found.faults:
                result = msgspec.structs.replace(result, status="failed", exit=int(Exit.FAILED))
        return result

    def _hand_in(self, event: Kept, by: str, future: "Future[Step]") -> None:
        """Tell the driver, from whatever thread."""

        async def telling() -> None:
            assert self._driver is not None
            try:
                step = await self._driver.tell(event, by)
            except asyncio.CancelledError:  # the run was over before it had been taken
                _fail(future, LoopspecError(OVER))
            except BaseException as err:
                _fail(future, err)
            else:
                with suppress(InvalidStateError):
                    future.set_result(step)

        try:
            self._call(telling)
        except LoopspecError as err:
            _fail(future, err)

    def _call(self, work: Callable[[], Any]) -> "Future[None]":
        """Start a coroutine in the engine's event loop; raises `LoopspecError` when it has ended."""
        with self._lock:
            if self._loop is None:
                raise LoopspecError("the session is not running")
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    async def _interrupt(self) -> None:
        """What Ctrl-C is: an event the loop routes, else the end of the run."""
        assert self._driver is not None
        driver = self._driver
        step = None
        with suppress(LoopspecError):
            step = await driver.tell(UserInterrupted(reason="asked by the program"))
        if step is None or step.outcome == REFUSED:
            driver.stop(Rest("interrupted"))

    async def _park(self) -> None:
        """What SIGTERM is: the loop parks if it routes that, else the run ends where it stands."""
        assert self._driver is not None
        driver = self._driver
        if driver.recovering:
            driver.stop(Rest("suspended"))
            return
        with suppress(LoopspecError):
            await driver.tell(HostSuspended(reason="nobody reads on"), "host")
        machine, snapshot = driver.session.machine, driver.session.snapshot
        kinds = [machine.kind_of(path) for path in snapshot.configuration]
        if not any(kind is not None and kind.rests == "suspended" for kind in kinds):
            driver.stop(Rest("suspended"))


def _fail(future: "Future[Any]", err: BaseException) -> None:
    """Tell a future that nothing comes of it, unless it has ended."""
    with suppress(InvalidStateError):
        future.set_exception(err)


def opened(session: Session) -> Opened:
    """The line that begins a run."""
    snapshot, machine = session.snapshot, session.machine
    return Opened(
        session=session.id,
        name=machine.name,
        version=machine.version,
        machine=machine.digest,
        workdir=snapshot.workdir,
        resumed=snapshot.seq > 0,
        state=snapshot.configuration,
    )
