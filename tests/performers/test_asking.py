"""A plugin's performer asks a declared model: through the driver, with scripts and real stores."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from loopspec.codec import decode, decode_snapshot
from loopspec.drivers import launch
from loopspec.drivers.answers import checked
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session, stepper, verified
from loopspec.drivers.simulated import Simulation
from loopspec.drivers.verifying import load_machine
from loopspec.drivers.world import SystemClock
from loopspec.effects import Effect, Perform
from loopspec.event_base import TokenUsage
from loopspec.events import (
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    Kept,
    Live,
    ModelChosen,
    TextDelta,
    UserInterrupted,
)
from loopspec.governance.redact import Redactor
from loopspec.hooks import AskFailed, Reply, World
from loopspec.journal.chain import read
from loopspec.journal.fold import recompute
from loopspec.machine.model import Kind, Machine
from loopspec.machine.rest import Rest
from loopspec.performers import scripted
from loopspec.registry import Registry, installed
from loopspec.snapshot import Usage
from loopspec.stores.sqlite import SqliteStore

SECRET = "hunter2-correct-horse"
REDACTOR = Redactor.from_environment({"MY_API_KEY": SECRET})
DONE = json.dumps({"type": "object", "properties": {"said": {"type": "string"}}})
QUIZ = Kind(
    "quiz",
    "one",
    "perform",
    "quiz",
    {"quiz.done": DONE, "quiz.none": DONE},
    schema=json.dumps(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {"model": {"type": "string", "format": "model"}},
        }
    ),
)
SPEC = """\
loopspec: 1
name: asks
version: 1.0.0
models:
  main: {use: scripted/main.yaml}
  judge: {use: scripted/judge.yaml}
budgets: {tokens: 1000, usd: 1.00, elapsed: 1h}
initial: all
states:
  all:
    on: {budget.exhausted: spent, user.interrupted: stopped, model.chosen: all}
    initial: asking
    states:
      asking:
        kind: quiz
        model: judge
        on: {quiz.done: over, quiz.none: over, effect.failed: over}
      over: {}
  spent: {outcome: failed}
  stopped: {kind: interrupt, on: {user.resumed: all, user.message: all}}
"""
USAGE = "usage: {input: 100, output: 20, cost_usd: '0.001'}"
SPENT = TokenUsage(100, 20, cost=1_000_000)
Behaviour = Callable[[Effect, World], Awaitable[Kept]]


async def once(effect: Effect, world: World) -> Kept:
    """Asks once and gives back what was said."""
    reply = await world.ask(effect, "judge", [{"role": "user", "content": "How is it?"}], "You judge.")
    return EffectAnswered(effect.id, "quiz.done", json.dumps({"said": reply.text}))


class Place:
    """A directory with a spec, its scripts and a store."""

    def __init__(self, path: Path, judge: str, spec: str = SPEC) -> None:
        self.path = path
        (path / "main.yaml").write_text("script: 1\nturns: [{reply: x}]\n")
        self.script(judge)
        (path / "spec.yaml").write_text(spec)
        self.store = SqliteStore(path / "store")
        self.live: list[Live] = []

    def script(self, judge: str) -> None:
        """What the judge says from now on."""
        (self.path / "judge.yaml").write_text(f"script: 1\nturns:\n{judge}")

    def registry(self, behave: Behaviour) -> Registry:
        """What is installed, and a plugin whose performer behaves so."""

        class Performer:
            async def perform(self, effect: Effect, world: World) -> Kept:
                return await behave(effect, world)

        base = installed()
        kinds = {**base.kinds, "quiz": QUIZ}
        return Registry(kinds, base.tools, {**base.performers, "quiz": Performer}, base.origins)

    def machine(self) -> Machine:
        loaded = launch.load(str(self.path / "spec.yaml"), self.registry(once))
        assert loaded.machine is not None, loaded.diagnostics
        return launch.anchored(loaded.machine, self.path)

    def run(self, behave: Behaviour = once, doing: "Doing | None" = None) -> Rest:
        """Begin session `s1`, or take it up again, and drive it to its rest."""
        return asyncio.run(self._run(behave, doing))

    async def _run(self, behave: Behaviour, doing: "Doing | None") -> Rest:
        reg, first = self.registry(behave), None
        if self.store.sessions():
            session = Session.load(self.store, "s1", SystemClock(), REDACTOR)
        else:
            machine = self.machine()
            event = launch.started(machine, reg, "{}", self.path, launch.preflight(machine), "0")
            session, first = await Session.create(
                self.store, machine, "s1", event, SystemClock(), REDACTOR
            )
        door = Watching(self.live, doing)
        door.driver = LocalDriver(session, reg, door)
        return await door.driver.run((), first)

    def events(self) -> list[Kept]:
        """The session's events, the whole chain checked, every step run again."""
        entries = [read(row) for row in self.store.entries("s1")]
        assert [e.seq for e in entries] == [e.seq for e in verified(self.store, "s1")]
        machine = load_machine(self.store, decode_snapshot(self.store.head("s1").snapshot).machine)
        assert list(recompute("s1", entries, stepper(machine))) == []
        return [entry.event for entry in entries]

    def usage(self) -> Usage:
        return Session.load(self.store, "s1", SystemClock(), REDACTOR).snapshot.usage


