"""Memo against no memo: the same events give the same bytes, on cold trees and on warm ones.

Three engines step each event: one whose calculator answers anew, one with a memo that has just been
made, and one whose memo has seen every sequence before. Nothing of a step may differ.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from journeys.review import plugged
from spec.kit import compiled
from statechart.charts import SENT, charts
from statechart.test_differential import FACTS as SENDABLE

from loopspec.check.spec import check_spec
from loopspec.codec import digest, encode
from loopspec.drivers.launch import tool_infos
from loopspec.effects import CallModel, CompactContext, DecideCalls, Effect, RunTool, TakeBoundary
from loopspec.events import (
    COMMANDS,
    FACTS,
    AttemptFailed,
    BoundaryTaken,
    ContextCompacted,
    Decision,
    EffectAnswered,
    EffectCancelled,
    GateDecided,
    HostWoke,
    Kept,
    ModelReplied,
    ProposedCall,
    SessionStarted,
    Stamped,
    TimerFired,
    TokenUsage,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.journal.fold import empty
from loopspec.machine.calculator import After, Calculator, Hands, Scope
from loopspec.machine.dispatch import Engine
from loopspec.machine.memo import MAX_NODES, Memo
from loopspec.machine.model import Kind, Machine, State, Transition
from loopspec.machine.step import Step, step
from loopspec.snapshot import Snapshot
from machine.builders import T0, machine
from machine.test_step_total import an_event

ROOT = Path(__file__).parent.parent.parent
SPECS = sorted([*ROOT.glob("specs/*.yaml"), *ROOT.glob("docs/guide/*.yaml")])
SPECS = [path for path in SPECS if path.read_text().lstrip("# \n").find("loopspec: 1") >= 0]
LOOK = dict(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
ERRING = ("10 / vars.n > 1", "10 / vars.m >= 0", "10 / (vars.n - 2) < 99")
FAILING = {"n": "10 / vars.m", "m": "10 / (vars.n - 1)"}


def written(made: Step) -> bytes:
    """All that a step gives, as bytes."""
    blobs = {key: digest(data) for key, data in made.blobs.items()}
    parts = (made.outcome, made.snapshot, made.effects, made.record, made.refusal, made.accepted)
    return encode((*parts, blobs))


class TooLong(Exception):
    """A chart that goes in circles: we would stop it after thousands of microsteps of half a
    millisecond."""


class Patient:
    """The calculator, but not for ever."""

    def __init__(self, calculator: Calculator) -> None:
        self.calculator = calculator
        self.left = 0

    def begin(self, hands: Hands) -> After:
        return self.calculator.begin(hands)

    def microstep(self, *args: Any) -> After:
        self.left -= 1
        if self.left < 0:
            raise TooLong
        return self.calculator.microstep(*args)


class Trio:
    """A machine's three engines, and a session that all of them step."""

    def __init__(self, made: Machine, memo: type[Memo] = Memo) -> None:
        self.machine = made
        self.plain = Engine(made, memo=None)
        self.patient = Patient(self.plain.chart.calculator)
        self.plain.chart.microsteps = self.patient
        self.warm, self.cold = self.beside(memo), self.beside(memo)
        self.again()

    def beside(self, memo: type[Memo]) -> Engine:
        """An engine around the same calculator (which costs the most to build), with a memo."""
        made = copy(self.plain)
        made.chart = copy(self.plain.chart)
        made.chart.microsteps = memo(self.plain.chart.calculator)
        return made

    def again(self) -> None:
        """A new session, with trees that have not grown yet beside those that have."""
        self.cold.chart.microsteps = type(self.memo)(self.cold.chart.calculator)
        self.at = 0
        self.snapshot: Snapshot = empty("s")
        self.tell(SessionStarted(self.machine.digest, inputs='{"task":"t"}', workdir="/w"))

    @property
    def memo(self) -> Memo:
        """The warm one."""
        assert isinstance(self.warm.chart.microsteps, Memo)
        return self.warm.chart.microsteps

    def tell(self, event: Kept) -> Step:
        """Step one event three ways."""
        self.at += 1_000_000
        stamped = Stamped(T0 + self.at, self.at, "test", event)
        self.patient.left = 120
        plain, *others = (
            step(self.machine, self.snapshot, stamped, engine)
            for engine in (self.plain, self.cold, self.warm)
        )
        for other in others:
            assert written(other) == written(plain)
        self.snapshot = plain.snapshot
        return plain


