"""Orphans: processes of a call whose driver was killed before it could end them."""

from hashlib import sha256
from pathlib import Path

from loopspec.tools import tree


def name_of(store: Path, session: str, call: str) -> str:
    """The name of a call on this machine: two stores may hold the same session."""
    where = sha256(str(store.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{where}:{session}:{call}"


def end_call(call: str) -> int:
    """End every process that a run of `call` has left; blocks for a few seconds at most.

    For a restart, before the call is settled or run again. Gives back how many there were.
    """
    return tree.end(None, f"{call}:") if call else 0
