"""Ledger: what happens to tool calls, from proposal to result.

Rules of this file:
1. Every call ends with exactly one result in the view; denied, expired, interrupted and lost are
   honest results, each with its own status so that the model can tell them apart.
2. A granted call runs only while a grant that covers it lives (see `grants`).
3. A person's own call goes alone: whatever is decided, asked or run for it leaves the model's calls as
   they stand, and its result is a message of the person, never a result the model would look for.
"""

from typing import Final

import msgspec

from loopspec.codec import args_hash
from loopspec.effects import RunTool
from loopspec.events import (
    ApprovalDenied,
    ApprovalGranted,
    Decision,
    Event,
    GateAllowed,
    GateAsked,
    GateDecided,
    GateDenied,
    ModelReplied,
    ToolAnswered,
    ToolsSettled,
    UserCalled,
)
from loopspec.machine import given, grants
from loopspec.machine.celtypes import MAX_DEPTH, deep_arguments
from loopspec.machine.draft import Draft
from loopspec.machine.grants import grant_for as grant_for
from loopspec.record import AddOwn, AddReply, AddResult
from loopspec.snapshot import Call
from loopspec.tokens import estimate

PERSON: Final = "person"
GATE_FAILED: Final = "gate-failed"
MAX_REMAINING: Final = 200
MAX_BOUNDARIES: Final = 32
"""Rollback points that can be gone back to, the newest. Each takes 140 bytes of every snapshot, and
snapshots are written at every transition: with 32 that is a page of the disk, and a session of twenty
thousand transitions costs what one of a hundred does. The workspace's own records are not touched."""


def propose(draft: Draft, event: ModelReplied) -> None:
    """Enter a reply and its calls."""
    made: list[Call] = []
    for n, proposed in enumerate(event.calls):
        declared = draft.machine.tools.get(proposed.tool)
        call = Call(
            id=f"c{draft.seq}_{n}",
            tool=proposed.tool,
            args_hash=args_hash(proposed.tool, proposed.args),
            seq=draft.seq,
            index=n,
            effect=declared.effect if declared else "irreversible",
        )
        draft.own_calls()[call.id] = call
        made.append(call)
    if event.text.strip() or made:
        tokens = 0 if event.usage.input_tokens else event.tokens
        draft.show(AddReply(calls=tuple(c.id for c in made)), tokens)
    for call, proposed in zip(made, event.calls, strict=True):
        problem = proposed.problem
        if not problem and call.tool not in draft.machine.tools:
            known = ", ".join(sorted(draft.machine.tools)) or "none"
            problem = f"There is no tool `{call.tool}`. The tools are: {known}."
        if not problem and deep_arguments(proposed.args):
            problem = f"The arguments are nested more than {MAX_DEPTH} deep."
        if problem:
            answer(draft, call, problem, "error")


def enter(draft: Draft, event: UserCalled) -> None:
    """Enter a person's own call; those of theirs that were answered before leave the ledger."""
    calls = {k: c for k, c in draft.calls.items() if not (c.own and c.status == "answered")}
    declared = draft.machine.tools[event.tool]
    call = Call(
        id=f"c{draft.seq}_0",
        tool=event.tool,
        args_hash=args_hash(event.tool, event.args),
        seq=draft.seq,
        index=0,
        effect=declared.effect,
        own=True,
        note=given.shown(declared, event.args),
    )
    draft.calls = {**calls, call.id: call}


def answer(draft: Draft, call: Call, text: str | None, status: str) -> None:
    """Give a call its result: `text`, or what this entry's own event holds (None)."""
    made = AddOwn if call.own else AddResult
    draft.view.append(made(call.id, call.tool, text, status, call.note))
    if call.note:
        draft.add_context(estimate(call.note))
    if text is not None:
        draft.add_context(estimate(text))
    draft.set_call(call, status="answered", reason=status)


def settle_tool(draft: Draft, event: ToolAnswered) -> None:
    """A tool has answered."""
    call = draft.calls.get(event.call)
    if call is None:
        return
    ran(draft, call)
    answer(draft, call, None, event.status)
    draft.add_context(event.tokens)


