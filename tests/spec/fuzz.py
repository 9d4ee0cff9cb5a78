"""A seeded mutator of specs: whatever it makes, the check answers with diagnostics or a machine.

    cd tests && python -m spec.fuzz --count 20000 --seed 7 --jobs 2
    cd tests && python -m spec.fuzz --seed 7 --only 1234   # one mutant again, shown

Rules of this file:
1. Mutant `n` of a seed depends on nothing else, so that each finding can be made again alone.
2. Three things are found: an exception, a mutant that takes too long, a worker that grows too large.
3. A finding that was repaired leaves a case in `test_fuzz_many.py`.
"""

import argparse
import faulthandler
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from loopspec.codec import decode, encode
from loopspec.machine.model import Machine
from loopspec.spec.diagnose import (
    LINE_BREAK,
    Diagnostic,
    render_github,
    render_json,
    render_text,
)
from loopspec.spec.parse import Compiled
from loopspec.spec.source import plain, scan_text

from .kit import HERE, checked
from .mutate import Mutator

MAX_SECONDS: Final = 2.0
MAX_GROWTH: Final = 200 * 1024 * 1024
STOP_SECONDS: Final = 20
NAME: Final = "fuzz.yaml"


@dataclass
class Report:
    """What became of a number of mutants. Times in seconds of CPU, sizes in bytes."""

    count: int = 0
    machines: int = 0
    slowest: float = 0.0
    slowest_number: int = -1
    cpu: float = 0.0
    base: int = 0
    peak: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    jumps: list[tuple[int, int]] = field(default_factory=list)
    findings: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take over another worker's part; of sizes the worker that grew most counts."""
        self.count += other.count
        self.machines += other.machines
        self.cpu += other.cpu
        if other.slowest > self.slowest:
            self.slowest, self.slowest_number = other.slowest, other.slowest_number
        if other.peak - other.base >= self.peak - self.base:
            self.base, self.peak = other.base, other.peak
        self.codes.update(other.codes)
        self.jumps += other.jumps
        self.findings += other.findings

    def lines(self) -> list[str]:
        """The report for a person."""
        mib = 1024 * 1024
        most = (self.peak - self.base) / mib
        return [
            f"{self.count} mutants, {self.machines} of them machines, {len(self.codes)} codes seen",
            "codes: " + ", ".join(f"{c} {n}" for c, n in self.codes.most_common(200)),
            f"slowest {self.slowest:.3f} s CPU (mutant {self.slowest_number}), together {self.cpu:.0f} s",
            *(f"mutant {n} took {grown / mib:.0f} MiB more" for n, grown in self.jumps),
            f"the worker that grew most: {most:.0f} MiB above {self.base / mib:.0f} MiB",
            *(f"mutant {n}: {what}" for n, what in self.findings[:20]),
            f"{len(self.findings)} findings",
        ]


def sound(result: Compiled) -> None:
    """Either errors and no machine, or a machine whose every reference holds; all of it tellable."""
    told = [*result.diagnostics, *result.accepted]
    lines = LINE_BREAK.split(result.source)
    for d in told:
        assert d.fault and d.remedy and "\n" not in d.fault + d.remedy, d
        assert (d.line, d.col) == (0, 0) or (
            1 <= d.line <= len(lines) + 1 and 1 <= d.col <= len(([*lines, ""])[d.line - 1]) + 1
        ), d
    _renders(result.diagnostics, result.source)
    failed = any(d.severity == "error" for d in result.diagnostics)
    assert (result.machine is None) == failed
    assert all(d.severity == "warning" for d in result.accepted)
    if result.machine is not None:
        _holds(result.machine)


def _renders(found: list[Diagnostic], source: str) -> None:
    text = render_text(found, {NAME: source, "spec.yaml": source})
    assert text.count("  remedy: ") >= len(found)
    text.encode("utf-8")
    shown = json.loads(render_json(found))
    assert [d["code"] for d in shown] == [d.code for d in found]
    commands = render_github(found).split("\n") if found else []
    assert len(commands) == len(found)
    assert all(c.startswith(("::error file=", "::warning file=")) for c in commands)


def _holds(machine: Machine) -> None:
    assert decode(encode(machine), Machine) == machine
    assert machine.states[machine.initial].parent == ""
    for number, transition in enumerate(machine.transitions):
        assert transition.id == number
        assert number in machine.states[transition.source].transitions
        assert transition.target is None or transition.target in machine.states
    for path, state in machine.states.items():
        assert state.path == path and state.parent in {"", *machine.states}
        assert not state.kind or state.kind in machine.kinds
        assert not state.model or state.model in machine.models
        assert not state.prompt or state.prompt in machine.prompts
        assert set(state.after) <= set(machine.timers)
        assert (state.type == "compound") == bool(state.initial)
        assert (state.type == "history") == bool(state.default)