# ---------------------------------------------------------------- loops with kinds


def fitting(draw: Any, snapshot: Snapshot) -> Kept:
    """What may well happen next: an answer, a timer, or a person."""
    asked: list[Kept] = [UserMessage("go"), UserInterrupted(), UserResumed(), HostWoke()]
    asked += [TimerFired(timer) for timer in snapshot.timers if timer.startswith(("after", "retry"))]
    for key, pending in snapshot.pending.items():
        asked += (
            [EffectCancelled(key)]
            if pending.status == "cancelling"
            else 3 * [answer(draw, pending.effect)]
        )
    return draw(st.sampled_from(asked))


def answer(draw: Any, effect: Effect) -> Kept:
    """An answer that fits an effect."""
    key = effect.id
    match effect:
        case CallModel():
            tools = draw(st.lists(st.sampled_from(["read_file", "edit_file", "shell", "x"]), max_size=2))
            calls = [ProposedCall(tool, '{"path":"a"}') for tool in tools]
            usage = TokenUsage(draw(st.sampled_from([0, 10, 190_000])), 5, cost=7)
            failed = AttemptFailed(key, "provider", retryable=True)
            return draw(st.sampled_from([ModelReplied(key, "text", calls, usage=usage)] * 4 + [failed]))
        case DecideCalls(calls=ids):
            answers = st.sampled_from(["allow", "allow", "ask", "deny"])
            return GateDecided(key, [Decision(c, draw(answers)) for c in ids])
        case RunTool(call=call):
            return ToolAnswered(key, call, draw(st.sampled_from(["ok", "error"])), "out")
        case TakeBoundary(boundary=name):
            return BoundaryTaken(key, name, "ref")
        case CompactContext():
            return ContextCompacted(key, before=100, after=10)
        case _:
            return EffectAnswered(key, "work.done", '{"left": 1}')


@cache
def shipped(path: Path) -> Trio:
    """A spec that people run, on engines that stay warm from example to example."""
    found = plugged(path.stem)
    made = check_spec(path.read_text(), kinds=found.kinds, tools=tool_infos(found)).machine
    assert made is not None
    return Trio(made)


@cache
def regions() -> Trio:
    """Two regions with work of the same kind, whose endings only their own lines may see."""
    work = {
        "kind": "work",
        "on": {
            "work.done": [
                {
                    "guard": "event.left + vars.n < 3",
                    "target": "again",
                    "do": [("assign", "n", "vars.n + 1")],
                },
                {"target": "over"},
            ]
        },
    }
    region = {
        "initial": "one",
        "on": {"work.done": {"do": [("mark", "seen")]}},
        "states": {
            "one": work,
            "again": {"always": [{"guard": "vars.n > 1", "target": "one"}, "over"]},
            "over": {"type": "final"},
            "past": {"type": "history", "deep": True, "target": "one"},
        },
    }
    states = {
        "both": {
            "type": "parallel",
            "on": {"user.interrupted": "out", "host.woke": {"do": [("assign", "n", "0")]}},
            "done": "out",
            "states": {"l": region, "r": region},
        },
        "out": {"on": {"user.message": "both", "user.resumed": "both.r.past"}},
    }
    schema = '{"type":"object","properties":{"left":{"type":"integer"}}}'
    kind = Kind("work", "one", "perform", "work", endings={"work.done": schema})
    return Trio(machine(states, kinds={"work": kind}, vars={"n": ("int", "0")}))


def played(trio: Trio, data: st.DataObject, most: int) -> None:
    """Two sessions on the same warm engine."""
    for _ in range(2):
        trio.again()
        for _ in range(data.draw(st.integers(3, most))):
            if data.draw(st.integers(0, 9)):
                event = fitting(data.draw, trio.snapshot)
            else:
                event = an_event(data.draw, trio, data.draw(st.sampled_from(COMMANDS + FACTS)))  # type: ignore[arg-type]
            trio.tell(event)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.name)
@settings(max_examples=4, **LOOK)
@given(data=st.data())
def test_a_loop_that_people_run_steps_the_same(path: Path, data: st.DataObject) -> None:
    played(shipped(path), data, 25)


@settings(max_examples=12, **LOOK)
@given(data=st.data())
def test_endings_in_regions_step_the_same(data: st.DataObject) -> None:
    played(regions(), data, 20)


# ---------------------------------------------------------------- random charts


