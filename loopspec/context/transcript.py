"""Transcript: the messages the model sees, folded from the journal's entries.

Rules of this file:
1. The view is a pure function of the entries; compaction changes the view and deletes nothing.
2. What goes to a provider is paired: every call is followed by exactly one result, in call order,
   and every result has its call, whatever order the journal recorded them in.
3. No empty text reaches a provider (some refuse the conversation for ever after, fault F6), and the
   first message is never the assistant's.
4. An item is had back whole by its id, whatever stands in the view for it (see `original`).
"""

import json
from collections.abc import Iterable
from typing import Any, Final, assert_never

import msgspec

from loopspec.events import (
    AttemptFailed,
    ContextCompacted,
    EffectCancelled,
    EffectLost,
    Mask,
    ModelReplied,
    ToolAnswered,
    UserMessage,
)
from loopspec.journal.entry import Entry
from loopspec.record import AddOwn, AddPartial, AddReply, AddResult, AddText, AddUser, Replace
from loopspec.tokens import estimate as estimate

GO_ON: Final = "Go on."
EARLIER: Final = "Earlier messages were removed to make room."
MISSING: Final = "No result: the call was not run."


class ViewCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call inside an assistant item: its ledger id, tool name in the spec and JSON arguments."""

    id: str
    tool: str
    args: str


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of the view.

    `id` is `seq.n` of the entry that added it. `role` is `user`, `note` (a text the spec said to the
    model), `assistant`, `result` or `summary`; a `user` item with a `call` tells what a person ran
    themselves. `partial` marks an unfinished reply. `blocks` is JSON text of provider blocks, to be sent
    back verbatim. `tokens` is an estimate. `masked`: its text is a shorter one, by a compaction.
    """

    id: str
    role: str
    text: str = ""
    calls: tuple[ViewCall, ...] = ()
    blocks: str = ""
    call: str = ""
    tool: str = ""
    status: str = "ok"
    partial: bool = False
    tokens: int = 0
    masked: bool = False


def extend(items: tuple[Item, ...], entry: Entry) -> tuple[Item, ...]:
    """The view after `entry`, given the view before it."""
    out = list(items)
    apply(out, entry)
    return tuple(out)


def apply(out: list[Item], entry: Entry) -> None:
    """Change the view `out` by what `entry` did to it; costs no more however long the view is."""
    for n, op in enumerate(entry.record.view):
        key = f"{entry.seq}.{n}"
        if isinstance(op, Replace):
            out[:] = _replace(key, entry, out)
        elif (made := _made(key, entry, op)) is not None:
            out.append(made)


def fold(entries: Iterable[Entry]) -> tuple[Item, ...]:
    """The view after all of `entries`."""
    items: list[Item] = []
    for entry in entries:
        apply(items, entry)
    return tuple(items)


def added(entry: Entry, key: str) -> Item | None:
    """The item called `key`, made from the one entry it stands in; None if it is not there.

    Every item stands whole in one entry, whatever stands around it in the view.
    """
    for n, op in enumerate(entry.record.view):
        if key == f"{entry.seq}.{n}":
            return _summary(key, entry) if isinstance(op, Replace) else _made(key, entry, op)
    return None


def masks_of(items: Iterable[Item]) -> tuple[Mask, ...]:
    """The masks in force in a view, in its order."""
    return tuple(Mask(item=item.id, text=item.text) for item in items if item.masked)


def masked(item: Item, text: str) -> Item:
    """The item with a shorter text in place of its own; its calls stay, so that pairs stay whole."""
    size = estimate(text) + sum(estimate(c.args) for c in item.calls)
    return msgspec.structs.replace(item, text=text, tokens=size, masked=True)


def original(item: Item) -> str:
    """All that a person or a model may want to read of an unmasked item: its text, and its calls."""
    calls = [f"[called {call.tool}: {call.args}]" for call in item.calls]
    return "\n".join([*([item.text] if item.text else []), *calls])


def _made(
    key: str, entry: Entry, op: AddUser | AddText | AddReply | AddPartial | AddResult | AddOwn
) -> Item | None:
    """The item that a change of the view adds, None if there is nothing to show."""
    match op:
        case AddUser(text=text):
            if not text and isinstance(entry.event, UserMessage):
                text = entry.event.text
            return Item(id=key, role="user", text=text, tokens=estimate(text))
        case AddText(text=text):
            return Item(id=key, role="note", text=text, tokens=estimate(text))
        case AddReply(calls=calls):
            return _reply(key, entry, calls)
        case AddPartial():
            text = op.text or _partial_text(entry)
            if not text.strip():
                return None
            return Item(id=key, role="assistant", text=text, partial=True, tokens=estimate(text))
        case AddResult():
            return _result(key, entry, op)
        case AddOwn():
            return _own(key, entry, op)
        case _:
            assert_never(op)


