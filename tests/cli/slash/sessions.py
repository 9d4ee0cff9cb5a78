"""Sessions for the desk: real ones, in a real store, with a scripted model."""

import asyncio
from collections.abc import Sequence
from typing import Any

from cli.kit import LOOP, Place, small
from loopspec.cli.slash.desk import Desk
from loopspec.cli.style import Style
from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import Kept, UserMessage
from loopspec.machine.rest import Rest
from loopspec.registry import installed
from loopspec.stores.base import Store
from loopspec.stores.sqlite import SqliteStore

READ: dict[str, Any] = {"reply": "I look.", "calls": [{"tool": "read", "args": {"path": "a.txt"}}]}
EDIT: dict[str, Any] = {
    "reply": "I edit.",
    "calls": [{"tool": "edit", "args": {"path": "a.txt", "old": "one", "new": "two"}}],
}
RUN: dict[str, Any] = {
    "reply": "I run.",
    "calls": [{"tool": "shell", "args": {"command": "echo hi > b.txt"}}],
}
DONE: dict[str, Any] = {"reply": "Done."}
TURNS = (READ, EDIT, RUN, DONE)


def place(path: Any) -> Place:
    """A work directory with two files."""
    made = Place(path)
    (made.work / "a.txt").write_text("one\n")
    (made.work / "c.txt").write_text("left alone\n")
    return made


def begun(
    where: Place,
    store: Store,
    turns: Sequence[dict[str, Any]] = TURNS,
    *,
    yes: bool = True,
    name: str = "s1",
    loop: str = LOOP,
    said: str | None = "Go",
) -> Rest:
    """Make session `name`, say something to it and run it until it rests."""
    spec = small(where, *turns, loop=loop)
    registry = installed()
    machine = launch.load(str(spec), registry).machine
    assert machine is not None, launch.load(str(spec), registry).diagnostics
    event = launch.started(machine, registry, "{}", where.work, launch.preflight(machine), "0")

    async def run() -> Rest:
        session, first = await Session.create(store, machine, name, event, SystemClock(), redactor())
        events = [(UserMessage(text=said), "person")] if said is not None else []
        return await LocalDriver(session, registry, Nobody(yes=yes)).run(events, first)

    return asyncio.run(run())


def go_on(store: Store, events: Sequence[Kept] = (), *, name: str = "s1", yes: bool = True) -> Rest:
    """Tell a session some events and run it until it rests."""

    async def run() -> Rest:
        driver = LocalDriver(loaded(store, name), installed(), Nobody(yes=yes))
        return await driver.run([(event, "person") for event in events])

    return asyncio.run(run())


def loaded(store: Store, name: str = "s1") -> Session:
    """A session as its head says."""
    return Session.load(store, name, SystemClock(), redactor())


def desk(store: Store, name: str = "s1", *, width: int = 80, color: bool = False) -> Desk:
    """A desk before a session that nobody runs."""
    return Desk(loaded(store, name), None, installed(), store, Style(color), width)


def opened(where: Place) -> SqliteStore:
    """The place's store."""
    return SqliteStore(where.store)
