"""Many: seeds by the thousand, over as many processes as there are.

Rules of this file:
1. A seed's history depends on nothing but the seed: neither on the number of processes nor on order.
2. A process that is forked here ends here, whatever happens.
3. Nothing but JSON lines comes back from a forked process.
"""

import os
import selectors
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from loopspec.drivers.sim.ends import RUNS, ends_of
from loopspec.drivers.sim.faults import Faults
from loopspec.drivers.sim.people import Person
from loopspec.drivers.sim.world import Answering
from loopspec.drivers.simulated import Simulation
from loopspec.errors import LoopspecError
from loopspec.machine.model import Machine
from loopspec.testing.report import Report, Violation
from loopspec.views.timeline import render, timeline

TICKS: Final = 60
THOROUGH: Final = 16
BATCH: Final = 25
"""Seeds of which a process gives an account at once: progress every fraction of a second."""
TOLD: Final = 3
"""Seeds with a violation whose journals are kept, of each batch."""
_DECODER: Final = msgspec.json.Decoder(Report)


@dataclass
class Plan:
    """What to simulate. `thorough`: one in so many seeds is verified from its bytes and recomputed.

    `person` makes somebody anew for each session (a random person by default); `answering` is a
    plugin's own say about its kinds. `faultless`: runs without faults that look for an end before it is
    called wrong.
    """

    machine: Machine
    faults: Faults = field(default_factory=Faults)
    ticks: int = TICKS
    thorough: int = THOROUGH
    person: Callable[[], Person] | None = None
    answering: Answering | None = None
    faultless: int = RUNS

    def __post_init__(self) -> None:
        """Ends are found out once for all seeds."""
        self.ends = ends_of(self.machine, self.answering, runs=self.faultless)

    def simulation(self, seed: int) -> Simulation:
        """The session of one seed, not run yet."""
        person = self.person() if self.person is not None else None
        return Simulation(
            self.machine,
            seed,
            faults=self.faults,
            person=person,
            answering=self.answering,
            ends=self.ends,
        )

    def run(self, sim: Simulation, seed: int) -> list[str]:
        """Run it; what was violated."""
        return sim.run(self.ticks, thorough=seed % self.thorough == 0)


def batches(plan: Plan, seeds: Sequence[int], jobs: int) -> Iterator[Report]:
    """Simulate seeds over `jobs` processes; a report of each batch as it is done.

    Whoever stops listening (or is interrupted) leaves no process behind. Raises `LoopspecError` when a
    process died.
    """
    jobs = min(jobs, -(-len(seeds) // BATCH))
    if jobs <= 1 or not hasattr(os, "fork"):
        yield from _here(plan, seeds)
    else:
        yield from _forked(plan, seeds, jobs)


def _here(plan: Plan, seeds: Sequence[int]) -> Iterator[Report]:
    """Simulate in this process."""
    for start in range(0, len(seeds), BATCH):
        report = Report()
        for seed in seeds[start : start + BATCH]:
            _one(plan, seed, report)
        yield report


def _one(plan: Plan, seed: int, report: Report) -> None:
    """Simulate one seed and count it. A loop that breaks is a violation like any other."""
    sim: Simulation | None = None
    try:
        sim = plan.simulation(seed)
        found = plan.run(sim, seed)
    except Exception as err:
        last = traceback.extract_tb(err.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno} {last.name}"
        found = [f"the loop broke: {type(err).__name__}: {err} (in {where})"]
    report.seeds += 1
    if sim is not None:
        report.events += len(list(sim.store.entries(sim.session)))
        report.effects += sim.world.begun
        for name, count in sim.counts.items():
            report.faults[name] = report.faults.get(name, 0) + count
        end = sim.end[0] if sim.end is not None else "violated"
        report.ends[end] = report.ends.get(end, 0) + 1
    report.violations.extend(Violation(seed, what) for what in found)
    if found and sim is not None and len(report.journals) < TOLD:
        report.journals[seed] = journal_lines(sim)


def journal_lines(sim: Simulation) -> list[str]:
    """One line for each entry; what cannot be told any more is left out."""
    try:
        entries = sim.entries()
        return render(timeline(sim.machine, entries), start=entries[0].at).splitlines() if entries else []
    except Exception as err:  # a journal that does not hold together may not be told, either
        return [f"the journal cannot be shown: {type(err).__name__}: {err}"]


def _forked(plan: Plan, seeds: Sequence[int], jobs: int) -> Iterator[Report]:
    """Simulate in forked processes, each with its share of the seeds."""
    open_pipes: dict[int, int] = {}
    try:
        for n in range(jobs):
            pipe, pid = _fork(plan, seeds[n::jobs], list(open_pipes))
            open_pipes[pipe] = pid
        yield from _collect(open_pipes)
    finally:
        for pipe, pid in open_pipes.items():
            os.kill(pid, signal.SIGKILL)
            os.close(pipe)
            os.waitpid(pid, 0)


def _fork(plan: Plan, seeds: Sequence[int], others: Sequence[int]) -> tuple[int, int]:
    """Start one process, which lets go of its `others`' pipes; the pipe it reports through, and its id.

    It ends by itself, within a batch, when the one that listens is gone.
    """
    pipe, into = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(into)
        return pipe, pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is asked to stop is the one that listens
        for other in (pipe, *others):
            os.close(other)
        with open(into, "wb") as out:
            for report in _here(plan, seeds):
                if os.getppid() != parent:
                    break
                out.write(msgspec.json.encode(report) + b"\n")
                out.flush()
        code = 0
    except BrokenPipeError:
        pass
    finally:
        os._exit(code)


def _collect(open_pipes: dict[int, int]) -> Iterator[Report]:
    """Reports as they come; takes a pipe out of `open_pipes` when its process has ended."""
    rest = dict.fromkeys(open_pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in open_pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while open_pipes:
            for key, _ in selector.select():
                pipe = key.fd
                data = os.read(pipe, 1 << 16)
                *lines, rest[pipe] = (rest[pipe] + data).split(b"\n")
                yield from map(_DECODER.decode, lines)
                if not data:
                    selector.unregister(pipe)
                    os.close(pipe)
                    _, status = os.waitpid(open_pipes.pop(pipe), 0)
                    if status:
                        raise LoopspecError(
                            "a simulating process died before it was done",
                            remedy="look whether the machine has memory left, or try with --jobs 1",
                        )
