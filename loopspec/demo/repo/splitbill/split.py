"""Who pays what."""


def evenly(cents: int, people: list[str]) -> dict[str, int]:
    """Equal shares; the first people pay the cents that do not divide."""
    if not people:
        raise ValueError("nobody to split between")
    share = cents // len(people)
    return {person: share for person in people}


def by_weight(cents: int, weights: dict[str, int]) -> dict[str, int]:
    """Shares in proportion to weights; the rest goes to the heaviest first."""
    total = sum(weights.values())
    if total <= 0:
        raise ValueError("the weights add up to nothing")
    shares = {person: cents * weight // total for person, weight in weights.items()}
    rest = cents - sum(shares.values())
    for person in sorted(weights, key=lambda p: -weights[p])[:rest]:
        shares[person] += 1
    return shares
