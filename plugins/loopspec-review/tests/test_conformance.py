"""What loopspec asks of every plugin and kind, and the whole loop in simulated worlds."""

from pathlib import Path

from loopspec.testing import conformance, simulate

import loopspec_review
from loopspec_review import REVIEW
from loopspec_review.performer import Reviewer

JUDGE = "script: 1\nturns: [{reply: Fine.}]\n"


def test_the_plugin_can_be_loaded_beside_what_loopspec_ships() -> None:
    conformance.plugin(loopspec_review, "review").check()


def test_the_kind_keeps_its_promises() -> None:
    """Its session has no conversation yet: there is nothing to judge, and nobody is asked."""
    conformance.kind(
        REVIEW,
        Reviewer,
        config={"model": "judge", "criteria": ["It works on {{ session.workdir }}."]},
        models={"judge": "scripted/judge.yaml"},
        files={"judge.yaml": JUDGE},
        ends="review.unclear",
    ).check()


def test_a_loop_with_it_holds_in_simulated_worlds() -> None:
    registry = conformance.with_plugin(loopspec_review, "review")
    simulate(Path(__file__).with_name("loop.yaml"), seeds=60, registry=registry).check()
