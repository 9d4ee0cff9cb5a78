"""Door: how a driver meets whoever is outside. Doors decide nothing; they show and they ask."""

from typing import Protocol

from loopspec.drivers.session import Session
from loopspec.events import ApprovalGiven, Kept, Live
from loopspec.hooks import People
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.snapshot import Call


class Door(Protocol):
    """What a driver calls. None of these may raise or block the loop, except `at_rest`."""

    people: People | None

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed."""

    def live(self, event: Live) -> None:
        """A live event, at once."""

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """A command was refused."""

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """The session rests: what to tell it, or None to leave it at rest. May be cancelled."""


class Nobody:
    """A door with nobody behind it: shows nothing, asks nobody, answers what it was told to.

    With `yes`, what is asked is granted (this call only). A lost call is run again only if its effect
    class is not `irreversible`: nobody should repeat such an act without looking.
    """

    people: People | None = None

    def __init__(self, *, yes: bool = False) -> None:
        """`yes`: answer approvals."""
        self.yes = yes

    def kept(self, session: Session, entry: Entry) -> None:
        """Nothing to show."""

    def live(self, event: Live) -> None:
        """Nothing to show."""

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """Nothing to show."""

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """Grant the next asked call, if told to."""
        if rest.reason == "approval" and self.yes:
            return granted(session)
        return None


def waiting_call(session: Session) -> Call | None:
    """The first call that waits for a person: one of their own, then in proposal order."""
    calls = sorted(session.snapshot.calls.values(), key=lambda c: (not c.own, c.seq, c.index))
    return next((c for c in calls if c.status in ("asked", "lost")), None)


def granted(session: Session) -> ApprovalGiven | None:
    """A yes to the first waiting call; None when only a person should say it."""
    call = waiting_call(session)
    if call is None:
        return None
    if call.status == "lost" and call.effect == "irreversible":
        return None
    answer = "grant" if call.status == "asked" else "rerun"
    return ApprovalGiven(call=call.id, args_hash=call.args_hash, answer=answer, reason="--yes")
