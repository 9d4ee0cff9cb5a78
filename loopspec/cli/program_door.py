"""The door for programs: one JSON result at the end, or every event as it happens.

Rules of this file:
1. stdout holds JSON and nothing else; one object per line (see `loopspec.drivers.lines`).
2. Nobody is asked: what needs a person parks the session, unless `--yes` answers it.
3. No character of a line steers a terminal or ends the line for anybody: those are escaped.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from loopspec.cli.output import Out
from loopspec.drivers.conforming import Verdict
from loopspec.drivers.door import Nobody
from loopspec.drivers.lines import Line, Opened, RefusedLine, kept_line, live_line, plain
from loopspec.drivers.outcome import Denials, error_result, result_of
from loopspec.drivers.outcome import answer_of as answer_of
from loopspec.drivers.session import Session
from loopspec.errors import Exit, LoopspecError
from loopspec.events import Kept, Live, name_of
from loopspec.journal.entry import Entry
from loopspec.machine.rest import Rest

ESCAPED: Final = {n: f"\\u{n:04x}" for n in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


def written(line: Line) -> str:
    """A line as it is written, its end included."""
    return json.dumps(plain(line), ensure_ascii=False).translate(ESCAPED) + "\n"


class ProgramDoor(Nobody):
    """Writes events (if `stream`) and a result object to stdout."""

    def __init__(self, *, yes: bool, stream: bool) -> None:
        """`stream`: write every event, not only the result."""
        super().__init__(yes=yes)
        self._stream = stream
        self._out = Out(sys.stdout)
        self._denials = Denials()
        self._begun = 0
        self._first = 0
        self._patient = True
        self.verdict: Verdict | None = None
        self.session = ""

    def on_gone(self, call: Callable[[], Any]) -> None:
        """What to do when the reader has gone."""
        self._out.when_gone(call)

    def opened(self, session: Session, driver: Any) -> None:
        """The session is about to run."""
        snapshot, machine = session.snapshot, session.machine
        self._begun = session.clock.awake()
        self._first, self.session = snapshot.seq + 1, session.id
        self._denials.begin(session)
        self._line(
            Opened(
                session=session.id,
                name=machine.name,
                version=machine.version,
                machine=machine.digest,
                workdir=snapshot.workdir,
                resumed=snapshot.seq > 0,
                state=snapshot.configuration,
            )
        )

    def kept(self, session: Session, entry: Entry) -> None:
        """One line for an entry."""
        self._denials.kept(session, entry)
        self._line(kept_line(entry, session.snapshot))

    def live(self, event: Live) -> None:
        """One line for a live event."""
        self._line(live_line(self.session, event), live=True)

    def refused(self, event: Kept, reason: str, accepted: tuple[str, ...]) -> None:
        """One line for a refusal."""
        self._line(RefusedLine(self.session, name_of(event), reason, accepted))

    def ended(self, session: Session, rest: Rest, code: int) -> None:
        """The result object; `verdict`, if set, says what came of an answer that had to conform."""
        result = result_of(
            *(session, rest, code),
            first=self._first,
            begun=self._begun,
            denials=self._denials.all,
        )
        if self.verdict is not None:
            result = judged(result, self.verdict)
        self._patient = code != Exit.SUSPENDED
        self._out.write(written(result))

    def failed(self, err: LoopspecError) -> None:
        """The result object of a run that something outside the loop has stopped."""
        self._out.write(written(error_result(err, self.session)))

    @property
    def gone(self) -> bool:
        """Whether the reader has gone."""
        return self._out.gone

    def close(self) -> None:
        """Write what is queued, however slowly it is read; a run that was told to end waits less."""
        self._out.close(patient=self._patient)

    def _line(self, line: Line, *, live: bool = False) -> None:
        """Write one object, if every event is wanted."""
        if self._stream:
            self._out.write(written(line), live=live)


def judged(result: Any, verdict: Verdict) -> Any:
    """The result with what came of its answer; faults turn a quiet end into a failed one."""
    made = msgspec.structs.replace(result, output=verdict.value, faults=verdict.faults)
    if verdict.faults:
        made = msgspec.structs.replace(
            made, status="failed", detail="the answer does not conform to the output schema"
        )
    return made
