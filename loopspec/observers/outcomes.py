"""Outcomes: what an answer means for the span it ends, without content unless that is wanted."""

import json
from dataclasses import dataclass, field
from typing import Any

from loopspec.events import (
    AttemptFailed,
    EffectAnswered,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    Kept,
    ModelOverflowed,
    ModelReplied,
    TokenUsage,
    ToolAnswered,
)
from loopspec.observers import genai


@dataclass(frozen=True)
class Outcome:
    """Attributes, what was consumed, and the class of what went wrong (empty: nothing)."""

    attributes: dict[str, Any] = field(default_factory=dict)
    usage: TokenUsage | None = None
    error: str = ""
    detail: str = ""


def outcome_of(event: Kept, *, content: bool) -> Outcome:
    """The outcome an answer means; `content` lets texts in."""
    match event:
        case ModelReplied():
            return _reply(event, content)
        case AttemptFailed():
            detail = event.detail if content else ""
            return Outcome(usage=event.usage, error=event.reason, detail=detail)
        case ModelOverflowed():
            return Outcome(error="overflow", detail=event.detail if content else "")
        case ToolAnswered():
            error = "" if event.status == "ok" else event.status
            shown = {genai.TOOL_RESULT: event.output} if content else {}
            return Outcome(shown, error=error)
        case EffectCancelled():
            started = {"loopspec.cancelled": True, "loopspec.started": event.started}
            return Outcome(started, usage=event.usage if event.started else None)
        case EffectLost():
            return Outcome(error="lost", detail=event.reason if content else "")
        case EffectFailed():
            return Outcome(error="failed", detail=event.reason if content else "")
        case EffectAnswered():
            shown = {"loopspec.ending": event.name}
            if content:
                shown["loopspec.ending.data"] = event.data
            return Outcome(shown, usage=getattr(event, "usage", None))
        case _:
            return Outcome()


def _reply(event: ModelReplied, content: bool) -> Outcome:
    """A reply: its model, its end and, if wanted, what it says."""
    attributes: dict[str, Any] = {
        genai.RESPONSE_MODEL: genai.model(event.model),
        genai.FINISH: [event.finish or "unknown"],
        "loopspec.calls": len(event.calls),
        "loopspec.request": event.request,
    }
    if content:
        parts: list[dict[str, Any]] = []
        if event.text:
            parts.append({"type": "text", "content": event.text})
        for call in event.calls:
            parts.append({"type": "tool_call", "name": call.tool, "arguments": json.loads(call.args)})
        message = {"role": "assistant", "parts": parts, "finish_reason": event.finish}
        attributes[genai.OUTPUT_MESSAGES] = json.dumps([message], ensure_ascii=False)
    return Outcome(attributes, usage=event.usage)