Doing = Callable[[LocalDriver], Awaitable[object]]


class Watching(Nobody):
    """Keeps what is shown; at the first piece of text it does something."""

    def __init__(self, live: list[Live], doing: Doing | None) -> None:
        super().__init__()
        self.shown, self.doing = live, doing
        self.driver: LocalDriver | None = None
        self.task: asyncio.Future[object] | None = None

    def live(self, event: Live) -> None:
        self.shown.append(event)
        if isinstance(event, TextDelta) and self.doing is not None and self.driver is not None:
            doing, self.doing = self.doing, None
            self.task = asyncio.ensure_future(doing(self.driver))


@pytest.fixture(autouse=True)
def fresh() -> None:
    scripted.forget()


def test_a_reply_is_shown_given_back_and_counted(tmp_path: Path) -> None:
    replies: list[Reply] = []

    async def keep(effect: Effect, world: World) -> Kept:
        replies.append(await world.ask(effect, "judge", [{"role": "user", "content": "How is it?"}]))
        return EffectAnswered(effect.id, "quiz.done")

    place = Place(tmp_path, f"  - {{reply: 'It is good.', chunk: 6, {USAGE}}}\n")
    place.run(keep)
    assert replies == [Reply("It is good.", f"scripted/{tmp_path}/judge.yaml", "stop", SPENT)]
    answer = place.events()[-1]
    assert answer == EffectAnswered("s1:0:0", "quiz.done", "{}", SPENT)
    assert place.usage() == Usage(input_tokens=100, output_tokens=20, cost=1_000_000)
    shown = [e for e in place.live if isinstance(e, TextDelta)]
    assert "".join(e.text for e in shown) == "It is good." and len(shown) == 2
    assert {e.effect for e in shown} == {"s1:0:0"}


def test_every_asking_counts_and_so_does_what_the_performer_says_it_spent_itself(tmp_path: Path) -> None:
    async def thrice(effect: Effect, world: World) -> Kept:
        for _ in range(2):
            await once(effect, world)
        return EffectAnswered(effect.id, "quiz.done", usage=TokenUsage(1, 2, cost=3))

    place = Place(tmp_path, f"  - {{when: How, reply: Good., {USAGE}}}\n")
    place.run(thrice)
    assert place.usage() == Usage(input_tokens=201, output_tokens=42, cost=2_000_003)


@pytest.mark.parametrize("how", ["raises", "fails", "lies"])
def test_what_was_consumed_counts_when_the_performer_comes_to_nothing(tmp_path: Path, how: str) -> None:
    async def behave(effect: Effect, world: World) -> Kept:
        await once(effect, world)
        if how == "raises":
            raise ZeroDivisionError("a bug")
        if how == "fails":
            return EffectFailed(effect.id, "no")
        return EffectAnswered(effect.id, "quiz.done", usage=TokenUsage(-100, 0))

    place = Place(tmp_path, f"  - {{reply: Good., {USAGE}}}\n")
    place.run(behave)
    failed = place.events()[-1]
    assert isinstance(failed, EffectFailed) and failed.usage == SPENT
    assert {"raises": "ZeroDivisionError", "fails": "no", "lies": "below zero"}[how] in failed.reason
    assert place.usage() == Usage(input_tokens=100, output_tokens=20, cost=1_000_000)


