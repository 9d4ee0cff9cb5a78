"""What every event is made of: the base class, and the parts events carry."""

from typing import Any

import msgspec


def always(default: Any) -> Any:
    """The default of a field that is written although it has its default (see `snapshot`, rule 4)."""
    return msgspec.field(default_factory=lambda: default)


class EventBase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of every event; the tag is the event's name in specs and in the journal."""


class TokenUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one model call consumed. `cost` is nano-USD, None when the price is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: int | None = None

    def __bool__(self) -> bool:
        """Whether anything was consumed."""
        return bool(self.input_tokens or self.output_tokens or self.cost)

    def plus(self, other: "TokenUsage") -> "TokenUsage":
        """What both consumed. Where the price of one is unknown, that of the other still counts."""
        if not (self and other):
            return other or self
        unknown = self.cost is None and other.cost is None
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            None if unknown else (self.cost or 0) + (other.cost or 0),
        )


class ProposedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call as the model proposed it.

    `args` is canonical JSON text of an object. `problem` is set when the arguments were not a JSON
    object or held a secret: such a call is answered with the problem and never runs.
    """

    tool: str
    args: str = "{}"
    problem: str = ""


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item of the view shown shorter than it is: `text` stands in for its own, which stays in the
    journal and is had back by the item's id."""

    item: str
    text: str


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The gate's answer for one call: `allow`, `ask` or `deny`, the rule behind it and why.

    For a call that is asked, `paths` (below the work directory, links resolved) and `command` are what
    it acts on, so that a person can grant it within limits; empty when that is too long to be kept.
    """

    call: str
    answer: str
    rule: str = always("")
    reason: str = always("")
    paths: tuple[str, ...] = ()
    command: str = ""