def ran(draft: Draft, call: Call) -> None:
    """A call has run (or may have: a lost one): its grant is used, it may be beyond undoing."""
    usage = draft.usage
    draft.usage = msgspec.structs.replace(usage, calls=usage.calls + 1)
    # A call that was allowed anyway uses up no grant, though one for the same arguments may live.
    grant = grant_for(draft.grants, call, draft.at) if call.rule == PERSON else None
    if grant is not None and grant.uses > 0:
        left = {key: g for key, g in draft.grants.items() if key != grant.id}
        if grant.uses > 1:
            left[grant.id] = msgspec.structs.replace(grant, uses=grant.uses - 1)
        draft.grants = left
    if call.effect == "irreversible" and draft.boundaries:
        last = draft.boundaries[-1]
        kept = merged(last.remaining, (f"{call.tool} ({call.id})",))
        draft.boundaries = (
            *draft.boundaries[:-1],
            msgspec.structs.replace(last, remaining=kept),
        )


def merged(first: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Two lists of acts that cannot be undone as one, each act once; the newest are kept."""
    return tuple(dict.fromkeys((*first, *more)))[-MAX_REMAINING:]


def rolled_back(draft: Draft, boundary: str) -> None:
    """Boundaries after the one that was restored describe work that is gone.

    Their acts that cannot be undone are still in the world: an earlier rollback must name them too.
    """
    ids = [b.id for b in draft.boundaries]
    if boundary in ids:
        *before, restored = draft.boundaries[: ids.index(boundary) + 1]
        remaining = restored.remaining
        for gone in draft.boundaries[len(before) + 1 :]:
            remaining = merged(remaining, gone.remaining)
        restored = msgspec.structs.replace(restored, remaining=remaining)
        draft.boundaries = (*before, restored)
    draft.chosen = ""


def decide(draft: Draft, event: GateDecided, about: tuple[str, ...]) -> None:
    """Take the gate's answers about the calls it was asked about; one that it did not answer, or
    answered oddly, is denied."""
    answers = {d.call: d for d in event.decisions}
    for call in _undecided(draft, about):
        found = answers.get(call.id)
        match found.answer if found else "missing":
            case "allow":
                draft.set_call(call, status="allowed", rule=found.rule if found else "")
            case "ask":
                assert found is not None
                _ask(draft, call, found)
            case "deny":
                assert found is not None
                draft.set_call(call, status="denied", rule=found.rule, reason=found.reason)
            case _:
                draft.set_call(
                    call, status="denied", rule=GATE_FAILED, reason="the gate gave no answer"
                )


def _ask(draft: Draft, call: Call, found: Decision) -> None:
    """A person is asked about a call; who makes a call of their own has answered."""
    if call.own:
        draft.set_call(call, status="allowed", rule=f"{found.rule}, answered by who called")
        return
    paths, command = grants.target_of(tuple(found.paths), found.command)
    draft.set_call(
        call,
        status="asked",
        rule=found.rule,
        reason=found.reason,
        paths=paths,
        command=command,
    )


def deny_all(draft: Draft, reason: str, about: tuple[str, ...]) -> None:
    """The gate failed: nothing it was asked about may run."""
    for call in _undecided(draft, about):
        draft.set_call(call, status="denied", rule=GATE_FAILED, reason=reason)


def _undecided(draft: Draft, about: tuple[str, ...]) -> list[Call]:
    """Those of these calls that are still proposed."""
    found = (draft.calls.get(key) for key in about)
    return [call for call in found if call is not None and call.status == "proposed"]


def gate_ending(draft: Draft, own: bool) -> Event:
    """How a gate ends, by the ledger: for a person's own calls (`own`) or the model's."""
    count = _counts(draft, own)
    if count.get("asked"):
        return GateAsked(asked=count["asked"])
    allowed = count.get("allowed", 0) + count.get("granted", 0)
    if allowed:
        return GateAllowed(allowed=allowed, denied=count.get("denied", 0))
    return GateDenied(denied=count.get("denied", 0))


def approval_ending(draft: Draft, own: bool) -> Event | None:
    """How an approval ends, None while a call still waits for a person."""
    count = _counts(draft, own)
    if count.get("asked") or count.get("lost"):
        return None
    runnable = count.get("allowed", 0) + count.get("granted", 0)
    if runnable:
        return ApprovalGranted(granted=runnable)
    return ApprovalDenied(denied=count.get("denied", 0))


def _counts(draft: Draft, own: bool) -> dict[str, int]:
    """How many calls have each status."""
    out: dict[str, int] = {}
    for call in draft.calls.values():
        if call.own is own:
            out[call.status] = out.get(call.status, 0) + 1
    return out


def has_own(draft: Draft, *statuses: str) -> bool:
    """Whether a person's own call has one of these statuses."""
    return any(call.own and call.status in statuses for call in draft.calls.values())


def in_order(draft: Draft) -> list[Call]:
    """The ledger's calls as they were proposed."""
    calls = list(draft.calls.values())
    if len(calls) > 1:
        calls.sort(key=lambda c: (c.seq, c.index))
    return calls


def runnable(draft: Draft, own: bool) -> list[Call]:
    """Calls that may run now, in order: a person's own (`own`) or the model's. A granted call without a
    living grant is denied here."""
    out: list[Call] = []
    for call in in_order(draft):
        if call.own is not own:
            continue
        if call.status == "granted" and grant_for(draft.grants, call, draft.at) is None:
            draft.set_call(
                call, status="denied", rule=PERSON, reason="the approval does not cover it any more"
            )
        elif call.status in ("allowed", "granted"):
            out.append(call)
    return out


def unsettled(draft: Draft, own: bool) -> bool:
    """Whether a call was lost while nobody was asked (cancelled, then lost): the spec routes it.

    Calls that may be run again anyway are not asked about; their result will say that they are lost.
    """
    tools = draft.machine.tools
    lost = [c.tool for c in draft.calls.values() if c.status == "lost" and c.own is own]
    return any(tool not in tools or tools[tool].after_crash != "rerun" for tool in lost)


def run_next(draft: Draft, state: str, own: bool) -> bool:
    """Emit the next calls: neighbouring reads together, a write alone. False if none is left."""
    batch: list[Call] = []
    for call in runnable(draft, own):
        if batch and call.effect != "read":
            break
        batch.append(call)
        if call.effect != "read":
            break
    for call in batch:
        draft.set_call(call, status="running")
        draft.emit(
            RunTool(
                id=draft.next_id(),
                state=state,
                call=call.id,
                tool=call.tool,
                args_hash=call.args_hash,
                seq=call.seq if call.edited < 0 else call.edited,
                index=call.index if call.edited < 0 else 0,
            )
        )
    return bool(batch)


def unrun(draft: Draft, call: Call) -> None:
    """A call that was about to run has not begun: it may run later."""
    granted = grant_for(draft.grants, call, draft.at) is not None and call.rule == PERSON
    draft.set_call(call, status="granted" if granted else "allowed")


def tools_ending(draft: Draft, own: bool) -> ToolsSettled:
    """How the tools ended."""
    calls = draft.calls.values()
    results = [c.reason for c in calls if c.status == "answered" and c.own is own]
    ok = sum(r == "ok" for r in results)
    return ToolsSettled(ok=ok, failed=len(results) - ok)


def close_own(draft: Draft, *statuses: str) -> None:
    """Nobody works on a person's own calls any more: those with these statuses (none: all that have no
    result and do not run) get their honest result."""
    for call in in_order(draft):
        if not call.own or call.status in ("answered", "running"):
            continue
        if not statuses or call.status in statuses:
            text, status = _closing(call)
            answer(draft, call, text, status)


def close(draft: Draft) -> None:
    """Before a model call: every open call gets its honest result, and the ledger is emptied.

    Grants for one call go with it: an approval never outlives the call it was given for.
    """
    for call in in_order(draft):
        if call.status != "answered":
            text, status = _closing(call)
            answer(draft, call, text, status)
    if draft.calls:
        draft.calls = {}
    if draft.grants:
        draft.grants = {k: g for k, g in draft.grants.items() if g.scope != "call"}


def _closing(call: Call) -> tuple[str, str]:
    """What the model is told about a call that did not run to an answer, and the status."""
    why = f" {call.reason}" if call.reason else ""
    match call.status:
        case "denied" if call.rule == PERSON:
            return f"A person refused this call.{why}", "denied_by_person"
        case "denied" if call.rule == GATE_FAILED:
            return f"The gate failed, so the call was refused:{why}", "gate_failed"
        case "denied":
            return f"Not allowed by the rule `{call.rule}`.{why}", "denied_by_policy"
        case "asked":
            return "Nobody approved this call in time; it was not run.", "expired"
        case "lost":
            return "Interrupted: nobody knows whether this call took effect.", "lost"
        case _:
            return "Not run: the work was interrupted before this call.", "interrupted"
