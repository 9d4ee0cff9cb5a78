"""Host survey: what the host has just now, before a tier is chosen.

Rules of this file:
1. Nobody is called: whether there is a network is read from the kernel's tables of routes. A default
   route is a network; that nothing answers behind it shows when a tier is asked.
2. What cannot be read is not made up: free memory is then unknown, and a tier that needs some is passed
   over. Only a network is taken to be there where the system has no such tables.
3. Both can be said instead: `LOOPSPEC_OFFLINE=1` is no network, whatever the tables say;
   `LOOPSPEC_PROBE=HOST:PORT` is a network if a connection there succeeds within two seconds.

The tables: proc(5), `/proc/net/route` and `/proc/net/ipv6_route`; memory: `MemAvailable` of
`/proc/meminfo`, and the limit of the control group (cgroups(7), version 2) where there is one.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final, NamedTuple

from loopspec.effects import Effect, SurveyHost
from loopspec.events import EffectFailed, HostSurveyed
from loopspec.hooks import World

OFFLINE: Final = "LOOPSPEC_OFFLINE"
PROBE: Final = "LOOPSPEC_PROBE"
PATIENCE: Final = 2.0
"""Seconds that a probe may take."""
_YES: Final = frozenset({"1", "true", "yes", "on"})
_UP: Final = 0x1
_REJECT: Final = 0x0200
"""Flags of a route: it is up; what it takes is refused (`RTF_UP`, `RTF_REJECT` of <linux/route.h>)."""
_LOOPBACK: Final = "lo"


class Network(NamedTuple):
    """Whether there is a network, and how that is known."""

    up: bool
    why: str


class HostPerformer:
    """Does `SurveyHost`."""

    async def perform(self, effect: Effect, world: World) -> HostSurveyed | EffectFailed:
        """Look at the host. Never raises; calls nobody, unless a probe is set."""
        if not isinstance(effect, SurveyHost):
            return EffectFailed(effect.id, "the host performer only looks at the host")
        network = await look()
        return HostSurveyed(effect.id, network.up, await asyncio.to_thread(free_memory), network.why)


async def look() -> Network:
    """Whether there is a network now."""
    if os.environ.get(OFFLINE, "").strip().lower() in _YES:
        return Network(False, f"{OFFLINE} is set")
    if probe := os.environ.get(PROBE, "").strip():
        return await _probed(probe)
    return await asyncio.to_thread(routed)


async def _probed(probe: str) -> Network:
    """Whether a connection to the probe's address succeeds."""
    host, _, port = probe.rpartition(":")
    if not host or not port.isdigit():
        return Network(False, f"{PROBE} is not of the form HOST:PORT")
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, OverflowError, UnicodeError):
        return Network(False, f"{probe} does not answer")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Network(True, f"{probe} answers")


def routed(proc: Path = Path("/proc")) -> Network:
    """Whether a default route is there, by the tables below `proc`; reads the disk."""
    four, six = _lines(proc / "net" / "route"), _lines(proc / "net" / "ipv6_route")
    if four is None and six is None:
        return Network(True, "assumed: this system has no table of routes to read")
    if any(map(_default4, (four or [])[1:])) or any(map(_default6, six or [])):
        return Network(True, "a default route")
    return Network(False, "no default route")


def _default4(line: str) -> bool:
    """Whether a line of `/proc/net/route` is a default route: destination and mask of nothing."""
    cells = line.split()
    if len(cells) < 8 or cells[0] == _LOOPBACK or (cells[1], cells[7]) != ("00000000", "00000000"):
        return False
    flags = _hex(cells[3])
    return bool(flags & _UP) and not flags & _REJECT


def _default6(line: str) -> bool:
    """Whether a line of `/proc/net/ipv6_route` is a default route, and not the kernel's refusal."""
    cells = line.split()
    if len(cells) < 10 or cells[9] == _LOOPBACK or (set(cells[0]), cells[1]) != ({"0"}, "00"):
        return False
    flags = _hex(cells[8])
    return bool(flags & _UP) and not flags & _REJECT


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that could be had now, -1 if nobody knows; reads the disk."""
    found = [value for value in (_available(root), _within_group(root)) if value >= 0]
    return min(found, default=-1)


def _available(root: Path) -> int:
    """What the kernel could give, by `/proc/meminfo`."""
    for line in _lines(root / "proc" / "meminfo") or ():
        name, _, rest = line.partition(":")
        cells = rest.split()
        if name == "MemAvailable" and cells and cells[0].isdigit():
            return int(cells[0]) * 1024
    return -1


def _within_group(root: Path) -> int:
    """What the control group leaves, as it is seen from inside it."""
    group = root / "sys" / "fs" / "cgroup"
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        return max(0, int(limit[0]) - int(used[0]))
    return -1


def _lines(path: Path) -> list[str] | None:
    """The lines of a small file, None if it cannot be read."""
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:
        return None


def _hex(text: str) -> int:
    """A hexadecimal number, 0 for what is none."""
    try:
        return int(text, 16)
    except ValueError:
        return 0
