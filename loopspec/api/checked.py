"""Checked: what a program hands in, looked at before it becomes part of an event.

Rules of this file:
1. What goes into the journal must come out of it again: a value of another type is refused here.
2. One text is no list of texts. Taken for one, `src/**` would be six globs, and `/` and `*` among them
   cover everything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from loopspec.codec import canonical_json
from loopspec.errors import UsageError


def texts(**given: Sequence[Any]) -> None:
    """Refuse what is no list of texts, by its name; raises `UsageError`."""
    for name, values in given.items():
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            raise UsageError(f"`{name}` is {values!r:.80}", remedy=f"give a list of texts: {name}=[…]")
        for value in values:
            if not isinstance(value, str):
                raise UsageError(f"`{name}` holds {value!r:.80}, which is no text")


def arguments(given: Mapping[str, Any]) -> str:
    """Canonical JSON text of a call's arguments; raises `UsageError` when they are none."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError("`args` is no mapping of names to values")
    try:
        return canonical_json(dict(given))
    except (TypeError, ValueError, RecursionError) as err:
        raise UsageError(f"`args` cannot be written as JSON: {err}"[:300]) from None
