"""Reply cache: complete model replies on disk, so that the same request need not be paid twice.

Rules of this file:
1. The cache is disposable. Missing, unreadable, damaged, full or locked, it is a miss and never an
   error; a session behaves the same with the directory deleted.
2. Nothing is ever unpickled. diskcache pickles by default and CVE-2025-69872 (whoever can write the
   directory runs code in whoever reads it) has no release that fixes it. Hence `JSONDisk`; and as
   that hands a row marked as pickled to its parent, which unpickles it, such rows are refused.
3. The directory is 0700 and must belong to this user; every row has its own expiry.
"""

import asyncio
import os
import stat
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from loopspec.codec import decode, encode
from loopspec.events import ProposedCall

SIZE_LIMIT: Final = 256 * 1024 * 1024
LOCK_SECONDS: Final = 1.0
_MODE_PICKLE: Final = 4


class CachedReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is worth keeping of a reply; the usage is not, because a replay costs nothing."""

    text: str = ""
    calls: list[ProposedCall] = []
    blocks: str = ""


class Refused(Exception):
    """The cache holds something this program will not read."""


class ReplyCache:
    """Replies by request digest in `directory`."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; it is made when first used."""
        self._directory = directory

    async def get(self, request: str) -> CachedReply | None:
        """The reply to the request with this digest; None for a miss of any sort."""
        return await asyncio.to_thread(self._get, request)

    async def put(self, request: str, reply: CachedReply, seconds: float) -> bool:
        """Keep `reply` for `seconds`; gives back whether it was kept."""
        return await asyncio.to_thread(self._put, request, reply, seconds)

    def _get(self, request: str) -> CachedReply | None:
        try:
            with self._open() as cache:
                found = cache.get(request)
            return decode(found.encode(), CachedReply) if isinstance(found, str) else None
        except Exception:
            # Any damage whatever (SQLite, zlib, JSON, permissions) is a miss: rule 1.
            return None

    def _put(self, request: str, reply: CachedReply, seconds: float) -> bool:
        try:
            with self._open() as cache:
                return bool(cache.set(request, encode(reply).decode(), expire=seconds))
        except Exception:
            # Not kept, and nothing else changes: rule 1.
            return False

    def _open(self) -> Any:
        """The open cache; raises whatever is wrong with it."""
        _private(self._directory)
        lib = import_module("diskcache")
        return lib.Cache(
            str(self._directory),
            timeout=LOCK_SECONDS,
            disk=_plain_disk(lib),
            size_limit=SIZE_LIMIT,
            eviction_policy="least-recently-stored",
            statistics=0,
            tag_index=0,
        )


def _private(directory: Path) -> None:
    """Make `directory` 0700 and ours; raises `Refused` for another user's or a link."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(f"{directory} is not a directory of this user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        directory.chmod(0o700)


def _plain_disk(lib: Any) -> Any:
    """diskcache's `JSONDisk` without its parent's unpickling (rule 2)."""

    def fetch(self: Any, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == _MODE_PICKLE:
            raise Refused("a pickled row")
        return lib.JSONDisk.fetch(self, mode, filename, value, read)

    def get(self: Any, key: Any, raw: bool) -> Any:
        if not raw:
            raise Refused("a pickled key")
        return lib.JSONDisk.get(self, key, raw)

    return type("PlainDisk", (lib.JSONDisk,), {"fetch": fetch, "get": get})
