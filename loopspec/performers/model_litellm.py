"""The door to litellm: import, keys, windows, prices, and the tap below it.

Rules of this file:
1. litellm is imported in one place, `load`, never on the command line's start path (it takes
   seconds and 160 MB), and never on the event loop.
2. It is silent, offline but for the call itself, and decides nothing: no telemetry, no callbacks,
   no retries, no price list from the network, no `.env` of whatever directory we are in.
3. A price or a window nobody knows is unknown (None, 0 tokens), never guessed.
"""

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from loopspec.performers import providers
from loopspec.performers.wire.chunks import Told
from loopspec.performers.wire.tap import tapping

NANO: Final = 1_000_000_000
MAX_USD: Final = 100_000  # a charge beyond it, below nothing, or no number at all is not believed
LOCAL: Final = frozenset(
    {"ollama", "ollama_chat", "lm_studio", "vllm", "hosted_vllm", "llamafile", "scripted"}
)
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "azure": ("AZURE_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", "FIREWORKSAI_API_KEY"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
}
_BARE: Final = (("gpt-", "openai"), ("chatgpt-", "openai"), ("claude-", "anthropic"))
_KEPT_ENV: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}
# Only while importing: tools inherit our environment, and a tool may well want the network.
# LITELLM_MODE keeps litellm from reading `.env` into our environment (and so into every tool's).
_IMPORT_ENV: Final = {"HF_HUB_OFFLINE": "1", "LITELLM_MODE": "PRODUCTION"}
# What the first call would import, on the event loop: more than a second, and inside a deadline.
_LATER: Final = (
    "openai.resources",
    "httpcore",
    "anyio._backends._asyncio",
    "litellm.litellm_core_utils.streaming_handler",
    "litellm.litellm_core_utils.litellm_logging",
    "litellm._service_logger",
    "litellm.litellm_core_utils.default_encoding",
    "mcp.client",
)
_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_LOCK: Final = threading.Lock()
_loaded: list[Any] = []


def load() -> Any:
    """The litellm module, set up. Takes seconds the first time: call it in a thread."""
    with _LOCK:
        if not _loaded:
            os.environ.update(_KEPT_ENV)
            with _environment(_IMPORT_ENV):
                lib = import_module("litellm")
                for name in _LATER:
                    import_module(name)
            _set_up(lib)
            _tap()
            _loaded.append(lib)
        return _loaded[0]


def provider_of(use: str) -> str:
    """The provider a model name begins with, empty when it does not say."""
    if "/" in use:
        return use.split("/", 1)[0]
    return next((provider for start, provider in _BARE if use.startswith(start)), "")


def missing_key(use: str, params: Mapping[str, Any] | None = None) -> str | None:
    """The environment variable a model needs and does not find; None when nothing is missing.

    Local providers need none, nor does a model whose `params` name an `api_base` of their own.
    """
    provider = provider_of(use)
    if provider in LOCAL or "api_base" in (params or {}):
        return None
    if (ours := providers.find(use)) is not None:
        key = ours.facts().key
        return key if key and not os.environ.get(key) else None
    names = KEYS.get(provider)
    if names is None:
        missing = load().validate_environment(use).get("missing_keys", [])
        return str(missing[0]) if missing else None
    if not any(os.environ.get(name) for name in names):
        return names[0]
    if provider == "azure" and not os.environ.get("AZURE_API_BASE"):
        return "AZURE_API_BASE"
    return None


def window_of(use: str) -> int:
    """The most input tokens a model takes, 0 for unknown; a bad script raises `LoopspecError`."""
    if (ours := providers.find(use)) is not None:
        return ours.facts().window
    found = _facts(use)
    return int(found.get("max_input_tokens") or found.get("max_tokens") or 0)


def priced(use: str) -> bool:
    """Whether what a model costs is known (a plugin's provider says it itself)."""
    if (ours := providers.find(use)) is not None:
        return ours.facts().priced
    found = _facts(use)
    return "input_cost_per_token" in found or "output_cost_per_token" in found


def takes_prefill(use: str) -> bool:
    """Whether a model goes on from an assistant's message that stands last, as litellm's table says."""
    return bool(_facts(use).get("supports_assistant_prefill"))


