"""What is put before the planner: limits, the goal that is left for the view, how units stand."""

import pytest

from loopspec.context.limits import Limits
from loopspec.context.planning import goal, limits, planned
from loopspec.context.transcript import Item
from loopspec.effects import CompactContext
from loopspec.machine.model import ContextRules


def item(n: int, role: str, size: int, text: str = "x") -> Item:
    return Item(f"{n}.0", role, text, tokens=size)


def test_the_defaults_of_the_spec_are_those_of_the_planner() -> None:
    assert limits(ContextRules()) == Limits()


@pytest.mark.parametrize(
    ("target", "context", "scale", "left"),
    [
        (1_000, 0, 0, 1_000),  # nothing is known of the request
        (1_000, 2_000, 0, 1_000),  # it is the view
        (1_000, 2_300, 0, 700),  # 300 of it are prompt and tools
        (1_000, 9_000, 0, 250),  # they take everything: a quarter is left
        (1_000, 4_300, 2_000_000, 700),  # the view counts double
        (1, 0, 0, 1),
    ],
)
def test_the_goal_for_the_view_is_what_the_rest_of_the_request_leaves(
    target: int, context: int, scale: int, left: int
) -> None:
    items = (item(0, "user", 1_500), item(1, "assistant", 500))
    assert goal(CompactContext("s:1:0", "c", target, 0, context, scale), items) == left


def test_the_same_effect_and_view_give_the_same_plan() -> None:
    items = (item(0, "user", 50), *(item(n, "assistant", 400, f"{n} word") for n in range(1, 9)))
    effect = CompactContext("s:1:0", "c", 1_000, 0, 3_300, 1_200_000)
    assert planned(effect, items, ContextRules()) == planned(effect, items, ContextRules())
