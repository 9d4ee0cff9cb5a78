"""The speed benchmarks measure what they say: real entries, each committed before the next begins."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from loopspec.drivers.session import verified
from loopspec.events import name_of
from loopspec.stores.sqlite import SqliteStore

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TURN = ["user.message", *["model.replied", "gate.decided", "tool.answered"] * 4, "model.replied"]


def told(name: str, slices: list[int], directory: Path, *more: str) -> list[dict[str, Any]]:
    """What a contender answers when it is led through some slices."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "contender.py"), name, "--dir", str(directory), *more],
        input="".join(f"{n}\n" for n in slices),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_transition_of_the_driver_is_a_commit_of_its_own(tmp_path: Path) -> None:
    _, *slices, totals = told("driver", [28, 14], tmp_path)
    assert [slice_["transitions"] for slice_ in slices] == [28, 14]
    store = SqliteStore(tmp_path)
    entries = list(verified(store, "s0"))
    store.close()
    assert [name_of(entry.event) for entry in entries] == ["session.started", *TURN * 4]
    assert totals["commits"] >= len(entries)  # and one that made the session, and streams forgotten
    assert totals["payload"] == 4 * 10 * 1024


def test_the_store_alone_is_given_the_entries_of_the_loop(tmp_path: Path) -> None:
    _, slice_, totals = told("append", [20], tmp_path, "--transitions", "42")
    assert slice_["transitions"] == 20
    store = SqliteStore(tmp_path)
    found = [json.loads(row)["event"]["type"] for row in store.entries("s")]
    store.close()
    assert found == ["session.started", *TURN * 2][:21]
    assert totals["payload"] == 3 * 10 * 1024 * 21 // (1 + 3 * len(TURN))


def test_a_verdict_takes_the_less_flattering_figure() -> None:
    asked = (
        "import figures\n"
        "calm, busy = [4000.0] * 9 + [300.0] * 11, [1000.0] * 9 + [290.0] * 11\n"
        "print(figures.middle(figures.ratios(busy, calm)) > 0.9, figures.share(busy, calm))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "0.25"]
