"""Streams of the three protocols as bytes, made by hand; and what is read of them without a network."""

import json
from collections.abc import Iterable
from typing import Any

from model_helpers import DONE, USAGE, sse

from loopspec.performers.model_stream import Gathered
from loopspec.performers.wire.checker import Checker, protocol_of
from loopspec.performers.wire.faults import Damage, Told

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
USES = {
    "chat": "openai/xyz",
    "messages": "anthropic/claude-xyz",
    "responses": "openai/responses/xyz",
}
TEXT = "Naïve 😀 日本: looking."
ARGS = '{"path": "src/ü.py", "line": 12}'
CUTS = ('{"path": "s', "rc/ü.py", '", "line": 1', "2}")


def event(data: dict[str, Any], name: str = "", **dump: Any) -> bytes:
    """One event; its name is the data's type unless told."""
    head = name or data.get("type", "")
    text = json.dumps(data, **{"ensure_ascii": False, **dump})
    return (f"event: {head}\n" if head else "").encode() + f"data: {text}\n\n".encode()


# ---------------------------------------------------------------- chat


def chat_call(args: str, index: int = 0, name: str = "", key: str = "") -> bytes:
    function = {"name": name, "arguments": args} if name else {"arguments": args}
    call: dict[str, Any] = {"index": index, "function": function}
    return sse({"tool_calls": [{**call, "id": key} if key else call]})


def chat() -> list[bytes]:
    """A text and a call."""
    return [
        sse({"role": "assistant", "content": ""}),
        *(sse({"content": part}) for part in pieces(TEXT)),
        chat_call("", name="read_file", key="call_1"),
        *(chat_call(part) for part in CUTS),
        sse({}, "tool_calls"),
        USAGE,
        DONE,
    ]


# ---------------------------------------------------------------- messages


def message_start(**usage: int) -> bytes:
    told = {"input_tokens": 70, "output_tokens": 1, **usage}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "x"}
    return event({"type": "message_start", "message": {**message, "usage": told}})


def block_start(index: int, **block: Any) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def block_delta(index: int, **delta: Any) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta})


def block_stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def message_end(reason: str, output: int = 30) -> list[bytes]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": output}
    return [
        event({"type": "message_delta", "delta": delta, "usage": usage}),
        event({"type": "message_stop"}),
    ]


def text_block(index: int, *parts: str) -> list[bytes]:
    return [
        block_start(index, type="text", text=""),
        *(block_delta(index, type="text_delta", text=part) for part in parts),
        block_stop(index),
    ]


def tool_block(index: int, *parts: str, name: str = "read_file") -> list[bytes]:
    return [
        block_start(index, type="tool_use", id=f"toolu_{index}", name=name, input={}),
        *(block_delta(index, type="input_json_delta", partial_json=part) for part in parts),
        block_stop(index),
    ]


def thinking_block(index: int, *parts: str, signature: str = "sig") -> list[bytes]:
    return [
        block_start(index, type="thinking", thinking="", signature=""),
        *(block_delta(index, type="thinking_delta", thinking=part) for part in parts),
        block_delta(index, type="signature_delta", signature=signature),
        block_stop(index),
    ]


def messages() -> list[bytes]:
    """Thinking, a text and a call."""
    return [
        message_start(),
        event({"type": "ping"}),
        *thinking_block(0, "Hm, ", "well."),
        *text_block(1, *pieces(TEXT)),
        *tool_block(2, *CUTS),
        *message_end("tool_use"),
    ]


# ---------------------------------------------------------------- responses


class Numbered:
    """Numbers events."""

    def __init__(self) -> None:
        self.out: list[bytes] = []

    def add(self, kind: str, **data: Any) -> "Numbered":
        self.out.append(event({"type": kind, "sequence_number": len(self.out), **data}))
        return self

    def begin(self) -> "Numbered":
        made = {"id": "r", "object": "response", "status": "in_progress", "output": []}
        return self.add("response.created", response=made)

    def text(self, index: int, *parts: str) -> "Numbered":
        item = {"id": f"msg_{index}", "type": "message", "role": "assistant", "content": []}
        at = {"item_id": item["id"], "output_index": index, "content_index": 0}
        whole = {"type": "output_text", "text": "".join(parts), "annotations": []}
        self.add("response.output_item.added", output_index=index, item=item)
        self.add("response.content_part.added", **at, part={**whole, "text": ""})
        for part in parts:
            self.add("response.output_text.delta", **at, delta=part)
        self.add("response.output_text.done", **at, text=whole["text"])
        self.add("response.content_part.done", **at, part=whole)
        done = {**item, "status": "completed", "content": [whole]}
        return self.add("response.output_item.done", output_index=index, item=done)

    def call(self, index: int, *parts: str, name: str = "read_file") -> "Numbered":
        item = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": name}
        at = {"item_id": item["id"], "output_index": index}
        args = "".join(parts)
        self.add("response.output_item.added", output_index=index, item={**item, "arguments": ""})
        for part in parts:
            self.add("response.function_call_arguments.delta", **at, delta=part)
        self.add("response.function_call_arguments.done", **at, arguments=args)
        done = {**item, "arguments": args, "status": "completed"}
        return self.add("response.output_item.done", output_index=index, item=done)

    def reasoning(self, index: int, sealed: str = "sealed") -> "Numbered":
        item = {"id": f"rs_{index}", "type": "reasoning", "summary": []}
        self.add("response.output_item.added", output_index=index, item=item)
        done = {**item, "encrypted_content": sealed}
        return self.add("response.output_item.done", output_index=index, item=done)

    def end(self, kind: str = "response.completed", **more: Any) -> list[bytes]:
        usage = {
            "input_tokens": 70,
            "output_tokens": 30,
            "total_tokens": 100,
            "input_tokens_details": {"cached_tokens": 40},
            "output_tokens_details": {"reasoning_tokens": 5},
        }
        response = {"id": "r", "object": "response", "output": [], "usage": usage, **more}
        self.add(kind, response={"status": kind.rpartition(".")[2], **response})
        return self.out


def responses() -> list[bytes]:
    """Thinking, a text and a call."""
    made = Numbered().begin().reasoning(0).text(1, *pieces(TEXT)).call(2, *CUTS)
    call = {"type": "function_call", "call_id": "call_2", "name": "read_file", "arguments": ARGS}
    return made.end(output=[call])


STREAMS = {"chat": chat, "messages": messages, "responses": responses}


# ---------------------------------------------------------------- reading without a network


def pieces(text: str, size: int = 5) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def read(kind: str, parts: Iterable[bytes]) -> tuple[Gathered, Checker, Damage | Told | None]:
    """What is gathered of a stream that comes in `parts`, and the fault that ended it."""
    protocol = protocol_of(PATHS[kind])
    assert protocol is not None
    got, checker = Gathered("e"), Checker(protocol(), {})
    try:
        for part in parts:
            for chunk in checker.feed(part):
                got.add(chunk)
        checker.end()
    except (Damage, Told) as fault:
        return got, checker, fault
    return got, checker, None


def heard(got: Gathered) -> tuple[str, str, list[tuple[str, str]], str]:
    """The reply, to be compared."""
    calls = [(call.tool, "".join(call.args)) for call in got.calls]
    return got.text, got.thought, calls, got.finish
