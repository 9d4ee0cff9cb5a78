"""Model errors: what a provider's exception means for the next rung.

Rules of this file:
1. The status code and the chain of causes decide, not the class: litellm reports an unknown fault
   in a stream as a connection error with status 500, a refused key sometimes as a bad request.
2. A request that does not fit is an overflow, whatever class or status the provider gave it.
3. A detail is one line, short, and holds nothing that looks like a key.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

DETAIL_CHARS: Final = 300
# What is looked at of an error's text: patterns are tried at each of its characters, on the event loop.
READ_CHARS: Final = 16_384
MAX_RETRY_AFTER: Final = 24 * 3600 * 1_000_000
FINAL_REASONS: Final = frozenset(
    {"no_key", "auth", "bad_request", "unknown_model", "refused", "no_match"}
)

_OVERFLOW: Final = re.compile(
    r"context_length_exceeded|maximum context length|context window|context limit"
    r"|prompt is too long|input is too long|input token count .{0,40}exceeds"
    r"|exceeds? the maximum (number of )?(input )?tokens|reduce the length of the messages"
    r"|request_too_large",
    re.IGNORECASE,
)
_UNKNOWN: Final = re.compile(
    r"model_not_found|LLM Provider NOT provided|model .{0,80}(does not exist|not found)"
    r"|unknown model|no such model",
    re.IGNORECASE,
)
_REFUSED: Final = re.compile(
    r"content_policy_violation|content management policy|content_filter", re.IGNORECASE
)
_OVERLOADED: Final = re.compile(r"overloaded|server is busy|at capacity", re.IGNORECASE)
_LIMITED: Final = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
_BAD_KEY: Final = re.compile(r"invalid.{0,3}api.?key|incorrect api key|authentication", re.IGNORECASE)
_PREFIX: Final = re.compile(r"^(litellm\.\w+:\s*|\w+(Error|Exception)\s*(:|-)\s*)+")
_ECHO: Final = re.compile(r"(Original exception:|Received Model Group).*$", re.DOTALL)
_KEY_LIKE: Final = re.compile(
    r"\b(sk|pk|rk|xai|gsk|key|AIza)[-_]?[A-Za-z0-9_*.\-]{8,}|(?<=Bearer )\S+|(?<=api_key=)\S+"
)
_TRANSPORT: Final = frozenset(
    {
        "ConnectError",
        "ReadError",
        "WriteError",
        "CloseError",
        "RemoteProtocolError",
        "LocalProtocolError",
        "NetworkError",
        "ProxyError",
        "ConnectionError",
        "ClientError",
        "gaierror",
        "EndOfStream",
        "IncompleteRead",
        "SSLError",
    }
)
_BROKEN: Final = frozenset({"JSONDecodeError", "UnicodeDecodeError", "ValidationError", "DecodingError"})
_LATE: Final = frozenset({"Timeout", "APITimeoutError", "TimeoutException", "TimeoutError"})


@dataclass(frozen=True)
class Fault:
    """Why an attempt failed. `retry_after` is microseconds the server asked for, 0 for none."""

    reason: str
    detail: str = ""
    retry_after: int = 0

    @property
    def retryable(self) -> bool:
        """Whether the same request may do better later."""
        return self.reason not in FINAL_REASONS


@dataclass(frozen=True)
class Overflow:
    """The provider says the request does not fit the model's window."""

    detail: str = ""


class Late(Exception):
    """A deadline of ours passed: `which` is its name in the spec, `seconds` its length."""

    def __init__(self, which: str, seconds: float) -> None:
        """Name the deadline and its length."""
        super().__init__(which)
        self.which = which
        self.seconds = seconds

    def fault(self) -> Fault:
        """`stalled` for silence inside a stream, `timeout` for the other deadlines."""
        reason = "stalled" if self.which == "between_chunks" else "timeout"
        return Fault(reason, f"no more content within {self.seconds:g} s (deadline {self.which})")


def classify(
    error: BaseException, status: int = 0, headers: Mapping[str, str] | None = None
) -> Fault | Overflow:
    """What `error` means. Never raises; an error nobody knows is a `provider` fault.

    `status` and `headers` are those of the response itself where they were seen: litellm says 500 of
    statuses it does not know, such as Anthropic's 529 for overload.
    """
    if isinstance(error, Late):
        return error.fault()
    chain = list(_chain(error))
    names = {name for link in chain for name in _names(link)}
    text = " ".join(str(link)[:READ_CHARS] for link in chain)
    status = status or next((s for s in map(_status, chain) if s), 0)
    detail = one_line(str(_core(error)))
    if _overflows(names, status, text):
        return Overflow(detail)
    asked = max(_retry_after(chain), min(asked_wait(headers or {}), MAX_RETRY_AFTER))
    return Fault(_reason(names, status, text), detail, asked)


