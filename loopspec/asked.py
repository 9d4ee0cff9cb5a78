"""Asked: what comes of asking a model within a performer. Authors import it from `loopspec.hooks`."""

from dataclasses import dataclass
from typing import Final

from loopspec.errors import LoopspecError
from loopspec.event_base import TokenUsage

NOTHING: Final = TokenUsage()


@dataclass(frozen=True)
class Reply:
    """What a model answered when a performer asked it.

    `text` is without secrets and never empty. `model` is what was called (`provider/model`), `finish` the
    provider's word for why it ended (`stop`, `length`, or `cached`). `usage` is what this asking
    consumed; the driver has counted it already.
    """

    text: str
    model: str = ""
    finish: str = ""
    usage: TokenUsage = NOTHING


class AskFailed(LoopspecError):
    """A model that a performer asked gave no answer. Nothing is tried again behind its back.

    `reason` is one of those of `attempt.failed` (`timeout`, `rate_limited`, `auth`…), `overflow` when the
    request does not fit the model's window, or `undeclared` when the state may not ask this model.
    `retryable` says that the same request may do better later, `partial` is what had come.
    """

    def __init__(
        self, model: str, reason: str, detail: str = "", *, retryable: bool = False, partial: str = ""
    ) -> None:
        """`model` is its name in the spec."""
        why = f"{reason}: {detail}" if detail else reason
        super().__init__(f"the model `{model}` gave no answer ({why})")
        self.reason = reason
        self.retryable = retryable
        self.partial = partial
