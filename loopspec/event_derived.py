"""Derived events: raised inside `step`, never journaled as entries of their own."""

from typing import TypeAlias

from loopspec.event_base import EventBase


class GateAllowed(EventBase, frozen=True, tag="gate.allowed"):
    """Nothing is asked and at least one call is allowed."""

    allowed: int = 0
    denied: int = 0


class GateAsked(EventBase, frozen=True, tag="gate.asked"):
    """At least one call needs a person."""

    asked: int = 0


class GateDenied(EventBase, frozen=True, tag="gate.denied"):
    """No call may run."""

    denied: int = 0


class ApprovalGranted(EventBase, frozen=True, tag="approval.granted"):
    """Every asked call has an answer and at least one call may run."""

    granted: int = 0


class ApprovalDenied(EventBase, frozen=True, tag="approval.denied"):
    """Every asked call has an answer and none may run."""

    denied: int = 0


class ToolsSettled(EventBase, frozen=True, tag="tools.settled"):
    """Every runnable call has a result."""

    ok: int = 0
    failed: int = 0


class ModelFailed(EventBase, frozen=True, tag="model.failed"):
    """Every attempt of every declared model failed."""

    reason: str = ""
    detail: str = ""
    attempts: int = 0


class ModelRateLimited(EventBase, frozen=True, tag="model.rate_limited"):
    """A provider wants fewer requests. A notice: whoever does not route it by name waits and tries again.

    `attempts` of the call have failed so far; `wait` is until the next one, in microseconds (0: another
    model is asked at once, or none). Routing it with a target leaves the state, and ends the call.
    """

    use: str = ""
    detail: str = ""
    attempts: int = 0
    wait: int = 0


class ModelOverloaded(EventBase, frozen=True, tag="model.overloaded"):
    """A provider cannot keep up. A notice: who does not route it by its own name waits and tries again.

    Its fields are those of `model.rate_limited`.
    """

    use: str = ""
    detail: str = ""
    attempts: int = 0
    wait: int = 0


class ContextPressed(EventBase, frozen=True, tag="context.pressed"):
    """The view is too large for the next model call."""

    tokens: int = 0
    window: int = 0


class BudgetExhausted(EventBase, frozen=True, tag="budget.exhausted"):
    """A budget is spent: `turns`, `tokens`, `usd` or `elapsed`."""

    which: str = ""


class WaitOver(EventBase, frozen=True, tag="wait.over"):
    """The time of a `wait` state has passed."""


class ErrorExecution(EventBase, frozen=True, tag="error.execution"):
    """A guard, an assignment or a text could not be evaluated; nothing moved."""

    place: str = ""
    error: str = ""
    event: str = ""


class Raised(EventBase, frozen=True, tag="raised"):
    """An event the spec itself raised, or a `done.state.*` event; `name` is what `on` matches."""

    name: str


Derived: TypeAlias = (
    GateAllowed
    | GateAsked
    | GateDenied
    | ApprovalGranted
    | ApprovalDenied
    | ToolsSettled
    | ModelFailed
    | ModelRateLimited
    | ModelOverloaded
    | ContextPressed
    | BudgetExhausted
    | WaitOver
    | ErrorExecution
    | Raised
)
