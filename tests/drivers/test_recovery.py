"""The crash table, a case per row and effect: the real driver resumes what a killed one has left.

Each case is a journal as it stands when a process dies at that point: facts are committed by hand, and
nobody starts what they ask for. Then a driver resumes it on the same database.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine.builders import WORKING, machine

from drivers.test_local import registry
from loopspec.codec import encode
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.recovery import BEGUN, CANCELLED, DONE, HALF_BACK, STREAMING, decide_recovery
from loopspec.drivers.session import Session, verified
from loopspec.drivers.world import LocalWorld, SystemClock, redactor
from loopspec.effects import (
    CallModel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    TakeBoundary,
)
from loopspec.events import (
    AttemptFailed,
    BoundaryTaken,
    Decision,
    EffectCancelled,
    EffectClaimed,
    EffectLost,
    GateDecided,
    Kept,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    RollbackChosen,
    RollbackDone,
    SessionStarted,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
)
from loopspec.hooks import Tool, World
from loopspec.machine.model import Kind, Machine
from loopspec.machine.modelling import RESTART
from loopspec.machine.rest import Rest
from loopspec.performers.workspace import WorkspacePerformer
from loopspec.registry import Registry
from loopspec.stores.sqlite import SqliteStore
from loopspec.tokens import estimate
from loopspec.tools import tree
from loopspec.tools.orphans import name_of

CODING = machine(
    {
        "ready": {"kind": "input", "on": {"user.message": "working"}},
        "working": {
            "initial": "streaming",
            "on": {"user.interrupted": "interrupted"},
            "states": WORKING,
        },
        "interrupted": {
            "kind": "interrupt",
            "on": {"user.resumed": "working.resume", "rollback.chosen": "rolling_back"},
        },
        "rolling_back": {
            "kind": "rollback",
            "on": {
                "rollback.done": "interrupted",
                "rollback.partial": "interrupted",
                "rollback.failed": "interrupted",
                "user.interrupted": "interrupted",
            },
        },
        "finished": {"type": "final"},
    },
    prompts={"system": "Work."},
)


def lab(*, repeatable: bool) -> Machine:
    """A loop around a plugin's own kind."""
    kind = Kind("lab", "one", "perform", "lab", {"lab.done": "{}"}, repeatable=repeatable)
    states = {
        "ready": {"kind": "input", "on": {"user.message": "trying"}},
        "trying": {
            "kind": "lab",
            "on": {
                "lab.done": "ready",
                "effect.failed": "ready",
                "effect.lost": "interrupted",
                "user.interrupted": "interrupted",
            },
        },
        "interrupted": {"kind": "interrupt", "on": {"user.resumed": "trying"}},
    }
    return machine(states, kinds={"lab": kind})


ONCE, OFTEN = lab(repeatable=False), lab(repeatable=True)
Fact = Callable[[Session], Kept]


def waits(session: Session, kind: type[Effect]) -> Any:
    """The one pending effect, which is of this kind."""
    (one,) = session.snapshot.pending.values()
    assert isinstance(one.effect, kind)
    return one.effect


def go(_: Session) -> Kept:
    return UserMessage(text="Go")


def replied(tool: str) -> Fact:
    """The model proposes a call."""
    return lambda s: ModelReplied(waits(s, CallModel).id, calls=[ProposedCall(tool)])


def allowed(s: Session) -> Kept:
    asked = waits(s, DecideCalls)
    return GateDecided(asked.id, [Decision(call, "allow", "a rule") for call in asked.calls])


def taken(s: Session) -> Kept:
    wanted = waits(s, TakeBoundary)
    return BoundaryTaken(wanted.id, wanted.boundary, "copy:none", "copy")


def overflowed(s: Session) -> Kept:
    return ModelOverflowed(waits(s, CallModel).id)


def claimed(s: Session) -> Kept:
    (key,) = s.snapshot.pending
    return EffectClaimed(key)


