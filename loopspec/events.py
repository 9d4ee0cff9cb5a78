"""Events: facts in the past tense. One closed tagged union; each event is KEPT or LIVE.

Rules of this file:
1. A *command* is what a person or a program asks; only commands can be refused.
2. A *fact* is what happened (an answer, a timer, a host event); facts are never refused.
3. A *derived* event is raised inside `step`; it is never journaled as an entry of its own, it
   stands in the entry of the command or fact that caused it.
4. A *live* event goes straight to whoever watches and never reaches `step`.
5. No floats: money is integer nano-USD, time integer microseconds, free JSON is JSON text, so that
   hashed bytes are the same everywhere.
6. A field that joins an event which older journals hold is written only when it says something
   (`omit_defaults`, and the older defaults behind `always`): so their entries go out again as they came.
"""

from typing import Final, TypeAlias, get_args

import msgspec

from loopspec.event_base import (
    Decision as Decision,
)
from loopspec.event_base import (
    EventBase as EventBase,
)
from loopspec.event_base import (
    Mask as Mask,
)
from loopspec.event_base import (
    ProposedCall as ProposedCall,
)
from loopspec.event_base import (
    TokenUsage as TokenUsage,
)
from loopspec.event_base import (
    always,
)
from loopspec.event_commands import (
    ApprovalGiven as ApprovalGiven,
)
from loopspec.event_commands import (
    BudgetExtended as BudgetExtended,
)
from loopspec.event_commands import (
    Command as Command,
)
from loopspec.event_commands import (
    CompactionRequested as CompactionRequested,
)
from loopspec.event_commands import (
    ModelChosen as ModelChosen,
)
from loopspec.event_commands import (
    RollbackChosen as RollbackChosen,
)
from loopspec.event_commands import (
    UserCalled as UserCalled,
)
from loopspec.event_commands import (
    UserInterrupted as UserInterrupted,
)
from loopspec.event_commands import (
    UserMessage as UserMessage,
)
from loopspec.event_commands import (
    UserResumed as UserResumed,
)
from loopspec.event_commands import (
    UserWithdrew as UserWithdrew,
)
from loopspec.event_derived import (
    ApprovalDenied as ApprovalDenied,
)
from loopspec.event_derived import (
    ApprovalGranted as ApprovalGranted,
)
from loopspec.event_derived import (
    BudgetExhausted as BudgetExhausted,
)
from loopspec.event_derived import (
    ContextPressed as ContextPressed,
)
from loopspec.event_derived import (
    Derived as Derived,
)
from loopspec.event_derived import (
    ErrorExecution as ErrorExecution,
)
from loopspec.event_derived import (
    GateAllowed as GateAllowed,
)
from loopspec.event_derived import (
    GateAsked as GateAsked,
)
from loopspec.event_derived import (
    GateDenied as GateDenied,
)
from loopspec.event_derived import (
    ModelFailed as ModelFailed,
)
from loopspec.event_derived import (
    ModelOverloaded as ModelOverloaded,
)
from loopspec.event_derived import (
    ModelRateLimited as ModelRateLimited,
)
from loopspec.event_derived import (
    Raised as Raised,
)
from loopspec.event_derived import (
    ToolsSettled as ToolsSettled,
)
from loopspec.event_derived import (
    WaitOver as WaitOver,
)
from loopspec.event_live import (
    CallDelta as CallDelta,
)
from loopspec.event_live import (
    EffectStarted as EffectStarted,
)
from loopspec.event_live import (
    Live as Live,
)
from loopspec.event_live import (
    Progress as Progress,
)
from loopspec.event_live import (
    StreamContinued as StreamContinued,
)
from loopspec.event_live import (
    StreamDiscarded as StreamDiscarded,
)
from loopspec.event_live import (
    TextDelta as TextDelta,
)
from loopspec.event_live import (
    ThinkingDelta as ThinkingDelta,
)
from loopspec.event_live import (
    ToolOutput as ToolOutput,
)
from loopspec.event_model import (
    AttemptFailed as AttemptFailed,
)
from loopspec.event_model import (
    ContextCompacted as ContextCompacted,
)
from loopspec.event_model import (
    ContextStuck as ContextStuck,
)
from loopspec.event_model import (
    ModelOverflowed as ModelOverflowed,
)
from loopspec.event_model import (
    ModelReplied as ModelReplied,
)

# ---------------------------------------------------------------- facts


class SessionStarted(EventBase, frozen=True, tag="session.started"):
    """Entry 0. `machine` is the digest of the compiled machine, which is kept as a blob.

    `inputs` is JSON text. `windows` gives each model's context window in tokens (0: unknown).
    """

    machine: str
    inputs: str = "{}"
    workdir: str = ""
    windows: dict[str, int] = {}
    versions: dict[str, str] = {}
    parent: str = ""


class HostSuspended(EventBase, frozen=True, tag="host.suspended"):
    """The host asks the session to park: it is going to sleep or ending the process."""

    reason: str = ""


class HostWoke(EventBase, frozen=True, tag="host.woke"):
    """The host is back; `gap` is how long it was away, in microseconds."""

    gap: int = 0


