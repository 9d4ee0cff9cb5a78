"""Tiers: hard filters, the choice, escalation, and the outbox."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopspec.effects import CallModel, SurveyHost
from loopspec.events import (
    EffectCancelled,
    EffectFailed,
    ModelChosen,
    TimerFired,
    TokenUsage,
    UserInterrupted,
    UserMessage,
)
from loopspec.machine.model import Budgets, Field, Tier
from loopspec.machine.tiering import CLASSES, REASONS, Facts, class_of, failing, undeclared
from loopspec.record import AddReply, Left
from machine.builders import HOUR, SECOND, Run, changed, coding
from machine.tiers_kit import CLOUD, DEVICE, S, act, asked, attempt, declared, fail, survey, tier

OPEN = Facts("public", True, 1 << 40, -1, False, 10)


@pytest.mark.parametrize(
    ("tier", "facts", "filters"),
    [
        (CLOUD, OPEN, []),
        (CLOUD, OPEN._replace(privacy="internal"), ["privacy"]),
        (CLOUD, OPEN._replace(privacy="secret"), ["privacy"]),
        (Tier("t", "x/y", privacy="internal"), OPEN._replace(privacy="internal"), []),
        (Tier("t", "x/y", privacy="internal"), OPEN._replace(privacy="secret"), ["privacy"]),
        (DEVICE, OPEN._replace(privacy="secret", network=False), []),
        (CLOUD, OPEN._replace(network=False), ["network"]),
        (CLOUD, OPEN._replace(network=False, privacy="secret"), ["privacy", "network"]),
        (Tier("t", "x/y", memory=5), OPEN._replace(memory=5), []),
        (Tier("t", "x/y", memory=5), OPEN._replace(memory=4), ["memory"]),
        (Tier("t", "x/y", memory=5), OPEN._replace(memory=-1), ["memory"]),
        (CLOUD, OPEN._replace(memory=-1), []),
        (Tier("t", "x/y", latency=5), OPEN._replace(left=4), ["deadline"]),
        (Tier("t", "x/y", latency=5), OPEN._replace(left=5), []),
        (Tier("t", "x/y", latency=5), OPEN._replace(left=-1), []),
        (CLOUD, OPEN._replace(tools=True), []),
        (Tier("t", "x/y", tools=False), OPEN._replace(tools=True), ["tools"]),
        (Tier("t", "rules/x", tools=False), OPEN._replace(tools=True), []),
        (Tier("t", "x/y", window=9), OPEN, ["window"]),
        (Tier("t", "x/y", window=20), OPEN._replace(share=500_000), []),
        (Tier("t", "x/y", window=20), OPEN._replace(share=499_000), ["window"]),
    ],
)
def test_each_filter_lets_through_what_it_should(tier: Tier, facts: Facts, filters: list[str]) -> None:
    assert [why.filter for why in failing(tier, facts, tier.window)] == filters


@pytest.mark.parametrize(
    ("classes", "highest"),
    [
        ((), "public"),
        (("", "internal"), "internal"),
        (("secret", "public"), "secret"),
        (("odd",), "secret"),
    ],
)
def test_the_class_is_the_highest_and_an_unknown_one_is_secret(classes: Any, highest: str) -> None:
    assert class_of(*classes) == highest


@pytest.mark.parametrize(
    ("use", "privacy", "network"),
    [
        ("rules/x", "secret", False),
        ("scripted/x.yaml", "secret", False),
        ("local/x", "public", False),
        ("anthropic/x", "public", True),
    ],
)
def test_what_says_nothing_of_itself_gets_the_safe_side(use: str, privacy: str, network: bool) -> None:
    made = undeclared(use)
    assert (made.privacy, made.network) == (privacy, network)


TIERS = st.builds(
    Tier,
    name=st.just("t"),
    use=st.just("x/y"),
    privacy=st.sampled_from(CLASSES),
    network=st.booleans(),
    memory=st.sampled_from([0, 10, 100]),
    latency=st.sampled_from([0, SECOND, HOUR]),
    tools=st.booleans(),
    window=st.sampled_from([0, 5, 10_000]),
)


@given(
    st.lists(TIERS, min_size=1, max_size=4),
    st.sampled_from(CLASSES),
    st.sampled_from(["", *CLASSES]),
    st.booleans(),
    st.sampled_from([-1, 5, 50, 500]),
    st.sampled_from([None, 30 * SECOND, 10 * HOUR]),
    st.lists(st.sampled_from(["schema", "fail", "no_match", "connection", "wait"]), max_size=8),
)
def test_no_tier_is_ever_asked_that_a_filter_forbids(
    given_tiers: list[Tier],
    note: str,
    floor: str,
    network: bool,
    memory: int,
    elapsed: int | None,
    news: list[str],
) -> None:
    named = [
        Tier(f"t{n}", f"x/{n}", t.privacy, t.network, t.memory, t.latency, t.tools, t.window)
        for n, t in enumerate(given_tiers)
    ]
    decl = declared(*named, privacy=floor, expires=HOUR)
    inputs = {"note": Field("string", '"x"', privacy=note), "other": Field("string", '"x"')}
    run = asked(decl, network=network, memory=memory, inputs=inputs, budgets=Budgets(elapsed=elapsed))
    for what in news:
        out = [p.effect for p in run.snapshot.pending.values()]
        if out and isinstance(out[0], SurveyHost):
            survey(run, network, memory)
        elif out:
            effect = out[0]
            assert isinstance(effect, CallModel)
            (asked_now,) = [t for t in named if t.use == effect.use]
            assert CLASSES.index(class_of(note, floor)) <= CLASSES.index(asked_now.privacy)
            assert network or not asked_now.network
            assert memory >= asked_now.memory or not asked_now.memory
            assert asked_now.tools
            if what == "schema":
                run.reply(text="no", faults=("schema",))
            else:
                fail(run, {"fail": "provider", "wait": "stalled"}.get(what, what))
        else:
            for key in sorted(run.snapshot.timers):
                if key.startswith(("retry:", "outbox:")):
                    run.tell(TimerFired(key), "timer")


def test_the_host_is_looked_at_first_and_then_the_first_that_fits_is_asked() -> None:
    run = Run(coding(models={"main": declared()}))
    run.tell(UserMessage("x"))
    assert run.effect == SurveyHost(run.effect.id, S, model="main")
    survey(run)
    assert (tier(run), run.last.record.left) == ("rules", ())


def test_each_tier_that_is_passed_over_stands_in_the_record_with_the_reason() -> None:
    inputs = {"note": Field("string", '"x"', privacy="internal")}
    small = Tier("small", "local/tiny", privacy="secret", network=False, memory=100, tools=False)
    last = Tier("last", "sim/other", privacy="internal")
    run = asked(declared(small, CLOUD, last), memory=50, inputs=inputs)
    assert tier(run) == "last"
    assert run.last.record.left == (
        Left(
            "local/tiny",
            "tier",
            "it needs 100 bytes, 50 bytes are free; the state offers tools, it knows none",
        ),
        Left("sim/large", "tier", "the conversation is internal, it may see public"),
    )


@pytest.mark.parametrize("fault", REASONS)
def test_a_reply_with_a_declared_fault_goes_to_the_next_tier_and_not_into_the_view(fault: str) -> None:
    run = asked(declared(DEVICE, CLOUD, escalate=(fault,)))
    used = TokenUsage(input_tokens=7, output_tokens=3)
    run.reply("read", text="hm", faults=(fault,), usage=used)
    assert tier(run) == "cloud"
    assert run.last.record.left == (Left("local/small", "escalated", fault),)
    assert not [op for op in run.last.record.view if isinstance(op, AddReply)]
    assert (run.snapshot.calls, run.snapshot.usage.tokens, run.snapshot.usage.turns) == ({}, 10, 1)
    run.reply(text="bye", faults=(fault,))
    assert run.leaf == "finished"  # no tier is left: it stands


@pytest.mark.parametrize("fault", REASONS)
def test_a_fault_that_is_not_declared_is_none(fault: str) -> None:
    run = asked(declared(DEVICE, CLOUD, escalate=tuple(r for r in REASONS if r != fault)))
    run.reply(text="bye", faults=(fault,))
    assert run.leaf == "finished"


def test_a_reply_stands_when_the_only_other_tier_cannot_be_asked() -> None:
    run = asked(declared(DEVICE, CLOUD, expires=HOUR), network=False)
    run.reply(text="bye", faults=("schema",))
    assert run.leaf == "finished"


def test_rules_that_do_not_match_always_lead_on() -> None:
    run = asked(declared(escalate=(), failures=0))
    fail(run, "no_match")
    assert tier(run) == "device"
    assert run.snapshot.breakers == {}


def test_so_many_failures_of_a_tier_lead_on() -> None:
    run = asked(declared(DEVICE, CLOUD, failures=2))
    fail(run)
    assert act(run).phase == "retrying"
    run.tell(TimerFired(f"retry:{S}"), "timer")
    assert tier(run) == "device"
    fail(run)
    assert (tier(run), act(run).gone) == ("cloud", ("local/small",))


@pytest.mark.parametrize(("reason", "escalate"), [("provider", REASONS), ("refused", ("schema",))])
def test_failures_that_are_not_declared_end_the_call(reason: str, escalate: tuple[str, ...]) -> None:
    failures = 0 if reason == "provider" else 2
    run = asked(declared(DEVICE, CLOUD, failures=failures, escalate=escalate, attempts=1))
    fail(run, reason)
    assert run.leaf == "ready"
    assert run.last.record.said[0].text == f"The model could not be reached: {reason}"


def test_a_refusal_leads_on() -> None:
    run = asked(declared(DEVICE, CLOUD, failures=0, escalate=("refusal",)))
    fail(run, "refused")
    assert tier(run) == "cloud"


def test_after_a_lost_connection_the_network_is_looked_at_before_the_next_attempt() -> None:
    run = asked(declared(CLOUD, expires=HOUR))
    fail(run, "connection")
    run.tell(TimerFired(f"retry:{S}"), "timer")
    survey(run, network=False)
    assert act(run).phase == "outbox"
    run.tell(TimerFired(f"outbox:{S}"), "timer")
    survey(run)
    assert (tier(run), attempt(run)) == ("cloud", 2)


def test_a_host_that_cannot_be_looked_at_has_no_network_and_no_memory() -> None:
    run = Run(coding(models={"main": declared(CLOUD, DEVICE)}))
    run.tell(UserMessage("x"))
    run.tell(EffectFailed(run.effect.id, "broken"), "host")
    assert tier(run) == "device"


def test_a_class_that_a_state_brings_stays_when_the_state_is_left() -> None:
    machine = coding(models={"main": declared(CLOUD, DEVICE)})
    states = dict(machine.states)
    states["interrupted"] = changed(states["interrupted"], privacy="secret")
    run = Run(changed(machine, states=states))
    run.tell(UserMessage("x"))
    survey(run)
    assert tier(run) == "cloud"
    run.tell(UserInterrupted())
    run.tell(UserMessage("more"))
    for pending in list(run.snapshot.pending.values()):
        if pending.status == "cancelling":
            run.tell(EffectCancelled(pending.effect.id), "driver")
    survey(run)
    assert (tier(run), run.snapshot.privacy) == ("device", "secret")


def test_a_model_a_person_chooses_gets_no_more_to_see_than_a_tier_that_says_nothing() -> None:
    inputs = {"note": Field("string", '"x"', privacy="secret")}
    run = Run(coding(models={"main": declared()}, inputs=inputs))
    run.tell(ModelChosen(model="main", use="sim/unknown", priced=True))
    run.tell(UserMessage("x"))
    survey(run)
    assert run.leaf == "ready"
    assert run.last.record.said[0].text == "The model could not be reached: no_tier"
    run.tell(ModelChosen(model="main", use=DEVICE.use, priced=True))
    run.tell(UserMessage("x"))
    survey(run)
    assert tier(run) == "device"


def test_a_view_too_large_for_every_tier_is_made_smaller_for_the_first() -> None:
    small = Tier("device", "local/small", privacy="secret", network=False, window=900)
    run = Run(coding(models={"main": declared(small)}))
    run.tell(UserMessage("x" * 4_000, tokens=1_000))
    survey(run)
    assert run.leaf == "working.compacting"


def test_a_view_too_large_for_the_first_tier_goes_to_the_second() -> None:
    small = Tier("device", "local/small", privacy="secret", network=False, window=100)
    run = Run(coding(models={"main": declared(small, CLOUD)}))
    run.tell(UserMessage("x" * 4_000, tokens=1_000))
    survey(run)
    assert tier(run) == "cloud"