def one_line(text: str) -> str:
    """`text` as one short line without litellm's prefixes and without what looks like a key."""
    text = mend(text[:READ_CHARS])
    flat = " ".join(mend(_spoken(_ECHO.sub("", text))).split())
    flat = _KEY_LIKE.sub("[key]", _PREFIX.sub("", flat))
    return flat if len(flat) <= DETAIL_CHARS else flat[: DETAIL_CHARS - 1] + "…"


def mend(text: str) -> str:
    """`text` as valid Unicode: halves of a character joined, lone ones replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _spoken(text: str) -> str:
    """The message inside the JSON body that some providers' errors quote, else `text` itself."""
    try:
        body = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        return text
    inner = body.get("error", body)
    message = inner.get("message") if isinstance(inner, dict) else None
    return message if isinstance(message, str) and message else text


def _overflows(names: set[str], status: int, text: str) -> bool:
    """Whether the request is too large; a rate limit that counts tokens is not."""
    if "ContextWindowExceededError" in names or status == 413:
        return True
    return status not in (401, 403, 404, 429) and bool(_OVERFLOW.search(text))


def _reason(names: set[str], status: int, text: str) -> str:
    """One of the reasons `attempt.failed` knows."""
    if "NoMatch" in names:
        return "no_match"
    if "ContentPolicyViolationError" in names:
        return "refused"
    if status in (401, 403):
        return "auth"
    if status == 404 or (status < 429 and _UNKNOWN.search(text)):
        return "unknown_model"
    if status == 429:
        return "rate_limited"
    if status in (503, 529):
        return "overloaded"
    if status in (408, 504) or names & _LATE:
        return "timeout"
    if 400 <= status < 500:
        if _REFUSED.search(text):
            return "refused"
        return "auth" if _BAD_KEY.search(text) else "bad_request"
    return _unclear(names, text)


def _unclear(names: set[str], text: str) -> str:
    """The reason of a fault without a telling status: look at causes, then at words."""
    if names & _BROKEN:
        return "corrupt"
    if names & _TRANSPORT:
        return "connection"
    if _OVERLOADED.search(text):
        return "overloaded"
    if _LIMITED.search(text):
        return "rate_limited"
    return "provider"


def _core(error: BaseException) -> BaseException:
    """The innermost exception litellm wrapped (`MidStreamFallbackError.original_exception`)."""
    seen = 0
    while seen < 8:
        inner = getattr(error, "original_exception", None)
        if not isinstance(inner, BaseException):
            break
        error, seen = inner, seen + 1
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything behind it, the wrapped original first, each once."""
    todo, seen = [_core(error), error], set[int]()
    while todo and len(seen) < 32:
        link = todo.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = getattr(link, "original_exception", None)
        todo.extend(e for e in (inner, link.__cause__, link.__context__) if isinstance(e, BaseException))


def _names(error: BaseException) -> Iterator[str]:
    """The class names of an exception; known by name so that no provider library is imported."""
    for kind in type(error).__mro__:
        yield kind.__name__


def _status(error: BaseException) -> int:
    """The HTTP status of one exception, 0 without one."""
    for value in (
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
    ):
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return 0


def _retry_after(chain: list[BaseException]) -> int:
    """The longest time any response in the chain asked for, in microseconds."""
    longest = 0
    for error in chain:
        for headers in (
            getattr(error, "litellm_response_headers", None),
            getattr(error, "headers", None),
            getattr(getattr(error, "response", None), "headers", None),
        ):
            if isinstance(headers, Mapping):
                longest = max(longest, asked_wait(headers))
    return min(longest, MAX_RETRY_AFTER)


def asked_wait(headers: Mapping[Any, Any]) -> int:
    """What headers ask for, in microseconds: from milliseconds, seconds or a date."""
    lower = {str(k).lower(): str(v).strip() for k, v in headers.items()}
    millis = _number(lower.get("retry-after-ms", ""))
    if millis is not None:
        return int(millis * 1000)
    given = lower.get("retry-after", "")
    seconds = _number(given)
    if seconds is None and given:
        try:
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0
    return max(0, int((seconds or 0) * 1_000_000))


def _number(text: str) -> float | None:
    """A finite number not below zero and not absurd, None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return min(value, 1e9) if math.isfinite(value) and value >= 0 else None
