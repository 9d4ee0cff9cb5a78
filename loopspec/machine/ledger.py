"""Ledger: what happens to tool calls, from proposal to result.

Rules of this file:
1. Every call ends with exactly one result in the view; denied, expired, interrupted and lost are
   honest results, each with its own status so that the model can tell them apart.
2. A granted call runs only while a grant for exactly its arguments (or its tool) lives.
"""

from typing import Final

import msgspec

from loopspec.codec import args_hash
from loopspec.effects import RunTool
from loopspec.events import (
    ApprovalDenied,
    ApprovalGiven,
    ApprovalGranted,
    Event,
    GateAllowed,
    GateAsked,
    GateDecided,
    GateDenied,
    ModelReplied,
    ToolAnswered,
    ToolsSettled,
)
from loopspec.machine.celtypes import MAX_DEPTH, deep_arguments
from loopspec.machine.draft import Draft
from loopspec.machine.model import Machine
from loopspec.record import AddReply, AddResult
from loopspec.snapshot import Call, Grant, Snapshot
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


def answer(draft: Draft, call: Call, text: str | None, status: str) -> None:
    """Give a call its result: `text`, or what this entry's own event holds (None)."""
    op = AddResult(call=call.id, tool=call.tool, text=text, status=status)
    draft.view.append(op)
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
    grant = grant_for(draft.grants, call, draft.at)
    if grant is not None and grant.uses > 0:
        grants = {key: g for key, g in draft.grants.items() if key != grant.id}
        if grant.uses > 1:
            grants[grant.id] = msgspec.structs.replace(grant, uses=grant.uses - 1)
        draft.grants = grants
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


def grant_for(grants: dict[str, Grant], call: Call, at: int) -> Grant | None:
    """The living grant that covers a call: for exactly its arguments first, then for its tool."""
    if not grants:
        return None
    ordered = sorted(grants.values(), key=lambda g: (len(g.id), g.id))  # by age: see effect_order
    living = [g for g in ordered if g.tool == call.tool and g.uses != 0]
    living = [g for g in living if not g.expires or g.expires > at]
    for grant in living:
        if grant.scope == "call" and grant.args_hash == call.args_hash:
            return grant
    return next((g for g in living if g.scope == "tool"), None)


def decide(draft: Draft, event: GateDecided) -> None:
    """Take the gate's answers; a call it did not answer, or answered oddly, is denied."""
    answers = {d.call: d for d in event.decisions}
    for call in list(draft.calls.values()):
        if call.status != "proposed":
            continue
        found = answers.get(call.id)
        match found.answer if found else "missing":
            case "allow":
                draft.set_call(call, status="allowed", rule=found.rule if found else "")
            case "ask":
                assert found is not None
                draft.set_call(call, status="asked", rule=found.rule, reason=found.reason)
            case "deny":
                assert found is not None
                draft.set_call(call, status="denied", rule=found.rule, reason=found.reason)
            case _:
                draft.set_call(
                    call, status="denied", rule=GATE_FAILED, reason="the gate gave no answer"
                )


def deny_all(draft: Draft, reason: str) -> None:
    """The gate failed: nothing may run."""
    for call in list(draft.calls.values()):
        if call.status == "proposed":
            draft.set_call(call, status="denied", rule=GATE_FAILED, reason=reason)


def gate_ending(draft: Draft) -> Event:
    """How a gate ends, by the ledger."""
    count = _counts(draft)
    if count.get("asked"):
        return GateAsked(asked=count["asked"])
    allowed = count.get("allowed", 0) + count.get("granted", 0)
    if allowed:
        return GateAllowed(allowed=allowed, denied=count.get("denied", 0))
    return GateDenied(denied=count.get("denied", 0))


def approval_ending(draft: Draft) -> Event | None:
    """How an approval ends, None while a call still waits for a person."""
    count = _counts(draft)
    if count.get("asked") or count.get("lost"):
        return None
    runnable = count.get("allowed", 0) + count.get("granted", 0)
    if runnable:
        return ApprovalGranted(granted=runnable)
    return ApprovalDenied(denied=count.get("denied", 0))


