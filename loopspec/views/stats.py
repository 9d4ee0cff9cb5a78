"""Stats: what many sessions did, counted from their entries.

Rules of this file:
1. Only what entries say is counted; what leaves no entry (a read begun again after a crash) is not.
2. A session is counted whole or not at all: its own counts are added when all of it was read.
3. Whole numbers only: microseconds, tokens, nano-USD. A percentile is a value that was measured (the
   nearest rank), never one between two.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from loopspec.effects import CallModel
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    ContextCompacted,
    ContextStuck,
    EffectLost,
    GateDecided,
    Kept,
    ModelReplied,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    TokenUsage,
    ToolAnswered,
)
from loopspec.journal.entry import Entry
from loopspec.machine.modelling import RESTART
from loopspec.record import AddOwn, AddResult

UNKNOWN: Final = "(unknown)"


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the counts."""


class Took(_Part):
    """Durations in microseconds: how many were measured, and three of them; 0 without any."""

    count: int = 0
    p50: int = 0
    p95: int = 0
    longest: int = 0


class ModelUse(_Part):
    """What one model consumed, by the name it was called with. `unpriced` counts replies and failed
    attempts whose price nobody knows; `cost` is nano-USD of the others."""

    replies: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    unpriced: int = 0


class ToolUse(_Part):
    """How the calls of one tool ended; each ends once. `denied`: by a rule, a person, or a gate that
    failed; `expired`: nobody approved it in time; `lost`: nobody knows whether it happened. `took` is of
    those that ran to an end."""

    calls: int = 0
    ok: int = 0
    error: int = 0
    timeout: int = 0
    denied: int = 0
    expired: int = 0
    interrupted: int = 0
    lost: int = 0
    took: Took = msgspec.field(default_factory=Took)


class Approvals(_Part):
    """What people were asked. `unanswered`: it expired, was left, or still waits. `took` is how long
    people took to answer."""

    asked: int = 0
    granted: int = 0
    denied: int = 0
    unanswered: int = 0
    took: Took = msgspec.field(default_factory=Took)


class Crashes(_Part):
    """What restarts found: acts of which nobody knew whether they happened (`lost`), what people then
    said of them, and model calls that were made again because their stream had broken off."""

    lost: int = 0
    done: int = 0
    rerun: int = 0
    abandoned: int = 0
    model_calls_again: int = 0


_STATUS: Final = {
    "ok": "ok",
    "timeout": "timeout",
    "denied_by_policy": "denied",
    "denied_by_person": "denied",
    "gate_failed": "denied",
    "expired": "expired",
    "interrupted": "interrupted",
    "lost": "lost",
}
"""Where a result's status is counted; others are errors."""


class Left(_Part):
    """A session that was left out, and why."""

    session: str
    why: str


class Stats(_Part):
    """All of it. `wall` and `awake` are microseconds from first to newest entry, summed over sessions.

    `since` is the UTC time in microseconds from which entries count, 0 for all of them.
    """

    since: int = 0
    sessions: dict[str, int] = {}
    loops: dict[str, int] = {}
    entries: int = 0
    turns: int = 0
    models: dict[str, ModelUse] = {}
    tools: dict[str, ToolUse] = {}
    approvals: Approvals = msgspec.field(default_factory=Approvals)
    compactions: int = 0
    compactions_failed: int = 0
    rollbacks: int = 0
    rollbacks_partial: int = 0
    rollbacks_failed: int = 0
    crashes: Crashes = msgspec.field(default_factory=Crashes)
    wall: int = 0
    awake: int = 0
    left_out: list[Left] = []


class Counting:
    """Counts sessions, one after the other. `since` is UTC microseconds; older entries do not count."""

    def __init__(self, since: int = 0) -> None:
        """Nothing is counted yet."""
        self.since = since
        self._made = Stats(since=since)
        self._tools: dict[str, list[int]] = {}
        self._people: list[int] = []

    def add(self, status: str, loop: str, entries: Iterable[Entry]) -> None:
        """Count a session that stands as `status` says and runs the loop named `loop`.

        Whatever `entries` raises leaves the counts as they were.
        """
        one = _Session(self._made.since)
        for entry in entries:
            one.follow(entry)
        one.close()
        made = self._made
        _count(made.sessions, status)
        _count(made.loops, loop)
        _merge(made, one.made)
        for tool, values in one.durations.items():
            self._tools.setdefault(tool, []).extend(values)
        self._people += one.people

    def leave(self, session: str, why: str) -> None:
        """Note a session that cannot be counted."""
        self._made.left_out.append(Left(session, why))

    def done(self) -> Stats:
        """The counts, in an order that does not depend on that of the sessions."""
        made = self._made
        for tool, use in made.tools.items():
            use.took = took(self._tools.get(tool, []))
        made.approvals.took = took(self._people)
        made.sessions, made.loops = _ordered(made.sessions), _ordered(made.loops)
        made.models = dict(sorted(made.models.items(), key=lambda one: (-one[1].cost, one[0])))
        made.tools = dict(sorted(made.tools.items(), key=lambda one: (-one[1].calls, one[0])))
        return made


def took(values: list[int]) -> Took:
    """Durations in three numbers."""
    if not values:
        return Took()
    ranked = sorted(values)
    return Took(len(ranked), _rank(ranked, 50), _rank(ranked, 95), ranked[-1])


