"""Faults: what goes wrong in a simulated world, how often, and how often it did.

Rules of this file:
1. A fault is a share in 0..1, of the things named beside it; 0 switches it off.
2. Every fault that was injected is counted, by the name of its field here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from loopspec.errors import UsageError

GROUPS: Final = {
    "crashes": ("crash", "crash_before", "crash_during", "crash_after"),
    "answers": ("lost", "late", "again", "hang"),
    "timers": ("race",),
    "people": ("interrupt", "suspend"),
    "disk": ("full", "slow"),
    "clock": ("back", "forward", "sleep"),
    "drivers": ("takeover", "rival"),
}
"""The faults by what is at fault, as `--faults` takes them."""


@dataclass(frozen=True)
class Faults:
    """How often things go wrong, as shares in 0..1.

    Of all appends: `crash_before`, `crash_during` (parts of it, or all of it without a word, are on
    disk) and `crash_after` end the process there; `full` is a disk without room for a while, on which
    the driver stops; `slow` is acknowledged much later than other things happen.

    Of all ticks: `crash` ends the process in between; `again` hands in an answer a second time, `late`
    another one for work that has settled; `interrupt` is a person who stops the work, `suspend` a host
    that goes to sleep or wakes; `back`, `forward` are jumps of the wall clock; `sleep` is a machine
    that was asleep unannounced: only the awake clock stood still; `takeover` pauses the driver while
    another one takes its session over, `rival` lets a second one try it at once.

    Of all effects that have begun, `lost` ones never answer by themselves; of all cancelled ones, `hang`
    do not stop. Of all ticks with work under way, in `race` of them a timer fires first.
    """

    crash_before: float = 0.02
    crash_after: float = 0.04
    crash: float = 0.02
    again: float = 0.01
    late: float = 0.01
    interrupt: float = 0.05
    suspend: float = 0.02
    hang: float = 0.1
    crash_during: float = 0.02
    lost: float = 0.03
    race: float = 0.02
    full: float = 0.01
    slow: float = 0.05
    back: float = 0.01
    forward: float = 0.01
    sleep: float = 0.01
    takeover: float = 0.01
    rival: float = 0.01


NAMES: Final = tuple(f.name for f in fields(Faults))
CALM: Final = replace(Faults(), **dict.fromkeys(NAMES, 0.0))
"""A world without faults."""


def chosen(names: Sequence[str], of: Faults | None = None) -> Faults:
    """Only these faults (fields of `Faults` or groups of them), as often as in `of` (the usual ones).

    `none` stands for no fault at all. Raises `UsageError` naming what there is.
    """
    usual = of if of is not None else Faults()
    wanted: set[str] = set()
    for name in names:
        plain = name.strip().replace("-", "_")
        if plain in GROUPS:
            wanted.update(GROUPS[plain])
        elif plain in NAMES:
            wanted.add(plain)
        elif plain != "none":
            raise UsageError(
                f"there is no fault `{name}`",
                remedy=f"groups: {', '.join(GROUPS)}; single ones: {', '.join(NAMES)}; or none",
            )
    return replace(CALM, **{name: getattr(usual, name) for name in sorted(wanted)})
