"""What people give: changed arguments, grants within limits, calls of their own. Real runs on disk."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli.kit import LOOP, Place, small

from drivers.moving_kit import exported, imported
from loopspec.context.transcript import provider_messages
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody, waiting_call
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session, stepper, verified
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import Effect
from loopspec.events import (
    ApprovalGiven,
    EffectClaimed,
    EffectLost,
    EffectStarted,
    GateDecided,
    Kept,
    Live,
    ToolAnswered,
    UserCalled,
    UserMessage,
)
from loopspec.hooks import World
from loopspec.journal.entry import Entry
from loopspec.journal.fold import recompute
from loopspec.machine.rest import Rest
from loopspec.registry import Registry, installed
from loopspec.stores.memory import MemoryStore
from loopspec.stores.sqlite import SqliteStore

ROOT = Path(__file__).parent.parent.parent
OWN = """\
  ready: {kind: input, on: {user.message: working, user.called: own_call}}
  own_call:
    initial: judging
    on: {budget.exhausted: ready, user.interrupted: ready}
    states:
      judging: {kind: gate, on: {gate.allowed: running, gate.asked: asking, gate.denied: ready}}
      running:
        kind: tools
        boundary: workspace
        on: {tools.settled: ready, effect.lost: asking, boundary.failed: ready}
      asking:
        kind: approval
        after: {24h: ready}
        on: {approval.granted: running, approval.denied: ready}
