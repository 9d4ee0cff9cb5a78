"""What the speed benchmarks share: contenders in lockstep, figures, targets, Markdown.

Rules of this file:
1. A contender is a process of its own: none warms another's caches or fills its heap, and peers can live
   in an environment of their own.
2. Contenders run in lockstep: each does a slice of some dozen transitions while the others wait, so that
   noise (a disk shared with others swings tenfold) hits all alike. Shares are taken slice by slice.
3. A figure is a median over slices; where the middle eight tenths lie stands beside it.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from figures import middle, tenths, whole

HERE: Final = Path(__file__).parent
SCRATCH: Final = HERE / ".scratch"
TIMEOUT: Final = 600
"""Seconds a process may take that is not led in lockstep."""
RESTLESS: Final = 2.5
"""How many times slower than its best bare SQLite may be before its machine counts as busy."""
CORES: Final = os.cpu_count() or 1
LOAD: Final = os.getloadavg()[0]
"""How busy the machine was before anything was measured."""
Command: TypeAlias = Sequence[str | Path]


@dataclass(frozen=True)
class Options:
    """How much is measured, and in which directory (the disk is what is measured)."""

    quick: bool = False
    directory: Path = SCRATCH


@dataclass(frozen=True)
class Target:
    """A target beside its figure; `met` is None where nothing was asked."""

    what: str
    wanted: str
    figure: str
    met: bool | None


@dataclass
class Section:
    """A part of the report: a title, lines of Markdown, and targets."""

    title: str
    lines: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    bare: tuple[float, float] | None = None
    """Commits a second of bare SQLite in this section: the median, and in its fastest slices."""

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        self.lines += [_row(head), "|" + "---|" * len(head), *map(_row, rows), ""]

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.lines += [text, ""]

    def disk(self, rates: Sequence[float]) -> None:
        """Note how fast bare SQLite was, for `busy`."""
        self.bare = (middle(rates), tenths(rates)[1])

    def want(self, what: str, wanted: str, figure: str, met: bool | None) -> None:
        """Add a target."""
        self.targets.append(Target(what, wanted, figure, met))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def busy(sections: Sequence[Section]) -> list[Section]:
    """Sections measured while others kept disk or cores busy: bare SQLite was far slower in them than it
    can be, as its fastest slices in any section show."""
    found = [s for s in sections if s.bare is not None]
    best = max((s.bare[1] for s in found if s.bare), default=0.0)
    return [s for s in found if s.bare and s.bare[0] * RESTLESS < best]


def targets(sections: Sequence[Section]) -> list[str]:
    """All targets as one table, and whether the machine was calm."""
    out, restless = Section(""), busy(sections)
    words = {True: "met", False: "**missed**", None: "–"}
    rows = [
        (t.what, t.wanted, t.figure, words[t.met] + (", machine busy" if s in restless else ""))
        for s in sections
        for t in s.targets
    ]
    out.table(("target", "wanted", "measured", ""), rows)
    if restless:
        titles = "; ".join(f"{s.title} ({whole(s.bare[0] if s.bare else 0)}/s)" for s in restless)
        best = max(s.bare[1] for s in sections if s.bare)
        out.say(
            f"**The machine was busy with something else**: bare SQLite can do {whole(best)} commits a "
            f"second here, and did far fewer in: {titles}. Shares and ratios of these sections are not "
            "to be trusted; run it again on a quiet machine."
        )
    if LOAD > CORES / 2:
        out.say(
            f"**The machine was at work before the run began**: a load of {LOAD:.1f} on {CORES} cores. "
            "Under such a load bare SQLite and the peers, which write from one thread, were seen to slow "
            "down several times more than loopspec. That flatters all shares and leads."
        )
    return out.lines


def missed(sections: Sequence[Section]) -> bool:
    """Whether any target is missed."""
    return any(t.met is False for s in sections for t in s.targets)


# ---------------------------------------------------------------- contenders


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A directory that is gone afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def environment() -> dict[str, str]:
    """What a contender sees: no keys, nothing that would be taken out of texts."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
    return {k: v for k, v in os.environ.items() if k in keep}


