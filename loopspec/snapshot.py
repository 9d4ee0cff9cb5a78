"""Snapshot: where a session stands. A cache of folding the journal, never a second truth.

Rules of this file:
1. Everything here is small: bodies of messages, arguments and outputs stay in the journal. (A message in
   the inbox and a reply that broke off are here until they are shown or replaced.)
2. Every field is plain data with a canonical encoding; no floats.
3. Only `loopspec.machine` makes new snapshots; `journal.fold` applies recorded patches.
4. A field that has its default value is not written, so such a default is one of `""`, 0, 1, -1,
   False, (), {} (Python has one object of each, and msgspec compares by identity). Any other default
   stands behind a factory (`always`) and is written every time.
5. Nothing here grows with the session: what has been answered, taken or left leaves, and lists have a
   limit.
"""

import msgspec

from loopspec.effects import Effect
from loopspec.event_base import always

OPEN_STATUSES = ("proposed", "allowed", "asked", "granted", "denied", "running", "lost")


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the snapshot's parts."""


class Call(_Part, frozen=True):
    """A tool call in the ledger.

    `status` is one of `proposed, allowed, asked, granted, denied, running, lost, answered`;
    `effect` is the tool's effect class (`read`, `write`, `irreversible`); `reason` says why it was
    denied or lost; `seq` and `index` are where it was proposed, and there its arguments stand, unless a
    person changed them: then they stand in entry `edited` (-1: nobody did). `own`: it is a
    own call it is (empty: the model's). `note` is told with the result: the beginning of what a person
    ran, or of what they made of the arguments. `paths` and `command` are what an asked call acts on, as
    the gate saw it.
    """

    id: str
    tool: str
    args_hash: str
    seq: int
    index: int
    status: str = always("proposed")
    effect: str = always("irreversible")
    rule: str = ""
    reason: str = ""
    own: bool = False
    edited: int = -1
    note: str = ""
    paths: tuple[str, ...] = ()
    command: str = ""


