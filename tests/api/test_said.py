"""What a program says is never lost: before a run, at its result, and when a run cannot begin."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from cli.kit import Place, small

import loopspec
from loopspec import RefusedLine, Result
from loopspec.errors import LoopspecError, UsageError

ASKS = (
    {
        "reply": "",
        "calls": [
            {"tool": "shell", "args": {"command": "echo one > one.txt"}},
            {"tool": "shell", "args": {"command": "echo two > two.txt"}},
        ],
    },
    {"reply": "Done."},
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def session(place: Place, *turns: dict[str, Any], **more: Any) -> Any:
    loop = loopspec.load(small(place, *turns))
    return loop.session("Do it.", store=place.store, workdir=place.work, **more)


def test_a_run_that_could_not_begin_has_lost_nothing_of_what_was_said(place: Place) -> None:
    first = session(place, {"reply": "one"}, {"reply": "two"}, {"reply": "three"})
    first.finish_sync()
    other = loopspec.resume(first.id, "second", store=place.store)
    other.send("third")
    first.send("mine")
    running = first.run_sync()
    next(running)
    with pytest.raises(LoopspecError):
        other.finish_sync()
    for _ in running:
        pass
    assert (first.result.answer, first.result.turns) == ("two", 2)
    result = other.finish_sync()
    assert result.turns >= 3 and result.answer == "three"


def test_what_is_said_at_the_result_is_said_to_the_next_run(place: Place) -> None:
    made = session(place, {"reply": "one"}, {"reply": "two"})
    for line in made.run_sync():
        if isinstance(line, Result):
            made.send("more").wait(1)
    assert (made.finish_sync().answer, made.result.turns) == ("two", 2)


def test_two_approvals_between_runs_are_for_two_calls(place: Place) -> None:
    made = session(place, *ASKS)
    assert [w.tool for w in made.finish_sync().waiting] == ["shell", "shell"]
    made.approve()
    made.approve()
    with pytest.raises(LoopspecError, match="no call waits for an answer"):
        made.approve()
    lines = list(made.run_sync())
    assert not [x for x in lines if isinstance(x, RefusedLine)]
    assert made.result.answer == "Done."
    assert (place.work / "two.txt").read_text() == "two\n"


def test_a_call_that_somebody_else_has_answered_waits_no_more(place: Place) -> None:
    made = session(place, *ASKS)
    made.finish_sync()
    other = loopspec.resume(made.id, store=place.store)
    other.approve()
    other.approve()
    other.finish_sync()
    with pytest.raises(LoopspecError, match="no call waits for an answer"):
        made.approve()


def test_who_stops_waiting_takes_nothing_back_and_a_run_that_fails_to_begin_ends(place: Place) -> None:
    made = session(place, {"reply": "one"})
    go = threading.Event()
    create = made._create

    async def later(store: Any) -> Any:
        await asyncio.to_thread(go.wait)
        raise LoopspecError("no store")

    made._create = later

    async def main() -> None:
        lines = made.run()
        first = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        said = made.send("x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await said
        go.set()
        with pytest.raises(LoopspecError, match="no store"):
            await first
        with pytest.raises(LoopspecError, match="the run has ended"):
            await said

    asyncio.run(main())
    made._create = create
    assert made.finish_sync().answer == "one"


@pytest.mark.parametrize("turns", [0, -1, "5", True, 1.5])
def test_a_limit_of_turns_is_a_whole_number_from_one_on(place: Place, turns: Any) -> None:
    with pytest.raises(UsageError, match="max_turns is"):
        session(place, {"reply": "one"}, max_turns=turns)
