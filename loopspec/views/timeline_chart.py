"""Chart: a session over time as plain data: who was busy when, what was waited for, what it cost.

Rules of this file:
1. Everything comes from the entries: the same journal gives the same chart, on any machine, at any time.
2. Times are UTC microseconds that never go back: where the host's clock did, the chart stands still.
3. What has no end yet ends with the newest entry and is marked as open.
4. Texts are printable and on one line.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from loopspec.codec import decode
from loopspec.effects import CallModel, CompactContext, Effect, Perform, RestoreBoundary, RunTool
from loopspec.events import (
    COMMANDS,
    ApprovalGiven,
    AttemptFailed,
    ContextCompacted,
    EffectCancelled,
    EffectLost,
    GateDecided,
    HostSuspended,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    TokenUsage,
    ToolAnswered,
    UserInterrupted,
    name_of,
)
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.record import AddOwn, AddReply, AddResult
from loopspec.views.graph import Box, picture, plain
from loopspec.views.words import duration

ROWS: Final = 24
"""Most rows of one group; what is beyond shares one row, called `others`."""
AWAY: Final = 1_000_000
"""Microseconds by which the wall clock must have gone further than the awake clock to be shown."""
_TITLE: Final = 160
_NAME: Final = 60
_BAD: Final = ("error", "timeout")


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the chart's parts."""


class Span(_Part, frozen=True):
    """Something that took from `start` to `end`. `seq` is the entry that ended it; `look` its colour
    (`model`, `tools`, `decision`, `person`, `upkeep`, `plugin`, `away`, `good`, `bad`, `soft`)."""

    start: int
    end: int
    look: str
    title: str
    seq: int
    open: bool = False


class Row(_Part, frozen=True):
    """A row of spans, by when they began."""

    name: str
    spans: tuple[Span, ...]


class Mark(_Part, frozen=True):
    """Something that happened at one moment."""

    at: int
    look: str
    title: str
    seq: int


class Used(_Part, frozen=True):
    """All that was consumed up to a moment: tokens in and out, nano-USD; `unpriced` replies beside it."""

    at: int
    input: int
    output: int
    cost: int
    unpriced: int


class Chart(_Part, frozen=True):
    """A session over time. `moments` are the times of its entries, ascending, each once."""

    start: int
    end: int
    states: tuple[Row, ...]
    models: tuple[Row, ...]
    tools: tuple[Row, ...]
    waits: tuple[Row, ...]
    marks: tuple[Mark, ...]
    used: tuple[Used, ...]
    moments: tuple[int, ...]


def chart(machine: Machine, entries: Iterable[Entry]) -> Chart:
    """The chart of a session; `entries` are all it has, oldest first."""
    made = _Making(machine)
    for entry in entries:
        made.follow(entry)
    return made.done()


class _Rows:
    """Rows by name, in the order in which they first have something."""

    def __init__(self) -> None:
        self._found: dict[str, list[Span]] = {}

    def add(self, name: str, span: Span) -> None:
        """Put a span into a row; into `others` when there are too many rows."""
        name = plain(name, _NAME)
        if name not in self._found and len(self._found) >= ROWS:
            name = "others"
        self._found.setdefault(name, []).append(span)

    def done(self) -> tuple[Row, ...]:
        """The rows, their spans by when they began."""
        ordered = ((n, sorted(s, key=lambda one: (one.start, one.seq))) for n, s in self._found.items())
        return tuple(Row(name, tuple(spans)) for name, spans in ordered)


