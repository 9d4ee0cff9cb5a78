"""What the pure step costs, without a disk: with the memo and without, and where the time goes.

    python benchmarks/step.py             # prints a Markdown table; exit 1 if the target is missed

The target: the step of an agent-like loop takes 50 µs for each event, guards included (the median of
several rounds; in each, every event of the loop is stepped once and its time taken alone).
"""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from loopspec.check.spec import check_spec
from loopspec.drivers.launch import tool_infos
from loopspec.effects import TakeBoundary
from loopspec.events import (
    BoundaryTaken,
    Decision,
    EffectClaimed,
    GateDecided,
    HostWoke,
    Kept,
    ModelReplied,
    ProposedCall,
    SessionStarted,
    Stamped,
    TokenUsage,
    ToolAnswered,
    UserMessage,
    UserResumed,
)
from loopspec.journal.chain import make_entry
from loopspec.journal.entry import GENESIS
from loopspec.journal.fold import empty
from loopspec.machine.calculator import Calculator, Hands
from loopspec.machine.dispatch import Engine, Trial
from loopspec.machine.model import Budgets, Machine, State, Transition
from loopspec.machine.step import REFUSED, step
from loopspec.registry import installed
from loopspec.snapshot import Snapshot

TARGET: Final = 50.0
ROUNDS: Final = 9
CYCLES: Final = 30
TURNS: Final = 8
AGENT: Final = Path(__file__).parent.parent / "specs" / "coding-agent.yaml"
HEAVY: Final = """\
loopspec: 1
name: heavy
version: 1.0.0
inputs: {limit: {type: int, default: 5}}
vars: {n: {type: int, default: 0}, sum: {type: int, default: 0}, last: {type: string, default: ""}}
initial: choosing
states:
  choosing:
    on:
      user.message:
        - {guard: size(event.text) > 5000, target: high}
        - guard: vars.sum > 1000
          target: choosing
          actions: [{assign: {sum: "0", n: "0"}}]
        - target: weighing
          actions: [{assign: {n: vars.n + 1, last: event.text}}]
      user.resumed: [{guard: vars.n > 1, target: high}, {target: choosing}]
      host.woke: low
  weighing:
    always:
      - {guard: vars.n % 5 == 4 && vars.last.startsWith("m"), target: high}
      - {guard: vars.n > inputs.limit, target: low, actions: [{assign: {sum: vars.sum + vars.n}}]}
      - {guard: usage.turns > 3, target: low}
      - {target: mixing}
  mixing:
    entry: [{assign: {sum: vars.sum + 2}}]
    always:
      - {guard: vars.sum % 3 == 0, target: low}
      - {guard: vars.sum % 3 == 1, target: high}
      - {target: choosing}
  high:
    always: [{guard: vars.sum > 3, target: choosing}, {target: low}]
  low:
    always: [{guard: vars.n >= 0, target: choosing}, {target: high}]
"""
Pairs: TypeAlias = Sequence[tuple[Snapshot, Stamped]]


def machine_of(text: str) -> Machine:
    """The machine of a spec, with budgets that are never spent."""
    found = installed()
    made = check_spec(text, kinds=found.kinds, tools=tool_infos(found))
    assert made.machine is not None, made.diagnostics
    endless = Budgets(turns=10**9, tokens=10**15, usd=10**18, elapsed=10**15)
    return msgspec.structs.replace(made.machine, budgets=endless)


class Session:
    """A session in memory; notes each event with the snapshot it met."""

    def __init__(self, machine: Machine, inputs: str) -> None:
        """Start it with these inputs."""
        self.machine = machine
        self.snapshot = empty("a-session-of-the-benchmark")
        self.pairs: list[tuple[Snapshot, Stamped]] = []
        self.at = 1_793_700_000_000_000
        self.tell(SessionStarted(machine.digest, inputs, "/work", {"main": 200_000}))

    def tell(self, event: Kept) -> None:
        """Step an event; it must be taken."""
        self.at += 1_000_000
        stamped = Stamped(self.at, self.at, "benchmark", event)
        made = step(self.machine, self.snapshot, stamped)
        assert made.outcome != REFUSED and not made.snapshot.stuck, made
        self.pairs.append((self.snapshot, stamped))
        self.snapshot = made.snapshot

    @property
    def effect(self) -> Any:
        """The newest effect that has no answer."""
        return list(self.snapshot.pending.values())[-1].effect


def agent() -> Session:
    """The loop we ship: 1 KB for each message, a read or a claimed write with a rollback point."""
    session = Session(machine_of(AGENT.read_text()), '{"task":"","check":"pytest -q"}')
    for cycle in range(CYCLES):
        session.tell(UserMessage("u" * 1_000, tokens=250))
        for turn in range(TURNS):
            _turn(session, writes=(cycle + turn) % 3 == 0, file=f"src/module_{turn}.py")
        session.tell(_reply(session, [], "d" * 1_000))
    return session


def _turn(session: Session, writes: bool, file: str) -> None:
    """The model calls a tool, the gate allows it, and it answers."""
    args = {"path": file, "text": "a" * 700} if writes else {"path": file}
    call = ProposedCall("edit_file" if writes else "read_file", json.dumps(args))
    session.tell(_reply(session, [call], "t" * (300 if writes else 1_000)))
    gate = session.effect
    session.tell(GateDecided(gate.id, [Decision(c, "allow", "allow[0]") for c in gate.calls]))
    if isinstance(session.effect, TakeBoundary):
        point = session.effect
        session.tell(BoundaryTaken(point.id, point.boundary, "9" * 40, "git"))
        session.tell(EffectClaimed(session.effect.id))
    tool = session.effect
    session.tell(ToolAnswered(tool.id, tool.call, "ok", "o" * 1_000, duration=1_234, tokens=258))


