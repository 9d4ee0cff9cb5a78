"""Process: who a driver is, and whether another one still runs.

A process number alone names nobody, because numbers come again; together with the moment it started
(in ticks since boot), the boot and the space its number is valid in, it names one process for good.
Nothing here asks a clock that can be set.
"""

import os
import socket
from enum import Enum
from pathlib import Path

import msgspec

from loopspec.codec import digest


class Holder(msgspec.Struct, frozen=True):
    """A driver's process. `started` is in ticks since boot, 0 where the system does not tell.

    `pid_space` is what its number is valid in (a container has its own), `machine` a digest that is
    empty where the machine has no id; `host` is a name for people. `run` is drawn for each run, of which
    a process may do several.
    """

    pid: int
    started: int = 0
    boot: str = ""
    pid_space: str = ""
    machine: str = ""
    host: str = ""
    run: str = ""


def same_process(one: Holder, other: Holder) -> bool:
    """Whether two runs are (or were) of one process."""
    return msgspec.structs.replace(one, run=other.run) == other


class Sight(Enum):
    """What can be seen of a process from here."""

    ALIVE = "alive"
    STOPPED = "stopped"
    DEAD = "dead"
    HIDDEN = "hidden"


def ourselves() -> Holder:
    """This process."""
    pid = os.getpid()
    found = _stat(pid)
    host = socket.gethostname()
    known = _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")
    return Holder(
        pid=pid,
        started=found[1] if found is not None else 0,
        boot=_text("/proc/sys/kernel/random/boot_id"),
        pid_space=_link("/proc/self/ns/pid"),
        # With the name, because machines made from one image may share their id. A digest, because
        # the id itself is confidential (machine-id(5)).
        machine=digest(f"loopspec {known} {host}".encode())[:32] if known else "",
        host=host,
    )


def sight(other: Holder, us: Holder) -> Sight:
    """What we see of another process."""
    if other.boot and other.boot == us.boot:
        if not other.pid_space or other.pid_space != us.pid_space:
            return Sight.HIDDEN  # another container on the same kernel: its number says nothing here
        return _look(other)
    if other.machine and other.machine == us.machine and other.boot and us.boot:
        return Sight.DEAD  # this machine has been booted since
    return Sight.HIDDEN


def _look(other: Holder) -> Sight:
    """What we see of a process of our own space."""
    found = _stat(other.pid)
    if found is None:
        return Sight.ALIVE if _exists(other.pid) else Sight.DEAD
    state, started = found
    if started != other.started or state in "ZX":  # a zombie will do nothing any more
        return Sight.DEAD
    return Sight.STOPPED if state in "Tt" else Sight.ALIVE


def _exists(pid: int) -> bool:
    """Whether there is such a process, even one whose particulars are hidden from us."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _stat(pid: int) -> tuple[str, int] | None:
    """A process's state and when it started, in ticks since boot; None where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        fields = text[text.rindex(")") + 2 :].split()  # its name may hold anything, brackets too
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _text(path: str) -> str:
    """A small file's text, empty if there is none."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    """Where a link points, empty if it cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
