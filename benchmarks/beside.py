"""loopspec beside its peers: the same loop, the same texts, on the same disk, in lockstep.

    python benchmarks/beside.py [--quick] [--dir DIR]

The peers live in an environment of their own, `benchmarks/.peers`, which this makes when it is missing or
its pinned versions have changed. How each is set up stands at the head of its file in `peers/`.
"""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Mapping
from typing import Any, Final

import texts
from figures import mb, ratios, share, spread, two, us, whole
from kit import HERE, Command, Contender, Options, Section, contenders, in_turns, main, ours

HOME: Final = HERE / ".peers"
PYTHON: Final = HOME / "bin" / "python"
PINNED: Final = ("requirements.txt", "constraints.txt")
SLICE: Final = 5 * texts.PER_TURN
AHEAD: Final = 2.0
PEERS: Final[dict[str, tuple[str, list[str]]]] = {
    "langgraph-add": ("LangGraph, add_messages", ["with_langgraph.py"]),
    "langgraph-add-window": (
        "LangGraph, add_messages, 50 to 100 messages", ["with_langgraph.py", "--window"]
    ),
    "langgraph-delta": ("LangGraph, DeltaChannel", ["with_langgraph.py", "--channel", "delta"]),
    "langgraph-delta-window": (
        "LangGraph, DeltaChannel, 50 to 100 messages",
        ["with_langgraph.py", "--channel", "delta", "--window"],
    ),
    "burr": ("Burr", ["with_burr.py"]),
    "burr-window": ("Burr, 50 to 100 messages", ["with_burr.py", "--window"]),
    "dbos": ("DBOS", ["with_dbos.py"]),
    "pydantic-graph": ("pydantic-graph, a file for each turn", ["with_pydantic_graph.py"]),
}
LONG: Final = ("langgraph-delta", "langgraph-delta-window", "dbos")
"""Those whose cost does not grow so much that 20,000 transitions would take an hour or fill a disk."""
NAMES: Final = {
    "bare": "bare SQLite, WAL, synchronous=FULL",
    "driver": "**loopspec, whole driver**",
    **{name: title for name, (title, _) in PEERS.items()},
}


def prepare() -> None:
    """Make the peers' environment if it is missing or other versions are pinned by now."""
    pinned = b"".join((HERE / "peers" / name).read_bytes() for name in PINNED)
    wanted = hashlib.sha256(pinned + sys.version.encode()).hexdigest()
    stamp = HOME / "made-of"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print("making the peers' environment", file=sys.stderr)
    venv.create(HOME, clear=True, with_pip=True)
    files = ("-r", HERE / "peers" / PINNED[0], "-c", HERE / "peers" / PINNED[1])
    done = subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *files], check=False)
    if done.returncode:
        raise SystemExit("the peers could not be installed: see above, or leave them out (--no-peers)")
    stamp.write_text(wanted)


def command(name: str) -> Command:
    """How a peer is started."""
    script, *more = PEERS[name][1]
    return [PYTHON, HERE / "peers" / script, *more]


def beside(options: Options, names: tuple[str, ...], count: int) -> tuple[Section, dict[str, float]]:
    """So many transitions of each; and how far ahead of each peer we are."""
    commands: dict[str, Command] = {"bare": ours("bare"), "driver": ours("driver")}
    commands |= {name: command(name) for name in names}
    with contenders(commands, options.directory) as running:
        in_turns(list(running.values()), dict.fromkeys(running, count), SLICE)
    out = Section(f"Beside its peers, {count:,} transitions")
    mine = running["driver"]
    ahead = {name: share(mine.rates, running[name].rates) for name in names}
    rows = [_line(name, one, running, ahead) for name, one in running.items()]
    head = (
        *("contender", "transitions/s", "share of bare", "loopspec is ahead by"),
        *("last tenth against first", "on disk", "CPU", "sync"),
    )
    out.table(head, rows)
    out.disk(running["bare"].rates)
    return out, ahead


def _line(
    name: str, one: Contender, running: Mapping[str, Contender], ahead: Mapping[str, float]
) -> tuple[str, ...]:
    """A contender's row."""
    tenth = max(1, len(one.costs) // 10)
    growth = sum(one.costs[-tenth:]) / sum(one.costs[:tenth])
    return (
        NAMES[name],
        spread(one.rates, whole),
        spread(ratios(one.rates, running["bare"].rates), two),
        f"{ahead[name]:.1f} ×" if name in ahead else "–",
        f"{growth:.1f} ×",
        f"{mb(one.totals['disk'])}, {one.totals['disk'] / one.totals['payload']:.1f} × payload",
        us(one.cpu),
        _sync(one.facts),
    )


def _sync(facts: Mapping[str, Any]) -> str:
    """What a contender found in force."""
    level = {2: "FULL", 3: "EXTRA", 1: "NORMAL", 0: "OFF"}.get(facts.get("synchronous"), "")
    if level:
        return f"{facts['journal']}, {level}"
    return "**none**" if facts.get("synchronous") == "never" else "wal, FULL"


def measure(options: Options) -> list[Section]:
    """All peers, and those that can for longer."""
    prepare()
    count = 280 if options.quick else 2_000
    short, ahead = beside(options, tuple(PEERS), count)
    for name, found in ahead.items():
        what = f"ahead of {NAMES[name]}, {count:,} transitions"
        short.want(what, f"≥ {AHEAD:.0f} ×", f"{found:.1f} ×", found >= AHEAD)
    if options.quick:
        return [short]
    long, further = beside(options, LONG, 20_000)
    for name, found in further.items():
        what = f"ahead of {NAMES[name]}, 20,000 transitions"
        long.want(what, f"≥ {AHEAD:.0f} ×", f"{found:.1f} ×", found >= AHEAD)
    return [short, long]


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
