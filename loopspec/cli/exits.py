"""Exits: what a run's rest means as an exit code, and in words."""

from loopspec.errors import Exit
from loopspec.machine.rest import Rest
from loopspec.snapshot import Snapshot

_PLAIN = {
    "finished": Exit.OK,
    "failed": Exit.FAILED,
    "stuck": Exit.FAILED,
    "approval": Exit.AWAITING_APPROVAL,
    "interrupted": Exit.INTERRUPTED,
    "suspended": Exit.SUSPENDED,
    "input": Exit.OK,
    "idle": Exit.OK,
}


def exit_of(rest: Rest, snapshot: Snapshot) -> Exit:
    """The exit code of a run that ended at this rest."""
    if rest.reason in ("budget", "input", "idle") and snapshot.spent:
        return Exit.TURN_BUDGET if snapshot.spent == "turns" else Exit.OTHER_BUDGET
    if rest.reason == "budget":
        return Exit.OTHER_BUDGET
    return _PLAIN[rest.reason]


def words_of(rest: Rest, snapshot: Snapshot) -> str:
    """The run's end in a few words."""
    session = snapshot.session
    if snapshot.spent and rest.reason in ("budget", "input", "idle"):
        more = f"loopspec resume {session} --extend {snapshot.spent}=…"
        return f"the budget for {snapshot.spent} is spent; go on with: {more}"
    match rest.reason:
        case "finished":
            return "finished"
        case "failed":
            return f"failed; try again with: loopspec resume {session}"
        case "stuck":
            return f"stuck: {rest.detail}"
        case "approval":
            return f"waits for approval; answer with: loopspec resume {session}"
        case "interrupted":
            return f"interrupted; go on with: loopspec resume {session}"
        case "suspended":
            return f"suspended; go on with: loopspec resume {session}"
        case _:
            return f"at rest; say more with: loopspec resume {session} -p TEXT"