class _Making:
    """A chart in the making."""

    def __init__(self, machine: Machine) -> None:
        self._looks = {box.path: _look(box) for box in picture(machine).walk()}
        self._names = picture(machine).short_names()
        self._leaves = [p for p, s in machine.states.items() if s.type in ("atomic", "final")]
        self._active: dict[str, int] = {}  # leaves, since when
        self._state_spans: dict[str, list[Span]] = {}
        self._models, self._tools, self._waits = _Rows(), _Rows(), _Rows()
        self._effects: dict[str, tuple[Effect, int]] = {}  # those without an answer, since when
        self._calls: dict[str, str] = {}  # tools, by call
        self._asked: dict[str, int] = {}  # calls a person has not answered, since when
        self._marks: list[Mark] = []
        self._used: list[Used] = []
        self._moments: list[int] = []
        self._wall = self._awake = 0
        self._seq = -1

    def follow(self, entry: Entry) -> None:
        """Add an entry."""
        at = max(entry.at, self._moments[-1]) if self._moments else entry.at
        if not self._moments or at > self._moments[-1]:
            self._moments.append(at)
        if self._seq >= 0:
            self._away(at, entry)
        self._wall, self._awake, self._seq = entry.at, entry.awake, entry.seq
        self._called(entry)
        self._work(at, entry)
        self._approvals(at, entry)
        self._move(at, entry)
        self._mark(at, entry)
        self._use(at, entry)

    def done(self) -> Chart:
        """The chart, with what is still open."""
        start, end = (self._moments[0], self._moments[-1]) if self._moments else (0, 0)
        for path, since in self._active.items():
            self._state(path, since, end, self._seq, still=True)
        for effect, since in list(self._effects.values()):
            self._end(effect, since, end, self._seq, "", still=True)
        for call, since in self._asked.items():
            title = self._wait_title(call, end - since)
            span = Span(since, end, "person", f"{title}, not answered yet", self._seq, True)
            self._waits.add("approval", span)
        states = _Rows()
        for path in self._leaves:
            for span in self._state_spans.get(path, ()):
                states.add(self._names[path], span)
        groups = (rows.done() for rows in (states, self._models, self._tools, self._waits))
        found = [tuple(_within(row, start) for row in rows) for rows in groups]
        marks, used, moments = tuple(self._marks), tuple(self._used), tuple(self._moments)
        return Chart(start, end, found[0], found[1], found[2], found[3], marks, used, moments)

    # ------------------------------------------------------------ states and time

    def _move(self, at: int, entry: Entry) -> None:
        """States that were left end, states that were entered begin."""
        raw = entry.patch.set.get("configuration")
        if raw is None:
            return
        now = [path for path in decode(raw, tuple[str, ...]) if path in self._looks]
        for path in [path for path in self._active if path not in now]:
            self._state(path, self._active.pop(path), at, entry.seq)
        for path in now:
            if path in self._leaves:
                self._active.setdefault(path, at)

    def _state(self, path: str, since: int, at: int, seq: int, still: bool = False) -> None:
        title = plain(f"{path}: {duration(at - since)}" + (", still there" if still else ""), _TITLE)
        span = Span(since, at, self._looks[path], title, seq, still)
        self._state_spans.setdefault(path, []).append(span)

    def _away(self, at: int, entry: Entry) -> None:
        """The host slept, or nobody ran the session: the wall clock went further than the awake one."""
        away = (entry.at - self._wall) - (entry.awake - self._awake)
        if away >= AWAY:
            title = f"asleep, or nobody ran it: {duration(away)}"
            self._waits.add("away", Span(at - away, at, "away", title, entry.seq))

    # ------------------------------------------------------------ work

    def _called(self, entry: Entry) -> None:
        """Which tools the calls of a reply, or of a person, are for."""
        for op in entry.record.view:
            if isinstance(op, AddReply):
                calls = getattr(entry.event, "calls", ())
                self._calls.update(zip(op.calls, (call.tool for call in calls), strict=False))

    def _work(self, at: int, entry: Entry) -> None:
        """What an event answers ends; what its step emitted begins."""
        answered = getattr(entry.event, "effect", "")
        if answered in self._effects and name_of(entry.event) != "effect.claimed":
            effect, since = self._effects.pop(answered)
            if isinstance(entry.event, ToolAnswered):
                since = max(since, at - entry.event.duration)
            self._end(effect, since, at, entry.seq, _fault(entry))
        for effect in entry.effects:
            self._effects[effect.id] = (effect, at)
            if isinstance(effect, RunTool):
                self._calls[effect.call] = effect.tool

    def _end(
        self, effect: Effect, since: int, at: int, seq: int, fault: str, still: bool = False
    ) -> None:
        """The span of an effect; what takes no time worth showing has none."""
        tail = f", {fault}" if fault else ", not answered yet" if still else ""
        took = f": {duration(at - since)}{tail}"
        match effect:
            case CallModel():
                title = plain(f"{effect.model} ({effect.use}){took}", _TITLE)
                look = _or_bad("model", fault)
                self._models.add(effect.model, Span(since, at, look, title, seq, still))
            case RunTool():
                title = plain(f"{effect.tool} (call {effect.call}){took}", _TITLE)
                look = _or_bad("tools", fault)
                self._tools.add(effect.tool, Span(since, at, look, title, seq, still))
            case Perform():
                title, look = plain(f"{effect.kind}{took}", _TITLE), _or_bad("plugin", fault)
                self._tools.add(effect.kind, Span(since, at, look, title, seq, still))
            case CompactContext() | RestoreBoundary():
                name = "compaction" if isinstance(effect, CompactContext) else "rollback"
                look = _or_bad("upkeep", fault)
                self._waits.add(name, Span(since, at, look, plain(f"{name}{took}", _TITLE), seq, still))
            case _:
                pass  # gates, boundaries, cancels: moments, and the state's own row shows them

    def _approvals(self, at: int, entry: Entry) -> None:
        """From the moment a person is asked about a call to their answer, or to its result."""
        event = entry.event
        if isinstance(event, GateDecided):
            self._asked.update((d.call, at) for d in event.decisions if d.answer == "ask")
        answered = [event.call] if isinstance(event, ApprovalGiven) else []
        for op in entry.record.view:
            if isinstance(op, AddOwn):
                self._asked.pop(op.call, None)  # a person's own call: nobody else was asked
            elif isinstance(op, AddResult):
                answered.append(op.call)
        for call in answered:
            since = self._asked.pop(call, None)
            if since is not None:
                said = f", {event.answer}" if isinstance(event, ApprovalGiven) else ", no answer"
                title = plain(f"{self._wait_title(call, at - since)}{said}", _TITLE)
                self._waits.add("approval", Span(since, at, "person", title, entry.seq))

    def _wait_title(self, call: str, took: int) -> str:
        tool = self._calls.get(call, "a tool")
        return plain(f"approval of {tool} (call {call}): {duration(took)}", _TITLE)

    # ------------------------------------------------------------ moments

    def _mark(self, at: int, entry: Entry) -> None:
        look = _marked(entry)
        if look:
            title = plain(f"{name_of(entry.event)} by {entry.by}", _TITLE)
            self._marks.append(Mark(at, look, title, entry.seq))

    def _use(self, at: int, entry: Entry) -> None:
        usage = getattr(entry.event, "usage", None)
        if not isinstance(usage, TokenUsage) or not (usage.input_tokens or usage.output_tokens):
            return
        old = self._used[-1] if self._used else Used(at, 0, 0, 0, 0)
        total_in, total_out = old.input + usage.input_tokens, old.output + usage.output_tokens
        unpriced = old.unpriced + (usage.cost is None)
        self._used.append(Used(at, total_in, total_out, old.cost + (usage.cost or 0), unpriced))


