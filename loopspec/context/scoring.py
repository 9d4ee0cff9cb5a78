"""Scoring: how much later work is likely to rest on a unit, told from the past alone.

Rules of this file:
1. No model, no clock, no dice; integers, in parts per million. Linear in the length of the view.
2. What the model has taken up once it takes up again: an atom that came back in a later text or argument
   of the model weighs several times one that was only shown. Measured on recorded runs, see
   benchmarks/compaction.py: of the atoms never taken up a fourteenth was needed later, of those taken up
   once a quarter, twice nearly a half.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loopspec.context.atoms import atoms
from loopspec.context.limits import PPM, Limits
from loopspec.context.transcript import Item
from loopspec.context.units import BY_PERSON, Unit, is_plan_tool

TAKEN_UP: Final = (60_000, 270_000, 450_000, 550_000)
"""Likelihood that an atom is needed, by how often the model wrote it."""
TOLD_BY_USER: Final = 300_000
"""…at least, where a person told it."""
MANY: Final = 24
"""A unit with more atoms that nobody took up makes each of them less likely: one of them is meant."""
EXACT: Final = 10
"""What an identifier weighs, in quarters (see `_exactness`)."""
FRESH: Final = 2
"""Units for which an atom does not fade."""
CONSTRAINT: Final = re.compile(
    r"\b(?:never|always|must|do not|don't|mustn't|only|without|make sure|at most|at least)\b",
    re.IGNORECASE,
)
ERROR: Final = re.compile(
    r"\b(?:error|exception|traceback|failed|failure|fatal|panic|denied|not found)\b", re.IGNORECASE
)
DECISION: Final = re.compile(
    r"\b(?:decided|instead of|because|root cause|the fix|the problem is|conclusion|we will|i will)\b",
    re.IGNORECASE,
)
SAMPLE: Final = 4000
"""Characters at the beginning of a text in which its sort is looked for."""


@dataclass(frozen=True)
class Score:
    """A unit's score, and in words what gave it."""

    total: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Standings:
    """The atoms of a view: of each unit in order, the weight of each, and the unit that has it last."""

    of: tuple[tuple[str, ...], ...]
    weight: Mapping[str, int]
    last: Mapping[str, int]
    uses: Mapping[str, int]


def standings(items: Sequence[Item], units: Sequence[Unit], limits: Limits) -> Standings:
    """Read every unit once, and weigh each atom by what became of it."""
    of: list[tuple[str, ...]] = []
    last: dict[str, int] = {}
    uses: dict[str, int] = {}
    told: set[str] = set()
    crowd: dict[str, int] = {}
    for u, unit in enumerate(units):
        here: dict[str, None] = {}
        wrote: set[str] = set()
        for n in unit.members:
            item = items[n]
            found = atoms(item.text)
            here.update(dict.fromkeys(found))
            if item.role == "assistant":
                wrote.update(found)
                for call in item.calls:
                    given = atoms(call.args)
                    here.update(dict.fromkeys(given))
                    wrote.update(given)
            elif item.role in ("user", "note") and not item.call:
                told.update(found)
        for atom in wrote:
            uses[atom] = uses.get(atom, 0) + 1
        for atom in here:
            last[atom] = u
            crowd[atom] = min(crowd.get(atom, PPM), len(here))
        of.append(tuple(here))
    newest = len(units) - 1
    weight = {
        atom: _weight(atom, uses.get(atom, 0), atom in told, crowd[atom], newest - at, limits.half_life)
        for atom, at in last.items()
    }
    return Standings(tuple(of), weight, last, uses)


def _weight(atom: str, uses: int, told: bool, crowd: int, age: int, half: int) -> int:
    """How likely an atom is needed again, in parts per million."""
    base = TAKEN_UP[min(uses, len(TAKEN_UP) - 1)]
    if told:
        base = max(base, TOLD_BY_USER)
    elif not uses:
        base = base * _exactness(atom) // 4 * MANY // max(crowd, MANY)
    return fading(base, max(0, age - FRESH), half)


def _exactness(atom: str) -> int:
    """How much an atom that was only shown is one that is used word for word, in quarters.

    An identifier cannot be guessed or told in other words; a number is one of many, and prose is retold.
    """
    if " " in atom:
        return 2
    letters = any(char.isalpha() for char in atom)
    digits = any(char.isdigit() for char in atom)
    if letters and digits:
        return EXACT
    return 4 if letters else 3 if len(atom) > 2 else 1


def fading(value: int, age: int, half: int) -> int:
    """Half as much after `half` units, a third after twice as many, and so on."""
    return value * half // (half + age)


def scores(
    items: Sequence[Item],
    units: Sequence[Unit],
    found: Standings,
    limits: Limits,
    pins: Mapping[int, str],
) -> list[Score]:
    """The score of each unit: its sort, what refers to it, and how new it is."""
    referred = [
        sum(found.weight[atom] for atom in of if found.uses.get(atom) and found.last[atom] >= u)
        for u, of in enumerate(found.of)
    ]
    most = max(referred, default=0) or 1
    newest = len(units) - 1
    made = []
    for u, unit in enumerate(units):
        sort, worth = _sort(items, unit, limits)
        refers = limits.weights.referred * referred[u] // most
        recent = fading(limits.weights.recency, newest - u, limits.half_life)
        reasons = [f"{sort} {_share(worth)}"] if worth else [sort]
        if refers:
            count = sum(1 for atom in found.of[u] if found.uses.get(atom))
            reasons.append(f"{count} atoms taken up {_share(refers)}")
        reasons.append(f"{newest - u} units old {_share(recent)}")
        reasons += dict.fromkeys(f"pinned: {pins[n]}" for n in unit.members if n in pins)
        made.append(Score(min(PPM, worth + refers + recent), tuple(reasons)))
    return made


def _share(value: int) -> str:
    """Parts per million as a percentage."""
    return f"+{value * 100 // PPM}%"


def _sort(items: Sequence[Item], unit: Unit, limits: Limits) -> tuple[str, int]:
    """What a unit is, and what that is worth by itself."""
    weights = limits.weights
    own = [items[n] for n in unit.members]
    first = own[0]
    if any(i.status in BY_PERSON for i in own):
        return "a person's decision", weights.approval
    if first.role == "note":
        return "constraint", weights.constraint
    if first.role == "user" and not first.call:
        if CONSTRAINT.search(first.text[:SAMPLE]):
            return "instruction with a constraint", weights.constraint
        return "instruction", weights.instruction
    if any(is_plan_tool(call.tool) for i in own for call in i.calls):
        return "plan", weights.plan
    if unit.waits:
        return "open call", weights.open_task
    if _unresolved(own):
        return "error", weights.error
    if first.role == "assistant" and DECISION.search(first.text[:SAMPLE]):
        return "decision", weights.decision
    return _plainly(first), 0


def _unresolved(own: Iterable[Item]) -> bool:
    """Whether a result tells of a failure."""
    return any(i.role == "result" and (i.status != "ok" or ERROR.search(i.text[:SAMPLE])) for i in own)


def _plainly(item: Item) -> str:
    """What a unit of no special sort is."""
    return "calls and results" if item.calls else item.role
