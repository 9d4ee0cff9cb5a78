"""Tree: find and end every process a tool has started.

Rules of this file:
1. A process belongs to a call when it descends from the call's child, is in the child's session, or
   carries the call's mark in its environment (a grandchild that made a session of its own and lost
   its parents is found by the mark alone).
2. A process is identified by pid *and* start time (psutil's rule), so a reused pid is never hit.
3. A mark is compared by its beginning, and a mark for one run ends in something random.
4. First SIGTERM and a second to tidy up, then SIGKILL until nothing is left or `_ROUNDS` are over.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil

MARK: Final = "LOOPSPEC_CALL"
GRACE: Final = 1.0
_ROUNDS: Final = 5
_GONE: Final = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True)
class Root:
    """A call's child, which leads a session of its own.

    `process` is None when it was over, and its pid free, before anybody could look: a child that only
    starts others in the background may be. Its session still has its number then.
    """

    pid: int
    process: psutil.Process | None

    @property
    def session(self) -> int:
        """The session's number, 0 when it is gone for certain.

        While a session has members its number is no new process's pid; so if somebody else has the
        pid, the session is gone and the number says nothing.
        """
        ours = self.process is not None and self.process.is_running()
        return self.pid if ours or not psutil.pid_exists(self.pid) else 0


def root_of(pid: int) -> Root:
    """The process that has just been started, with its start time."""
    try:
        return Root(pid, psutil.Process(pid))
    except psutil.Error:
        return Root(pid, None)


def members(root: Root | None, mark: str) -> list[psutil.Process]:
    """The living processes of the call whose child is or was `root`, without zombies."""
    found: dict[int, psutil.Process] = {}
    session = root.session if root is not None else 0
    if root is not None and root.process is not None:
        with suppress(*_GONE, psutil.AccessDenied):
            for process in [root.process, *root.process.children(recursive=True)]:
                found[process.pid] = process
    for process in psutil.process_iter():
        if process.pid not in found and (
            _in_session(process.pid, session) or _marked(process, mark)
        ):
            found[process.pid] = process
    return [process for process in found.values() if _alive(process)]


def _in_session(pid: int, session: int) -> bool:
    try:
        return session > 0 and os.getsid(pid) == session
    except OSError:
        return False


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK, "").startswith(mark)
    except (*_GONE, psutil.AccessDenied, OSError):
        return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end(root: Root | None, mark: str, grace: float = GRACE) -> int:
    """End every member; blocks for at most `grace` plus a few seconds. Gives back how many."""
    ended: set[int] = set()
    living = members(root, mark)
    if living:
        _signal(living, signal.SIGTERM)
        ended.update(process.pid for process in living)
        _wait(living, grace)
    for _ in range(_ROUNDS):
        living = members(root, mark)
        if not living:
            break
        ended.update(process.pid for process in living)
        _kill_group(living, root)
        _signal(living, signal.SIGKILL)
        _wait(living, 0.5)
    return len(ended)


def _kill_group(living: list[psutil.Process], root: Root | None) -> None:
    """Kill the group at once, so that none of it can start another in between."""
    if root is None:
        return
    for process in living:
        with suppress(OSError):
            if os.getpgid(process.pid) == root.pid:
                os.killpg(root.pid, signal.SIGKILL)
                return


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    # Polls: most of these are not our children, and our own child is reaped by the event loop.
    until = time.monotonic() + seconds
    while any(_alive(process) for process in processes) and time.monotonic() < until:
        time.sleep(0.01)
