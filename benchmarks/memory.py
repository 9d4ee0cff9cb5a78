"""Memory: one idle session, what every further one adds, and a run on a small machine.

    python benchmarks/memory.py [--quick] [--dir DIR]

What is counted is the memory that only this process holds (USS). Every session has a driver that waits
for a message, as in a server. Of a run on a small machine it is the peak of all that it held (RSS), as
the kernel tells it when the process has ended; the model server is another process's.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import texts
from figures import mb
from kit import Options, Section, ask, environment, main, scratch

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


def ran(place: Path, *options: str, **env: str) -> tuple[int, float]:
    """The peak memory in bytes and the seconds of `loopspec run`, the model server apart."""
    command = [sys.executable, "-m", "loopspec", "run", *options]
    whole = {**environment(), "LOOPSPEC_STORE": f"{place}/store", **env}
    begun = time.perf_counter()
    null = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=place, env=whole, stdin=null, stdout=null, stderr=null) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return used.ru_maxrss * 1024, time.perf_counter() - begun


def small(directory: Path) -> Section:
    """Runs of a loop against a server on this machine: by its own path, and by litellm."""
    from loopspec.testing.server import ModelServer

    out = Section("One run, its peak memory")
    with scratch(directory) as place, ModelServer("The moon pulls the sea.") as server:
        near = {"LOOPSPEC_LOCAL_BASE": f"{server.base}/v1"}
        far = {"OPENAI_API_BASE": f"{server.base}/v1", "OPENAI_API_KEY": "none"}
        runs = {
            "`edge-agent`, answered by a rule": ran(place, "edge-agent", "-p", "ping", **near),
            "`edge-agent`, answered by a local model": ran(place, "edge-agent", "-p", "Tides?", **near),
            "`chat`, the same server as `local/x`": ran(
                place, "chat", "-p", "Tides?", "--model", "main=local/x", **near
            ),
            "`chat`, the same server as `openai/gpt-5-mini`": ran(
                place, "chat", "-p", "Tides?", "--model", "main=openai/gpt-5-mini", **far
            ),
        }
        server.wrong.clear()  # it knows no answer to the questions about a window
    rows = [(name, mb(peak), f"{took:.1f} s") for name, (peak, took) in runs.items()]
    out.table(("run", "peak memory", "time"), rows)
    return out


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
    return [out, small(options.directory)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        print(json.dumps(held(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        sys.exit(main(__doc__, measure))
