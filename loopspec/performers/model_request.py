"""Model request: what is sent to a model, and the digest that names it.

Rules of this file:
1. The digest covers everything the answer may depend on: the model's name, messages, tools and
   parameters. The body itself is kept nowhere.
2. Parameters of a spec reach the provider unchanged, except those that would break a rule of
   loopspec (retries, deadlines, keys, observers): these are refused by name.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopspec.codec import canonical_json, digest
from loopspec.context.transcript import estimate, provider_messages
from loopspec.effects import CallModel
from loopspec.errors import BadSpec, LoopspecError
from loopspec.hooks import World
from loopspec.machine.model import Machine, ModelDecl
from loopspec.performers import providers
from loopspec.performers.model_litellm import KEYS, provider_of

CALL_SIGNATURES: Final = "call_signatures"
_MICRO: Final = 1_000_000
# Providers that understand thinking blocks and signatures; others refuse keys they do not know.
_TAKES_BLOCKS: Final = frozenset(
    {"anthropic", "bedrock", "vertex_ai", "azure_ai", "gemini", "openrouter"}
)
_PLAIN: Final = ("role", "content", "tool_calls", "tool_call_id")
_REFUSED_PARAMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("model", "fallbacks", "context_window_fallback_dict"), "use `fallbacks:`"),
    **dict.fromkeys(("messages", "tools", "functions"), "the loop makes the request"),
    **dict.fromkeys(("stream", "stream_options", "n"), "every call is one stream"),
    **dict.fromkeys(("num_retries", "max_retries", "retry_policy"), "use `retry:`"),
    **dict.fromkeys(("timeout", "request_timeout", "stream_timeout"), "use `deadlines:`"),
    **dict.fromkeys(("cache", "caching"), "use `cache:`"),
    **dict.fromkeys(("api_key", "aws_secret_access_key"), "a key belongs in the environment"),
    **dict.fromkeys(
        ("callbacks", "success_callback", "failure_callback", "logger_fn", "metadata"),
        "observers watch the session's events",
    ),
    "mock_response": "use an offline model: scripted/FILE",
    "custom_llm_provider": "name the provider in `use:`",
}


@dataclass(frozen=True)
class Request:
    """What is sent, apart from how. `digest` names it in records; the body is not kept."""

    use: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    params: dict[str, Any]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest over the canonical JSON of the rest."""
        body = {"use": self.use, "messages": self.messages, "tools": self.tools}
        text = canonical_json({**body, "params": self.params})
        object.__setattr__(self, "digest", digest(text.encode("utf-8", "backslashreplace")))

    def tokens(self) -> int:
        """An estimate of the tokens this request takes."""
        return sum(estimate(canonical_json(m)) for m in (*self.messages, *self.tools))


def check_params(params: Mapping[str, Any], place: str = "") -> None:
    """Refuse parameters that would break loopspec's own rules; raises `BadSpec`."""
    for name in sorted(params):
        if name in _REFUSED_PARAMS:
            raise BadSpec(
                f"the model parameter '{name}' is not allowed",
                place=place,
                remedy=f"Remove it: {_REFUSED_PARAMS[name]}",
            )


def asking_request(
    decl: ModelDecl, use: str, messages: Sequence[Mapping[str, str]], system: str, place: str = ""
) -> Request:
    """The request of a performer that asks for itself; raises `LoopspecError` for what cannot be sent."""
    params = json.loads(decl.params)
    check_params(params, place)
    sent = [{"role": "system", "content": system}] if system.strip() else []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant") or not isinstance(content, str) or not content.strip():
            raise LoopspecError("a message has a role, `user` or `assistant`, and a text as its content")
        sent.append({"role": role, "content": content})
    if not sent or sent[-1]["role"] != "user":
        raise LoopspecError("the last message must be one of the user")
    return Request(use, sent, [], params)


def build_request(effect: CallModel, world: World) -> Request:
    """The request of `effect`; raises `LoopspecError` for parameters or a prompt that cannot be."""
    decl = world.machine.models[effect.model]
    params = json.loads(decl.params)
    check_params(params, f"{world.machine.file}:{decl.place}")
    system = world.blob(effect.system).decode() if effect.system else ""
    keep = provider_of(effect.use) in _TAKES_BLOCKS or providers.find(effect.use) is not None
    messages = [_sent(m, keep) for m in provider_messages(world.items, system)]
    return Request(effect.use, messages, tool_schemas(world.machine, effect.state), params)


def tool_schemas(machine: Machine, state: str) -> list[dict[str, Any]]:
    """The tools the state at `state` offers, as OpenAI function tools.

    All of the machine's, unless the state's configuration restricts them with `tools: [names]`.
    """
    found = machine.states.get(state)
    only = json.loads(found.config).get("tools") if found else None
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters),
            },
        }
        for name, tool in machine.tools.items()
        if only is None or name in only
    ]


def arguments(request: Request, decl: ModelDecl) -> dict[str, Any]:
    """What `litellm.acompletion` is called with; its own timeout stands well behind ours."""
    out: dict[str, Any] = {
        **request.params,
        "model": request.use,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "num_retries": 0,
        "max_retries": 0,
        "timeout": 2 * decl.total / _MICRO,
    }
    if request.tools:
        out["tools"] = request.tools
    names = KEYS.get(provider_of(request.use), ())
    if "api_base" in request.params and not any(os.environ.get(name) for name in names):
        # Clients insist on a key; a server of one's own usually wants none.
        out["api_key"] = "none"
    return out


def _sent(message: dict[str, Any], keep: bool) -> dict[str, Any]:
    """A message as this provider takes it: with its blocks, or without those of another one."""
    if not keep:
        return {k: v for k, v in message.items() if k in _PLAIN}
    marks = message.pop(CALL_SIGNATURES, {})
    for n, call in enumerate(message.get("tool_calls") or []):
        if mark := marks.get(str(n)):
            call["provider_specific_fields"] = {"thought_signature": mark}
    return message