@pytest.mark.parametrize(
    ("turn", "reason", "retryable", "partial"),
    [
        ("{error: {status: 429, message: slow down, retry_after: 1}}", "rate_limited", True, ""),
        ("{error: {status: 401, message: who are you}}", "auth", False, ""),
        ("{reply: Half of it, truncate: true}", "truncated", True, "Half of it"),
        ("{error: {status: 400, message: maximum context length}}", "overflow", False, ""),
        ("{reply: '', calls: [{tool: shell, args: {}}]}", "empty", True, ""),
        (f"{{error: {{status: 400, message: not {SECRET}}}}}", "bad_request", False, ""),
    ],
    ids=["limited", "refused", "cut off", "too long", "no text", "a secret"],
)
def test_a_failure_is_raised_and_nothing_is_tried_again(
    tmp_path: Path, turn: str, reason: str, retryable: bool, partial: str
) -> None:
    raised: list[AskFailed] = []

    async def behave(effect: Effect, world: World) -> Kept:
        try:
            return await once(effect, world)
        except AskFailed as err:
            raised.append(err)
            raise

    place = Place(tmp_path, f"  - {turn}\n  - {{reply: The second try.}}\n")
    place.run(behave)
    (err,) = raised
    assert (err.reason, err.retryable, err.partial) == (reason, retryable, partial)
    failed = place.events()[-1]
    assert isinstance(failed, EffectFailed)
    assert failed.reason.startswith(f"the model `judge` gave no answer ({reason}")
    assert SECRET not in repr(place.events()) and SECRET not in str(err)


def test_a_model_that_the_state_does_not_name_is_not_asked(tmp_path: Path) -> None:
    async def behave(effect: Effect, world: World) -> Kept:
        for name in ("main", "nobody"):
            with pytest.raises(AskFailed, match=r"`all\.asking` names these models: judge") as raised:
                await world.ask(effect, name, [{"role": "user", "content": "x"}])
            assert raised.value.reason == "undeclared"
        return EffectAnswered(effect.id, "quiz.done")

    place = Place(tmp_path, "  - {reply: x}\n")
    place.run(behave)
    assert place.events()[-1] == EffectAnswered("s1:0:0", "quiz.done")


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "x"}],
        [{"role": "system", "content": "x"}],
        [{"role": "user", "content": " "}],
        [{"role": "user"}],
    ],
)
def test_messages_that_no_provider_takes_are_refused(tmp_path: Path, messages: list[Any]) -> None:
    async def behave(effect: Effect, world: World) -> Kept:
        await world.ask(effect, "judge", messages)
        raise AssertionError("it was asked")

    place = Place(tmp_path, "  - {reply: x}\n")
    place.run(behave)
    failed = place.events()[-1]
    assert isinstance(failed, EffectFailed) and "(bad_request: " in failed.reason


def test_nothing_secret_is_shown_kept_or_given_to_the_performer(tmp_path: Path) -> None:
    text = f"The key is {SECRET}, is it not?"
    place = Place(tmp_path, f"  - {{reply: '{text}', chunk: 3}}\n")
    place.run(once)
    safe = text.replace(SECRET, "[secret:MY_API_KEY]")
    assert place.events()[-1].data == json.dumps({"said": safe})  # type: ignore[union-attr]
    assert "".join(e.text for e in place.live if isinstance(e, TextDelta)) == safe


def test_a_cancel_in_the_middle_stops_the_stream_and_what_came_is_counted(tmp_path: Path) -> None:
    async def interrupt(driver: LocalDriver) -> object:
        return await driver.tell(UserInterrupted())

    place = Place(tmp_path, "  - {reply: 'It goes on and on.', chunk: 5, stall_after: 10}\n")
    rest = place.run(once, interrupt)
    assert rest.reason == "interrupted"
    stopped = place.events()[-1]
    assert isinstance(stopped, EffectCancelled) and stopped.started
    assert stopped.usage.input_tokens > 0 and stopped.usage.output_tokens > 0
    assert place.usage().input_tokens == stopped.usage.input_tokens


def test_after_a_crash_in_the_middle_it_is_asked_again(tmp_path: Path) -> None:
    async def leave(driver: LocalDriver) -> object:
        driver.stop(Rest("idle"))
        return None

    place = Place(tmp_path, "  - {reply: 'It goes on and on.', chunk: 5, stall_after: 10}\n")
    place.run(once, leave)
    assert len(place.events()) == 1
    place.script(f"  - {{reply: Good., {USAGE}}}\n")
    place.run()
    assert place.events()[1:] == [EffectAnswered("s1:0:0", "quiz.done", '{"said": "Good."}', SPENT)]
    assert place.usage() == Usage(input_tokens=100, output_tokens=20, cost=1_000_000)


