"""Commands: what a person, or a program that asks for one, tells a session. Only these can be refused."""

from typing import TypeAlias

from loopspec.event_base import EventBase, always


class UserMessage(EventBase, frozen=True, tag="user.message"):
    """A person (or program) said something. Never refused: unrouted it joins the inbox."""

    text: str
    tokens: int = 0


class UserWithdrew(EventBase, frozen=True, tag="user.withdrew"):
    """A person takes back a message that still waits in the inbox.

    `message` is the sequence of the entry it stands in. Refused once the message has been taken.
    """

    message: int


class UserCalled(EventBase, frozen=True, tag="user.called"):
    """A person's own call of a declared tool. It goes through the same gate as the model's calls.

    `args` is canonical JSON text of an object. A rule that asks is answered by whoever calls, a deny
    denies. The result reaches the model as a message of the person. Refused where nothing routes it.
    """

    tool: str
    args: str = "{}"


class UserInterrupted(EventBase, frozen=True, tag="user.interrupted"):
    """A person wants the work to stop now."""

    reason: str = ""


class UserResumed(EventBase, frozen=True, tag="user.resumed"):
    """A person wants the work to go on."""


class ApprovalGiven(EventBase, frozen=True, omit_defaults=True, tag="approval.given"):
    """A person's answer for one call that was asked or lost.

    `answer`: `grant` or `deny` for an asked call; `done`, `rerun` or `abandon` for a lost one.
    `args_hash` is that of the arguments the person saw. `scope` says what a grant covers: `call` (this
    call, once), `exact` (these very arguments, for the session), `limited` (this tool, as long as every
    path matches one of the globs `paths` and the whole command one of `commands`, as in an `allow`
    rule) or `tool` (this tool, for the session). `lasts` is after how many microseconds the grant
    expires, 0 for never. `args`, if any, is what the person made of the arguments (canonical JSON text
    of an object): the call runs with those, and its result says so.
    """

    call: str
    args_hash: str
    answer: str
    scope: str = always("call")
    reason: str = always("")
    args: str = ""
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    lasts: int = 0


class BudgetExtended(EventBase, frozen=True, tag="budget.extended"):
    """A person allows more: `amount` in the budget's own unit (turns, tokens, nano-USD, µs)."""

    which: str
    amount: int


class ModelChosen(EventBase, frozen=True, tag="model.chosen"):
    """A person wants another model behind a declared name, from the next call on.

    `model` is the declared name, `use` what litellm calls the model (empty: the declared one again).
    `window` is the new model's, in tokens, and `priced` whether its price is known: the driver finds
    both out before it tells.
    """

    model: str
    use: str = ""
    window: int = 0
    priced: bool = False


class CompactionRequested(EventBase, frozen=True, tag="compaction.requested"):
    """A person wants the view made smaller now. Refused where nothing routes it."""


class RollbackChosen(EventBase, frozen=True, tag="rollback.chosen"):
    """A person wants the workspace back at a boundary (empty: the newest)."""

    boundary: str = ""


Command: TypeAlias = (
    UserMessage
    | UserWithdrew
    | UserCalled
    | UserInterrupted
    | UserResumed
    | ApprovalGiven
    | BudgetExtended
    | ModelChosen
    | CompactionRequested
    | RollbackChosen
)
