"""The kind `review`: a second model judges the work against criteria that the spec names.

Importing this file is cheap: the performer is imported when a session needs it.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from loopspec.hooks import Kind, Performer, hook

MOST: Final = 100_000
"""Characters of the conversation shown to the judge, unless the spec says otherwise."""

_CONFIG: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "criteria"],
    "properties": {
        "model": {
            "type": "string",
            "format": "model",
            "description": "The declared model that judges; best another one than does the work.",
            "examples": ["judge"],
        },
        "criteria": {
            "type": "array",
            "minItems": 1,
            "maxItems": 20,
            "items": {"type": "string", "format": "template", "minLength": 1, "maxLength": 2000},
            "description": "What the work must fulfil, a text each, with the names that prompts know. "
            "The work passes when all are met.",
            "examples": [["The change does what was asked, and nothing else."]],
        },
        "about": {
            "enum": ["conversation", "answer"],
            "default": "conversation",
            "description": "What the judge sees besides what the person asked for: the conversation with "
            "its calls and results, or the newest answer alone.",
        },
        "most": {
            "type": "string",
            "format": "size",
            "default": "100KB",
            "description": "How much of the conversation the judge sees at most: its newest part.",
        },
        "instructions": {
            "type": "string",
            "format": "template",
            "minLength": 1,
            "description": "What the judge is told to be, instead of the plugin's own words. How it must "
            "answer is told in any case.",
        },
    },
}


def _ending(description: str, **fields: Any) -> str:
    """The schema of an ending whose fields are all there."""
    made = {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": sorted(fields),
        "properties": fields,
    }
    return json.dumps(made)


_NOTES: Final = {"type": "string", "description": "The judge's remarks in a few sentences."}
_SCORE: Final = {
    "type": "integer",
    "minimum": 0,
    "maximum": 100,
    "description": "How many in a hundred of the criteria are met.",
}
_FAULTS: Final = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Each criterion that is not met, and why.",
}
_REASON: Final = {"type": "string", "description": "Why there is no verdict."}

REVIEW: Final = Kind(
    name="review",
    shape="one",
    effect="perform",
    performer="review",
    endings={
        "review.passed": _ending("Every criterion is met.", notes=_NOTES, score=_SCORE),
        "review.failed": _ending(
            "Some criterion is not met.", notes=_NOTES, faults=_FAULTS, score=_SCORE
        ),
        "review.unclear": _ending("The judge gave no verdict that can be read.", reason=_REASON),
    },
    schema=json.dumps(_CONFIG),
    conversation=True,
    repeatable=True,
    doc="Asks a second model whether the work meets criteria. After a crash it is asked again.",
)


def _performer() -> Performer:
    """The performer, imported now."""
    from loopspec_review.performer import Reviewer

    return Reviewer()


@hook
def loopspec_kinds() -> list[Kind]:
    """One kind of state."""
    return [REVIEW]


@hook
def loopspec_performers() -> dict[str, Callable[[], Performer]]:
    """Who does it."""
    return {"review": _performer}
