"""Messages that are taken back while they wait in the inbox."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopspec.events import UserMessage, UserWithdrew
from loopspec.record import AddUser
from machine.builders import Run, coding
from machine.situations import SITUATIONS


def test_a_waiting_message_can_be_taken_back() -> None:
    run = SITUATIONS["inbox"]()
    first, second = run.snapshot.inbox
    made = run.tell(UserWithdrew(first.seq))
    assert (made.outcome, made.effects, made.record.view) == ("noted", (), ())
    assert run.snapshot.inbox == (second,)
    run.reply(text="done")
    assert run.snapshot.inbox == ()
    assert AddUser(second.seq, second.text) in run.last.record.view


def test_a_message_that_does_not_wait_cannot_be_taken_back() -> None:
    run = SITUATIONS["inbox"]()
    before = run.snapshot
    made = run.tell(UserWithdrew(1))
    assert made.refusal == "no message of entry 1 waits in the inbox; waiting: 2, 3"
    assert (made.outcome, run.snapshot) == ("refused", before)
    assert "user.withdrew" in made.accepted
    run.tell(UserWithdrew(2))
    assert run.tell(UserWithdrew(2)).refusal.endswith("waiting: 3")
    run.tell(UserWithdrew(3))
    made = run.tell(UserWithdrew(3))
    assert made.refusal.endswith("waiting: none")
    assert "user.withdrew" not in made.accepted


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(st.just("say"), st.just("reply"), st.integers(0, 12)), max_size=14))
def test_what_was_said_reaches_the_model_once_or_was_taken_back(steps: list[str | int]) -> None:
    run = Run(coding())
    said: set[int] = set()
    back: set[int] = set()
    seen: list[int] = []
    for one in steps:
        if one == "say":
            made = run.tell(UserMessage("x"))
            said.add(run.snapshot.seq)
        elif one == "reply" and run.leaf == "working.streaming":
            made = run.reply(text="ok")
        elif isinstance(one, int):
            made = run.tell(UserWithdrew(one))
            if made.outcome != "refused":
                back.add(one)
        else:
            continue
        seen += [op.seq for op in made.record.view if isinstance(op, AddUser)]
    waiting = {w.seq for w in run.snapshot.inbox}
    assert len(seen) == len(set(seen))
    assert set(seen) | back | waiting == said
    assert not set(seen) & back
    assert not waiting & (set(seen) | back)
