import pytest

from splitbill.money import parse, show


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("12", 1200),
        ("0.05", 5),
        ("12.50", 1250),
        ("12.5", 1250),
        ("1,200.50", 120050),
        ("-3.05", -305),
        (" 7 ", 700),
    ],
)
def test_amounts_are_read_as_cents(text, cents):
    assert parse(text) == cents


def test_three_decimals_are_refused():
    with pytest.raises(ValueError):
        parse("1.234")


@pytest.mark.parametrize(("cents", "text"), [(5, "0.05"), (120050, "1,200.50"), (-305, "-3.05")])
def test_cents_are_shown_as_amounts(cents, text):
    assert show(cents) == text
