"""The reviewer: its endings, its one more asking, and how it is stopped."""

import asyncio
import json
from typing import Any, cast

import pytest
from doubles import Item, Judge, verdict
from loopspec.hooks import AskFailed, EffectAnswered, EffectCancelled, EffectFailed, Kept, Perform, World

from loopspec_review.performer import AGAIN, NOTHING, Reviewer

TALK = (Item("user", "Write it."), Item("assistant", "It is written."))


def effect(**config: Any) -> Perform:
    """A review of one criterion."""
    data = {"model": "judge", "criteria": ["It works."], **config}
    return Perform("s:1:0", "judging", "review", json.dumps(data))


def review(judge: Judge, **config: Any) -> tuple[str, dict[str, Any]]:
    """The ending of a review and its data."""
    made = asyncio.run(Reviewer().perform(effect(**config), cast(World, judge)))
    assert isinstance(made, EffectAnswered) and made.effect == "s:1:0" and not made.usage
    return made.name, json.loads(made.data)


def test_it_passes_what_meets_the_criteria() -> None:
    judge = Judge(TALK, [verdict(True)])
    assert review(judge) == ("review.passed", {"notes": "So it is.", "score": 100})
    (asked,) = judge.asked
    assert (asked[0], [m["role"] for m in asked[1]]) == ("judge", ["user"])
    assert "It is written." in asked[1][0]["content"] and "1. It works." in asked[2]


def test_it_fails_what_does_not() -> None:
    ending, data = review(Judge(TALK, [verdict(False, why="no")]))
    wanted = {"notes": "So it is.", "faults": ["It works. – no"], "score": 0}
    assert (ending, data) == ("review.failed", wanted)


def test_a_reply_that_cannot_be_read_is_asked_for_once_more() -> None:
    judge = Judge(TALK, ["Looks fine!", verdict(True)])
    assert review(judge)[0] == "review.passed"
    assert judge.asked[1][1][1:] == [
        {"role": "assistant", "content": "Looks fine!"},
        {"role": "user", "content": AGAIN.format(fault="it holds no verdict")},
    ]


def test_a_judge_that_never_gives_a_verdict_is_unclear_after_the_second_time() -> None:
    judge = Judge(TALK, ["Fine.", "Really.", verdict(True)])
    reason = "the judge gave no verdict that can be read: it holds no verdict"
    assert review(judge) == ("review.unclear", {"reason": reason})
    assert len(judge.asked) == 2


@pytest.mark.parametrize("before", [[], ["Fine."]], ids=["at once", "the second time"])
def test_a_judge_that_cannot_be_asked_is_unclear_and_not_asked_again(before: list[Any]) -> None:
    judge = Judge(TALK, [*before, AskFailed("judge", "auth", "no"), verdict(True)])
    assert review(judge) == (
        "review.unclear", {"reason": "the model `judge` gave no answer (auth: no)"}
    )  # fmt: skip
    assert len(judge.asked) == len(before) + 1


def test_without_an_answer_nobody_is_asked() -> None:
    judge = Judge((Item("user", "Write it."), Item("assistant", " ")), [verdict(True)])
    assert review(judge) == ("review.unclear", {"reason": NOTHING}) and judge.asked == []


def test_the_configuration_is_followed() -> None:
    judge = Judge(TALK, [verdict(True, True)])
    review(judge, criteria=["a", "b"], about="answer", instructions="You are kind.")
    (_, messages, system) = judge.asked[0]
    assert system.startswith("You are kind.") and "1. a\n2. b" in system
    assert "how the work went" not in messages[0]["content"]


@pytest.mark.parametrize(("window", "most"), [(10, {}), (0, {"most": 20}), (1_000_000, {"most": 20})])
def test_what_is_shown_fits_the_limit_and_the_judges_window(window: int, most: dict[str, int]) -> None:
    long = (Item("user", "Write it."), Item("assistant", "x" * 500), Item("assistant", "Done."))
    judge = Judge(long, [verdict(True)], window)
    review(judge, **most)
    assert "x" * 21 not in judge.asked[0][1][0]["content"]


def test_a_cancel_stops_it_at_once() -> None:
    async def go() -> Kept:
        judge = Judge(TALK, [])
        task = asyncio.create_task(Reviewer().perform(effect(), cast(World, judge)))
        await judge.reached.wait()
        task.cancel()
        return await task

    assert asyncio.run(go()) == EffectCancelled("s:1:0")


def test_another_effect_is_no_work_of_its() -> None:
    other: Any = type("Other", (), {"id": "s:1:0"})()
    made = asyncio.run(Reviewer().perform(other, cast(World, Judge(TALK, []))))
    assert made == EffectFailed("s:1:0", "the reviewer only reviews")