class Grant(_Part, frozen=True):
    """A widening of authority a person gave.

    `scope` `call` binds to `args_hash` and is used once (`uses` 1). The others hold for the session
    (`uses` -1): `exact` binds to `args_hash`, `limited` to the globs `paths` and `commands`, `tool` to
    the tool alone. `expires` is UTC microseconds, 0 for never.
    """

    id: str
    scope: str
    tool: str
    args_hash: str = ""
    approver: str = ""
    expires: int = 0
    uses: int = -1
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class Usage(_Part, frozen=True):
    """What the session consumed. `cost` is nano-USD; `unpriced` counts replies of unknown price.

    `context` is the size of the next request in tokens: what was reported of the last one, and what came
    since by estimate. `scale` is what an estimated token is in reported ones, in parts per million (0:
    nothing was reported yet).
    """

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    unpriced: int = 0
    calls: int = 0
    context: int = 0
    scale: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in and out, of failed attempts too."""
        return self.input_tokens + self.output_tokens


class Timer(_Part, frozen=True):
    """A timer: `clock` is `wall` or `awake`, `due` is microseconds of that clock.

    `purpose`: `after` (raise the state's `after` transition), `retry`, `wait`, `budget`, `outbox` (look
    for the network again) or `expiry` (give up what waits for it).
    """

    id: str
    state: str
    clock: str
    due: int
    purpose: str = always("after")


class Pending(_Part, frozen=True):
    """An effect without an answer. `status` is `open`, `claimed` or `cancelling`.

    `partial` is what earlier attempts had of the reply that this cancelled one was to bring.
    """

    effect: Effect
    at: int
    status: str = always("open")
    claimed: bool = False
    partial: str = ""


class Activation(_Part, frozen=True):
    """What an active state with a kind is doing.

    `phase`: `held` (waits for cancelled work to settle), `boundary` (waits for its rollback point),
    `running` (its effects are out, or it waits for an event), `retrying` (waits to try again),
    `ended`. `attempt` counts tries of the model on the current `rung` (0: the declared one, then its
    fallbacks); `failures` counts all that failed. `own`: it is about a person's own call, and leaves
    the model's calls as they stand. `after` is the effect of the attempt that failed last, `continues`
    the journal entry of that failure if the next attempt goes on from its partial text (-1: anew).

    Of a model: `use` is the one asked now, `gone` those that had all their attempts, `waited` how long
    it waited between attempts (awake µs). `partial` is the text of a reply that broke off, kept until a
    reply replaces it or it is shown as unfinished; `stale` counts attempts that added nothing to it.

    Of a tiered one: `network` is whether there was one when the host was looked at (1, 0; -1: it was not
    looked at since a tier was last chosen), `memory` the free bytes then (-1: unknown). `queued` is since
    when (UTC µs) the work is in the outbox, 0 for not; the phase `outbox` waits there.
    """

    kind: str
    phase: str = always("held")
    since: int = 0
    boundary: str = ""
    attempt: int = 0
    rung: int = 0
    failures: int = 0
    own: bool = False
    after: str = ""
    continues: int = -1
    use: str = ""
    gone: tuple[str, ...] = ()
    waited: int = 0
    partial: str = ""
    stale: int = 0
    network: int = -1
    memory: int = -1
    queued: int = 0


class Breaker(_Part, frozen=True):
    """The circuit breaker of one model: `failures` in a row, the last one's `reason`, and until when
    (UTC µs) it is open, 0 for closed."""

    failures: int
    reason: str = ""
    until: int = 0


class Boundary(_Part, frozen=True):
    """A recorded point the workspace can be rolled back to."""

    id: str
    ref: str
    seq: int
    at: int
    state: str = ""
    method: str = ""
    remaining: tuple[str, ...] = ()


class Waiting(_Part, frozen=True):
    """A message in the inbox: it stands in journal entry `seq`."""

    seq: int
    text: str
    tokens: int = 0


class Snapshot(_Part, frozen=True):
    """Where a session stands after entry `seq`.

    `configuration` holds every active state path, ancestors included, in document order; `entered`
    when each was entered (UTC µs). `kept_timers` are due times kept over a suspension.
    `compactions` counts since the last reply; `compacted` is the seq of the entry whose step did the
    newest `Replace` of the view (-1: none did). `chosen` is the boundary a person wants back.
    `breakers` are the models that fail, by what a declaration `use`s.
    `models` is what a person chose behind a declared model's name; `formerly` what stood there before, as
    long as the view has not been made to fit the new one.
    Of the present input (see `machine.pressing`): `presses` counts pressures, `pressed` is the smallest
    window that pressed, `overflows` counts refusals for length, `squeezed` compactions that answered.
    `unsqueezed` counts compactions in a row that came to nothing. `answered` is the largest request, in
    tokens, that each model has answered.
    `stuck` says why nothing can move (empty: it can). `spent` names the exhausted budget.
    `privacy` is the highest class that a state has brought into the conversation (empty: public).
    """

    session: str
    machine: str
    seq: int = -1
    started: int = 0
    at: int = 0
    awake: int = 0
    inputs: str = always("{}")
    workdir: str = ""
    windows: dict[str, int] = {}
    privacy: str = ""
    configuration: tuple[str, ...] = ()
    history: dict[str, tuple[str, ...]] = {}
    entered: dict[str, int] = {}
    vars: dict[str, str | int | bool] = {}
    usage: Usage = always(Usage())
    extended: dict[str, int] = {}
    activations: dict[str, Activation] = {}
    pending: dict[str, Pending] = {}
    timers: dict[str, Timer] = {}
    kept_timers: dict[str, int] = {}
    calls: dict[str, Call] = {}
    grants: dict[str, Grant] = {}
    inbox: tuple[Waiting, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    marks: dict[str, int] = {}
    chosen: str = ""
    models: dict[str, str] = {}
    breakers: dict[str, Breaker] = {}
    compactions: int = 0
    compacted: int = -1
    presses: int = 0
    pressed: int = 0
    overflows: int = 0
    squeezed: int = 0
    unsqueezed: int = 0
    formerly: dict[str, str] = {}
    answered: dict[str, int] = {}
    spent: str = ""
    stuck: str = ""


class Slide(_Part, frozen=True):
    """How a list changed: `skip` items left at its front, `keep` stayed, the rest left, `add` joined."""

    skip: int = 0
    keep: int = 0
    add: tuple[msgspec.Raw, ...] = ()


class Patch(_Part, frozen=True):
    """The difference between two snapshots.

    `set` holds replaced fields, `part` the changed parts of one (`usage`); `put` and `drop` hold new
    and removed keys of map fields, `edit` the changed fields of values that stay; `slide` tells of
    lists. All values are the fields' plain data. What goes without saying is left out: see
    `codec.diff`.
    """

    set: dict[str, msgspec.Raw] = {}
    part: dict[str, dict[str, msgspec.Raw]] = {}
    put: dict[str, dict[str, msgspec.Raw]] = {}
    edit: dict[str, dict[str, dict[str, msgspec.Raw]]] = {}
    drop: dict[str, tuple[str, ...]] = {}
    slide: dict[str, Slide] = {}
