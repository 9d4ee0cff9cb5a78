"""What a compacted view still has of what the rest of a recorded run needs; and what planning costs.

    python benchmarks/compaction.py             # prints Markdown tables; exit 1 if a target is missed
    python benchmarks/compaction.py --quick     # every seventh point, no cost of long sessions

The recorded runs are not part of the project: they are looked for under `LOOPSPEC_DATA`, or in a folder
beside it. Without them only the cost is measured.

Targets: at a quarter of the tokens 1.5 times the recall of truncation, and above every other baseline,
on both sets; every pin byte for byte; no call parted from its result; a session of a million tokens is
planned in 15 seconds of the processor, and in no more than 3 times what half of it takes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from compaction_baselines import METHODS
from compaction_cost import session
from compaction_runs import Point, Run, kept, points, swe_runs, tau_runs, text_of

from loopspec.context.compaction import Limits, Plan, faults, plan, size_of, view_after
from loopspec.context.transcript import Item

SHARES = (50, 25, 10)
LEAST = 1_000
"""A point counts once the view without its first message has so many tokens."""
TUNED = 15
"""The planner's weights were chosen on the first so many tasks of tau_bench, and on nothing else."""
JUDGED = ("tau_bench, tasks held out", "tau_bench, all", "swe_agent")
OURS = "loopspec"
FACTOR = 1.5
SECONDS = 15.0
GROWTH = 3.0
ROUNDS = 3


@dataclass
class Tally:
    """What became of the points of a set at one share of the tokens."""

    recall: dict[str, list[float]] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    needed: int = 0
    over: int = 0
    broken: int = 0
    rungs: dict[str, int] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """The mean of the points' recalls."""
        return statistics.fmean(self.recall[name])

    def pooled(self, name: str) -> float:
        """The share of all needed atoms of all points."""
        return self.found[name] / self.needed

    def add(self, name: str, point: Point, view: Sequence[str]) -> None:
        """Count what a method kept at a point."""
        count = kept(point.needed, view)
        self.recall.setdefault(name, []).append(count / len(point.needed))
        self.found[name] = self.found.get(name, 0) + count


def ours(point: Point, budget: int) -> tuple[list[str], int, str, bool]:
    """Our view of a point beside its first message, its tokens, the rung, and whether it is sound."""
    first, limits = point.items[0], Limits()
    made = plan(point.items, size_of(first) + budget, limits)
    if not isinstance(made, Plan):
        rest = point.items[1:]
        return [text_of(item) for item in rest], sum(map(size_of, rest)), "stuck", True
    masks = {mask.item: mask.text for mask in made.masks}
    view = view_after(point.items, made.replaces, masks, made.summary)
    sound = not faults(point.items, view, limits) and first in view and _paired(view)
    rest = tuple(item for item in view if item is not first)
    return [text_of(item) for item in rest], sum(map(size_of, rest)), made.rung, sound


def _paired(view: Sequence[Item]) -> bool:
    """Whether every call has one result and every result its call; not the planner's judge."""
    calls = sorted(call.id for item in view for call in item.calls)
    return calls == sorted(item.call for item in view if item.role == "result")


def measured(found: Sequence[Point], share: int) -> Tally:
    """All methods at all points with the same tokens: the share, or what we took if that is more."""
    tally = Tally()
    for point in found:
        rest = point.items[1:]
        budget = sum(map(size_of, rest)) * share // 100
        view, size, rung, sound = ours(point, budget)
        tally.needed += len(point.needed)
        tally.over += size > budget
        tally.broken += not sound
        tally.rungs[rung] = tally.rungs.get(rung, 0) + 1
        tally.add(OURS, point, view)
        for name, method in METHODS.items():
            tally.add(name, point, method(rest, max(budget, size)))
    return tally


def _sets(step: int) -> list[tuple[str, list[Point]]]:
    """The sets of points, with a name each."""
    tau, swe = tau_runs(), swe_runs()
    held = [run for run in tau if int(run.task.split()[1]) >= TUNED]
    chosen: list[tuple[str, list[Run]]] = [
        ("tau_bench, tasks held out", held),
        ("tau_bench, tasks tuned on", [run for run in tau if run not in held]),
        ("tau_bench, all", tau),
        ("swe_agent", swe),
    ]
    made = [(name, [p for run in runs for p in points(run, LEAST)][::step]) for name, runs in chosen]
    return [(name, found) for name, found in made if found]


def recall(step: int) -> bool:
    """Print the table of recalls; whether every target is met."""
    sets = _sets(step)
    if not sets:
        print("No recorded runs here: nothing to measure recall on.\n")
        return True
    names = [OURS, *METHODS]
    print(f"| set (points) | tokens | {' | '.join(names)} | × truncation | pooled | rungs, over budget |")
    print("|" + "---|" * (len(names) + 5))
    met, broken = True, 0
    for title, found in sets:
        for share in SHARES:
            tally = measured(found, share)
            means = {name: tally.mean(name) for name in names}
            factor = means[OURS] / means["truncation"]
            rungs = ", ".join(f"{name} {count}" for name, count in sorted(tally.rungs.items()))
            cells = " | ".join(f"{means[name]:.3f}" for name in names)
            pooled = f"{tally.pooled(OURS):.3f} ({tally.pooled(OURS) / tally.pooled('truncation'):.2f} ×)"
            print(
                f"| {title} ({len(found)}) | {share} % | {cells} | {factor:.2f} | {pooled} |"
                f" {rungs}; {tally.over} |"
            )
            broken += tally.broken
            if share == 25 and title in JUDGED:
                met &= factor >= FACTOR and means[OURS] > max(means[name] for name in METHODS)
    print(f"\nPins not byte for byte, or calls parted from results: {broken} of all plans.")
    print(f"Target of recall: {'met' if met and not broken else 'MISSED'}\n")
    return met and not broken


def cost(sizes: Sequence[int]) -> bool:
    """Print what planning costs by length, in seconds of the processor, the best of a few rounds;
    whether the targets are met."""
    print("| session | messages | to a half | to a quarter | to a tenth | summary only |")
    print("|---|---|---|---|---|---|")
    taken: list[float] = []
    for size in sizes:
        items = session(size)
        total = sum(map(size_of, items))
        row = []
        for share, level in ((2, 0), (4, 0), (10, 0), (10, 3)):
            spent = []
            for _ in range(ROUNDS):
                began = time.process_time()
                made = plan(items, total // share, level=level)
                spent.append(time.process_time() - began)
                assert isinstance(made, Plan) and made.after <= total // share
            row.append(min(spent))
        taken.append(max(row))
        print(f"| {total:,} tokens | {len(items):,} | " + " | ".join(f"{s:.2f} s" for s in row) + " |")
    met = taken[-1] <= SECONDS and all(b <= a * GROWTH for a, b in pairwise(taken))
    print(f"\nTarget of cost: {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    """Measure, print, judge."""
    asked = argparse.ArgumentParser(description="recall and cost of compaction")
    asked.add_argument("--quick", action="store_true", help="every seventh point, short sessions")
    quick = asked.parse_args().quick
    met = recall(7 if quick else 1)
    met &= cost((30_000, 60_000) if quick else (125_000, 250_000, 500_000, 1_000_000))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
