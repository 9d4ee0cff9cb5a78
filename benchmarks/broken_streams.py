"""How recorded streams end when they are whole, cut and damaged: a table of counts.

Every stream of our recordings and of those beside the project (`LOOPSPEC_STREAMS`) is served over real
HTTP and read by the adapter. `--places N` bytes are drawn for each stream and each sort of damage; it is
cut at every border between two events as well. `wrong` is what must not be: an unfinished reply taken for
whole, something lost that was complete, a call that nobody made. One byte of a call's arguments replaced
so that the event stays well formed cannot be told by anybody where the protocol tells arguments once (the
Responses protocol tells them four times): such calls are counted, and called what they are. TCP and TLS
have checksums; this is what is left when these fail.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "models"))

from replay_kit import (  # noqa: E402
    LETTER,
    MODES,
    OURS,
    SHARED,
    Stream,
    attempts,
    borders,
    count_corrupt,
    count_cuts,
    judge_whole,
    letters,
    streams,
)

HEAD: Final = "| protocol | streams | what was done | attempts | how they ended | wrong |"


def main() -> int:
    """Count, print, and end with 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--places", type=int, default=200, help="bytes drawn per stream")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    found = [*streams(OURS), *(streams(SHARED) if SHARED.is_dir() else [])]
    rows: Counter[tuple[str, str, str]] = Counter()
    wrong: dict[tuple[str, str], list[str]] = {}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        for stream in found:
            _count(stream, given.places, given.seed, Path(scratch), rows, wrong)
    _print(found, rows, wrong, time.monotonic() - begun)
    return 1 if any(wrong.values()) else 0


def _count(
    stream: Stream,
    places: int,
    seed: int,
    scratch: Path,
    rows: "Counter[tuple[str, str, str]]",
    wrong: dict[tuple[str, str], list[str]],
) -> None:
    """Count everything that is done to one stream."""
    dice = random.Random(f"{seed} {stream.name}")
    drawn = [dice.randrange(1, len(stream.exchange.body)) for _ in range(places)]
    [answer] = attempts([(stream, [])], scratch)
    fault = judge_whole(stream, answer)
    done = [("whole", Counter({"wrong" if fault else "complete": 1}), [fault] if fault else [])]
    done.append(("cut at every border", *count_cuts(stream, borders(stream), scratch)))
    done.append((f"cut at {places} bytes", *count_cuts(stream, drawn, scratch)))
    for mode in MODES:
        counted = count_corrupt(stream, drawn, mode, seed, scratch)
        done.append((f"{places} bytes, one at a time: {mode}", *counted))
    if inside := letters(stream):
        some = [dice.choice(inside) for _ in range(places)]
        done.append((LETTER, *count_corrupt(stream, some, LETTER, seed, scratch)))
    for what, ends, faults in done:
        for how, many in ends.items():
            rows[stream.protocol, what, how] += many
        wrong.setdefault((stream.protocol, what), []).extend(faults)


def _print(
    found: list[Stream],
    rows: "Counter[tuple[str, str, str]]",
    wrong: dict[tuple[str, str], list[str]],
    seconds: float,
) -> None:
    """The table, and every fault in full."""
    many = Counter(stream.protocol for stream in found)
    print(HEAD)
    print("|---|---|---|---|---|---|")
    for protocol, what in wrong:
        ends = {how: n for (p, w, how), n in rows.items() if (p, w) == (protocol, what)}
        told = ", ".join(f"{how} {n}" for how, n in sorted(ends.items(), key=lambda e: -e[1]))
        bad = len(wrong[protocol, what])
        cells = (protocol, many[protocol], what, sum(ends.values()), told, bad)
        print("| " + " | ".join(map(str, cells)) + " |")
    print(f"\n{len(found)} streams, {sum(rows.values())} attempts in {seconds:.0f} s.")
    for (protocol, what), whys in wrong.items():
        for why in whys:
            print(f"- {protocol}, {what}: {why}")


if __name__ == "__main__":
    sys.exit(main())
