"""Prefill: a reply that broke off goes on where it stopped, by a model that takes its beginning.

Rules of this file:
1. Whether a model takes it is asked (of litellm's table, of a provider's facts), never assumed; with
   thinking switched on, no model does.
2. Nothing is lost and nothing said twice: white space at the end is not sent, because providers refuse
   it, and stands where it stood; a service that repeats the beginning is not quoted.
"""

from collections.abc import Mapping
from typing import Any, Final

from loopspec.performers import model_litellm, providers

# Mistral answers with the beginning it was given; the others only with what follows.
_ECHOES: Final = frozenset({"mistral"})
# Any other may do so, too. A shorter text may well stand twice in a reply; this much does not.
_QUOTED: Final = 24
_THINKS: Final = ("thinking", "reasoning_effort", "reasoning")
PREFIX: Final = "prefix"


def takes_prefill(use: str, params: Mapping[str, Any]) -> bool:
    """Whether a model goes on from the beginning of its own reply.

    May load litellm (seconds, the first time), which an attempt of one of its models has done already.
    """
    if (ours := providers.find(use)) is not None:
        return ours.facts().prefill
    if any(params.get(word) for word in _THINKS):
        return False
    return model_litellm.takes_prefill(use)


def sent_of(before: str, use: str) -> str:
    """What of the text so far is sent."""
    return before if providers.find(use) is not None else before.rstrip()


def prefill(before: str, use: str) -> dict[str, Any]:
    """The message that a model goes on from."""
    message: dict[str, Any] = {"role": "assistant", "content": sent_of(before, use)}
    if providers.find(use) is None:
        message[PREFIX] = True  # litellm's word for it; it is taken out where nobody wants it
    return message


class Joint:
    """Joins what comes now to what had come."""

    def __init__(self, before: str, use: str) -> None:
        """`before` is the whole text that had come."""
        sent = sent_of(before, use)
        self._space = before[len(sent) :]  # it was not sent, and may come again
        echoes = model_litellm.provider_of(use) in _ECHOES or len(sent) >= _QUOTED
        self._echo = sent if echoes else ""
        self._held = ""

    def take(self, text: str) -> str:
        """The part of `text` that is new. What may be a repetition is held back until that is clear."""
        self._held += text
        if self._echo and len(self._held) < len(self._echo) and self._echo.startswith(self._held):
            return ""
        self._held, self._echo = self._held.removeprefix(self._echo), ""
        if self._space and not self._held.strip():
            return ""
        return self.rest()

    def rest(self) -> str:
        """What is held back, without the white space that stands there already."""
        text, space = self._held, self._space
        self._held = self._echo = self._space = ""
        lead = len(text) - len(text.lstrip())
        again = next((n for n in range(lead, 0, -1) if space.endswith(text[:n])), 0)
        return text[again:] if space else text
