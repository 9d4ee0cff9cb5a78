"""OpenAI's chat stream, checked, and what each event brings.

Rules of this file:
1. Fields nobody knows are passed over, unless something may be lost by it: a delta with no field that is
   known, while a call is open, is damage; so is a piece of a call nobody opened.
2. The reply is whole once a finish reason has come; `[DONE]` only says that nothing follows.
3. The dialects of services that speak this protocol are read here: `reasoning`, `x_groq.usage`, contents
   that are lists.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from loopspec.performers.wire.chunks import Cached, CallPiece, Chunk, Delta, Function, Told, chunk
from loopspec.performers.wire.faults import Damage
from loopspec.performers.wire.protocol import Protocol, count, piece

_KNOWN: Final = frozenset(
    {
        "role",
        "content",
        "tool_calls",
        "refusal",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "annotations",
        "audio",
        "images",
        "name",
        "extra_content",
        "provider_specific_fields",
    }
)
MOST_PIECES: Final = 2_000
"""Pieces of a call that takes turns with others, up to which each one has all before it looked at."""
_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
}


class Chat(Protocol):
    """One stream of `/chat/completions`."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._named: dict[int, tuple[str, str]] = {}  # name and id of the calls that were opened
        self._newest = -1  # the one that was opened last
        self._args: dict[int, list[str]] = {}

    def take(self, name: str, data: dict[str, Any]) -> Iterator[Chunk]:
        """What one event brings."""
        usage = _usage(data)
        choices = data.get("choices")
        if choices is None and usage is not None:
            choices = []
        if not isinstance(choices, list):
            raise Damage("a chunk without `choices`")
        for one in choices:
            if not isinstance(one, dict):
                raise Damage("a choice that is no object")
            if one.get("index", 0) == 0:
                yield self._choice(one, usage)
                usage = None
        if usage is not None:
            yield Chunk((), usage)

    def _choice(self, one: Mapping[str, Any], usage: Told | None) -> Chunk:
        """The one choice there is."""
        given = one.get("delta")
        finish = one.get("finish_reason")
        if given is None and finish is None and "message" not in one:
            raise Damage("a choice with neither `delta` nor `finish_reason`")
        delta = self._delta(given or {})
        if finish is not None:
            self._finish(finish, delta)
        made = chunk(delta, self.finish if finish is not None else None, usage)
        sure = one.get("logprobs")
        if not isinstance(sure, dict):
            return made
        return replace(made, choices=(replace(made.choices[0], logprobs=sure),))

    def _finish(self, finish: Any, delta: Delta) -> None:
        """The provider says why it ended."""
        if not isinstance(finish, str) or not finish:
            raise Damage("a finish reason that is no text")
        if finish == "error":
            raise Damage("the provider ended the reply with an error it does not name")
        made = _FINISH.get(finish.lower(), finish.lower())
        if made == "tool_calls" and not self._named:
            raise Damage("the reply ends with calls, and none has come")
        self.finish = self.finish or made
        self.whole = True

    def _delta(self, given: Any) -> Delta:
        """What a delta adds."""
        if not isinstance(given, dict):
            raise Damage("a delta that is no object")
        if given and self._named and not (given.keys() & _KNOWN):
            raise Damage("a delta without a known field while a call is open")
        calls = given.get("tool_calls") or []
        if not isinstance(calls, list):
            raise Damage("`tool_calls` is no list")
        text, thinking = _content(given.get("content"))
        thought = piece(given, "reasoning_content") or piece(given, "reasoning") or thinking
        refusal = piece(given, "refusal")
        made = tuple(self._call(c) for c in calls)
        if self.whole and (text or made or thought):
            raise Damage("content after the finish reason")
        details = given.get("reasoning_details")
        items = [("reasoning_details", d) for d in details or [] if isinstance(d, dict)]
        return Delta(text, thought, (), made, refusal, tuple(items))

    def _call(self, given: Any) -> CallPiece:
        """A piece of a call."""
        if not isinstance(given, dict):
            raise Damage("a piece of a call that is no object")
        index = given.get("index")
        if index is None:  # some providers number nothing; a piece is then of the call that is open
            index = 0 if _begins(given) else max(self._newest, 0)
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise Damage("a piece of a call without a proper index")
        function = given.get("function")
        if function is not None and not isinstance(function, dict):
            raise Damage("a call whose function is no object")
        function = function or {}
        name, args = piece(function, "name"), piece(function, "arguments")
        key = piece(given, "id")
        if not name and not key and "arguments" not in function:
            raise Damage("a piece of a call without id, name or arguments")
        if name:
            self._open(index, name, key)
        elif index not in self._named:
            raise Damage(f"a piece of call {index}, which was not opened")
        elif index != self._newest and args and _complete(self._args.get(index, [])):
            # Pieces of several calls may take turns; but nothing follows arguments that are complete: it
            # would be a piece of another call whose number is damaged.
            raise Damage(f"a piece of call {index}, which was complete")
        if name and index != self._newest:
            self._args[index] = []
        self._newest = index if name else self._newest
        if args:
            self._args.setdefault(index, []).append(args)
        fields = given.get("provider_specific_fields") or given.get("extra_content")
        return CallPiece(
            index, key or None, Function(name or None, args), fields if isinstance(fields, dict) else None
        )

    def _open(self, index: int, name: str, key: str) -> None:
        """A call is named. Some give every call the same index; then their ids tell them apart."""
        known, id_ = self._named.get(index, (name, key))
        if known != name and not (key and id_ and key != id_):
            raise Damage(f"call {index} changes its name")
        self._named[index] = name, key or id_


def _begins(given: Mapping[str, Any]) -> bool:
    """Whether a piece of a call names its tool, and so begins it."""
    function = given.get("function")
    return isinstance(function, dict) and bool(function.get("name"))


def _complete(args: list[str]) -> bool:
    """Whether the arguments that came are a whole JSON object; of very many pieces nobody asks."""
    if not args or len(args) > MOST_PIECES or not args[-1].rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads("".join(args)), dict)
    except (ValueError, RecursionError):
        return False


def _content(given: Any) -> tuple[str, str]:
    """Text and thinking of a content: a text, or (Mistral) a list of parts."""
    if given is None or isinstance(given, str):
        return given or "", ""
    if not isinstance(given, list):
        raise Damage("`content` is neither text nor a list")
    text, thinking = [], []
    for part in given:
        if not isinstance(part, dict):
            raise Damage("a part of `content` that is no object")
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            parts = inner if isinstance(inner, list) else [{"text": inner}]
            thinking += [piece(p, "text") for p in parts if isinstance(p, dict)]
        elif part.get("type") in ("text", "output_text"):
            text.append(piece(part, "text"))
    return "".join(text), "".join(thinking)


def _usage(data: Mapping[str, Any]) -> Told | None:
    """What the provider says the reply consumed so far."""
    groq = data.get("x_groq")
    given = data.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)
    if not isinstance(given, dict):
        return None
    asked, said = given.get("prompt_tokens_details"), given.get("completion_tokens_details")
    charged = given.get("cost")
    return Told(
        count(given, "prompt_tokens"),
        count(given, "completion_tokens"),
        prompt_tokens_details=Cached(
            count(asked, "cached_tokens") or count(given, "prompt_cache_hit_tokens")
        ),
        usd=float(charged) if isinstance(charged, int | float) and charged is not True else None,
        reasoning=count(said, "reasoning_tokens"),
    )
