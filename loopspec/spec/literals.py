"""Literals: what the text of a scalar means. Pure functions over text; nothing hashed is a float.

Rules of this file:
1. A scalar is text until a key says otherwise; `scalar` follows the YAML 1.2 core schema without
   its octal, hexadecimal, infinity and not-a-number forms: `on`, `no`, `010`, `1:30` are text.
2. Durations become microseconds, money nano-USD, shares parts per million, exactly or not at all.
3. Each reader gives None for text it does not accept; the caller knows the place and the remedy.
"""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Final

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
DECIMAL: Final = r"(0|[1-9][0-9]*)(\.[0-9]+)?"
DURATION: Final = r"((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(ms|s|m|h|d)"
COUNT: Final = r"((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(k|M)"
SIZE: Final = r"((?:0|[1-9][0-9]*)(?:\.[0-9]+(?=[kKMG]))?)(B|kB|KB|MB|GB|KiB|MiB|GiB)?"
SEMVER: Final = (
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_DECIMAL: Final = re.compile(DECIMAL)
_DURATION: Final = re.compile(DURATION)
_COUNT: Final = re.compile(COUNT)
_SIZE: Final = re.compile(SIZE)
_SEMVER: Final = re.compile(SEMVER, re.ASCII)
_UNITS: Final = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
# Decimal units are powers of 1000, binary ones of 1024 (IEC 80000-13).
_BYTES: Final = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_LONGEST: Final = 40
MAX_INT: Final = 2**63 - 1

Scalar = str | int | float | bool | None


def scalar(text: str, plain: bool) -> Scalar:
    """The value of a scalar; `plain` says that it was written without quotes.

    An integer too large for 64 bits and a number too large for a float stay text.
    """
    if not plain:
        return text
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE"}:
        return True
    if text in {"false", "False", "FALSE"}:
        return False
    number = whole(text)
    if number is not None:
        return number
    if len(text) <= _LONGEST and _FLOAT.fullmatch(text) and not _INT.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def whole(text: str) -> int | None:
    """A decimal integer of at most 64 bits, without leading zeros."""
    if len(text) > _LONGEST or not _INT.fullmatch(text):
        return None
    value = int(text)
    return value if abs(value) <= MAX_INT else None


def count(text: str) -> int | None:
    """A count of things: `500000`, `500k` or `1M`."""
    if len(text) > _LONGEST:
        return None
    match = _COUNT.fullmatch(text)
    if match is None:
        return whole(text)
    return _exact(Decimal(match[1]), 1_000 if match[2] == "k" else 1_000_000)


def duration(text: str) -> int | None:
    """Microseconds of `500ms`, `90s`, `10m`, `24h` or `7d`; fractions like `1.5h` are allowed."""
    match = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    return _exact(Decimal(match[1]), _UNITS[match[2]]) if match else None


def size(text: str) -> int | None:
    """Bytes of `4096`, `64KB`, `10MB` or `1GiB`; fractions like `1.5MB` if they are whole bytes."""
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    return _exact(Decimal(match[1]), _BYTES[match[2] or ""]) if match else None


def usd(text: str) -> int | None:
    """Nano-USD of a decimal amount of USD such as `3.00`; at most nine places."""
    return _scaled(text, 1_000_000_000)


def share(text: str) -> int | None:
    """Parts per million of a share such as `0.80`; None outside 0 to 1."""
    value = _scaled(text, 1_000_000)
    return value if value is not None and value <= 1_000_000 else None


def semver(text: str) -> bool:
    """Whether the text is a semantic version such as `1.0.0`."""
    return len(text) <= 200 and _SEMVER.fullmatch(text) is not None


def _scaled(text: str, unit: int) -> int | None:
    if len(text) > _LONGEST or not _DECIMAL.fullmatch(text):
        return None
    try:
        return _exact(Decimal(text), unit)
    except InvalidOperation:
        return None


def _exact(value: Decimal, unit: int) -> int | None:
    product = value * unit
    whole_part = int(product)
    return whole_part if whole_part == product and whole_part <= MAX_INT else None
