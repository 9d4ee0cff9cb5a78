"""The text of an explanation: plain, without colours, at most 80 columns.

Rules of this file:
1. Everything that came from outside passes `printable` before it is laid out.
2. The sentence a person came for stands first; sections without content are left out.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from loopspec.views.explanation import (
    AcceptedCommand,
    ActiveState,
    AskedGuard,
    BudgetUse,
    ContextUse,
    Explanation,
    FailingModel,
    HeldGrant,
    LastMove,
    LedgerCall,
    PendingEffect,
    RollbackPoint,
    Way,
)
from loopspec.views.words import (
    amount,
    due,
    duration,
    moment,
    money,
    pad,
    plural,
    printable,
    wrap,
)

WIDTH: Final = 80
LONG: Final = 600
"""Columns a single value may take before it is cut."""

_PHASES: Final = {
    "held": "has not started: cancelled work must settle first",
    "boundary": "waits for its rollback point",
    "retrying": "waits to try again",
    "ended": "its work has ended",
}
_SCOPES: Final = {
    "call": "this exact call",
    "exact": "these very arguments for the rest of the session",
    "limited": "the tool within limits for the rest of the session",
    "tool": "the tool for the rest of the session",
}


def render(explanation: Explanation) -> str:
    """The explanation as text, ending with a newline; no line is wider than 80 columns."""
    told = explanation
    spec = f"{told.spec} {told.version}" + (f" ({told.file})" if told.file else "")
    lines = [
        *_wrapped(f"session {told.session}: {spec}", "", "  "),
        *_wrapped(
            f"entry {told.seq}, started {moment(told.started)} ({duration(told.age)} ago)", "", "  "
        ),
        "",
        *_wrapped(told.waits if told.waits.endswith((".", "?")) else f"{told.waits}.", "", "  "),
    ]
    sections: tuple[tuple[str, Iterable[str]], ...] = (
        ("state", (line for state in told.states for line in _state(state))),
        ("pending", (line for effect in told.pending for line in _pending(effect))),
        (
            "timers",
            (
                line
                for t in told.timers
                for line in _item(f"{t.what} {due(t.left)} ({t.clock} clock)")
            ),
        ),
        ("models that fail", (line for model in told.failing for line in _item(_failing(model)))),
        (
            "models this call asks no more",
            (line for m in told.passed for line in _item(f"entry {m.seq}: {m.why}")),
        ),
        ("calls", (line for call in told.calls for line in _item(_call(call)))),
        ("grants", (line for grant in told.grants for line in _item(_grant(grant)))),
        (_boundary_title(told), (line for b in told.boundaries for line in _item(_boundary(b)))),
        ("inbox", _item(f"{plural(told.inbox, 'message')} waiting") if told.inbox else ()),
        ("budgets", _budgets(told.budgets, told.spent)),
        ("context", _item(_context(told.context))),
        ("what would move it, in the order tried", _ways(told.ways)),
        ("accepted commands", _commands(told.commands)),
        ("guards that said no or erred", (line for asked in told.guards for line in _guard(asked))),
        ("last move", _last(told.last) if told.last else ()),
        (
            "last refusals",
            (
                line
                for r in told.refusals
                for line in _item(f"{r.event} by {r.by}, {duration(r.age)} ago: {r.why}")
            ),
        ),
    )
    for title, body in sections:
        made = list(body)
        if made:
            lines += ["", title, *made]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """A text from outside, printable and wrapped."""
    return wrap(printable(text, LONG), WIDTH, first, rest)


def _item(text: str) -> list[str]:
    """One item of a section."""
    return _wrapped(text, "  ", "      ")


def _more(text: str) -> list[str]:
    """A line that belongs to the item above it."""
    return _wrapped(text, "    ", "      ")


def _at(place: str) -> str:
    """A place behind what stands there."""
    return f"  ({place})" if place else ""


def _state(state: ActiveState) -> Iterator[str]:
    """An active leaf."""
    yield from _item(f"{state.path}{_at(state.place)}")
    yield from _more(f"kind {state.kind}: {state.does}" if state.kind else state.does)
    if state.phase in _PHASES:
        yield from _more(_PHASES[state.phase])
    yield from _more(f"since {moment(state.since)} ({duration(state.age)} ago)")


def _pending(effect: PendingEffect) -> Iterator[str]:
    """An effect without an answer."""
    yield from _item(effect.what)
    status = effect.status
    if effect.status == "cancelling" and effect.claimed:
        status = "cancelling, claimed"
    parts = [status]
    if effect.attempt:
        parts.append(f"attempt {effect.attempt}")
    if effect.rung:
        parts.append(f"fallback {effect.rung}")
    if effect.continues >= 0:
        parts.append(f"goes on from the text of entry {effect.continues}")
    parts.append(f"for {duration(effect.age)}")
    yield from _more(f"{', '.join(parts)}  [{effect.id}]")


def _failing(model: FailingModel) -> str:
    """A model whose last attempts failed."""
    text = f"{model.use}: {plural(model.failures, 'failure')} in a row, the last one {model.reason}"
    if not model.left:
        return text
    return f"{text}; left out for {duration(model.left)}, if another one can be asked"


def _call(call: LedgerCall) -> str:
    """A call of the ledger."""
    whose = ", a person's own" if call.own else ", arguments changed by a person" if call.edited else ""
    text = f"{call.id} `{call.tool}` ({call.effect}{whose}): {call.status}"
    if call.reason:
        text += f": {call.reason}"
    if call.rule:
        text += f"; rule {call.rule}"
    return f"{text}; covered by grant {call.grant}" if call.grant else text


def _grant(grant: HeldGrant) -> str:
    """A grant."""
    text = f"{grant.id} `{grant.tool}`: {_SCOPES.get(grant.scope, grant.scope)}"
    if grant.args_hash:
        text += f" (arguments {grant.args_hash[:12]})"
    if grant.within:
        text += f" ({', '.join(grant.within)})"
    text += f", by {grant.approver}, " + (
        "no limit of uses" if grant.uses < 0 else f"{plural(grant.uses, 'use')} left"
    )
    if grant.left is None:
        return text
    return text + (f", expires {due(grant.left)}" if grant.left > 0 else ", expired")


def _boundary_title(told: Explanation) -> str:
    """The section's title says when older boundaries are not shown."""
    shown = len(told.boundaries)
    more = told.boundary_count > shown
    return f"boundaries (the newest {shown} of {told.boundary_count})" if more else "boundaries"


