"""Journeys: a loop's tests as YAML files. What a model replies, what a person does, what must come of it.

The command is `loopspec test SPEC`; in a test of your own:

    >>> from loopspec.testing import journeys, walk
    >>> for path in journeys("chat"):
    ...     walk(path).check()

A journey runs offline and quickly, with the real driver, store and tools: only models are scripted, and
nobody waits for time to pass. After the last step the journal is verified and every step recomputed.
`docs/journeys.md` has the format.
"""

import asyncio
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from loopspec.drivers.launch import find
from loopspec.drivers.session import stepper, verified
from loopspec.errors import LoopspecError, UsageError
from loopspec.journal.fold import recompute
from loopspec.registry import Registry, installed
from loopspec.testing.journey_file import Located, read_journey
from loopspec.testing.journey_judge import Judge
from loopspec.testing.journey_walk import SESSION, Walker
from loopspec.views.timeline import render, timeline


@dataclass(frozen=True)
class Walk:
    """What came of a journey: `faults` (none when all is as expected) and the journal's lines."""

    path: Path
    about: str
    steps: int
    faults: tuple[str, ...]
    lines: tuple[str, ...]

    def explained(self) -> str:
        """The faults, and what happened."""
        told = [*self.faults, "", "what happened:", *(f"  {line}" for line in self.lines)]
        return "\n".join(told)

    def check(self) -> None:
        """Raises `AssertionError` with all faults and the journal's lines."""
        if self.faults:
            raise AssertionError(self.explained())


def journeys(spec: str | Path) -> list[Path]:
    """The journeys of a spec: `journeys/NAME/*.yaml` beside the file NAME.yaml.

    `spec` is a path or the name of a shipped loop, or a directory of journeys, or one journey.
    Raises `UsageError` when there is nothing of that name.
    """
    given = Path(spec)
    if given.is_dir():
        return sorted(given.rglob("*.yaml"))
    path = find(str(spec))
    if _is_journey(path):
        return [path]
    return sorted((path.parent / "journeys" / path.stem).glob("*.yaml"))


def _is_journey(path: Path) -> bool:
    """Whether a file says that it is a journey."""
    try:
        with path.open(encoding="utf-8") as file:
            return any(line.startswith("journey:") for line in file)
    except (OSError, UnicodeDecodeError):
        return False


def walk(path: str | Path, *, registry: Registry | None = None, place: Path | None = None) -> Walk:
    """Walk one journey. `place` keeps its work directory and store there, which must not exist yet.

    `registry`: kinds and tools (what is installed by default). Call it outside of a running event loop.
    Raises `LoopspecError` when the journey or its spec cannot be read.
    """
    located = read_journey(Path(path))
    known = registry if registry is not None else installed()
    if place is not None:
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"{place} is there already", remedy="name a new directory") from None
    room = tempfile.TemporaryDirectory(prefix="journey-") if place is None else nullcontext(str(place))
    with room as folder:
        walker = Walker(located, known, Path(folder))
        try:
            faults = asyncio.run(_walked(located, walker))
            lines = _lines(walker)
        finally:
            walker.store.close()
    journey = located.journey
    return Walk(located.path, journey.about, len(journey.steps), tuple(faults), tuple(lines))


async def _walked(located: Located, walker: Walker) -> list[str]:
    """Take the steps until one does not come out as expected; the faults."""
    walker.prepare()
    judge = Judge(located, walker)
    for number in range(len(located.journey.steps)):
        try:
            took = await walker.take(number)
        except LoopspecError as err:
            if err.place:
                return [str(err)]
            return [f"{located.place('steps', number)}: {err}"]
        judge.judge(number, took)
        if judge.faults:
            return judge.faults
    return list(_unproven(walker))


def _unproven(walker: Walker) -> list[str]:
    """What the journal says against itself: its chain, its prefixes, every step run again."""
    try:
        entries = list(verified(walker.store, SESSION))
    except LoopspecError as err:
        return [f"the journal is not whole: {err}"]
    return [f"a step run again differs: {line[:400]}" for line in
            recompute(SESSION, entries, stepper(walker.machine))]


def _lines(walker: Walker) -> list[str]:
    """The journal's lines."""
    try:
        entries = list(verified(walker.store, SESSION))
    except LoopspecError as err:
        return [f"the journal cannot be shown: {err}"]
    if not entries:
        return []
    return render(timeline(walker.machine, entries), start=entries[0].at).splitlines()
