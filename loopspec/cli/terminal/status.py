"""Status: where the session stands, in one or two lines of any width."""

from typing import Final

from loopspec.drivers.session import Session
from loopspec.machine.rest import resting
from loopspec.views.waits import budget_state, waits
from loopspec.views.words import cells, duration, money, printable

PREFIX: Final = ("Waits for ", "Waits ")
GAP: Final = " · "
_SUFFIX: Final = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


def activity(session: Session) -> tuple[bool, str]:
    """Whether something goes on by itself, and what the session waits for, with how long already."""
    now, awake = session.clock.now(), session.awake_now()
    machine, snapshot = session.machine, session.snapshot
    reason, words = waits(machine, snapshot, now, awake)
    busy = reason in ("working", "timer")
    rest = resting(machine, snapshot)
    if rest is not None and rest.reason == "approval":
        since = snapshot.entered.get(rest.state, now)
        return False, f"Waits for your answer, for {duration(now - since)}"
    for prefix in PREFIX if busy else ():
        if words.startswith(prefix):
            words = words.removeprefix(prefix)
            break
    return busy, words


def status(session: Session, width: int) -> str:
    """State, turn, tokens, money and how full the window is: as much as fits, in that order of
    importance: state, turn, window, money, tokens."""
    machine, snapshot = session.machine, session.snapshot
    usage = snapshot.usage
    turn, most = budget_state(machine, snapshot, "turns", snapshot.awake)
    state = snapshot.configuration[-1] if snapshot.configuration else "not started"
    if cells(state) > width:
        state = state.rpartition(".")[2]
    parts = {
        "state": state,
        "turn": f"turn {turn} of {most}" if most is not None else f"turn {turn}",
        "tokens": f"{short(usage.tokens)} tokens",
        "cost": money(usage.cost, usage.unpriced).replace("unknown", "cost unknown"),
        "window": _window(session),
    }
    shown = {name: text for name, text in parts.items() if text}
    for name in ("tokens", "cost", "window", "turn"):
        if _size(shown) <= width:
            break
        shown.pop(name, None)
    return printable(GAP.join(shown.values()), width)


def _size(parts: dict[str, str]) -> int:
    """Columns of the parts with their gaps."""
    return sum(cells(p) for p in parts.values()) + len(GAP) * (len(parts) - 1)


def _window(session: Session) -> str:
    """How full the active model's window is, in percent; empty when its size is not known."""
    machine, snapshot = session.machine, session.snapshot
    named = [machine.states[p].model for p in snapshot.configuration if machine.states[p].model]
    for name in [*named, *machine.models]:
        declared = machine.models.get(name)
        if declared is None:
            continue
        size = machine.context.window or declared.window or snapshot.windows.get(name, 0)
        if size:
            return f"context {min(999, snapshot.usage.context * 100 // size)} %"
    return ""


def short(count: int) -> str:
    """`950`, `12.3k`, `2.1M`; rounded down."""
    for size, suffix in _SUFFIX:
        if count >= size:
            tenths = count * 10 // size
            return f"{tenths // 10}.{tenths % 10}{suffix}" if tenths < 1000 else f"{tenths // 10}{suffix}"
    return str(count)
