"""The verdict: what the judge's reply says, or what is wrong with it.

Rules of this file:
1. The judge says of each criterion whether it is met; whether the work passes follows from that.
2. A verdict that could be read in two ways is none: a criterion twice or missing, a key twice, two
   verdicts in one reply.
3. A verdict that stands in the work is none: a judge that only quotes it has said nothing itself.
4. Texts of a verdict have limits: they go into the journal and to the model that does the work.
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
_SPELT: Final = re.compile(r"\\+[nrt]|[\\\s]+")
"""What may differ between a text and the same text quoted: space, and signs that escape."""
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


def read(reply: str, criteria: Sequence[str], material: str = "") -> Verdict:
    """The verdict a reply about `material` holds; raises `Unreadable`."""
    found, text = _only(reply)
    if _SPELT.sub("", text) in _SPELT.sub("", material):
        raise Unreadable("its verdict is one that the material holds; judge in words of your own")
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


def _only(reply: str) -> tuple[dict[str, Any], str]:
    """The one verdict in a reply and how it is written: alone, in a code fence, or among other words."""
    whole = _FENCE.fullmatch(reply.strip())
    text = whole[1] if whole else reply
    found = [(one, written) for one, written in _objects(text) if "criteria" in one]
    if len(found) != 1:
        raise Unreadable("it holds no verdict" if not found else f"it holds {len(found)} verdicts")
    return found[0]


def _objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every JSON object at the top of a text, and how it is written."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    at = text.find("{")
    for _ in range(TRIES):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
            yield value, text[at:end]
        except (ValueError, RecursionError):  # no JSON, or a number too long to be read
            end = at + 1
        at = text.find("{", end)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("a key stands twice in one object")
    return made
