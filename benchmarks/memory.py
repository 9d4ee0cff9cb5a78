"""Memory: one idle session, and what every further one adds.

    python benchmarks/memory.py [--quick] [--dir DIR]

What is counted is the memory that only this process holds (USS). Every session has a driver that waits
for a message, as in a server.
"""

import asyncio
import gc
import json
import sys
from pathlib import Path
from typing import Any, Final

import texts
from figures import mb
from kit import Options, Section, ask, main, scratch

TURNS: Final = 10
"""Turns each session has had: a hundred messages in its view."""


def held(directory: Path, sessions: int) -> dict[str, int]:
    """Bytes held after each stage."""
    import psutil

    process = psutil.Process()

    def now() -> int:
        gc.collect()
        return int(process.memory_full_info().uss)

    out = {"python": now()}
    import click  # noqa: F401
    import msgspec  # noqa: F401
    import yaml  # noqa: F401

    out["imports"] = now()
    asyncio.run(_sessions(directory, sessions, out, now))
    return out


async def _sessions(directory: Path, sessions: int, out: dict[str, int], now: Any) -> None:
    """One session, then more, all at rest."""
    import loop

    from loopspec.stores.sqlite import SqliteStore

    reg = loop.registry()
    made = loop.machine(reg)
    store = SqliteStore(directory)
    out["ready"] = now()
    resting = asyncio.Semaphore(0)
    end = asyncio.Event()

    async def rest(talk: loop.Talk) -> None:
        resting.release()
        await end.wait()

    running = []
    for n in range(sessions + 1):
        talk = loop.Talk(TURNS * texts.PER_TURN, rest)
        driver, first = await loop.begun(store, made, reg, f"s{n}", talk)
        running.append(asyncio.create_task(driver.run((), first)))
        await resting.acquire()
        if n == 0:
            out["one"] = now()
    out["all"] = now()
    end.set()
    await asyncio.gather(*running)
    store.close()


def measure(options: Options) -> list[Section]:
    """In a process of its own."""
    sessions = 20 if options.quick else 200
    with scratch(options.directory) as place:
        found = ask([sys.executable, __file__, "--as", place, str(sessions)])
    each = (found["all"] - found["one"]) / sessions
    out = Section("Memory")
    rows = [
        ("python", mb(found["python"])),
        ("with click, yaml and msgspec", mb(found["imports"])),
        ("loopspec, a spec compiled, its store open", mb(found["ready"])),
        (f"one session at rest after {TURNS} turns", mb(found["one"])),
        (f"{sessions} further sessions at rest", mb(found["all"])),
        ("each further session", f"**{each / 1024:,.0f} KB**, 100 KB of it the messages in view"),
    ]
    out.table(("process", "memory of its own"), rows)
    return [out]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        print(json.dumps(held(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        sys.exit(main(__doc__, measure))
