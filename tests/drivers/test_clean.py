"""What a person gives loses its secrets before it is written, or is refused."""

import pytest

from loopspec.codec import encode
from loopspec.drivers.clean import SECRET_ARGS, clean
from loopspec.events import (
    ApprovalGiven,
    Decision,
    EffectAnswered,
    EffectFailed,
    GateDecided,
    Kept,
    UserCalled,
)
from loopspec.governance.redact import Redactor

SECRET = "hunter2-hunter2"
REDACTOR = Redactor.from_environment({"SERVICE_TOKEN": SECRET})
MARK = "[secret:SERVICE_TOKEN]"


@pytest.mark.parametrize(
    ("event", "cleaned"),
    [
        (UserCalled("t", '{"a":1}'), UserCalled("t", '{"a":1}')),
        (UserCalled("t", f'{{"a":"{SECRET}"}}'), UserCalled("t", SECRET_ARGS)),
        (UserCalled("t", '{"a":"\ud800"}'), UserCalled("t", SECRET_ARGS)),
        (
            ApprovalGiven("c", "h", "grant", args=f'{{"a":"{SECRET}"}}'),
            ApprovalGiven("c", "h", "grant", args=SECRET_ARGS),
        ),
        (
            ApprovalGiven("c", "h", "grant", "limited", SECRET, "", (SECRET, "src/*"), (f"x {SECRET}",)),
            ApprovalGiven("c", "h", "grant", "limited", MARK, "", (MARK, "src/*"), (f"x {MARK}",)),
        ),
        (
            GateDecided("e", [Decision("c", "ask", "r", "", (f"a/{SECRET}",), SECRET)]),
            GateDecided("e", [Decision("c", "ask", "r", "", (f"a/{MARK}",), MARK)]),
        ),
    ],
)
def test_what_is_given_holds_no_secret_when_it_is_written(event: Kept, cleaned: Kept) -> None:
    assert clean(event, REDACTOR) == cleaned


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            ApprovalGiven("c", "h", "grant"),
            b'{"type":"approval.given","call":"c","args_hash":"h","answer":"grant","scope":"call",'
            b'"reason":""}',
        ),
        (Decision("c", "ask"), b'{"call":"c","answer":"ask","rule":"","reason":""}'),
        (
            EffectAnswered("e", "x.y"),
            b'{"type":"effect.answered","effect":"e","name":"x.y","data":"{}"}',
        ),
        (EffectFailed("e", "why"), b'{"type":"effect.failed","effect":"e","reason":"why"}'),
    ],
)
def test_an_event_that_says_nothing_new_has_its_old_bytes(value: object, written: bytes) -> None:
    assert encode(value) == written
