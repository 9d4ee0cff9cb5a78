"""Real streams, recorded from providers and replayed byte for byte; skipped where they are absent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from model_helpers import Connection, ask, parts

from loopspec.codec import canonical_json
from loopspec.events import (
    AttemptFailed,
    CallDelta,
    ModelReplied,
    ProposedCall,
    TextDelta,
    ThinkingDelta,
)
from loopspec.spec.source import load_plain

STREAMS = Path(
    os.environ.get("LOOPSPEC_STREAMS") or Path(__file__).parents[3] / "shared" / "data" / "streams"
)
pytestmark = pytest.mark.skipif(not STREAMS.is_dir(), reason="no recorded streams here")
THINKING = "test_anthropic/test_anthropic_model_thinking_part_stream"
REDACTED = "test_anthropic/test_anthropic_model_thinking_part_redacted_stream"
CHAT = "test_openai/test_run_stream_sync_streams_real_model"


def recorded(name: str) -> list[str]:
    """The response bodies of one recording."""
    path = STREAMS / f"{name}.yaml"
    if not path.exists():
        pytest.skip(f"no recording {name}")
    return [i["response"]["body"]["string"] for i in load_plain(path)["interactions"]]


def datas(body: str) -> list[dict[str, Any]]:
    """The JSON of each data line."""
    lines = (line[6:] for line in body.splitlines() if line.startswith("data: {"))
    return [json.loads(line) for line in lines]


def test_a_recorded_chat_stream_gives_its_call_and_its_answer(tmp_path: Path) -> None:
    first, second = recorded(CHAT)
    answer, world, _ = ask(parts(first.encode()), tmp_path, use="openai/gpt-4o")
    pieces = [
        call["function"]
        for data in datas(first)
        for choice in data["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    args = canonical_json(json.loads("".join(p["arguments"] for p in pieces)))
    assert isinstance(answer, ModelReplied)
    assert answer.calls == [ProposedCall(pieces[0]["name"], args)]
    assert (answer.finish, answer.usage.input_tokens, answer.usage.output_tokens) == (
        "tool_calls",
        53,
        15,
    )
    assert answer.usage.cost == 53 * 2500 + 15 * 10_000
    assert all(isinstance(e, CallDelta) for e in world.watched)
    answer, world, _ = ask(parts(second.encode()), tmp_path, use="openai/gpt-4o")
    said = "".join(
        choice["delta"].get("content") or "" for data in datas(second) for choice in data["choices"]
    )
    assert isinstance(answer, ModelReplied) and answer.text == said != ""
    assert "".join(e.text for e in world.watched if isinstance(e, TextDelta)) == said


def test_a_recorded_signed_thinking_comes_back_verbatim(tmp_path: Path) -> None:
    [body] = recorded(THINKING)
    answer, world, _ = ask(parts(body.encode()), tmp_path, use="anthropic/claude-sonnet-4-0")
    deltas = [d["delta"] for d in datas(body) if d["type"] == "content_block_delta"]
    thought = "".join(d.get("thinking", "") for d in deltas)
    signature = "".join(d.get("signature", "") for d in deltas)
    assert isinstance(answer, ModelReplied)
    assert answer.text == "".join(d.get("text", "") for d in deltas) != ""
    assert json.loads(answer.blocks) == {
        "thinking_blocks": [{"type": "thinking", "thinking": thought, "signature": signature}]
    }
    assert "".join(e.text for e in world.watched if isinstance(e, ThinkingDelta)) == thought
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (43, 282)


def test_recorded_redacted_thinking_comes_back_verbatim(tmp_path: Path) -> None:
    [body] = recorded(REDACTED)
    answer, _, _ = ask(parts(body.encode()), tmp_path, use="anthropic/claude-sonnet-4-0")
    starts = [d["content_block"] for d in datas(body) if d["type"] == "content_block_start"]
    assert isinstance(answer, ModelReplied)
    assert json.loads(answer.blocks) == {
        "thinking_blocks": [b for b in starts if b["type"] == "redacted_thinking"]
    }


@pytest.mark.parametrize(("name", "use"), [(THINKING, "anthropic/x"), (CHAT, "openai/x")])
def test_a_recorded_stream_cut_anywhere_is_never_taken_for_a_whole_one(
    name: str, use: str, tmp_path: Path
) -> None:
    body = recorded(name)[-1].encode()
    last = body.index(b'"stop_reason":"end_turn"' if "anthropic" in use else b'"finish_reason":"stop"')
    for cut in range(0, last, max(1, last // 12)):
        answer, _, _ = ask(parts(body[:cut]), tmp_path, use=use)
        assert isinstance(answer, AttemptFailed), (cut, answer)
        assert answer.reason in ("truncated", "corrupt"), (cut, answer)
        assert answer.retryable


def test_a_recorded_stream_in_single_bytes_is_the_same_reply(tmp_path: Path) -> None:
    body = recorded(CHAT)[-1].encode()

    async def slowly(client: Connection) -> None:
        await client.stream(*(body[i : i + 1] for i in range(len(body))))

    whole, _, _ = ask(parts(body), tmp_path)
    single, _, _ = ask(slowly, tmp_path)
    assert isinstance(whole, ModelReplied) and isinstance(single, ModelReplied)
    assert (single.text, single.usage) == (whole.text, whole.usage)
