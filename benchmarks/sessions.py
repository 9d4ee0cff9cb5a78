"""200 sessions in one process: how far a group commit carries.

    python benchmarks/sessions.py [--quick] [--dir DIR]

Each session waits for its own entry to be on disk before it does anything with it; the writer's thread
commits what has queued up in the meantime together.
"""

import sys
from typing import Final

import texts
from figures import ratios, share, spread, two, whole
from kit import Contender, Options, Section, contenders, main, ours

SESSIONS: Final = 200
WANTED: Final = 2.0
NAMES: Final = {
    "bare": "bare SQLite, one row after the other",
    "appends": f"`SqliteStore.append` of {SESSIONS} sessions",
    "driver": f"**{SESSIONS} sessions, whole driver**",
}


def measure(options: Options) -> list[Section]:
    """Slices of a turn of every session, beside slices of bare rows."""
    rounds = 4 if options.quick else 12
    slice_ = SESSIONS * texts.PER_TURN
    commands = {
        "bare": ours("bare"),
        "appends": ours("appends", "--sessions", SESSIONS, "--transitions", (rounds + 2) * slice_),
        "driver": ours("driver", "--sessions", SESSIONS),
    }
    with contenders(commands, options.directory) as running:
        for _ in range(rounds):
            for name, one in running.items():
                one.slice(slice_ // 4 if name == "bare" else slice_)
    out = Section(f"{SESSIONS} sessions in one process")
    out.table(
        ("contender", "transitions/s", "against bare", "transitions a commit"),
        [_line(name, one, running["bare"]) for name, one in running.items()],
    )
    out.disk(running["bare"].rates)
    for name, what in (("appends", "the store"), ("driver", "whole driver")):
        found = share(running[name].rates, running["bare"].rates)
        what = f"{SESSIONS} sessions, {what}"
        out.want(what, f"≥ {WANTED:.0f} × bare", f"{found:.2f} ×", found >= WANTED)
    return [out]


def _line(name: str, one: Contender, bare: Contender) -> tuple[str, ...]:
    """A contender's row."""
    commits = one.totals.get("commits")
    each = f"{one.transitions / commits:.1f}" if commits else "1"
    return NAMES[name], spread(one.rates, whole), spread(ratios(one.rates, bare.rates), two), each


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
