"""Outcome: what a run's rest means, as an exit code, in words, and as a result.

Rules of this file:
1. Exit codes follow from where the session rests, and are those of `Exit`.
2. Everything here is computed from the session; nothing is asked and nothing is changed.
"""

from collections.abc import Iterable
from typing import Final

from loopspec.drivers.lines import Denial, Fault, Result, Tokens, WaitingCall
from loopspec.drivers.session import Session
from loopspec.errors import Exit, LoopspecError
from loopspec.events import ApprovalGiven, GateDecided
from loopspec.journal.entry import Entry
from loopspec.machine.ledger import GATE_FAILED, PERSON
from loopspec.machine.model import Machine
from loopspec.machine.rest import Rest
from loopspec.machine.step import accepted, routable
from loopspec.record import AddReply, AddResult
from loopspec.snapshot import Snapshot

RUN_LIMIT: Final = "run-limit:"
"""How the detail of a rest begins that a limit of the run, not of the session, has brought."""

_PLAIN: Final = {
    "finished": Exit.OK,
    "failed": Exit.FAILED,
    "stuck": Exit.FAILED,
    "approval": Exit.AWAITING_APPROVAL,
    "interrupted": Exit.INTERRUPTED,
    "suspended": Exit.SUSPENDED,
    "outbox": Exit.SUSPENDED,
    "input": Exit.OK,
    "idle": Exit.OK,
}
_DENIED: Final = {"denied_by_policy": "", "denied_by_person": PERSON, "gate_failed": GATE_FAILED}


def exit_of(rest: Rest, snapshot: Snapshot) -> Exit:
    """The exit code of a run that ended at this rest."""
    if rest.reason == "budget" and rest.detail == RUN_LIMIT + "turns":
        return Exit.TURN_BUDGET
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
    if rest.detail.startswith(RUN_LIMIT):
        which = rest.detail.removeprefix(RUN_LIMIT)
        return f"this run's limit of {which} is reached; go on with: loopspec resume {session}"
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
        case "outbox":
            again = f"loopspec resume {session}, or all that waits with: loopspec outbox run"
            return f"waits for the network, to ask {rest.detail}; go on with: {again}"
        case "interrupted" | "suspended":
            return f"{rest.reason}; go on with: loopspec resume {session}"
        case _:
            return "at rest" + (f"; say more with{resumes}" if resumes else "")


def answer_of(session: Session, first: int) -> str:
    """The newest text of the model since entry `first`, empty if it has said nothing in this run."""
    for item in reversed(session.items):
        if int(item.id.partition(".")[0]) < first:
            return ""
        if item.role == "assistant" and item.text.strip() and not item.partial:
            return item.text
    return ""


def waiting_calls(session: Session) -> tuple[WaitingCall, ...]:
    """The calls that wait for a person, in the order they were proposed. Reads the journal."""
    calls = sorted(session.snapshot.calls.values(), key=lambda c: (c.seq, c.index))
    return tuple(
        WaitingCall(c.id, c.tool, c.status, c.rule, c.reason, session.args(c))
        for c in calls
        if c.status in ("asked", "lost")
    )


class Denials:
    """Collects the calls that are denied while a run goes on."""

    def __init__(self) -> None:
        """None yet."""
        self._tools: dict[str, str] = {}
        self._old: set[str] = set()
        self._found: dict[str, Denial] = {}

    def begin(self, session: Session) -> None:
        """Remember the calls that are open before the run; what was denied then is not this run's."""
        for call in session.snapshot.calls.values():
            self._tools[call.id] = call.tool
        self._old = {c.id for c in session.snapshot.calls.values() if c.status == "denied"}

    def kept(self, session: Session, entry: Entry) -> None:
        """Look at an entry that was committed."""
        for op in entry.record.view:
            if isinstance(op, AddReply):
                names = (call.tool for call in getattr(entry.event, "calls", ()))
                self._tools.update(zip(op.calls, names, strict=False))
        match entry.event:
            case GateDecided(decisions=decisions):
                for d in decisions:
                    if d.answer == "deny":
                        self._add(d.call, d.rule, d.reason)
            case ApprovalGiven(call=call, answer="deny", reason=reason):
                self._add(call, PERSON, reason)
            case _:
                pass
        for call_ in session.snapshot.calls.values():
            self._tools.setdefault(call_.id, call_.tool)
            if call_.status == "denied":
                self._add(call_.id, call_.rule, call_.reason)
        for op in entry.record.view:
            if isinstance(op, AddResult) and op.status in _DENIED:
                self._tools.setdefault(op.call, op.tool)
                self._add(op.call, _DENIED[op.status], op.text or "")

    @property
    def all(self) -> tuple[Denial, ...]:
        """What was denied, in order."""
        return tuple(self._found.values())

    def _add(self, call: str, rule: str, reason: str) -> None:
        """Note a denial once."""
        if call not in self._found and call not in self._old:
            self._found[call] = Denial(call, self._tools.get(call, ""), rule, reason)


def result_of(
    session: Session,
    rest: Rest,
    code: int,
    *,
    first: int,
    begun: int,
    denials: Iterable[Denial] = (),
) -> Result:
    """The result of a run that began before entry `first` and at `begun` of the awake clock."""
    usage, snapshot = session.snapshot.usage, session.snapshot
    return Result(
        status=rest.reason,
        exit=int(code),
        session=session.id,
        state=snapshot.configuration,
        answer=answer_of(session, first),
        detail=words_of(session.machine, snapshot, rest),
        turns=usage.turns,
        usage=Tokens(usage.input_tokens, usage.output_tokens, usage.calls),
        cost_usd=None if usage.unpriced else dollars(usage.cost),
        duration_seconds=round((session.clock.awake() - begun) / 1e6, 3),
        denials=tuple(denials),
        waiting=waiting_calls(session),
        accepts=accepted(session.machine, snapshot),
    )


def dollars(nano: int) -> str:
    """Nano-USD as exact text of USD."""
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def error_result(err: LoopspecError, session: str = "") -> Result:
    """The result of a run that something outside the loop has stopped."""
    return Result(
        status="error",
        exit=int(err.exit),
        session=session,
        detail=str(err),
        error=Fault(err.place, err.fault, err.remedy),
    )
