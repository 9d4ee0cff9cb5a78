"""Resuming: what to tell a session when a person wants it to go on."""

from collections.abc import Sequence
from typing import Final

from loopspec.drivers.session import Session
from loopspec.errors import UsageError
from loopspec.events import BudgetExtended, HostWoke, Kept, UserMessage, UserResumed
from loopspec.machine.dispatch import finished
from loopspec.machine.rest import resting
from loopspec.machine.step import accepted, routable
from loopspec.spec.literals import count, duration, usd

_READERS: Final = {"turns": count, "tokens": count, "usd": usd, "elapsed": duration}


def extensions(given: Sequence[str]) -> list[BudgetExtended]:
    """`turns=20`, `tokens=100000`, `usd=1.50`, `elapsed=30m`; raises `UsageError`."""
    out: list[BudgetExtended] = []
    for item in given:
        which, sep, text = item.partition("=")
        reader = _READERS.get(which)
        amount = reader(text) if reader is not None and sep else None
        if amount is None or amount <= 0:
            raise UsageError(
                f"`--extend {item}` cannot be read",
                remedy="write turns=20, tokens=100000, usd=1.50 or elapsed=30m",
            )
        out.append(BudgetExtended(which=which, amount=amount))
    return out


def first_events(
    session: Session, prompt: str | None, more: Sequence[BudgetExtended] = ()
) -> list[tuple[Kept, str]]:
    """The events that make a resting session go on: budgets, a message, a waking, or `user.resumed`.

    A session that was killed at work needs none: what is pending starts again by itself. One that an
    extension moves needs no `user.resumed` after it.
    """
    machine, snapshot = session.machine, session.snapshot
    rest = resting(machine, snapshot)
    out: list[tuple[Kept, str]] = [(event, "person") for event in more]
    moved = bool(more) and "budget.extended" in routable(machine, snapshot)
    if rest is not None and rest.reason in ("suspended", "outbox"):
        out.append((HostWoke(gap=max(0, session.clock.now() - snapshot.at)), "host"))
    elif (
        rest is not None
        and prompt is None
        and not moved
        and rest.reason in ("interrupted", "failed", "stuck", "budget", "idle")
        and "user.resumed" in accepted(machine, snapshot)
    ):
        out.append((UserResumed(), "person"))
    if prompt is not None:
        out.append((UserMessage(text=plain_prompt(prompt)), "person"))
    return out


def plain_prompt(prompt: str) -> str:
    """The prompt, if it is a text; raises `UsageError`."""
    if not prompt.strip():
        raise UsageError("`--prompt` is empty")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UsageError("`--prompt` is no UTF-8 text") from None
    return prompt


def check_prompt(session: Session, prompt: str | None) -> None:
    """Refuse a message that nobody could ever read; raises `UsageError`."""
    if prompt is None:
        return
    plain_prompt(prompt)
    if finished(session.machine, session.snapshot):
        raise UsageError(f"session {session.id} has finished", remedy="start a new one")
