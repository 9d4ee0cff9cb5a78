"""Figures of the speed benchmarks: medians, spreads, shares, and how they are written."""

import statistics
from collections.abc import Callable, Sequence


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, and where the middle eight tenths lie."""
    low, high = tenths(values)
    return f"{form(middle(values))} ({form(low)} to {form(high)})"


def tenths(values: Sequence[float]) -> tuple[float, float]:
    """The values above and below which a tenth of them lie; the extremes of a few."""
    ranked = sorted(values)
    cut = len(ranked) // 10
    return ranked[cut], ranked[len(ranked) - 1 - cut]


def ratios(values: Sequence[float], of: Sequence[float]) -> list[float]:
    """Each slice against another's slice of the same turn, as far as both went."""
    return [a / b for a, b in zip(values, of, strict=False)]


def share(values: Sequence[float], of: Sequence[float]) -> float:
    """One rate as a share of another, for a verdict: the less flattering of two figures.

    The median over slices; and the share among the fastest slices of both, for while somebody else keeps
    the disk busy everybody waits for it alike, and whatever comes on top seems small.
    """
    count = min(len(values), len(of))
    calm = tenths(values[:count])[1] / tenths(of[:count])[1]
    return min(middle(ratios(values, of)), calm)


def whole(value: float) -> str:
    """A number without decimals, thousands apart."""
    return f"{value:,.0f}"


def two(value: float) -> str:
    """A number with two decimals."""
    return f"{value:.2f}"


def ms(value: float) -> str:
    """Seconds as milliseconds."""
    return f"{value * 1000:,.0f} ms" if value >= 0.01 else f"{value * 1000:.2f} ms"


def us(value: float) -> str:
    """Seconds as microseconds."""
    return f"{value * 1e6:,.0f} µs"


def mb(value: float) -> str:
    """Bytes as megabytes."""
    return f"{value / 1e6:,.1f} MB"
