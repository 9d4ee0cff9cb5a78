"""The texts of the benchmarks: about 1 KB each, no two alike, made by nothing but the standard library.

Shared by loopspec and its peers, so that everybody is given the same conversation.
"""

import random
from typing import Final

SIZE: Final = 1024
"""Bytes of one message."""
ROUNDS: Final = 4
"""Rounds of model, gate and tool in a turn; then the model speaks and the turn is over."""
PER_TURN: Final = 1 + 3 * ROUNDS + 1
"""Transitions of a turn: the user's message, the rounds, the last reply."""
KEPT: Final = 100
"""Messages in a bounded view before it is made smaller (a window of 32,000 tokens, pressed at 0.8)."""
LEFT: Final = 50
"""Messages that stay when it is."""

_WORDS: Final = (
    *("the", "loop", "read", "wrote", "file", "line", "test", "state", "model", "tool", "value", "error"),
    *("path", "result", "check", "name", "where", "found", "again", "before", "after", "change", "first"),
)
_POOL: Final = " ".join(random.Random(7).choices(_WORDS, k=16_000))


def kilobyte(n: int) -> str:
    """Text number `n`."""
    start = (n * 997) % (len(_POOL) - SIZE)
    head = f"{n:08d} "
    return head + _POOL[start : start + SIZE - len(head)]


def payload(turns: int) -> int:
    """Bytes of message texts and tool outputs in so many turns."""
    return turns * (1 + 2 * ROUNDS + 1) * SIZE
