"""Our own contenders, each in a process led in lockstep (see `lockstep`).

    python benchmarks/contender.py NAME --dir DIR [--transitions N] [--sessions N]

Imports, opening and making tables are outside the time; every commit is inside.
"""

import argparse
import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import texts
from lockstep import Lockstep, grown, size_of

Run = Callable[[Lockstep, Path, int, int], None]

# ---------------------------------------------------------------- the bare limit


def bare(lead: Lockstep, directory: Path, transitions: int, sessions: int) -> None:
    """Single-row commits of 1 KB: the fastest a program can be that syncs after every row."""
    conn = sqlite3.connect(directory / "bare.db", isolation_level=None)
    mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    conn.execute("PRAGMA synchronous = FULL")
    level = conn.execute("PRAGMA synchronous").fetchone()[0]
    conn.execute("CREATE TABLE rows (row INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    bodies = [texts.kilobyte(n).encode() for n in range(64)]
    count = 0

    def row() -> int:
        nonlocal count
        conn.execute("INSERT INTO rows (body) VALUES (?)", (bodies[count % 64],))
        count += 1
        return 1

    while not grown(directory / "bare.db-wal"):
        row()
    lead.ready(journal=mode, synchronous=level)
    lead.serve(row)
    conn.close()
    lead.over(payload=count * texts.SIZE, disk=size_of(directory))


# ---------------------------------------------------------------- the store alone


class Recorder:
    """A store in memory that notes what was appended to it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        from loopspec.stores.memory import MemoryStore

        self.appended: list[Any] = []
        self.store = MemoryStore(self.appended.append)


def recorded(transitions: int) -> tuple[list[Any], int]:
    """Real entries of the loop, as the session hands them to a store, and their payload."""
    import loop

    reg = loop.registry()
    kept = Recorder()
    said = loop.run_talk(kept.store, loop.machine(reg), reg, "s", transitions)
    kept.store.close()
    return [replace(item, token=0) for item in kept.appended], said.payload


def append(lead: Lockstep, directory: Path, transitions: int, sessions: int) -> None:
    """`SqliteStore.append` alone: each entry is awaited before the next is handed over."""
    from loopspec.drivers.session import written
    from loopspec.stores.sqlite import SqliteStore

    items, payload = recorded(transitions)
    store = SqliteStore(directory)
    store.create("s", "bench", 0)

    async def work() -> int:
        await written(store.append(items[0]))  # with the compiled machine: no transition
        lead.ready()
        at = 1
        while wanted := lead.told():
            slice_ = items[at : at + wanted]
            for item in slice_:
                await written(store.append(item))
            lead.did(len(slice_))
            at += len(slice_)
        return at

    count = asyncio.run(work())
    store.close()
    lead.over(payload=payload * count // len(items), disk=size_of(directory))


def appends(lead: Lockstep, directory: Path, transitions: int, sessions: int) -> None:
    """`SqliteStore.append` of many sessions at once: each waits for its own entry only."""
    from loopspec.stores.sqlite import SqliteStore

    items, payload = recorded(transitions // sessions)
    store = SqliteStore(directory)
    names = [f"s{n}" for n in range(sessions)]

    async def one(name: str, slice_: list[Any]) -> None:
        for item in slice_:
            await asyncio.wrap_future(store.append(replace(item, session=name, alone=False)))

    async def work() -> int:
        for name in names:
            store.create(name, "bench", 0)
            await asyncio.wrap_future(store.append(replace(items[0], session=name)))
        lead.ready()
        at = 1
        while wanted := lead.told():
            slice_ = items[at : at + wanted // sessions]
            await asyncio.gather(*(one(name, slice_) for name in names))
            lead.did(len(slice_) * sessions)
            at += len(slice_)
        return at

    written = asyncio.run(work())
    commits = store.commits
    store.close()
    payload = payload * sessions * written // len(items)
    lead.over(payload=payload, disk=size_of(directory), commits=commits)


# ---------------------------------------------------------------- the whole driver


def _drivers(*, claims: bool = False, real: bool = False, bounded: bool = True) -> Run:
    """As many sessions as are asked for in one process, each through the whole driver."""

    def run(lead: Lockstep, directory: Path, transitions: int, sessions: int) -> None:
        import loop

        from loopspec.stores.sqlite import SqliteStore

        reg = loop.registry(claims=claims, real=real)
        made = loop.machine(reg, bounded=bounded)
        store = SqliteStore(directory)
        talks = asyncio.run(loop.led(lead, store, made, reg, sessions))
        commits = store.commits
        store.close()
        payload = sum(talk.payload for talk in talks)
        lead.over(payload=payload, disk=size_of(directory), commits=commits)

    return run


NAMES: Final[dict[str, Run]] = {
    "bare": bare,
    "append": append,
    "appends": appends,
    "driver": _drivers(),
    "driver-claims": _drivers(claims=True),
    "driver-real": _drivers(real=True),
    "driver-unbounded": _drivers(bounded=False),
}


def main() -> None:
    """Be one contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(NAMES))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--transitions", type=int, default=2_000, help="how many entries to record")
    parser.add_argument("--sessions", type=int, default=1)
    given = parser.parse_args()
    NAMES[given.name](Lockstep(), given.dir, given.transitions, given.sessions)


if __name__ == "__main__":
    main()
