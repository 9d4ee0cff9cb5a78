"""Timeline: one line per entry, what happened and what it moved.

Rules of this file:
1. One exhaustive `match` over kept events, without a wildcard: a new event must say what it shows.
2. A line is bounded, and everything in it is printable: a model's text cannot steer a terminal.
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from loopspec.codec import decode
from loopspec.effects import CallModel, Effect
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BoundaryFailed,
    BoundaryTaken,
    BudgetExtended,
    CompactionRequested,
    ContextCompacted,
    ContextStuck,
    Decision,
    EffectAnswered,
    EffectCancelled,
    EffectClaimed,
    EffectFailed,
    EffectLost,
    GateDecided,
    HostSurveyed,
    HostSuspended,
    HostWoke,
    Kept,
    ModelChosen,
    ModelOverflowed,
    ModelReplied,
    RollbackChosen,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
    SessionStarted,
    TimerFired,
    TokenUsage,
    ToolAnswered,
    UserCalled,
    UserInterrupted,
    UserMessage,
    UserResumed,
    UserWithdrew,
    name_of,
)
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.record import AddReply, Taken
from loopspec.views.words import (
    amount,
    cells,
    duration,
    left_out,
    money,
    pad,
    plural,
    printable,
    what,
    wrap,
)

WIDTH: Final = 100
LEAST: Final = 20
NARROW: Final = 72
"""Columns below which an entry takes two lines: what happened, and what it did."""
DETAIL: Final = 400
"""Columns of a detail in the data; the line that is printed is cut at `WIDTH`."""

_TEXT: Final = 60
_EVENT: Final = 18
_BY: Final = 7
_ANY: Final = 1 << 30


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry. `at` is UTC microseconds; `moves` are chains of states (`streaming → deciding`).

    All texts are printable.
    """

    seq: int
    at: int
    event: str
    by: str
    outcome: str
    moves: tuple[str, ...] = ()
    detail: str = ""
    says: tuple[str, ...] = ()


def timeline(machine: Machine, entries: Sequence[Entry]) -> list[Line]:
    """A line for each of `entries`, oldest first; they need not begin at entry 0."""
    names = short_names(machine)
    known: dict[str, Effect] = {}
    tools: dict[str, str] = {}
    lines = []
    for entry in entries:
        for effect in entry.effects:
            known[effect.id] = effect
        tools.update(_proposed(entry))
        lines.append(
            Line(
                seq=entry.seq,
                at=entry.at,
                event=printable(name_of(entry.event), DETAIL),
                by=printable(entry.by, DETAIL),
                outcome=entry.outcome,
                moves=_moves(entry.record.taken, names) or _entered(entry, names),
                detail=printable(_Details(known, tools).told(entry), DETAIL),
                says=tuple(printable(said.text, DETAIL) for said in entry.record.said),
            )
        )
    return lines


def render(lines: Sequence[Line], *, start: int, width: int = WIDTH, full: bool = False) -> str:
    """The lines as text of at most `width` columns each (at least 20).

    `start` is UTC microseconds of time zero. What does not fit is cut, or with `full` goes on below.
    """
    width = max(width, LEAST)
    return "".join(f"{text}\n" for line in lines for text in _texts(line, start, width, full))


def _texts(line: Line, start: int, width: int, full: bool) -> list[str]:
    """One entry as lines of text."""
    offset = _offset(line.at - start)
    tail = _tail(line)
    if width < NARROW:
        head, rest = f"{line.seq:>4} {offset:>8} {line.event}", "     "
        first = [printable(head, width).rstrip()]
        below = wrap(tail, width, rest, rest) if full else [printable(rest + tail, width).rstrip()]
        return [*first, *below] if tail else first
    head = f"{line.seq:>5} {offset:>11}  {pad(line.event, _EVENT)} {pad(line.by, _BY)} "
    if not full or cells(head + tail) <= width:
        return [printable(head + tail, width).rstrip()]
    head = printable(head, width - LEAST)
    return wrap(tail, width, head, " " * min(cells(head), width - LEAST)) or [head.rstrip()]


def _tail(line: Line) -> str:
    """What an entry did: its moves, its detail, what the spec said."""
    moved = ", ".join(line.moves) or line.outcome
    parts = [moved, line.detail, *(f"says “{printable(s, _TEXT)}”" for s in line.says)]
    return printable("; ".join(part for part in parts if part), _ANY)


