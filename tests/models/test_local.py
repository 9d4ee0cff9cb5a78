"""Local models: what is sent, what comes of every sort of reply, and how each one may break."""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_kit import CHAT, USE, LocalServer, ask
from model_helpers import (
    DONE,
    Connection,
    Handler,
    call,
    effect,
    parts,
    reply,
    run,
    sse,
    world_for,
)

from loopspec.context.transcript import Item, ViewCall
from loopspec.errors import BadSpec, LoopspecError, NoKey
from loopspec.events import (
    AttemptFailed,
    EffectCancelled,
    Kept,
    ModelOverflowed,
    ModelReplied,
    ProposedCall,
    StreamDiscarded,
    TextDelta,
    TokenUsage,
)
from loopspec.hooks import ModelFacts
from loopspec.performers import model_litellm, providers
from loopspec.performers.local.address import (
    BASE_VARIABLE,
    DEFAULT_BASE,
    KEY_VARIABLE,
    Address,
    address_of,
    headers_of,
)
from loopspec.performers.local.provider import LocalProvider
from loopspec.performers.model import ModelPerformer
from loopspec.testing import conformance_models as conformance

HERE = Path(__file__).parent
CALL = [
    sse({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "read_file", "arguments": ""}}]}),
    sse({"tool_calls": [{"index": 0, "function": {"arguments": '{"path": '}}]}),
    sse({"tool_calls": [{"index": 0, "function": {"arguments": '"a.txt"}'}}]}),
]
WANTED = ProposedCall("read_file", '{"path":"a.txt"}')


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(BASE_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    yield


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[n : n + size] for n in range(0, len(body), size)]


def failed(answer: Kept) -> AttemptFailed:
    assert isinstance(answer, AttemptFailed), answer
    return answer


# ---------------------------------------------------------------- what is sent


def test_the_request_holds_the_protocols_keys_and_no_others(tmp_path: Path) -> None:
    items = (
        Item(id="0.0", role="user", text="Read it."),
        Item(
            id="1.0",
            role="assistant",
            text="I read.",
            calls=(ViewCall("c1", "read_file", '{"path":"a.txt"}'),),
            blocks='{"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"}]}',
        ),
        Item(id="2.0", role="result", text="one", call="c1", tool="read_file"),
    )
    handler = parts(*reply(sse({"content": "Done."})))
    answer, _, server = ask(handler, tmp_path, items=items, params={"temperature": 0.5})
    assert isinstance(answer, ModelReplied)
    [body] = server.bodies
    tools = body.pop("tools")
    assert [t["function"]["name"] for t in tools] == ["read_file", "list_files"]
    function = {"name": "read_file", "arguments": '{"path":"a.txt"}'}
    assert body == {
        "model": "qwen3:4b",
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "user", "content": "Read it."},
            {
                "role": "assistant",
                "content": "I read.",
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "content": "one", "tool_call_id": "c1"},
        ],
    }
    assert server.asked == [f"POST {CHAT}"]
    assert "authorization" not in server.heads[0].lower()


def test_a_key_is_taken_from_the_environment_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = parts(*reply(sse({"content": "x"})))
    monkeypatch.setenv(KEY_VARIABLE, "first")
    _, _, server = ask(handler, tmp_path)
    assert "authorization: Bearer first\r\n" in server.heads[0]
    monkeypatch.setenv("MINE", "second")
    _, _, server = ask(handler, tmp_path, params={"api_key_env": "MINE"})
    assert "authorization: Bearer second\r\n" in server.heads[0]
    assert "api_key_env" not in server.bodies[0]
    answer, _, server = ask(handler, tmp_path, params={"api_key_env": "NOBODY"})
    assert (failed(answer).reason, server.asked) == ("auth", [])
    assert "NOBODY is not set" in failed(answer).detail


def test_the_base_is_the_specs_then_the_environments_then_ollamas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert str(address_of({})) == DEFAULT_BASE
    monkeypatch.setenv(BASE_VARIABLE, "http://box:8080/v1/")
    assert address_of({}) == Address("box", 8080, False, "/v1")
    assert address_of({"api_base": "https://[::1]/x/v1"}) == Address("::1", 443, True, "/x/v1")
    assert str(address_of({"api_base": "https://[::1]:444/x"})) == "https://[::1]:444/x"
    assert address_of({}).root == Address("box", 8080, False, "")


