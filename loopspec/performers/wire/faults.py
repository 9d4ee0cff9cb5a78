"""Faults of a stream: it is damaged, or the provider says inside it that it failed."""

from collections.abc import Mapping
from typing import Any, Final

_STATUS: Final[Mapping[str, int]] = {
    "overloaded_error": 529,
    "overloaded": 529,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "context_length_exceeded": 413,
    "invalid_request_error": 400,
    "content_filter": 400,
    "invalid_prompt": 400,
    "timeout_error": 504,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
}
_WORDS: Final = ("type", "code", "status", "status_code")


class Damage(Exception):
    """A stream that is not what its protocol says. The text names the place and what is wrong."""


class Told(Exception):
    """An error the provider put into the stream, with the HTTP status it would have had (0: unknown).

    `headers` are those of the response; a `Retry-After` may stand there.
    """

    def __init__(self, message: str, status: int, headers: Mapping[str, str]) -> None:
        """Take over what the provider said."""
        super().__init__(message)
        self.status_code = status
        self.headers = headers


def told(error: Any, headers: Mapping[str, str]) -> Told:
    """The fault that an error object (or text) inside a stream tells of."""
    if not isinstance(error, Mapping):
        return Told(str(error), 0, headers)
    message = error.get("message") or error.get("detail") or ""
    name = next((str(error[w]) for w in ("code", "type") if isinstance(error.get(w), str)), "")
    if not isinstance(message, str) or not message:
        message = name or "the provider reported an error inside the stream"
    found = [_status(error.get(word)) for word in _WORDS]
    # A bad request is what many say of anything; a more telling word beside it counts.
    status = next((s for s in found if s and s != 400), 0) or max(found)
    return Told(message, status, headers)


def _status(value: Any) -> int:
    """The HTTP status a word or a number stands for, 0 for none."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        value = int(value) if value.isdecimal() and len(value) == 3 else _STATUS.get(value, 0)
    return value if isinstance(value, int) and 400 <= value <= 599 else 0
