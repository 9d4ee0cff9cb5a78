"""Report: what came of many simulated sessions, as numbers and in words."""

import shlex
from typing import Final

import msgspec

SHOWN: Final = 40
"""Lines of a journal that are shown."""
FAULT_WORDS: Final = {
    "crash": "crash between two moves",
    "crash_before": "crash before a write",
    "crash_during": "crash during a write",
    "crash_after": "crash after a write",
    "lost": "answer that never came",
    "late": "answer that came too late",
    "again": "answer that came twice",
    "hang": "work that did not stop",
    "race": "timer that beat the answer",
    "interrupt": "interrupt",
    "suspend": "host that sleeps or wakes",
    "full": "full disk",
    "slow": "slow disk",
    "back": "wall clock set back",
    "forward": "wall clock set forward",
    "sleep": "machine asleep",
    "takeover": "driver paused and superseded",
    "rival": "second driver beside the first",
}


class Violation(msgspec.Struct, frozen=True):
    """What was violated, in plain words, and the seed that shows it again."""

    seed: int
    what: str


class Report(msgspec.Struct):
    """What came of many seeds.

    `seeds` sessions took `events` entries and began `effects` effects; `faults` counts what was injected
    by the fields of `Faults`, `ends` how the sessions ended. `violations` is empty when all is well.
    `journals` holds, for the first seeds with a violation, one line for each entry. `command` repeats a
    seed when it is appended.
    """

    name: str = ""
    seeds: int = 0
    events: int = 0
    effects: int = 0
    faults: dict[str, int] = {}
    ends: dict[str, int] = {}
    violations: list[Violation] = []
    journals: dict[int, list[str]] = {}
    command: str = ""

    def add(self, other: "Report") -> None:
        """Count another report's sessions in, too."""
        self.seeds += other.seeds
        self.events += other.events
        self.effects += other.effects
        for mine, more in ((self.faults, other.faults), (self.ends, other.ends)):
            for key, count in more.items():
                mine[key] = mine.get(key, 0) + count
        self.violations.extend(other.violations)
        self.violations.sort(key=lambda v: v.seed)
        self.journals.update(other.journals)

    @property
    def failed(self) -> list[int]:
        """The seeds with a violation, in order."""
        return sorted({v.seed for v in self.violations})

    def check(self) -> None:
        """Raise `AssertionError`, with seeds and journals, unless nothing was violated."""
        if self.violations:
            raise AssertionError(f"{self.table()}\n\n{self.explained()}")

    def table(self) -> str:
        """The numbers, as a table for people."""
        crashes = sum(n for name, n in self.faults.items() if name.startswith("crash"))
        rows = [
            ("seeds", self.seeds),
            ("events", self.events),
            ("effects started", self.effects),
            ("faults injected", sum(self.faults.values())),
            *((f"  {FAULT_WORDS[name]}", self.faults.get(name, 0)) for name in FAULT_WORDS),
            ("crashes in all", crashes),
            ("sessions ended", sum(self.ends.values())),
            *((f"  {name}", self.ends[name]) for name in sorted(self.ends)),
            ("violations", len(self.violations)),
        ]
        return "\n".join(f"{what:<34}{count:>13,}" for what, count in rows)

    def explained(self, limit: int = 3) -> str:
        """The first seeds with a violation: what is wrong, the journal's end, how to see it again."""
        blocks = []
        for seed in self.failed[:limit]:
            lines = [f"seed {seed}:"]
            lines += [f"  violated: {v.what}" for v in self.violations if v.seed == seed]
            journal = self.journals.get(seed, [])
            if journal:
                of = f" (the last {SHOWN} of {len(journal)} entries)" if len(journal) > SHOWN else ""
                lines += [f"  journal{of}:", *(f"    {line}" for line in journal[-SHOWN:])]
            if self.command:
                lines.append(f"  again: {self.command} --seed {seed}")
            blocks.append("\n".join(lines))
        more = len(self.failed) - limit
        if more > 0:
            blocks.append(f"and {more} more seeds: {', '.join(map(str, self.failed[limit:][:20]))}")
        return "\n\n".join(blocks)


def command_of(spec: str, **options: str) -> str:
    """The command that repeats one seed, up to the seed itself; options that are empty are left out."""
    parts = ["loopspec", "simulate", spec, "--seeds", "1"]
    for name, value in options.items():
        parts += [f"--{name}", value] if value else []
    return shlex.join(parts)