@pytest.mark.parametrize(
    "base",
    ["", "box:8080", "ftp://box", "http://", "http://box:99999/v1", "http://box/?x=1", "http://b ox/v1"],
)
def test_an_address_that_is_none_is_refused_with_an_example(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BASE_VARIABLE, base or " ")
    with pytest.raises(BadSpec) as raised:
        address_of({})
    assert DEFAULT_BASE in raised.value.remedy


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadSpec) as raised:
        address_of({"api_base": "http://me:hunter2@box/v1"})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(NoKey):
        headers_of({"api_key_env": "NOBODY"})


def test_a_bad_address_ends_the_attempt_before_anything_is_sent(tmp_path: Path) -> None:
    answer, _ = call(USE, tmp_path, params='{"api_base": "nonsense"}')
    assert (failed(answer).reason, failed(answer).retryable) == ("bad_request", False)


# ---------------------------------------------------------------- what comes


def test_a_whole_reply_with_thinking_text_calls_and_usage(tmp_path: Path) -> None:
    handler = parts(
        *reply(
            sse({"role": "assistant", "content": ""}),
            sse({"reasoning_content": "Hm."}),
            sse({"content": "I "}),
            sse({"content": "read."}),
            *CALL,
            finish="tool_calls",
        )
    )
    answer, world, _ = ask(handler, tmp_path)
    assert isinstance(answer, ModelReplied)
    assert (answer.text, answer.calls, answer.finish) == ("I read.", [WANTED], "tool_calls")
    assert answer.usage == TokenUsage(70, 30, cached_tokens=40, cost=0)
    assert answer.model == USE
    assert [e.text for e in world.watched if isinstance(e, TextDelta)] == ["I ", "read."]


