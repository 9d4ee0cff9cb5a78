"""Orphans: processes of a call whose driver was killed before it could end them."""

from loopspec.tools import tree


def end_call(call: str) -> int:
    """End every process that a run of `call` has left; blocks for a few seconds at most.

    For a restart, before the call is settled or run again. Gives back how many there were.
    """
    return tree.end(None, f"{call}:") if call else 0
