"""Gemini's stream, looked at on its way to litellm, which makes the reply of it.

litellm ends a stream that broke off with a "stop" of its own; here only the candidate's reason counts.
"""

from collections.abc import Iterator
from typing import Any

from loopspec.performers.wire.chunks import Chunk
from loopspec.performers.wire.faults import Damage
from loopspec.performers.wire.protocol import Protocol


class Gemini(Protocol):
    """One stream of `:streamGenerateContent`."""

    reads = False

    def take(self, name: str, data: dict[str, Any]) -> Iterator[Chunk]:
        """Look whether the reply ends here."""
        candidates = data.get("candidates", [])
        if not isinstance(candidates, list) or not all(isinstance(c, dict) for c in candidates):
            raise Damage("`candidates` is no list of objects")
        blocked = data.get("promptFeedback")
        self.whole = (
            self.whole
            or any(c.get("finishReason") for c in candidates)
            or (isinstance(blocked, dict) and bool(blocked.get("blockReason")))
        )
        yield from ()