def _result(key: str, entry: Entry, op: AddResult) -> Item:
    """The item of a call's result: the tool's own answer, unless the step itself gave one."""
    text, status = _outcome(entry, op)
    if op.note:
        text = f"{op.note}\n{text}"
    size = estimate(text)
    return Item(id=key, role="result", text=text, call=op.call, tool=op.tool, status=status, tokens=size)


def _own(key: str, entry: Entry, op: AddOwn) -> Item:
    """The item of a person's own call: a message of theirs, for the model never asked for it."""
    text, status = _outcome(entry, op)
    mark = "" if status == "ok" else f"[{status}] "
    whole = f"I ran `{op.tool}` myself: {op.note}\n{mark}{text or '(no output)'}"
    return Item(
        id=key,
        role="user",
        text=whole,
        call=op.call,
        tool=op.tool,
        status=status,
        tokens=estimate(whole),
    )


def _outcome(entry: Entry, op: AddResult | AddOwn) -> tuple[str, str]:
    """A call's result and its status: the step's own words, else the tool's."""
    if op.text is None and isinstance(entry.event, ToolAnswered):
        return entry.event.output, entry.event.status
    return op.text or "", op.status


def _reply(key: str, entry: Entry, calls: tuple[str, ...]) -> Item:
    """The item of a complete reply."""
    event = entry.event
    assert isinstance(event, ModelReplied), "AddReply stands only beside model.replied"
    made = tuple(
        ViewCall(id=cid, tool=call.tool, args=call.args)
        for cid, call in zip(calls, event.calls, strict=True)
    )
    size = estimate(event.text) + sum(estimate(c.args) for c in made)
    return Item(id=key, role="assistant", text=event.text, calls=made, blocks=event.blocks, tokens=size)


def _partial_text(entry: Entry) -> str:
    """What an event kept of an unfinished reply."""
    if isinstance(entry.event, EffectCancelled | AttemptFailed | EffectLost):
        return entry.event.partial
    return ""


def _replace(key: str, entry: Entry, items: list[Item]) -> list[Item]:
    """The view with the dropped items gone, the summary in the first one's place, and the masks on.

    The event lists every mask in force, so that the newest compaction alone tells how the view stands.
    """
    event = entry.event
    assert isinstance(event, ContextCompacted), "Replace stands only beside context.compacted"
    drop, masks = event.gone, {mask.item: mask.text for mask in event.masks}
    out: list[Item] = []
    placed = not event.summary.strip()
    for item in items:
        if item.id not in drop:
            text = masks.get(item.id)
            out.append(item if text is None or text == item.text else masked(item, text))
        elif not placed:
            out.append(_summary(key, entry))
            placed = True
    return out


def _summary(key: str, entry: Entry) -> Item:
    """The item that stands in for what a compaction removed."""
    text = entry.event.summary if isinstance(entry.event, ContextCompacted) else ""
    return Item(id=key, role="summary", text=text, tokens=estimate(text))


def provider_messages(items: Iterable[Item], system: str) -> list[dict[str, Any]]:
    """The view as OpenAI-style chat messages, paired and without empty texts.

    A partial reply is sent as the assistant's text with a plain mark that it was interrupted. Blocks
    of the provider (`thinking_blocks` and the like) go back unchanged.
    """
    items = list(items)
    results = {i.call: i for i in items if i.role == "result"}
    out: list[dict[str, Any]] = [{"role": "system", "content": system}] if system.strip() else []
    for item in items:
        match item.role:
            case "user" | "note" | "summary":
                if item.text.strip():
                    out.append({"role": "user", "content": item.text})
            case "assistant":
                out.extend(_assistant(item, results))
            case _:
                pass
    first = 1 if system.strip() else 0
    if len(out) > first and out[first]["role"] == "assistant":
        out.insert(first, {"role": "user", "content": EARLIER})
    if out and out[-1]["role"] == "assistant":
        # Few providers continue an assistant's message; none refuses a request to go on.
        out.append({"role": "user", "content": GO_ON})
    return out


def _assistant(item: Item, results: dict[str, Item]) -> list[dict[str, Any]]:
    """An assistant item and the results of its calls."""
    text = item.text
    if item.partial:
        text = f"{text}\n[interrupted here; the rest of this reply was never received]"
    message: dict[str, Any] = {"role": "assistant", "content": text if text.strip() else None}
    if item.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.tool, "arguments": call.args},
            }
            for call in item.calls
        ]
    if item.blocks:
        message.update(json.loads(item.blocks))
    if message["content"] is None and not item.calls:
        return []
    out = [message]
    for call in item.calls:
        found = results.get(call.id)
        content = found.text if found else MISSING
        if found and found.status != "ok":
            content = f"[{found.status}] {content}"
        out.append({"role": "tool", "tool_call_id": call.id, "content": content or "(no output)"})
    return out
