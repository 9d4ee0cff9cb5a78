"""Sessions that are right, written into a store without a model; and a process that writes for ever.

`python moving_kit.py DIR SESSION` appends to one session as fast as it can, printing each entry's
number once it was acknowledged.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

from machine.builders import Run, coding

from loopspec.codec import encode
from loopspec.drivers.moving import Exported, Received, bring_in, export, lines_of
from loopspec.drivers.session import prepared
from loopspec.drivers.view import View
from loopspec.events import Kept, Stamped, ToolAnswered, UserMessage
from loopspec.journal.chain import read
from loopspec.journal.entry import GENESIS
from loopspec.journal.fold import empty
from loopspec.journal.lines import rests_on
from loopspec.machine.step import Step
from loopspec.stores.base import Store
from loopspec.stores.sqlite import SqliteStore

MACHINE = coding()
BINARY = bytes(range(256)) * 3
TEXT = "eine längere Ausgabe\0\n" * 20


class Written(Run):
    """A session whose every step goes into a store, as a driver's does."""

    def __init__(self, store: Store, session: str) -> None:
        self.store, self.session, self.head = store, session, GENESIS
        self.told = View()
        store.create(session, MACHINE.name, 1_699_999_999_000_000)
        super().__init__(MACHINE)

    def tell(self, event: Kept, by: str = "person", wait: int = 1_000_000) -> Step:
        """Step one event and append its entry."""
        old = empty(self.session) if self.snapshot.seq < 0 else self.snapshot
        self.snapshot = old
        made = super().tell(event, by, wait)
        stamped = Stamped(self.at, self.awake, by, event)
        blobs = {MACHINE.digest: encode(MACHINE)} if made.snapshot.seq == 0 else {}
        entry, item = prepared(MACHINE, old, made, stamped, self.head, blobs, view=self.told)
        self.store.append(item).result()
        self.head = entry.hash
        self.told.apply(entry)
        return made

    def turn(self, text: str, output: bytes) -> None:
        """The model calls a tool, whose whole output is a blob, and goes on."""
        self.reply("read", text=text)
        self.decide("allow")
        (effect,) = self.running()
        key = self.store.put_blob(output)
        answered = ToolAnswered(effect.id, effect.call, "ok", output="…", blob=key)
        self.tell(answered, "tools")


def written(store: Store, session: str = "s", turns: int = 1) -> Written:
    """A session of `3 * turns + 3` entries, with blobs that are text and that are not."""
    made = Written(store, session)
    made.tell(UserMessage("go"))
    for n in range(turns):
        made.turn(f"turn {n}", TEXT.encode() if n % 2 else BINARY)
    made.reply(text="done")
    return made


def exported(store: Store, session: str = "s", upto: int | None = None) -> bytes:
    """The bytes of an export."""
    file = io.BytesIO()
    made: Exported = export(store, session, upto, file)
    assert made.size == len(file.getvalue())
    return file.getvalue()


def received(data: bytes, place: str = "s.jsonl") -> Received:
    """A file that was read to its end; raises what it raises."""
    made = Received(lines_of(io.BytesIO(data)), place)
    try:
        for _ in made.entries():
            pass
    except BaseException:
        made.close()
        raise
    return made


def imported(store: Store, data: bytes) -> None:
    """Bring in the bytes of an export."""
    made = received(data)
    try:
        bring_in(store, made)
    finally:
        made.close()


def everything(store: Store, session: str) -> tuple[Any, ...]:
    """All that a session is in a store."""
    rows = list(store.entries(session))
    keys = {key for row in rows for key in named(row)}
    listed = next(row for row in store.sessions() if row.session == session)
    return (listed, store.head(session), rows, {key: store.blob(key) for key in sorted(keys)})


def named(row: bytes) -> list[str]:
    """The blobs an entry rests on."""
    return rests_on(read(row))


def endless(directory: Path, session: str) -> None:
    """Append for ever."""
    made = Written(SqliteStore(directory), session)
    while True:
        made.tell(UserMessage("more"))
        os.write(1, f"{made.snapshot.seq}\n".encode())


if __name__ == "__main__":
    endless(Path(sys.argv[1]), sys.argv[2])
