"""Explanation: everything `explain` has to say about a session, as plain data.

Rules of this file:
1. Plain data with a canonical encoding: money nano-USD, times microseconds, no floats.
2. Texts are as they stand in the session; whoever prints them makes them printable.
3. `place` is `file:line`; `since` and `at` are UTC microseconds; `age` and `left` are microseconds
   relative to the moment of explaining (`left` below zero: overdue).
"""

import msgspec


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the explanation's parts."""


class ActiveState(_Part, frozen=True):
    """An active leaf: its kind, what the kind does in one sentence, and the phase of its work."""

    path: str
    place: str
    kind: str = ""
    does: str = ""
    phase: str = ""
    since: int = 0
    age: int = 0


class PendingEffect(_Part, frozen=True):
    """An effect without an answer. `status` is `open`, `claimed` or `cancelling`; `attempt` counts
    from 1 for models, 0 where there are no attempts; `rung` above 0 is a fallback model. `continues` is
    the entry whose partial text an attempt goes on from, -1 for none."""

    id: str
    what: str
    state: str
    status: str
    claimed: bool
    age: int
    attempt: int = 0
    rung: int = 0
    continues: int = -1


class FailingModel(_Part, frozen=True):
    """A model whose last attempts failed: how often in a row, why the last one did. `left` is how long it
    is still left out where another one can be asked (0: it is not)."""

    use: str
    failures: int
    reason: str
    left: int = 0


class PassedModel(_Part, frozen=True):
    """A model that the present call asks no more, or did not ask: since which entry, and why."""

    seq: int
    use: str
    why: str


class ArmedTimer(_Part, frozen=True):
    """A timer: what it will do, on which clock (`wall` or `awake`), in how long."""

    id: str
    what: str
    state: str
    clock: str
    left: int


class LedgerCall(_Part, frozen=True):
    """A call in the ledger; `grant` is the living grant that covers it, empty without one."""

    id: str
    tool: str
    effect: str
    status: str
    rule: str = ""
    reason: str = ""
    grant: str = ""
    own: bool = False
    edited: bool = False


class HeldGrant(_Part, frozen=True):
    """A grant. `uses` -1 is without limit; `left` is None when it never expires; `within` are the globs
    of one within limits."""

    id: str
    scope: str
    tool: str
    args_hash: str
    approver: str
    uses: int
    left: int | None = None
    within: tuple[str, ...] = ()


class RollbackPoint(_Part, frozen=True):
    """A boundary; `remaining` lists what was done since it that cannot be undone."""

    id: str
    method: str
    state: str
    seq: int
    age: int
    remaining: tuple[str, ...] = ()


class BudgetUse(_Part, frozen=True):
    """A budget in its own unit; `limit` is None without one, `extended` is part of the limit."""

    which: str
    used: int
    limit: int | None
    extended: int = 0
    unpriced: int = 0


class ContextUse(_Part, frozen=True):
    """How full the window is, in tokens; 0 where nobody knows. `model` is whose window it is."""

    tokens: int
    window: int
    compact_at: int
    model: str = ""


class Way(_Part, frozen=True):
    """A transition that could be taken from here.

    `event` is what it answers to (`always` without one); `delay` is set for an `after`. `enters` is
    where a history target would lead now; `target` is empty for a transition that only acts.
    """

    event: str
    source: str
    place: str
    guard: str = ""
    target: str = ""
    enters: tuple[str, ...] = ()
    delay: int | None = None


class AcceptedCommand(_Part, frozen=True):
    """A command that would be taken now. `line` is the command line that sends it, empty if there
    is none; `routed` tells whether an active state has a transition for it."""

    event: str
    routed: bool
    line: str = ""


class AskedGuard(_Part, frozen=True):
    """A guard that said no or erred: in which entry, where, its text, what it gave and saw."""

    seq: int
    event: str
    place: str
    guard: str
    gave: str
    saw: str


class Hop(_Part, frozen=True):
    """A transition that was taken; `target` is empty for one that only acts."""

    event: str
    source: str
    target: str
    place: str


class LastMove(_Part, frozen=True):
    """The newest entry that moved the machine. Without hops it entered the initial state."""

    seq: int
    event: str
    by: str
    at: int
    age: int
    hops: tuple[Hop, ...] = ()


class Refusal(_Part, frozen=True):
    """A command that was refused."""

    event: str
    by: str
    why: str
    at: int
    age: int


class Explanation(_Part, frozen=True):
    """Where a session stands, why, and what would move it.

    `reason` is a reason of `machine.rest`, or `working` or `timer` while the session goes on by
    itself; `waits` says it in a sentence. `ways` are in the order they are tried; `boundaries`,
    `guards` and `refusals` have the newest first.
    """

    session: str
    spec: str
    version: str
    file: str
    machine: str
    seq: int
    started: int
    age: int
    reason: str
    waits: str
    states: tuple[ActiveState, ...] = ()
    pending: tuple[PendingEffect, ...] = ()
    timers: tuple[ArmedTimer, ...] = ()
    failing: tuple[FailingModel, ...] = ()
    passed: tuple[PassedModel, ...] = ()
    calls: tuple[LedgerCall, ...] = ()
    grants: tuple[HeldGrant, ...] = ()
    boundaries: tuple[RollbackPoint, ...] = ()
    boundary_count: int = 0
    inbox: int = 0
    budgets: tuple[BudgetUse, ...] = ()
    spent: str = ""
    context: ContextUse = ContextUse(tokens=0, window=0, compact_at=0)
    ways: tuple[Way, ...] = ()
    commands: tuple[AcceptedCommand, ...] = ()
    guards: tuple[AskedGuard, ...] = ()
    last: LastMove | None = None
    refusals: tuple[Refusal, ...] = ()