class TimerFired(EventBase, frozen=True, tag="timer.fired"):
    """A timer came due; `late` is by how many microseconds. Unarmed timers are noted."""

    timer: str
    late: int = 0


class EffectClaimed(EventBase, frozen=True, tag="effect.claimed"):
    """About to start an effect that may not be repeated. Committed before the act."""

    effect: str


class EffectLost(EventBase, frozen=True, tag="effect.lost"):
    """Claimed, and no answer will come: nobody knows whether it happened."""

    effect: str
    reason: str = ""
    partial: str = ""


class EffectCancelled(EventBase, frozen=True, tag="effect.cancelled"):
    """A cancelled effect has settled. `started` tells whether it had begun; `partial` is kept."""

    effect: str
    started: bool = True
    partial: str = ""
    usage: TokenUsage = TokenUsage()
    tokens: int = 0


class EffectFailed(EventBase, frozen=True, omit_defaults=True, tag="effect.failed"):
    """A performer could not do its work at all. Gates read this as a denial.

    `usage` is what the models it had asked until then have consumed.
    """

    effect: str
    reason: str
    usage: TokenUsage = TokenUsage()


class EffectAnswered(EventBase, frozen=True, omit_defaults=True, tag="effect.answered"):
    """An ending of a plugin's own kind: `name` as its kind declares it, `data` as JSON text.

    `usage` is what the models it has asked consumed. What went through `World.ask` is counted by the
    driver; a performer adds what it consumed by other ways.
    """

    effect: str
    name: str
    data: str = always("{}")
    usage: TokenUsage = TokenUsage()


class GateDecided(EventBase, frozen=True, tag="gate.decided"):
    """The gate answered for each proposed call. A call it does not name is denied."""

    effect: str
    decisions: list[Decision] = []


class ToolAnswered(EventBase, frozen=True, tag="tool.answered"):
    """A tool call ended. `status`: `ok`, `error` or `timeout`; `blob` holds the whole output when
    `output` is only its head and tail."""

    effect: str
    call: str
    status: str
    output: str = ""
    blob: str = ""
    duration: int = 0
    tokens: int = 0


class BoundaryTaken(EventBase, frozen=True, tag="boundary.taken"):
    """The workspace was recorded; `ref` is what restores it."""

    effect: str
    boundary: str
    ref: str
    method: str = ""


class BoundaryFailed(EventBase, frozen=True, tag="boundary.failed"):
    """The workspace could not be recorded: nothing that writes has started."""

    effect: str
    reason: str = ""


class HostSurveyed(EventBase, frozen=True, tag="host.surveyed"):
    """How the host stands: whether there is a network, and the free memory in bytes (-1: unknown).

    `why` says in words how the network is known.
    """

    effect: str
    network: bool = False
    memory: int = -1
    why: str = ""


class RollbackDone(EventBase, frozen=True, tag="rollback.done"):
    """The workspace equals the boundary's record again; `changed` lists the paths put back."""

    effect: str
    boundary: str = ""
    changed: list[str] = []


class RollbackPartial(EventBase, frozen=True, tag="rollback.partial"):
    """The workspace was put back, but these acts since the boundary cannot be undone."""

    effect: str
    boundary: str = ""
    changed: list[str] = []
    remaining: list[str] = []


class RollbackFailed(EventBase, frozen=True, tag="rollback.failed"):
    """The workspace could not be put back."""

    effect: str
    reason: str = ""


Answer: TypeAlias = (
    EffectLost
    | EffectCancelled
    | EffectFailed
    | EffectAnswered
    | ModelReplied
    | ModelOverflowed
    | AttemptFailed
    | GateDecided
    | ToolAnswered
    | ContextCompacted
    | ContextStuck
    | BoundaryTaken
    | BoundaryFailed
    | HostSurveyed
    | RollbackDone
    | RollbackPartial
    | RollbackFailed
)
"""Facts that answer an effect and carry its id."""

Fact: TypeAlias = SessionStarted | HostSuspended | HostWoke | TimerFired | EffectClaimed | Answer
Kept: TypeAlias = Command | Fact
Event: TypeAlias = Kept | Derived

COMMANDS: Final[tuple[type, ...]] = get_args(Command)
FACTS: Final[tuple[type, ...]] = get_args(Fact)
DERIVED: Final[tuple[type, ...]] = get_args(Derived)
LIVE: Final[tuple[type, ...]] = get_args(Live)


def name_of(event: Event | Live) -> str:
    """The name by which specs route this event (for a raised event, the name it was given)."""
    if isinstance(event, Raised):
        return event.name
    return tag_of(type(event))


def tag_of(kind: type) -> str:
    """The tag of an event class, e.g. `model.replied`."""
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]


BY_NAME: Final[dict[str, type]] = {
    tag_of(kind): kind for kind in COMMANDS + FACTS + DERIVED if kind is not Raised
}


class Stamped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event with its stamps, as `step` receives it.

    `at` is UTC microseconds; `awake` is microseconds the session's machine was awake, monotone and
    continued over restarts; `by` says who (`person`, `model`, `timer`, `driver`, a tool's name…).
    """

    at: int
    awake: int
    by: str
    event: Kept
