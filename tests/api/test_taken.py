"""What was said before a run is taken one by one, and a run has the context of whoever begins it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.kit import TIMEOUT, Place

import loopspec
from api.test_session import names, session
from loopspec.api.engine import Plan
from loopspec.drivers.limiting import Limits
from loopspec.drivers.observing import chosen
from loopspec.errors import LoopspecError


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_spent_limit_makes_no_call_and_what_was_not_taken_is_kept(place: Place) -> None:
    made = session(place, {"reply": "One."}, {"reply": "Two."}, {"reply": "Three."})
    made.finish_sync()
    again = loopspec.resume(made.id, "And?", store=place.store)
    again._plan = Plan(limits=Limits(turns=0))
    again.send("More.")
    lines = list(again.run_sync())
    assert names(lines) == ["user.message"]
    assert (again.result.status, again.result.turns) == ("budget", 1)  # type: ignore[union-attr]
    again._plan = Plan()
    lines = list(again.run_sync())
    texts = [e.event.text for e in place.entries(made.id) if type(e.event).__name__ == "UserMessage"]
    assert texts == ["Do it.", "And?", "More."]


class Seen:
    """An observer that remembers how its run ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def begin(self, watched: Any) -> None: ...
    def kept(self, entry: Any) -> None: ...
    def live(self, event: Any) -> None: ...
    def end(self, reason: str) -> None:
        self.ends.append(reason)


def test_observers_chosen_where_the_run_begins_watch_it(place: Place) -> None:
    seen = Seen()
    with chosen({"seen": seen}):
        session(place, {"reply": "One."}).finish_sync()
    assert seen.ends == ["input"]


def test_what_was_said_before_a_run_that_somebody_else_holds_hears_that_nothing_comes_of_it(
    place: Place,
) -> None:
    made = session(place, {"reply": "One."})
    made.finish_sync()
    child = Path(__file__).parents[1] / "drivers" / "lease_child.py"
    holder = subprocess.Popen(
        [sys.executable, str(child), "hold", str(place.store), made.id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        again = loopspec.resume(made.id, store=place.store)
        lines = again.run_sync()
        assert isinstance(next(lines), loopspec.Opened)
        told = again.send("More.")
        with pytest.raises(LoopspecError):
            list(lines)
        with pytest.raises(LoopspecError):
            told.wait(TIMEOUT)
    finally:
        holder.communicate(timeout=TIMEOUT)
