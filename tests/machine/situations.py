"""Every kind of place the coding loop can be in, each reached by real steps from a real start."""

from collections.abc import Callable

from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BoundaryTaken,
    EffectCancelled,
    EffectClaimed,
    EffectLost,
    HostSuspended,
    ModelOverflowed,
    RollbackChosen,
    UserCalled,
    UserInterrupted,
    UserMessage,
)
from loopspec.machine.model import Budgets
from machine.builders import Run, coding


def ready() -> Run:
    """Waits for the first message."""
    return Run(coding())


def streaming() -> Run:
    """The model is asked."""
    run = ready()
    run.tell(UserMessage("do it", tokens=5))
    return run


def retrying() -> Run:
    """The first attempt failed; a retry timer is armed."""
    run = streaming()
    failed = AttemptFailed(run.effect.id, "provider", retryable=True, jitter=500_000)
    run.tell(failed, "model")
    return run


def deciding() -> Run:
    """The gate looks at a read, a command and a mail."""
    run = streaming()
    run.reply("read", "shell", "mail")
    return run


def approval() -> Run:
    """A person is asked about the command and the mail."""
    run = deciding()
    run.decide("allow", "ask", "ask")
    return run


def boundary() -> Run:
    """A rollback point is being taken before the command runs."""
    run = deciding()
    run.decide("allow", "allow", "deny")
    return run


def taken(run: Run) -> Run:
    """The rollback point that is wanted has been taken."""
    effect = run.effect
    run.tell(BoundaryTaken(effect.id, f"b{run.snapshot.seq}", "ref"), "workspace")
    return run


def tools() -> Run:
    """The read runs; the command waits for its turn."""
    return taken(boundary())


def writing() -> Run:
    """The command runs and is claimed."""
    run = tools()
    run.answer()
    run.tell(EffectClaimed(run.effect.id), "driver")
    return run


def lost() -> Run:
    """The command was lost; a person is asked what became of it."""
    run = writing()
    run.tell(EffectLost(run.effect.id, "crash"), "recovery")
    return run


def compacting() -> Run:
    """The model refused the request as too large."""
    run = streaming()
    run.tell(ModelOverflowed(run.effect.id), "model")
    return run


def cancelling() -> Run:
    """Interrupted; the command has not stopped yet."""
    run = writing()
    run.tell(UserInterrupted())
    return run


def interrupted() -> Run:
    """Interrupted; the command has stopped."""
    run = cancelling()
    (target,) = run.snapshot.pending
    run.tell(EffectCancelled(target, partial="half"), "tools")
    return run


def suspended() -> Run:
    """Parked while a person is asked."""
    run = approval()
    run.tell(HostSuspended("lid"), "host")
    return run


def rolling_back() -> Run:
    """The workspace is being put back."""
    run = interrupted()
    run.tell(RollbackChosen())
    return run


def over_budget() -> Run:
    """One turn was allowed and has been used."""
    run = Run(coding(budgets=Budgets(turns=1, elapsed=3_600_000_000)))
    run.tell(UserMessage("a"))
    run.reply(text="done")
    run.tell(UserMessage("b"))
    return run


def finished() -> Run:
    """The model said goodbye."""
    run = streaming()
    run.reply(text="bye")
    return run


def stuck() -> Run:
    """Nobody routes a lost model call."""
    run = streaming()
    run.tell(EffectLost(run.effect.id, "crash"), "recovery")
    return run


def own_judging() -> Run:
    """The model's command waits for its turn, and the gate looks at a command of the person's own."""
    run = Run(coding(own=True))
    run.tell(UserMessage("do it"))
    run.reply("read", "shell", "mail")
    run.decide("allow", "allow", "ask")
    run.tell(grant(run, "c2_2", "deny"))
    taken(run)
    run.tell(UserInterrupted())
    (target,) = run.snapshot.pending
    run.tell(EffectCancelled(target, started=False), "tools")
    run.tell(UserCalled("shell", '{"cmd":"ls"}'))
    return run


def own_running() -> Run:
    """A command of the person's own runs and is claimed."""
    run = own_judging()
    run.decide("ask")
    taken(run)
    run.tell(EffectClaimed(run.effect.id), "driver")
    return run


def own_lost() -> Run:
    """A command of the person's own was lost; they are asked what became of it."""
    run = own_running()
    run.tell(EffectLost(run.effect.id, "crash"), "recovery")
    return run


def inbox() -> Run:
    """Two messages wait while the model works."""
    run = streaming()
    run.tell(UserMessage("and this", tokens=3))
    run.tell(UserMessage("and that", tokens=3))
    return run


SITUATIONS: dict[str, Callable[[], Run]] = {
    f.__name__: f
    for f in (
        ready,
        streaming,
        retrying,
        deciding,
        approval,
        boundary,
        tools,
        writing,
        lost,
        compacting,
        cancelling,
        interrupted,
        suspended,
        rolling_back,
        over_budget,
        finished,
        stuck,
        own_judging,
        own_running,
        own_lost,
        inbox,
    )
}


def grant(run: Run, call: str, answer: str = "grant", scope: str = "call") -> ApprovalGiven:
    """A person's answer for a call that is in the ledger."""
    found = run.snapshot.calls[call]
    return ApprovalGiven(call, found.args_hash, answer, scope)
