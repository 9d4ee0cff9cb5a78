"""Torture: kill a run at every point in turn, resume it, and compare with the run nobody disturbed.

Rules of this file:
1. The points are those an undisturbed run reached, each of them once; none is left out.
2. The torturer itself opens nothing: it forks, and a case forks again (see `process`).
"""

import gc
import os
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from loopspec.drill.cases import (
    DIFFERENT,
    MISSED,
    Reference,
    Verdict,
    forget,
    tortured,
    undisturbed,
)
from loopspec.drill.evidence import Difference, Evidence, gather, steady
from loopspec.drill.job import FULL, HANGUP, KILL, TERM, Case, Job, Point
from loopspec.drill.play import GUARDED, UNGUARDED, Home
from loopspec.drill.process import Child, fork
from loopspec.errors import LoopspecError

WORKERS: Final = 2
TRIES: Final = 3
"""How often a case is begun anew whose point was not reached: what runs together may take turns."""
SPREAD: Final = {TERM: 12, HANGUP: 6, FULL: 8}
"""How many cases of each other harm, spread evenly over the run."""
ACKNOWLEDGED: Final = "entry.acknowledged"
WRITES: Final = "entry.before-write"


@dataclass(frozen=True)
class Result:
    """A case and what came of it; `kept` is its directory when there is something to look at."""

    case: Case
    verdict: Verdict
    kept: Path | None = None

    @property
    def good(self) -> bool:
        """Whether nothing differed."""
        return self.verdict.result not in (DIFFERENT, MISSED)


@dataclass(frozen=True)
class Plan:
    """The undisturbed run, and every case there is to try."""

    reference: Reference
    cases: tuple[Case, ...]
    points: tuple[str, ...]


def plan(job: Job, scratch: Path, again: int = 0) -> Plan:
    """Run the loop undisturbed, twice, and lay out the cases; `again` adds kills of each resume at
    its first so many points. Raises `LoopspecError` when the loop does not come to an end by itself."""
    alone()
    made = [_observed(job, scratch / f"undisturbed-{n}") for n in (1, 2)]
    one, two = made
    for run in made:
        _usable(run)
    _warm(scratch / "undisturbed-1", one)
    reference = msgspec.structs.replace(one, evidence=steady(one.evidence, two.evidence))
    points = tuple(_both(one.ended.points, two.ended.points))
    return Plan(reference, tuple(_cases(points, again)), points)


def _observed(job: Job, path: Path) -> Reference:
    """An undisturbed run and what it left, both looked at in a child."""
    log = path.with_suffix(".txt")
    child = fork(lambda: msgspec.json.encode(undisturbed(job, path)), log, leader=True)
    try:
        while child.read():
            pass
    except BaseException:
        child.kill()
        raise
    if child.end() != 0:
        raise LoopspecError("the undisturbed run could not be observed", place=str(log))
    return msgspec.json.decode(child.answer, type=Reference)


def _warm(path: Path, run: Reference) -> None:
    """Import what the undisturbed run imported, and look at it once more, here: what that loads and
    remembers, every child then has from its birth. The store is closed again before the next fork."""
    for name in run.ended.modules:
        with suppress(Exception):  # one that cannot be had this way is imported by every child
            import_module(name)
    gather(Home(path), run.ended)
    alone()
    gc.collect()
    gc.freeze()  # the children need neither walk nor copy what all of them share


def alone() -> None:
    """Raise `LoopspecError` when this process has other threads: only one without may fork."""
    others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    if others:
        raise LoopspecError(
            f"a plugin has started a thread ({', '.join(others)}), so nothing can be forked here",
            remedy="start threads when a performer works, not when its module is imported",
        )


def _usable(run: Reference) -> None:
    """Raise `LoopspecError` unless an undisturbed run came to a clean end."""
    ended, broken = run.ended, run.evidence.broken
    fault = ended.bug or ended.message or "; ".join(broken)
    if fault:
        raise LoopspecError(
            f"the undisturbed run already fails: {fault}",
            remedy="repair that first; look with: loopspec run",
        )


