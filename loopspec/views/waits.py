"""Waits: what a session waits for, in one plain sentence.

The rules of rest stand in `loopspec.machine.rest` and nowhere else; here they only get words.
"""

from typing import Final, assert_never

from loopspec.effects import (
    CallModel,
    Cancel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    SurveyHost,
    TakeBoundary,
)
from loopspec.machine.chart import matches
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest, resting
from loopspec.snapshot import Call, Pending, Snapshot, Timer
from loopspec.views.words import amount, due, duration, plural, what

MOST: Final = 3
"""How many things a sentence names before it says how many more there are."""

BUDGET_WORDS: Final = {
    "turns": "Turn budget",
    "tokens": "Token budget",
    "usd": "Money budget",
    "elapsed": "Time budget",
}
_NEWS: Final = {
    "user.resumed": "resume",
    "user.message": "a message",
    "user.called": "a command of your own",
    "rollback.chosen": "a rollback",
    "host.woke": "the host to wake",
    "budget.extended": "a larger budget",
}


def waits(machine: Machine, snapshot: Snapshot, now: int, awake: int) -> tuple[str, str]:
    """The reason (of `machine.rest`, or `working` or `timer`) and the sentence."""
    if not snapshot.configuration and not snapshot.stuck:
        return "idle", "Not started: the session has no entry"
    rest = resting(machine, snapshot)
    if rest is not None:
        return rest.reason, _at_rest(machine, snapshot, rest, awake)
    if snapshot.pending:
        return "working", _working(snapshot, now)
    timers = sorted(snapshot.timers.values(), key=lambda t: (left(t, now, awake), t.id))
    told = [t for t in timers if t.purpose != "budget"]
    first = [t for t in told if t.purpose in ("retry", "wait")] or told
    if not first:
        return "working", "Works; nothing is pending yet"
    parts = [f"{purpose(machine, snapshot, t)} {due(left(t, now, awake))}" for t in first]
    return "timer", f"Waits for a timer: {_list(parts)}"


def left(timer: Timer, now: int, awake: int) -> int:
    """Microseconds of the timer's own clock until it is due; below zero when it is overdue."""
    return timer.due - (now if timer.clock == "wall" else awake)


def purpose(machine: Machine, snapshot: Snapshot, timer: Timer) -> str:
    """What a timer will do when it fires."""
    match timer.purpose:
        case "after":
            declared = machine.timers.get(timer.id)
            delay = f"after {duration(declared.delay)}: " if declared else ""
            return f"{delay}leave `{timer.state}`"
        case "retry":
            act = snapshot.activations.get(timer.state)
            who = (act.use if act else "") or "the model"
            return f"ask {who} again (attempt {act.attempt + 1 if act else '?'})"
        case "wait":
            return f"end the wait of `{timer.state}`"
        case "outbox":
            return "look for the network again"
        case "expiry":
            return "give up what waits for the network"
        case _:
            return "end the time budget"


def budget_state(
    machine: Machine, snapshot: Snapshot, which: str, awake: int
) -> tuple[int, int | None]:
    """What is used of a budget and its limit (extensions included, None without one)."""
    usage = snapshot.usage
    used = {"turns": usage.turns, "tokens": usage.tokens, "usd": usage.cost, "elapsed": awake}
    declared: int | None = getattr(machine.budgets, which)
    if declared is None:
        return used[which], None
    limit = declared + snapshot.extended.get(which, 0)
    timer = snapshot.timers.get("budget")
    if which == "elapsed" and timer is not None:
        return limit - (timer.due - awake), limit
    return used[which], limit


def routed(machine: Machine, snapshot: Snapshot, event: str) -> bool:
    """Whether an active state has a transition for an event (guards are not asked)."""
    return any(
        matches(descriptor, event)
        for path in snapshot.configuration
        for number in machine.states[path].transitions
        for descriptor in machine.transitions[number].on
    )


