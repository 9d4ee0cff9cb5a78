"""Literals: exact or nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopspec.spec import literals


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("500ms", 500_000),
        ("90s", 90_000_000),
        ("10m", 600_000_000),
        ("24h", 86_400_000_000),
        ("7d", 604_800_000_000),
        ("1.5h", 5_400_000_000),
        ("0s", 0),
    ],
)
def test_durations_are_microseconds(text: str, micros: int) -> None:
    assert literals.duration(text) == micros


@pytest.mark.parametrize(
    "text", ["", "90", "s", "-1s", "+1s", "1 s", "01s", "1h30m", "1e3s", "1w", "0.0001ms", "9" * 30]
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert literals.duration(text) is None


def test_money_is_exact_nano_usd() -> None:
    assert literals.usd("3.00") == 3_000_000_000
    assert literals.usd("0.000000001") == 1
    assert literals.usd("0.1") == 100_000_000
    for text in ["", "-1", "1e3", ".5", "0.0000000001", "$3", "3,0", "nan"]:
        assert literals.usd(text) is None


def test_shares_are_parts_per_million_within_zero_and_one() -> None:
    assert [literals.share(t) for t in ("0", "0.8", "1.000000")] == [0, 800_000, 1_000_000]
    assert [literals.share(t) for t in ("1.1", "-0.1", "80%", "0.0000001")] == [None] * 4


def test_counts_may_have_a_unit() -> None:
    assert [literals.count(t) for t in ("500k", "1M", "1.5k", "7")] == [500_000, 10**6, 1500, 7]
    assert [literals.count(t) for t in ("1.5", "k", "1K", "0.0001k", "1 k")] == [None] * 5


def test_versions_are_semantic() -> None:
    assert all(map(literals.semver, ["1.0.0", "0.1.2-rc.1+build.5", "10.20.30"]))
    assert not any(map(literals.semver, ["1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0\n", "１.0.0"]))


@given(st.decimals(min_value=0, max_value=10**6, places=9, allow_nan=False))
def test_no_money_is_lost(amount: Decimal) -> None:
    text = format(amount, "f")
    nano = literals.usd(text)
    assert nano is not None and Decimal(nano) == amount * 10**9


@given(st.text(max_size=50))
def test_any_text_is_a_value_or_none(text: str) -> None:
    for reader in (literals.duration, literals.usd, literals.share, literals.count, literals.whole):
        value = reader(text)
        assert value is None or isinstance(value, int)
    assert literals.scalar(text, plain=False) == text