@st.composite
def faulty(draw: st.DrawFn) -> dict[str, Any]:
    """A random chart, some of whose guards and assignments err."""
    spec = draw(charts())
    dice = Random(draw(st.integers(0, 1 << 16)))

    def visit(node: Any) -> None:
        for inner in node.values() if isinstance(node, dict) else node:
            if isinstance(inner, dict | list):
                visit(inner)
        if isinstance(node, dict) and "guard" in node and dice.random() < 0.1:
            node["guard"] = dice.choice(ERRING)
        if isinstance(node, dict) and "assign" in node and dice.random() < 0.1:
            node["assign"] = {name: FAILING[name] for name in node["assign"]}

    visit(spec["states"])
    return spec


EVENTS = st.lists(st.lists(st.sampled_from(SENT), min_size=3, max_size=7), min_size=2, max_size=3)


def stepped(spec: dict[str, Any], sequences: list[list[str]], memo: type[Memo] = Memo) -> Trio:
    """Several sessions of a chart, one after the other on the same warm engine."""
    made = compiled(yaml.safe_dump(spec, sort_keys=False, width=200))
    assert made.machine is not None, [str(d) for d in made.diagnostics]
    trio = Trio.__new__(Trio)
    with suppress(TooLong):
        trio.__init__(made.machine, memo)  # type: ignore[misc]
        for events in sequences:
            trio.again()
            for name in events:
                trio.tell(SENDABLE[name])
    return trio


@settings(max_examples=25, **LOOK)
@given(faulty(), EVENTS)
def test_a_random_chart_steps_the_same(spec: dict[str, Any], sequences: list[list[str]]) -> None:
    stepped(spec, sequences)


@pytest.mark.slow
@settings(max_examples=800, **{**LOOK, "phases": (Phase.generate, Phase.shrink)})
@given(faulty(), EVENTS)
def test_many_more_charts_step_the_same(spec: dict[str, Any], sequences: list[list[str]]) -> None:
    stepped(spec, sequences)


class Small(Memo):
    """Forgets all the time."""

    def __init__(self, calculator: Calculator) -> None:
        super().__init__(calculator, limit=9)


@settings(max_examples=8, **LOOK)
@given(faulty(), EVENTS)
def test_forgetting_changes_nothing_and_keeps_to_the_limit(
    spec: dict[str, Any], sequences: list[list[str]]
) -> None:
    assert stepped(spec, sequences, Small).memo.nodes <= 9


# ---------------------------------------------------------------- the comparison finds a wrong memo


class Wrapped:
    """Hands that a wrong memo puts before the right ones."""

    def __init__(self, hands: Hands, wrong: Any) -> None:
        self.hands, self.wrong = hands, wrong

    def guard(self, transition: Transition, event: str | None) -> bool:
        return self.hands.guard(transition, event)

    def leave(self, state: State) -> None:
        self.hands.leave(state)

    def take(self, transition: Transition, event: str | None) -> None:
        self.hands.take(transition, event)

    def enter(self, state: State) -> None:
        self.hands.enter(state)

    def done(self, event: str) -> None:
        self.hands.done(event)


class Stubborn(Memo):
    """Takes what a guard gave once for what it gives always."""

    def __init__(self, calculator: Calculator) -> None:
        super().__init__(calculator)
        self.gave: dict[int, bool] = {}

    def microstep(self, *args: Any) -> After:
        configuration, history, event, hands, scope = args

        class Asked(Wrapped):
            def guard(self, transition: Transition, event: str | None) -> bool:
                if transition.id not in self.wrong:
                    self.wrong[transition.id] = self.hands.guard(transition, event)
                return bool(self.wrong[transition.id])

        return super().microstep(configuration, history, event, Asked(hands, self.gave), scope)


class Hasty(Memo):
    """Applies a transition's actions after those of the states that are entered."""

    def microstep(self, *args: Any) -> After:
        configuration, history, event, hands, scope = args

        class Late(Wrapped):
            def take(self, transition: Transition, event: str | None) -> None:
                self.wrong.append((transition, event))

        late: list[tuple[Transition, str | None]] = []
        found = super().microstep(configuration, history, event, Late(hands, late), scope)
        for transition, name in late:
            hands.take(transition, name)
        return found


class Forgetful(Memo):
    """Finds a tree without a look at what history states remember."""

    def _plant(self, *args: Any) -> Any:
        made = super()._plant(*args)
        made.past = ()
        return made