def _at_rest(machine: Machine, snapshot: Snapshot, rest: Rest, awake: int) -> str:
    """Why nothing will happen by itself."""
    match rest.reason:
        case "stuck":
            return f"Stuck: {rest.detail}"
        case "finished":
            return f"Finished in `{rest.state}`"
        case "failed":
            return f"Failed: rests in `{rest.state}`"
        case "budget":
            return _budget_spent(machine, snapshot, rest.detail, awake)
        case "approval":
            return _approval(snapshot)
        case "interrupted":
            return f"Interrupted: waits for {_news(machine, snapshot)}"
        case "suspended":
            return f"Suspended: waits for {_news(machine, snapshot)}"
        case "input":
            return "Waits for a message"
        case "outbox":
            return f"Waits in the outbox for the network, to ask {rest.detail}"
        case _:
            return f"Idle in `{rest.state}`: waits for {_news(machine, snapshot)}"


def _budget_spent(machine: Machine, snapshot: Snapshot, which: str, awake: int) -> str:
    """`Turn budget spent (60 of 60)`."""
    used, limit = budget_state(machine, snapshot, which, awake)
    name = BUDGET_WORDS.get(which, f"Budget {which}")
    if limit is None:
        return f"{name} spent"
    return f"{name} spent ({amount(which, used)} of {amount(which, limit)})"


def _approval(snapshot: Snapshot) -> str:
    """Which calls a person has to answer."""
    calls = sorted(snapshot.calls.values(), key=lambda c: (c.seq, c.index))
    waiting = [_asked(c) for c in calls if c.status in ("asked", "lost")]
    return f"Waits for a person: {_list(waiting) or 'no call is asked'}"


def _asked(call: Call) -> str:
    """One call that waits for a person, and why."""
    why = f": {call.reason}" if call.reason else ""
    if call.status == "lost":
        return f"call {call.id} `{call.tool}` (lost{why}; was it done, run it again, or give up?)"
    rule = f"asked by rule {call.rule}" if call.rule else "asked"
    return f"call {call.id} `{call.tool}` ({rule}{why})"


def _news(machine: Machine, snapshot: Snapshot) -> str:
    """The commands and host events that lead on from here, in words."""
    found = [
        words
        for event, words in _NEWS.items()
        if routed(machine, snapshot, event) and (event != "rollback.chosen" or snapshot.boundaries)
    ]
    if not found:
        return "an event the spec does not name: no command leads on from here"
    head, last = found[:-1], found[-1]
    return f"{', '.join(head)}, or {last}" if head else last


def _working(snapshot: Snapshot, now: int) -> str:
    """What is under way; cancelled work first, for nothing starts before it has settled."""
    pending = list(snapshot.pending.values())
    cancelling = [p for p in pending if p.status == "cancelling"]
    if cancelling:
        told = [f"{what(p.effect)}, for {duration(now - p.at)}" for p in cancelling]
        return f"Waits for cancelled work to settle: {_list(told)}"
    return f"Waits for {_list([_under_way(p, now) for p in pending])}"


def _under_way(pending: Pending, now: int) -> str:
    """One thing that is under way, and for how long."""
    return f"{_answerer(pending.effect)}, for {duration(now - pending.at)}"


def _answerer(effect: Effect) -> str:
    """Who has to answer an effect."""
    match effect:
        case CallModel():
            profile = f", smaller profile {effect.profile}" if effect.profile else ""
            return f"the model {effect.model} ({effect.use}), attempt {effect.attempt}{profile}"
        case DecideCalls():
            return f"the gate to decide {plural(len(effect.calls), 'call')}"
        case RunTool():
            return f"the tool `{effect.tool}` (call {effect.call})"
        case CompactContext():
            return "the conversation to be made smaller"
        case TakeBoundary():
            return f"the workspace to be recorded (boundary {effect.boundary})"
        case SurveyHost():
            return "the host to be looked at (network, memory)"
        case RestoreBoundary():
            return f"the workspace to be put back (boundary {effect.boundary})"
        case Perform():
            return f"`{effect.kind}`"
        case Cancel():
            return f"{effect.target} to be cancelled"
        case _:
            assert_never(effect)


def _list(parts: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(parts) - MOST
    return "; ".join(parts[:MOST]) + (f"; and {more} more" if more > 0 else "")
