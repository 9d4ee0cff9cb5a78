"""The calculator's traps, one test for each way round (the numbers are those of `chart.py`)."""

import asyncio
from typing import Any

import pytest
from statemachine.engines.sync import SyncEngine

from loopspec.codec import encode
from loopspec.events import TimerFired, UserInterrupted, UserMessage, UserResumed
from loopspec.machine.calculator import _Model
from loopspec.machine.chart import Chart, Illegal, Move, Overrun, expand, illegal, matches
from loopspec.machine.model import State, Transition
from loopspec.machine.step import engine_of
from loopspec.snapshot import Timer
from machine.builders import T0, Run, changed, coding, machine


class Hands:
    """Notes what the chart calls; guards hold unless named in `no`; `bad` names what raises."""

    def __init__(self, no: tuple[str, ...] = (), bad: str = "") -> None:
        self.no, self.bad = no, bad
        self.log: list[str] = []

    def _note(self, text: str) -> None:
        self.log.append(text)
        if text == self.bad:
            raise ZeroDivisionError(text)

    def guard(self, transition: Transition, event: str | None) -> bool:
        self._note(f"ask {transition.guard} {event}")
        return transition.guard not in self.no

    def leave(self, state: State) -> None:
        self._note(f"leave {state.path}")

    def take(self, transition: Transition, event: str | None) -> None:
        self._note(f"take {transition.id} {event}")

    def enter(self, state: State) -> None:
        self._note(f"enter {state.path}")

    def done(self, event: str) -> None:
        self._note(f"done {event}")


def chart(states: dict[str, Any]) -> Chart:
    return Chart(machine(states))


PAIR = {"a": {"on": {"go": "b"}}, "b": {"on": {"back": "a"}}}
NEST = {
    "out": {"on": {"in": "box", "again": "box.hist"}},
    "box": {
        "initial": "one",
        "on": {"leave": "out"},
        "states": {
            "one": {"on": {"next": "two"}},
            "two": {"initial": "x", "states": {"x": {"on": {"turn": "y"}}, "y": {}}},
            "hist": {"type": "history", "deep": True, "target": "one"},
        },
    },
}
REGIONS = {
    "both": {
        "type": "parallel",
        "on": {"stop": "end"},
        "done": "end",
        "states": {
            "l": {
                "initial": "p",
                "states": {"p": {"on": {"ended": "q"}}, "q": {"type": "final"}},
            },
            "r": {
                "initial": "p",
                "states": {"p": {"on": {"ended": "q"}}, "q": {"type": "final"}},
            },
        },
    },
    "end": {},
}


@pytest.mark.parametrize("bad", ["leave a", "take 0 go", "enter b", "ask g go"])
def test_1_whatever_raises_leaves_through_send_and_nothing_has_moved(bad: str) -> None:
    made = chart({"a": {"on": {"go": {"target": "b", "guard": "g"}}}, "b": {}})
    with pytest.raises(ZeroDivisionError, match=bad):
        made.send(("a",), {}, "go", Hands(bad=bad))
    assert made.send(("a",), {}, "go", Hands()).configuration == ("b",)


def test_1_an_action_that_raises_moves_nothing_and_keeps_no_assignment() -> None:
    acts = [("assign", "n", "vars.n + 1"), ("assign", "n", "1 / (vars.n - 1)")]
    run = Run(
        machine(
            {"a": {"on": {"user.message": {"target": "b", "do": acts}}}, "b": {}},
            vars={"n": ("int", "0")},
        )
    )
    before = run.snapshot
    made = run.tell(UserMessage("x"))
    assert made.outcome == "noted"
    assert "division by zero" in made.snapshot.stuck or "divide by zero" in made.snapshot.stuck
    assert (made.snapshot.configuration, made.snapshot.vars) == (("a",), before.vars)
    assert made.effects == ()


def test_1_an_event_without_transition_is_not_taken() -> None:
    hands = Hands()
    made = chart(PAIR).send(("a",), {}, "back", hands)
    assert (made, hands.log) == (Move(("a",), {}, False), [])


