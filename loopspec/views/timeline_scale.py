"""Scale: where a moment stands on a picture's axis, with long silences folded.

Rules of this file:
1. A silence much longer than the others takes no more room than `FOLD` usual ones, and is told as
   folded: an approval that took a night must not make the work before it one pixel wide.
2. Whole pixels only, and never backwards: an earlier moment never stands right of a later one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

SECOND: Final = 1_000_000
LEAST: Final = 5 * SECOND
"""A silence shorter than this is never folded."""
FOLD: Final = 8
"""How many usual silences (the longest but 5 % of them) a folded one takes."""
_STEPS: Final = tuple(
    n * unit
    for unit, many in (
        (1_000, (1, 2, 5, 10, 20, 50, 100, 200, 500)),
        (SECOND, (1, 2, 5, 10, 20, 30)),
        (60 * SECOND, (1, 2, 5, 10, 20, 30)),
        (3600 * SECOND, (1, 2, 4, 6, 12)),
        (86_400 * SECOND, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
    )
    for n in many
)


class Scale:
    """A time axis of `width` pixels."""

    def __init__(self, moments: Sequence[int], width: int) -> None:
        """`moments` are ascending, in microseconds, each once."""
        self._moments = list(moments) or [0]
        self.width = width
        gaps = [b - a for a, b in zip(self._moments, self._moments[1:], strict=False)]
        usual = sorted(gaps)[len(gaps) * 95 // 100] if gaps else 0
        others = sorted(gaps)[: len(gaps) * 95 // 100]
        cap = max(LEAST, FOLD * (others[-1] if others else usual))
        self._sums = [0]
        self.folds: list[tuple[int, int]] = []
        for at, gap in zip(self._moments, gaps, strict=False):
            if gap > cap:
                self.folds.append((at, at + gap))
            self._sums.append(self._sums[-1] + min(gap, cap))

    def x(self, at: int) -> int:
        """Pixels from the axis's beginning, from 0 to `width`."""
        n = min(max(bisect_right(self._moments, at) - 1, 0), len(self._moments) - 1)
        total = self._sums[-1]
        if not total:
            return 0
        shown = self._sums[n]
        if n + 1 < len(self._moments):
            gap = self._moments[n + 1] - self._moments[n]
            into = min(max(at - self._moments[n], 0), gap)
            shown += (self._sums[n + 1] - self._sums[n]) * into // gap
        return shown * self.width // total

    def ticks(self, most: int) -> list[int]:
        """At most `most` moments worth a label, none inside a folded silence, counted from the first."""
        first, last = self._moments[0], self._moments[-1]
        total = self._sums[-1]
        step = next((s for s in _STEPS if total <= s * most), max(_STEPS[-1], total // most + 1))
        found: list[int] = []
        for begin, end in self._stretches(first, last):
            at = first + -(-(begin - first) // step) * step
            while at <= end and len(found) < 4 * most:
                found.append(at)
                at += step
        return found

    def _stretches(self, first: int, last: int) -> list[tuple[int, int]]:
        """The stretches between the folded silences."""
        edges = [first, *(edge for fold in self.folds for edge in fold), last]
        return list(zip(edges[::2], edges[1::2], strict=True))
