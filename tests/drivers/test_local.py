"""The local driver: recovery by the crash table, performers that fail, two drivers at once."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.kit import LOOP, Place, small

from loopspec.cli.options import resolve_session
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session, verified
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import Effect, RunTool
from loopspec.errors import Conflict, Damaged, NotFound
from loopspec.events import (
    EffectFailed,
    EffectLost,
    EffectStarted,
    Kept,
    Live,
    ModelReplied,
    ToolAnswered,
    UserMessage,
)
from loopspec.hooks import World
from loopspec.machine.rest import Rest
from loopspec.registry import Registry, installed
from loopspec.stores.sqlite import SqliteStore


class Hangs:
    """A performer that begins and never answers by itself."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


class Breaks:
    """A performer with a bug."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        raise ZeroDivisionError("a bug in a plugin")


class StopAfter(Nobody):
    """Stops the driver when so many effects of a sort have begun."""

    def __init__(self, what: str, count: int) -> None:
        super().__init__()
        self.what, self.count = what, count
        self.driver: LocalDriver | None = None

    def live(self, event: Live) -> None:
        if isinstance(event, EffectStarted) and event.what.startswith(self.what):
            self.count -= 1
            if not self.count and self.driver is not None:
                self.driver.stop(Rest("idle"))


def registry(**performers: Callable[[], Any]) -> Registry:
    """What is installed, with some performers replaced."""
    base = installed()
    made = {**base.performers, **performers}
    return Registry(base.kinds, base.tools, made, base.origins, base.versions)


async def begin(place: Place, spec: Path, store: SqliteStore, door: Nobody, reg: Registry) -> Rest:
    """Start session `s1` and drive it behind `door`."""
    machine = launch.load(str(spec), reg).machine
    assert machine is not None
    event = launch.started(machine, reg, "{}", place.work, launch.preflight(machine), "0")
    session, first = await Session.create(store, machine, "s1", event, SystemClock(), redactor())
    driver = LocalDriver(session, reg, door)
    if isinstance(door, StopAfter):
        door.driver = driver
    return await driver.run([(UserMessage(text="Go"), "person")], first)


async def again(store: SqliteStore, door: Nobody, reg: Registry) -> Rest:
    """Resume session `s1`."""
    session = Session.load(store, "s1", SystemClock(), redactor())
    return await LocalDriver(session, reg, door).run()


def events(store: SqliteStore) -> list[Kept]:
    """The session's events, the whole chain checked."""
    return [entry.event for entry in verified(store, "s1")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    for name in ("a.txt", "b.txt"):
        (made.work / name).write_text(f"text of {name}\n")
    return made


def test_a_lost_effect_cancels_its_neighbour_before_the_neighbour_could_start(place: Place) -> None:
    loop = LOOP.replace(
        "  read: {use: files.read}",
        "  read: {use: files.read}\n  careful: {use: files.read, after_crash: ask}",
    ).replace("tools: [read, edit", "tools: [read, careful, edit")
    calls = [{"tool": t, "args": {"path": p}} for t, p in (("careful", "a.txt"), ("read", "b.txt"))]
    spec = small(place, {"reply": "", "calls": calls}, {"reply": "Done."}, loop=loop)
    store = SqliteStore(place.store)
    door = StopAfter("run tool", 2)
    asyncio.run(begin(place, spec, store, door, registry(tools=Hangs)))
    rest = asyncio.run(again(store, Nobody(), registry()))
    assert rest.reason == "approval"
    names = [type(e).__name__ for e in events(store)]
    assert names[-2:] == ["EffectLost", "EffectCancelled"]
    done = asyncio.run(again(store, Nobody(yes=True), registry()))
    assert done.reason == "input"
    answers = [e.output for e in events(store) if isinstance(e, ToolAnswered)]
    assert sorted(answers) == ["text of a.txt\n", "text of b.txt\n"]
    store.close()


def test_a_bug_in_a_performer_is_an_honest_result_and_the_loop_goes_on(place: Place) -> None:
    call = {"tool": "read", "args": {"path": "a.txt"}}
    spec = small(place, {"reply": "", "calls": [call]}, {"when": "ZeroDivision", "reply": "I see."})
    store = SqliteStore(place.store)
    rest = asyncio.run(begin(place, spec, store, Nobody(), registry(tools=Breaks)))
    assert rest.reason == "input"
    found = events(store)
    assert [e.reason for e in found if isinstance(e, EffectFailed)] == [
        "ZeroDivisionError: a bug in a plugin"
    ]
    assert [e.text for e in found if isinstance(e, ModelReplied)][-1] == "I see."
    store.close()


def test_a_gate_that_breaks_denies(place: Place) -> None:
    call = {"tool": "write", "args": {"path": "new.txt", "content": "x"}}
    spec = small(place, {"reply": "", "calls": [call]}, {"when": "gate failed", "reply": "I see."})
    store = SqliteStore(place.store)
    rest = asyncio.run(begin(place, spec, store, Nobody(yes=True), registry(gate=Breaks)))
    assert rest.reason == "input"
    assert not (place.work / "new.txt").exists()
    assert [e.text for e in events(store) if isinstance(e, ModelReplied)][-1] == "I see."
    store.close()


def test_a_claimed_command_without_an_answer_is_lost_and_never_rerun_unasked(place: Place) -> None:
    command = {"tool": "shell", "args": {"command": "echo x >> log"}}
    spec = small(place, {"reply": "", "calls": [command]}, {"reply": "Done."})
    store = SqliteStore(place.store)

    class YesAndStop(StopAfter):
        def __init__(self) -> None:
            super().__init__("run tool", 1)
            self.yes = True

    asyncio.run(begin(place, spec, store, YesAndStop(), registry(tools=Hangs)))
    rest = asyncio.run(again(store, Nobody(), registry()))
    assert rest.reason == "approval"
    assert isinstance(events(store)[-1], EffectLost)
    assert not (place.work / "log").exists()
    store.close()


def test_an_edit_that_happened_before_the_crash_is_found_by_looking(place: Place) -> None:
    edit = {"tool": "edit", "args": {"path": "a.txt", "old": "text", "new": "words"}}
    spec = small(place, {"reply": "", "calls": [edit]}, {"reply": "Done."})

    class EditsThenHangs:
        async def perform(self, effect: Effect, world: World) -> Kept:
            assert isinstance(effect, RunTool)
            args = json.loads(world.args(world.snapshot.calls[effect.call]))
            path = world.workdir / args["path"]
            path.write_text(path.read_text().replace(args["old"], args["new"]))
            world.watch(EffectStarted(effect=effect.id, what="edited"))
            await asyncio.Event().wait()
            raise AssertionError("nobody sets the event")

    store = SqliteStore(place.store)
    asyncio.run(begin(place, spec, store, StopAfter("edited", 1), registry(tools=EditsThenHangs)))
    rest = asyncio.run(again(store, Nobody(), registry()))
    assert rest.reason == "input"
    assert (place.work / "a.txt").read_text() == "words of a.txt\n"
    (answer,) = [e for e in events(store) if isinstance(e, ToolAnswered)]
    assert (answer.status, "before the restart" in answer.output) == ("ok", True)
    store.close()


def test_of_two_drivers_one_gets_a_conflict_and_nothing_is_forked(place: Place) -> None:
    spec = small(place, {"reply": "One."}, {"reply": "Two."})
    store = SqliteStore(place.store)
    asyncio.run(begin(place, spec, store, Nobody(), registry()))
    clock = SystemClock()
    one = Session.load(store, "s1", clock, redactor())
    two = Session.load(store, "s1", clock, redactor())

    async def both() -> None:
        await one.accept(UserMessage(text="first"), "person")
        with pytest.raises(Conflict, match="another process has moved this session"):
            await two.accept(UserMessage(text="second"), "person")

    asyncio.run(both())
    said = [e.text for e in events(store) if isinstance(e, UserMessage)]
    assert said == ["Go", "first"]
    store.close()


def test_a_session_that_was_made_and_never_begun_is_taken_over(tmp_path: Path) -> None:
    """Its process was killed between making it and its first entry."""
    place = Place(tmp_path)
    store = SqliteStore(place.store)
    store.create("s1", "small", 1)
    with pytest.raises(Damaged, match=r"never begun.*spec of `small`: loopspec run SPEC --session s1"):
        Session.load(store, "s1", SystemClock(), redactor())
    with pytest.raises(NotFound, match="no session `last`"):
        resolve_session(store, "last")
    other = small(place, {"reply": "Done."}, loop=LOOP.replace("name: small", "name: other"))
    with pytest.raises(Conflict, match="exists already"):  # its list would tell another name for ever
        asyncio.run(begin(place, other, store, Nobody(), registry()))
    spec = small(place, {"reply": "Done."})
    asyncio.run(begin(place, spec, store, Nobody(), registry()))
    assert resolve_session(store, "last") == "s1"
    with pytest.raises(Conflict, match="exists already"):
        asyncio.run(begin(place, spec, store, Nobody(), registry()))
    store.close()