def _rank(ranked: list[int], percent: int) -> int:
    """The smallest value that at least `percent` of 100 do not exceed."""
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def _ordered(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _merge(into: _Part, one: _Part) -> None:
    """Add the numbers of `one` to those of `into`, the parts' too; texts, times and lists stay."""
    for name in into.__struct_fields__:
        mine, theirs = getattr(into, name), getattr(one, name)
        if name in ("since", "took"):
            continue
        if isinstance(mine, int):
            setattr(into, name, mine + theirs)
        elif isinstance(mine, _Part):
            _merge(mine, theirs)
        elif isinstance(mine, dict):
            for key, value in theirs.items():
                if isinstance(value, _Part):
                    _merge(mine.setdefault(key, type(value)()), value)


class _Session:
    """The counts of one session. Entries before `since` are followed, so that it is known who was asked
    and which model it was, and not counted."""

    def __init__(self, since: int) -> None:
        self.made = Stats()
        self.durations: dict[str, list[int]] = {}
        self.people: list[int] = []
        self._since = since
        self._uses: dict[str, str] = {}  # models, by effects without an answer
        self._asked: dict[str, int] = {}  # calls no person has answered, since when
        self._first: tuple[int, int] | None = None
        self._last = (0, 0)

    def follow(self, entry: Entry) -> None:
        """Count an entry."""
        counts = entry.at >= self._since
        self._know(entry)
        if counts:
            self._first = self._first or (entry.at, entry.awake)
            self._last = (entry.at, entry.awake)
            self.made.entries += 1
            self._event(entry.event, entry.at)
        self._results(entry, counts)
        if isinstance(entry.event, ModelReplied | AttemptFailed):
            self._uses.pop(entry.event.effect, None)

    def close(self) -> None:
        """What is still open when the entries end."""
        self.made.approvals.unanswered += len(self._asked)
        if self._first is not None:
            self.made.wall = max(0, self._last[0] - self._first[0])
            self.made.awake = max(0, self._last[1] - self._first[1])

    def _know(self, entry: Entry) -> None:
        """Which models are asked."""
        for effect in entry.effects:
            if isinstance(effect, CallModel):
                self._uses[effect.id] = effect.use

    def _event(self, event: Kept, at: int) -> None:
        """Count what happened. Events without a number of their own are counted as entries only."""
        made = self.made
        usage = getattr(event, "usage", None)
        if isinstance(usage, TokenUsage):
            self._consumed(event, usage)
        if isinstance(event, GateDecided):
            self._decided(event, at)
        elif isinstance(event, ApprovalGiven):
            self._given(event, at)
        elif isinstance(event, EffectLost):
            made.crashes.lost += 1
        elif isinstance(event, ContextCompacted):
            made.compactions += 1
        elif isinstance(event, ContextStuck):
            made.compactions_failed += 1
        elif isinstance(event, RollbackDone):
            made.rollbacks += 1
        elif isinstance(event, RollbackPartial):
            made.rollbacks_partial += 1
        elif isinstance(event, RollbackFailed):
            made.rollbacks_failed += 1

    def _consumed(self, event: Kept, usage: TokenUsage) -> None:
        """Tokens and money, of whatever model; a reply is a turn."""
        replied, failed = isinstance(event, ModelReplied), isinstance(event, AttemptFailed)
        some = bool(usage.input_tokens or usage.output_tokens or usage.cost)
        if not (replied or failed or some):
            return
        effect = str(getattr(event, "effect", ""))
        said = event.model if isinstance(event, ModelReplied) else getattr(event, "written_by", "")
        name = said or self._uses.get(effect, UNKNOWN)
        use = self.made.models.setdefault(self._uses.get(effect, name), ModelUse())
        use.replies += replied
        use.failed += failed
        use.input_tokens += usage.input_tokens
        use.output_tokens += usage.output_tokens
        use.cached_tokens += usage.cached_tokens
        use.cost += usage.cost or 0
        use.unpriced += some and usage.cost is None
        self.made.turns += replied
        if isinstance(event, AttemptFailed) and event.reason == RESTART:
            self.made.crashes.model_calls_again += 1

    def _decided(self, event: GateDecided, at: int) -> None:
        """What the gate said: who is asked, and which calls a rule denies."""
        for decision in event.decisions:
            if decision.answer == "ask":
                self.made.approvals.asked += 1
                self._asked[decision.call] = at

    def _given(self, event: ApprovalGiven, at: int) -> None:
        """What a person said."""
        approvals, crashes = self.made.approvals, self.made.crashes
        since = self._asked.pop(event.call, None)
        if since is not None:
            self.people.append(max(0, at - since))
        match event.answer:
            case "grant":
                approvals.granted += 1
            case "deny":
                approvals.denied += 1
            case "done":
                crashes.done += 1
            case "rerun":
                crashes.rerun += 1
            case _:
                crashes.abandoned += 1

    def _results(self, entry: Entry, counts: bool) -> None:
        """How calls ended: each ends with one result."""
        for op in entry.record.view:
            if not isinstance(op, AddResult | AddOwn):
                continue
            waited = self._asked.pop(op.call, None)
            if not counts:
                continue
            if waited is not None and isinstance(op, AddOwn):
                self.made.approvals.asked -= 1  # who calls has answered: nobody else was asked
            elif waited is not None:
                self.made.approvals.unanswered += 1
            use = self.made.tools.setdefault(op.tool, ToolUse())
            use.calls += 1
            how = _STATUS.get(op.status, "error")
            setattr(use, how, getattr(use, how) + 1)
            if isinstance(entry.event, ToolAnswered) and entry.event.call == op.call:
                self.durations.setdefault(op.tool, []).append(entry.event.duration)