def _boundary(made: RollbackPoint) -> str:
    """A boundary."""
    text = f"{made.id} at entry {made.seq} in {made.state}, {duration(made.age)} ago"
    if made.method:
        text += f" ({made.method})"
    return f"{text}; cannot be undone: {', '.join(made.remaining)}" if made.remaining else text


def _budgets(budgets: tuple[BudgetUse, ...], spent: str) -> Iterator[str]:
    """Each budget: used, limit, and what was added."""
    for budget in budgets:
        used = amount(budget.which, budget.used)
        if budget.which == "usd":
            used = money(budget.used, budget.unpriced)
        text = f"{pad(budget.which, 8)} {used}"
        if budget.limit is None:
            text += " (no limit)"
        else:
            text += f" of {amount(budget.which, budget.limit)}"
        if budget.extended:
            text += f", {amount(budget.which, budget.extended)} of it added later"
        yield from _item(f"{text}  SPENT" if budget.which == spent else text)


def _context(context: ContextUse) -> str:
    """How full the window is."""
    if not context.window:
        return f"{context.tokens:,} tokens; the window is not known"
    share = context.tokens * 100 // context.window
    owner = f" of {context.model}" if context.model else ""
    return (
        f"{context.tokens:,} of {context.window:,} tokens ({share} %) in the window{owner}; "
        f"pressed above {context.compact_at:,}"
    )


def _ways(ways: tuple[Way, ...]) -> Iterator[str]:
    """The transitions; each state's name stands once above its own."""
    source = None
    for way in ways:
        if way.source != source:
            source = way.source
            yield from _item(f"from {source}")
        event = f"after {duration(way.delay)}" if way.delay is not None else way.event
        guard = f" [{way.guard}]" if way.guard else ""
        target = f" → {way.target}" if way.target else " (actions only)"
        if way.enters:
            target += f", that is {', '.join(way.enters)}"
        text = f"{event}{guard}{target}{_at(way.place)}"
        yield from _wrapped(text, "    ", "        ")


def _commands(commands: tuple[AcceptedCommand, ...]) -> Iterator[str]:
    """The commands that would be taken, with the command line where there is one."""
    for command in commands:
        text = pad(command.event, 17)
        if command.line:
            text += f" {command.line}"
        if not command.routed:
            waits = command.event == "user.message"
            text += "  (would wait in the inbox)" if waits else "  (moves nothing)"
        yield from _item(text)


def _guard(asked: AskedGuard) -> Iterator[str]:
    """A guard that said no or erred, with what it saw."""
    yield from _item(
        f"entry {asked.seq}, {asked.event}: `{asked.guard}` gave {asked.gave}{_at(asked.place)}"
    )
    yield from _more(f"saw {asked.saw}")


def _last(last: LastMove) -> Iterator[str]:
    """The newest entry that moved the machine."""
    yield from _item(
        f"entry {last.seq}, {last.event} by {last.by}, {moment(last.at)} ({duration(last.age)} ago)"
    )
    if not last.hops:
        yield from _more("entered the initial state")
    for hop in last.hops:
        target = f" → {hop.target}" if hop.target else " (actions only)"
        yield from _more(f"{hop.event}: {hop.source}{target}{_at(hop.place)}")
