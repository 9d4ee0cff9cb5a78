"""The door for programs: one JSON result at the end, or every event as it happens.

Rules of this file:
1. stdout holds JSON and nothing else; one object per line.
2. Nobody is asked: what needs a person parks the session, unless `--yes` answers it.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from loopspec.cli.exits import words_of
from loopspec.cli.output import Out
from loopspec.drivers.door import Nobody
from loopspec.drivers.session import Session
from loopspec.events import Kept, Live, name_of, tag_of
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest

VERSION: Final = 1


class ProgramDoor(Nobody):
    """Writes events (if `stream`) and a result object to stdout."""

    def __init__(self, *, yes: bool, stream: bool) -> None:
        """`stream`: write every event, not only the result."""
        super().__init__(yes=yes)
        self._stream = stream
        self._out = Out(sys.stdout)
        self._begun = 0
        self._first = 0
        self.session = ""

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the reader has gone."""
        self._out.when_gone(call)

    def opened(self, session: Session, driver: Any) -> None:
        """The session is about to run."""
        self._begun = session.clock.awake()
        self._first, self.session = session.snapshot.seq + 1, session.id
        if self._stream:
            self._line({"kind": "opened", "session": session.id, "name": session.machine.name})

    def kept(self, session: Session, entry: Entry) -> None:
        """One line for an entry."""
        if not self._stream:
            return
        self._line(
            {
                "kind": "kept",
                "session": session.id,
                "seq": entry.seq,
                "at": entry.at,
                "by": entry.by,
                "name": name_of(entry.event),
                "event": msgspec.to_builtins(entry.event),
                "outcome": entry.outcome,
                "state": list(session.snapshot.configuration),
                "said": [msgspec.to_builtins(s) for s in entry.record.said if s.to != "log"],
            }
        )

    def live(self, event: Live) -> None:
        """One line for a live event."""
        if self._stream:
            data = {"kind": "live", "name": tag_of(type(event)), "event": msgspec.to_builtins(event)}
            self._line(data, live=True)

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """One line for a refusal."""
        if self._stream:
            self._line(
                {
                    "kind": "refused",
                    "name": name_of(event),
                    "reason": reason,
                    "accepted": list(accepted),
                }
            )

    def ended(self, session: Session, rest: Rest, code: int) -> None:
        """The result object."""
        lasted = session.clock.awake() - self._begun
        self._line(result(session, rest, code, lasted, answer_of(session, self._first)))

    @property
    def gone(self) -> bool:
        """Whether the reader has gone."""
        return self._out.gone

    def close(self) -> None:
        """Write what is queued."""
        self._out.close()

    def _line(self, data: dict[str, Any], *, live: bool = False) -> None:
        """Write one JSON object."""
        text = json.dumps({"v": VERSION, **data}, ensure_ascii=False)
        self._out.write(text + "\n", live=live)


def answer_of(session: Session, first: int) -> str:
    """The newest text of the model since entry `first`, empty if it has said nothing in this run."""
    for item in reversed(session.items):
        if int(item.id.partition(".")[0]) < first:
            return ""
        if item.role == "assistant" and item.text.strip() and not item.partial:
            return item.text
    return ""


def result(
    session: Session, rest: Rest, code: int, duration: int, answer: str
) -> dict[str, Any]:
    """The result of a run as plain data; cost is USD as text, null when a price is unknown."""
    usage, snapshot = session.snapshot.usage, session.snapshot
    waiting = [
        {"call": c.id, "tool": c.tool, "status": c.status, "rule": c.rule}
        for c in snapshot.calls.values()
        if c.status in ("asked", "lost")
    ]
    return {
        "kind": "result",
        "status": rest.reason,
        "exit": int(code),
        "session": session.id,
        "state": list(snapshot.configuration),
        "answer": answer,
        "detail": words_of(session.machine, snapshot, rest),
        "turns": usage.turns,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "calls": usage.calls,
        },
        "cost_usd": None if usage.unpriced else f"{usage.cost / 1e9:.9f}",
        "duration_seconds": round(duration / 1e6, 3),
        "waiting": waiting,
    }
