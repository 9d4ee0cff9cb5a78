"""Rules: the part of a compiled spec that says when and how far the view is compacted (see `model`)."""

import msgspec


class ContextWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each sort of unit is worth to compaction, in parts per million (see `context.limits`)."""

    instruction: int = 500_000
    constraint: int = 700_000
    approval: int = 700_000
    plan: int = 600_000
    open_task: int = 500_000
    error: int = 300_000
    decision: int = 200_000
    referred: int = 400_000
    recency: int = 200_000


class ContextRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When and how far the view is compacted; shares in parts per million of the window.

    What `summary_share`, `mask_over` (tokens), `keep_newest` and `half_life` (units) and `max_lines` mean
    stands in `context.limits`. `failures` is how many compactions in a row may come to nothing.
    `reserve` are the tokens left for a message and its reply (0: see `machine.fitting`).
    """

    compact_at: int = 800_000
    target: int = 400_000
    pin: tuple[str, ...] = ("task", "constraints", "approvals", "authority", "open_calls", "plan")
    window: int = 0
    failures: int = 3
    summary_share: int = 900_000
    mask_over: int = 200
    keep_newest: int = 1
    max_lines: int = 200
    half_life: int = 8
    weights: ContextWeights = ContextWeights()
    reserve: int = 0
