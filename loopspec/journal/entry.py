"""Entry: what one accepted event did, complete enough that folding needs no engine.

Rules of this file:
1. An entry stores the *result* of its step (the patch, the texts, the guards' outcomes), so reading
   it never depends on the versions of CEL, Jinja2 or python-statemachine.
2. `hash` covers the canonical bytes of everything else in the entry, `prev` among it.
"""

from typing import Final

import msgspec

from loopspec.effects import Effect
from loopspec.events import Kept
from loopspec.record import Record
from loopspec.snapshot import Patch

FORMAT: Final = 2
"""Raised when bytes that were written before could not be read any more, never for a new field with a
default: a hash is checked over bytes, so those of older entries hold as they stand."""
GENESIS: Final = "0" * 64


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the journal."""

    v: int
    sem: int
    session: str
    seq: int
    at: int
    awake: int
    by: str
    event: Kept
    outcome: str
    record: Record
    effects: tuple[Effect, ...]
    patch: Patch
    snapshot: str
    blobs: tuple[str, ...]
    prev: str
    hash: str = ""