def test_calls_that_a_server_gives_the_same_index_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    def whole(key: str, path: str) -> dict[str, Any]:
        function = {"name": "read_file", "arguments": json.dumps({"path": path})}
        return {"index": 0, "id": key, "type": "function", "function": function}

    handler = parts(
        *reply(
            sse({"tool_calls": [whole("call_1", "a.txt")]}),
            sse({"tool_calls": [whole("call_2", "b.txt")]}),
            finish="tool_calls",
        )
    )
    answer, _, _ = ask(handler, tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.calls == [WANTED, ProposedCall("read_file", '{"path":"b.txt"}')]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_f23_a_character_may_be_cut_anywhere(size: int, tmp_path: Path) -> None:
    text = "Grüße, 世界 👋🏽 – ok"
    raw = sse({"content": text}).replace(json.dumps(text).encode(), f'"{text}"'.encode())
    assert "世".encode() in raw
    body = b"".join(reply(raw))

    async def handle(client: Connection) -> None:
        await client.head(chunked=True, content_type="text/event-stream")
        for piece in pieces(body, size):
            await client.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await client.send(b"0\r\n\r\n")

    answer, world, _ = ask(handle, tmp_path)
    assert isinstance(answer, ModelReplied)
    assert answer.text == text
    assert "\ufffd" not in "".join(e.text for e in world.watched if isinstance(e, TextDelta))


def test_a_refusal_apart_from_the_text_is_a_refusal(tmp_path: Path) -> None:
    answer, _, _ = ask(parts(*reply(sse({"refusal": "I will not."}))), tmp_path)
    assert (failed(answer).reason, failed(answer).retryable) == ("refused", False)


# ---------------------------------------------------------------- how it breaks


def test_f3_cut_at_every_byte_it_is_whole_or_truncated_and_no_call_is_made_up(tmp_path: Path) -> None:
    body = b"".join([sse({"content": "I read."}), *CALL, sse({}, "tool_calls"), DONE])
    end = body.index(sse({}, "tool_calls")) + len(sse({}, "tool_calls"))
    cuts = [*range(0, len(body), 7), end - 3, end - 2, end - 1, end, end + 1, len(body)]

    async def go() -> list[Kept]:
        out = []
        current = [0]

        async def handle(client: Connection) -> None:
            await client.stream(body[: current[0]])

        async with LocalServer(handle) as server:
            for at in cuts:
                current[0] = at
                world = world_for(USE, tmp_path, params=json.dumps({"api_base": server.base}))
                out.append(await ModelPerformer().perform(effect(USE), world))
        return out

    for at, answer in zip(cuts, run(go()), strict=True):
        if isinstance(answer, ModelReplied):
            assert at >= end, at
            assert answer.calls == [WANTED]
            continue
        assert failed(answer).reason == "truncated", at
        assert answer.retryable
        assert "I read.".startswith(answer.partial)


def test_corrupted_anywhere_no_wrong_call_comes_of_it(tmp_path: Path) -> None:
    body = b"".join([sse({"content": "I read."}), *CALL, sse({}, "tool_calls"), DONE])
    draw = random.Random(23)
    current = [b""]

    async def handle(client: Connection) -> None:
        await client.stream(current[0])

    async def go() -> list[Kept]:
        out = []
        async with LocalServer(handle) as server:
            for _ in range(120):
                at = draw.randrange(len(body))
                current[0] = body[:at] + bytes([draw.choice((0xFF, 0x80, 0x22, 0x00))]) + body[at + 1 :]
                world = world_for(USE, tmp_path, params=json.dumps({"api_base": server.base}))
                out.append(await ModelPerformer().perform(effect(USE), world))
        return out

    answers = run(go())
    reasons = {a.reason for a in answers if isinstance(a, AttemptFailed)}
    assert reasons <= {"corrupt", "truncated", "empty", "provider"} and "corrupt" in reasons
    for answer in answers:
        for made in answer.calls if isinstance(answer, ModelReplied) else ():
            assert made == WANTED or made.problem, made


@pytest.mark.parametrize(
    ("status", "headers", "reason", "after"),
    [
        (429, {"retry_after": "1"}, "rate_limited", 1_000_000),
        (503, {}, "overloaded", 0),
        (500, {}, "provider", 0),
        (404, {}, "unknown_model", 0),
        (401, {}, "auth", 0),
        (400, {}, "bad_request", 0),
    ],
)
def test_f5_a_status_keeps_its_meaning_and_its_retry_after(
    status: int, headers: dict[str, str], reason: str, after: int, tmp_path: Path
) -> None:
    async def handle(client: Connection) -> None:
        await client.refuse(status, "because", **headers)

    answer, _, _ = ask(handle, tmp_path)
    found = failed(answer)
    assert (found.reason, found.retry_after, found.detail) == (reason, after, "because")


OVERFLOWS = [
    {
        "code": 400,
        "message": "request (5000 tokens) exceeds the available context size (4096 tokens)",
        "type": "exceed_context_size_error",
        "n_ctx": 4096,
    },
    {"message": "This model's maximum context length is 4096 tokens.", "type": "BadRequest", "code": 400},
    "Trying to keep the first 5000 tokens when context the overflows.",
]


@pytest.mark.parametrize("error", OVERFLOWS, ids=["llama.cpp", "vllm", "lm-studio"])
@pytest.mark.parametrize("how", ["status", "body", "stream"])
def test_a_request_that_does_not_fit_is_an_overflow_however_it_is_told(
    error: Any, how: str, tmp_path: Path
) -> None:
    body = json.dumps({"error": error}).encode()

    async def handle(client: Connection) -> None:
        if how == "status":
            await client.head(400, content_type="application/json")
            await client.send(body)
        elif how == "body":
            await client.head(content_type="application/json; charset=utf-8")
            await client.send(body)
        else:
            await client.stream(b"data: " + body + b"\n\n")

    answer, _, _ = ask(handle, tmp_path)
    assert isinstance(answer, ModelOverflowed), answer


def test_an_error_inside_the_stream_ends_the_attempt_with_what_had_come(tmp_path: Path) -> None:
    error = b'data: {"error": {"message": "slot is gone", "code": 503, "type": "unavailable_error"}}\n\n'
    answer, world, _ = ask(parts(sse({"content": "half"}), error), tmp_path)
    found = failed(answer)
    assert (found.reason, found.partial, found.detail) == ("overloaded", "half", "slot is gone")
    assert [type(e) for e in world.watched] == [TextDelta, StreamDiscarded]


def handler_of(body: bytes, kind: str = "text/event-stream") -> Handler:
    async def handle(client: Connection) -> None:
        await client.head(content_type=kind)
        await client.send(body)

    return handle


def test_what_is_no_reply_at_all_is_damage(tmp_path: Path) -> None:
    for handler in (
        handler_of(b"<html>welcome</html>\n\n"),
        handler_of(b'{"choices": []}', "application/json"),
        handler_of(b'data: {"choices": 3}\n\n'),
    ):
        answer, _, _ = ask(handler, tmp_path)
        assert failed(answer).reason == "corrupt", answer

    async def raw(client: Connection) -> None:
        await client.send(b"this is no HTTP\r\n\r\n")

    answer, _, _ = ask(raw, tmp_path)
    assert failed(answer).reason == "connection"


def test_a_line_without_an_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loopspec.performers.wire.sse.MAX_LINE", 100_000)

    async def handle(client: Connection) -> None:
        await client.stream(b"data: ")
        for _ in range(100):
            await client.send(b"x" * 10_000)

    answer, _, _ = ask(handle, tmp_path)
    assert failed(answer).reason == "corrupt"
    assert "100000 characters" in failed(answer).detail


def test_f4_a_server_that_only_pings_has_stalled(tmp_path: Path) -> None:
    async def handle(client: Connection) -> None:
        await client.stream(sse({"content": "half"}))
        while True:
            await client.send(b": ping\n\n")
            await asyncio.sleep(0.02)

    answer, _, _ = ask(handle, tmp_path, between_chunks=200_000)
    assert (failed(answer).reason, failed(answer).partial) == ("stalled", "half")


def test_a_cancel_closes_the_socket_at_once_and_keeps_the_text(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def handle(client: Connection) -> None:
        await client.stream(sse({"content": "half"}))
        await client.gone()
        gone.set()

    async def go() -> Kept:
        async with LocalServer(handle) as server:
            world = world_for(USE, tmp_path, params=json.dumps({"api_base": server.base}))
            task = asyncio.create_task(ModelPerformer().perform(effect(USE), world))
            await world.seen.wait()
            task.cancel()
            answer = await task
            async with asyncio.timeout(20):
                await gone.wait()
            return answer

    answer = run(go())
    assert isinstance(answer, EffectCancelled)
    assert (answer.started, answer.partial) == (True, "half")


def test_f24_nobody_listens_and_the_attempt_says_so_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer, _ = call(USE, tmp_path, params=json.dumps({"api_base": f"http://127.0.0.1:{port}/v1"}))
    found = failed(answer)
    assert (found.reason, found.retryable) == ("connection", True)
    assert f"no connection to http://127.0.0.1:{port}/v1" in found.detail


# ---------------------------------------------------------------- the door


def test_it_costs_nothing_and_knows_no_window_without_asking() -> None:
    found = providers.find(USE)
    assert found is not None
    assert found.facts() == ModelFacts(window=0, priced=True)
    assert model_litellm.missing_key(USE) is None
    nameless = providers.find("local/")
    assert nameless is not None
    with pytest.raises(LoopspecError, match="names no model"):
        nameless.facts()


def test_f24_a_local_model_is_asked_without_litellm_httpx_and_the_network(tmp_path: Path) -> None:
    code = """
        import asyncio, json, sys
        from pathlib import Path
        from local_kit import LocalServer, USE
        from model_helpers import effect, parts, reply, sse, world_for
        from loopspec.performers.model import ModelPerformer, priced
        from loopspec.performers.windows import window_asked, window_listed

        async def go():
            async with LocalServer(parts(*reply(sse({"content": "x"}))), {}) as server:
                params = {"api_base": server.base}
                world = world_for(USE, Path.cwd(), params=json.dumps(params))
                answer = await ModelPerformer().perform(effect(USE), world)
                assert answer.text == "x", answer
                assert await asyncio.to_thread(window_asked, USE, params) == 0

        assert priced(USE)
        asyncio.run(go())
        assert window_listed("anthropic/claude-sonnet-4-5") == 200_000
        heavy = {"litellm", "openai", "httpx", "aiohttp", "rich"} & set(sys.modules)
        assert not heavy, heavy
    """
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")




def test_it_keeps_the_contract_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, done, base = threading.Event(), threading.Event(), [""]

    async def serve() -> None:
        async with LocalServer(parts(*reply(sse({"content": "a "}), sse({"content": "b"})))) as server:
            base[0] = server.base
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    monkeypatch.setenv(BASE_VARIABLE, base[0])
    try:
        conformance.provider(LocalProvider(), "qwen3").check()
    finally:
        done.set()
        thread.join()
