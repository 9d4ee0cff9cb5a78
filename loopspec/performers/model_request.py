"""Model request: what is sent to a model, and the digest that names it.

Rules of this file:
1. The digest covers everything the answer may depend on: the model's name, messages, tools and
   parameters. The body itself is kept nowhere.
2. Parameters of a spec reach the provider unchanged, except those that would break a rule of
   loopspec (retries, deadlines, keys, observers): these are refused by name.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopspec.codec import canonical_json, digest
from loopspec.context.transcript import estimate, provider_messages
from loopspec.effects import CallModel
from loopspec.errors import BadSpec, LoopspecError
from loopspec.hooks import World
from loopspec.machine.fitting import profile_of, tool_schemas
from loopspec.machine.model import Machine, ModelDecl
from loopspec.machine.tiering import tier_of
from loopspec.performers import providers
from loopspec.performers.model_litellm import KEYS, provider_of, speaks_responses
from loopspec.performers.model_prefill import prefill
from loopspec.performers.wire.messages import BLOCKS
from loopspec.performers.wire.responses import REASONING

CALL_SIGNATURES: Final = "call_signatures"
_MICRO: Final = 1_000_000
# Providers that understand thinking blocks and signatures; others refuse keys they do not know.
_TAKES_BLOCKS: Final = frozenset(
    {"anthropic", "bedrock", "vertex_ai", "azure_ai", "gemini", "openrouter"}
)
_CLAUDE: Final = frozenset({"anthropic", "bedrock", "vertex_ai", "azure_ai"})
# These refuse a conversation with calls without the thinking that led to them.
WANTS_THINKING: Final = frozenset({"deepseek", "moonshot"})
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


def params_of(decl: ModelDecl, use: str) -> dict[str, Any]:
    """The parameters a model is asked with: those of its tier over those of the declaration."""
    tier = tier_of(decl, use)
    return {**json.loads(decl.params), **(json.loads(tier.params) if tier is not None else {})}


def build_request(effect: CallModel, world: World) -> Request:
    """The request of `effect`, with the beginning of the reply if it goes on from one.

    Raises `LoopspecError` for parameters, a prompt or a beginning that cannot be.
    """
    decl = world.machine.models[effect.model]
    params = params_of(decl, effect.use)
    check_params(params, f"{world.machine.file}:{decl.place}")
    system = world.blob(effect.system).decode() if effect.system else ""
    messages = [_sent(m, effect.use) for m in provider_messages(world.items, system)]
    if effect.continues >= 0:
        messages.append(prefill(world.partial_of(effect.continues), effect.use))
    return Request(effect.use, messages, _offered(effect, world.machine), params)


def _offered(effect: CallModel, machine: Machine) -> list[dict[str, Any]]:
    """The tools that the effect's state offers in the profile that is used."""
    return tool_schemas(machine, profile_of(machine.states[effect.state], effect.profile))


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


def remade(request: Request) -> bool:
    """Whether litellm makes the reply into another one: a text of the call that gave it.

    That is how it has Claude answer in the form of a schema.
    """
    return provider_of(request.use) in _CLAUDE and "response_format" in request.params


def _sent(message: dict[str, Any], use: str) -> dict[str, Any]:
    """A message as this provider takes it: with its blocks, or without those of another one."""
    if providers.find(use) is not None:
        keep = set(message)
    else:
        keep = {*_PLAIN, *_wanted(use)}
        if provider_of(use) in _TAKES_BLOCKS:
            keep |= message.keys() - _OWN
    marks = message.get(CALL_SIGNATURES, {}) if CALL_SIGNATURES in keep else {}
    ordered = message.get(BLOCKS) if provider_of(use) in _CLAUDE else None
    made = {k: v for k, v in message.items() if k in keep and k != CALL_SIGNATURES}
    for n, call in enumerate(made.get("tool_calls") or []):
        if mark := marks.get(str(n)):
            call["provider_specific_fields"] = {"thought_signature": mark}
    return _in_order(made, ordered) if ordered else made


_OWN: Final = frozenset({BLOCKS, REASONING, "reasoning_details", "reasoning_content"})


def _wanted(use: str) -> Iterator[str]:
    """The keys of blocks that only this provider knows."""
    provider = provider_of(use)
    if provider == "openrouter":
        yield "reasoning_details"
    elif provider in WANTS_THINKING:
        yield "reasoning_content"
    elif speaks_responses(use):
        yield REASONING


def _in_order(message: dict[str, Any], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """A message of Anthropic's with its blocks in the order they came in.

    litellm hands on thinking, texts, and what Anthropic's own tools did, and drops every other type in
    such a list: with one of them, only the thinking goes back, before the text. So it does when the text
    is another one by now (masked, continued).
    """
    kinds = {str(block["type"]) for block in blocks}
    takes = all(k in ("thinking", "text", "server_tool_use") or k.endswith("_tool_result") for k in kinds)
    said = "".join(block["text"] for block in blocks if block["type"] == "text")
    if takes and "mcp_tool_result" not in kinds and said == (message["content"] or ""):
        return {**message, "content": blocks}
    thoughts = [b for b in blocks if b["type"] in ("thinking", "redacted_thinking")]
    return {**message, "thinking_blocks": thoughts} if thoughts else message
