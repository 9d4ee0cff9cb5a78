"""The flow of random charts, against what `step` really does."""

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.builders import Run
from spec.kit import KINDS, TOOLS
from statechart.charts import SENT, charts
from statechart.test_differential import FACTS

from loopspec.check.flow import Flow, circles, sound
from loopspec.check.spec import check_spec
from loopspec.spec.parse import compile_spec

EVENTS = st.lists(st.sampled_from(SENT), min_size=3, max_size=12)
GRAPHS = st.dictionaries(st.integers(0, 7), st.sets(st.integers(0, 7), max_size=4), max_size=8)


@given(charts(), EVENTS)
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_is_entered_was_reachable_and_no_warning_says_otherwise(
    spec: dict[str, Any], events: list[str]
) -> None:
    text = yaml.safe_dump(spec, sort_keys=False, width=200)
    machine = compile_spec(text, kinds=KINDS, tools=TOOLS).machine
    assert machine is not None and sound(machine)
    flow = Flow(machine)
    run = Run(machine)
    seen = set(run.snapshot.configuration)
    for event in events:
        before = run.snapshot.configuration
        run.tell(FACTS[event])
        after = run.snapshot.configuration
        seen |= set(after)
        if run.last.record.taken and before != after:
            left = {leaf for leaf in before if leaf in flow.leaves and leaf not in after}
            assert not left & flow.trapped, "a leaf that was left has a way out"
    assert seen <= flow.reachable
    found = check_spec(text, kinds=KINDS, tools=TOOLS).diagnostics
    never = {machine.states[path].place for path in seen}
    assert not [
        d for d in found if d.code in ("LS701",) and (d.line, d.col) in {(p.line, p.col) for p in never}
    ]


@given(GRAPHS)
def test_circles_are_the_nodes_that_lead_to_each_other(graph: dict[int, set[int]]) -> None:
    whole = {node: {n for n in ends if n in graph} for node, ends in graph.items()}
    far = {node: set(ends) for node, ends in whole.items()}
    for _ in whole:
        far = {node: ends | {e for n in ends for e in far[n]} for node, ends in far.items()}
    wanted = [
        [other for other in whole if other in far[node] and node in far[other]]
        for node in whole
        if node in far[node]
    ]
    assert circles(whole) == [g for n, g in enumerate(wanted) if g not in wanted[:n]]


def test_a_long_chain_is_no_problem_of_depth() -> None:
    chain = {n: {n + 1} for n in range(20_000)} | {20_000: {0}}
    assert circles(chain) == [list(range(20_001))]
