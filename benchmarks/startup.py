"""Starting: `loopspec --version` and `loopspec check`, against an interpreter with three imports.

    python benchmarks/startup.py [--quick]
"""

import subprocess
import sys
import time
from typing import Final

from figures import ms, ratios, spread, two
from kit import HERE, Options, Section, environment, main

SPEC: Final = HERE.parent / "specs" / "coding-agent.yaml"
COMMANDS: Final[dict[str, list[str]]] = {
    "python": ["-c", ""],
    "python, importing click, yaml and msgspec": ["-c", "import click, yaml, msgspec"],
    "loopspec --version": ["-m", "loopspec", "--version"],
    "loopspec check specs/coding-agent.yaml": ["-m", "loopspec", "check", str(SPEC)],
}
BASE: Final = "python, importing click, yaml and msgspec"


def measure(options: Options) -> list[Section]:
    """Every command once a round, each a process of its own."""
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(8 if options.quick else 26):
        for name, more in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, *more], check=True, stdout=subprocess.DEVNULL, env=environment()
            )
            if round_:  # the first has read the files from disk
                took[name].append(time.perf_counter() - begun)
    out = Section("Starting")
    rows = [(n, spread(t, ms), spread(ratios(t, took[BASE]), two)) for n, t in took.items()]
    out.table(("command", "time", "against the three imports"), rows)
    return [out]


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
