"""The real window of a local model, as each sort of server tells it, and when none does.

The servers are doubles that answer as their documentation says.
"""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from local_kit import LocalServer
from model_helpers import Connection, run

from loopspec.errors import BadSpec
from loopspec.performers.local import windows
from loopspec.performers.windows import asks, window_asked, window_listed

USE = "local/qwen3"
VLLM = {
    "/v1/models": {
        "data": [{"id": "other", "max_model_len": 1}, {"id": "qwen3", "max_model_len": 4096}]
    }
}
LLAMA = {
    "/v1/models": {"data": [{"id": "model.gguf", "meta": {"n_ctx_train": 131072}}]},
    "/props": {"total_slots": 2, "default_generation_settings": {"n_ctx": 2048, "params": {}}},
}
SHOWN = {
    "parameters": "stop     \"<|im_end|>\"\nnum_ctx                        8192\ntemperature 0.6",
    "model_info": {"qwen3.context_length": 40960},
}
OLLAMA = {
    "/v1/models": {"data": [{"id": "qwen3:latest", "owned_by": "library"}]},
    "/api/ps": {"models": [{"name": "qwen3:latest", "model": "qwen3:latest", "context_length": 4096}]},
    "/api/show": SHOWN,
}
STUDIO = {
    "/v1/models": {"data": [{"id": "qwen3"}]},
    "/api/v0/models": {
        "data": [{"id": "qwen3", "max_context_length": 131072, "loaded_context_length": 6000}]
    },
}
UNLOADED = {**STUDIO, "/api/v0/models": {"data": [{"id": "qwen3", "max_context_length": 131072}]}}
TRAINED = {"/api/show": {"model_info": {"qwen3.context_length": 40960}, "parameters": "temperature 1"}}
NONSENSE = {
    "/v1/models": {"data": [{"id": "qwen3", "max_model_len": "many"}, 3, {"id": "qwen3"}]},
    "/props": [{"n_ctx": 5}],
    "/api/ps": {"models": [{"name": "qwen3", "context_length": True}]},
    "/api/show": {"parameters": "num_ctx -3\nnum_ctx"},
    "/api/v0/models": {"data": [{"id": "qwen3", "loaded_context_length": 10**12}]},
}


def window(told: dict[str, Any]) -> tuple[int, list[str]]:
    async def go() -> tuple[int, list[str]]:
        async with LocalServer(told=told) as server:
            found = await asyncio.to_thread(window_asked, USE, {"api_base": server.base})
            return found, server.asked

    return run(go())


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (VLLM, 4096),
        (LLAMA, 2048),
        (OLLAMA, 4096),
        ({**OLLAMA, "/api/ps": {"models": []}}, 8192),
        (STUDIO, 6000),
        (UNLOADED, 0),
        (TRAINED, 0),
        (NONSENSE, 0),
        ({}, 0),
    ],
    ids=[
        *("vllm", "llama.cpp", "ollama-loaded", "ollama-set", "lm-studio"),
        *("lm-studio-unloaded", "ollama-trained", "nonsense", "nothing"),
    ],
)
def test_the_window_is_what_the_server_has_loaded(told: dict[str, Any], wanted: int) -> None:
    assert window(told)[0] == wanted


def test_each_way_is_tried_once_until_one_knows() -> None:
    assert window({})[1] == [
        "GET /v1/models",
        "GET /props",
        "GET /api/ps",
        "POST /api/show",
        "GET /api/v0/models",
    ]
    assert window(LLAMA)[1] == ["GET /v1/models", "GET /props"]


def served(handle: Callable[[Connection], Awaitable[None]], use: Callable[[str], None]) -> None:
    """Call `use` with the address of a server that handles each connection so."""

    async def go() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await handle(Connection(reader, writer))
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(use, f"http://127.0.0.1:{port}/v1")
        server.close()

    run(go())


@pytest.mark.parametrize("how", ["silent", "drips", "endless", "garbage", "closes"])
def test_a_server_that_does_not_answer_costs_no_more_than_the_deadline(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SECONDS", 0.3)
    monkeypatch.setattr(windows, "ANSWER_BYTES", 100_000)

    async def handle(client: Connection) -> None:
        if how == "silent":
            await client.gone()
        elif how == "garbage":
            await client.send(b"220 mail.example ready\r\n")
        elif how != "closes":
            await client.head(content_type="application/json")
            for _ in range(1000):
                await client.send(b"[" if how == "drips" else b"[" * 10_000)
                await asyncio.sleep(0.01 if how == "drips" else 0)

    def use(base: str) -> None:
        begun = time.monotonic()
        assert window_asked(USE, {"api_base": base}) == 0
        assert time.monotonic() - begun < 20

    served(handle, use)


def test_it_may_be_asked_inside_a_running_event_loop() -> None:
    async def go() -> int:
        return window_asked(USE, {"api_base": base[0]})  # blocks this loop; the server has its own

    base: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with LocalServer(told=VLLM) as server:
            base.append(server.base)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        assert run(go()) == 4096
    finally:
        done.set()
        thread.join()


def test_only_a_provider_with_a_server_is_asked(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps({"script": 1, "window": 700, "turns": [{"reply": "x"}]}))
    script = f"scripted/{tmp_path / 's.yaml'}"
    assert [asks(use) for use in (USE, script, "openai/gpt-5-mini")] == [True, False, False]
    assert window_listed(script) == 700
    with pytest.raises(BadSpec):
        window_asked(USE, {"api_base": "nonsense"})


def test_the_table_beside_litellm_says_what_litellm_says() -> None:
    names = ("openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", "gpt-4o")
    from loopspec.performers.model_litellm import window_of

    assert {n: window_listed(n) for n in names} == {n: window_of(n) for n in names}
    assert all(window_listed(n) > 0 for n in names)
    assert window_listed("nobody/nothing") == 0
    assert window_listed("groq/claude-sonnet-4-5") == window_of("groq/claude-sonnet-4-5") == 0