def test_2_the_engine_is_the_synchronous_one_even_inside_a_running_event_loop() -> None:
    made = chart(PAIR)

    async def inside() -> Move:
        return made.send(("a",), {}, "go", Hands())

    assert asyncio.run(inside()) == Move(("b",), {}, True)
    model = _Model("/a", Hands(), None)
    assert isinstance(made.calculator._class(model=model)._engine, SyncEngine)


def test_3_restoring_runs_no_entry_actions() -> None:
    hands = Hands()
    made = chart(NEST).send(("box", "box.two", "box.two.x"), {}, "turn", hands)
    assert made.configuration == ("box", "box.two", "box.two.y")
    assert [line.split()[0] for line in hands.log] == ["leave", "take", "enter"]
    assert hands.log[2] == "enter box.two.y"


@pytest.mark.parametrize(
    "configuration",
    [
        (),
        ("box",),
        ("box.one",),
        ("box", "box.two"),
        ("box", "box.one", "box.two", "box.two.x"),
        ("out", "box", "box.one"),
        ("nowhere",),
    ],
)
def test_3_an_illegal_configuration_is_refused(configuration: tuple[str, ...]) -> None:
    made = chart(NEST)
    assert illegal(made.machine, configuration)
    hands = Hands()
    with pytest.raises(Illegal):
        made.send(configuration, {}, "leave", hands)
    assert hands.log == []


def test_3_a_region_that_is_missing_is_illegal() -> None:
    made = machine(REGIONS)
    assert illegal(made, ("both", "both.l", "both.l.p")) == "`both` has 1 of 2 regions active"
    assert not illegal(made, ("both", "both.l", "both.l.p", "both.r", "both.r.q"))


def test_3_restored_finals_take_nothing_and_do_not_raise() -> None:
    made = chart({"a": {"on": {"go": "z"}}, "z": {"type": "final"}})
    hands = Hands()
    assert made.send(("z",), {}, "go", hands) == Move(("z",), {}, False)
    assert hands.log == []


def test_4_actions_into_history_with_a_record_run_once_and_so_do_entries() -> None:
    made = chart(NEST)
    left = made.send(("box", "box.two", "box.two.y"), {}, "leave", Hands())
    assert left == Move(("out",), {"box.hist": ("box.two", "box.two.y")}, True)
    hands = Hands()
    back = made.send(left.configuration, left.history, "again", hands)
    assert back.configuration == ("box", "box.two", "box.two.y")
    assert hands.log == [
        "leave out",
        "take 1 again",
        "enter box",
        "enter box.two",
        "enter box.two.y",
    ]


def test_4_history_without_a_record_goes_to_its_default() -> None:
    hands = Hands()
    made = chart(NEST).send(("out",), {}, "again", hands)
    assert made.configuration == ("box", "box.one")
    assert hands.log == ["leave out", "take 1 again", "enter box", "enter box.one"]


def test_4_deep_history_of_regions_comes_back_whole() -> None:
    states = {"off": {"on": {"back": "on.hist"}}, "on": {"initial": "both", "states": {}}}
    states["on"]["states"] = {
        "both": REGIONS["both"] | {"on": {}, "done": []},
        "hist": {"type": "history", "deep": True, "target": "both"},
    }
    states["on"]["on"] = {"away": "off"}
    made = chart(states)
    here = ("on", "on.both", "on.both.l", "on.both.l.q", "on.both.r", "on.both.r.p")
    left = made.send(here, {}, "away", Hands())
    assert made.send(left.configuration, left.history, "back", Hands()).configuration == here


@pytest.mark.parametrize(
    "name", ["model", "send", "states", "current_state", "name", "is_terminated", "configuration"]
)
def test_5_any_id_is_fine_even_the_engines_own_attributes(name: str) -> None:
    made = chart({name: {"on": {name: "b"}}, "b": {"on": {"send": name}}})
    assert made.start(Hands()).configuration == (name,)
    assert made.send((name,), {}, name, Hands()).configuration == ("b",)
    assert made.send(("b",), {}, "send", Hands()).configuration == (name,)


def test_5_children_of_two_states_may_share_a_name() -> None:
    made = chart(
        {
            "a": {"initial": "s", "states": {"s": {"on": {"go": "b"}}}},
            "b": {"initial": "s", "states": {"s": {"on": {"go": "a"}}}},
        }
    )
    assert made.send(("a", "a.s"), {}, "go", Hands()).configuration == ("b", "b.s")
    assert made.send(("b", "b.s"), {}, "go", Hands()).configuration == ("a", "a.s")


