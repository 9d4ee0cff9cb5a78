"""Record: what a step did besides the new snapshot, kept in the entry for people and views.

Rules of this file:
1. Everything a reader may ask ("why did it move?", "what does the model see now?") is here as the
   result of the step, so that nobody has to run an engine to read a journal.
2. Changes of the view name what the entry's own event holds; bodies are stored once.
3. A field that has its default value is not written (see `snapshot`, rule 4).
"""

from typing import TypeAlias

import msgspec

from loopspec.event_base import always


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of a record's parts."""


class Taken(_Part, frozen=True):
    """A transition that was taken: its index in the machine, by what, from, to, and its YAML place."""

    id: int
    event: str
    source: str
    target: str
    place: str


class Seen(_Part, frozen=True):
    """A guard that was asked: where, what it was, what it gave (`true`, `false`, `error: …`) and the
    values it read (JSON text)."""

    place: str
    guard: str
    gave: str
    saw: str = always("{}")


class Said(_Part, frozen=True):
    """A text the spec said, to a `person` or to the `model`; `log` is for the journal only."""

    text: str
    to: str
    place: str


class _View(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="op"
):
    """Base of the changes to the view."""


class AddUser(_View, frozen=True, tag="user"):
    """The message of entry `seq` becomes visible to the model."""

    seq: int
    text: str = ""


class AddText(_View, frozen=True, tag="text"):
    """A text said to the model."""

    text: str


class AddReply(_View, frozen=True, tag="reply"):
    """The reply in this entry's event; `calls` are the ledger ids of its calls, in order."""

    calls: tuple[str, ...] = ()


class AddPartial(_View, frozen=True, tag="partial"):
    """What was kept of an unfinished reply, marked as such: `text`, else what this entry's event has."""

    text: str = ""


class AddResult(_View, frozen=True, tag="result"):
    """A call's result: this entry's `tool.answered`, or `text` when the step itself answers.

    `note` comes before it: what a person made of the call's arguments.
    """

    call: str
    tool: str
    text: str | None = None
    status: str = always("ok")
    note: str = ""


class AddOwn(_View, frozen=True, tag="own"):
    """The result of a person's own call, as a message of theirs; `note` is the beginning of what they
    ran."""

    call: str
    tool: str
    text: str | None = None
    status: str = always("ok")
    note: str = ""


class Replace(_View, frozen=True, tag="replace"):
    """Compaction: the items named in this entry's event leave the view, its summary stands in."""


ViewOp: TypeAlias = AddUser | AddText | AddReply | AddPartial | AddResult | AddOwn | Replace


class Left(_Part, frozen=True):
    """A model that is asked no more in this call, or not asked at all, and why.

    `why`: `final` (no attempt could end otherwise), `attempts` (it had them all), `wait` (it asked for a
    wait of `wait` µs, longer than declared), `waited` (the call has waited as long as declared),
    `breaker` (it fails again and again; left out until `until`, UTC µs), `window` (no profile of the
    state fits its window). Of a tier: `tier` (a filter leaves it out, `reason` says which and why) or
    `escalated` (its reply did not hold, for `reason`). Else `reason` is that of the last failed attempt,
    `attempts` how many of this call failed; for `breaker` it is how many in a row.
    """

    use: str
    why: str
    reason: str = ""
    attempts: int = 0
    wait: int = 0
    until: int = 0


class Record(_Part, frozen=True):
    """What a step did besides the new snapshot."""

    taken: tuple[Taken, ...] = ()
    guards: tuple[Seen, ...] = ()
    raised: tuple[str, ...] = ()
    said: tuple[Said, ...] = ()
    marks: tuple[str, ...] = ()
    view: tuple[ViewOp, ...] = ()
    left: tuple[Left, ...] = ()