def test_a_spent_budget_is_found_before_the_next_asking(tmp_path: Path) -> None:
    again = SPEC.replace("quiz.done: over", "quiz.done: asking")
    place = Place(tmp_path, f"  - {{when: How, reply: Good., {USAGE}}}\n", again)
    place.run()
    assert place.usage() == Usage(input_tokens=900, output_tokens=180, cost=9_000_000)
    session = Session.load(place.store, "s1", SystemClock(), REDACTOR)
    assert (session.snapshot.configuration, session.snapshot.spent) == (("spent",), "tokens")


def test_the_model_a_person_chose_is_the_one_that_is_asked(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("script: 1\nturns: [{reply: The other one.}]\n")

    async def choose(driver: LocalDriver) -> object:
        return await driver.tell(ModelChosen("judge", f"scripted/{other}", 0, True))

    place = Place(tmp_path, "  - {reply: 'It goes on and on.', chunk: 5, stall_after: 10}\n")
    place.run(once, choose)
    assert place.events()[-1].data == '{"said": "The other one."}'  # type: ignore[union-attr]


def test_deadlines_of_the_declaration_hold(tmp_path: Path) -> None:
    quick = "judge: {use: scripted/judge.yaml, deadlines: {first_chunk: 100ms}}"
    spec = SPEC.replace("judge: {use: scripted/judge.yaml}", quick)
    place = Place(tmp_path, "  - {hang: true}\n", spec)
    place.run()
    failed = place.events()[-1]
    assert isinstance(failed, EffectFailed) and "(timeout: no more content within 0.1 s" in failed.reason


def simulated(spec: str, path: Path) -> list[Simulation]:
    """Sessions of a spec in simulated worlds, in which nothing was violated."""
    machine = Place(path, "  - {reply: x}\n", spec).machine()
    done = []
    for seed in range(20):
        sim = Simulation(machine, seed)
        assert sim.run() == []
        done.append(sim)
    return done


def test_a_simulated_world_bills_what_may_ask_and_budgets_end_it(tmp_path: Path) -> None:
    again = SPEC.replace(": over,", ": asking,").replace("tokens: 1000", "tokens: 3000")
    sims = simulated(again, tmp_path)
    ends = [(sim.snapshot.configuration, sim.snapshot.usage.tokens >= 3000) for sim in sims]
    assert ends.count((("spent",), True)) > 5
    answers = [e.event for sim in sims for e in sim.entries() if isinstance(e.event, EffectAnswered)]
    assert answers and all(answer.usage for answer in answers)


def test_a_simulated_world_bills_nothing_to_what_asks_no_model(tmp_path: Path) -> None:
    sims = simulated(SPEC.replace("        model: judge\n", ""), tmp_path)
    answers = [e.event for sim in sims for e in sim.entries() if isinstance(e.event, EffectAnswered)]
    assert answers and not any(answer.usage for answer in answers)


def test_an_old_answer_without_usage_is_still_read() -> None:
    old = b'{"data":"{}","effect":"e","name":"x.done","type":"effect.answered"}'
    assert decode(old, EffectAnswered) == EffectAnswered("e", "x.done")


def test_a_usage_below_zero_is_a_fault_of_the_performer(tmp_path: Path) -> None:
    effect = Perform("s:1:0", "all.asking", "quiz")
    machine = Place(tmp_path, "  - {reply: x}\n").machine()
    for wrong in (TokenUsage(-1), TokenUsage(0, -1), TokenUsage(1, 1, -1), TokenUsage(1, 1, 0, -1)):
        made = checked(machine, effect, EffectAnswered("s:1:0", "quiz.done", "{}", wrong))
        assert isinstance(made, EffectFailed) and "below zero" in made.reason and not made.usage


def test_usages_add_up() -> None:
    nothing, known, unknown = TokenUsage(), TokenUsage(1, 2, 3, 4), TokenUsage(10, 20, 30)
    assert nothing.plus(known) == known.plus(nothing) == known
    assert known.plus(known) == TokenUsage(2, 4, 6, 8)
    assert known.plus(unknown) == unknown.plus(known) == TokenUsage(11, 22, 33, 4)
    assert unknown.plus(unknown) == TokenUsage(20, 40, 60)
    assert nothing.plus(TokenUsage(cost=0)) in (TokenUsage(), TokenUsage(cost=0))
