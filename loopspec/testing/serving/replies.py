"""Replies: what a scripted model says, as the frames of the three protocols.

Rules of this file:
1. A frame is one event of an event stream, whole, its blank line included. The same reply gives the same
   frames: ids are counted, times are fixed.
2. What is written here follows the providers' published formats, and is checked against recorded streams
   by the suite's own tests.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CREATED: Final = 1_700_000_000
DONE: Final = b"data: [DONE]\n\n"
_STOPS: Final = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


@dataclass(frozen=True)
class Call:
    """A tool call as the model proposes it. `args` is an object, or the exact argument text."""

    tool: str
    args: dict[str, Any] | str = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The argument text."""
        return self.args if isinstance(self.args, str) else json.dumps(self.args)


@dataclass(frozen=True)
class Say:
    """A reply. `piece` is the most characters of a delta; `usage` is input and output tokens.

    `finish` is the reason in the words of OpenAI's chat (`stop`, `tool_calls`, `length`,
    `content_filter`); left out, it follows from the calls.
    """

    text: str = ""
    thinking: str = ""
    signature: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""
    usage: tuple[int, int] = (20, 10)
    piece: int = 12

    @property
    def ended(self) -> str:
        """Why the reply ends."""
        return self.finish or ("tool_calls" if self.calls else "stop")

    def cut(self, text: str) -> list[str]:
        """A text in pieces."""
        return [text[n : n + self.piece] for n in range(0, len(text), self.piece)]


def event(data: Any, name: str = "") -> bytes:
    """One event of a stream."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


# ------------------------------------------------------------ OpenAI's chat


def chat(say: Say, model: str = "test") -> list[bytes]:
    """The frames of a chat completion's stream."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": model}

    def frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    out = [frame({"role": "assistant", "content": ""})]
    out += [frame({"reasoning_content": piece}) for piece in say.cut(say.thinking)]
    out += [frame({"content": piece}) for piece in say.cut(say.text)]
    for n, call in enumerate(say.calls):
        named = {"name": call.tool, "arguments": ""}
        first = {"index": n, "id": f"call_{n}", "type": "function", "function": named}
        out.append(frame({"tool_calls": [first]}))
        for piece in say.cut(call.text):
            out.append(frame({"tool_calls": [{"index": n, "function": {"arguments": piece}}]}))
    out.append(frame({}, say.ended))
    out.append(event({**head, "choices": [], "usage": chat_usage(say)}))
    return [*out, DONE]


def chat_usage(say: Say) -> dict[str, int]:
    """What a reply consumed, in the words of the chat API."""
    asked, said = say.usage
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def chat_body(say: Say, model: str = "test") -> dict[str, Any]:
    """The same reply in one piece."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": c.tool, "arguments": c.text}}
        for n, c in enumerate(say.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": say.ended}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": model}
    return {**head, "choices": [choice], "usage": chat_usage(say)}


# ------------------------------------------------------------ Anthropic's messages


def messages(say: Say, model: str = "test") -> list[bytes]:
    """The frames of a message's stream."""
    asked, said = say.usage
    begun = {**_message(model), "content": [], "stop_reason": None}
    begun["usage"] = {"input_tokens": asked, "output_tokens": 1}
    out = [_typed("message_start", message=begun)]
    blocks = _blocks(say)
    for n, (block, deltas) in enumerate(blocks):
        out.append(_typed("content_block_start", index=n, content_block=block))
        out += [_typed("content_block_delta", index=n, delta=delta) for delta in deltas]
        out.append(_typed("content_block_stop", index=n))
    end = {"stop_reason": _STOPS.get(say.ended, say.ended), "stop_sequence": None}
    out.append(_typed("message_delta", delta=end, usage={"output_tokens": said}))
    return [*out, _typed("message_stop")]


def messages_body(say: Say, model: str = "test") -> dict[str, Any]:
    """The same reply in one piece."""
    content: list[dict[str, Any]] = []
    if say.thinking:
        content.append({"type": "thinking", "thinking": say.thinking, "signature": say.signature})
    if say.text:
        content.append({"type": "text", "text": say.text})
    for n, call in enumerate(say.calls):
        value = json.loads(call.text)
        content.append({"type": "tool_use", "id": f"toolu_{n}", "name": call.tool, "input": value})
    asked, said = say.usage
    usage = {"input_tokens": asked, "output_tokens": said}
    stop = _STOPS.get(say.ended, say.ended)
    return {**_message(model), "content": content, "stop_reason": stop, "usage": usage}