class TooSlow(BaseException):
    """A mutant that did not come back; no `except Exception` of the check may swallow it."""


def _stop(*_: object) -> None:
    raise TooSlow


def seeds() -> list[bytes]:
    """What is mutated: wrong and right specs. Right ones go in often: most faults hide behind others."""
    bad = sorted((HERE / "bad").glob("*.yaml"))
    good = sorted((HERE / "good").glob("*.yaml")) * 8
    large = [HERE / "excerpt.yaml", *sorted((HERE.parents[1] / "specs").glob("*.yaml"))] * 6
    guide = (HERE.parents[1] / "docs" / "guide.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    out = [path.read_bytes() for path in (*bad, *good, *large)]
    out += [part.split("```")[0].encode() for part in guide]
    return [data for data in out if len(data) < 20_000]


def trees(corpus: list[bytes]) -> list[Any]:
    """The plain data of the specs that are YAML."""
    read = (scan_text(data.decode("utf-8", "replace"), "").node for data in corpus)
    return [plain(node) for node in read if node is not None]


def one(data: bytes, where: Path) -> Compiled:
    """Check one mutant as a file, and everything that is said of it; raises what goes wrong."""
    where.write_bytes(data)
    result = checked(where, NAME, lint=True)
    sound(result)
    return result


def work(job: tuple[int, int, int]) -> Report:
    """The mutants `first` to `last` of a seed, in this process."""
    seed, first, last = job
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _stop)
    corpus = seeds()
    plants = trees(corpus)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / NAME
        for data in corpus:  # warm up: imports, environments, caches
            checked_quietly(data, where)
        report.base = report.peak = _peak()
        for number in range(first, last):
            data = Mutator(Random(f"{seed}:{number}"), corpus, plants).make()
            _timed(number, data, where, report)
    if report.peak - report.base > MAX_GROWTH:
        grown = (report.peak - report.base) // (1024 * 1024)
        report.findings.append((last, f"the worker grew by {grown} MiB"))
    return report


def checked_quietly(data: bytes, where: Path) -> None:
    """Check a spec that is not a mutant, for the caches' sake."""
    where.write_bytes(data)
    checked(where, NAME, lint=True)


def _timed(number: int, data: bytes, where: Path, report: Report) -> None:
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, STOP_SECONDS)
    try:
        result = one(data, where)
        report.machines += result.machine is not None
        report.codes.update({d.code for d in result.diagnostics})
    except TooSlow:
        report.findings.append((number, f"not done after {STOP_SECONDS} s"))
    except Exception:
        report.findings.append((number, traceback.format_exc(limit=-4)))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took = time.process_time() - begun
    if took > MAX_SECONDS:
        report.findings.append((number, f"took {took:.2f} s of CPU"))
    if took > report.slowest:
        report.slowest, report.slowest_number = took, number
    report.count += 1
    report.cpu += took
    peak = _peak()
    if peak > report.peak + 40 * 1024 * 1024:
        report.jumps.append((number, peak - report.peak))
    report.peak = peak


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(count: int, seed: int, jobs: int, *, say: bool = False) -> Report:
    """`count` mutants of a seed in `jobs` processes of their own."""
    share = -(-count // jobs)
    parts = [(seed, n, min(n + share, count)) for n in range(0, count, share)]
    report = Report()
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
        for part in pool.imap_unordered(work, parts, chunksize=1):
            report.add(part)
            if say:
                print(f"{report.count} of {count} done", file=sys.stderr, flush=True)
    return report


def show(seed: int, number: int) -> int:
    """One mutant again: its text, and what the check says of it."""
    corpus = seeds()
    data = Mutator(Random(f"{seed}:{number}"), corpus, trees(corpus)).make()
    sys.stdout.buffer.write(data[:4_000] + b"\n---------- \n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        result = one(data, Path(folder) / NAME)
        print(f"{time.process_time() - begun:.3f} s, {len(data)} bytes")
    print(render_text(result.diagnostics[:20], {NAME: result.source}))
    return 0


def main(given: list[str] | None = None) -> int:
    """The command line; 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Mutates specs and checks what comes out.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="make this mutant alone again, and show it")
    options: Any = parser.parse_args(given)
    if options.only is not None:
        return show(options.seed, options.only)
    report = run(options.count, options.seed, options.jobs, say=True)
    print("\n".join(report.lines()))
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
