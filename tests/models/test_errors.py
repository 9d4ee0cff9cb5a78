"""What an exception means, without any provider's library."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from loopspec.performers.model_errors import Fault, Late, Overflow, classify, one_line


class Answered(Exception):
    """An exception with a status and headers, as HTTP clients raise them."""

    def __init__(self, message: str, status: int = 0, **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}


class MidStreamFallbackError(Answered):
    """An exception that wraps another one in an attribute."""

    def __init__(self, inner: BaseException) -> None:
        super().__init__("wrapped", 503)
        self.original_exception = inner


class AuthenticationMoved(Answered):
    """A refused key under a foreign name."""


def test_the_wrapped_original_decides() -> None:
    found = classify(MidStreamFallbackError(Answered("slow down", 429, retry_after="3")))
    assert found == Fault("rate_limited", "slow down", 3_000_000)


def test_a_bad_request_with_the_status_of_a_refused_key_is_auth() -> None:
    assert classify(AuthenticationMoved("litellm.BadRequestError: nope", 401)) == Fault("auth", "nope")
    assert classify(Answered("Invalid API key", 400)) == Fault("auth", "Invalid API key")


def test_a_rate_limit_that_counts_tokens_is_no_overflow() -> None:
    text = "too large: exceeds the maximum tokens per minute, reduce the length of the messages"
    assert classify(Answered(text, 429)) == Fault("rate_limited", text)
    assert classify(Answered(text, 400)) == Overflow(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2", 2_000_000),
        ("0.25", 250_000),
        ("-5", 0),
        ("nan", 0),
        ("inf", 0),
        ("1e300", 24 * 3600 * 1_000_000),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after_is_bounded_whatever_it_says(value: str, expected: int) -> None:
    found = classify(Answered("x", 429, Retry_After=value))
    assert isinstance(found, Fault) and found.retry_after == expected


def test_retry_after_may_be_a_date_or_milliseconds() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    found = classify(Answered("x", 503, retry_after=later))
    assert isinstance(found, Fault) and 80_000_000 < found.retry_after <= 90_000_000
    found = classify(Answered("x", 503, retry_after="9", retry_after_ms="1500"))
    assert isinstance(found, Fault) and found.retry_after == 1_500_000


def test_an_exception_nobody_knows_is_a_provider_fault_that_may_be_retried() -> None:
    found = classify(RuntimeError("what\n is   this"))
    assert found == Fault("provider", "what is this")
    assert isinstance(found, Fault) and found.retryable


def test_an_endless_chain_of_causes_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(first) == Fault("provider", "a")


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("connect", "timeout"),
        ("first_chunk", "timeout"),
        ("between_chunks", "stalled"),
        ("total", "timeout"),
    ],
)
def test_our_own_deadlines_say_which(which: str, reason: str) -> None:
    assert classify(Late(which, 1.5)) == Fault(reason, f"no more content within 1.5 s (deadline {which})")


def test_a_detail_is_one_short_line_without_prefixes_and_keys() -> None:
    text = "litellm.RateLimitError: RateLimitError: OpenAIException - Key sk-abcdefghijkl is\nslow"
    assert one_line(text) == "Key [key] is slow"
    assert one_line("Bearer abc.def and api_key=xyz") == "Bearer [key] and api_key=[key]"
    assert len(one_line("x" * 1000)) == 300


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "slow down", "code": "x"}}',
        '{"message": "slow down"}',
        'XException InternalServerError - b\'{"error": {"message": "slow down"}}\'. Handle with `x`.',
        '[{"error": {"message": "slow down"}}]',
    ],
)
def test_a_detail_is_what_the_body_says(body: str) -> None:
    assert one_line(body) == "slow down"


@pytest.mark.parametrize(
    "body", ["{", "}{", "{}", '{"error": 1}', '{"message": ""}', '{"a": {"message": 1}}']
)
def test_a_body_that_says_nothing_stays_as_it_is(body: str) -> None:
    assert one_line(body) == body
