"""Words: numbers, times and foreign texts as a person reads them."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopspec.effects import CallModel, Cancel, DecideCalls, Perform
from loopspec.views.words import (
    amount,
    cells,
    due,
    duration,
    moment,
    money,
    pad,
    plural,
    printable,
    sentence,
    usd,
    what,
    wrap,
)

TROUBLE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x07\x9b\n\r\t\u202e\u2066\u200b\u2028\ud800\ue000界e\u0301 …\\"),
    )
)
OVERRIDES = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(TROUBLE, st.integers(-1, 120))
@example("\x1b]0;owned\x07", 5)
@example("界界界", 5)
@example("\u202e" * 9, 13)
def test_a_printable_text_has_no_control_and_no_more_columns_than_allowed(
    text: str, width: int
) -> None:
    shown = printable(text, width)
    assert len(shown) <= cells(shown) <= max(0, width)
    assert not OVERRIDES & set(shown)
    assert {unicodedata.category(c) for c in shown}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("plain", 5, "plain"),
        ("plain", 4, "pla…"),
        ("plain", 1, "…"),
        ("plain", 0, ""),
        ("a\nb\tc\r", 20, "a\\nb\\tc\\r"),
        ("\x1b[31mred", 20, "\\x1b[31mred"),
        ("\x1b[31mred", 4, "…"),
        ("a\x1b[31m", 6, "a\\x1b…"),
        ("\u202eevil", 20, "\\u202eevil"),
        ("\U000e0041", 20, "\\U000e0041"),
        ("\ud800", 20, "\\ud800"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
    ],
)
def test_control_characters_are_written_out_and_never_cut_in_the_middle(
    text: str, width: int, shown: str
) -> None:
    assert printable(text, width) == shown


@given(TROUBLE, st.integers(12, 90))
def test_wrapping_keeps_every_word_and_the_width(text: str, width: int) -> None:
    shown = printable(text, 300)
    lines = wrap(shown, width, "  ", "      ")
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


def test_wrapping_ends_where_the_indents_leave_no_room() -> None:
    assert wrap("one two", 1, "", "  ") == ["o", "  n", "  e", "  t", "  w", "  o"]


def test_wrapping_breaks_at_spaces_and_indents_what_follows() -> None:
    assert wrap("one two  three fourteenlong", 12, "- ", "   ") == [
        "- one two",
        "   three",
        "   fourteenl",
        "   ong",
    ]


@pytest.mark.parametrize(
    ("micros", "shown"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (850_999, "850 ms"),
        (1_000_000, "1 s"),
        (12_900_000, "12 s"),
        (185_000_000, "3 min 05 s"),
        (600_000_000, "10 min"),
        (7_800_000_000, "2 h 10 min"),
        (86_400_000_000, "24 h"),
        (172_800_000_000, "2 d"),
        (273_600_000_000, "3 d 04 h"),
    ],
)
def test_durations(micros: int, shown: str) -> None:
    assert duration(micros) == shown


@pytest.mark.parametrize(
    ("cost", "unpriced", "shown"),
    [
        (0, 0, "$0.00"),
        (12_345_678, 0, "$0.0123"),
        (12_350_000, 0, "$0.0124"),
        (10_000_000, 0, "$0.01"),
        (3_000_000_000, 0, "$3.00"),
        (1_234_567_800_000, 0, "$1,234.5678"),
        (99_999, 0, "under $0.0001"),
        (0, 2, "unknown"),
        (10_000_000, 1, "≥ $0.01"),
        (12_399_999, 1, "≥ $0.0123"),
    ],
)
def test_money_is_exact_or_says_what_it_does_not_know(cost: int, unpriced: int, shown: str) -> None:
    assert money(cost, unpriced) == shown


def test_small_words() -> None:
    assert [amount("turns", 1200), amount("usd", 10**9), amount("elapsed", 60 * 10**6)] == [
        "1,200",
        "$1.00",
        "1 min",
    ]
    assert [due(3_000_000), due(-3_000_000)] == ["in 3 s", "overdue by 3 s"]
    assert moment(1_793_700_000_000_000) == "2026-11-03 10:00:00 UTC"
    assert moment(10**30) == f"{10**30} µs after 1970"
    assert [plural(1, "call"), plural(2, "call")] == ["1 call", "2 calls"]
    assert [sentence("One. Two."), sentence("One.")] == ["One.", "One."]
    assert [pad("ab", 4), pad("界", 4), pad("long", 2)] == ["ab  ", "界  ", "long"]
    assert usd(1, floor=True) == "$0.00"


def test_effects_are_named() -> None:
    assert [
        what(CallModel("s:1:0", "w", model="main", use="a/b")),
        what(DecideCalls("s:1:0", "w", calls=("c1",))),
        what(Perform("s:1:0", "w", kind="deploy")),
        what(Cancel("s:1:0", "w", target="s:0:0")),
    ] == ["ask the model main (a/b)", "decide 1 call", "perform `deploy`", "cancel s:0:0"]
