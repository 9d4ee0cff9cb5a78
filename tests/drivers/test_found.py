"""Faults the drivers once had; each has a test for ever."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.kit import LOOP, Place, small

from drivers.test_local import StopAfter, again, begin, events, registry
from loopspec.drivers.answers import checked
from loopspec.drivers.clean import SECRET_ARGS, clean
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.lock import SessionLock, holder
from loopspec.drivers.session import Session
from loopspec.drivers.threads import DaemonThreads
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import CallModel, Effect
from loopspec.errors import LoopspecError
from loopspec.events import (
    ApprovalGiven,
    BoundaryFailed,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    HostSuspended,
    Kept,
    ModelReplied,
    ProposedCall,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
)
from loopspec.governance.redact import Redactor
from loopspec.hooks import World
from loopspec.machine.rest import Rest
from loopspec.stores.sqlite import SqliteStore

SECRET = "sk-0123456789abcdef"
REDACTOR = Redactor.from_environment({"MY_API_KEY": SECRET})
HIDDEN = "[secret:MY_API_KEY]"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (made.work / "a.txt").write_text("text of a.txt\n")
    return made


# ------------------------------------------------------------ what is written down


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (BoundaryFailed("e", f"big{SECRET}"), BoundaryFailed("e", f"big{HIDDEN}")),
        (HostSuspended(SECRET), HostSuspended(HIDDEN)),
        (
            EffectAnswered("e", "x.done", f'{{"a":"{SECRET}"}}'),
            EffectAnswered("e", "x.done", f'{{"a":"{HIDDEN}"}}'),
        ),
        (UserMessage("a\ud800b", tokens=1), UserMessage("a?b", tokens=1)),
    ],
)
def test_every_text_of_an_event_is_cleaned(event: Kept, wanted: Kept) -> None:
    assert clean(event, REDACTOR) == wanted


def test_a_reply_keeps_no_secret_in_names_arguments_or_blocks() -> None:
    calls = [ProposedCall(SECRET), ProposedCall("shell", f'{{"command":"echo {SECRET}"}}')]
    made = clean(ModelReplied("e", calls=calls, blocks=f'{{"b":"{SECRET}"}}', tokens=1), REDACTOR)
    assert isinstance(made, ModelReplied)
    assert made.calls == [ProposedCall(HIDDEN), ProposedCall("shell", "{}", SECRET_ARGS)]
    assert made.blocks == ""


# ------------------------------------------------------------ performers that break their contract


class Answers:
    """A performer that gives back whatever it was made with."""

    given: Any = None

    async def perform(self, effect: Effect, world: World) -> Kept:
        made: Kept = self.given(effect) if callable(self.given) else self.given
        return made


def answering(given: Any) -> Callable[[], Answers]:
    return type("Answering", (Answers,), {"given": staticmethod(given) if callable(given) else given})


def leaves(effect: Effect) -> Kept:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "with NoneType"),
        (ApprovalGiven("c1_0", "h", "grant"), "with ApprovalGiven"),
        (lambda e: ToolAnswered("other:1:0", "c1_0", "ok"), "for another effect"),
        (leaves, "SystemExit"),
    ],
    ids=["nothing", "a command", "another effect", "sys.exit"],
)
def test_a_wrong_answer_is_a_failure_of_the_performer(place: Place, given: Any, said: str) -> None:
    call = {"tool": "read", "args": {"path": "a.txt"}}
    spec = small(place, {"when": "error", "reply": "I see."}, {"reply": "", "calls": [call]})
    store = SqliteStore(place.store)
    rest = asyncio.run(begin(place, spec, store, Nobody(), registry(tools=answering(given))))
    assert rest.reason == "input"
    (failed,) = [e for e in events(store) if isinstance(e, EffectFailed)]
    assert said in failed.reason
    store.close()


def test_a_plugins_data_are_held_against_the_schema_it_declared() -> None:
    from loopspec.machine.model import Kind, Machine, State

    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    kind = Kind("count", "one", "perform", "count", {"count.done": schema})
    machine = Machine("m", "1.0.0", "a", {"a": State("a", kind="count")}, (), {"count": kind})
    effect = CallModel("s:1:0", "a", "main", "x")
    good = EffectAnswered("s:1:0", "count.done", '{"n":1}')
    assert checked(machine, effect, good) == good
    for data in ('{"n":"no number"}', "{}", "[]", "{"):
        bad = checked(machine, effect, EffectAnswered("s:1:0", "count.done", data))
        assert isinstance(bad, EffectFailed) and "count.done" in bad.reason
    other = checked(machine, effect, EffectAnswered("s:1:0", "count.gone", "{}"))
    assert isinstance(other, EffectFailed) and "does not declare" in other.reason


# ------------------------------------------------------------ words, signals, endings of runs


class SlowPerson(Nobody):
    """A person who answers exactly while something else is being committed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        self.asked += 1
        return UserMessage(text=f"words {self.asked}") if self.asked <= 2 else None


