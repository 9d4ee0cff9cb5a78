"""Testing: prove a loop, or a plugin's kind, in a simulated world. For anybody's own tests.

`simulate` runs a spec (a path, a shipped loop's name, or a compiled machine) through as many sessions as
you like. Each session is made from a seed: its clock, model, tools, people, disk and machine are
simulated, and so is what goes wrong with them. No key, network or process is needed, and the same seed
gives the same journal byte for byte. In a test of your own:

    >>> from loopspec.testing import simulate
    >>> assert simulate("coding-agent", seeds=20).violations == []

`simulate(…).check()` does the same, and its `AssertionError` shows seeds and journals. A world with other
faults, or with none:

    >>> from loopspec.testing import CALM, Faults
    >>> simulate("coding-agent", seeds=5, faults=CALM).faults
    {}
    >>> often = Faults(crash=0.2, crash_before=0.1, full=0.1)
    >>> simulate("coding-agent", seeds=5, faults=often).check()

One session, with a person who says what you want to be said:

    >>> from loopspec.drivers.launch import load
    >>> from loopspec.registry import installed
    >>> from loopspec.testing import ScriptedPerson, Simulation
    >>> machine = load("coding-agent", installed()).machine
    >>> sim = Simulation(machine, 7, faults=CALM, person=ScriptedPerson("Repair it", "And test it"))
    >>> sim.run()
    []
    >>> [entry.event.text for entry in sim.entries() if type(entry.event).__name__ == "UserMessage"]
    ['Repair it', 'And test it']

What is held, in every session: each acknowledged event is in the journal, whose every prefix folds to
the digest recorded there; nothing begins before the entry that asks for it is committed, nothing is asked
for while cancelled work has not settled, and no call begins that neither gate nor person let through;
what may not be repeated begins once, unless a person said it should run again; what the journal says is
pending is what is under way; a driver that was superseded is not let in; and when the faults are over,
the session comes to rest where a run without faults could have come to rest (`Ends` says what that
means), or where the spec routes loss to.

Step, journal, view, envelope, crash table and store (in memory) are the real ones; the driver is a double
that keeps the local driver's rules one move at a time, so that a fault can strike between any two. A real
driver on a real disk is what `loopspec torture` is for.

A model server on loopback, for what only a real connection can show: cut, damaged, silent or refused
streams in three protocols (docs/testing-models.md):

    >>> from loopspec.testing import ModelServer, Say, Status
    >>> with ModelServer(Say("Hello."), faults={0: Status(429, retry_after=1)}) as server:
    ...     server.base.startswith("http://127.0.0.1:")
    True

And a loop's own tests, as files: what its models reply, what a person does, what must come of it.

    >>> from loopspec.testing import journeys, walk
    >>> len(journeys("chat")) > 3
    True
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from loopspec.drivers.launch import load
from loopspec.drivers.sim.ends import RUNS, Ends
from loopspec.drivers.sim.faults import CALM, Faults
from loopspec.drivers.sim.people import Person, RandomPerson, ScriptedPerson
from loopspec.drivers.sim.world import Answering
from loopspec.drivers.simulated import Simulation
from loopspec.errors import BadSpec
from loopspec.machine.model import Machine
from loopspec.registry import Registry, installed
from loopspec.spec.diagnose import render_text
from loopspec.testing.journeys import Walk, journeys, walk
from loopspec.testing.many import THOROUGH, TICKS, Plan, batches
from loopspec.testing.report import Report, Violation, command_of
from loopspec.testing.server import ModelServer, unreachable
from loopspec.testing.serving.choosing import same_talk
from loopspec.testing.serving.faults import (
    Corrupt,
    CutAt,
    Drop,
    Duplicate,
    EmptyText,
    ErrorInside,
    LongLine,
    NoFinish,
    Reset,
    SlowHead,
    Split,
    Stall,
    Status,
    Swap,
    UnknownFields,
    first,
)
from loopspec.testing.serving.replies import Call, Say

__all__: Final = [
    "CALM",
    "Answering",
    "Call",
    "Corrupt",
    "CutAt",
    "Drop",
    "Duplicate",
    "EmptyText",
    "Ends",
    "ErrorInside",
    "Faults",
    "LongLine",
    "ModelServer",
    "NoFinish",
    "Person",
    "RandomPerson",
    "Report",
    "Reset",
    "Say",
    "ScriptedPerson",
    "Simulation",
    "SlowHead",
    "Split",
    "Stall",
    "Status",
    "Swap",
    "UnknownFields",
    "Violation",
    "Walk",
    "first",
    "journeys",
    "same_talk",
    "simulate",
    "unreachable",
    "walk",
]


def simulate(
    spec: str | Path | Machine,
    *,
    seeds: int = 200,
    seed: int = 0,
    faults: Faults | None = None,
    ticks: int = TICKS,
    jobs: int = 1,
    thorough: int = THOROUGH,
    faultless: int = RUNS,
    person: Callable[[], Person] | None = None,
    answering: Answering | None = None,
    registry: Registry | None = None,
) -> Report:
    """Simulate `seeds` sessions of `spec`, from the seed `seed` on, and report what came of them.

    `spec`: a path, the name of a shipped loop, or a machine. `faults`: how often what goes wrong (the
    usual `Faults()` by default, `CALM` for none). `ticks`: how many things happen in a session before its
    faults end. `jobs`: processes to use. `thorough`: one in so many seeds has its journal verified from
    its bytes and every step run again; 1 for all of them. `faultless`: how many runs without faults look
    for an end before it is called wrong. `person`: makes somebody for each session.
    `answering`: given a kind's name and dice, how that kind ends and its data as JSON text, None to leave
    it to chance. `registry`: kinds and tools to read the spec with (what is installed by default).

    Raises `BadSpec` with the diagnostics when the spec is wrong, `UsageError` when there is none.
    """
    machine = spec if isinstance(spec, Machine) else machine_of(spec, registry)
    named = not isinstance(spec, Machine) and person is None and answering is None
    report = Report(name=machine.name)
    if named and faults is None:
        unusual = {"ticks": (ticks, TICKS), "faultless": (faultless, RUNS)}
        options = {k: str(given) for k, (given, usual) in unusual.items() if given != usual}
        report.command = command_of(str(spec), **options)
    plan = Plan(
        *(machine, faults if faults is not None else Faults(), ticks, thorough, person, answering),
        faultless=faultless,
    )
    for part in batches(plan, range(seed, seed + seeds), jobs):
        report.add(part)
    return report


def machine_of(spec: str | Path, registry: Registry | None = None) -> Machine:
    """The machine of a spec; raises `BadSpec` with its diagnostics, `UsageError` when there is none."""
    loaded = load(str(spec), registry if registry is not None else installed())
    if loaded.machine is None:
        told = render_text(loaded.diagnostics, {loaded.name: loaded.source}).rstrip("\n")
        raise BadSpec(f"the spec is wrong:\n{told}", place=str(spec), remedy="correct it first")
    return loaded.machine
