"""A cold resume: a new process takes up a session whose process was killed at work.

    python benchmarks/resume.py [--quick] [--dir DIR]

Timed from opening the store to the first new entry on disk, the imports done before. The store's files
are dropped from the page cache first, where the system can be asked for that. The session was killed
between a model's reply and the gate, so recovery has something to start again; its log was never folded
in.
"""

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

import texts
from figures import ms, ratios, spread, two
from kit import Command, Options, Section, ask, main, scratch

TIMES: Final = 3.0
SHORT: Final = 20


def make(directory: Path, transitions: int) -> None:
    """Drive a session past so many entries and die at work."""
    import loop

    from loopspec.drivers.session import Session
    from loopspec.events import ModelReplied
    from loopspec.journal.entry import Entry
    from loopspec.stores.sqlite import SqliteStore

    class Dies(loop.Talk):
        def kept(self, session: Session, entry: Entry) -> None:
            super().kept(session, entry)
            event = entry.event
            if self.entries >= transitions and isinstance(event, ModelReplied) and event.calls:
                print(json.dumps({"transitions": self.entries}), flush=True)
                os._exit(0)

    async def work() -> None:
        reg = loop.registry()
        store = SqliteStore(directory)
        door = Dies(transitions + 10 * texts.PER_TURN)
        driver, first = await loop.begun(store, loop.machine(reg), reg, "s", door)
        await driver.run((), first)

    asyncio.run(work())


def again(directory: Path) -> None:
    """Resume the session; print how long it took until its next entry was on disk."""
    import loop

    from loopspec.drivers.local import LocalDriver
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor
    from loopspec.journal.entry import Entry
    from loopspec.stores.sqlite import SqliteStore

    reg = loop.registry()
    loop.machine(reg)  # whatever is imported for that, as in any process that has done something
    took: list[float] = []

    class Timed(loop.Talk):
        def kept(self, session: Session, entry: Entry) -> None:
            super().kept(session, entry)
            took.append(time.perf_counter() - since)

    async def work() -> tuple[float, int]:
        store = SqliteStore(directory)
        session = Session.load(store, "s", SystemClock(), redactor())
        loaded = time.perf_counter() - since
        await LocalDriver(session, reg, Timed(1)).run()
        store.close()
        return loaded, len(session.items)

    since = time.perf_counter()
    loaded, items = asyncio.run(work())
    print(json.dumps({"loaded": loaded, "moved": took[0], "items": items}))


def cold(directory: Path) -> bool:
    """Drop the files of a directory from the page cache; whether the system could be asked to."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in directory.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    return True


def measure(options: Options) -> list[Section]:
    """A short session and a long one, resumed in turns, each time from a fresh copy."""
    long = 2_800 if options.quick else 20_000
    rounds = 5 if options.quick else 11
    found: dict[int, list[dict[str, Any]]] = {SHORT: [], long: []}
    with scratch(options.directory) as place:
        for size in found:
            ask(_command("make", place / str(size), size))
        for round_ in range(rounds + 1):
            for size, runs in found.items():
                copy = shutil.copytree(place / str(size), place / f"{size}-{round_}")
                was_cold = cold(copy)
                runs.append(ask(_command("again", copy)))
                shutil.rmtree(copy)
    out = Section("Cold resume")
    rows = []
    for size, runs in found.items():
        loaded, moved = ([run[key] for run in runs[1:]] for key in ("loaded", "moved"))
        items = str(runs[0]["items"])
        rows.append((f"{size:,} transitions", spread(loaded, ms), spread(moved, ms), items))
    out.table(("session", "loaded", "first new entry on disk", "messages in view"), rows)
    times = ratios(*([run["moved"] for run in found[size][1:]] for size in (long, SHORT)))
    out.say(
        f"The long one takes {spread(times, two)} times as long as the short one"
        + ("." if was_cold else "; the page cache could not be dropped here.")
    )
    middle = sorted(times)[len(times) // 2]
    what = f"cold resume, {long:,} transitions against {SHORT}"
    out.want(what, f"≤ {TIMES:.0f} ×", f"{middle:.2f} ×", middle <= TIMES)
    return [out]


def _command(what: str, directory: Path, transitions: int = 0) -> Command:
    """This file as a process."""
    directory.mkdir(mode=0o700, exist_ok=True)
    return [sys.executable, __file__, "--as", what, str(directory), str(transitions)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        where = Path(sys.argv[3])
        make(where, int(sys.argv[4])) if sys.argv[2] == "make" else again(where)
    else:
        sys.exit(main(__doc__, measure))