def interrupted(_: Session) -> Kept:
    return UserInterrupted()


def never_begun(s: Session) -> Kept:
    (key,) = s.snapshot.pending
    return EffectCancelled(key, started=False)


def chosen(_: Session) -> Kept:
    return RollbackChosen()


def running(tool: str) -> tuple[Fact, ...]:
    """A call of this tool is about to run."""
    before = (go, replied(tool), allowed)
    return before if tool == "read" else (*before, taken)


BACK = (*running("edit"), interrupted, never_begun, chosen)
"""A rollback is about to run."""


async def journal(store: SqliteStore, made: Machine, facts: Sequence[Fact], workdir: Path) -> Session:
    """Session `s1` as a process leaves it that dies after these facts."""
    started = SessionStarted(made.digest, workdir=str(workdir))
    session, _ = await Session.create(store, made, "s1", started, SystemClock(), redactor())
    for fact in facts:
        await session.accept(fact(session), "earlier")
    return session


class Begins:
    """A performer that notes what it began, parks the driver, and never answers."""

    def __init__(self, began: list[str], stop: Callable[[Rest], None]) -> None:
        self.began, self.stop = began, stop

    async def perform(self, effect: Effect, world: World) -> Kept:
        self.began.append(effect.id)
        self.stop(Rest("suspended"))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


def with_tools(base: Registry, **tools: Tool) -> Registry:
    """A registry that brings these `sim.` tools."""
    found = {f"sim.{name}": tool for name, tool in tools.items()}
    return Registry(base.kinds, {**base.tools, **found}, base.performers, base.origins, base.versions)


async def resumed(store: SqliteStore, tools: Mapping[str, Tool]) -> tuple[list[str], Rest]:
    """Resume session `s1` with performers that only begin; what began, and where it rests."""
    session = Session.load(store, "s1", SystemClock(), redactor())
    began: list[str] = []
    driver: list[LocalDriver] = []

    def begins() -> Begins:
        return Begins(began, driver[0].stop)

    names = {kind.performer for kind in session.machine.kinds.values()} | {"workspace"}
    made = with_tools(registry(**{name: begins for name in names if name}), **tools)
    driver.append(LocalDriver(session, made, Nobody()))
    return began, await driver[0].run()


def after(store: SqliteStore, seq: int) -> list[tuple[str, Kept]]:
    """Who said what after entry `seq`, the whole chain checked."""
    return [(entry.by, entry.event) for entry in verified(store, "s1") if entry.seq > seq]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store")
    yield made
    made.close()


@dataclass(frozen=True)
class Row:
    """A journal, and what a restart makes of the effect that is pending in it.

    `verdict` is what recovery commits for it (given its id), `claims` whether it is claimed before it
    begins, `begins` which effect begins: the pending one, or one with another id (after a verdict).
    """

    facts: tuple[Fact, ...]
    kind: type[Effect]
    verdict: Callable[[str], Kept] | None = None
    claims: bool = False
    begins: str = ""
    partial: bytes = b""
    machine: Machine = CODING


def lost(reason: str, partial: str = "") -> Callable[[str], Kept]:
    return lambda key: EffectLost(key, reason, partial)


def cancelled(*, started: bool, partial: str = "") -> Callable[[str], Kept]:
    return lambda key: EffectCancelled(key, started=started, partial=partial)


def again(partial: str) -> Callable[[str], Kept]:
    return lambda key: AttemptFailed(key, RESTART, STREAMING, retryable=True, partial=partial)