def ask(command: Command) -> dict[str, Any]:
    """Run a process to its end; gives back the JSON it printed. Raises `SystemExit` with its words."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=TIMEOUT,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise SystemExit(f"{command[1]} failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


class Contender:
    """A process led in lockstep (see `lockstep`). `slices` are (transitions, seconds, seconds of CPU)."""

    def __init__(self, name: str, command: Command, directory: Path) -> None:
        """Start it in a new place below `directory` and wait until it is ready."""
        self.name = name
        self.slices: list[tuple[int, float, float]] = []
        self.totals: dict[str, Any] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self.place = Path(tempfile.mkdtemp(dir=directory))
        self._log = (self.place / "stderr").open("w+")
        self._process = subprocess.Popen(
            [*map(str, command), "--dir", str(self._store())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(),
        )
        self.facts = self._read()

    def _store(self) -> Path:
        """Where its files go."""
        store = self.place / "store"
        store.mkdir(mode=0o700)
        return store

    def slice(self, transitions: int) -> None:
        """Let it do so many transitions."""
        self._write(f"{transitions}\n")
        found = self._read()
        self.slices.append((found["transitions"], found["seconds"], found["cpu"]))

    def end(self) -> None:
        """Let it end, note its totals and remove what it wrote. May be called again."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._process.stdin.close()
        self.totals = self._read()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.place, ignore_errors=True)
        os.sync()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    @property
    def transitions(self) -> int:
        """All it did."""
        return sum(count for count, _, _ in self.slices)

    @property
    def rates(self) -> list[float]:
        """Transitions per second, slice by slice."""
        return [count / seconds for count, seconds, _ in self.slices]

    @property
    def costs(self) -> list[float]:
        """Seconds per transition, slice by slice."""
        return [seconds / count for count, seconds, _ in self.slices]

    @property
    def cpu(self) -> float:
        """Seconds of CPU per transition, the median over slices."""
        return middle([cpu / count for count, _, cpu in self.slices])

    def _write(self, text: str) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _read(self) -> dict[str, Any]:
        """Its next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        found: dict[str, Any] = json.loads(line)
        return found

    def _died(self) -> SystemExit:
        """It ended where it should have answered."""
        self._process.wait()
        self._log.seek(0)
        return SystemExit(f"the contender `{self.name}` failed:\n{self._log.read()[-4000:]}")


@contextmanager
def contenders(
    commands: Mapping[str, Command], directory: Path
) -> Iterator[dict[str, Contender]]:
    """Start contenders; whatever happens, none is left behind."""
    made: dict[str, Contender] = {}
    try:
        for name, command in commands.items():
            made[name] = Contender(name, command, directory)
        os.sync()
        yield made
        for one in made.values():
            one.end()
    except BaseException:
        for one in made.values():
            one.kill()
        raise


def in_turns(running: Sequence[Contender], wanted: Mapping[str, int], size: int) -> None:
    """Slices of `size` transitions in turns, until each has done what is `wanted` of it.

    The order turns around every time, so that nobody always follows the same neighbour.
    """
    begun = {one.name: one.transitions for one in running}
    backward = False
    while left := [c for c in running if c.transitions - begun[c.name] < wanted[c.name]]:
        for one in reversed(left) if backward else left:
            one.slice(size)
        backward = not backward
        if sys.stderr.isatty():
            done = "  ".join(f"{c.name} {c.transitions}" for c in running)
            print(f"\r{done}", end="", file=sys.stderr, flush=True)


def ours(name: str, *more: str | int) -> Command:
    """The command of one of our own contenders."""
    return [sys.executable, HERE / "contender.py", name, *map(str, more)]


# ---------------------------------------------------------------- commands


def machine_line(directory: Path) -> str:
    """What it was measured on, in a sentence; says so where an fsync would be free."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = _file_system(directory)
    free = " **This file system is in memory: an fsync costs nothing here.**"
    return (
        f"{CORES} cores, {platform.system()} on {platform.machine()}, file system {kind}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}."
        + (free if kind in ("tmpfs", "ramfs") else "")
    )


def _file_system(directory: Path) -> str:
    """The type of the file system a directory is on; `unknown` where the system does not tell."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    where = f"{directory.resolve()}/"
    for line in mounts:
        point, found = line.split()[1:3]
        if where.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, found
    return kind


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options every benchmark takes."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="fewer transitions, for a first look")
    made.add_argument(
        "--dir", type=Path, default=SCRATCH, help="where stores are made: the disk that is measured"
    )
    return made


def main(doc: str | None, measure: Callable[[Options], list[Section]]) -> int:
    """Measure and print; 1 if a target is missed."""
    given = parser(doc).parse_args()
    options = Options(given.quick, given.dir)
    sections = measure(options)
    print(machine_line(options.directory) + "\n")
    show(sections)
    return int(missed(sections))


def show(sections: Sequence[Section]) -> None:
    """Print sections, and their targets last."""
    for section in sections:
        print(f"### {section.title}\n")
        print("\n".join(section.lines))
    if any(section.targets for section in sections):
        print("### Targets\n")
        print("\n".join(targets(sections)))
