"""Reply faults: what may be wrong with a tier's reply, as facts; `step` chooses what follows.

Rules of this file:
1. Nothing is decided here. A fault is stamped on the reply whether or not anybody asks for it; only
   tiered models are looked at, since only they have somebody else to ask.
2. A check that cannot be made is a fault: a text that is too large, a schema that refers elsewhere. One
   takes bounded time: patterns are linear, and nothing is fetched.
3. A confidence is what somebody said: the probabilities of the tokens where the spec asked for them
   (`params: {logprobs: true}`), else the provider itself. Nobody's word is no word: -1.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from loopspec.events import ProposedCall
from loopspec.machine import patterns
from loopspec.machine.model import ModelDecl

PPM: Final = 1_000_000
MAX_TEXT: Final = 200_000
"""Characters of a reply that are held against a schema; a longer one does not fit it."""
REFUSALS: Final = frozenset({"refusal", "content_filter"})
"""How a provider ends a reply that the model would not, or must not, give."""


def faults_of(
    decl: ModelDecl,
    *,
    text: str,
    calls: Sequence[ProposedCall],
    finish: str,
    refusal: str,
    offered: Collection[str],
    confidence: int = -1,
) -> tuple[str, ...]:
    """The faults of a reply: `schema`, `refusal`, `low_confidence`, `tool_need`; none of an untiered one.

    `offered` are the names of the tools the request held, `confidence` parts per million (-1: nobody's
    word), `refusal` what the model said apart from its text.
    """
    if not decl.tiers:
        return ()
    out: list[str] = []
    if decl.reply_schema and not calls and not _fits(decl.reply_schema, text):
        out.append("schema")
    if finish in REFUSALS or refusal.strip():
        out.append("refusal")
    if 0 <= confidence < decl.confidence:
        out.append("low_confidence")
    if any(call.tool not in offered for call in calls):
        out.append("tool_need")
    return tuple(out)


class Certainty:
    """Gathers how sure a reply is of itself, chunk by chunk."""

    def __init__(self) -> None:
        """Nobody has said anything."""
        self._sum = 0.0
        self._count = 0
        self._said = -1

    def add(self, choice: Any) -> None:
        """Take what a chunk's choice says: the provider's own word, or its tokens' log probabilities."""
        said = getattr(choice, "confidence", -1)
        if isinstance(said, int) and 0 <= said <= PPM:
            self._said = said
        told = getattr(choice, "logprobs", None)
        content = told.get("content") if isinstance(told, dict) else getattr(told, "content", None)
        for token in content if isinstance(content, list) else ():
            value = token.get("logprob") if isinstance(token, dict) else getattr(token, "logprob", None)
            if isinstance(value, int | float) and math.isfinite(value):
                self._sum += min(0.0, float(value))
                self._count += 1

    @property
    def ppm(self) -> int:
        """Parts per million, -1 if nobody said: the provider's word, else the geometric mean of the
        probabilities of the tokens (the inverse of their perplexity)."""
        if self._said >= 0 or not self._count:
            return self._said
        return round(math.exp(self._sum / self._count) * PPM)


def _fits(schema: str, text: str) -> bool:
    """Whether a text is JSON that conforms to a schema (JSON text)."""
    if len(text) > MAX_TEXT:
        return False
    try:
        return _checker(schema)(json.loads(_bare(text)))
    except (ValueError, RecursionError):
        return False


def _bare(text: str) -> str:
    """The inside of a fence, where a model puts its whole reply into one."""
    lines = text.strip().splitlines()
    fenced = len(lines) > 1 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else text


def _pattern(_: Any, source: str, value: Any, __: Any) -> Iterator[Exception]:
    """The keyword `pattern`, in linear time (see `machine.patterns`)."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and patterns.read(source).search(value) is None:
        yield ValidationError(f"it does not match {source}")


def _checker(schema: str) -> Callable[[Any], bool]:
    """A test against a schema that fetches nothing."""
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    extend: Any = validators.extend
    kind = extend(Draft202012Validator, {"pattern": _pattern})
    check = kind(json.loads(schema), registry=Registry())

    def holds(value: Any) -> bool:
        try:
            return bool(check.is_valid(value))
        except Unresolvable:
            return False

    return holds
