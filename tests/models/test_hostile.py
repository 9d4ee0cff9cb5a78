"""A provider that means harm, or means nothing: what it sends is neither believed nor waited for."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from model_helpers import (
    DONE,
    SECRET,
    USAGE,
    Connection,
    Handler,
    Provider,
    RecordingWorld,
    ask,
    effect,
    parts,
    run,
    sse,
    world_for,
)
from wire_kit import USES, chat_call, message_end, message_start, pieces, read, text_block

from loopspec.events import AttemptFailed, CallDelta, ModelReplied, ProposedCall, TokenUsage
from loopspec.performers import model_stream, open_text
from loopspec.performers.model import ModelPerformer
from loopspec.performers.model_errors import READ_CHARS, Fault, classify, one_line
from loopspec.performers.model_litellm import cost_of
from loopspec.performers.model_prefill import Joint
from loopspec.performers.model_reply import NO_TOOL, NOT_OBJECT
from loopspec.performers.open_text import OpenText
from loopspec.performers.wire import tap
from loopspec.performers.wire.chunks import Told

HELLO = sse({"content": "Hello"})
STOP = sse({}, "stop")
WHOLE: dict[str, list[bytes]] = {
    "chat": [HELLO, STOP],
    "messages": [message_start(), *text_block(0, "Hello"), message_end("end_turn")[0]],
}


def failed(handler: Handler, directory: Path, **more: Any) -> AttemptFailed:
    answer, *_ = ask(handler, directory, **more)
    assert isinstance(answer, AttemptFailed)
    return answer


def replied(handler: Handler, directory: Path, **more: Any) -> ModelReplied:
    answer, *_ = ask(handler, directory, **more)
    assert isinstance(answer, ModelReplied)
    return answer


# ---------------------------------------------------------------- after the end


@pytest.mark.parametrize("kind", WHOLE)
def test_F3_a_connection_that_breaks_after_the_end_loses_nothing(kind: str, tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(chunked=True, content_type="text/event-stream")
        for body in WHOLE[kind]:
            await client.send(b"%x\r\n%s\r\n" % (len(body), body))

    assert replied(handle, tmp_path, use=USES[kind]).text == "Hello"


@pytest.mark.parametrize("kind", WHOLE)
def test_F4_a_whole_reply_is_not_lost_to_silence_after_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "AFTER_SECONDS", 0.05)

    async def handle(client: Connection) -> None:
        await client.stream(*WHOLE[kind])
        await client.gone()

    assert replied(handle, tmp_path, use=USES[kind]).text == "Hello"


def test_a_deadline_that_passes_after_the_end_loses_nothing(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.stream(HELLO, STOP)
        await client.gone()

    assert replied(handle, tmp_path, between_chunks=100_000).text == "Hello"


# ---------------------------------------------------------------- calls nobody made


def test_a_call_that_changes_its_name_is_damage() -> None:
    _, _, fault = read("chat", [chat_call("", name="remove"), chat_call('{"n":1}', name="read_file")])
    assert str(fault) == "event 2: call 0 changes its name"


def test_calls_that_share_an_index_and_have_ids_stay_two() -> None:
    made = [chat_call("{}", name="a", key="1"), chat_call("{}", name="b", key="2")]
    got, _, fault = read("chat", made)
    assert fault is None and [(c.tool, c.args) for c in got.calls] == [("a", ["{}"]), ("b", ["{}"])]


@pytest.mark.parametrize("finish", ["content_filter", "length", "nobody_knows"])
def test_a_call_without_arguments_runs_only_if_the_model_ended_the_reply(
    finish: str, tmp_path: Path
) -> None:
    body = [chat_call("", name="list_files", key="1"), sse({}, finish), DONE]
    assert failed(parts(*body), tmp_path).reason == "truncated"


@pytest.mark.parametrize("finish", ["abort", "insufficient_system_resource", "network_error"])
def test_a_reply_that_the_service_breaks_off_is_no_answer(finish: str, tmp_path: Path) -> None:
    answer = failed(parts(HELLO, sse({}, finish), DONE), tmp_path)
    assert (answer.reason, answer.partial) == ("truncated", "Hello")


def test_more_calls_than_anybody_proposes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_stream, "MAX_CALLS", 3)
    calls = [chat_call("{}", n, "read_file", f"c{n}") for n in range(4)]
    answer = failed(parts(*calls, sse({}, "tool_calls"), DONE), tmp_path)
    assert (answer.reason, answer.detail) == ("corrupt", "the reply proposes more than 3 calls")


# ---------------------------------------------------------------- words and numbers


def test_half_characters_anywhere_can_be_written(tmp_path: Path) -> None:
    body = [
        chat_call('{"path": "\ud83d', name="read_file", key="1"),
        chat_call('\ude00"}'),
        chat_call("{}", 1, "rm\ud83d", "2"),
        sse({}, "odd\ud83d" + "x" * 1000),
        DONE,
    ]
    answer, world, _ = ask(parts(*body), tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.calls[0] == ProposedCall("read_file", '{"path":"😀"}')
    assert answer.calls[1].tool == "rm_"
    assert len(answer.finish) == 64
    assert any(isinstance(event, CallDelta) for event in world.watched)
    for event in (answer, *world.watched):
        msgspec.json.encode(event)
    assert msgspec.json.encode(classify(Exception("bad \ud83d"))) is not None


@pytest.mark.parametrize("said", [-5, 10**30, 2**63, True, 1.5, "7"])
def test_counts_that_are_none_are_not_believed(said: object, tmp_path: Path) -> None:
    usage = {"prompt_tokens": said, "completion_tokens": 5}
    answer = replied(parts(HELLO, STOP, sse(None, usage=usage), DONE), tmp_path)
    assert answer.usage == TokenUsage(output_tokens=5, cost=None)


@pytest.mark.parametrize("usd", [-5.0, float("inf"), float("nan"), 1e300])
def test_charges_that_are_none_are_not_believed(usd: float) -> None:
    assert cost_of("openrouter/nobody/knows", Told(1, 1, usd=usd)) is None
    assert cost_of("openrouter/nobody/knows", Told(1, 1, usd=0.5)) == 500_000_000


# ---------------------------------------------------------------- time and memory


def test_an_absurdly_long_error_is_read_in_no_time() -> None:
    begun = time.process_time()
    assert classify(Exception(" " * 1_000_000 + "x")) == Fault("provider", "")
    assert len(one_line("model " * 1_000_000)) == 300
    assert one_line(" " * READ_CHARS + "x") == ""
    assert time.process_time() - begun < 5  # it took minutes: patterns were tried at every blank


def test_an_error_without_an_end_is_read_only_at_its_beginning(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(500, content_type="text/plain")
        while True:
            await client.send(b"x" * 65536)

    answer = failed(handle, tmp_path, connect=600_000_000, total=600_000_000)
    assert (answer.reason, answer.detail) == ("provider", "x" * 299 + "…")


def test_the_open_text_is_written_less_often_the_longer_it_is(tmp_path: Path) -> None:
    async def go() -> RecordingWorld:
        world = world_for("openai/xyz", tmp_path)
        kept = OpenText("e", world, lambda: "x")
        for _ in range(10_000):
            kept.grown(open_text.BYTES)
        kept.close()
        return world

    assert 8 < len(run(go()).partials) < 100  # it was ten thousand, each with the whole text


# ---------------------------------------------------------------- other places, other things


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("use", ["openai/xyz", "anthropic/claude-xyz"])
def test_no_request_follows_a_redirect_to_another_server(status: int, use: str, tmp_path: Path) -> None:
    async def go() -> tuple[AttemptFailed, int, str]:
        async with Provider(parts(HELLO, STOP)) as other:

            async def away(client: Connection) -> None:
                await client.head(status, location=f"{other.base}/v1/chat/completions")

            async with Provider(away) as provider:
                params = json.dumps({"api_base": provider.base})
                answer = await ModelPerformer().perform(
                    effect(use), world_for(use, tmp_path, params=params)
                )
                assert isinstance(answer, AttemptFailed)
                return answer, other.closed, other.base

    answer, asked, base = run(go())
    assert (answer.reason, asked) == ("bad_request", 0)
    told = f"the server redirects to {base}, where this request may not go: name it in `api_base`"
    assert answer.detail == told


def test_a_redirect_on_the_same_server_is_followed(tmp_path: Path) -> None:
    seen: list[int] = []

    async def handle(client: Connection) -> None:
        seen.append(1)
        if len(seen) == 1:
            await client.head(307, location="/elsewhere/chat/completions")
        else:
            await client.stream(HELLO, STOP, USAGE, DONE)

    assert replied(handle, tmp_path).text == "Hello"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_a_page_where_a_stream_was_asked_for_is_damage(kind: str, tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(content_type=kind)
        await client.send(b"<html>Welcome to the hotel</html>")

    answer = failed(handle, tmp_path)
    assert (answer.reason, answer.detail) == ("corrupt", "the response is no event stream")


def test_another_status_of_success_is_checked_as_well(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(201, content_type="text/event-stream")
        await client.send(HELLO, b"daxa: a flipped bit\n\n", STOP, DONE)

    assert failed(handle, tmp_path).reason == "corrupt"


def test_bytes_that_are_not_packed_as_they_say_are_damage(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.head(content_type="text/event-stream", content_encoding="gzip")
        await client.send(b"no gzip at all")

    assert failed(handle, tmp_path).reason == "corrupt"


def test_a_long_block_in_small_pieces_goes_back_whole() -> None:
    small = ["four"] * 20_000
    got, checker, fault = read("messages", [*WHOLE["messages"][:1], *text_block(0, *small)])
    assert (fault, len(got.text), checker.whole) == (None, 80_000, False)
    assert got.items["anthropic_blocks"] == [{"type": "text", "text": "four" * 20_000}]


@pytest.mark.parametrize(
    "name, kept",
    [
        ("rm\x1b[2J\x00\n", "rm__2J__"),
        ("functions.read_file", "functions_read_file"),
        ("x" * 100_000, "x" * 64),
        (f"use {SECRET}", "use__redacted_"),
        ("\u65e5", "_"),
    ],
)
def test_F6_a_name_no_tool_can_have_is_one_that_providers_take_back(
    name: str, kept: str, tmp_path: Path
) -> None:
    answer = replied(parts(chat_call("{}", name=name, key="1"), sse({}, "tool_calls"), DONE), tmp_path)
    assert answer.calls == [ProposedCall(kept, "{}", NO_TOOL)]


def test_a_number_of_absurd_length_is_no_argument(tmp_path: Path) -> None:
    args = f'{{"offset": {"9" * 4000}}}'
    body = [chat_call(args, name="read_file", key="1"), sse({}, "tool_calls"), DONE]
    assert replied(parts(*body), tmp_path).calls == [ProposedCall("read_file", "{}", NOT_OBJECT)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_long_beginning_that_any_service_repeats_is_not_said_twice(size: int) -> None:
    before = "Once upon a time there was "
    said = f"{before}a fox."
    joint = Joint(before, "deepseek/deepseek-chat")
    new = "".join(joint.take(piece) for piece in pieces(said, size)) + joint.rest()
    assert before + new == said


def test_a_short_beginning_may_stand_twice() -> None:
    joint = Joint("ha", "deepseek/deepseek-chat")
    assert joint.take("haha") + joint.rest() == "haha"
