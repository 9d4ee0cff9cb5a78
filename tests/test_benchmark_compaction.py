"""The benchmark of compaction measures what it says: a slice of it, and its own reading of atoms."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SLICE = """
import json
import compaction, compaction_runs as runs
found = [p for run in [*runs.tau_runs(6), *runs.swe_runs(1)] for p in runs.points(run, 1000, 3)]
tally = compaction.measured(found, 25) if found else None
print(json.dumps(tally and {n: tally.mean(n) for n in tally.recall} | {"broken": tally.broken}))
"""
ATOMS = """
import json
import compaction_runs as runs
text = 'Open `src/a.py`, line 1474, for "Mia Li" (OBUT9V) at 06:00; the rest is prose, AM or ID.'
print(json.dumps([
    sorted(runs.atoms(text)),
    [runs.holds("x=a_1,b", "a_1"), runs.holds("x=a_12", "a_1"), runs.holds("06:00:00", "06:00")],
    runs.plain('{"a": ["b c", 1]}'),
    runs.plain('{"a": ["b c", 1]}', keys=False),
]))
"""
MADE_UP = """
import json
import compaction, compaction_runs as runs
say = lambda n, role, text, **more: runs.item(n, role, text, **more)
call = lambda n, args: (runs.ViewCall(f"c{n}", "look", json.dumps(args)),)
items = [say(0, "user", "Where is it?")]
for n in range(1, 40, 2):
    items.append(say(n, "assistant", f"step {n}", calls=call(n, {"at": f"room_{n}"})))
    items.append(say(n + 1, "result", f"key_{n} is here\\n" + "dust\\n" * 80, call=f"c{n}", tool="look"))
items += [say(50, "assistant", "I take key_3 to room_1."), say(51, "user", "Well done.")]
run = runs.Run("made_up", "one", "You look.", tuple(items))
found = list(runs.points(run, 500, 6))
tally = compaction.measured(found, 25)
print(json.dumps([[p.needed for p in found], tally.broken, {n: tally.mean(n) for n in tally.recall}]))
"""


def told(script: str) -> object:
    """What a script beside the benchmark prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_slice_of_the_recorded_runs_holds_the_targets() -> None:
    tally = told(SLICE)
    if tally is None:
        pytest.skip("no recorded runs here")
    assert isinstance(tally, dict)
    assert tally["broken"] == 0
    others = ("truncation", "head + tail", "masking")
    assert tally["loopspec"] > max(tally[name] for name in others)
    assert tally["loopspec"] > 1.2 * tally["truncation"]


def test_the_benchmark_reads_atoms_by_itself() -> None:
    assert told(ATOMS) == [
        ["06:00", "1474", "Mia Li", "OBUT9V", "src/a.py"],
        [True, False, True],
        'a\n"b c"\n1',
        '"b c"\n1',
    ]


def test_what_is_needed_is_what_only_the_past_can_tell() -> None:
    needed, broken, means = told(MADE_UP)  # type: ignore[misc]
    assert needed[0] == ["key_3", "room_1"]
    assert all(set(atoms) == {"key_3", "room_1"} for atoms in needed)
    assert broken == 0
    assert means["loopspec"] >= means["truncation"]
