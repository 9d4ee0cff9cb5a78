"""Play: what one child process does: runs the loop from where it stands until it rests.

Rules of this file:
1. First run and resume enter here alike, as `run` and `resume` do: where the store holds nothing that
   was acknowledged, a session is started, else it is taken up.
2. The harm of a case is done by the process to itself, at a point, in the middle of its work.
"""

import asyncio
import os
import re
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec import points
from loopspec.codec import digest
from loopspec.drill.acts import Acts, watched
from loopspec.drill.job import FULL, HANGUP, KILL, TERM, Case, Job, Point
from loopspec.drill.marked import MarkedStore
from loopspec.drill.person import Person
from loopspec.drivers.launch import SCRIPTED, used_models
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.resuming import first_events
from loopspec.drivers.session import Session
from loopspec.drivers.threads import DaemonThreads
from loopspec.drivers.world import SystemClock, redactor
from loopspec.errors import LoopspecError, NotFound
from loopspec.machine.model import Machine
from loopspec.machine.rest import resting
from loopspec.performers import scripted
from loopspec.stores.base import Store

PARKED: Final = ("suspended", "interrupted")
GRACE: Final = 3.0
GUARDED: Final = "signals.on"
UNGUARDED: Final = "signals.off"


class Ended(msgspec.Struct, frozen=True):
    """How a child that was not killed ended: its exit code, why it rests, its one clear message
    (empty: none was due), whether its point was reached, every point it passed, in order, and the
    modules it had to import."""

    code: int
    reason: str = ""
    message: str = ""
    bug: str = ""
    reached: bool = False
    points: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class Home:
    """The directory of one case: a copy of the work directory, a store, the count of acts."""

    def __init__(self, path: Path) -> None:
        """`path` must exist."""
        self.path = path
        self.work = path / "work"
        self.store = path / "store"
        self.acts = Acts(path / "acts.jsonl")
        self.log = path / "output.txt"
        # Of its own: what a call leaves running is found by its session's id, on the whole machine.
        self.session = re.sub(r"[^A-Za-z0-9-]", "-", f"torture-{path.parent.name[-8:]}-{path.name}")


class Trap:
    """Counts points, and springs at one: the `nth` of a name, or the `total`th of all."""

    def __init__(self, spring: Callable[[], None], at: Point | None = None, total: int = 0) -> None:
        """Nothing springs without `at` or `total`."""
        self._spring, self._at, self._total = spring, at, total
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.seen: list[str] = []
        self.reached = False

    def __call__(self, name: str) -> None:
        """The point called `name` was reached."""
        with self._lock:
            self.seen.append(name)
            self._counts[name] += 1
            hit = self._at == Point(name, self._counts[name]) or self._total == len(self.seen)
            self.reached = self.reached or hit
        if hit:
            self._spring()


class Remembered(dict[int, int]):
    """How often a script's entries have served, kept over a crash: a provider goes on counting."""

    def __init__(self, path: Path) -> None:
        """Read what earlier processes have used up."""
        counts = Counter(path.read_bytes().split()) if path.exists() else {}
        super().__init__({int(index): used for index, used in counts.items()})
        self._path = path

    def __setitem__(self, index: int, used: int) -> None:
        """Note one more use."""
        super().__setitem__(index, used)
        with self._path.open("ab", buffering=0) as file:
            file.write(b"%d " % index)


def play(job: Job, home: Home, case: Case | None, total: int, meet: Callable[[], None]) -> Ended:
    """Run or resume until rest. `case` is done to this process, or it is killed at its `total`th
    point; `meet` comes back when the terminal has been closed. Never raises."""
    store: list[Store] = []

    def full() -> None:
        if isinstance(store[0], MarkedStore):
            store[0].fill_disk()

    harms = {KILL: die, TERM: terminate, HANGUP: meet, FULL: full}
    trap = Trap(harms[case.harm] if case else die, case.point if case else None, total)
    points.listen(trap)
    known = set(sys.modules)
    ended = Ended(70)
    try:
        _double(job.machine, home)
        store.append((job.store or MarkedStore)(home.store, trap))
        shown = job.terminal() if case is not None and case.harm == HANGUP else None
        try:
            ended = _run(_main(job, home, store[0], shown))
        finally:
            if shown is not None:
                shown.close()
            store[0].close()
    except LoopspecError as err:
        ended = Ended(int(err.exit), message=str(err))
    except BaseException as err:  # whatever it is, it is a finding
        traceback.print_exc(file=sys.stderr)
        ended = Ended(70, bug=f"{type(err).__name__}: {err}")
    points.listen(None)
    modules = tuple(name for name in sys.modules if name not in known)
    return msgspec.structs.replace(
        ended, reached=trap.reached, points=tuple(trap.seen), modules=modules
    )


def die() -> None:
    """The real thing: nothing of this process runs after it."""
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    """Ask this process to end, as a host does."""
    os.kill(os.getpid(), signal.SIGTERM)


def _run(work: Any) -> Ended:
    """Run the event loop; work that ignores its end is left behind."""
    loop = asyncio.new_event_loop()
    ended: Ended = loop.run_until_complete(work)
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
    return ended


async def _main(job: Job, home: Home, store: Store, shown: Any) -> Ended:
    """Start or take up the session, drive it, say how it ended."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    key, there = newest(store, home.session)
    person = Person(job.prompts, home.acts, shown)
    if there:
        session, step = Session.load(store, key, SystemClock(), redactor()), None
    else:
        started = msgspec.structs.replace(job.started, workdir=str(home.work))
        session, step = await Session.create(
            store, job.machine, key, started, SystemClock(), redactor()
        )
    driver = LocalDriver(session, watched(job.registry, home.acts), person)
    person.opened(session, driver)
    async with job.signals(driver, person):
        points.reach(GUARDED)
        rest = await driver.run(_first, step) if step is None else await driver.run((), step)
        points.reach(UNGUARDED)
    return Ended(job.ends(rest, session.snapshot), rest.reason)


def _first(session: Session) -> Any:
    """A parked session is woken; one that has come to another rest is left as it is."""
    rest = resting(session.machine, session.snapshot)
    return first_events(session, None) if rest is not None and rest.reason in PARKED else []


def newest(store: Store, name: str) -> tuple[str, bool]:
    """The session `name` to take up, or the name of a new one where nothing was acknowledged yet.

    A process that was killed between making the session and its first entry leaves an empty one;
    whoever starts again then gets another id, as `run` gives one.
    """
    number = 1
    while True:
        key = name if number == 1 else f"{name}-{number}"
        try:
            if store.head(key) is not None:
                return key, True
        except NotFound:
            return key, False
        number += 1


def _double(machine: Machine, home: Home) -> None:
    """Let scripted models answer at once, and count what they have served over a crash."""
    uses = {use for decl in used_models(machine) for use in (decl.use, *decl.fallbacks)}
    for use in uses:
        if use.startswith(SCRIPTED):
            script = scripted.load(use)
            turns = tuple(replace(turn, delay=0.0) for turn in script.content.turns)
            script.content = replace(script.content, turns=turns)
            script.served = Remembered(home.path / f"served.{digest(use.encode())[:16]}")