def _counts(draft: Draft) -> dict[str, int]:
    """How many calls have each status."""
    out: dict[str, int] = {}
    for call in draft.calls.values():
        out[call.status] = out.get(call.status, 0) + 1
    return out


def approve(draft: Draft, event: ApprovalGiven, by: str) -> None:
    """Take a person's answer for one call; the command has been accepted already."""
    call = draft.calls[event.call]
    match event.answer:
        case "grant" | "rerun":
            key = f"g{draft.seq}"
            whole_tool = event.scope == "tool" and event.answer == "grant"
            if whole_tool:  # the new one says all that an older one for this tool could
                draft.grants = {
                    k: g
                    for k, g in draft.grants.items()
                    if (g.scope, g.tool) != ("tool", call.tool)
                }
            given = Grant(
                id=key,
                scope="tool" if whole_tool else "call",
                tool=call.tool,
                args_hash="" if whole_tool else call.args_hash,
                approver=by,
                uses=-1 if whole_tool else 1,
            )
            draft.grants = {**draft.grants, key: given}
            draft.set_call(call, status="granted", rule=PERSON, reason=event.reason)
            if whole_tool:
                _widen(draft, call.tool)
        case "deny":
            draft.set_call(call, status="denied", rule=PERSON, reason=event.reason)
        case "done":
            answer(draft, call, "A person confirms that this call was completed.", "ok")
        case _:
            text = "Given up: nobody knows whether this call took effect. Check before repeating it."
            answer(draft, call, text, "lost")


def _widen(draft: Draft, tool: str) -> None:
    """A grant for a tool answers its other asked calls too."""
    for call in list(draft.calls.values()):
        if call.tool == tool and call.status == "asked":
            draft.set_call(call, status="granted", rule=PERSON)


def in_order(draft: Draft) -> list[Call]:
    """The ledger's calls as they were proposed."""
    calls = list(draft.calls.values())
    if len(calls) > 1:
        calls.sort(key=lambda c: (c.seq, c.index))
    return calls


def runnable(draft: Draft) -> list[Call]:
    """Calls that may run now, in order; a granted call without a living grant is denied here."""
    out: list[Call] = []
    for call in in_order(draft):
        if call.status == "granted" and grant_for(draft.grants, call, draft.at) is None:
            draft.set_call(
                call, status="denied", rule=PERSON, reason="the approval does not cover it any more"
            )
        elif call.status in ("allowed", "granted"):
            out.append(call)
    return out


def unsettled(draft: Draft) -> bool:
    """Whether a call was lost while nobody was asked (cancelled, then lost): the spec routes it.

    Calls that may be run again anyway are not asked about; their result will say that they are lost.
    """
    tools = draft.machine.tools
    lost = [c.tool for c in draft.calls.values() if c.status == "lost"]
    return any(tool not in tools or tools[tool].after_crash != "rerun" for tool in lost)


def run_next(draft: Draft, state: str) -> bool:
    """Emit the next calls: neighbouring reads together, a write alone. False if none is left."""
    batch: list[Call] = []
    for call in runnable(draft):
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
                seq=call.seq,
                index=call.index,
            )
        )
    return bool(batch)


def unrun(draft: Draft, call: Call) -> None:
    """A call that was about to run has not begun: it may run later."""
    granted = grant_for(draft.grants, call, draft.at) is not None and call.rule == PERSON
    draft.set_call(call, status="granted" if granted else "allowed")


def tools_ending(draft: Draft) -> ToolsSettled:
    """How the tools ended."""
    results = [c.reason for c in draft.calls.values() if c.status == "answered"]
    ok = sum(r == "ok" for r in results)
    return ToolsSettled(ok=ok, failed=len(results) - ok)


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
    if event.scope not in ("call", "tool"):
        return f"`{event.scope}` is no scope; use call or tool"
    return "" if asking(machine, snapshot) else "no approval state is active"


def asking(machine: Machine, snapshot: Snapshot) -> bool:
    """Whether a state that takes a person's answers is active."""
    active = (machine.kind_of(p) for p in snapshot.activations)
    return any(k is not None and k.rests == "approval" for k in active)
