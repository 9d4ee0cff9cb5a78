"""Journey judge: compares what came of a step with what had to come.

Rules of this file:
1. Everything a step names is compared, and every difference is told, not the first.
2. A difference says the place in the journey, what came and what was expected.
3. `…` in an expected text stands for anything, also for nothing and for several lines.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from loopspec.errors import LoopspecError
from loopspec.events import ModelReplied, ToolAnswered, name_of
from loopspec.journal.entry import Entry
from loopspec.journal.fold import advance, empty
from loopspec.record import AddReply, AddResult
from loopspec.snapshot import Snapshot
from loopspec.testing.journey_file import Located
from loopspec.testing.journey_walk import Took, Walker, named

SHOWN: Final = 400
ANYTHING: Final = "…"


def like(expected: str, got: str) -> bool:
    """Whether `got` is the expected text, in which `…` is anything."""
    pattern = ".*".join(re.escape(part) for part in expected.split(ANYTHING))
    return re.fullmatch(pattern, got, re.DOTALL) is not None


class Judge:
    """Holds the steps of one journey against what it expects."""

    def __init__(self, located: Located, walker: Walker) -> None:
        """Nothing has come yet."""
        self._located = located
        self._walker = walker
        self._snapshot = empty("journey")
        self._proposed: list[str] = []
        self.faults: list[str] = []

    def judge(self, number: int, took: Took) -> None:
        """Compare one step; `faults` grows by what differs."""
        then = self._located.journey.steps[number].then
        seen = self._seen(took.entries)
        if took.unmet:
            self._fault(number, "during", took.unmet)
        rest = took.rest.reason
        if rest != then.rest:
            detail = f" ({took.rest.detail})" if took.rest.detail else ""
            self._differs(number, "rest", f"{rest}{detail} in `{took.rest.state}`", then.rest)
        at = leaves(took.snapshot)
        if then.state is not None and not any(named(leaf, then.state) for leaf in at):
            self._differs(number, "state", ", ".join(at), then.state)
        if then.passed is not None and not _same(then.passed, seen["passed"], named):
            self._differs(number, "passed", seen["passed"], then.passed)
        if then.calls is not None and then.calls != seen["calls"]:
            self._differs(number, "calls", seen["calls"], then.calls)
        if then.says is not None and not _same(then.says, seen["says"], _fits):
            self._differs(number, "says", seen["says"], then.says)
        if then.events is not None and not _within(then.events, seen["events"]):
            self._differs(number, "events", seen["events"], then.events)
        if then.answer is not None and not like(then.answer, seen["answer"]):
            self._differs(number, "answer", seen["answer"], then.answer)
        if then.turns is not None and then.turns != took.snapshot.usage.turns:
            self._differs(number, "turns", took.snapshot.usage.turns, then.turns)
        self._refusals(number, then.refused, took.refusals)
        self._files(number, then.files or {})
        self._vars(number, then.vars or {}, took.snapshot)

    def _refusals(self, number: int, expected: str | None, got: Sequence[str]) -> None:
        """What was refused, and whether that was expected."""
        if expected is None and got:
            self._fault(number, "refused", f"it refused what was asked of it: {got[0]}")
        if expected is not None and not any(like(expected, told) for told in got):
            self._differs(number, "refused", list(got), expected)

    def _files(self, number: int, expected: dict[str, str | None]) -> None:
        """Files of the work directory."""
        for name, text in expected.items():
            keys = ("steps", number, "then", "files", name)
            got = _text(self._walker.inside(name, *keys))
            same = got is text if text is None or got is None else like(text, got)
            if not same:
                self._differs(number, f"files.{name}", got, text, *keys[3:])

    def _vars(self, number: int, expected: dict[str, Any], snapshot: Snapshot) -> None:
        """Values of vars."""
        for name, value in expected.items():
            got = snapshot.vars.get(name)
            if got != value:
                self._differs(number, f"vars.{name}", got, value, "vars", name)

    def _differs(self, number: int, what: str, got: Any, expected: Any, *keys: str | int) -> None:
        """One difference."""
        came, wanted = (_short(value) for value in (got, expected))
        place = self._located.place("steps", number, "then", *(keys or (what,)))
        self.faults.append(f"{place}: `{what}` is {came}, expected {wanted}")

    def _fault(self, number: int, key: str, text: str) -> None:
        """One fault that is no difference."""
        self.faults.append(f"{self._located.place('steps', number, key)}: {text}")

    def _seen(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """What the entries of a step show."""
        seen: dict[str, Any] = {"passed": [], "says": [], "events": [], "answer": ""}
        results: dict[str, str] = {}
        for entry in entries:
            old, self._snapshot = self._snapshot, advance(self._snapshot, entry)
            before = leaves(old)
            seen["passed"] += [leaf for leaf in leaves(self._snapshot) if leaf not in before]
            seen["says"] += [said.text for said in entry.record.said if said.to != "log"]
            seen["events"] += _events(entry)
            if isinstance(entry.event, ModelReplied) and entry.event.text:
                seen["answer"] = entry.event.text
            for op in entry.record.view:
                if isinstance(op, AddReply):
                    self._proposed += op.calls
                elif isinstance(op, AddResult):
                    given = entry.event.status if isinstance(entry.event, ToolAnswered) else op.status
                    results[op.call] = f"{op.tool} {op.status if op.text is not None else given}"
        seen["calls"] = [results[call] for call in self._proposed if call in results]
        return seen


def _events(entry: Entry) -> list[str]:
    """The event of an entry, and those that followed from it and moved the session."""
    own = name_of(entry.event)
    caused = [taken.event for taken in entry.record.taken]
    return [own, *(event for event in caused if "." in event and event != own)]


def _fits(got: str, expected: str) -> bool:
    """`like`, the other way round."""
    return like(expected, got)


def leaves(snapshot: Snapshot) -> list[str]:
    """The active states that hold no active state, in document order."""
    active = snapshot.configuration
    return [p for p in active if not any(other.startswith(f"{p}.") for other in active)]


def _same(expected: Sequence[str], got: Sequence[str], fits: Any) -> bool:
    """Whether the lists are equal, item by item."""
    return len(expected) == len(got) and all(map(fits, got, expected))


def _within(expected: Sequence[str], got: Sequence[str]) -> bool:
    """Whether `expected` stands in `got`, in order."""
    rest = iter(got)
    return all(name in rest for name in expected)


def _text(path: Path) -> str | None:
    """A file's text, None if there is none; raises `LoopspecError` for what is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as err:
        raise LoopspecError(f"the file cannot be compared: {err}", place=str(path)) from None


def _short(value: Any) -> str:
    """A value on a line, bounded."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + ANYTHING
