"""Writer: one thread that hands queued items, in groups, to one function.

A full fsync costs about the same for one entry as for two hundred, so whatever has queued up while
the last group was being committed forms the next one.

Rules of this file:
1. A future resolves only after the group's `commit` has returned; items keep their order.
2. An item that was accepted is always answered: with its own outcome, or with the group's fault.
3. The thread outlives every fault; only `close` ends it, and `close` first commits what is queued.
4. An accepted item cannot be cancelled, for it may already be on disk.
5. Whoever waits for nothing else may have its item committed in its own thread (`now`), as long as
   nothing is queued before it and the last commit was quick: handing it over and back costs as much
   as a quick disk's fsync. A slow disk is always waited for by the writer's thread.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# A bound on how long the first item of a group waits for the last; 256 small entries are far below
# one fsync.
GROUP: Final = 256

# Seconds. What takes longer would be felt by somebody who types or watches while `now` waits.
QUICK: Final = 0.002

Outcomes = Sequence[BaseException | None]


@dataclass(frozen=True)
class _Job(Generic[T]):
    """An item and the future of whoever waits for it."""

    item: T
    future: "Future[None]"


class _Wake:
    """Asks for a commit without bringing an item."""


class _Stop:
    """Ends the thread after what was queued before it."""


class Writer(Generic[T]):
    """Runs `commit(items)` in its own daemon thread, one group at a time.

    `commit` gives back one outcome per item (None: done) or raises, which fails the whole group;
    `copy` makes each waiting future its own exception out of the one that was raised.
    """

    def __init__(
        self,
        commit: Callable[[list[T]], Outcomes],
        copy: Callable[[BaseException], BaseException],
        name: str,
    ) -> None:
        """Start the thread, called `name`."""
        self._commit = commit
        self._copy = copy
        self._queue: queue.SimpleQueue[_Job[T] | _Wake | _Stop] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by whoever commits
        self._waiting = 0  # items that were accepted and are not answered
        self._lasted = 2 * QUICK  # the last commit's seconds; the first one is the thread's
        self._open = True
        # Daemon: a program that dies without `close` must not hang here. What it was told is
        # written is written; what it was not told may be lost.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Whether the caller runs in the writer's own thread, where waiting would never end."""
        return threading.current_thread() is self._thread

    def submit(self, item: T) -> "Future[None] | None":
        """Queue an item; None after `close`."""
        future: Future[None] = Future()
        # A running future cannot be cancelled: a cancelled one would make `set_result` raise.
        future.set_running_or_notify_cancel()
        with self._lock:
            if not self._open:
                return None
            self._waiting += 1
            self._queue.put(_Job(item, future))
        return future

    def now(self, item: T) -> "Future[None] | None":
        """Commit an item in the caller's thread (rule 5); None when that is not to be done now."""
        if self._lasted > QUICK or not self._turn.acquire(blocking=False):
            return None
        try:
            with self._lock:
                if not self._open or self._waiting:
                    return None
                self._waiting = 1
            future: Future[None] = Future()
            future.set_running_or_notify_cancel()
            self._answer([_Job(item, future)])
            return future
        finally:
            self._turn.release()

    def wake(self) -> bool:
        """Ask for a commit soon, even of an empty group; False after `close`."""
        with self._lock:
            if self._open:
                self._queue.put(_Wake())
            return self._open

    def close(self) -> None:
        """Commit what is queued and end the thread. May be called again, from any thread."""
        with self._lock:
            if self._open:
                self._open = False
                self._queue.put(_Stop())
        if not self.inside:
            self._thread.join()
            with self._turn:  # a commit of `now` may be under way
                pass

    def _run(self) -> None:
        """Commit group after group until told to stop."""
        more = True
        while more:
            jobs, more = self._take()
            with self._turn:
                self._answer(jobs)

    def _take(self) -> tuple[list[_Job[T]], bool]:
        """Wait for something to do, then take all that is queued, up to the size of a group."""
        jobs: list[_Job[T]] = []
        found = self._queue.get()
        while True:
            if isinstance(found, _Stop):
                return jobs, False
            if isinstance(found, _Job):
                jobs.append(found)
            if len(jobs) == GROUP:
                return jobs, True
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return jobs, True

    def _answer(self, jobs: list[_Job[T]]) -> None:
        """Commit one group and resolve its futures."""
        outcomes: Outcomes
        begun = time.monotonic()
        try:
            outcomes = self._commit([job.item for job in jobs])
        except BaseException as error:  # rule 2: even a `SystemExit` must not leave them waiting
            outcomes = [self._copy(error) for _ in jobs]
        if jobs:
            self._lasted = time.monotonic() - begun
            with self._lock:
                self._waiting -= len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(outcome)


_Key = tuple[str, str]


class Streams:
    """The newest partial data by (session, effect), until a group has taken it along.

    None stands for a stream to be forgotten. Only the newest state of a stream is kept, so however
    fast it is, it takes the room of one.
    """

    def __init__(self) -> None:
        """Begin with nothing to write."""
        self._lock = threading.Lock()
        self._newest: dict[_Key, bytes | None] = {}
        self._woken = False

    def put(self, session: str, effect: str, data: bytes | None) -> bool:
        """Note a state; True when the writer must be woken for it."""
        with self._lock:
            self._newest[session, effect] = data
            wake, self._woken = not self._woken, True
        return wake

    def take(self) -> dict[_Key, bytes | None]:
        """What is to be written now. It stays visible in `of` until `settle`."""
        if not self._newest:  # what is put a moment later wakes the writer again
            return {}
        with self._lock:
            self._woken = False
            return dict(self._newest)

    def settle(self, taken: dict[_Key, bytes | None]) -> None:
        """Forget what was taken, written or lost, unless something newer stands in its place."""
        with self._lock:
            for key, data in taken.items():
                if self._newest[key] is data:
                    del self._newest[key]

    def of(self, session: str) -> dict[str, bytes | None]:
        """The states of a session that are not written yet, by effect."""
        with self._lock:
            return {e: data for (s, e), data in self._newest.items() if s == session}