def _both(one: Sequence[str], two: Sequence[str]) -> Iterator[str]:
    """The points of the first run, as often as both runs reached them (a stream's rows and signs of
    life are written by the clock)."""
    left = Counter(two)
    for name in one:
        if left[name] > 0:
            left[name] -= 1
            yield name


def _cases(points: Sequence[str], again: int) -> Iterator[Case]:
    """Every kill, in the order of the run; then the other harms, spread over it."""
    counts: Counter[str] = Counter()
    reached: list[Point] = []
    for name in points:
        counts[name] += 1
        reached.append(Point(name, counts[name]))
    for point in reached:
        yield Case(KILL, point)
    for point in reached:
        for number in range(1, again + 1):
            yield Case(KILL, point, number)
    # A signal that comes before anybody listens ends the process, and that is the kill above.
    names = [point.name for point in reached]
    within = reached[names.index(GUARDED) : names.index(UNGUARDED)] if UNGUARDED in names else []
    quiet = [p for p in within if p.name == ACKNOWLEDGED]
    writes = [p for p in reached if p.name == WRITES]
    for harm, among in ((TERM, within), (HANGUP, quiet), (FULL, writes)):
        for point in _spread(among, SPREAD[harm]):
            yield Case(harm, point)


def _spread(points: Sequence[Point], many: int) -> list[Point]:
    """At most `many` of them, evenly."""
    if len(points) <= many:
        return list(points)
    return [points[i * len(points) // many] for i in range(many)]


# ---------------------------------------------------------------- running them


def run(
    job: Job,
    evidence: Evidence,
    cases: Sequence[Case],
    scratch: Path,
    told: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Try every case, two at once; `told` hears each result as it comes. Keeps the directories of
    the cases that differed, below `scratch`."""
    waiting = [(case, 1) for case in reversed(cases)]
    running: dict[int, tuple[Child, Case, int, Path]] = {}
    found: dict[Case, Result] = {}
    serial = 0
    try:
        while waiting or running:
            while waiting and len(running) < WORKERS:
                case, tried = waiting.pop()
                serial += 1
                path = scratch / f"case-{serial}"
                child = _begin(job, case, evidence, path)
                running[child.fd] = (child, case, tried, path)
            ready, _, _ = select.select(list(running), [], [])
            for fd in ready:
                child, case, tried, path = running[fd]
                if child.read():
                    continue
                del running[fd]
                result = _result(child, case, path)
                if result.verdict.result == MISSED and tried < TRIES:
                    forget(path)
                    waiting.append((case, tried + 1))
                    continue
                if result.good:
                    forget(path)
                found[case] = result
                told(result)
    finally:
        for child, *_ in running.values():
            child.kill()
            child.end()
    return [found[case] for case in cases]


def _begin(job: Job, case: Case, evidence: Evidence, path: Path) -> Child:
    """Fork a case."""

    def body() -> bytes:
        return msgspec.json.encode(tortured(job, case, evidence, path))

    return fork(body, path.with_suffix(".txt"), leader=True)


def _result(child: Child, case: Case, path: Path) -> Result:
    """A case's verdict; one that died without any is a difference too."""
    code = child.end()
    log = path.with_suffix(".txt")
    if code == 0:
        verdict = msgspec.json.decode(child.answer, type=Verdict)
        os.unlink(log)
        if verdict.result == MISSED:
            why = Difference("the point", "to be reached again", f"not reached, {TRIES} times")
            verdict = Verdict(MISSED, (why, *verdict.differences))
    else:
        why = Difference("the comparison", "a verdict", f"it failed with {code}; see {log}")
        verdict = Verdict(DIFFERENT, (why,))
    kept = path if verdict.result in (DIFFERENT, MISSED) else None
    return Result(case, verdict, kept)