def _reply(session: Session, calls: list[ProposedCall], text: str) -> ModelReplied:
    """What the model says."""
    usage = TokenUsage(20_000, 80, cost=12_345_678)
    return ModelReplied(session.effect.id, text, calls, usage=usage, request="f" * 64, tokens=300)


def heavy() -> Session:
    """Guards and `always` in chains that read what was assigned just before."""
    session = Session(machine_of(HEAVY), '{"limit":5}')
    for n in range(CYCLES * 10):
        session.tell(UserMessage(f"m{n}" if n % 2 else "x", tokens=2))
        if n % 7 == 6:
            session.tell(UserResumed())
            session.tell(HostWoke())
    return session


# ---------------------------------------------------------------- measuring


def timed(work: Callable[[Snapshot, Stamped], object], pairs: Pairs) -> list[list[float]]:
    """Microseconds of each event, round by round, after one round that does not count."""
    taken: list[list[float]] = []
    for _ in range(ROUNDS + 1):
        times = []
        for snapshot, stamped in pairs:
            begun = time.perf_counter()
            work(snapshot, stamped)
            times.append((time.perf_counter() - begun) * 1e6)
        taken.append(times)
    return taken[1:]


def rounds(work: Callable[[Snapshot, Stamped], object], pairs: Pairs) -> list[float]:
    """Microseconds for each event, by round: the mean over its events.

    An event that took over five times its usual time was interrupted by the host, and its usual time
    stands in.
    """
    taken = timed(work, pairs)
    usual = [statistics.median(each) for each in zip(*taken, strict=True)]
    return [
        statistics.mean(u if t > 5 * u else t for t, u in zip(times, usual, strict=True))
        for times in taken
    ]


def share_of_guards(engine: Engine, pairs: Pairs) -> float:
    """The share of the step's time that goes into asking guards: by event, the median of the rounds."""
    asked: list[float] = []
    ask = Trial.guard

    def noted(self: Trial, transition: Transition, event: str | None) -> bool:
        begun = time.perf_counter()
        try:
            return ask(self, transition, event)
        finally:
            asked[-1] += (time.perf_counter() - begun) * 1e6

    def work(snapshot: Snapshot, stamped: Stamped) -> None:
        asked.append(0.0)
        step(engine.machine, snapshot, stamped, engine)

    Trial.guard = noted  # type: ignore[method-assign]
    try:
        whole = timed(work, pairs)
    finally:
        Trial.guard = ask  # type: ignore[method-assign]
    size = len(pairs)
    by_event = [statistics.median(asked[n::size]) for n in range(size)]
    return sum(by_event) / sum(statistics.median(each) for each in zip(*whole, strict=True))


class _Nothing:
    """Hands that do nothing: what is left is python-statemachine."""

    def guard(self, transition: Transition, event: str | None) -> bool:
        """Take the first."""
        return True

    def leave(self, state: State) -> None:
        """Nothing."""

    def take(self, transition: Transition, event: str | None) -> None:
        """Nothing."""

    def enter(self, state: State) -> None:
        """Nothing."""

    def done(self, event: str) -> None:
        """Nothing."""


def alone(machine: Machine, event: str, where: tuple[str, ...], pairs: Pairs) -> list[float]:
    """python-statemachine for one microstep, without any of ours."""
    calculator, hands = Calculator(machine), _Nothing()
    typed: Hands = hands
    few = pairs[:200]
    return rounds(lambda s, e: calculator.microstep(where, {}, event, typed, None), few)


def entry_of(machine: Machine) -> Callable[[Snapshot, Stamped], object]:
    """The step with its entry, sealed and encoded, as a store gets it."""

    def work(snapshot: Snapshot, stamped: Stamped) -> object:
        made = step(machine, snapshot, stamped)
        return make_entry(
            old=snapshot,
            new=made.snapshot,
            stamped=stamped,
            outcome=made.outcome,
            record=made.record,
            effects=made.effects,
            blobs=made.blobs,
            prev=GENESIS,
            semantics=machine.semantics,
        )

    return work


def rows() -> Iterator[tuple[str, list[float], str, bool]]:
    """Each row: what, microseconds by round, a remark, whether the target counts here."""
    for name, session in (("agent-like loop", agent()), ("guards and `always`", heavy())):
        machine, pairs = session.machine, session.pairs
        engine, plain = Engine(machine), Engine(machine, memo=None)
        gc.collect()
        gc.freeze()
        with_memo = rounds(lambda s, e, m=machine, g=engine: step(m, s, e, g), pairs)  # type: ignore[misc]
        share = share_of_guards(engine, pairs)
        yield f"{name}, with memo", with_memo, f"guards {share:.0%}", name.startswith("agent")
        few = pairs[:200]
        yield (
            f"{name}, without",
            rounds(lambda s, e, m=machine, g=plain: step(m, s, e, g), few),  # type: ignore[misc]
            "",
            False,
        )
        yield f"{name}, with memo and entry", rounds(entry_of(machine), pairs), "", False
        if name.startswith("agent"):
            where = ("working", "working.streaming")
            yield (
                "python-statemachine alone, one microstep of it",
                alone(machine, "model.replied", where, pairs),
                "",
                False,
            )


def main() -> int:
    """Print the table; 1 if the target is missed."""
    print("| what | µs per event | | target |")
    print("|---|---|---|---|")
    missed = False
    for what, times, remark, counts in rows():
        middle = statistics.median(times)
        missed |= counts and middle > TARGET
        verdict = f"{'met' if middle <= TARGET else 'missed'}: {TARGET:.0f} µs" if counts else "–"
        shown = f"{middle:.1f} ({min(times):.1f} to {max(times):.1f})"
        print(f"| {what} | {shown} | {remark} | {verdict} |", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