@pytest.mark.parametrize(
    ("descriptor", "event", "yes"),
    [
        ("tool.answered", "tool.answered", True),
        ("tool.*", "tool.answered", True),
        ("tool.*", "tools.settled", False),
        ("tool", "tool.answered", False),
        ("*", "anything.at.all", True),
        ("*", "after.a.0", False),
        ("after.a.0", "after.a.0", True),
    ],
)
def test_5_descriptors_match_whole_names_or_dotted_prefixes(
    descriptor: str, event: str, yes: bool
) -> None:
    assert matches(descriptor, event) is yes
    assert expand(descriptor, [event]) == ([event] if yes else [])


def test_5_a_prefix_transition_takes_each_event_it_matches() -> None:
    made = chart({"a": {"on": {"user.*": "b", "*": "c"}}, "b": {}, "c": {}})
    assert made.send(("a",), {}, "user.message", Hands()).configuration == ("b",)
    assert made.send(("a",), {}, "host.woke", Hands()).configuration == ("c",)
    assert not made.send(("a",), {}, "effect.claimed", Hands()).moved  # digested by the core


def test_6_eventless_steps_and_done_events_reach_the_same_hands() -> None:
    made = chart(
        {
            "a": {"on": {"go": "box"}},
            "box": {
                "initial": "s",
                "done": {"target": "b", "guard": "fin"},
                "states": {"s": {"always": {"target": "t", "guard": "yes"}}, "t": {"type": "final"}},
            },
            "b": {},
        }
    )
    hands = Hands()
    there = made.send(("a",), {}, "go", hands).configuration
    assert made.send(there, {}, "done.state.box", hands).configuration == ("b",)
    assert hands.log == [
        "leave a",
        "take 0 go",
        "enter box",
        "enter box.s",
        "ask yes None",
        "leave box.s",
        "take 2 None",
        "enter box.t",
        "done done.state.box",
        "ask fin done.state.box",
        "leave box.t",
        "leave box",
        "take 1 done.state.box",
        "enter b",
    ]


@pytest.mark.parametrize("event", ["go", None])
def test_6_an_eventless_cycle_is_capped(event: str | None) -> None:
    made = chart({"a": {"on": {"go": "b"}}, "b": {"always": "c"}, "c": {"always": "b"}})
    with pytest.raises(Overrun):
        made.send(("a",) if event else ("b",), {}, event, Hands())


def test_6_a_cycle_leaves_the_session_where_it_was_and_says_so() -> None:
    run = Run(
        machine({"a": {"on": {"user.message": "b"}}, "b": {"always": "c"}, "c": {"always": "b"}})
    )
    made = run.tell(UserMessage("x"))
    assert (made.outcome, made.snapshot.configuration) == ("noted", ("a",))
    assert made.snapshot.stuck == (
        "more than 100 transitions in one step (while handling `user.message`)"
    )
    assert [w.text for w in made.snapshot.inbox] == ["x"]


def test_7_timeouts_are_ours_with_absolute_due_times_and_never_the_engines() -> None:
    run = Run(machine({"a": {"after": {5_000_000: "b"}}, "b": {}}))
    timer = Timer("after.a.0", "a", "wall", run.at + 5_000_000)
    assert run.snapshot.timers == {timer.id: timer}
    run.tell(TimerFired(timer.id), "timer")
    assert (run.snapshot.configuration, run.snapshot.timers) == (("b",), {})


def test_8_one_engine_per_digest_and_the_machine_is_not_mutated() -> None:
    made = coding()
    before = encode(made)
    first = engine_of(made)
    assert engine_of(coding()) is first
    assert encode(made) == before
    other = changed(made, version="2.0.0")
    assert engine_of(other) is not first
    assert engine_of(other).chart.calculator._class.__name__ != first.chart.calculator._class.__name__


def test_always_is_asked_after_the_event_never_before_it() -> None:
    states = {
        "a": {"on": {"go": "b"}, "always": {"target": "c", "guard": "g"}},
        "b": {},
        "c": {},
    }
    hands = Hands()
    assert chart(states).send(("a",), {}, "go", hands).configuration == ("b",)
    assert hands.log == ["leave a", "take 0 go", "enter b"]