def _message(model: str) -> dict[str, Any]:
    """What every message of the API has."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
    }


def _typed(name: str, **data: Any) -> bytes:
    """An event whose name stands in its data, too."""
    return event({"type": name, **data}, name)


def _blocks(say: Say) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The content blocks of a message, each with its deltas."""
    out: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if say.thinking or say.signature:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in say.cut(say.thinking)]
        if say.signature:
            deltas.append({"type": "signature_delta", "signature": say.signature})
        out.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if say.text:
        texts = [{"type": "text_delta", "text": piece} for piece in say.cut(say.text)]
        out.append(({"type": "text", "text": ""}, texts))
    for n, call in enumerate(say.calls):
        parts = [{"type": "input_json_delta", "partial_json": p} for p in say.cut(call.text)]
        out.append(({"type": "tool_use", "id": f"toolu_{n}", "name": call.tool, "input": {}}, parts))
    return out


# ------------------------------------------------------------ OpenAI's responses


def responses(say: Say, model: str = "test") -> list[bytes]:
    """The frames of a response's stream."""
    told: list[dict[str, Any]] = []

    def tell(kind: str, **data: Any) -> None:
        told.append({"type": kind, "sequence_number": len(told), **data})

    begun = _response(model, "in_progress", [])
    tell("response.created", response=begun)
    tell("response.in_progress", response=begun)
    items: list[dict[str, Any]] = []
    for item in _items(say):
        _tell_item(tell, say, len(items), item)
        items.append(item)
    status = "incomplete" if say.ended in ("length", "content_filter") else "completed"
    ended = _response(model, status, items, say)
    tell(f"response.{status}", response=ended)
    return [event(data, data["type"]) for data in told]


def responses_body(say: Say, model: str = "test") -> dict[str, Any]:
    """The same reply in one piece."""
    status = "incomplete" if say.ended in ("length", "content_filter") else "completed"
    return _response(model, status, list(_items(say)), say)


def _response(
    model: str, status: str, output: Sequence[dict[str, Any]], say: Say | None = None
) -> dict[str, Any]:
    """A response as its first and its last event tell it."""
    made: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "model": model,
        "status": status,
        "output": list(output),
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    if say is not None:
        asked, said = say.usage
        made["usage"] = {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + said,
        }
    if status == "incomplete" and say is not None:
        reason = "max_output_tokens" if say.ended == "length" else "content_filter"
        made["incomplete_details"] = {"reason": reason}
    return made


def _items(say: Say) -> list[dict[str, Any]]:
    """The finished items of a response."""
    out: list[dict[str, Any]] = []
    if say.thinking:
        summary = [{"type": "summary_text", "text": say.thinking}]
        out.append({"id": "rs_1", "type": "reasoning", "summary": summary})
        if say.signature:
            out[-1]["encrypted_content"] = say.signature
    if say.text:
        part = {"type": "output_text", "text": say.text, "annotations": []}
        made = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        out.append({**made, "content": [part]})
    for n, call in enumerate(say.calls):
        ids = {"id": f"fc_{n}", "call_id": f"call_{n}", "status": "completed"}
        out.append({**ids, "type": "function_call", "name": call.tool, "arguments": call.text})
    return out


def _tell_item(tell: Any, say: Say, index: int, item: dict[str, Any]) -> None:
    """The events of one item."""
    at = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "reasoning":
            tell("response.output_item.added", output_index=index, item={**item, "summary": []})
            part = {**at, "summary_index": 0}
            empty = {"type": "summary_text", "text": ""}
            tell("response.reasoning_summary_part.added", **part, part=empty)
            for piece in say.cut(say.thinking):
                tell("response.reasoning_summary_text.delta", **part, delta=piece)
            tell("response.reasoning_summary_text.done", **part, text=say.thinking)
            tell("response.reasoning_summary_part.done", **part, part=item["summary"][0])
        case "message":
            open_item = {**item, "status": "in_progress", "content": []}
            tell("response.output_item.added", output_index=index, item=open_item)
            part = {**at, "content_index": 0}
            whole = item["content"][0]
            tell("response.content_part.added", **part, part={**whole, "text": ""})
            for piece in say.cut(say.text):
                tell("response.output_text.delta", **part, delta=piece)
            tell("response.output_text.done", **part, text=say.text)
            tell("response.content_part.done", **part, part=whole)
        case _:
            open_item = {**item, "status": "in_progress", "arguments": ""}
            tell("response.output_item.added", output_index=index, item=open_item)
            for piece in say.cut(item["arguments"]):
                tell("response.function_call_arguments.delta", **at, delta=piece)
            tell("response.function_call_arguments.done", **at, arguments=item["arguments"])
    tell("response.output_item.done", output_index=index, item=item)


PROTOCOLS: Final = {
    "/chat/completions": (chat, chat_body),
    "/responses": (responses, responses_body),
    "/messages": (messages, messages_body),
}
"""How the reply to a request is written, by the end of its path: as a stream, and in one piece."""
