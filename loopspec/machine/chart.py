"""Chart: what one event, with the `always` transitions that follow, does to a machine's configuration.

Rules of this file:
1. A step of the chart is a chain of microsteps: the event's own first, then `always`, each calculated
   from what the one before has led to. It ends where none is enabled.
2. What the hands raise leaves through `send` unchanged, and nothing has moved.
3. What follows from a move (`done.state.*`, like what actions raise) is told to the hands in order
   and comes back as an event of its own: only so do both stand in one queue, as SCXML has it.

Microsteps are python-statemachine's answer (`calculator`), kept as decision trees (`memo`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from loopspec.machine.calculator import Calculator, Hands, Microsteps, Scope
from loopspec.machine.calculator import Illegal as Illegal
from loopspec.machine.memo import Memo
from loopspec.machine.model import Machine
from loopspec.machine.routes import SILENT as SILENT
from loopspec.machine.routes import expand as expand
from loopspec.machine.routes import matches as matches
from loopspec.machine.structure import illegal as illegal

MAX_MICROSTEPS: Final = 100
MAX_LEGAL: Final = 4_096
"""How many configurations are known to be legal before all are forgotten and looked at again."""


class Overrun(Exception):
    """`always` transitions went on for more than `MAX_MICROSTEPS`: a cycle."""


class Move(msgspec.Struct, frozen=True):
    """The structural result: the new configuration and history, and whether anything was taken."""

    configuration: tuple[str, ...]
    history: Mapping[str, tuple[str, ...]]
    moved: bool


class Chart:
    """A machine's structure, ready to step through. Build once per machine (trap 8)."""

    def __init__(self, machine: Machine, memo: type[Memo] | None = Memo) -> None:
        """`memo` None asks the calculator anew for every microstep.

        Raises the engine's `InvalidDefinition` on a broken machine.
        """
        self.machine = machine
        self.calculator = Calculator(machine)
        self.microsteps: Microsteps = memo(self.calculator) if memo else self.calculator
        self._takes = self.calculator.heard
        self._always = frozenset(
            s.path
            for s in machine.states.values()
            if any(not machine.transitions[t].on for t in s.transitions)
        )
        self._legal: set[tuple[str, ...]] = set()

    def start(self, hands: Hands) -> Move:
        """Enter the initial states. Raises what the hands raise, `Overrun`, or `Illegal`."""
        first = self.microsteps.begin(hands)
        history = dict(sorted(first.recorded.items()))
        return self._settle(Move(first.configuration, history, moved=True), 1, hands)

    def send(
        self,
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        hands: Hands,
        scope: Scope = None,
    ) -> Move:
        """What `event` does; None asks only for `always` transitions.

        `scope` limits who sees the event to these states: an ending is seen by the state that started
        the work and that state's ancestors only.

        `always` transitions are asked after the event's own transition, never before it: the engine
        would ask them first on a restored configuration, because facts may have changed what their
        guards read. Raises what the hands raise, `Overrun`, or `Illegal`.
        """
        if configuration not in self._legal:
            self._look_at(configuration)
        move = Move(configuration, history, moved=False)
        if event is None:
            return self._settle(move, 0, hands)
        for path in configuration:
            if event in self._takes[path]:
                break
        else:
            return move
        move, taken = self._microstep(move, event, hands, scope)
        return self._settle(move, taken, hands) if taken else move

    def has_always(self, configuration: Iterable[str]) -> bool:
        """Whether any active state has `always` transitions."""
        return not self._always.isdisjoint(configuration)

    def _settle(self, move: Move, taken: int, hands: Hands) -> Move:
        """Take `always` transitions until none is enabled; `taken` were taken in this step already."""
        while self.has_always(move.configuration):
            after, more = self._microstep(move, None, hands, None)
            if not more:
                break
            move, taken = after, taken + more
            if taken > MAX_MICROSTEPS:
                raise Overrun(f"more than {MAX_MICROSTEPS} transitions in one step")
        return move

    def _microstep(
        self, move: Move, event: str | None, hands: Hands, scope: Scope
    ) -> tuple[Move, int]:
        """The move after one microstep more; also how many transitions were taken."""
        after = self.microsteps.microstep(move.configuration, move.history, event, hands, scope)
        if not after.taken:
            return move, 0
        history = move.history
        if any(history.get(path) != was for path, was in after.recorded.items()):
            history = dict(sorted({**history, **after.recorded}.items()))
        return Move(after.configuration, history, moved=True), after.taken

    def _look_at(self, configuration: tuple[str, ...]) -> None:
        """Raises `Illegal` unless the configuration is legal; one that is, is looked at once."""
        problem = illegal(self.machine, configuration)
        if problem:
            raise Illegal(problem)
        if len(self._legal) >= MAX_LEGAL:
            self._legal.clear()
        self._legal.add(configuration)
