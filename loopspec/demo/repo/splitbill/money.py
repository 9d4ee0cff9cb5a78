"""Amounts as integer cents."""


def parse(text: str) -> int:
    """Cents of an amount such as `12`, `12.5`, `1,200.50` or `-3.05`."""
    text = text.strip()
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("-").partition(".")
    if len(part) > 2:
        raise ValueError(f"{text!r} has more than two decimals")
    return sign * (int(whole or "0") * 100 + int(part or "0"))


def show(cents: int) -> str:
    """An amount for people, e.g. `1,200.50`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"