"""
SPEC = LOOP.replace("  ready: {kind: input, on: {user.message: working}}\n", OWN).replace(
    '  deny: [{tools: ["*"], paths: ["secret/**"]}]',
    '  deny: [{tools: ["*"], paths: ["secret/**"]}, {tools: [shell], commands: ["rm *"]}]',
)
Says = Callable[[Session], Kept | None]


class Person(Nobody):
    """Says what it was given, one thing at each rest; keeps what was refused."""

    def __init__(self, *says: Says | Kept) -> None:
        super().__init__()
        self.says = list(says)
        self.refusals: list[str] = []

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        self.refusals.append(reason)

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        said = self.says.pop(0) if self.says else None
        return said(session) if callable(said) else said


def answer(**changes: Any) -> Says:
    """A yes to the call that waits, with other fields."""

    def say(session: Session) -> Kept:
        call = waiting_call(session)
        assert call is not None
        return msgspec.structs.replace(ApprovalGiven(call.id, call.args_hash, "grant"), **changes)

    return say


async def play(place: Place, spec: Path, door: Person, reg: Registry, name: str = "s1") -> Session:
    """Run a session to its rest behind `door`."""
    store = SqliteStore(place.store)
    machine = launch.load(str(spec), reg).machine
    assert machine is not None
    event = launch.started(machine, reg, "{}", place.work, launch.preflight(machine), "0")
    made = await Session.create(store, machine, name, event, SystemClock(), redactor())
    driver = LocalDriver(made[0], reg, door)
    if isinstance(door, Stops):
        door.driver = driver
    await driver.run([(UserMessage(text="Go"), "person")], made[1])
    return made[0]


def run(place: Place, spec: Path, *says: Says | Kept) -> tuple[Session, Person, list[Entry]]:
    """A whole session; its journal holds, goes out and in again, and steps to the same once more."""
    door = Person(*says)
    session = asyncio.run(play(place, spec, door, installed()))
    entries = whole(session)
    return session, door, entries


def whole(session: Session) -> list[Entry]:
    """The entries, verified, recomputed, and the same after they went to another store."""
    entries = list(verified(session.store, session.id))
    assert list(recompute(session.id, entries, stepper(session.machine))) == []
    other = MemoryStore()
    imported(other, exported(session.store, session.id))
    assert list(verified(other, session.id)) == entries
    again = Session.load(other, session.id, SystemClock(), redactor())
    assert again.items == session.items
    return entries


def shell(command: str) -> dict[str, Any]:
    """What a model proposes."""
    return {"tool": "shell", "args": {"command": command}}


def outputs(entries: list[Entry]) -> list[tuple[str, str]]:
    """What the tools answered."""
    return [(e.event.status, e.event.output) for e in entries if isinstance(e.event, ToolAnswered)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_changed_arguments_run_and_the_model_is_told(place: Place) -> None:
    told = "A person changed the arguments of this call to:"
    spec = small(
        place,
        {"reply": "", "calls": [shell("echo model > out")]},
        {"when": told, "reply": "I see."},
        loop=SPEC,
    )
    changed = '{"command":"echo person > out; cat out"}'
    session, door, entries = run(place, spec, answer(args=changed))
    assert door.refusals == []
    assert (place.work / "out").read_text() == "person\n"
    assert outputs(entries) == [("ok", "person\nexit code 0")]
    messages = provider_messages(session.items, "")
    (result,) = [m["content"] for m in messages if m["role"] == "tool"]
    assert result == f"{told} {changed}\nperson\nexit code 0"
    assert session.items[-1].text == "I see."
    (proposed,) = [m["tool_calls"] for m in messages if m.get("tool_calls")]
    assert proposed[0]["function"]["arguments"] == '{"command":"echo model > out"}'


def test_the_rules_hold_for_what_a_person_makes_of_a_call(place: Place) -> None:
    (place.work / "kept").write_text("x")
    spec = small(place, {"reply": "", "calls": [shell("ls")]}, {"reply": "I see."}, loop=SPEC)
    _, _, entries = run(place, spec, answer(args='{"command":"rm kept"}'))
    ((status, output),) = outputs(entries)
    assert status == "error"
    assert output.startswith("What a person made of this call is not allowed (deny at ")
    assert (place.work / "kept").exists()


def test_changed_arguments_that_do_not_fit_the_tool_are_told_like_the_model_s(place: Place) -> None:
    spec = small(place, {"reply": "", "calls": [shell("ls")]}, {"reply": "I see."}, loop=SPEC)
    _, _, entries = run(place, spec, answer(args='{"order":"ls"}'))
    ((status, output),) = outputs(entries)
    assert status == "error"
    assert output.startswith("The arguments do not fit: ")


def test_no_secret_is_written_with_what_a_person_gives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cr3t-hunter2-value"
    monkeypatch.setenv("SERVICE_TOKEN", secret)
    spec = small(place, {"reply": "", "calls": [shell("true")]}, {"reply": "I see."}, loop=SPEC)
    holding = f'{{"command":"echo {secret}"}}'
    session, door, entries = run(
        place,
        spec,
        answer(args=holding),
        answer(scope="limited", commands=(f"*{secret}*",)),
        answer(reason=f"it is {secret}"),
        UserCalled("shell", holding),
    )
    assert [r.split(";")[0] for r in door.refusals] == [
        "the changed arguments hold a secret or a broken character",
        "these limits do not cover call `c2_0` itself, which runs `true`",
        "the arguments hold a secret or a broken character",
    ]
    assert [e.event.reason for e in entries if isinstance(e.event, ApprovalGiven)] == [
        "it is [secret:SERVICE_TOKEN]"
    ]
    session.store.close()
    for file in place.store.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file.name


def test_a_grant_within_limits_asks_again_for_what_is_outside_of_them(place: Place) -> None:
    turns = [{"reply": "", "calls": [shell(c)]} for c in ("echo a", "echo b", "echo c; echo d")]
    spec = small(place, *turns, {"reply": "Done."}, loop=SPEC)
    _, door, entries = run(
        place, spec, answer(scope="limited", commands=("echo ?",)), answer(answer="deny")
    )
    decided = [d for e in entries if isinstance(e.event, GateDecided) for d in e.event.decisions]
    assert [d.answer for d in decided] == ["ask", "allow", "ask"]
    assert decided[1].rule.startswith("grant g4 over ask at ")
    assert decided[2].command == "echo c; echo d"
    assert outputs(entries) == [("ok", "a\nexit code 0"), ("ok", "b\nexit code 0")]
    assert door.refusals == []


def test_an_exact_grant_holds_for_these_very_arguments(place: Place) -> None:
    turns = [{"reply": "", "calls": [shell(c)]} for c in ("echo a", "echo a", "echo b")]
    spec = small(place, *turns, {"reply": "Done."}, loop=SPEC)
    _, _, entries = run(place, spec, answer(scope="exact"), answer(answer="deny"))
    decided = [d for e in entries if isinstance(e.event, GateDecided) for d in e.event.decisions]
    assert [d.answer for d in decided] == ["ask", "allow", "ask"]


# ---------------------------------------------------------------- calls of their own


def test_a_person_s_own_command_runs_and_the_model_reads_it_with_the_next_message(place: Place) -> None:
    spec = small(
        place,
        {"reply": "Hello."},
        {"reply": "I saw it."},
        loop=SPEC,
    )
    session, door, entries = run(
        place,
        spec,
        UserCalled("shell", '{"command":"echo mine > out; cat out"}'),
        UserMessage(text="What did I do?"),
    )
    assert door.refusals == []
    (decision,) = [d for e in entries if isinstance(e.event, GateDecided) for d in e.event.decisions]
    assert decision.answer == "allow"
    assert decision.rule.endswith("(shell), answered by who called")
    own = [i for i in session.items if i.call]
    assert [(i.role, i.text) for i in own] == [
        ("user", "I ran `shell` myself: echo mine > out; cat out\nmine\nexit code 0")
    ]
    messages = provider_messages(session.items, "")
    assert not [m for m in messages if m["role"] == "tool" or m.get("tool_calls")]
    assert {"role": "user", "content": own[0].text} in messages


def test_a_deny_denies_a_person_s_own_command(place: Place) -> None:
    (place.work / "kept").write_text("x")
    spec = small(place, {"reply": "Hello."}, loop=SPEC)
    session, _, entries = run(place, spec, UserCalled("shell", '{"command":"rm kept"}'))
    assert (place.work / "kept").exists()
    assert outputs(entries) == []
    (own,) = [i for i in session.items if i.call]
    assert own.text.startswith(
        "I ran `shell` myself: rm kept\n[denied_by_policy] Not allowed by the rule"
    )


# ---------------------------------------------------------------- killed at the claim


class Stops(Person):
    """Stops the driver as soon as a tool has begun."""

    driver: LocalDriver | None = None

    def live(self, event: Live) -> None:
        if isinstance(event, EffectStarted) and event.what.startswith("run tool") and self.driver:
            self.driver.stop(Rest("idle"))


class Hangs:
    """A performer that begins and never answers."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


