"""Lock: one process drives a session. The lock is the kernel's, so a killed holder frees it.

A file lock on this machine, the first line; it says who holds it. The second line is the lease in the
store (`lease`), which also knows other machines.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from loopspec.errors import LoopspecError, StoreError


class Busy(LoopspecError):
    """Another process drives the session; `pid` is what it wrote, `unknown` if nothing."""

    def __init__(self, session: str, pid: str) -> None:
        """Name the session and the holder."""
        super().__init__(
            f"it is being run by process {pid}",
            place=f"session {session}",
            remedy="let that one finish, or interrupt it, then resume",
        )
        self.pid = pid


class SessionLock:
    """An exclusive lock on one session of a store."""

    def __init__(self, directory: Path, session: str) -> None:
        """`directory` is the store's; the lock's file stays there for good."""
        self._path = directory / "locks" / session
        self._session = session
        self._fd = -1

    def take(self) -> None:
        """Take it; raises `Busy` naming the holder, `StoreError` if it cannot be made."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise StoreError(
                f"the session cannot be locked: {err.strerror}",
                place=str(self._path),
                remedy="Make room and the directory writable, then try again",
            ) from None
        try:
            _lock(fd)
        except OSError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise Busy(self._session, holder) from None
        with suppress(OSError):  # on a full disk: the number is only there to be read by others
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def free(self) -> None:
        """Give it back."""
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _lock(fd: int) -> None:
    """Lock exclusively; waits a moment for somebody who only looks (`holder`). Raises `OSError`."""
    for wait in (0.01, 0.02, 0.04, 0.08):
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(wait)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(directory: Path, session: str) -> str:
    """The process that drives a session now, empty if none does."""
    try:
        fd = os.open(directory / "locks" / session, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(fd)
    return ""
