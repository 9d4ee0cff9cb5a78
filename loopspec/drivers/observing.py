"""Observing: observers beside a run. They see everything, change nothing and never slow it.

Rules of this file:
1. The loop only puts into a bounded queue. When it is half full live events are left out, when it is
   full entries are, too; how many is told at the end.
2. An observer works on copies, in a thread of its own; one that raises is named once and switched off.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

from loopspec.codec import decode, encode
from loopspec.drivers.session import Session
from loopspec.errors import LoopspecError, UsageError
from loopspec.events import Live, Progress
from loopspec.hooks import Observer, Watched
from loopspec.journal.entry import Entry
from loopspec.journal.fold import empty
from loopspec.machine.model import Machine
from loopspec.machine.rest import resting
from loopspec.registry import PluginError, Registry
from loopspec.registry_checks import check_methods, told
from loopspec.snapshot import Snapshot

VARIABLE: Final = "LOOPSPEC_OBSERVE"
LIMIT: Final = 20_000
"""Events that wait for one observer."""
CLOSE_SECONDS: Final = 5.0
Observers: TypeAlias = Mapping[str, Observer]
_chosen: Final[ContextVar[Observers | None]] = ContextVar("observers", default=None)


def named(text: str) -> list[str]:
    """The names in a list such as `otel,mine`."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def make(names: list[str], registry: Registry) -> dict[str, Observer]:
    """The observers of these names; raises `UsageError` for an unknown one, `LoopspecError` for one
    that cannot be used here."""
    made: dict[str, Observer] = {}
    for name in names:
        factory = registry.observers.get(name)
        if factory is None:
            known = ", ".join(registry.observers) or "none"
            raise UsageError(f"there is no observer `{name}`", remedy=f"installed: {known}")
        origin = registry.origins[f"observer {name}"]
        try:
            made[name] = factory()
            check_methods(origin, "observer", name, made[name])
        except LoopspecError:
            raise
        except (Exception, SystemExit) as err:
            fault = f"the observer `{name}` cannot be made: {told(err)}"
            raise PluginError(fault, place=f"plugin {origin}") from err
    return made


def choose(names: list[str], registry: Registry) -> None:
    """Make observers for the runs of this context (a command line's own); raises `LoopspecError`."""
    _chosen.set(make(names, registry))


@contextmanager
def chosen(observers: Observers) -> Iterator[None]:
    """Use these observers for the runs begun inside, whatever the environment says."""
    token = _chosen.set(observers)
    try:
        yield
    finally:
        _chosen.reset(token)


def wanted(registry: Registry) -> Observers:
    """The observers of a run: those chosen, else those the environment names."""
    made = _chosen.get()
    return made if made is not None else make(named(os.environ.get(VARIABLE, "")), registry)


class Watchers:
    """The observers of one run."""

    def __init__(self, observers: Observers, watch: Callable[[Live], None]) -> None:
        """`watch` shows a word about an observer at fault."""
        self._watch = watch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all = [_Watcher(name, one, self._told) for name, one in observers.items()]

    def begin(self, session: Session, *, fresh: bool) -> None:
        """A process has taken the session up. Of a fresh one entry 0 will be seen in a moment."""
        self._loop = asyncio.get_running_loop()
        before = empty(session.id) if fresh else session.snapshot
        for one in self._all:
            one.start()
            one.put(Watched(session.id, session.machine, before))

    def see(self, event: Entry | Live) -> None:
        """An entry or a live event. Never blocks, never raises."""
        for one in self._all:
            one.put(event)

    async def end(self, session: Session, whole: bool) -> None:
        """The run is over: wait, for a bounded time, until it has been seen."""
        rest = resting(session.machine, session.snapshot)
        reason = "broken" if not whole else rest.reason if rest is not None else "left"
        for one in self._all:
            one.put(_End(reason))
        for one in self._all:
            await asyncio.to_thread(one.join)

    def _told(self, text: str) -> None:
        """Show a word of another thread; the loop may have ended by then."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._watch, Progress(text=text))


@dataclass(frozen=True)
class _End:
    """The run is over."""

    reason: str


class _Watcher:
    """One observer, its thread and its queue."""

    def __init__(self, name: str, observer: Observer, told: Callable[[str], None]) -> None:
        """`observer` is called in the thread only."""
        self._name, self._observer, self._told = name, observer, told
        self._queue: queue.SimpleQueue[Watched | Entry | Live | _End] = queue.SimpleQueue()
        self._missed = 0
        self._off = False
        self._thread = threading.Thread(
            target=self._work, daemon=True, name=f"loopspec-observer-{name}"
        )

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def put(self, item: Watched | Entry | Live | _End) -> None:
        """Queue what is to be seen, unless too much waits."""
        if self._off:
            return
        limit = LIMIT if isinstance(item, Entry) else LIMIT // 2
        if not isinstance(item, Watched | _End) and self._queue.qsize() >= limit:
            self._missed += 1
            return
        self._queue.put(item)

    def join(self) -> None:
        """Wait until everything was seen, for a bounded time."""
        if self._thread.ident is None:
            return  # the run never began
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._told(f"the observer {self._name} was not done after {CLOSE_SECONDS:.0f} s")
        elif self._missed:
            self._told(f"the observer {self._name} was too slow and missed {self._missed} events")

    def _work(self) -> None:
        """Show the observer what is queued, until the run is over."""
        while True:
            item = self._queue.get()
            try:
                self._show(item)
            except BaseException as err:  # a plugin's own code
                self._off = True
                self._told(f"the observer {self._name} has failed and is switched off: {told(err)}")
                return
            if isinstance(item, _End):
                return

    def _show(self, item: Watched | Entry | Live | _End) -> None:
        """Hand one thing to the observer, as a copy."""
        match item:
            case Watched():
                machine = decode(encode(item.machine), Machine)
                snapshot = decode(encode(item.snapshot), Snapshot)
                self._observer.begin(Watched(item.session, machine, snapshot))
            case Entry():
                self._observer.kept(decode(encode(item), Entry))
            case _End():
                self._observer.end(item.reason)
            case _:
                self._observer.live(item)