@pytest.mark.parametrize("own", [False, True])
def test_what_is_lost_after_its_claim_is_asked_about_and_runs_once_as_it_was_given(
    place: Place, own: bool
) -> None:
    given = '{"command":"echo given >> out"}'
    first = {"reply": "Hello."} if own else {"reply": "", "calls": [shell("echo model >> out")]}
    spec = small(place, first, {"reply": "Done."}, loop=SPEC)
    base = installed()
    hanging = Registry(
        base.kinds, base.tools, {**base.performers, "tools": Hangs}, base.origins, base.versions
    )
    says = UserCalled("shell", given) if own else answer(args=given)
    asyncio.run(play(place, spec, Stops(says), hanging))
    store = SqliteStore(place.store)
    door = Person(answer(answer="rerun"))
    session = Session.load(store, "s1", SystemClock(), redactor())

    async def again() -> Rest:
        return await LocalDriver(session, base, door).run()

    rest = asyncio.run(again())
    entries = whole(session)
    assert rest.reason == "input"
    assert door.refusals == []
    assert (place.work / "out").read_text() == "given\n"
    assert sum(isinstance(e.event, EffectLost) for e in entries) == 1
    assert sum(isinstance(e.event, EffectClaimed) for e in entries) == 2
    text = session.items[-1 if own else -2].text
    assert ("I ran `shell` myself: echo given >> out" if own else given) in text
    store.close()