def _offset(micros: int) -> str:
    """Seconds since the start with milliseconds, `12.345`; below zero when clocks went back."""
    sign = "-" if micros < 0 else ""
    seconds, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{seconds}.{rest // 1000:03d}"


def short_names(machine: Machine) -> dict[str, str]:
    """The last part of each state's path where it is unique in the machine, else the whole path."""
    count: dict[str, int] = {}
    for path in machine.states:
        tail = path.rpartition(".")[2]
        count[tail] = count.get(tail, 0) + 1
    return {
        path: tail if count[tail := path.rpartition(".")[2]] == 1 else path
        for path in machine.states
    }


def _moves(taken: tuple[Taken, ...], names: dict[str, str]) -> tuple[str, ...]:
    """Transitions joined where one begins at the end of the one before."""
    chains: list[str] = []
    end = ""
    for one in taken:
        source, target = names.get(one.source, one.source), names.get(one.target, one.target)
        if not one.target:
            chains.append(f"{source} (actions only)")
        elif chains and end == one.source:
            chains[-1] += f" → {target}"
        else:
            chains.append(f"{source} → {target}")
        end = one.target
    return tuple(chains)


def _entered(entry: Entry, names: dict[str, str]) -> tuple[str, ...]:
    """Where a move without a transition led: the initial state of a new session."""
    raw = entry.patch.set.get("configuration")
    active = decode(raw, tuple[str, ...]) if raw is not None else ()
    return (f"→ {names.get(active[-1], active[-1])}",) if active else ()


def _proposed(entry: Entry) -> dict[str, str]:
    """The tools of the calls this entry's reply (or person) proposed, by the calls' ledger ids."""
    if isinstance(entry.event, UserCalled):
        return {f"c{entry.seq}_0": entry.event.tool}
    out: dict[str, str] = {}
    for op in entry.record.view:
        if isinstance(op, AddReply) and isinstance(entry.event, ModelReplied):
            out.update(zip(op.calls, (call.tool for call in entry.event.calls), strict=True))
    return out


class _Details:
    """Says what an event holds, in a few words; knows the effects seen so far."""

    def __init__(self, effects: dict[str, Effect], tools: dict[str, str]) -> None:
        self._effects = effects
        self._tools = tools

    def told(self, entry: Entry) -> str:
        """The detail of an entry: of its event, and which models are asked no more; not yet printable."""
        going = [f"goes on from entry {e.continues}" for e in _continuing(entry)]
        parts = (self.of(entry.event), *map(left_out, entry.record.left), *going)
        return "; ".join(part for part in parts if part)

    def of(self, event: Kept) -> str:
        """The detail of one event; not yet printable."""
        match event:
            case SessionStarted():
                return f"machine {event.machine[:12]} {event.inputs}"
            case UserMessage():
                return _quoted(event.text)
            case UserInterrupted() | HostSuspended():
                return event.reason
            case UserResumed() | CompactionRequested():
                return ""
            case ModelChosen():
                return f"{event.model} = {event.use or 'as declared'}"
            case UserCalled():
                return f"own `{event.tool}` {event.args}"
            case UserWithdrew():
                return f"took back the message of entry {event.message}"
            case ApprovalGiven():
                return _why(f"{event.answer} {self._call(event.call)}{_scope(event)}", event.reason)
            case BudgetExtended():
                return f"{event.which} +{amount(event.which, event.amount)}"
            case RollbackChosen():
                return f"to boundary {event.boundary}" if event.boundary else "to the newest"
            case HostWoke():
                return f"was away {duration(event.gap)}" if event.gap else ""
            case TimerFired():
                return (f"late by {duration(event.late)}, " if event.late >= 1000 else "") + event.timer
            case EffectClaimed():
                return self._effect(event.effect)
            case EffectLost() | EffectFailed():
                used = _used(event.usage) if isinstance(event, EffectFailed) else ""
                return f"{_why(self._effect(event.effect), event.reason)}{used}"
            case EffectCancelled():
                begun = "stopped" if event.started else "never begun"
                kept = f", {plural(len(event.partial), 'character')} kept" if event.partial else ""
                return f"{self._effect(event.effect)}: {begun}{kept}{_used(event.usage)}"
            case EffectAnswered():
                return f"{event.name}{_used(event.usage)} {event.data}"
            case ModelReplied():
                return _reply(event)
            case ModelOverflowed():
                return event.detail
            case AttemptFailed():
                again = "may be tried again" if event.retryable else "not to be tried again"
                told = _why(f"{event.reason}, {again}", event.detail)
                return f"{told}{_used(event.usage)}"
            case GateDecided():
                return ", ".join(self._decision(d) for d in event.decisions) or "no decision"
            case ToolAnswered():
                took = f"{self._call(event.call)} {event.status} in {duration(event.duration)}"
                return f"{took}: {_quoted(event.output)}" if event.output else took
            case ContextCompacted():
                size = f"{event.before:,} → {event.after:,} tokens"
                return f"{size}, {plural(len(event.drop), 'item')} left the view"
            case ContextStuck() | BoundaryFailed() | RollbackFailed():
                return event.reason
            case BoundaryTaken():
                return f"{event.boundary} ({event.method})" if event.method else event.boundary
            case HostSurveyed():
                return _host(event)
            case RollbackDone():
                return _put_back(event)
            case RollbackPartial():
                return f"{_put_back(event)}; cannot be undone: {', '.join(event.remaining)}"
            case _:
                assert_never(event)

    def _effect(self, key: str) -> str:
        """What an effect does; its id when it was emitted before the entries given."""
        found = self._effects.get(key)
        return what(found) if found is not None else key

    def _call(self, key: str) -> str:
        """A call with its tool's name, where it is known."""
        tool = self._tools.get(key)
        return f"`{tool}` {key}" if tool else key

    def _decision(self, decision: Decision) -> str:
        """What the gate said about one call, and by which rule."""
        rule = f" ({decision.rule})" if decision.rule else ""
        return f"{decision.answer} {self._call(decision.call)}{rule}"


def _continuing(entry: Entry) -> list[CallModel]:
    """The attempts an entry starts that go on from a text that broke off."""
    return [e for e in entry.effects if isinstance(e, CallModel) and e.continues >= 0]


def _quoted(text: str) -> str:
    """The head of a text, so that what follows it still finds room on the line."""
    return f"“{printable(text, _TEXT)}”" if text else ""


def _scope(event: ApprovalGiven) -> str:
    """What an answer covers beyond the one call, for how long, and what became of the arguments."""
    match event.scope:
        case "exact":
            told = " for these very arguments"
        case "limited":
            told = f" within {', '.join((*event.paths, *event.commands))}"
        case "tool":
            told = " for the whole tool"
        case _:
            told = ""
    lasts = f", for {duration(event.lasts)}" if event.lasts else ""
    return f"{told}{lasts}{f', with {event.args}' if event.args else ''}"


def _put_back(event: RollbackDone | RollbackPartial) -> str:
    """What a rollback did."""
    return f"to {event.boundary}, {plural(len(event.changed), 'path')} put back"


def _host(event: HostSurveyed) -> str:
    """What the host was like."""
    network = "a network" if event.network else "no network"
    free = f", {event.memory // 1_000_000:,} MB free" if event.memory >= 0 else ""
    return _why(f"{network}{free}", event.why)


def _why(head: str, reason: str) -> str:
    """`head: reason`, or only the head."""
    return f"{head}: {reason}" if reason else head


def _reply(event: ModelReplied) -> str:
    """A reply: what it calls and costs, how its text begins, who gave it."""
    parts = []
    if event.calls:
        parts.append("calls " + ", ".join(f"`{call.tool}`" for call in event.calls))
    used = _used(event.usage).removeprefix(", ")
    if used:
        parts.append(used)
    if event.text:
        parts.append(_quoted(event.text))
    if event.model:
        parts.append(event.model)
    return ", ".join(parts)


def _used(usage: TokenUsage) -> str:
    """`, 1,200 + 80 tokens, $0.0123`, empty when nothing was used."""
    if not (usage.input_tokens or usage.output_tokens or usage.cost):
        return ""
    unpriced = usage.cost is None
    cost = "price unknown" if unpriced else money(usage.cost or 0, 0)
    return f", {usage.input_tokens:,} + {usage.output_tokens:,} tokens, {cost}"
