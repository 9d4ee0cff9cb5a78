"""What was said before a run is taken one by one, and a run has the context of whoever begins it."""

from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place

import loopspec
from api.test_session import names, session
from loopspec.api.engine import Plan
from loopspec.drivers.limiting import Limits
from loopspec.drivers.observing import chosen


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
