"""Chunks: what one event of a stream brings, whoever sent it, in the form in which replies are read.

The names are those of the chunks litellm gives out, so that one reader serves both.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Cached:
    """How many of the input tokens came from the provider's cache."""

    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a reply consumed, by the names litellm uses.

    `cost` is nano-USD where a plugin's provider told it, else None; `usd` what a service says it charged;
    `created` and `reasoning` are the tokens written into the cache and spent on thinking, which are
    counted in the prompt's and in the completion's.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: int | None = None
    prompt_tokens_details: Cached = Cached()
    usd: float | None = None
    created: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Function:
    """The tool's name (first piece of a call only) and a piece of the arguments."""

    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a call. `done`: nothing more comes of it, and the provider says so."""

    index: int
    id: str | None
    function: Function
    provider_specific_fields: dict[str, Any] | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Delta:
    """What a chunk adds. `verbatim` are whole parts of the reply that go back verbatim, by their key."""

    content: str = ""
    reasoning_content: str = ""
    thinking_blocks: tuple[dict[str, Any], ...] = ()
    tool_calls: tuple[CallPiece, ...] = ()
    refusal: str = ""
    verbatim: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The one choice of a chunk. `confidence` is a provider's word, in parts per million; `logprobs` is
    what OpenAI's chat API says of the tokens, as it came."""

    delta: Delta
    finish_reason: str | None = None
    confidence: int = -1
    logprobs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event's worth of a reply."""

    choices: tuple[Choice, ...] = field(default=())
    usage: Told | None = None


def chunk(delta: Delta, finish: str | None = None, usage: Told | None = None) -> Chunk:
    """A chunk with one choice."""
    return Chunk((Choice(delta, finish),), usage)