ASKED = "the same"
MODEL, MODEL_AT = (go,), "s1:2:0"
TABLE: dict[str, Row] = {
    # not claimed: not begun, or repeatable
    "model": Row(MODEL, CallModel, begins=ASKED),
    "gate": Row((go, replied("mail")), DecideCalls, begins=ASKED),
    "compaction": Row((go, overflowed), CompactContext, begins=ASKED),
    "boundary": Row((go, replied("edit"), allowed), TakeBoundary, begins=ASKED),
    "rollback": Row(BACK, RestoreBoundary, begins=ASKED),
    "a read": Row(running("read"), RunTool, begins=ASKED),
    "a write that may be repeated": Row(running("edit"), RunTool, begins=ASKED),
    "a write that asks": Row(running("shell"), RunTool, claims=True, begins=ASKED),
    "an irreversible act": Row(running("mail"), RunTool, claims=True, begins=ASKED),
    "a probed act": Row(running("post"), RunTool, claims=True, begins=ASKED),
    "a plugin's repeatable work": Row((go,), Perform, begins=ASKED, machine=OFTEN),
    "a plugin's work": Row((go,), Perform, claims=True, begins=ASKED, machine=ONCE),
    # a stream had begun
    "model, half a reply": Row(MODEL, CallModel, again("Hel"), begins=MODEL_AT, partial=b"Hel"),
    "model, half a letter": Row(
        MODEL, CallModel, again("Hel"), begins=MODEL_AT, partial="Helü".encode()[:-1]
    ),
    "a read, half its output": Row(running("read"), RunTool, begins=ASKED, partial=b"half"),
    # claimed
    "a write that asks, claimed": Row((*running("shell"), claimed), RunTool, lost(BEGUN)),
    "an irreversible act, claimed": Row((*running("mail"), claimed), RunTool, lost(BEGUN)),
    "claimed, with output": Row(
        (*running("shell"), claimed), RunTool, lost(BEGUN, "half"), partial=b"half"
    ),
    "a plugin's work, claimed": Row((go, claimed), Perform, lost(BEGUN), machine=ONCE),
    # being cancelled, not claimed
    "model, cancelled": Row((*MODEL, interrupted), CallModel, cancelled(started=True)),
    "model, cancelled in its stream": Row(
        (*MODEL, interrupted), CallModel, cancelled(started=True, partial="Hel"), partial=b"Hel"
    ),
    "gate, cancelled": Row((go, replied("mail"), interrupted), DecideCalls, cancelled(started=True)),
    "compaction, cancelled": Row((go, overflowed, interrupted), CompactContext, cancelled(started=True)),
    "boundary, cancelled": Row(
        (go, replied("edit"), allowed, interrupted), TakeBoundary, cancelled(started=True)
    ),
    "rollback, cancelled": Row(
        (*BACK, interrupted), RestoreBoundary, cancelled(started=True, partial=HALF_BACK)
    ),
    "a read, cancelled": Row((*running("read"), interrupted), RunTool, cancelled(started=False)),
    "a write that may be repeated, cancelled": Row(
        (*running("edit"), interrupted), RunTool, lost(CANCELLED)
    ),
    "a write that asks, cancelled": Row(
        (*running("shell"), interrupted), RunTool, cancelled(started=False)
    ),
    "an irreversible act, cancelled": Row(
        (*running("mail"), interrupted), RunTool, cancelled(started=False)
    ),
    "a plugin's repeatable work, cancelled": Row(
        (go, interrupted), Perform, cancelled(started=True), machine=OFTEN
    ),
    "a plugin's work, cancelled": Row(
        (go, interrupted), Perform, cancelled(started=False), machine=ONCE
    ),
    # being cancelled, claimed
    "a write that asks, claimed and cancelled": Row(
        (*running("shell"), claimed, interrupted), RunTool, lost(CANCELLED)
    ),
    "an irreversible act, claimed and cancelled": Row(
        (*running("mail"), claimed, interrupted), RunTool, lost(CANCELLED)
    ),
    "claimed and cancelled, with output": Row(
        (*running("mail"), claimed, interrupted), RunTool, lost(CANCELLED, "half"), partial=b"half"
    ),
    "a plugin's work, claimed and cancelled": Row(
        (go, claimed, interrupted), Perform, lost(CANCELLED), machine=ONCE
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_what_a_restart_does_with_each_effect(store: SqliteStore, tmp_path: Path, row: Row) -> None:
    left = asyncio.run(journal(store, row.machine, row.facts, tmp_path))
    key = waits(left, row.kind).id
    if row.partial:
        store.put_partial("s1", key, row.partial)
    began, _ = asyncio.run(resumed(store, {}))
    wanted: list[tuple[str, Kept]] = []
    if row.verdict is not None:
        wanted.append(("recovery", row.verdict(key)))
    if row.claims:
        wanted.append(("driver", EffectClaimed(key)))
    assert after(store, left.snapshot.seq) == wanted
    at = f"s1:{left.snapshot.seq + 1}:0"
    assert began == ([] if not row.begins else [key if row.begins == ASKED else at])
    settled = row.verdict is not None
    assert store.partials("s1") == ({key: row.partial} if row.partial and not settled else {})


def test_the_table_has_a_case_for_every_sort_of_effect() -> None:
    assert {row.kind for row in TABLE.values()} == {
        *(CallModel, CompactContext, DecideCalls, Perform, RestoreBoundary, RunTool, TakeBoundary)
    }


def test_what_is_answered_is_left_alone(store: SqliteStore, tmp_path: Path) -> None:
    facts: list[Fact] = [go, lambda s: ModelReplied(waits(s, CallModel).id, text="Hello.")]
    left = asyncio.run(journal(store, CODING, facts, tmp_path))
    began, rest = asyncio.run(resumed(store, {}))
    assert (began, rest.reason, after(store, left.snapshot.seq)) == ([], "input", [])


def test_a_lost_call_is_asked_about_and_run_again_when_a_person_says_so(
    store: SqliteStore, tmp_path: Path
) -> None:
    left = asyncio.run(journal(store, CODING, (*running("shell"), claimed), tmp_path))
    began, rest = asyncio.run(resumed(store, {}))
    assert (began, rest.reason) == ([], "approval")
    again_, rest = asyncio.run(resumed(store, {}))  # a second restart finds nothing new to settle
    assert (again_, rest.reason) == ([], "approval")
    assert len(after(store, left.snapshot.seq)) == 1


# ------------------------------------------------------------ probes


async def _no_run(context: Any, args: Any) -> str:
    raise AssertionError("only the probe is asked")


def post(probe: Any) -> Tool:
    """The tool `sim.post`, which can be asked whether a call happened."""
    schema = {"type": "object"}
    return Tool("sim.post", "Posts.", schema, _no_run, after_crash="probe", probe=probe)


def says(answer: Any) -> Any:
    async def probe(context: Any, args: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return probe


class Odd:
    """An answer that cannot be read as yes or no."""

    def __bool__(self) -> bool:
        raise RuntimeError("never asked")


UNTOLD = ", and looking did not tell whether it happened: "
NO_PLUGIN = "NotFound: no installed plugin brings the tool `sim.post`. install the plugin again"
UNSURE: dict[str, tuple[dict[str, Tool], str]] = {
    "it cannot say": ({"post": post(says(None))}, "it cannot say"),
    "a text": ({"post": post(says("no"))}, "it answered with str"),
    "a number": ({"post": post(says(1))}, "it answered with int"),
    "an odd thing": ({"post": post(says(Odd()))}, "it answered with Odd"),
    "a bug": ({"post": post(says(KeyError("x")))}, "KeyError: 'x'"),
    "an exit": ({"post": post(says(SystemExit(3)))}, "SystemExit: 3"),
    "stopped": ({"post": post(says(asyncio.CancelledError()))}, "it was stopped"),
    "no coroutine": ({"post": post(lambda context, args: True)}, "TypeError: "),
    "no probe any more": ({"post": post(None)}, "the tool can be asked no more"),
    "no plugin any more": ({}, NO_PLUGIN),
}
CLAIMED = (*running("post"), claimed)


@pytest.mark.parametrize("cancelling", [False, True], ids=["open", "cancelling"])
@pytest.mark.parametrize(("tools", "why"), UNSURE.values(), ids=UNSURE)
def test_a_probe_that_does_not_tell_means_lost(
    store: SqliteStore, tmp_path: Path, tools: dict[str, Tool], why: str, cancelling: bool
) -> None:
    facts = (*CLAIMED, interrupted) if cancelling else CLAIMED
    left = asyncio.run(journal(store, CODING, facts, tmp_path))
    key = waits(left, RunTool).id
    began, rest = asyncio.run(resumed(store, tools))
    ((by, event),) = after(store, left.snapshot.seq)
    assert isinstance(event, EffectLost)
    begun = CANCELLED if cancelling else BEGUN
    assert (by, event.effect, event.partial) == ("recovery", key, "")
    assert event.reason.startswith(f"{begun}{UNTOLD}{why}")
    assert (began, rest.reason) == ([], "interrupted" if cancelling else "approval")


def test_a_probe_that_says_yes_answers_for_the_call(store: SqliteStore, tmp_path: Path) -> None:
    left = asyncio.run(journal(store, CODING, CLAIMED, tmp_path))
    effect = waits(left, RunTool)
    began, _ = asyncio.run(resumed(store, {"post": post(says(True))}))
    answer = ToolAnswered(effect.id, effect.call, "ok", DONE, tokens=estimate(DONE))
    assert after(store, left.snapshot.seq) == [("recovery", answer)]
    assert began == [f"s1:{left.snapshot.seq + 1}:0"]  # the model goes on


def test_a_probe_that_says_no_lets_the_call_run_under_its_old_claim(
    store: SqliteStore, tmp_path: Path
) -> None:
    left = asyncio.run(journal(store, CODING, CLAIMED, tmp_path))
    key = waits(left, RunTool).id
    began, _ = asyncio.run(resumed(store, {"post": post(says(False))}))
    assert (after(store, left.snapshot.seq), began) == ([], [key])


@pytest.mark.parametrize("happened", [True, False])
def test_a_cancelled_call_is_probed_too(store: SqliteStore, tmp_path: Path, happened: bool) -> None:
    left = asyncio.run(journal(store, CODING, (*CLAIMED, interrupted), tmp_path))
    effect = waits(left, RunTool)
    began, rest = asyncio.run(resumed(store, {"post": post(says(happened))}))
    never = EffectCancelled(effect.id, started=False)
    done = ToolAnswered(effect.id, effect.call, "ok", DONE, tokens=estimate(DONE))
    assert after(store, left.snapshot.seq) == [("recovery", done if happened else never)]
    assert (began, rest.reason) == ([], "interrupted")
    head = Session.load(store, "s1", SystemClock(), redactor())
    assert head.snapshot.calls[effect.call].status == ("answered" if happened else "allowed")


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_probe_that_hangs_is_given_up(store: SqliteStore, tmp_path: Path, stubborn: bool) -> None:
    async def probe(context: Any, args: Any) -> bool | None:
        nobody = asyncio.Event()
        while True:
            try:
                await nobody.wait()
            except asyncio.CancelledError:
                if not stubborn or ended:
                    raise

    ended: list[bool] = []

    async def decide() -> Kept | None:
        session = await journal(store, CODING, CLAIMED, tmp_path)
        tools = with_tools(registry(), post=post(probe)).tools
        world = LocalWorld(session, tools, lambda _: None, None)
        (pending,) = session.snapshot.pending.values()
        event = await decide_recovery(pending, world, patience=0.05)
        ended.append(True)
        return event

    made = asyncio.run(decide())
    assert isinstance(made, EffectLost)
    assert made.reason == f"{BEGUN}{UNTOLD}it gave no answer within 0.05 s"


def test_a_probe_is_given_the_arguments_the_call_had(store: SqliteStore, tmp_path: Path) -> None:
    seen: list[Any] = []

    async def probe(context: Any, args: Any) -> bool | None:
        seen.append((context.workdir, context.call, args))
        return True

    asked: Fact = lambda s: ModelReplied(  # noqa: E731
        waits(s, CallModel).id, calls=[ProposedCall("post", '{"to":"Ann"}')]
    )
    facts = (go, asked, allowed, taken, claimed)
    left = asyncio.run(journal(store, CODING, facts, tmp_path))
    asyncio.run(resumed(store, {"post": post(probe)}))
    call = name_of(store.directory, "s1", waits(left, RunTool).call)
    assert seen == [(tmp_path, call, {"to": "Ann"})]


# ------------------------------------------------------------ what is left in the world


def marked(store: SqliteStore, call: str) -> "subprocess.Popen[bytes]":
    """A process that a call has left running, in a session of its own."""
    code = "import sys; print('here', flush=True); sys.stdin.read()"
    made = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, tree.MARK: f"{name_of(store.directory, 's1', call)}:0"},
        start_new_session=True,
    )
    assert made.stdout is not None and made.stdout.readline() == b"here\n"
    return made


@pytest.mark.parametrize("facts", [running("read"), (*running("shell"), claimed)], ids=["again", "lost"])
def test_what_a_call_left_running_is_ended_before_anything_is_decided(
    store: SqliteStore, tmp_path: Path, facts: tuple[Fact, ...]
) -> None:
    left = asyncio.run(journal(store, CODING, facts, tmp_path))
    orphan = marked(store, waits(left, RunTool).call)
    other = marked(store, "c99_0")
    try:
        asyncio.run(resumed(store, {}))
        assert orphan.wait(timeout=60) != 0
        assert other.poll() is None
    finally:
        for one in (orphan, other):
            one.kill()
            one.communicate()


def test_a_rollback_that_was_cut_short_is_finished(store: SqliteStore, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("a.txt", "b.txt"):
        (work / name).write_text("before\n")

    async def cut_short() -> Session:
        session = await journal(store, CODING, (go, replied("edit"), allowed), work)
        world = LocalWorld(session, {}, lambda _: None, None)
        point = await WorkspacePerformer().perform(waits(session, TakeBoundary), world)
        await session.accept(point, "earlier")
        for name in ("a.txt", "b.txt", "c.txt"):
            (work / name).write_text("after\n")
        for fact in (interrupted, never_begun, chosen):
            await session.accept(fact(session), "earlier")
        (work / "a.txt").write_text("before\n")  # so far it came
        return session

    left = asyncio.run(cut_short())
    key = waits(left, RestoreBoundary).id

    async def finish() -> Rest:
        session = Session.load(store, "s1", SystemClock(), redactor())
        return await LocalDriver(session, registry(), Nobody()).run()

    assert asyncio.run(finish()).reason == "interrupted"
    ((by, event),) = after(store, left.snapshot.seq)
    assert isinstance(event, RollbackDone)
    assert (by, event.effect, sorted(event.changed)) == ("workspace", key, ["b.txt", "c.txt"])
    assert {p.name: p.read_text() for p in work.iterdir()} == {"a.txt": "before\n", "b.txt": "before\n"}


def test_the_claim_of_a_call_outlives_two_crashes(store: SqliteStore, tmp_path: Path) -> None:
    """A call that runs again by a probe's word, and dies again, is probed again and never just run."""
    left = asyncio.run(journal(store, CODING, CLAIMED, tmp_path))
    for _ in range(2):
        asyncio.run(resumed(store, {"post": post(says(False))}))
    assert after(store, left.snapshot.seq) == []
    pending = Session.load(store, "s1", SystemClock(), redactor()).snapshot.pending
    assert encode(pending) == encode(left.snapshot.pending)
    asyncio.run(resumed(store, {"post": post(says(None))}))
    assert [type(event) for _, event in after(store, left.snapshot.seq)] == [EffectLost]
