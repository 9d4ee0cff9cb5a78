"""How a contender is led: it does a slice of transitions when told to, and says how long that took.

Standard library only, for peers live in an environment of their own. A command on stdin is a number of
transitions; the answer on stdout is one line of JSON: how many it did, seconds, seconds of CPU. The end
of stdin is the end: then come the totals.

A slice ends with a whole turn, so it may be a little longer than what was asked for.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Lockstep:
    """A contender's side. What libraries print goes to stderr, so that answers stay alone."""

    def __init__(self) -> None:
        """Take stdout for the answers."""
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._since = self._cpu = 0.0

    def ready(self, **facts: Any) -> None:
        """Say that slices may begin, with what is true of this contender."""
        self._say(facts)

    def told(self) -> int:
        """The transitions of the next slice, 0 at the end. The slice is timed from here to `did`."""
        wanted = int(sys.stdin.readline().strip() or 0)
        self._since, self._cpu = time.perf_counter(), time.process_time()
        return wanted

    def did(self, transitions: int) -> None:
        """Answer a slice: so many were done."""
        seconds, cpu = time.perf_counter() - self._since, time.process_time() - self._cpu
        self._say({"transitions": transitions, "seconds": seconds, "cpu": cpu})

    def over(self, **totals: Any) -> None:
        """Say the totals."""
        self._say(totals)

    def serve(self, turn: Callable[[], int]) -> int:
        """Do slices with `turn`, which does one and gives back its transitions; gives back the turns."""
        turns = 0
        while wanted := self.told():
            done = 0
            while done < wanted:
                done += turn()
                turns += 1
            self.did(done)
        return turns

    def _say(self, what: dict[str, Any]) -> None:
        """Print one line."""
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()


def grown(log: Path) -> bool:
    """Whether a write-ahead log has reached the size at which SQLite folds it in and begins it anew.

    Until then each commit makes the file longer, which costs more. Who writes little in a commit is
    given that time before it is timed; who writes much is over it at once.
    """
    return log.exists() and log.stat().st_size >= 1_000 * (4_096 + 24)


def size_of(directory: Path) -> int:
    """Bytes of everything in a directory."""
    return sum(p.stat().st_size for p in directory.rglob("*") if p.is_file())