class Deaf(Memo):
    """Finds a tree without a look at who may see the event."""

    def __init__(self, calculator: Calculator) -> None:
        super().__init__(calculator)
        self.first: dict[tuple[Any, ...], Scope] = {}

    def microstep(self, *args: Any) -> After:
        configuration, history, event, hands, scope = args
        scope = self.first.setdefault((configuration, event), scope)
        return super().microstep(configuration, history, event, hands, scope)


class Careless(Memo):
    """Forgets which states a history state was made to remember."""

    def microstep(self, *args: Any) -> After:
        return msgspec.structs.replace(super().microstep(*args), recorded={})


SLOW = pytest.param(Forgetful, marks=pytest.mark.slow)  # few charts come to the same place twice


def differs(trio: Callable[[], Trio], acts: Callable[[Trio], object]) -> bool:
    """Whether the comparison finds something."""
    try:
        acts(trio())
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("wrong", [Stubborn, Hasty, Careless, SLOW])
def test_a_memo_that_is_wrong_is_found_by_random_charts(wrong: type[Memo]) -> None:
    def bad(example: tuple[dict[str, Any], list[list[str]]]) -> bool:
        spec, sequences = example
        return differs(lambda: stepped(spec, sequences, wrong), lambda trio: None)

    look = settings(max_examples=1_500, phases=(Phase.generate,), **LOOK)
    try:
        find(st.tuples(charts(), EVENTS), bad, settings=look)
    except NoSuchExample:
        pytest.fail(f"{wrong.__name__} was not found")


def both_ended(trio: Trio, order: Iterable[int]) -> None:
    """Sessions in which the work of one region ends first, then that of the other."""
    for first in order:
        trio.again()
        keys = list(trio.snapshot.pending)
        for key in (keys[first], keys[1 - first]):
            trio.tell(EffectAnswered(key, "work.done", '{"left": 9}'))


def test_a_memo_that_does_not_look_at_the_scope_is_found() -> None:
    made = regions().machine
    assert differs(lambda: Trio(made, Deaf), lambda trio: both_ended(trio, (0, 1)))
    assert not differs(lambda: Trio(made, Memo), lambda trio: both_ended(trio, (0, 1, 0, 1)))


def remembered(trio: Trio) -> None:
    """Sessions that leave the box at different places, and come back to where they were."""
    for moves in ((), (UserMessage("x"),), ()):
        trio.again()
        for event in (*moves, UserInterrupted(), UserResumed()):
            trio.tell(event)


def test_a_memo_that_does_not_look_at_the_history_is_found() -> None:
    box = {
        "initial": "one",
        "on": {"user.interrupted": "out"},
        "states": {
            "one": {"on": {"user.message": "two"}},
            "two": {},
            "past": {"type": "history", "target": "one"},
        },
    }
    made = machine({"box": box, "out": {"on": {"user.resumed": "box.past"}}})
    assert differs(lambda: Trio(made, Forgetful), remembered)
    assert not differs(lambda: Trio(made, Memo), remembered)


# ---------------------------------------------------------------- what the memo is for


def test_a_warm_tree_asks_the_calculator_no_more() -> None:
    trio = regions()
    both_ended(trio, (0, 1))
    memo = trio.memo
    before = memo.nodes

    class Broken(Calculator):
        def microstep(self, *args: Any) -> After:
            raise ZeroDivisionError

        begin = microstep

    right, memo.calculator = memo.calculator, object.__new__(Broken)
    try:
        both_ended(trio, (0, 1))
    finally:
        memo.calculator = right
    assert memo.nodes == before <= MAX_NODES


def test_a_guard_that_erred_once_is_asked_again_and_then_the_tree_goes_on() -> None:
    """The branch behind a call that raised is not known; what follows is recorded when it is met."""
    states = {
        "a": {
            "on": {
                "user.message": [{"guard": "10 / vars.n > 1", "target": "b"}, {"target": "a"}],
                "user.resumed": {"do": [("assign", "n", "vars.n + 1")]},
            }
        },
        "b": {"on": {"user.message": "a"}},
    }
    trio = Trio(machine(states, vars={"n": ("int", "0")}))
    assert "zero" in trio.tell(UserMessage("x")).snapshot.stuck
    trio.again()
    trio.tell(UserResumed())
    assert trio.tell(UserMessage("x")).snapshot.configuration == ("b",)
    trio.again()
    assert "zero" in trio.tell(UserMessage("x")).snapshot.stuck