def _within(row: Row, start: int) -> Row:
    """The row with no span before the session."""
    if all(span.start >= start for span in row.spans):
        return row
    replace = msgspec.structs.replace
    return Row(row.name, tuple(replace(s, start=max(start, s.start)) for s in row.spans))


def _fault(entry: Entry) -> str:
    """How an effect ended badly, empty if it did not."""
    event = entry.event
    if isinstance(event, ToolAnswered):
        return event.status if event.status in _BAD else ""
    if isinstance(event, AttemptFailed):
        return event.reason
    if isinstance(event, EffectCancelled):
        return "cancelled"
    name = name_of(event)
    return name if name.endswith((".lost", ".failed", ".stuck", ".overflowed")) else ""


def _or_bad(look: str, fault: str) -> str:
    return look if not fault else "soft" if fault == "cancelled" else "bad"


def _look(box: Box) -> str:
    """The colour of a state's row."""
    if box.failed:
        return "bad"
    if box.type == "final":
        return "good"
    return {"": "soft", "wait": "soft"}.get(box.work, box.work)


def _marked(entry: Entry) -> str:
    """The colour of an entry's mark, empty for entries without one."""
    event = entry.event
    if isinstance(event, ContextCompacted | RollbackDone):
        return "upkeep"
    if isinstance(event, EffectLost | AttemptFailed | RollbackFailed | RollbackPartial):
        return "bad"
    if isinstance(event, UserInterrupted | HostSuspended):
        return "soft"
    return "person" if isinstance(event, COMMANDS) else ""
