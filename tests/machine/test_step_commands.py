"""Commands: what is refused, what a refusal says, the inbox, and how a session gets stuck and out."""

from typing import Any

import pytest

from loopspec.effects import CallModel
from loopspec.events import (
    ApprovalGiven,
    BudgetExtended,
    EffectClaimed,
    EffectLost,
    HostSuspended,
    HostWoke,
    ModelReplied,
    RollbackChosen,
    SessionStarted,
    TimerFired,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.rest import Rest, resting
from loopspec.machine.step import Step
from loopspec.record import AddText, AddUser, Said
from loopspec.snapshot import Waiting
from machine.builders import Run, coding, hash_of, machine
from machine.situations import SITUATIONS, grant

ALWAYS = ("budget.extended", "model.chosen", "user.message")


def refused(run: Run, event: Any) -> tuple[str, tuple[str, ...]]:
    """The refusal of a command that must be refused; nothing else may come out."""
    before = run.snapshot
    made = run.tell(event)
    expected = Step("refused", before, refusal=made.refusal, accepted=made.accepted)
    assert made == expected
    return made.refusal, made.accepted


@pytest.mark.parametrize(
    ("situation", "event", "why", "accepted"),
    [
        ("ready", UserInterrupted(), "`user.interrupted` leads nowhere from `ready`", ALWAYS),
        ("ready", UserResumed(), "`user.resumed` leads nowhere from `ready`", ALWAYS),
        ("streaming", UserResumed(), None, (*ALWAYS[:2], "user.interrupted", ALWAYS[2])),
        ("interrupted", UserInterrupted(), None, None),
        ("ready", RollbackChosen(), "there is no boundary to roll back to", ALWAYS),
        ("interrupted", RollbackChosen("b9"), "there is no boundary `b9`; there are b3", None),
        ("tools", RollbackChosen("b3"), "`rollback.chosen` leads nowhere", None),
        ("ready", BudgetExtended("hats", 1), "`hats` is no budget; the budgets are turns", ALWAYS),
        ("ready", BudgetExtended("turns", 0), "more than nothing", ALWAYS),
        ("finished", UserResumed(), "the session has finished", ()),
        ("finished", BudgetExtended("turns", 1), "the session has finished", ()),
    ],
)
def test_a_refused_command_changes_nothing_and_says_what_is_accepted(
    situation: str, event: Any, why: str | None, accepted: tuple[str, ...] | None
) -> None:
    said, offered = refused(SITUATIONS[situation](), event)
    if why is not None:
        assert why in said
    if accepted is not None:
        assert offered == accepted


MAIL = hash_of("mail")


@pytest.mark.parametrize(
    ("situation", "event", "why"),
    [
        ("approval", ApprovalGiven("c9_9", MAIL, "grant"), "no call `c9_9` waits"),
        ("approval", ApprovalGiven("c2_0", hash_of("read"), "grant"), "waiting: c2_1, c2_2"),
        ("approval", ApprovalGiven("c2_2", hash_of("mail", '{"to":"x"}'), "grant"), "not the ones"),
        ("approval", ApprovalGiven("c2_2", MAIL, "rerun"), "call that is asked; use grant, deny"),
        ("approval", ApprovalGiven("c2_2", MAIL, "grant", "world"), "`world` is no scope"),
        ("lost", ApprovalGiven("c2_1", hash_of("shell"), "grant"), "use done, rerun, abandon"),
        ("suspended", ApprovalGiven("c2_2", MAIL, "grant"), "no approval state is active"),
    ],
)
def test_an_answer_that_does_not_fit_its_call_is_refused(
    situation: str, event: ApprovalGiven, why: str
) -> None:
    run = SITUATIONS[situation]()
    said, offered = refused(run, event)
    assert why in said
    assert ("approval.given" in offered) is (situation != "suspended")


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(
    "fact",
    [
        SessionStarted("other", inputs='{"a":1}'),
        HostWoke(),
        TimerFired("after.nowhere.0"),
        EffectClaimed("s:0:77"),
        EffectLost("s:0:77"),
        ModelReplied("s:0:77", text="late", calls=[]),
    ],
)
def test_facts_that_mean_nothing_here_are_noted_and_change_nothing(
    situation: str, fact: Any
) -> None:
    run = SITUATIONS[situation]()
    if isinstance(fact, HostWoke) and situation == "suspended":
        return
    before = run.snapshot
    made = run.tell(fact)
    assert made == Step("noted", type(before)(**{
        f: getattr(before, f) for f in before.__struct_fields__
    } | {"seq": before.seq + 1, "at": run.at, "awake": run.awake}))


def test_a_message_nobody_routes_joins_the_inbox_and_input_takes_the_oldest() -> None:
    run = SITUATIONS["streaming"]()
    run.tell(UserMessage("second", tokens=7))
    assert run.last.record.view == ()
    run.tell(UserMessage("third", tokens=9))
    assert run.snapshot.inbox == (Waiting(2, "second", 7), Waiting(3, "third", 9))
    made = run.reply(text="first done")
    assert [t.target for t in made.record.taken] == ["ready", "working"]
    assert made.record.view[1] == AddUser(2, "second")
    assert made.snapshot.inbox == (Waiting(3, "third", 9),)
    (effect,) = made.effects
    assert isinstance(effect, CallModel)


def test_an_inbox_message_that_leads_nowhere_stays_where_it_was() -> None:
    run = Run(
        machine(
            {
                "a": {"on": {"user.resumed": "b"}},
                "b": {
                    "kind": "input",
                    "on": {
                        "user.message": {"guard": 'event.text == "go"', "target": "c"},
                        "user.resumed": "b",
                    },
                },
                "c": {"kind": "input"},
            }
        )
    )
    for text in ("no", "go"):
        run.tell(UserMessage(text))
    run.tell(UserResumed())
    assert run.leaf == "b"
    assert [(w.seq, w.text) for w in run.snapshot.inbox] == [(1, "no"), (2, "go")]
    run.tell(UserMessage("go"))
    assert (run.leaf, run.snapshot.inbox) == ("c", ())


def test_what_was_said_earlier_is_read_earlier() -> None:
    run = Run(
        machine(
            {
                "busy": {"on": {"user.interrupted": "stopped"}},
                "stopped": {"on": {"user.message": "talking"}},
                "talking": {},
            }
        )
    )
    run.tell(UserMessage("first"))
    run.tell(UserInterrupted())
    made = run.tell(UserMessage("second"))
    assert [(op.seq, op.text) for op in made.record.view] == [(1, "first"), (3, "")]
    assert run.snapshot.inbox == ()


def erring(**on: Any) -> Run:
    """A machine whose first guard divides by zero; the alternative after it would move."""
    return Run(
        machine(
            {
                "a": {
                    "on": {
                        "user.message": [
                            {"guard": "1 / vars.n == 1", "target": "b"},
                            {"target": "c"},
                        ],
                        "user.resumed": "b",
                        **on,
                    }
                },
                "b": {},
                "c": {},
            },
            vars={"n": ("int", "0")},
        )
    )


def test_a_guard_that_errs_is_not_false_no_later_alternative_is_tried() -> None:
    run = erring()
    made = run.tell(UserMessage("x"))
    assert (made.outcome, made.snapshot.configuration) == ("noted", ("a",))
    assert [(g.gave.split(":")[0], g.saw) for g in made.record.guards] == [
        ("error", '{"vars.n":0}')
    ]
    assert made.snapshot.stuck.startswith("guard at 1:1: `1 / vars.n == 1`: ")
    assert made.snapshot.stuck.endswith("(while handling `user.message`)")
    assert [w.text for w in made.snapshot.inbox] == ["x"], "the message is not lost"
    rest = resting(run.machine, run.snapshot)
    assert rest == Rest("stuck", "a", made.snapshot.stuck)
    assert (made.effects, made.record.taken) == ((), ())


def test_error_execution_can_be_routed_and_reads_what_went_wrong() -> None:
    route = {"target": "c", "do": [("say", "{{ event.event }}: {{ event.error }}")]}
    run = erring(**{"error.execution": route})
    made = run.tell(UserMessage("x"))
    assert (made.outcome, run.leaf, made.snapshot.stuck) == ("moved", "c", "")
    (said,) = made.record.said
    assert said.text.startswith("user.message: guard at 1:1: `1 / vars.n == 1`: ")


def test_an_error_inside_the_error_route_leaves_the_session_stuck() -> None:
    run = erring(**{"error.execution": {"target": "c", "do": [("say", "{{ nothing }}")]}})
    made = run.tell(UserMessage("x"))
    assert (made.outcome, run.leaf) == ("noted", "a")
    assert made.snapshot.stuck.startswith("`error.execution` could not be handled: text at 4:2")


def test_any_transition_leaves_the_stuck_state() -> None:
    run = erring()
    run.tell(UserMessage("x"))
    assert run.snapshot.stuck
    made = run.tell(UserResumed())
    assert (made.outcome, run.leaf, made.snapshot.stuck) == ("moved", "b", "")


def test_an_ending_nobody_routes_is_stuck_and_says_which_and_where() -> None:
    run = SITUATIONS["stuck"]()
    assert run.snapshot.stuck == "`effect.lost` is not routed in `working.streaming`"
    made = run.tell(UserInterrupted())
    assert (made.outcome, run.leaf, made.snapshot.stuck) == ("moved", "interrupted", "")


def test_events_that_raise_each_other_for_ever_are_stopped() -> None:
    states = {
        "a": {"on": {"user.message": {"target": "b", "do": [("raise", "ping")]}}},
        "b": {"on": {"ping": {"do": [("raise", "ping")]}, "user.resumed": "a"}},
    }
    run = Run(machine(states))
    made = run.tell(UserMessage("x"))
    assert made.snapshot.stuck == (
        "more than 200 internal events in one step: the spec goes in circles"
    )
    assert run.tell(UserResumed()).snapshot.stuck == ""


def test_what_a_spec_says_reaches_a_person_or_the_model_or_only_the_log() -> None:
    do = [("say", "hi {{ event.text }}"), ("say", "use {{ vars.n }}", "model"), ("log", "l")]
    run = Run(
        machine(
            {"a": {"on": {"user.message": {"target": "b", "do": do}}}, "b": {}},
            vars={"n": ("int", "7")},
        )
    )
    made = run.tell(UserMessage("you", tokens=3))
    assert made.record.said == (
        Said("hi you", "person", "1:2"),
        Said("use 7", "model", "1:2"),
        Said("l", "log", "1:2"),
    )
    assert made.record.view == (AddUser(1), AddText("use 7"))
    assert made.snapshot.usage.context == 3 + 8 + 1


def test_a_state_passed_through_on_the_way_leaves_nothing_behind() -> None:
    run = Run(
        machine(
            {
                "a": {"on": {"user.message": "b"}},
                "b": {"kind": "model", "after": {5: "a"}, "always": "c"},
                "c": {"kind": "input"},
            }
        )
    )
    made = run.tell(UserMessage("x"))
    assert (made.effects, made.snapshot.timers, made.snapshot.pending) == ((), {}, {})
    assert list(made.snapshot.activations) == ["c"]
    assert list(made.snapshot.entered) == ["c"]


def test_vars_without_a_default_begin_empty_and_survive_their_bytes() -> None:
    names = {"s": "string", "i": "int", "b": "bool", "n": "number", "j": "json"}
    run = Run(machine({"a": {}}, vars={k: (t, None) for k, t in names.items()}))
    assert run.snapshot.vars == {"s": "", "i": 0, "b": False, "n": "0.0", "j": "null"}


def test_only_the_first_session_started_starts() -> None:
    run = Run(coding(vars={"n": ("int", "3")}))
    before = run.snapshot
    run.tell(SessionStarted("other", inputs='{"a":1}', workdir="/x"))
    assert (run.snapshot.machine, run.snapshot.inputs, run.snapshot.vars) == (
        before.machine,
        "{}",
        {"n": 3},
    )


def test_suspending_and_waking_takes_up_what_was_left() -> None:
    run = SITUATIONS["streaming"]()
    run.tell(HostSuspended("lid"), "host")
    assert resting(run.machine, run.snapshot) is None, "the cancelled call has not settled"
    assert run.leaf == "suspended"
    made = run.tell(HostWoke(5), "host")
    assert (run.leaf, made.effects) == ("working.streaming", ())
    assert run.snapshot.activations["working.streaming"].phase == "held"


def test_an_approval_ends_only_when_every_asked_call_has_its_answer() -> None:
    run = SITUATIONS["approval"]()
    run.tell(grant(run, "c2_1"))
    assert run.last.outcome == "noted", "the mail still waits"
    run.tell(grant(run, "c2_2", "deny"))
    assert run.leaf == "working.tool_running"
