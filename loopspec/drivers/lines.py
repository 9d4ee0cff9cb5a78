"""Lines: what a program sees of a run, one typed object after the other. The contract of
`--output-format stream-json`, of `json`, and of the Python API.

Rules of this file:
1. The first line is `opened`, the last one `result`; what is kept comes whole and in order of `seq`,
   what is live may be missing where a reader was slow.
2. Within version 1 a line, an event or a result may get more fields, and there may be more events,
   live events, statuses and outcomes. No field is taken away, renamed, or given another type or
   meaning. A reader passes over what it does not know.
3. No floats but durations; money is USD as text, exact to a billionth; times are UTC microseconds.
"""

from typing import Any, Final, TypeAlias

import msgspec

from loopspec.event_live import Live
from loopspec.events import Kept, name_of, tag_of
from loopspec.journal.entry import Entry
from loopspec.record import Said
from loopspec.snapshot import Snapshot

VERSION: Final = 1
SCHEMA_FILE: Final = "schemas/events-1.schema.json"


class _Line(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """Base of every line."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a line's parts."""


class Opened(_Line, frozen=True, tag="opened"):
    """The session is about to run. `machine` is the digest of its compiled spec, `resumed` whether
    it had begun before this run; `state` is where it stands, outermost state first."""

    session: str
    name: str
    version: str = ""
    machine: str = ""
    workdir: str = ""
    resumed: bool = False
    state: tuple[str, ...] = ()
    v: int = VERSION


class KeptLine(_Line, frozen=True, tag="kept"):
    """An entry of the journal was committed. `at` is UTC microseconds, `by` says who brought the
    event; `outcome` is `moved` or `noted`; `state` is where the session stands after it; `said` are
    texts the spec said, to a person or to the model."""

    session: str
    seq: int
    at: int
    by: str
    name: str
    event: Kept
    outcome: str
    state: tuple[str, ...] = ()
    said: tuple[Said, ...] = ()
    v: int = VERSION


class LiveLine(_Line, frozen=True, tag="live"):
    """A piece of a stream, shown at once and not journaled. May be missing for a slow reader."""

    session: str
    name: str
    event: Live
    v: int = VERSION


class RefusedLine(_Line, frozen=True, tag="refused"):
    """A command was not taken and changed nothing: which, why, and which would be taken now."""

    session: str
    name: str
    reason: str
    accepted: tuple[str, ...] = ()
    v: int = VERSION


class Tokens(_Part, frozen=True):
    """What the session has consumed since it began: tokens in and out, tool calls that ran."""

    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0


class Denial(_Part, frozen=True):
    """A call that was denied in this run. `rule` is the rule's name, `person` for a person's no,
    `gate-failed` where the gate itself failed."""

    call: str
    tool: str
    rule: str
    reason: str = ""


class WaitingCall(_Part, frozen=True):
    """A call that waits for a person. `status`: `asked` (may it run?) or `lost` (nobody knows whether
    it happened). `args` is JSON text of an object; `rule` is the rule that asks."""

    call: str
    tool: str
    status: str
    rule: str = ""
    reason: str = ""
    args: str = "{}"


class Fault(_Part, frozen=True):
    """What stopped the run from outside the loop: where, what, and what helps."""

    place: str
    fault: str
    remedy: str


class Result(_Line, frozen=True, tag="result"):
    """How the run ended.

    `status`: `finished`, `input` (at rest, takes a message), `idle`, `approval`, `interrupted`,
    `suspended`, `budget`, `stuck`, `failed`, or `error` with `error` set. `exit` is the exit code.
    `answer` is the newest text of the model in this run. With an output schema, `output` is the
    answer's JSON value when it conforms, and `faults` say why it does not. `detail` says the end in
    words. `turns`, `usage` and `cost_usd` count since the session began (`cost_usd` is null when a
    price is unknown); `duration_seconds` and `denials` are this run's. `waiting` are the calls that
    wait for a person, `accepts` the commands that would be taken now.
    """

    status: str
    exit: int
    session: str
    state: tuple[str, ...] = ()
    answer: str = ""
    output: Any = None
    faults: tuple[str, ...] = ()
    detail: str = ""
    turns: int = 0
    usage: Tokens = Tokens()
    cost_usd: str | None = None
    duration_seconds: float = 0.0
    denials: tuple[Denial, ...] = ()
    waiting: tuple[WaitingCall, ...] = ()
    accepts: tuple[str, ...] = ()
    error: Fault | None = None
    v: int = VERSION


Line: TypeAlias = Opened | KeptLine | LiveLine | RefusedLine | Result


def kept_line(entry: Entry, snapshot: Snapshot) -> KeptLine:
    """The line of an entry that was just committed; `snapshot` is where the session stands after."""
    return KeptLine(
        session=snapshot.session,
        seq=entry.seq,
        at=entry.at,
        by=entry.by,
        name=name_of(entry.event),
        event=entry.event,
        outcome=entry.outcome,
        state=snapshot.configuration,
        said=tuple(s for s in entry.record.said if s.to != "log"),
    )


def live_line(session: str, event: Live) -> LiveLine:
    """The line of a live event."""
    return LiveLine(session=session, name=tag_of(type(event)), event=event)


def plain(line: Line) -> dict[str, Any]:
    """A line as plain data."""
    made: dict[str, Any] = msgspec.to_builtins(line)
    return made
