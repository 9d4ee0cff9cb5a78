"""The door to litellm: when it is imported, what it may say, which keys, windows and prices."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from model_helpers import ask, call, effect, parts, reply, run, sse, world_for

from loopspec.effects import Cancel
from loopspec.errors import LoopspecError
from loopspec.events import AttemptFailed, EffectFailed, ModelReplied, TokenUsage
from loopspec.performers import model_litellm
from loopspec.performers.model import (
    ModelPerformer,
    check_params,
    missing_key,
    priced,
    window_of,
)

HERE = Path(__file__).parent


def child(code: str, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own."""
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_importing_the_performer_imports_no_litellm(tmp_path: Path) -> None:
    code = """
        import sys
        from loopspec.performers.model import ModelPerformer, missing_key, window_of
        assert missing_key("openai/x") == "OPENAI_API_KEY"
        assert missing_key("scripted/x") is None
        heavy = {"litellm", "openai", "httpx", "diskcache"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = child(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_printed_and_nothing_of_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STRAY_SECRET=1\n")
    (tmp_path / "s.yaml").write_text(
        "script: 1\nturns:\n  - error: {status: 500}\n  - error: {status: 401}\n"
        "  - truncate: true\n    reply: half\n  - reply: done\n    calls: [{tool: read_file}]\n"
    )
    code = """
        import asyncio, os
        from pathlib import Path
        from model_helpers import *
        from loopspec.performers.model import ModelPerformer

        async def refuse(client):
            await client.refuse(500, "oops")

        async def go():
            for _ in range(4):
                await ModelPerformer().perform(effect("scripted/s.yaml"), world_for("x", Path.cwd()))
            for handler in (parts(*reply(sse({"content": "hi"}))), parts(sse({"content": "hi"})), refuse):
                async with Provider(handler) as provider:
                    params = json.dumps({"api_base": provider.base})
                    for use in ("openai/x", "anthropic/x", "nonsense/x"):
                        world = world_for(use, Path.cwd(), params=params)
                        await ModelPerformer().perform(effect(use), world)

        asyncio.run(go())
        assert "STRAY_SECRET" not in os.environ
        assert "HF_HUB_OFFLINE" not in os.environ and "LITELLM_MODE" not in os.environ
    """
    done = child(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_loop_stays_live_while_litellm_is_imported(tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        from pathlib import Path
        from model_helpers import *

        async def go():
            ticks = 0
            async with Provider(parts(*reply(sse({"content": "x"})))) as provider:
                params = json.dumps({"api_base": provider.base})
                world = world_for("openai/x", Path.cwd(), params=params)
                task = asyncio.create_task(ModelPerformer().perform(effect("openai/x"), world))
                while not task.done():
                    await asyncio.sleep(0.05)
                    ticks += 1
            assert ticks > 5, ticks
            assert task.result().text == "x"

        asyncio.run(go())
    """
    done = child(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_plugins_model_is_asked_without_litellm(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("script: 1\nturns: [{reply: x}]\n")
    code = """
        import asyncio, sys
        from pathlib import Path
        from loopspec.performers.model import ModelPerformer, priced, window_of
        from model_helpers import effect, world_for

        use = "scripted/s.yaml"
        assert priced(use) and window_of(use) >= 0
        world = world_for(use, Path.cwd())
        answer = asyncio.run(ModelPerformer().perform(effect(use), world))
        assert answer.text == "x", answer
        assert not {"litellm", "openai", "httpx"} & set(sys.modules)
    """
    done = child(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("use", "name"),
    [
        ("openai/gpt-5-mini", "OPENAI_API_KEY"),
        ("gpt-4o", "OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
        ("groq/x", "GROQ_API_KEY"),
        ("mistral/x", "MISTRAL_API_KEY"),
        ("openrouter/a/b", "OPENROUTER_API_KEY"),
        ("deepseek/x", "DEEPSEEK_API_KEY"),
        ("xai/x", "XAI_API_KEY"),
        ("azure/x", "AZURE_API_KEY"),
        ("together_ai/x", "TOGETHERAI_API_KEY"),
        ("cohere/x", "COHERE_API_KEY"),
        ("fireworks_ai/x", "FIREWORKS_AI_API_KEY"),
        ("perplexity/x", "PERPLEXITYAI_API_KEY"),
        ("cerebras/x", "CEREBRAS_API_KEY"),
        ("ollama/llama3", None),
        ("lm_studio/x", None),
        ("hosted_vllm/x", None),
        ("scripted/x.yaml", None),
    ],
)
def test_the_missing_key_is_named(use: str, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CEREBRAS_API_KEY", raising=False)
    assert missing_key(use) == name
    if name:
        assert missing_key(use, {"api_base": "http://127.0.0.1:1"}) is None
        monkeypatch.setenv(name, "k")
        assert missing_key(use) == ("AZURE_API_BASE" if use.startswith("azure") else None)


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert missing_key("openai/x") == "OPENAI_API_KEY"


def test_another_name_of_a_key_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    assert missing_key("gemini/x") is None


def test_a_call_without_its_key_is_told_and_not_made(tmp_path: Path) -> None:
    answer, world = call("openai/gpt-5-mini", tmp_path)
    assert answer == AttemptFailed(
        "s:1:0",
        "no_key",
        "openai/gpt-5-mini needs the environment variable OPENAI_API_KEY: set OPENAI_API_KEY, "
        "or run offline with --model main=scripted/FILE",
        jitter=123_456,
        usage=TokenUsage(cost=0),
        use="openai/gpt-5-mini",
    )
    assert world.watched == []


def test_a_model_nobody_knows_is_told(tmp_path: Path) -> None:
    answer, _ = call("nonsense/x", tmp_path)
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable) == ("unknown_model", False)


def test_windows_and_prices_are_known_or_unknown_but_never_guessed() -> None:
    assert window_of("openai/gpt-4o") == window_of("gpt-4o") == 128_000
    assert window_of("anthropic/claude-sonnet-4-5") == 200_000
    assert window_of("openai/nonesuch") == window_of("groq/gpt-4o") == 0
    assert priced("openai/gpt-4o") and priced("anthropic/claude-sonnet-4-5")
    assert not priced("openai/nonesuch") and not priced("groq/gpt-4o") and not priced("ollama/mine")


def test_litellm_is_quiet_passive_and_offline() -> None:
    lib = model_litellm.load()
    assert lib.suppress_debug_info and not lib.telemetry and lib.num_retries == 0
    assert (lib.callbacks, lib.success_callback, lib.failure_callback) == ([], [], [])
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert model_litellm.load() is lib
    # Imported with it, not by the first call, which would stop the event loop for a second.
    assert {"openai.resources", "httpcore", "mcp.client"} <= set(sys.modules)


@pytest.mark.parametrize(
    "name",
    [
        *("stream", "num_retries", "max_retries", "timeout", "messages"),
        *("tools", "model", "callbacks", "api_key"),
    ],
)
def test_parameters_that_break_a_rule_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(LoopspecError) as caught:
        check_params({"temperature": 1, name: 1}, "spec.yaml:3:5")
    assert str(caught.value).startswith(
        f"spec.yaml:3:5: the model parameter '{name}' is not allowed. Remove it: "
    )
    answer, _, provider = ask(parts(), tmp_path, params={name: 1})
    assert isinstance(answer, AttemptFailed)
    assert (answer.reason, answer.retryable, provider.requests) == ("bad_request", False, [])


def test_ordinary_parameters_pass() -> None:
    check_params({"temperature": 0.5, "max_tokens": 10, "api_base": "http://x", "thinking": {}})


def test_an_effect_of_another_sort_is_answered_too(tmp_path: Path) -> None:
    world = world_for("openai/x", tmp_path)
    answer = run(ModelPerformer().perform(Cancel(id="s:2:0", state="ask", target="x"), world))
    assert answer == EffectFailed("s:2:0", "the model performer only calls models")


def test_two_calls_at_once_do_not_mix(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(
            f"script: 1\nturns: [{{reply: '{name * 50}', chunk: 1, delay: 0.001}}]\n"
        )

    async def go() -> list[str]:
        uses = [f"scripted/{tmp_path / name}.yaml" for name in ("a", "b")]
        answers = await asyncio.gather(
            *(ModelPerformer().perform(effect(use), world_for(use, tmp_path)) for use in uses)
        )
        return [a.text for a in answers if isinstance(a, ModelReplied)]

    assert run(go()) == ["a" * 50, "b" * 50]


def test_the_digest_of_a_request_changes_with_whatever_matters(tmp_path: Path) -> None:
    digests = set()
    for params in ({}, {"temperature": 0.5}):
        for config in ("{}", '{"tools":[]}'):
            answer, _, _ = ask(
                parts(*reply(sse({"content": "x"}))), tmp_path, params=params, config=config
            )
            assert isinstance(answer, ModelReplied)
            digests.add(answer.request)
    assert len(digests) == 4
    assert json.dumps(sorted(digests)).count("/") == 0
