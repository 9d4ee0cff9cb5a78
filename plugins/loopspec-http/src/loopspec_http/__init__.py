"""loopspec-http: `http.fetch` reads from the web, `http.send` changes something there.

Importing this package is cheap: the HTTP library is imported when a request is made.
"""

from importlib import import_module
from typing import Any

from loopspec.hooks import Tool, ToolContext, hook

from loopspec_http.settings import FETCH_CONFIG, SEND_CONFIG

_URL = {
    "type": "string",
    "maxLength": 4096,
    "description": "An absolute URL; its host must be one of those the spec allows.",
}
_HEADERS = {
    "type": "object",
    "description": "Request headers; only those the spec allows.",
    "additionalProperties": {"type": "string"},
    "maxProperties": 20,
}


async def _run(ctx: ToolContext, args: dict[str, Any]) -> str:
    """Make the request."""
    fetching: Any = import_module("loopspec_http.fetching")
    text: str = await fetching.request(ctx, args)
    return text


FETCH = Tool(
    name="http.fetch",
    description=(
        "Read a URL with GET or HEAD. The answer begins with the status and the headers that matter; "
        "redirects are not followed, their location is told."
    ),
    parameters={
        "type": "object",
        "properties": {
            "url": _URL,
            "method": {"type": "string", "enum": ["GET", "HEAD"], "default": "GET"},
            "headers": _HEADERS,
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    run=_run,
    effect="read",
    total=120.0,
    config_schema=FETCH_CONFIG,
)

SEND = Tool(
    name="http.send",
    description=(
        "Send a request that may change something: POST, PUT, PATCH or DELETE. It is never repeated "
        "by itself. Redirects are not followed, their location is told."
    ),
    parameters={
        "type": "object",
        "properties": {
            "url": _URL,
            "method": {"type": "string", "enum": ["POST", "PUT", "PATCH", "DELETE"]},
            "headers": _HEADERS,
            "body": {"type": "string", "description": "The body, as text.", "maxLength": 1_000_000},
        },
        "required": ["url", "method"],
        "additionalProperties": False,
    },
    run=_run,
    effect="irreversible",
    total=120.0,
    config_schema=SEND_CONFIG,
)


@hook
def loopspec_tools() -> list[Tool]:
    """Both tools."""
    return [FETCH, SEND]
