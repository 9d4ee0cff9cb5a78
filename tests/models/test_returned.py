"""What a provider gave goes back to it unchanged: recorded requests of a second turn over real HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest
from model_helpers import DONE, Provider, ask, effect, parts, run, sse, world_for
from wire_kit import (
    Numbered,
    block_start,
    block_stop,
    message_end,
    message_start,
    text_block,
    thinking_block,
    tool_block,
)

from loopspec.context.transcript import Item, ViewCall
from loopspec.events import ModelReplied
from loopspec.performers.model import ModelPerformer

ASKED = Item(id="0.0", role="user", text="Hi")
CLAUDE = "anthropic/claude-sonnet-4-5"


def second(
    answer: object, directory: Path, use: str, body: list[bytes], text: str = ""
) -> dict[str, Any]:
    """The request of the turn after `answer`, whose calls have their results."""
    assert isinstance(answer, ModelReplied), answer
    calls = tuple(ViewCall(f"c{n}", c.tool, c.args) for n, c in enumerate(answer.calls))
    reply = Item(id="1.0", role="assistant", text=text or answer.text, calls=calls, blocks=answer.blocks)
    results = [Item(id=f"2.{n}", role="result", call=c.id, text="body") for n, c in enumerate(calls)]
    last = [] if results else [Item(id="3.0", role="user", text="And?")]

    async def go() -> dict[str, Any]:
        async with Provider(parts(*body)) as provider:
            items = (ASKED, reply, *results, *last)
            world = world_for(use, directory, items, params=json.dumps({"api_base": provider.base}))
            await ModelPerformer().perform(effect(use), world)
            return provider.requests[0]

    return run(go())


def assistant(request: dict[str, Any], key: str = "messages") -> dict[str, Any]:
    found: dict[str, Any] = next(m for m in request[key] if m.get("role") in ("assistant", "model"))
    return found


def test_signed_and_redacted_thinking_go_back_to_claude_before_text_and_call(tmp_path: Path) -> None:
    body = [
        message_start(),
        *thinking_block(0, "Hm, ", "ü.", signature="EqQB/+=="),
        block_start(1, type="redacted_thinking", data="sealed/+=="),
        block_stop(1),
        *text_block(2, "Looking."),
        *tool_block(3, '{"path": "a"}'),
        *message_end("tool_use"),
    ]
    answer, _, _ = ask(parts(*body), tmp_path, use=CLAUDE)
    sent = assistant(second(answer, tmp_path, CLAUDE, body))
    assert sent["content"] == [
        {"type": "thinking", "thinking": "Hm, ü.", "signature": "EqQB/+=="},
        {"type": "redacted_thinking", "data": "sealed/+=="},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "c0", "name": "read_file", "input": {"path": "a"}},
    ]


def interleaved() -> list[bytes]:
    return [
        message_start(),
        *thinking_block(0, "first", signature="one"),
        *text_block(1, "Searching."),
        block_start(2, type="server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "x"}),
        block_stop(2),
        block_start(
            3,
            type="web_search_tool_result",
            tool_use_id="srvtoolu_1",
            content=[{"type": "web_search_result", "url": "u", "encrypted_content": "e", "title": "t"}],
        ),
        block_stop(3),
        *thinking_block(4, "second", signature="two"),
        *text_block(5, "Found."),
        *tool_block(6, '{"path": "a"}'),
        *message_end("tool_use"),
    ]


def test_the_order_of_claudes_blocks_is_kept(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(*interleaved()), tmp_path, use=CLAUDE)
    sent = assistant(second(answer, tmp_path, CLAUDE, interleaved()))
    result = {"type": "web_search_result", "url": "u", "encrypted_content": "e", "title": "t"}
    assert sent["content"] == [
        {"type": "thinking", "thinking": "first", "signature": "one"},
        {"type": "text", "text": "Searching."},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [result]},
        {"type": "thinking", "thinking": "second", "signature": "two"},
        {"type": "text", "text": "Found."},
        {"type": "tool_use", "id": "c0", "name": "read_file", "input": {"path": "a"}},
    ]


def test_a_text_that_was_masked_takes_the_thinking_with_it_and_not_the_old_text(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(*interleaved()), tmp_path, use=CLAUDE)
    sent = assistant(second(answer, tmp_path, CLAUDE, interleaved(), text="[shortened]"))
    assert [b.get("thinking") or b.get("text") or b["type"] for b in sent["content"]] == [
        "first",
        "second",
        "[shortened]",
        "tool_use",
    ]


@pytest.mark.parametrize("use", ["openai/xyz", "deepseek/deepseek-chat", "openai/responses/xyz"])
def test_claudes_blocks_go_to_nobody_else(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    answer, _, _ = ask(parts(*interleaved()), tmp_path, use=CLAUDE)
    sent = json.dumps(second(answer, tmp_path, use, [sse({"content": "x"}), sse({}, "stop"), DONE]))
    assert "srvtoolu" not in sent and "signature" not in sent and "first" not in sent
    assert "Searching.Found." in sent


def test_sealed_reasoning_goes_back_to_openai_before_what_followed_it(tmp_path: Path) -> None:
    use = "openai/responses/gpt-5"
    body = Numbered().begin().reasoning(0, "c2VhbGVk").text(1, "Looking.").call(2, '{"path": "a"}')
    call = {
        "type": "function_call",
        "call_id": "call_2",
        "name": "read_file",
        "arguments": '{"path": "a"}',
    }
    stream = body.end(output=[call])
    answer, _, _ = ask(parts(*stream), tmp_path, use=use)
    sent = second(answer, tmp_path, use, stream)["input"]
    assert [item["type"] for item in sent] == [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert sent[1] == {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": "c2VhbGVk"}
    assert (sent[3]["call_id"], sent[4]["call_id"]) == ("c0", "c0")


def test_reasoning_that_led_to_a_tool_of_openais_own_is_left_out(tmp_path: Path) -> None:
    made = Numbered().begin().reasoning(0, "first")
    item = {"id": "ws", "type": "web_search_call", "status": "completed"}
    made.add("response.output_item.added", output_index=1, item=item)
    made.add("response.output_item.done", output_index=1, item=item)
    stream = made.reasoning(2, "second").text(3, "Found.").end()
    answer, _, _ = ask(parts(*stream), tmp_path, use="openai/responses/gpt-5")
    assert isinstance(answer, ModelReplied)
    items = json.loads(answer.blocks)["reasoning_items"]
    assert [item["encrypted_content"] for item in items] == ["second"]


def test_a_model_that_speaks_responses_without_saying_so_gets_its_reasoning_back(tmp_path: Path) -> None:
    use = "openai/gpt-5-codex"
    stream = Numbered().begin().reasoning(0, "sealed").text(1, "Hi").end()
    answer, _, _ = ask(parts(*stream), tmp_path, use=use)
    sent = second(answer, tmp_path, use, stream)["input"]
    assert [item.get("encrypted_content") for item in sent if item["type"] == "reasoning"] == ["sealed"]


def gemini(*parts_of: dict[str, Any]) -> bytes:
    candidate = {
        "content": {"role": "model", "parts": list(parts_of)},
        "finishReason": "STOP",
        "index": 0,
    }
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    data = {"candidates": [candidate], "usageMetadata": usage}
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def test_geminis_thought_signature_goes_back_on_the_call_that_had_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    use = "gemini/gemini-3-pro-preview"
    call = {"functionCall": {"name": "read_file", "args": {"path": "a"}}, "thoughtSignature": "c2ln"}
    other = {"functionCall": {"name": "list_files", "args": {}}}
    body = [gemini(call, other)]
    answer, _, _ = ask(parts(*body), tmp_path, use=use)
    sent = assistant(second(answer, tmp_path, use, body), "contents")
    found = [(p["function_call"]["name"], p.get("thoughtSignature")) for p in sent["parts"]]
    assert found == [("read_file", "c2ln"), ("list_files", None)]


def test_deepseek_gets_back_the_thinking_that_led_to_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    use = "deepseek/deepseek-reasoner"
    function = {"name": "read_file", "arguments": "{}"}
    made = sse({"tool_calls": [{"index": 0, "id": "c", "function": function}]})
    body = [sse({"reasoning_content": "Hm, "}), sse({"reasoning_content": "ü"}), made]
    body += [sse({}, "tool_calls"), DONE]
    answer, _, _ = ask(parts(*body), tmp_path, use=use)
    assert assistant(second(answer, tmp_path, use, body))["reasoning_content"] == "Hm, ü"


def test_openrouters_reasoning_details_go_back_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    use = "openrouter/anthropic/claude-sonnet-4.5"
    detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    body = [
        sse({"reasoning": "H", "reasoning_details": [{**detail, "text": "H"}]}),
        sse({"reasoning": "m", "reasoning_details": [{**detail, "text": "m"}]}),
        sse({"reasoning_details": [{**detail, "signature": "sig"}]}),
        sse({"content": "Hi"}),
        sse({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.25}),
        DONE,
    ]
    answer, _, _ = ask(parts(*body), tmp_path, use=use)
    assert isinstance(answer, ModelReplied) and answer.usage.cost == 250_000_000
    sent = assistant(second(answer, tmp_path, use, body))
    assert sent["reasoning_details"] == [{**detail, "text": "Hm", "signature": "sig"}]
