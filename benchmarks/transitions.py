"""One session, transition by transition: bare SQLite, the store alone, the whole driver.

    python benchmarks/transitions.py [--quick] [--dir DIR]

Every transition ends on disk (full fsync) before the next begins. Shares are of bare SQLite's rate in the
same run. "Calm" is what a transition costs in the fastest tenth of the slices, "CPU" its share of that.
"""

import sys
from collections.abc import Mapping
from typing import Final

import texts
from figures import mb, middle, ratios, share, spread, tenths, two, us, whole
from kit import Contender, Options, Section, contenders, in_turns, main, ours

SLICE: Final = 5 * texts.PER_TURN
"""Transitions of a slice: some dozen milliseconds on a fast disk, less than a burst of noise lasts."""
OURS: Final = {
    "bare": "bare SQLite, WAL, synchronous=FULL",
    "append": "loopspec, `SqliteStore.append` alone",
    "driver": "**loopspec, whole driver**",
    "driver-claims": "loopspec, every call claimed before it runs",
    "driver-real": "loopspec, with the real gate and tool performers",
    "driver-unbounded": "loopspec, without compaction",
}
APPEND, DRIVER, FLAT, DISK, AHEAD = 0.6, 0.4, 1.2, 3.0, 2.0


def one_session(options: Options) -> Section:
    """2,000 transitions of each of our own contenders."""
    count = 700 if options.quick else 2_000
    commands = {name: ours(name, "--transitions", 2 * count) for name in OURS}
    with contenders(commands, options.directory) as running:
        in_turns(list(running.values()), dict.fromkeys(running, count), SLICE)
    out = Section(f"One session, {count:,} transitions")
    table(out, running, OURS)
    shared(out, running, f"{count:,}")
    return out


def long_session(options: Options) -> Section:
    """20,000 transitions, and what the next ones cost against those of a young session."""
    count = 2_800 if options.quick else 20_000
    commands = {name: ours(name, "--transitions", count + 2_000) for name in ("bare", "append", "driver")}
    out = Section(f"One session, {count:,} transitions")
    with contenders(commands, options.directory) as running:
        in_turns(list(running.values()), dict.fromkeys(running, count), 2 * SLICE)
        old = running["driver"]
        with contenders({"young": ours("driver")}, options.directory) as fresh:
            young = fresh["young"]
            in_turns([young], {"young": 100}, 100)
            at, since = len(old.slices), len(young.slices)
            in_turns([young, old], {"young": 1_400, "driver": 1_400}, SLICE)
            growth = ratios(old.costs[at:], young.costs[since:])
        del old.slices[at:]
    table(out, running, OURS)
    shared(out, running, f"{count:,}")
    out.say(
        f"A transition after the {count:,}th costs {spread(growth, two)} times what one after the 100th "
        "of a young session costs, the two sessions doing their slices in turns."
    )
    out.want(
        f"cost at transition {count:,} against 100",
        f"≤ {FLAT} ×",
        f"{middle(growth):.2f} ×",
        middle(growth) <= FLAT,
    )
    return out


def table(out: Section, running: Mapping[str, Contender], names: Mapping[str, str]) -> None:
    """A row for each contender: rate, share of bare, cost in its fastest slices, disk."""
    base = running["bare"]
    rows = []
    for name, one in running.items():
        of_bare = spread(ratios(one.rates, base.rates), two)
        grown = f"{mb(one.totals['disk'])}, {one.totals['disk'] / one.totals['payload']:.2f} × payload"
        calm = us(1 / tenths(one.rates)[1])
        rows.append((names[name], spread(one.rates, whole), of_bare, calm, us(one.cpu), grown))
    head = ("contender", "transitions/s", "share of bare", "calm", "CPU", "on disk")
    out.table(head, rows)
    out.disk(base.rates)


def shared(out: Section, running: Mapping[str, Contender], count: str) -> None:
    """The targets that are shares of bare, and the disk."""
    base = running["bare"].rates
    for name, what, least in (("append", "store append", APPEND), ("driver", "whole driver", DRIVER)):
        found = share(running[name].rates, base)
        out.want(f"{what}, {count} transitions", f"≥ {least} of bare", two(found), found >= least)
    totals = running["driver"].totals
    grown = totals["disk"] / totals["payload"]
    what = f"disk after {count} transitions"
    out.want(what, f"≤ {DISK:.0f} × payload", f"{grown:.2f} ×", grown <= DISK)


def measure(options: Options) -> list[Section]:
    """Our own contenders; `beside.py` brings the peers."""
    return [one_session(options), long_session(options)]


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