def test_words_said_while_another_event_is_committed_are_kept(place: Place) -> None:
    spec = small(place, {"reply": "One."}, {"reply": "Two."}, {"reply": "Three."})
    store = SqliteStore(place.store)
    asyncio.run(begin(place, spec, store, SlowPerson(), registry()))
    said = [e.text for e in events(store) if isinstance(e, UserMessage)]
    assert said == ["Go", "words 1", "words 2"]
    store.close()


class Partial:
    """A model that streams for ever and says what it had when it is stopped."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return EffectCancelled(effect.id, started=True, partial="half a reply")
        raise AssertionError("nobody sets the event")


class ParksTwice(StopAfter):
    """Parks the session twice in a row once the model has begun, as two signals would."""

    def live(self, event: Any) -> None:
        driver = self.driver
        if driver is not None and self.count:
            self.count = 0
            loop = asyncio.get_running_loop()
            for reason in ("SIGHUP", "SIGTERM"):
                self.tasks = [
                    *getattr(self, "tasks", []),
                    loop.create_task(driver.tell(HostSuspended(reason), "host")),
                ]


def test_two_park_signals_keep_what_the_first_one_stopped(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    store = SqliteStore(place.store)
    door = ParksTwice("call model", 1)
    rest = asyncio.run(begin(place, spec, store, door, registry(model=Partial)))
    assert rest.reason == "suspended"
    found = events(store)
    assert [e.partial for e in found if isinstance(e, EffectCancelled)] == ["half a reply"]
    assert [type(e).__name__ for e in found].count("HostSuspended") == 2
    store.close()


class Interrupts(StopAfter):
    """Interrupts once the model has begun."""

    def live(self, event: Any) -> None:
        if self.driver is not None and self.count:
            self.count = 0
            told = self.driver.tell(UserInterrupted())
            self.task = asyncio.get_running_loop().create_task(told)


def test_a_final_state_waits_for_what_it_cancelled(place: Place) -> None:
    loop = LOOP.replace("user.interrupted: interrupted", "user.interrupted: over").replace(
        "  over_budget:", "  over: {type: final}\n  over_budget:"
    )
    spec = small(place, {"reply": "x"}, loop=loop)
    store = SqliteStore(place.store)
    door = Interrupts("call model", 1)
    rest = asyncio.run(begin(place, spec, store, door, registry(model=Partial)))
    assert rest.reason == "finished"
    assert isinstance(events(store)[-1], EffectCancelled)
    store.close()


def test_telling_a_driver_that_has_ended_says_so(place: Place) -> None:
    spec = small(place, {"reply": "One."})
    store = SqliteStore(place.store)
    asyncio.run(begin(place, spec, store, Nobody(), registry()))

    async def late() -> None:
        session = Session.load(store, "s1", SystemClock(), redactor())
        driver = LocalDriver(session, registry(), Nobody())
        await driver.run()
        with pytest.raises(LoopspecError, match="has ended"):
            await driver.tell(UserMessage(text="too late"))

    asyncio.run(late())
    store.close()


class Raises(Nobody):
    """A door with a bug."""

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        raise ZeroDivisionError("a bug in a door")


def test_a_door_with_a_bug_leaves_the_session_at_rest(place: Place) -> None:
    spec = small(place, {"reply": "One."})
    store = SqliteStore(place.store)
    rest = asyncio.run(begin(place, spec, store, Raises(), registry()))
    assert rest.reason == "input"
    store.close()


def test_a_probe_that_raises_means_nobody_knows(place: Place) -> None:
    from dataclasses import replace

    async def probe(context: Any, args: Any) -> bool | None:
        raise RuntimeError("a bug in a probe")

    edit = {"tool": "edit", "args": {"path": "a.txt", "old": "text", "new": "words"}}
    spec = small(place, {"reply": "", "calls": [edit]}, {"reply": "Done."})
    store = SqliteStore(place.store)
    from drivers.test_local import Hangs

    asyncio.run(begin(place, spec, store, StopAfter("run tool", 1), registry(tools=Hangs)))
    base = registry()
    broken = {**base.tools, "files.edit": replace(base.tools["files.edit"], probe=probe)}
    rest = asyncio.run(again(store, Nobody(), replace(base, tools=broken)))
    assert rest.reason == "approval"
    store.close()


# ------------------------------------------------------------ one process, threads


def test_a_session_is_driven_by_one_process_and_the_holder_is_named(tmp_path: Path) -> None:
    first, second = SessionLock(tmp_path, "s"), SessionLock(tmp_path, "s")
    assert holder(tmp_path, "s") == ""
    first.take()
    assert holder(tmp_path, "s") == str(os.getpid())
    with pytest.raises(LoopspecError, match=f"run by process {os.getpid()}"):
        second.take()
    first.free()
    second.take()
    second.free()
    assert holder(tmp_path, "s") == ""


def test_threads_give_results_and_errors_and_are_never_waited_for() -> None:
    pool = DaemonThreads()
    assert pool.submit(lambda: 7).result() == 7
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    import threading

    held = threading.Event()
    late = pool.submit(held.wait)
    pool.shutdown()
    assert not late.done()
    held.set()
    assert late.result() is True


@pytest.mark.parametrize(
    "given",
    [
        lambda e: ToolAnswered(e.id, "c1_0", None),  # type: ignore[arg-type]
        lambda e: ToolAnswered(e.id, "c1_0", "ok", output=7),  # type: ignore[arg-type]
    ],
)
def test_an_answer_whose_fields_do_not_fit_is_a_failure_too(place: Place, given: Any) -> None:
    call = {"tool": "read", "args": {"path": "a.txt"}}
    spec = small(place, {"when": "error", "reply": "I see."}, {"reply": "", "calls": [call]})
    store = SqliteStore(place.store)
    rest = asyncio.run(begin(place, spec, store, Nobody(), registry(tools=answering(given))))
    assert rest.reason == "input"
    (failed,) = [e for e in events(store) if isinstance(e, EffectFailed)]
    assert "does not fit" in failed.reason
    store.close()


def test_no_rollback_beside_a_tool_that_did_not_stop(place: Place) -> None:
    from loopspec.effects import RestoreBoundary
    from loopspec.events import RollbackFailed
    from loopspec.hooks import Tool, ToolContext
    from loopspec.performers.workspace import WorkspacePerformer
    from loopspec.tools import supervise

    async def stubborn(context: ToolContext, args: dict[str, Any]) -> str:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    async def go() -> Kept:
        tool = Tool("test.stubborn", "", {"type": "object"}, stubborn)
        run = supervise.Run(tool, {}, ToolContext(place.work, lambda _: None), 0.05, 0)
        assert (await run.outcome()).status == "timeout"
        assert run.left_behind
        effect = RestoreBoundary("s:9:0", "rolling_back", "b1", "git:0")
        answer = await WorkspacePerformer().perform(effect, None)  # type: ignore[arg-type]
        free.set()
        await asyncio.wait(set(supervise.LEFT))
        return answer

    free = asyncio.Event()
    answer = asyncio.run(go())
    assert isinstance(answer, RollbackFailed)
    assert "may still be writing" in answer.reason
