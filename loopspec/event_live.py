"""Live events: pieces of streams, shown at once; they never reach `step` or the journal."""

from typing import TypeAlias

from loopspec.event_base import EventBase


class TextDelta(EventBase, frozen=True, tag="text.delta"):
    """A piece of the model's text as it streams."""

    effect: str
    text: str


class ThinkingDelta(EventBase, frozen=True, tag="thinking.delta"):
    """A piece of the model's thinking as it streams."""

    effect: str
    text: str


class CallDelta(EventBase, frozen=True, tag="call.delta"):
    """A piece of a proposed call's arguments; for display only, never executed."""

    effect: str
    index: int
    tool: str = ""
    text: str = ""


class StreamDiscarded(EventBase, frozen=True, tag="stream.discarded"):
    """What was shown of this effect's reply is void: it broke, and it is asked again from the start."""

    effect: str
    reason: str = ""


class StreamContinued(EventBase, frozen=True, tag="stream.continued"):
    """This effect's reply goes on where the broken one of the effect `after` stopped."""

    effect: str
    after: str


class ToolOutput(EventBase, frozen=True, tag="tool.output"):
    """A piece of a running tool's output."""

    effect: str
    call: str
    text: str


class EffectStarted(EventBase, frozen=True, tag="effect.started"):
    """An effect has begun; `what` describes it in a few words."""

    effect: str
    what: str


class Progress(EventBase, frozen=True, tag="progress"):
    """A word about what is going on that changes nothing."""

    text: str


Live: TypeAlias = (
    TextDelta
    | ThinkingDelta
    | CallDelta
    | StreamDiscarded
    | StreamContinued
    | ToolOutput
    | EffectStarted
    | Progress
)
