"""A session stopped in each of the six states: `explain` names it, and `resume` goes on."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from cli.kit import TIMEOUT, Place, kill, small, until
from loopspec.codec import encode
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.effects import Effect
from loopspec.events import EffectStarted, Kept, Live, UserMessage
from loopspec.hooks import World
from loopspec.machine.rest import Rest
from loopspec.registry import Registry, installed
from loopspec.stores.sqlite import SqliteStore

SHELL = {"tool": "shell", "args": {"command": "echo begun; sleep 600"}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def explained(place: Place, state: str, waits: str, moves: str) -> None:
    """`explain` names the state, its YAML line, what it waits for and what would move it."""
    ran = place.run("explain", place.session())
    assert ran.code == 0, ran.err
    text = " ".join(ran.out.split())
    line = next(
        n
        for n, row in enumerate((place.path / "loop.yaml").read_text().splitlines(), start=1)
        if re.match(rf"\s+{state.split('.')[-1]}:", row)
    )
    assert re.search(rf"{re.escape(state)} \(\S*loop\.yaml:{line}\)", text), text
    assert waits in text, text
    assert moves in text, text


def test_streaming_killed(place: Place) -> None:
    spec = small(place, {"hang": True})
    process = place.start("run", spec, "-p", "Hi", "--output-format", "stream-json")
    until(process, "effect.started")
    kill(process)
    explained(place, "working.streaming", "model main", "model.replied")


def test_streaming_killed_then_resumed_with_another_script(place: Place) -> None:
    spec = small(place, {"hang": True})
    process = place.start("run", spec, "-p", "Hi", "--output-format", "stream-json")
    until(process, "effect.started")
    kill(process)
    small(place, {"reply": "Here I am."})  # the session keeps its machine; only the script changed
    spec.unlink()
    ran = place.run("resume", "last", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Here I am.")
    assert place.run("verify", "last").code == 0


def test_tool_running(place: Place) -> None:
    spec = small(place, {"reply": "", "calls": [SHELL]}, {"reply": "Done."})
    process = place.start("run", spec, "-p", "Hi", "--yes", "--output-format", "stream-json")
    until(process, "tool.output")
    explained(place, "working.tool_running", "shell", "tools.settled")
    kill(process)
    explained(place, "working.tool_running", "shell", "effect.lost")
    ran = place.run("resume", "last", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["waiting"][0]["status"]) == (55, "lost")


def test_awaiting_approval(place: Place) -> None:
    spec = small(place, {"reply": "", "calls": [SHELL]})
    assert place.run("run", spec, "-p", "Hi").code == 55
    explained(place, "working.awaiting_approval", "a person", "approval.granted")


def test_interrupted_by_ctrl_c_keeps_what_was_received(place: Place) -> None:
    long = {"reply": "word " * 400, "chunk": 5, "delay": 0.05}
    spec = small(place, long)
    process = place.start("run", spec, "-p", "Hi", "--output-format", "stream-json")
    until(process, "text.delta", 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    explained(place, "interrupted", "resume", "user.resumed")
    partial = [e.event.partial for e in place.entries() if hasattr(e.event, "partial")]
    assert partial[0].startswith("word word")


def test_suspended_by_sigterm_and_woken_by_resume(place: Place) -> None:
    spec = small(place, {"hang": True})
    process = place.start("run", spec, "-p", "Hi", "--output-format", "stream-json")
    until(process, "effect.started")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 56
    explained(place, "suspended", "uspended", "host.woke")
    small(place, {"reply": "Awake."})
    ran = place.run("resume", "last", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Awake.")


class Hangs:
    """A performer that never answers by itself."""

    async def perform(self, effect: Effect, world: World) -> Kept:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


class Watching(Nobody):
    """A door that stops the driver when the first effect of a kind begins."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.driver: LocalDriver | None = None

    def live(self, event: Live) -> None:
        if isinstance(event, EffectStarted) and event.what.startswith(self.what):
            assert self.driver is not None
            self.driver.stop(Rest("idle"))


def test_compacting(place: Place) -> None:
    reads = [{"tool": "read", "args": {"path": name}} for name in ("a.txt", "b.txt")]
    for name in ("a.txt", "b.txt"):
        (place.work / name).write_text(f"text of {name}\n" * 130)
    turns = [{"reply": "", "calls": [call]} for call in reads]
    # Compaction takes replies out of the request, so the last one is matched by what it says.
    spec = small(place, {"when": "text of b.txt", "reply": "Done."}, *turns, window=1000)
    base = installed()
    hanging = {**base.performers, "compact": Hangs}
    registry = Registry(base.kinds, base.tools, hanging, base.origins, base.versions)

    async def go() -> None:
        machine = launch.load(str(spec), registry).machine
        assert machine is not None
        store = SqliteStore(place.store)
        windows = launch.preflight(machine)
        started = launch.started(machine, registry, "{}", place.work, windows, "0")
        session, first = await Session.create(
            store, machine, "s1", started, SystemClock(), redactor()
        )
        door: Any = Watching("compact")
        door.driver = LocalDriver(session, registry, door)
        await door.driver.run([(UserMessage(text="Read it."), "person")], first)
        assert encode(session.snapshot)
        store.close()

    asyncio.run(go())
    explained(place, "working.compacting", "ompact", "context.compacted")
    ran = place.run("resume", "s1", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Done.")