def speaks_responses(use: str) -> bool:
    """Whether a model is asked through OpenAI's Responses API.

    Some are without saying so in their name; that is known once litellm is loaded.
    """
    return "/responses/" in use or bool(_loaded and _facts(use).get("mode") == "responses")


def cost_of(use: str, usage: Any) -> int | None:
    """What litellm's `usage` costs in nano-USD; None when nobody knows."""
    told = getattr(usage, "cost", None)
    if providers.find(use) is not None:
        return told if isinstance(told, int) else None
    if isinstance(usage, Told):
        told = usage.usd
    if provider_of(use) == "openrouter" and isinstance(told, int | float) and 0 <= told <= MAX_USD:
        return _nano(told)
    if not priced(use):
        return None
    try:
        parts = load().cost_per_token(model=_named(use), usage_object=_litellms(usage))
    except Exception:
        # litellm raises many classes for a model it cannot price; each of them means unknown.
        return None
    return sum(_nano(part) for part in parts)


def _litellms(usage: Any) -> Any:
    """A usage as litellm prices it: it counts what was read from the cache and what was written there."""
    if not isinstance(usage, Told):
        return usage
    cached = usage.prompt_tokens_details.cached_tokens
    return load().Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        reasoning_tokens=usage.reasoning or None,
        prompt_tokens_details={"cached_tokens": cached, "cache_creation_tokens": usage.created},
        cache_read_input_tokens=cached,
        cache_creation_input_tokens=usage.created,
    )


def _nano(usd: Any) -> int:
    """Nano-USD of an amount in USD; through text, so that 0.001 is what it says."""
    return round(Decimal(str(usd)) * NANO)


def _facts(use: str) -> Mapping[str, Any]:
    """litellm's own row about a model; empty when it has none. Never asks the network."""
    table: Mapping[str, Any] = load().model_cost
    use = _named(use)
    bare = use.split("/", 1)[1] if "/" in use else use
    found = table.get(use)
    if found is None:
        found = table.get(bare, {})
        owner = str(found.get("litellm_provider", ""))
        # The bare name may be another provider's model with another price.
        if "/" in use and owner.removesuffix("_chat") != provider_of(use):
            return {}
    return found if isinstance(found, Mapping) else {}


def _named(use: str) -> str:
    """A model's name without the word that says through which of its provider's doors it is asked."""
    return use.replace("/responses/", "/", 1)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _tap() -> None:
    """Have every client litellm makes show its responses to the tap of the attempt (see `wire.tap`).

    These are the two places where it makes them, and the one where it would not stream.
    """
    handlers = import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler
    handlers.create_client = tapping(handlers.create_client)
    openai = import_module("litellm.llms.openai.common_utils").BaseOpenAILLM
    make = staticmethod(tapping(openai._get_async_http_client))
    openai._get_async_http_client = make
    responses = import_module("litellm.llms.openai.responses.transformation").OpenAIResponsesAPIConfig
    responses.should_fake_stream = _without_stream


def _without_stream(
    config: Any, model: str | None, stream: bool | None, custom_llm_provider: str | None = None
) -> bool:
    """Whether a Responses model cannot stream. litellm says so of every model it does not know."""
    use = f"{custom_llm_provider or 'openai'}/{model}"
    return bool(stream) and _facts(use).get("supports_native_streaming") is False


def _set_up(lib: Any) -> None:
    """Make litellm silent and passive."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"(litellm|pydantic|openai)(\.|$)")
    lib.suppress_debug_info = True
    lib.set_verbose = False
    lib.telemetry = False
    lib.num_retries = 0
    lib.callbacks = []
    lib.success_callback = []
    lib.failure_callback = []
    # aiohttp warns on stderr about sessions a closing loop leaves behind; httpx does not.
    lib.disable_aiohttp_transport = True
    # Counting tokens of a Llama name would download a tokenizer.
    lib.disable_hf_tokenizer_download = True
    # litellm ends a stream with an error after 100 equal chunks; a long table row is not an error.
    lib.REPEATED_STREAMING_CHUNK_LIMIT = 1_000_000_000
