"""Model reply: what was gathered of a stream becomes what an event says.

Rules of this file:
1. Nothing is altered. A name no tool can have, and arguments that are not a JSON object or hold a secret,
   become a call with a `problem` and no arguments, which never runs.
2. What a provider wants back is kept as it came; blocks that hold a secret are left out (an altered
   signed block is worse than none).
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.context.transcript import estimate
from loopspec.events import ProposedCall
from loopspec.performers.model_litellm import provider_of
from loopspec.performers.model_request import CALL_SIGNATURES, WANTS_THINKING
from loopspec.performers.model_stream import Gathered, OpenCall, signed
from loopspec.performers.wire.messages import BLOCKS
from loopspec.performers.wire.responses import REASONING

Redact = Callable[[str], str]
SECRET: Final = "arguments contain a secret; use its name instead"
NOT_OBJECT: Final = "arguments are not a JSON object"
NO_TOOL: Final = "no tool has such a name: a name has letters, digits, `_` and `-`, at most 64"
TOOL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]")
_NAME: Final = 64
_DIGITS: Final = 300  # no number anybody counts with; reading more of them takes time in its square
ENDED: Final = frozenset({"stop", "tool_calls"})
"""Finish reasons of a reply that the model itself has ended."""
STOPPED: Final = frozenset(
    {"abort", "aborted", "cancelled", "canceled", "timeout", "network_error", "server_error"}
    | {"insufficient_system_resource"}
)
"""Finish reasons (of vLLM, DeepSeek, GLM and others) of a reply that the service broke off."""
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_DETAILS: Final = "reasoning_details"


def proposed(call: OpenCall, redact: Redact) -> ProposedCall:
    """A received call, checked (rule 1). Blank arguments are how some providers write none.

    A name that no tool can have is changed into one that providers take back: they refuse a whole
    conversation for it, in every request that follows.
    """
    text, tool = _whole("".join(call.args)), call.tool
    if not TOOL.fullmatch(tool):
        problem = NO_TOOL if tool else "the call names no tool"
        return ProposedCall(_OTHER.sub("_", redact(tool))[:_NAME] or "unnamed", "{}", problem)
    if redact(tool) != tool:
        return ProposedCall("unnamed", "{}", NO_TOOL)
    try:
        value = json.loads(text, parse_int=_integer) if text.strip() else {}
        args = canonical_json(value)
        args.encode()
    except (ValueError, RecursionError):
        return ProposedCall(tool, "{}", NOT_OBJECT)
    if not isinstance(value, dict):
        return ProposedCall(tool, "{}", NOT_OBJECT)
    if redact(args) != args:
        return ProposedCall(tool, "{}", SECRET)
    return ProposedCall(tool, args)


def _integer(text: str) -> int:
    """A whole number of JSON; raises `ValueError` for one that is absurdly long."""
    if len(text) > _DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _whole(text: str) -> str:
    """A text whose pieces may have been cut between the halves of a character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def cut(call: OpenCall, made: ProposedCall) -> bool:
    """Whether a call of a reply that did not end by itself was not finished."""
    return made.problem == NOT_OBJECT or not "".join(call.args).strip()


def size(text: str, calls: Sequence[ProposedCall]) -> int:
    """The tokens a reply adds to the view, counted as the view counts them."""
    return estimate(text) + sum(estimate(call.args) for call in calls)


def blocks_of(got: Gathered, use: str, redact: Redact) -> str:
    """What must go back to the provider verbatim, as JSON text; empty without any."""
    out: dict[str, Any] = {}
    ordered = got.items.get(BLOCKS, [])
    if ordered and not _plain(ordered):
        out[BLOCKS] = ordered
    elif thinking := signed(got.thinking):
        out["thinking_blocks"] = thinking
    if got.signatures:
        out["provider_specific_fields"] = {"thought_signatures": got.signatures}
    if items := got.items.get(REASONING):
        out[REASONING] = [_reasoning(item) for item in items]
    if details := got.items.get(_DETAILS):
        out[_DETAILS] = _joined(details)
    if got.thought and got.calls and provider_of(use) in WANTS_THINKING:
        out["reasoning_content"] = got.thought
    marks = {str(n): c.signature for n, c in enumerate(got.calls) if c.signature}
    if marks:
        out[CALL_SIGNATURES] = marks
    return _clean(out, redact)


def kept_of(got: Gathered, redact: Redact) -> str:
    """The complete items, besides the text, of a reply that broke off, as JSON text; empty without any.

    They are a record: a call in it never runs.
    """
    out: list[dict[str, Any]] = list(signed(got.thinking))
    for call in got.calls:
        made = proposed(call, redact)
        if call.done and not made.problem:
            out.append({"type": "call", "tool": made.tool, "args": made.args})
    return _clean(out, redact)


def _plain(blocks: Sequence[dict[str, Any]]) -> bool:
    """Whether the order of blocks is the one they get anyway: thinking, then text."""
    kinds = [block["type"] in _THOUGHTS for block in blocks]
    known = all(block["type"] in _THOUGHTS or block["type"] == "text" for block in blocks)
    return known and kinds == sorted(kinds, reverse=True)


def _reasoning(item: dict[str, Any]) -> dict[str, Any]:
    """A reasoning item of OpenAI's, as far as it can be sent back."""
    return {k: item[k] for k in ("type", "id", "summary", "encrypted_content") if k in item}


def _joined(pieces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pieces of OpenRouter's reasoning details, those of one index and type put together."""
    out: list[dict[str, Any]] = []
    for piece in pieces:
        last = out[-1] if out else None
        same = last is not None and all(last.get(k) == piece.get(k) for k in ("index", "type"))
        if last is None or not same or "index" not in piece:
            out.append(dict(piece))
            continue
        for key, value in piece.items():
            grows = key in ("text", "summary", "data") and isinstance(value, str)
            if grows and isinstance(last.get(key), str):
                last[key] += value
            elif value is not None:
                last[key] = value
    return out


def _clean(value: Any, redact: Redact) -> str:
    """A value as JSON text, nothing if it is empty, holds a secret or is no Unicode."""
    if not value:
        return ""
    try:
        text = canonical_json(value)
        text.encode()
    except ValueError:  # a number JSON does not know, or half a character
        return ""
    return text if redact(text) == text else ""
