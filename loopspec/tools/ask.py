"""`ask.person`: a question only a person can answer."""

from typing import Any, Final

from loopspec.hooks import Tool, ToolContext, ToolFailed


async def _ask(ctx: ToolContext, args: dict[str, Any]) -> str:
    if ctx.people is None:
        raise ToolFailed(
            "nobody is there to answer; decide with what is known and say what was assumed"
        )
    return await ctx.people.answer(args["question"])


PERSON: Final = Tool(
    name="ask.person",
    description="Ask the person a question in plain text and wait for the answer.",
    parameters={
        "type": "object",
        "properties": {"question": {"type": "string", "minLength": 1}},
        "required": ["question"],
        "additionalProperties": False,
    },
    run=_ask,
    effect="read",
    after_crash="rerun",
    total=86_400.0,
)
