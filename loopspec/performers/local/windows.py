"""Windows: how many tokens a local server really takes, asked of the server itself.

The window is not the model's but the server's: it is chosen when the model is loaded. So each server is
asked for what it has loaded, in its own way:

- vLLM: `max_model_len` of the model in `/v1/models`
- llama.cpp: `default_generation_settings.n_ctx` in `/props`, which is that of one slot
- Ollama: `context_length` of the loaded model in `/api/ps`, else `num_ctx` in the parameters of
  `/api/show`; the length a model was trained with says nothing about what is loaded
- LM Studio: `loaded_context_length` of the model in `/api/v0/models`

Rules of this file:
1. A number is what a server says, or 0: nothing is guessed, and what a model was trained with is no
   window.
2. All of the asking takes `SECONDS` at most, whatever the server does; a fault is an answer without a
   number.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import h11

from loopspec.performers.local.address import Address
from loopspec.performers.local.http import Exchange

SECONDS: Final = 2.0
ANSWER_BYTES: Final = 4 * 1024 * 1024
"""`/api/show` tells the licence and the template of a model, too."""
MOST: Final = 1_000_000_000
"""More tokens than any window has; a larger number is no window."""

Read = Callable[[Any, str], int]


def window_told(address: Address, headers: Mapping[str, str], name: str) -> int:
    """The window of the model `name` in tokens, 0 if the server does not say.

    Blocks for `SECONDS` at most (and one more for a name server that hangs).

    It may be called from a thread that runs an event loop, and from one that does not.
    """
    found = [0]

    def ask() -> None:
        found[0] = asyncio.run(_told(address, headers, name))

    # A name server that hangs cannot be interrupted: then the thread is left behind.
    thread = threading.Thread(target=ask, name="loopspec-window", daemon=True)
    thread.start()
    thread.join(SECONDS + 1)
    return found[0]


async def _told(address: Address, headers: Mapping[str, str], name: str) -> int:
    """Ask one server after the other's way, until one knows."""
    try:
        async with asyncio.timeout(SECONDS):
            for place, method, path, body, read in _ways(address, name):
                status, answer = await _json(place, method, path, headers, body)
                if status == 200 and 0 < (window := read(answer, name)) <= MOST:
                    return window
    except (OSError, TimeoutError, h11.ProtocolError):
        return 0
    return 0


def _ways(address: Address, name: str) -> Iterator[tuple[Address, str, str, bytes, Read]]:
    """Where each sort of server tells its window, and how it is read there."""
    root, shown = address.root, json.dumps({"model": name}).encode()
    yield address, "GET", "/models", b"", _vllm
    yield root, "GET", "/props", b"", _llama
    yield root, "GET", "/api/ps", b"", _ollama_loaded
    yield root, "POST", "/api/show", shown, _ollama_set
    yield root, "GET", "/api/v0/models", b"", _studio


async def _json(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, Any]:
    """The status and the JSON of one answer, None for anything else."""
    exchange = Exchange(address)
    try:
        more = {"content-type": "application/json"} if body else {}
        await exchange.ask(method, path, {**headers, **more}, body)
        data = await exchange.body(ANSWER_BYTES)
    finally:
        exchange.close()
    try:
        return exchange.status, json.loads(data)
    except (ValueError, RecursionError):
        return exchange.status, None


def _vllm(answer: Any, name: str) -> int:
    """`max_model_len` of the model."""
    return next((_count(m, "max_model_len") for m in _listed(answer, "data") if m.get("id") == name), 0)


def _llama(answer: Any, name: str) -> int:
    """`n_ctx` of a slot. llama.cpp serves one model, whatever name it is asked by."""
    inner = answer.get("default_generation_settings") if isinstance(answer, dict) else None
    return _count(inner, "n_ctx")


def _ollama_loaded(answer: Any, name: str) -> int:
    """`context_length` of the model, if it is loaded; without a tag it is `latest`."""
    named = {name, f"{name}:latest"}
    found = (m for m in _listed(answer, "models") if {m.get("name"), m.get("model")} & named)
    return next((_count(m, "context_length") for m in found), 0)


def _ollama_set(answer: Any, name: str) -> int:
    """`num_ctx` among the parameters, which are lines of a name and a value."""
    text = answer.get("parameters") if isinstance(answer, dict) else None
    for line in text.splitlines() if isinstance(text, str) else ():
        word, _, value = line.strip().partition(" ")
        if word == "num_ctx" and value.strip().isdecimal():
            return int(value.strip()[:12])
    return 0


def _studio(answer: Any, name: str) -> int:
    """`loaded_context_length` of the model."""
    found = (m for m in _listed(answer, "data") if m.get("id") == name)
    return next((_count(m, "loaded_context_length") for m in found), 0)


def _listed(answer: Any, key: str) -> list[dict[str, Any]]:
    """The objects of a list under a key."""
    given = answer.get(key) if isinstance(answer, dict) else None
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _count(given: Any, key: str) -> int:
    """A whole number under a key, 0 for anything else."""
    value = given.get(key) if isinstance(given, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
