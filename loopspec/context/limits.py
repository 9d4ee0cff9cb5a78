"""Limits: the numbers of compaction, each with its reason.

Rules of this file:
1. Every number that decides what a model goes on seeing stands here, so that it can be set and explained.
2. The defaults are the `context:` keys' defaults. Shares and scores are parts per million.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

PPM: Final = 1_000_000

_SAME: Final = {
    "constraint": "constraints",
    "approval": "approvals",
    "open_call": "open_calls",
}


class Weights(NamedTuple):
    """What each sort of unit is worth by itself, in parts per million of a score's whole.

    What binds (an instruction, a constraint, a decision of a person) is worth more than what was merely
    found out, for it cannot be found out again.
    """

    instruction: int = 500_000
    constraint: int = 700_000
    approval: int = 700_000
    plan: int = 600_000
    open_task: int = 500_000
    error: int = 300_000
    decision: int = 200_000
    referred: int = 400_000
    """The most that references from later work give: half of what is referred to most is half of it."""
    recency: int = 200_000
    """What the newest unit gets for being new; half as much `half_life` units before it."""


WEIGHTS: Final = Weights()


@dataclass(frozen=True)
class Limits:
    """How far and by what measure a view is compacted.

    `pin`: what stays byte for byte. `summary_share`: the most a summary is granted of the room beside the
    pins before anything else stays whole: a line tells more for its tokens than what it stands for, but a
    model works better on something that is whole. `mask_over`: outputs of more tokens are shown
    shorter before anything leaves; below it a mask saves too little to be worth the reading.
    `keep_newest`: units that stay because the next step answers them. `max_lines`: lines of a summary;
    more are counted, not shown, for nobody reads them. `half_life`: after so many units half of the worth
    of being new is gone. `weights`: see `Weights`.
    """

    pin: tuple[str, ...] = ("task", "constraints", "approvals", "authority", "open_calls", "plan")
    summary_share: int = 900_000
    mask_over: int = 200
    keep_newest: int = 1
    max_lines: int = 200
    half_life: int = 8
    weights: Weights = WEIGHTS

    def pins(self, name: str) -> bool:
        """Whether something is pinned, by its plural or its singular name."""
        return any(_SAME.get(pin, pin) == name for pin in self.pin)
