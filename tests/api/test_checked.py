"""What a program hands in is looked at before it becomes an event."""

from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place, small

import loopspec
from loopspec.cli.main import run_cli
from loopspec.errors import UsageError

CALL = {"tool": "shell", "args": {"command": "echo hi > made.txt"}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def session(place: Place, *turns: dict[str, Any]) -> Any:
    loop = loopspec.load(small(place, *turns))
    return loop.session("Do it.", store=place.store, workdir=place.work)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scope": "limited", "paths": "src/**"}, "`paths` is 'src/\\*\\*'. give a list of texts"),
        ({"scope": "limited", "commands": "echo*"}, "`commands` is 'echo\\*'. give a list of texts"),
        ({"scope": "limited", "commands": [5]}, "`commands` holds 5, which is no text"),
        ({"paths": None}, "`paths` is None"),
        ({"scope": 5}, "`scope` holds 5"),
        ({"reason": 5}, "`reason` holds 5"),
        ({"args": [1]}, "`args` is no mapping"),
        ({"args": {1: 2}}, "`args` is no mapping"),
        ({"args": {"command": float("nan")}}, "`args` cannot be written as JSON"),
        ({"args": {"command": {1}}}, "`args` cannot be written as JSON"),
    ],
)
def test_an_answer_that_says_something_else_than_was_meant_is_refused(
    place: Place, given: dict[str, Any], said: str
) -> None:
    made = session(place, {"reply": "", "calls": [CALL]}, {"reply": "Done."})
    assert made.finish_sync().status == "approval"
    with pytest.raises(UsageError, match=said):
        made.approve(**given)
    assert made.finish_sync().status == "approval"
    assert not (place.work / "made.txt").exists()
    assert run_cli(["verify", made.id, "--store", str(place.store)]) == 0


def test_a_reason_that_is_no_text_cannot_break_the_journal(place: Place) -> None:
    made = session(place, {"reply": "", "calls": [CALL]}, {"reply": "Done."})
    made.finish_sync()
    with pytest.raises(UsageError, match="`reason` holds 5"):
        made.deny(reason=5)
    assert run_cli(["verify", made.id, "--store", str(place.store)]) == 0
