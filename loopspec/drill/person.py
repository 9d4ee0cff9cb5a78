"""Person: whoever sits before a tortured loop. Remembers nothing, looks at the journal and the world.

| what the loop waits for | what the person does |
|---|---|
| a message | says the next prompt that is not in the journal yet; then leaves |
| approval of a call | grants it, this call only |
| a word on a lost call | looks whether the act was done: `done` if it was, `rerun` if it was not |
| anything else | leaves |

Rule of this file: two persons who look at the same journal and the same world do the same.
"""

from collections.abc import Callable
from typing import Any

from loopspec.drill.acts import DONE, Acts
from loopspec.drivers.door import waiting_call
from loopspec.drivers.session import Session
from loopspec.events import (
    ApprovalGiven,
    EffectStarted,
    Kept,
    Live,
    TextDelta,
    ThinkingDelta,
    UserMessage,
)
from loopspec.hooks import People
from loopspec.journal.chain import read
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest
from loopspec.points import reach


class Person:
    """A door (see `loopspec.drivers.door.Door`) that says what it is shown to the points, too.

    With `shown`, everything is shown to that door as well (a terminal's).
    """

    people: People | None = None

    def __init__(self, prompts: tuple[str, ...], acts: Acts, shown: Any = None) -> None:
        """`prompts` are said in turn."""
        self._prompts, self._acts, self._shown = prompts, acts, shown
        self._streams: set[str] = set()

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the reader has gone."""
        if self._shown is not None:
            self._shown.on_gone(call)

    def opened(self, session: Session, driver: Any) -> None:
        """A session is about to run."""
        if self._shown is not None:
            self._shown.opened(session, driver)

    def kept(self, session: Session, entry: Entry) -> None:
        """An entry was committed and nothing of it has started."""
        reach("entry.acknowledged")
        if self._shown is not None:
            self._shown.kept(session, entry)

    def live(self, event: Live) -> None:
        """Something happens now."""
        match event:
            case EffectStarted():
                reach("effect.starts")
            case TextDelta(effect=effect) | ThinkingDelta(effect=effect):
                if effect not in self._streams:
                    self._streams.add(effect)
                    reach("stream.speaks")
            case _:
                pass
        if self._shown is not None:
            self._shown.live(event)

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """A command was refused."""
        if self._shown is not None:
            self._shown.refused(event, reason, accepted)

    async def at_rest(self, session: Session, rest: Rest) -> Kept | None:
        """What the person does now; None to leave."""
        match rest.reason:
            case "approval":
                return self._approve(session)
            case "input":
                said = _said(session)
                return UserMessage(text=self._prompts[said]) if said < len(self._prompts) else None
            case _:
                return None

    def _approve(self, session: Session) -> Kept | None:
        call = waiting_call(session)
        if call is None:
            return None
        if call.status == "asked":
            return ApprovalGiven(call=call.id, args_hash=call.args_hash, answer="grant")
        done = DONE in self._acts.phases(call.id)
        answer = "done" if done else "rerun"
        return ApprovalGiven(
            call=call.id, args_hash=call.args_hash, answer=answer, reason="looked at the world"
        )


def _said(session: Session) -> int:
    """How many messages of the person the journal holds."""
    entries = map(read, session.store.entries(session.id))
    return sum(isinstance(entry.event, UserMessage) for entry in entries)
