"""The verdict: what the judge's reply says, or what is wrong with it.

Rules of this file:
1. The judge says of each criterion whether it is met; whether the work passes follows from that.
2. A verdict that could be read in two ways is none: a criterion twice or missing, a key twice, two
   verdicts in one reply.
3. Texts of a verdict have limits: they go into the journal and to the model that does the work.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

NOTES: Final = 4_000
WHY: Final = 1_000
"""Characters kept of the notes, and of why a criterion is not met."""
TRIES: Final = 200
"""Places in a reply at which a JSON object is looked for."""
_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)


class Unreadable(Exception):
    """A reply that holds no verdict; the message says why, for the judge and for people."""


@dataclass(frozen=True)
class Verdict:
    """Whether every criterion is met; `faults` has one text for each that is not."""

    faults: tuple[str, ...]
    notes: str
    score: int

    @property
    def passed(self) -> bool:
        """Whether every criterion is met."""
        return not self.faults


def read(reply: str, criteria: Sequence[str]) -> Verdict:
    """The verdict a reply holds; raises `Unreadable`."""
    found = _only(reply)
    told = found.get("criteria")
    if not isinstance(told, list):
        raise Unreadable("`criteria` must be a list")
    by_number: dict[int, dict[str, Any]] = {}
    for one in told:
        number = one.get("criterion") if isinstance(one, dict) else None
        if type(number) is not int or not 1 <= number <= len(criteria):
            raise Unreadable(f"each criterion needs its number from 1 to {len(criteria)}")
        if number in by_number:
            raise Unreadable(f"criterion {number} is judged twice")
        if not isinstance(one.get("met"), bool):
            raise Unreadable(f"`met` of criterion {number} must be true or false")
        by_number[number] = one
    for number in range(1, len(criteria) + 1):
        if number not in by_number:
            raise Unreadable(f"criterion {number} is not judged")
    faults = tuple(
        _fault(criteria[number - 1], by_number[number].get("why"))
        for number in sorted(by_number)
        if not by_number[number]["met"]
    )
    notes = found.get("notes", "")
    score = (len(criteria) - len(faults)) * 100 // len(criteria)
    return Verdict(faults, _cut(notes, NOTES) if isinstance(notes, str) else "", score)


def _fault(criterion: str, why: Any) -> str:
    """A criterion that is not met, in one text."""
    said = _cut(why, WHY) if isinstance(why, str) else ""
    return f"{criterion.strip()} – {said}" if said else criterion.strip()


def _cut(text: str, most: int) -> str:
    """A text within its limit."""
    text = text.strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _only(reply: str) -> dict[str, Any]:
    """The one verdict in a reply: alone, in a code fence, or among other words."""
    whole = _FENCE.fullmatch(reply.strip())
    text = whole[1] if whole else reply
    found = [one for one in _objects(text) if "criteria" in one]
    if len(found) != 1:
        raise Unreadable("it holds no verdict" if not found else f"it holds {len(found)} verdicts")
    return found[0]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object at the top of a text."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    at = text.find("{")
    for _ in range(TRIES):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except (json.JSONDecodeError, RecursionError):
            end = at + 1
        at = text.find("{", end)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("a key stands twice in one object")
    return made
