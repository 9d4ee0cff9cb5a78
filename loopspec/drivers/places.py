"""Places: which store a run uses, and which session of it is meant."""

import os
import re
from pathlib import Path
from typing import Final

from loopspec.errors import NotFound, UsageError
from loopspec.registry import installed
from loopspec.stores.base import Store
from loopspec.stores.sqlite import SqliteStore

SCHEME: Final = re.compile(r"([a-z][a-z0-9_+-]*):(.*)", re.DOTALL)


def store_path(given: Path | str | None) -> Path:
    """The store's directory: as given, from the environment, or the user's state directory.

    Raises `UsageError` for `scheme:where`, a plugin's store, which need not have a directory.
    """
    named = os.environ.get("LOOPSPEC_STORE")
    if isinstance(given, str):
        raise UsageError("this needs a store in a directory", place=f"--store {given}")
    if given is None and named:
        given = Path(named)
    if given is None:
        state = os.environ.get("XDG_STATE_HOME")
        given = (Path(state) if state else Path.home() / ".local" / "state") / "loopspec"
    return given.absolute()


def open_store(given: Path | str | None, *, readonly: bool = False) -> Store:
    """Open the store; raises `StoreError` with one clear line, `UsageError` for an unknown scheme."""
    place: Path | str | None = given if given is not None else os.environ.get("LOOPSPEC_STORE")
    scheme = SCHEME.fullmatch(place) if isinstance(place, str) and not Path(place).exists() else None
    if scheme is not None:
        known = installed().stores
        if scheme[1] not in known:
            raise UsageError(
                f"no plugin brings a store of the scheme `{scheme[1]}`",
                place=f"--store {place}",
                remedy=f"schemes are {', '.join(known)}; a directory of that name is ./{place}",
            )
        opened: Store = known[scheme[1]](scheme[2], readonly=readonly)
        return opened
    return SqliteStore(store_path(Path(given) if given else None), readonly=readonly)


def resolve_session(store: Store, given: str) -> str:
    """A session by its id, by the unique beginning of one, or `last`; raises `NotFound`."""
    rows = store.sessions()
    begun = [row for row in rows if row.head >= 0]
    if given == "last" and begun:
        return max(begun, key=lambda r: r.updated).session
    names = [r.session for r in rows]
    if given in names:
        return given
    close = [n for n in names if n.startswith(given)]
    if len(close) == 1:
        return close[0]
    if close:
        raise UsageError(f"`{given}` fits {len(close)} sessions: {', '.join(sorted(close)[:5])}")
    raise NotFound(f"there is no session `{given}`", remedy="see: loopspec sessions")
