"""The three protocols over real HTTP, asked for by litellm: whole replies, and every way to break."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from model_helpers import (
    DONE,
    SECRET,
    Connection,
    Provider,
    ask,
    effect,
    parts,
    run,
    sse,
    world_for,
)
from wire_kit import (
    ARGS,
    STREAMS,
    TEXT,
    USES,
    Numbered,
    block_start,
    chat_call,
    event,
    message_end,
    message_start,
    text_block,
    thinking_block,
    tool_block,
)

from loopspec.codec import canonical_json
from loopspec.context.transcript import estimate
from loopspec.events import (
    AttemptFailed,
    CallDelta,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    StreamDiscarded,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from loopspec.performers import model
from loopspec.performers.model import ModelPerformer
from loopspec.performers.model_endings import ending_of
from loopspec.performers.wire import sse as wire_sse
from loopspec.performers.wire.tap import Tap, Wire

ID = "s:1:0"
KINDS = ["chat", "messages", "responses"]
CALL = ProposedCall("read_file", canonical_json(json.loads(ARGS)))


def broke(answer: object) -> AttemptFailed:
    assert isinstance(answer, AttemptFailed), answer
    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_reply_is_read_from_the_checked_bytes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[type, bool]] = []
    before = model._wired

    async def noted(start: Any, tap: Tap) -> Any:
        made = await before(start, tap)
        read.append((type(made), tap.known))
        return made

    monkeypatch.setattr(model, "_wired", noted)
    answer, world, provider = ask(parts(*STREAMS[kind]()), tmp_path, use=USES[kind])
    assert read == [(Wire, True)], "litellm's clients are not tapped any more"
    assert isinstance(answer, ModelReplied) and ending_of(answer) == "complete"
    assert (answer.text, answer.calls, answer.finish) == (TEXT, [CALL], "tool_calls")
    cached = 0 if kind == "messages" else 40
    assert answer.usage == TokenUsage(70, 30, cached, None)
    assert answer.estimated > 0 and answer.tokens == estimate(TEXT) + estimate(CALL.args)
    assert "".join(e.text for e in world.watched if isinstance(e, TextDelta)) == TEXT
    assert "".join(e.text for e in world.watched if isinstance(e, CallDelta)) == ARGS
    thought = [e.text for e in world.watched if isinstance(e, ThinkingDelta)]
    assert thought == (["Hm, ", "well."] if kind == "messages" else [])
    assert len(provider.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_F23_single_bytes_make_the_same_reply(kind: str, tmp_path: Path) -> None:
    body = b"".join(STREAMS[kind]())
    whole, _, _ = ask(parts(body), tmp_path, use=USES[kind])

    async def slowly(client: Connection) -> None:
        await client.stream(*(body[i : i + 1] for i in range(len(body))))

    single, _, _ = ask(slowly, tmp_path, use=USES[kind])
    assert isinstance(whole, ModelReplied) and isinstance(single, ModelReplied)
    assert (single.text, single.calls, single.blocks) == (whole.text, whole.calls, whole.blocks)


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_end_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.stream(*STREAMS[kind]())
        await client.gone()

    answer, _, _ = ask(handle, tmp_path, use=USES[kind])
    assert isinstance(answer, ModelReplied) and answer.text == TEXT


# ---------------------------------------------------------------- broken streams


@pytest.mark.parametrize("kind", KINDS)
def test_F3_a_stream_that_dies_inside_arguments_proposes_no_call(kind: str, tmp_path: Path) -> None:
    body = b"".join(STREAMS[kind]())
    cut = body.index(b"line") + 3
    answer, world, _ = ask(parts(body[:cut]), tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.retryable, found.resumable) == ("truncated", True, False)
    assert ending_of(found) == "truncated"
    assert (found.partial, found.use) == (TEXT, USES[kind])
    assert "read_file" not in found.kept
    assert world.watched[-1] == StreamDiscarded(ID, "truncated")
    said = estimate(TEXT)
    assert found.usage.input_tokens > 0 and found.usage.output_tokens >= said


@pytest.mark.parametrize("kind", KINDS)
def test_F3_a_stream_that_dies_inside_a_text_keeps_what_was_whole(kind: str, tmp_path: Path) -> None:
    body = b"".join(STREAMS[kind]())
    answer, _, _ = ask(parts(body[: body.index(b": loo") + 3]), tmp_path, use=USES[kind])
    found = broke(answer)
    assert found.reason == "truncated"
    assert TEXT.startswith(found.partial) and len(found.partial) >= 10
    kept = json.loads(found.kept or "[]")
    signed = {"type": "thinking", "thinking": "Hm, well.", "signature": "sig"}
    assert kept == ([signed] if kind == "messages" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_F3_a_stream_that_dies_before_its_first_byte_costs_nothing(kind: str, tmp_path: Path) -> None:
    answer, world, _ = ask(parts(), tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.partial, found.usage) == ("truncated", "", TokenUsage(cost=0))
    assert world.watched == []


@pytest.mark.parametrize("kind", KINDS)
def test_F3_everything_but_the_reason_for_the_end_is_truncated(kind: str, tmp_path: Path) -> None:
    cut = {"chat": -3, "messages": -2, "responses": -1}[kind]
    answer, _, _ = ask(parts(*STREAMS[kind]()[:cut]), tmp_path, use=USES[kind])
    found = broke(answer)
    assert found.reason == "truncated"
    calls = [item for item in json.loads(found.kept or "[]") if item["type"] == "call"]
    whole = [{"type": "call", "tool": CALL.tool, "args": CALL.args}]
    assert calls == ([] if kind == "chat" else whole)  # a chat does not say that a call is finished


def test_F4_a_silent_stream_ends_at_the_deadline_between_chunks(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.stream(message_start(), *text_block(0, "Hel")[:2])
        gone = asyncio.create_task(client.gone())
        while not gone.done():
            await client.send(event({"type": "ping"}))
            await asyncio.wait([gone], timeout=0.01)

    use = USES["messages"]
    ask(parts(), tmp_path, use=use)  # what is made once is made
    answer, _, _ = ask(handle, tmp_path, use=use, between_chunks=200_000)
    found = broke(answer)
    assert (found.reason, found.partial, ending_of(found)) == ("stalled", "Hel", "truncated")


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_event_is_told_by_its_place_and_ends_the_attempt(kind: str, tmp_path: Path) -> None:
    made = STREAMS[kind]()
    at = next(n for n, part in enumerate(made) if ": loo" in part.decode())
    bad = bytearray(made[at])
    bad[bad.index(b"{") + 1] = 0
    answer, _, _ = ask(parts(*made[:at], bytes(bad), *made[at + 1 :]), tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.retryable, ending_of(found)) == ("corrupt", True, "failed")
    assert found.detail.startswith("event ") and TEXT.startswith(found.partial)
    assert found.kept == "" or "read_file" not in found.kept


def test_an_absurdly_long_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_sse, "MAX_LINE", 100_000)
    sent = 0

    async def handle(client: Connection) -> None:
        nonlocal sent
        await client.stream(sse({"content": "Hel"}), b"data: ")
        for _ in range(100_000):
            await client.send(b"x" * 4096)
            sent += 4096

    answer, _, _ = ask(handle, tmp_path)
    found = broke(answer)
    assert (found.reason, found.partial) == ("corrupt", "Hel")
    assert sent < 100_000_000 and "of more than 100000 characters" in found.detail


@pytest.mark.parametrize(
    ("kind", "fault", "expected"),
    [
        ("chat", {"error": {"message": "busy", "type": "overloaded_error"}}, "overloaded"),
        ("chat", {"error": {"message": "slow down", "code": 429}}, "rate_limited"),
        (
            "messages",
            {"type": "error", "error": {"type": "overloaded_error", "message": "b"}},
            "overloaded",
        ),
        (
            "messages",
            {"type": "error", "error": {"type": "rate_limit_error", "message": "b"}},
            "rate_limited",
        ),
        ("messages", {"type": "error", "error": {"type": "api_error", "message": "b"}}, "provider"),
        (
            "responses",
            {"type": "error", "code": "rate_limit_exceeded", "message": "b", "sequence_number": 2},
            "rate_limited",
        ),
    ],
)
def test_an_error_inside_a_stream_is_its_own_reason(
    kind: str, fault: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    answer, _, _ = ask(parts(*STREAMS[kind]()[:2], event(fault)), tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.retryable) == (expected, True)
    assert ending_of(found) == ("failed" if expected == "provider" else "rate-limited")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "reason"), [(429, "rate_limited"), (529, "overloaded")])
def test_F5_a_refusal_for_load_has_its_reason_and_its_retry_after(
    kind: str, status: int, reason: str, tmp_path: Path
) -> None:
    async def handle(client: Connection) -> None:
        await client.refuse(status, "not now", retry_after="1")

    answer, _, provider = ask(handle, tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.retry_after, found.usage) == (reason, 1_000_000, TokenUsage(cost=0))
    assert len(provider.requests) == 1  # nothing is tried again behind our back


def test_an_overflow_inside_a_stream_is_an_overflow(tmp_path: Path) -> None:
    fault = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    answer, _, _ = ask(parts(sse({"content": "H"}), event(fault)), tmp_path)
    assert isinstance(answer, ModelOverflowed) and ending_of(answer) == "overflowed"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"error": {"message": "busy", "code": 529}}', "overloaded"), (b'{"choices": []}', "corrupt")],
)
def test_json_where_a_stream_was_asked_for_is_a_fault(body: bytes, reason: str, tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(content_type="application/json")
        await client.send(body)

    answer, _, _ = ask(handle, tmp_path)
    assert broke(answer).reason == reason


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        (
            "messages",
            [message_start(), *text_block(0, "I"), *message_end("refusal")],
            "the model refused to answer",
        ),
        (
            "chat",
            [sse({"refusal": "I will "}), sse({"refusal": "not."}), sse({}, "stop"), DONE],
            "I will not.",
        ),
        (
            "responses",
            Numbered()
            .begin()
            .add(
                "response.output_item.added",
                output_index=0,
                item={"id": "m", "type": "message", "content": []},
            )
            .add("response.refusal.delta", output_index=0, content_index=0, item_id="m", delta="No.")
            .add("response.refusal.done", output_index=0, content_index=0, item_id="m", refusal="No.")
            .add(
                "response.output_item.done",
                output_index=0,
                item={
                    "id": "m",
                    "type": "message",
                    "content": [{"type": "refusal", "refusal": "No."}],
                },
            )
            .end(),
            "No.",
        ),
    ],
)
def test_a_refusal_is_told_in_its_words(
    kind: str, body: list[bytes], detail: str, tmp_path: Path
) -> None:
    answer, _, _ = ask(parts(*body), tmp_path, use=USES[kind])
    found = broke(answer)
    assert (found.reason, found.detail, ending_of(found)) == ("refused", detail, "refused")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", [chat_call("", name="read_file", key="c"), sse({}, "length"), DONE]),
        ("messages", [message_start(), *tool_block(0), *message_end("max_tokens")]),
        ("messages", [message_start(), *tool_block(0, '{"path'), *message_end("max_tokens")]),
    ],
)
def test_a_call_the_length_limit_cut_before_its_arguments_is_never_proposed(
    kind: str, body: list[bytes], tmp_path: Path
) -> None:
    answer, _, _ = ask(parts(*body), tmp_path, use=USES[kind])
    assert broke(answer).reason == "truncated"


def test_a_response_that_is_incomplete_for_its_length_is_told_so(tmp_path: Path) -> None:
    body = (
        Numbered()
        .begin()
        .text(0, "long")
        .end("response.incomplete", incomplete_details={"reason": "max_output_tokens"})
    )
    answer, _, _ = ask(parts(*body), tmp_path, use=USES["responses"])
    assert isinstance(answer, ModelReplied) and (answer.text, answer.finish) == ("long", "length")


def test_F6_an_empty_text_block_reaches_neither_the_view_nor_the_provider(tmp_path: Path) -> None:
    body = [message_start(), *text_block(0), *tool_block(1, "{}"), *message_end("tool_use")]
    answer, world, _ = ask(parts(*body), tmp_path, use=USES["messages"])
    assert isinstance(answer, ModelReplied)
    assert (answer.text, answer.blocks, answer.calls) == ("", "", [ProposedCall("read_file")])
    assert not any(isinstance(e, TextDelta) for e in world.watched)


def test_what_is_kept_of_a_broken_reply_holds_no_secret(tmp_path: Path) -> None:
    secret = [*tool_block(1, json.dumps({"path": SECRET}))]
    body = [message_start(), *thinking_block(0, "Hm"), *secret, block_start(2, type="text", text="")]
    answer, _, _ = ask(parts(*body), tmp_path, use=USES["messages"])
    assert SECRET not in repr(answer)
    assert [item["type"] for item in json.loads(broke(answer).kept)] == ["thinking"]


# ---------------------------------------------------------------- costs, timing, other readers


def test_the_cost_of_cached_tokens_is_litellms(tmp_path: Path) -> None:
    import litellm

    usage = {"cache_read_input_tokens": 2000, "cache_creation_input_tokens": 300, "input_tokens": 50}
    body = [message_start(**usage), *text_block(0, "Hi"), *message_end("end_turn", 40)]
    use = "anthropic/claude-sonnet-4-5"
    answer, _, _ = ask(parts(*body), tmp_path, use=use)
    assert isinstance(answer, ModelReplied)
    row = litellm.model_cost["claude-sonnet-4-5"]
    expected = (
        50 * row["input_cost_per_token"]
        + 2000 * row["cache_read_input_token_cost"]
        + 300 * row["cache_creation_input_token_cost"]
        + 40 * row["output_cost_per_token"]
    )
    assert answer.usage == TokenUsage(2350, 40, 2000, round(expected * 1e9))


def test_a_responses_model_has_the_window_and_the_price_of_its_name() -> None:
    for use in ("openai/responses/gpt-5", "openai/gpt-5"):
        assert model.window_of(use) == model.window_of("openai/gpt-5") > 0
        assert model.priced(use)


def test_a_responses_model_nobody_knows_streams_all_the_same(tmp_path: Path) -> None:
    answer, world, provider = ask(parts(*STREAMS["responses"]()), tmp_path, use="openai/responses/mine")
    assert isinstance(answer, ModelReplied) and answer.calls == [CALL]
    assert provider.requests[0]["stream"] is True
    assert sum(isinstance(e, TextDelta) for e in world.watched) == 4


def test_a_model_without_streams_is_asked_for_the_whole_reply(tmp_path: Path) -> None:
    message = {"type": "output_text", "text": "Hello", "annotations": []}
    output = [{"id": "m", "type": "message", "role": "assistant", "content": [message]}]
    body = {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": "o1-pro",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
    }

    async def handle(client: Connection) -> None:
        await client.head(content_type="application/json")
        await client.send(json.dumps(body).encode())

    answer, _, provider = ask(handle, tmp_path, use="openai/responses/o1-pro")
    assert "stream" not in provider.requests[0]
    assert isinstance(answer, ModelReplied) and answer.text == "Hello"


def test_two_attempts_at_once_do_not_take_each_others_bytes(tmp_path: Path) -> None:
    async def go() -> list[str]:
        async def handle(client: Connection) -> None:
            word = provider.requests[-1]["messages"][-1]["content"]
            await client.head(content_type="text/event-stream")
            for n in range(20):
                await client.send(sse({"content": f"{word}{n} "}))
                await asyncio.sleep(0)
            await client.send(sse({}, "stop"), DONE)

        async with Provider(handle) as provider:
            params = json.dumps({"api_base": provider.base})
            tasks = []
            for word in "abcd":
                world = world_for("openai/xyz", tmp_path, params=params)
                world.items = (type(world.items[0])(id="0.0", role="user", text=word),)
                tasks.append(ModelPerformer().perform(effect("openai/xyz"), world))
            answers = await asyncio.gather(*tasks)
            return [a.text for a in answers if isinstance(a, ModelReplied)]

    texts = sorted(run(go()))
    assert texts == ["".join(f"{word}{n} " for n in range(20)) for word in "abcd"]


def gemini(*chunks: dict[str, Any]) -> list[bytes]:
    return [b"data: " + json.dumps(c, ensure_ascii=False).encode() + b"\r\n\r\n" for c in chunks]


def said(text: str, finish: str = "", **part: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text, **part}]}}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    return {"candidates": [{**candidate, "index": 0}], "usageMetadata": usage}


def test_a_protocol_litellm_reads_itself_is_checked_on_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    use = "gemini/gemini-2.5-flash"
    body = gemini(said("Näh"), said("er", "STOP"))
    whole, _, _ = ask(parts(*body), tmp_path, use=use)
    assert isinstance(whole, ModelReplied) and whole.text == "Näher"
    spoilt = body[0].replace("ä".encode(), b"\xe4")
    answer, _, _ = ask(parts(spoilt, body[1]), tmp_path, use=use)
    assert (broke(answer).reason, broke(answer).detail) == ("corrupt", "event 1: byte 0xe4 is not UTF-8")
    answer, _, _ = ask(parts(body[0]), tmp_path, use=use)
    assert broke(answer).reason == "truncated"
    answer, _, _ = ask(parts(body[0], b'data: {"candidates": [tr\r\n\r\n'), tmp_path, use=use)
    assert broke(answer).reason == "corrupt"


def test_a_reply_in_the_form_of_a_schema_is_made_by_litellm_of_checked_bytes(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = [
        message_start(),
        *tool_block(0, '{"a":', " 1}", name="json_tool_call"),
        *message_end("tool_use"),
    ]
    params = {"response_format": form}
    use = "anthropic/claude-3-5-sonnet-20240620"
    answer, _, _ = ask(parts(*body), tmp_path, use=use, params=params)
    assert isinstance(answer, ModelReplied) and json.loads(answer.text) == {"a": 1} and not answer.calls
    answer, _, _ = ask(parts(*body[:-2]), tmp_path, use=use, params=params)
    assert broke(answer).reason == "truncated"
    answer, _, _ = ask(parts(*body[:2], *body[3:]), tmp_path, use=use, params=params)
    assert isinstance(answer, ModelReplied | AttemptFailed)
    answer, _, _ = ask(parts(*body[:1], *body[2:]), tmp_path, use=use, params=params)
    assert broke(answer).reason == "corrupt"
