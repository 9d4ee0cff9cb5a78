"""Patterns: as Python's `re`, in linear time."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.machine.pattern_syntax import MAX_PATTERN, PatternError
from loopspec.machine.patterns import MAX_TEXT, Pattern, read

LETTERS = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", "\\d", "\\w", "\\s", "[a-c1]", "\\.", "1", " "]
)
TIMES = st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "+?"])
TEXTS = st.text("abcB1 .\n", max_size=12)
STARTS = st.sampled_from(["", "^", "(?i)", "\\b"])


@st.composite
def sources(draw: st.DrawFn, depth: int = 3) -> str:
    """Patterns of letters, groups, alternatives and repetitions (of what is never empty)."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        if depth and draw(st.booleans()):
            inner = draw(sources(depth=depth - 1))
            kind = draw(st.sampled_from(["(%s)", "(?:%s)", "(%s|b)", "(?:c|%s)"]))
            part = kind % inner
            part += draw(st.sampled_from(["", "?"]))
        else:
            part = draw(LETTERS) + draw(TIMES)
        parts.append(part)
    return "".join(parts)


@settings(max_examples=400, deadline=None)
@given(sources(), STARTS, st.sampled_from(["", "$"]), TEXTS)
def test_what_matches_and_what_groups_hold_is_as_in_re(
    source: str, start: str, end: str, text: str
) -> None:
    whole = f"{start}{source}{end}"
    theirs = re.search(whole, text)
    ours = Pattern(whole).search(text)
    if theirs is None:
        assert ours is None
        return
    groups = {"0": theirs[0], **{str(n + 1): g or "" for n, g in enumerate(theirs.groups())}}
    assert ours == groups


def test_groups_have_names() -> None:
    found = read("(?i)^(?P<what>buy|sell) (?P<many>[0-9]+)(?: (of) (.*))?$").search("Buy 20")
    assert found == {"0": "Buy 20", "1": "Buy", "2": "20", "3": "", "4": "", "what": "Buy", "many": "20"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(a+)+$", "a" * 3_000 + "b"),
        ("(((((a*)*)*)*)*)*b", "a" * 3_000),
        ("(x+x+)+y", "x" * 3_000),
        ("\\s*\\s*\\s*\\s*\\s*x", " " * 3_000),
        ("(a|a|aa)+$", "a" * 3_000 + "b"),
        ("(.*)(.*)(.*)(.*)(.*)=", "a" * 3_000),
    ],
)
def test_patterns_that_make_others_hang_take_linear_time(source: str, text: str) -> None:
    def took(length: int) -> float:
        begun = time.process_time()
        assert read(source).search(text[-length:]) is None
        return time.process_time() - begun

    took(100)
    small, large = max(took(300), 0.002), took(3_000)
    assert large < small * 60  # ten times as long; a hundred times would be a square


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("(a)\\1", "`\\1` is not for patterns here"),
        ("(?=a)", "`(?=` is not for patterns here"),
        ("(?<!a)", "`(?<` is not for patterns here"),
        ("(?P=x)", "`(?P` is not for patterns here"),
        ("(?P<1>a)", "a group needs a name of its own"),
        ("(?P<a>a)(?P<a>b)", "a group needs a name of its own"),
        ("a**", "two repetitions"),
        ("*a", "has nothing to repeat"),
        ("(a", "`(` without a `)`"),
        ("a)", "`)` without a `(`"),
        ("[a", "ends too early"),
        ("[b-a]", "a range that ends before it begins"),
        ("a\\", "ends too early"),
        ("a{3,2}", "whose numbers cannot be"),
        ("a{99999}", "whose numbers cannot be"),
        ("\\Z", "`\\Z` is not for patterns here"),
        ("((a{100}){100}){100}", "larger than 2000 steps"),
        ("(" * 40 + ")" * 40, "nested more than 30 deep"),
        ("a" * (MAX_PATTERN + 1), "longer than 1000 characters"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_refused_by_name(source: str, fault: str) -> None:
    with pytest.raises(PatternError, match=re.escape(fault)):
        Pattern(source)


def test_a_text_that_is_too_long_matches_nothing() -> None:
    assert read("a").search("a" * MAX_TEXT) is not None
    assert read("a").search("a" * (MAX_TEXT + 1)) is None
