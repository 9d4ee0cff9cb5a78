"""Exits: what a run's rest means as an exit code, and in words."""

from loopspec.errors import Exit
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.machine.step import accepted, routable
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


def words_of(machine: Machine, snapshot: Snapshot, rest: Rest) -> str:
    """The run's end in a few words, with the command that goes on where there is one."""
    session = snapshot.session
    taken = accepted(machine, snapshot)
    resumes = f": loopspec resume {session}" if "user.resumed" in taken else ""
    if not resumes and "user.message" in routable(machine, snapshot):
        resumes = f": loopspec resume {session} -p TEXT"
    if snapshot.spent and rest.reason in ("budget", "input", "idle"):
        more = f"loopspec resume {session} --extend {snapshot.spent}=…"
        return f"the budget for {snapshot.spent} is spent; go on with: {more}"
    match rest.reason:
        case "finished":
            return "finished"
        case "failed":
            return "failed" + (f"; try again with{resumes}" if resumes else "")
        case "stuck":
            return f"stuck; look with: loopspec explain {session}"
        case "approval":
            return f"waits for approval; answer with: loopspec resume {session}"
        case "interrupted" | "suspended":
            return f"{rest.reason}; go on with: loopspec resume {session}"
        case _:
            return "at rest" + (f"; say more with{resumes}" if resumes else "")