def test_always_sees_what_the_event_assigned() -> None:
    run = Run(
        machine(
            {
                "a": {
                    "on": {
                        "user.message": {"do": [("assign", "n", "vars.n + 1")]},
                        "user.resumed": "b",
                    },
                    "always": {"target": "c", "guard": "vars.n == 2"},
                },
                "b": {},
                "c": {},
            },
            vars={"n": ("int", "0")},
        )
    )
    run.tell(UserMessage("x"))
    assert run.leaf == "a"
    run.tell(UserMessage("y"))
    assert (run.leaf, run.snapshot.vars) == ("c", {"n": 2})
    assert [(g.guard, g.gave, g.saw) for g in run.last.record.guards] == [
        ("vars.n == 2", "true", '{"vars.n":2}')
    ]


def test_an_ending_is_seen_by_the_state_that_started_it_and_its_ancestors_only() -> None:
    made = chart(REGIONS)
    here = ("both", "both.l", "both.l.p", "both.r", "both.r.p")
    mine = frozenset({"both.l.p", "both.l", "both"})
    seen = made.send(here, {}, "ended", Hands(), mine)
    assert seen.configuration == ("both", "both.l", "both.l.q", "both.r", "both.r.p")
    hands = Hands()
    everybody = made.send(here, {}, "ended", hands)
    assert everybody.configuration == ("both", "both.l", "both.l.q", "both.r", "both.r.q")
    assert hands.log[-1] == "done done.state.both"
    assert made.send(here, {}, "stop", Hands(), mine).configuration == ("end",)


def test_what_follows_from_an_ending_is_seen_by_everybody() -> None:
    box = {"initial": "p", "states": {"p": {"on": {"gate.denied": "q"}}, "q": {"type": "final"}}}
    box["states"]["p"]["kind"] = "gate"
    made = machine(
        {
            "both": {
                "type": "parallel",
                "states": {
                    "l": box | {"done": {"do": [("mark", "here")]}},
                    "r": {"initial": "p", "states": {"p": {"on": {"done.state.both.l": "q"}}, "q": {}}},
                },
            }
        }
    )
    run = Run(made)  # nothing is proposed, so the gate ends at once
    assert run.snapshot.configuration == ("both", "both.l", "both.l.q", "both.r", "both.r.q")
    assert [t.event for t in run.last.record.taken] == [
        "gate.denied",
        "done.state.both.l",
        "done.state.both.l",
    ]


def test_9_the_order_is_that_of_the_document_at_every_depth() -> None:
    deep = {"initial": "x", "states": {"x": {"initial": "y", "states": {"y": {}}}}}
    hands = Hands()
    both = {"type": "parallel", "on": {"go": "e"}, "states": {"l": deep, "r": deep}}
    made = chart({"p": both, "e": {}})
    here = made.start(hands).configuration
    assert hands.log == [f"enter {path}" for path in here]
    hands.log.clear()
    made.send(here, {}, "go", hands)
    assert hands.log == [*(f"leave {path}" for path in reversed(here)), "take 0 go", "enter e"]


def test_10_a_state_that_was_not_left_is_not_entered() -> None:
    states = {
        "box": {
            "initial": "two",
            "states": {
                "two": {"initial": "x", "states": {"x": {"on": {"go": "hist"}}, "y": {}}},
                "hist": {"type": "history", "deep": True, "target": "box.two.y"},
            },
        }
    }
    hands = Hands()
    made = chart(states).send(("box", "box.two", "box.two.x"), {}, "go", hands)
    assert made.configuration == ("box", "box.two", "box.two.y")
    assert hands.log == ["leave box.two.x", "take 0 go", "enter box.two.y"]


def test_history_survives_the_whole_round_through_step() -> None:
    run = Run(coding())
    run.tell(UserMessage("x"))
    run.reply("read")
    run.tell(UserInterrupted())
    assert run.snapshot.history == {"working.resume": ("working.deciding",)}
    run.tell(UserResumed())
    assert run.leaf == "working.deciding"
    assert run.snapshot.entered["working.deciding"] == run.at > T0
