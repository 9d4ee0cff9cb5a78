"""The outbox: work that only lacks the network waits for it, durably, and not for ever."""

from typing import Any

import pytest

from loopspec.events import HostSuspended, HostWoke, TimerFired, UserInterrupted, UserMessage
from loopspec.machine.outbox import Waiting, waiting
from loopspec.machine.rest import Rest, resting
from machine.builders import HOUR, SECOND, Run
from machine.tiers_kit import CLOUD, S, act, asked, declared, survey, tier


def queued() -> Run:
    """Work waits for the network."""
    run = asked(declared(CLOUD, expires=HOUR, poll=30 * SECOND), network=False)
    assert act(run).phase == "outbox"
    return run


def test_work_that_only_lacks_the_network_waits_with_two_timers() -> None:
    run = queued()
    timers = {t.id: (t.purpose, t.due - run.at) for t in run.snapshot.timers.values()}
    assert timers == {f"outbox:{S}": ("outbox", 30 * SECOND), f"expiry:{S}": ("expiry", HOUR)}
    assert run.last.effects == ()
    assert resting(run.machine, run.snapshot) == Rest("outbox", S, "cloud")
    expected = Waiting(S, "main", ("cloud",), run.at, run.at + HOUR)
    assert list(waiting(run.machine, run.snapshot)) == [expected]


def test_without_an_outbox_it_fails_at_once_and_says_what_each_tier_lacks() -> None:
    run = asked(declared(CLOUD), network=False)
    assert run.leaf == "ready"
    assert run.last.record.said[0].text == "The model could not be reached: no_tier"


@pytest.mark.parametrize("news", [TimerFired(f"outbox:{S}"), HostWoke(gap=5)], ids=["poll", "wake"])
def test_a_poll_and_a_wake_look_again_and_go_on_when_there_is_a_network(news: Any) -> None:
    run = queued()
    since = act(run).queued
    run.tell(news)
    survey(run, network=False)
    assert (act(run).phase, act(run).queued) == ("outbox", since)
    assert run.last.record.left == ()  # the second look says nothing new
    run.tell(news)
    survey(run)
    assert (tier(run), act(run).queued) == ("cloud", 0)
    assert dict(run.snapshot.timers) == {}


def test_expired_work_fails_with_that_reason_after_a_last_look() -> None:
    run = queued()
    run.tell(TimerFired(f"expiry:{S}"), "timer", wait=HOUR)
    survey(run, network=False)
    assert run.leaf == "ready"
    assert run.last.record.said[0].text == "The model could not be reached: expired"
    assert dict(run.snapshot.timers) == {}


def test_a_network_that_is_there_at_the_last_look_is_used() -> None:
    run = queued()
    run.tell(TimerFired(f"expiry:{S}"), "timer", wait=HOUR)
    survey(run)
    assert tier(run) == "cloud"


def test_a_timer_that_fires_while_the_host_is_looked_at_changes_nothing() -> None:
    run = queued()
    run.tell(TimerFired(f"outbox:{S}"), "timer", wait=HOUR)
    looking = run.effect
    run.tell(TimerFired(f"expiry:{S}"), "timer")
    assert run.effect == looking
    survey(run, network=False)
    assert run.leaf == "ready"


def test_what_waits_can_be_interrupted_and_leaves_no_timer() -> None:
    run = queued()
    run.tell(UserInterrupted())
    assert (run.leaf, dict(run.snapshot.timers)) == ("interrupted", {})


def test_a_suspension_does_not_give_more_time() -> None:
    run = queued()
    due = run.snapshot.timers[f"expiry:{S}"].due
    run.tell(HostSuspended("lid"))
    run.tell(HostWoke(gap=60), wait=60 * SECOND)
    survey(run, network=False)
    assert run.snapshot.timers[f"expiry:{S}"].due == due


def test_a_message_while_it_waits_stays_in_the_inbox() -> None:
    run = queued()
    run.tell(UserMessage("more"))
    assert (act(run).phase, [w.text for w in run.snapshot.inbox]) == ("outbox", ["more"])
