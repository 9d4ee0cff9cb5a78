"""Prompts: a system prompt's bytes, rendered again only when something it reads has changed.

Rules of this file:
1. A prompt is put before the model at every call, and mostly reads what a session never changes. What
   is kept is found by everything the text reads, and one that reads more is rendered every time.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from loopspec.codec import digest
from loopspec.machine.draft import Draft
from loopspec.machine.texts import reads_of, render
from loopspec.machine.values import Values, guidance_of, inputs_of, session_of
from loopspec.tokens import estimate

MAX_KEPT: Final = 64
"""Prompts kept, the newest of each source: more than the loops of a process have."""
_LASTING: Final = frozenset({"inputs", "vars", "session", "guidance"})
"""What most steps leave as it is; `usage` changes with every reply."""


class Prompt(NamedTuple):
    """A rendered prompt: its bytes, their digest, and its size in estimated tokens."""

    data: bytes
    digest: str
    tokens: int


_KEPT: dict[str, tuple[tuple[object, ...], object, Prompt]] = {}


def prompt_of(source: str, draft: Draft) -> Prompt:
    """The prompt `source` with its names filled in; raises `TextError`."""
    key = (inputs_of(draft), *session_of(draft), guidance_of(draft))
    kept = _KEPT.get(source)
    # Vars are compared by identity: whoever assigns one puts another mapping in their place.
    if kept is not None and kept[1] is draft.vars and kept[0] == key:
        return kept[2]
    made = _rendered(source, Values(draft))
    if _roots(source) <= _LASTING:
        if len(_KEPT) >= MAX_KEPT:
            _KEPT.clear()
        _KEPT[source] = (key, draft.vars, made)
    return made


def _rendered(source: str, values: Values) -> Prompt:
    """The prompt, made."""
    text = render(source, values)
    data = text.encode()
    return Prompt(data, digest(data), estimate(text))


@lru_cache(maxsize=256)
def _roots(source: str) -> frozenset[str]:
    """The roots a text reads."""
    return frozenset(root for root, _ in reads_of(source))
