"""Through: a door in front of a door. What it does not decide itself goes to the one behind it."""

from loopspec.drivers.door import Door
from loopspec.drivers.session import Session
from loopspec.events import Kept, Live
from loopspec.hooks import People
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest


class Through:
    """Passes everything on."""

    def __init__(self, door: Door) -> None:
        """`door` is the one behind."""
        self._door = door

    @property
    def people(self) -> People | None:
        """Whoever sits behind the last door."""
        return self._door.people

    @people.setter
    def people(self, people: People | None) -> None:
        """Seat somebody behind the last door."""
        self._door.people = people

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed."""
        self._door.kept(session, entry)

    def live(self, event: Live) -> None:
        """A live event, at once."""
        self._door.live(event)

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """A command was refused."""
        self._door.refused(event, reason, accepted)

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """What to tell the resting session."""
        return await self._door.at_rest(session, rest)
