"""What a performer reads of a reply that broke off, in a real store."""

import asyncio
from pathlib import Path

from cli.kit import Place, small

from loopspec.drivers import launch
from loopspec.drivers.door import Nobody
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.drivers.world import LocalWorld, SystemClock, redactor
from loopspec.errors import NotFound
from loopspec.events import UserMessage
from loopspec.registry import installed
from loopspec.stores.sqlite import SqliteStore


def test_the_text_of_a_broken_reply_is_read_by_its_entry_and_by_no_other(tmp_path: Path) -> None:
    place = Place(tmp_path)
    spec = small(place, {"reply": "Half a reply", "truncate": True}, {"reply": "Whole."})
    registry = installed()
    machine = launch.load(str(spec), registry).machine
    assert machine is not None
    store = SqliteStore(place.store)
    event = launch.started(machine, registry, "{}", place.work, launch.preflight(machine), "0")

    async def go() -> Session:
        session, first = await Session.create(store, machine, "s", event, SystemClock(), redactor())
        await LocalDriver(session, registry, Nobody()).run([(UserMessage(text="Go"), "person")], first)
        return session

    session = asyncio.run(go())
    world = LocalWorld(session, {}, lambda event: None, None)
    found = {}
    for seq in range(-1, session.snapshot.seq + 2):
        try:
            found[seq] = world.partial_of(seq)
        except NotFound as err:
            assert f"entry {seq} is no attempt that failed" in str(err)
    assert list(found.values()) == ["Half a reply"]
    store.close()
