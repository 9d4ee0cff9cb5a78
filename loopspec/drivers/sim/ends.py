"""Ends: where a session may come to rest once its faults are over.

What is claimed: an end is right if a run without faults could have come to rest there, or if it stands
in a state that the spec itself routes loss to. `stuck` and going on for ever are right only if runs
without faults come to that, too.

What is not claimed: "could have" is found by running. An end is refused only after `RUNS` runs without
faults, whose models and tools fail and whose people do anything, have never come to it; so a rare end of
a large spec may be refused wrongly. And an end is where a session stands and why, not what its vars hold.
"""

from typing import Final

from loopspec.drivers.sim.faults import CALM
from loopspec.drivers.sim.world import Answering
from loopspec.drivers.simulated import RESTLESS, End, Simulation
from loopspec.machine.chart import matches
from loopspec.machine.model import Machine
from loopspec.snapshot import Snapshot

RUNS: Final = 500
_KEPT: Final = 64
"""Machines whose ends are kept: a test suite may simulate many."""
_ENDS: "Final[dict[tuple[str, int], Ends]]" = {}
TICKS: Final = 40
FIRST: Final = 1 << 40
"""The first seed of a run without faults: far from those that anybody chooses."""
LOSS: Final = (
    *("effect.lost", "effect.failed", "boundary.failed", "rollback.failed", "rollback.partial"),
    *("context.stuck", "model.failed", "budget.exhausted", "error.execution"),
    *("host.suspended", "user.interrupted"),
)
"""What a fault becomes for a spec."""


class Ends:
    """The ends of one machine. Called with an end and its snapshot, says what is wrong with it."""

    def __init__(
        self, machine: Machine, answering: Answering | None = None, *, runs: int = RUNS
    ) -> None:
        """Nothing is run before an end is asked about; then as many as `runs` sessions."""
        self._machine = machine
        self._answering = answering
        self._known: set[End] = set()
        self._most = runs
        self._runs = 0
        self._routed = routed(machine)

    def __call__(self, end: End, snapshot: Snapshot) -> str:
        """What is wrong with this end, empty if nothing is."""
        reason, detail, leaves = end
        if reason not in ("stuck", RESTLESS) and not self._routed.isdisjoint(snapshot.configuration):
            return ""
        if self.reached(end):
            return ""
        where = ", ".join(leaves) or "nowhere"
        if reason == RESTLESS:
            return f"the work does not come to rest (it is in {where}), and without faults it does"
        why = f" ({detail})" if detail else ""
        only = "no run without faults ends so, and no route for what is lost leads there"
        return f"the session ends {reason}{why} in {where}: {only}"

    def reached(self, end: End) -> bool:
        """Whether a run without faults comes to this end; runs as many as that takes."""
        while end not in self._known:
            if self._runs >= self._most:
                return False
            sim = Simulation(
                self._machine, FIRST + self._runs, faults=CALM, answering=self._answering
            )
            sim.run(TICKS, thorough=False)
            self._runs += 1
            self._known |= sim.passed
            if sim.end is not None:
                self._known.add(sim.end)
        return True


def ends_of(machine: Machine, answering: Answering | None = None, *, runs: int = RUNS) -> Ends:
    """The ends of a machine, found out once; anew when somebody says how its kinds end."""
    if answering is not None:
        return Ends(machine, answering, runs=runs)
    found = _ENDS.get((machine.digest, runs))
    if found is None:
        if len(_ENDS) >= _KEPT:
            _ENDS.clear()
        found = _ENDS[machine.digest, runs] = Ends(machine, runs=runs)
    return found


def routed(machine: Machine) -> set[str]:
    """The states that the spec routes loss to (a history's parent stands for it)."""
    made: set[str] = set()
    for one in machine.transitions:
        if one.target and any(matches(d, name) for d in one.on for name in LOSS):
            target = machine.states[one.target]
            made.add(target.parent if target.type == "history" else one.target)
    return made
