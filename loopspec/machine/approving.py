"""Approving: what a person's answer about a call does, and whether it can be taken.

Rules of this file:
1. An answer names the call and the hash of the arguments the person saw; any other is refused.
2. Changed arguments take the place of the model's before anything is granted: the grant covers what runs.
"""

from loopspec.codec import args_hash
from loopspec.events import ApprovalGiven
from loopspec.machine import given, grants
from loopspec.machine.draft import Draft
from loopspec.machine.ledger import PERSON, answer
from loopspec.machine.model import Machine
from loopspec.snapshot import Call, Snapshot


def approve(draft: Draft, event: ApprovalGiven, by: str) -> None:
    """Take a person's answer for one call; the command has been accepted already."""
    call = draft.calls[event.call]
    match event.answer:
        case "grant" | "rerun":
            call = _changed(draft, call, event.args)
            new = grants.given(event, call, f"g{draft.seq}", by, draft.at)
            draft.grants = grants.joined(draft.grants, new)
            draft.set_call(call, status="granted", rule=PERSON, reason=event.reason)
            if new.scope != "call":
                _widen(draft, new.id)
        case "deny":
            draft.set_call(call, status="denied", rule=PERSON, reason=event.reason)
        case "done":
            answer(draft, call, "A person confirms that this call was completed.", "ok")
        case _:
            text = "Given up: nobody knows whether this call took effect. Check before repeating it."
            answer(draft, call, text, "lost")


def _changed(draft: Draft, call: Call, args: str) -> Call:
    """The call with what a person made of its arguments; what it acts on is not known any more."""
    key = args_hash(call.tool, args)
    if not args or key == call.args_hash:
        return call
    return draft.set_call(
        call,
        args_hash=key,
        edited=draft.seq,
        note=given.changed(args),
        paths=(),
        command="",
    )


def _widen(draft: Draft, key: str) -> None:
    """A grant that holds for the session answers the other asked calls it covers, too."""
    new = {key: draft.grants[key]}
    for call in list(draft.calls.values()):
        if call.status == "asked" and grants.grant_for(new, call, draft.at) is not None:
            draft.set_call(call, status="granted", rule=PERSON)


def refusal(machine: Machine, snapshot: Snapshot, event: ApprovalGiven) -> str:
    """Why an answer to a call cannot be taken, empty if it can."""
    call = snapshot.calls.get(event.call)
    if call is None or call.status not in ("asked", "lost"):
        waiting = [c.id for c in snapshot.calls.values() if c.status in ("asked", "lost")]
        return f"no call `{event.call}` waits for an answer; waiting: {', '.join(waiting) or 'none'}"
    if event.args_hash != call.args_hash:
        return f"the arguments of `{call.id}` are not the ones that were approved"
    wanted = ("grant", "deny") if call.status == "asked" else ("done", "rerun", "abandon")
    if event.answer not in wanted:
        return f"`{event.answer}` is no answer for a call that is {call.status}; use {', '.join(wanted)}"
    if fault := grants.refusal(call, event):
        return fault
    return "" if asking(machine, snapshot) else "no approval state is active"


def asking(machine: Machine, snapshot: Snapshot) -> bool:
    """Whether a state that takes a person's answers is active."""
    active = (machine.kind_of(p) for p in snapshot.activations)
    return any(k is not None and k.rests == "approval" for k in active)
