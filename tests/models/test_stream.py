"""Model calls over real HTTP: what comes back, and every way a stream can go wrong."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from model_helpers import (
    DONE,
    SECRET,
    USAGE,
    Connection,
    Provider,
    ask,
    effect,
    parts,
    reply,
    run,
    sse,
    world_for,
)

from loopspec.codec import canonical_json, digest
from loopspec.context.transcript import Item, ViewCall, estimate
from loopspec.events import (
    AttemptFailed,
    CallDelta,
    EffectCancelled,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from loopspec.performers.model import ModelPerformer

ID = "s:1:0"
TOLD = TokenUsage(input_tokens=70, output_tokens=30, cached_tokens=40, cost=None)
NOTHING = TokenUsage(cost=0)


def made_call(index: int, name: str, args: str, id: str = "") -> dict[str, object]:
    return {
        "tool_calls": [
            {
                "index": index,
                "id": id or f"call_{index}",
                "type": "function",
                "function": {"name": name, "arguments": args},
            }
        ]
    }


def more_args(index: int, args: str) -> dict[str, object]:
    return {"tool_calls": [{"index": index, "function": {"arguments": args}}]}


def failed(answer: object) -> tuple[str, bool]:
    assert isinstance(answer, AttemptFailed), answer
    return answer.reason, answer.retryable


def test_a_text_reply_is_shown_piece_by_piece_and_answered_whole(tmp_path: Path) -> None:
    begin = sse({"role": "assistant", "content": ""})
    body = reply(begin, sse({"content": "Hel"}), sse({"content": "lo"}))
    answer, world, provider = ask(parts(*body), tmp_path)
    sent = provider.requests[0]
    params = {"api_base": provider.base}
    assert answer == ModelReplied(
        ID,
        text="Hello",
        finish="stop",
        model="openai/xyz",
        usage=TOLD,
        request=digest(
            canonical_json(
                {
                    "use": "openai/xyz",
                    "messages": sent["messages"],
                    "tools": sent["tools"],
                    "params": params,
                }
            ).encode()
        ),
        tokens=estimate("Hello"),
        estimated=sum(estimate(canonical_json(m)) for m in [*sent["messages"], *sent["tools"]]),
    )
    assert world.watched == [TextDelta(ID, "Hel"), TextDelta(ID, "lo")]
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]
    assert [t["function"]["name"] for t in sent["tools"]] == ["read_file", "list_files"]
    assert sent["stream"] is True and sent["stream_options"] == {"include_usage": True}


def test_the_request_holds_system_prompt_params_and_only_the_tools_of_the_state(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        async with Provider(parts(*reply(sse({"content": "ok"})))) as provider:
            params = json.dumps({"api_base": provider.base, "temperature": 0.25, "max_tokens": 9})
            world = world_for("openai/xyz", tmp_path, params=params, config='{"tools":["list_files"]}')
            name = world.put_blob("Be brief: ü".encode())
            await ModelPerformer().perform(effect("openai/xyz", name), world)
            return provider.requests[0]

    sent = run(go())
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief: ü"},
        {"role": "user", "content": "Hello"},
    ]
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {"name": "list_files", "description": "", "parameters": {"type": "object"}},
        }
    ]
    assert (sent["temperature"], sent["max_tokens"], sent["model"]) == (0.25, 9, "xyz")


def test_each_piece_is_shown_before_the_next_one_is_sent(tmp_path: Path) -> None:
    async def go() -> list[TextDelta]:
        shown = asyncio.Event()

        async def handle(client: Connection) -> None:
            await client.stream(sse({"content": "first"}))
            await shown.wait()
            await client.send(*reply(sse({"content": " second"})))

        async with Provider(handle) as provider:
            params = json.dumps({"api_base": provider.base})
            world = world_for("openai/xyz", tmp_path, params=params, total=10_000_000)
            task = asyncio.create_task(ModelPerformer().perform(effect("openai/xyz"), world))
            await world.seen.wait()
            early = list(world.watched)
            shown.set()
            answer = await task
            assert isinstance(answer, ModelReplied) and answer.text == "first second"
            return early

    assert run(go()) == [TextDelta(ID, "first")]


def test_several_calls_in_interleaved_pieces_are_put_together_by_index(tmp_path: Path) -> None:
    body = reply(
        sse({"content": "Looking."}),
        sse(made_call(0, "read_file", "")),
        sse(more_args(0, '{"path": "b')),
        sse(made_call(1, "list_files", "")),
        sse(more_args(0, '.py", "a": 1}')),
        finish="tool_calls",
    )
    answer, world, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.text == "Looking."
    assert answer.calls == [
        ProposedCall("read_file", '{"a":1,"path":"b.py"}'),
        ProposedCall("list_files", "{}"),
    ]
    assert answer.finish == "tool_calls"
    assert world.watched == [
        TextDelta(ID, "Looking."),
        CallDelta(ID, 0, "read_file", ""),
        CallDelta(ID, 0, "", '{"path": "b'),
        CallDelta(ID, 1, "list_files", ""),
        CallDelta(ID, 0, "", '.py", "a": 1}'),
    ]


def test_calls_that_share_an_index_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    body = reply(
        sse(made_call(0, "read_file", '{"path":"a"}', "one")),
        sse(made_call(0, "read_file", '{"path":"b"}', "two")),
        finish="tool_calls",
    )
    answer, _, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert [c.args for c in answer.calls] == ['{"path":"a"}', '{"path":"b"}']


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("[1]", ProposedCall("read_file", "{}", "arguments are not a JSON object")),
        ('{"a": ', ProposedCall("read_file", "{}", "arguments are not a JSON object")),
        ('{"a": NaN}', ProposedCall("read_file", "{}", "arguments are not a JSON object")),
        ('{"a": "\\ud800"}', ProposedCall("read_file", "{}", "arguments are not a JSON object")),
        ("[" * 100_000, ProposedCall("read_file", "{}", "arguments are not a JSON object")),
        (
            json.dumps({"password": SECRET}),
            ProposedCall("read_file", "{}", "arguments contain a secret; use its name instead"),
        ),
        ("  ", ProposedCall("read_file", "{}")),
        ('{"b": 1.5, "a": "ü"}', ProposedCall("read_file", '{"a":"ü","b":1.5}')),
    ],
)
def test_arguments_are_canonical_or_a_problem(args: str, expected: ProposedCall, tmp_path: Path) -> None:
    body = reply(sse(made_call(0, "read_file", args)), finish="tool_calls")
    answer, _, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.calls == [expected]


def test_text_is_redacted_in_the_reply_and_pieces_by_the_world_that_shows_them(tmp_path: Path) -> None:
    answer, world, _ = ask(parts(*reply(sse({"content": f"It is {SECRET}."}))), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.text == "It is [redacted]."
    assert world.watched == [TextDelta(ID, f"It is {SECRET}.")]  # see `loopspec.drivers.shown`


def test_thinking_is_shown_and_unsigned_thinking_is_not_sent_back(tmp_path: Path) -> None:
    body = reply(sse({"reasoning_content": "Hm"}), sse({"content": "Yes"}))
    answer, world, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert (answer.text, answer.blocks) == ("Yes", "")
    assert world.watched == [ThinkingDelta(ID, "Hm"), TextDelta(ID, "Yes")]


def test_characters_cut_in_the_middle_arrive_whole(tmp_path: Path) -> None:
    text = "naïve 😀 日本"
    single = b"".join(reply(*(sse({"content": c}) for c in text)))
    halves = [single[i : i + 1] for i in range(len(single))]
    answer, _, _ = ask(parts(*halves), tmp_path)
    assert isinstance(answer, ModelReplied) and answer.text == text
    split = [sse({"content": "a\ud83d"}), sse({"content": "\ude00b"}), sse({"content": "\ud83d"})]
    answer, world, _ = ask(parts(*reply(*split)), tmp_path)
    assert isinstance(answer, ModelReplied) and answer.text == "a😀b"
    assert world.watched == [TextDelta(ID, "a"), TextDelta(ID, "😀b")]


def test_a_hundred_equal_pieces_are_no_error(tmp_path: Path) -> None:
    body = reply(*[sse({"content": "----"})] * 150)
    answer, _, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied) and answer.text == "----" * 150


def test_usage_nobody_reported_is_estimated(tmp_path: Path) -> None:
    body = [sse({"content": "Hello"}), sse({}, "stop"), DONE]
    answer, _, provider = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    sent = provider.requests[0]
    asked = sum(estimate(canonical_json(m)) for m in [*sent["messages"], *sent["tools"]])
    assert answer.usage == TokenUsage(asked, estimate("Hello"), 0, None)


def test_the_cost_of_a_known_model_is_exact_and_of_an_unknown_one_unknown(tmp_path: Path) -> None:
    body = parts(*reply(sse({"content": "x"})))
    known, _, _ = ask(body, tmp_path, use="openai/gpt-4o")
    assert isinstance(known, ModelReplied)
    # 30 fresh and 40 cached tokens in, 30 out, at 2.50, 1.25 and 10.00 USD per million.
    assert known.usage == TokenUsage(70, 30, 40, 30 * 2500 + 40 * 1250 + 30 * 10_000)
    unknown, _, _ = ask(body, tmp_path, use="openai/xyz")
    assert isinstance(unknown, ModelReplied) and unknown.usage.cost is None


# ---------------------------------------------------------------- broken streams


def test_an_end_without_a_finish_reason_is_truncated(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(sse({"content": "Hel"}), sse({"content": "lo"})), tmp_path)
    assert isinstance(answer, AttemptFailed)
    assert answer == AttemptFailed(
        ID,
        "truncated",
        "the stream ended without a finish reason",
        retryable=True,
        jitter=123_456,
        partial="Hello",
        usage=answer.usage,
        use="openai/xyz",
    )
    assert answer.usage.output_tokens == estimate("Hello") and answer.usage.input_tokens > 0


def test_an_end_inside_a_call_is_truncated(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(sse(made_call(0, "read_file", '{"pa'))), tmp_path)
    assert failed(answer) == ("truncated", True)


def test_a_length_limit_inside_a_call_is_truncated(tmp_path: Path) -> None:
    body = reply(sse(made_call(0, "read_file", '{"pa')), finish="length")
    answer, _, _ = ask(parts(*body), tmp_path)
    assert failed(answer) == ("truncated", True)
    body = reply(sse({"content": "long"}), finish="length")
    whole, _, _ = ask(parts(*body), tmp_path)
    assert isinstance(whole, ModelReplied) and (whole.text, whole.finish) == ("long", "length")


def test_a_dropped_connection_keeps_what_had_come(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(content_type="text/event-stream", chunked=True)
        piece = sse({"content": "Hel"})
        await client.send(f"{len(piece):x}\r\n".encode(), piece, b"\r\n")

    answer, _, _ = ask(handle, tmp_path)
    assert failed(answer) == ("connection", True)
    assert isinstance(answer, AttemptFailed) and answer.partial == "Hel"


def test_nobody_listening_is_a_connection_fault(tmp_path: Path) -> None:
    async def go() -> object:
        async with Provider(parts()) as provider:
            base = provider.base
        world = world_for("openai/xyz", tmp_path, params=json.dumps({"api_base": base}))
        return await ModelPerformer().perform(effect("openai/xyz"), world)

    answer = run(go())
    assert failed(answer) == ("connection", True)
    assert isinstance(answer, AttemptFailed) and answer.usage == NOTHING


def test_garbage_in_the_stream_is_corrupt(tmp_path: Path) -> None:
    body = [sse({"content": "Hel"}), b'data: {"id": broken\n\n', *reply()]
    answer, _, _ = ask(parts(*body), tmp_path)
    assert failed(answer) == ("corrupt", True)
    assert isinstance(answer, AttemptFailed) and answer.partial == "Hel"


def test_an_error_inside_the_stream_is_told(tmp_path: Path) -> None:
    body = [sse({"content": "Hel"}), b'data: {"error": {"message": "The server is overloaded"}}\n\n']
    answer, _, _ = ask(parts(*body), tmp_path)
    assert failed(answer) == ("overloaded", True)
    assert isinstance(answer, AttemptFailed) and answer.detail == "The server is overloaded"


@pytest.mark.parametrize("body", [[], [sse({"content": " \n"})], [sse({"reasoning_content": "Hm"})]])
def test_an_empty_reply_is_a_fault(body: list[bytes], tmp_path: Path) -> None:
    answer, _, _ = ask(parts(*reply(*body)), tmp_path)
    assert failed(answer) == ("empty", True)


def test_a_filtered_reply_is_refused(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(*reply(finish="content_filter")), tmp_path)
    assert failed(answer) == ("refused", False)


# ---------------------------------------------------------------- deadlines


def stalling(*before: bytes, every: bytes = b"", head: bool = True):  # type: ignore[no-untyped-def]
    """A handler that falls silent after `before`, or sends only `every`, until the client goes."""

    async def handle(client: Connection) -> None:
        if head:
            await client.stream(*before)
        gone = asyncio.create_task(client.gone())
        while every and not gone.done():
            await client.send(every)
            await asyncio.wait([gone], timeout=0.01)
        await gone

    return handle


@pytest.mark.parametrize(
    ("handler", "deadline", "reason", "partial"),
    [
        (stalling(head=False), "connect", "timeout", ""),
        (stalling(), "first_chunk", "timeout", ""),
        (stalling(every=b": ping\n\n"), "first_chunk", "timeout", ""),
        (stalling(sse({"content": "Hel"})), "between_chunks", "stalled", "Hel"),
        (stalling(sse({"content": "Hel"}), every=b": ping\n\n"), "between_chunks", "stalled", "Hel"),
        (
            stalling(sse({"content": "Hel"}), every=sse({"content": ""})),
            "between_chunks",
            "stalled",
            "Hel",
        ),
        (stalling(every=sse({"content": "x"})), "total", "timeout", None),
    ],
)
def test_silence_ends_at_its_deadline(
    handler,  # type: ignore[no-untyped-def]
    deadline: str,
    reason: str,
    partial: str | None,
    tmp_path: Path,
) -> None:
    async def go() -> tuple[object, float, int]:
        async with Provider(handler) as provider:
            params = json.dumps({"api_base": provider.base})
            world = world_for("openai/xyz", tmp_path, params=params, **{deadline: 150_000})
            await ModelPerformer().perform(effect("openai/nope"), world_for("openai/nope", tmp_path))
            begun = time.monotonic()
            answer = await ModelPerformer().perform(effect("openai/xyz"), world)
            took = time.monotonic() - begun
            for _ in range(200):
                if provider.closed:
                    break
                await asyncio.sleep(0.01)
            return answer, took, provider.closed

    answer, took, closed = run(go())
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable) == (reason, True)
    assert answer.detail == f"no more content within 0.15 s (deadline {deadline})"
    if partial is not None:
        assert answer.partial == partial
    assert took < 5
    assert closed == 1


# ---------------------------------------------------------------- refusals of the provider


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (400, "temperature must be below 2", "x", ("bad_request", False)),
        (400, "flagged by our content management policy", "content_filter", ("refused", False)),
        (401, "Incorrect API key provided: sk-abcdefghij", "invalid_api_key", ("auth", False)),
        (403, "no access", "x", ("auth", False)),
        (404, "The model `xyz` does not exist", "model_not_found", ("unknown_model", False)),
        (429, "slow down", "x", ("rate_limited", True)),
        (500, "oops", "x", ("provider", True)),
        (503, "overloaded", "x", ("overloaded", True)),
        (504, "gateway timeout", "x", ("timeout", True)),
        (529, "overloaded", "x", ("overloaded", True)),
    ],
)
def test_each_refusal_has_its_reason(
    status: int, message: str, code: str, expected: tuple[str, bool], tmp_path: Path
) -> None:
    async def handle(client: Connection) -> None:
        await client.refuse(status, message, code)

    answer, world, provider = ask(handle, tmp_path)
    assert failed(answer) == expected
    assert isinstance(answer, AttemptFailed)
    assert "sk-abcdefghij" not in answer.detail and "\n" not in answer.detail
    assert answer.usage == NOTHING
    assert (len(provider.requests), world.watched) == (1, [])


def test_retry_after_is_stamped_in_microseconds(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.refuse(429, f"slow down, {SECRET}", retry_after="2.5")

    answer, _, _ = ask(handle, tmp_path)
    assert answer == AttemptFailed(
        ID,
        "rate_limited",
        "slow down, [redacted]",
        retryable=True,
        retry_after=2_500_000,
        jitter=123_456,
        usage=NOTHING,
        use="openai/xyz",
    )


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "This model's maximum context length is 10 tokens", "context_length_exceeded"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "x"),
        (413, "Request exceeds the maximum size", "request_too_large"),
    ],
)
def test_a_request_that_does_not_fit_is_an_overflow(
    status: int, message: str, code: str, tmp_path: Path
) -> None:
    async def handle(client: Connection) -> None:
        await client.refuse(status, message, code)

    answer, _, _ = ask(handle, tmp_path)
    assert isinstance(answer, ModelOverflowed)
    assert answer == ModelOverflowed(ID, answer.detail)
    assert message in answer.detail


# ---------------------------------------------------------------- cancelling and keeping


def test_a_cancel_closes_the_socket_at_once_and_keeps_the_text(tmp_path: Path) -> None:
    async def go() -> tuple[object, float, int]:
        left = asyncio.Event()

        async def handle(client: Connection) -> None:
            await client.stream(sse({"content": f"Hel {SECRET}"}))
            await client.gone()
            left.set()

        async with Provider(handle) as provider:
            params = json.dumps({"api_base": provider.base})
            world = world_for("openai/xyz", tmp_path, params=params)
            task = asyncio.create_task(ModelPerformer().perform(effect("openai/xyz"), world))
            await world.seen.wait()
            begun = time.monotonic()
            task.cancel()
            answer = await task
            await asyncio.wait_for(left.wait(), 1)
            return answer, time.monotonic() - begun, len(world.watched)

    answer, took, shown = run(go())
    assert isinstance(answer, EffectCancelled)
    assert answer == EffectCancelled(
        ID,
        started=True,
        partial="Hel [redacted]",
        usage=answer.usage,
        tokens=estimate("Hel [redacted]"),
    )
    assert answer.usage.output_tokens > 0 and answer.usage.input_tokens > 0
    assert took < 1 and shown == 1


def test_a_cancel_before_anything_came_costs_nothing(tmp_path: Path) -> None:
    async def go() -> object:
        asked = asyncio.Event()

        async def handle(client: Connection) -> None:
            asked.set()
            await client.gone()

        async with Provider(handle) as provider:
            params = json.dumps({"api_base": provider.base})
            world = world_for("openai/xyz", tmp_path, params=params)
            task = asyncio.create_task(ModelPerformer().perform(effect("openai/xyz"), world))
            await asked.wait()
            task.cancel()
            return await task

    assert run(go()) == EffectCancelled(ID, started=True, usage=NOTHING)


def test_the_open_text_is_kept_every_four_kilobytes(tmp_path: Path) -> None:
    piece = "ü" * 1000
    answer, world, _ = ask(parts(*reply(*[sse({"content": piece})] * 7)), tmp_path)
    assert isinstance(answer, ModelReplied)
    kept = [(name, len(data)) for name, data in world.partials]
    assert (ID, 6000) in kept and (ID, 12000) in kept  # and on a slow machine what a second brought
    assert all(answer.text.encode().startswith(data) for _, data in world.partials)


# ---------------------------------------------------------------- the conversation


def test_blocks_of_another_provider_are_not_sent_to_this_one(tmp_path: Path) -> None:
    blocks = '{"thinking_blocks":[{"signature":"s","thinking":"t","type":"thinking"}]}'
    items = (
        Item(id="0.0", role="user", text="Hi"),
        Item(
            id="1.0",
            role="assistant",
            text="Reading",
            calls=(ViewCall("c1", "read_file", '{"path":"a"}'),),
            blocks=blocks,
        ),
        Item(id="2.0", role="result", call="c1", tool="read_file", text="body"),
    )
    _, _, provider = ask(parts(*reply(sse({"content": "ok"}))), tmp_path, items=items)
    assert provider.requests[0]["messages"] == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Reading",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "read_file", "arguments": '{"path":"a"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "body"},
    ]


def test_the_usage_chunk_may_come_before_or_after_the_finish(tmp_path: Path) -> None:
    told = {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}
    body = [sse({"content": "x"}), sse({}, "stop", usage=told), DONE]
    answer, _, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.usage == TokenUsage(70, 30, 0, None)
    assert USAGE not in body
