"""Facts about models and what they see: replies, failed attempts, compaction. Rules: see `events`."""

import msgspec

from loopspec.event_base import EventBase, Mask, ProposedCall, TokenUsage, always


class ModelReplied(EventBase, frozen=True, omit_defaults=True, tag="model.replied"):
    """The model answered completely. `blocks` are provider blocks (JSON text), sent back verbatim.

    `estimated` is what the whole request was estimated at, in tokens: held against the reported usage
    it corrects later estimates. `faults` are what a tier may escalate for: `schema`, `refusal`,
    `low_confidence`, `tool_need`. `confidence` is parts per million, -1 when nobody said.
    """

    effect: str
    text: str = always("")
    calls: list[ProposedCall] = msgspec.field(default_factory=lambda: [])
    blocks: str = always("")
    finish: str = always("")
    model: str = always("")
    usage: TokenUsage = always(TokenUsage())
    request: str = always("")
    tokens: int = always(0)
    estimated: int = 0
    faults: tuple[str, ...] = ()
    confidence: int = -1


class ModelOverflowed(EventBase, frozen=True, tag="model.overflowed"):
    """The model refused the request because it does not fit its window."""

    effect: str
    detail: str = ""


class AttemptFailed(EventBase, frozen=True, omit_defaults=True, tag="attempt.failed"):
    """One attempt of a model call failed; `step` chooses the next rung.

    `retry_after` is microseconds the server asked for; `jitter` is a draw in 0..1,000,000 stamped
    outside the core; `partial` is the text that had been received (with what an earlier attempt had
    that this one continued). `resumable`: the model can go on from there, because it takes the
    beginning of its own reply. `kept` is JSON text of the other complete items that had come (signed
    thinking, calls); a call in it never runs. `use` is the model that was asked.
    """

    effect: str
    reason: str
    detail: str = always("")
    retryable: bool = always(False)
    retry_after: int = always(0)
    jitter: int = always(0)
    partial: str = always("")
    usage: TokenUsage = always(TokenUsage())
    resumable: bool = False
    kept: str = ""
    use: str = ""


class ContextCompacted(EventBase, frozen=True, omit_defaults=True, tag="context.compacted"):
    """The view was made smaller: `replaces` lists the item ids that leave it, `summary` stands in.

    `masks` are all the items shown shorter from now on (those of earlier compactions too). `rung` is
    how far down the ladder it had to go; `written_by` the model that wrote the summary, empty for the
    mechanical one; `usage` what that took. `before` and `after` are tokens. (`drop` is what journals
    written earlier call `replaces`.)
    """

    effect: str
    drop: list[str] = msgspec.field(default_factory=list)
    summary: str = always("")
    before: int = always(0)
    after: int = always(0)
    replaces: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()
    rung: str = ""
    written_by: str = ""
    usage: TokenUsage = TokenUsage()

    @property
    def gone(self) -> frozenset[str]:
        """The items that left the view, whichever way the journal calls them."""
        return frozenset((*self.drop, *self.replaces))


class ContextStuck(EventBase, frozen=True, omit_defaults=True, tag="context.stuck"):
    """The view could not be made smaller."""

    effect: str
    reason: str = always("")
    usage: TokenUsage = TokenUsage()
