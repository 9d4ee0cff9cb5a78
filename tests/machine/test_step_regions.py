"""Regions beside each other, and loops other than the usual one: endings stay with their state."""

from pathlib import Path
from typing import Any

import pytest
from journeys.review import ALONE

from loopspec.codec import decode, encode
from loopspec.drivers import launch
from loopspec.effects import CallModel, Perform, RunTool
from loopspec.events import EffectAnswered, UserInterrupted, UserMessage, UserResumed
from loopspec.machine.model import Kind, Machine
from loopspec.registry import installed
from machine.builders import Run, machine
from machine.situations import grant

ROOT = Path(__file__).parents[2]
SPECS = sorted([*ALONE, *(ROOT / "docs/guide").glob("1*-w*.yaml")])
MODEL: dict[str, Any] = {
    "kind": "model",
    "on": {"model.replied": "gate"},
}


def test_a_call_whose_run_is_called_off_in_the_same_step_runs_later() -> None:
    """The left region starts the tool; the right one ends at once and leaves both."""
    run = Run(
        machine(
            {
                "ready": {"kind": "input", "on": {"user.message": "model"}},
                "model": MODEL,
                "gate": {"kind": "gate", "on": {"gate.allowed": "both"}},
                "both": {
                    "type": "parallel",
                    "states": {
                        "l": {"kind": "tools", "on": {"tools.settled": "ready"}},
                        "r": {
                            "kind": "approval",
                            "on": {"approval.granted": "later", "approval.denied": "later"},
                        },
                    },
                },
                "later": {"on": {"user.resumed": "again"}},
                "again": {"kind": "tools", "on": {"tools.settled": "ready"}},
            }
        )
    )
    run.tell(UserMessage("x"))
    run.reply("read")
    made = run.decide("allow")
    assert (run.leaf, made.effects, run.snapshot.pending) == ("later", (), {})
    assert run.status() == {"c2_0": "allowed"}
    made = run.tell(UserResumed())
    assert [e.call for e in made.effects if isinstance(e, RunTool)] == ["c2_0"]


def test_an_ending_whose_state_was_left_in_the_same_step_is_forgotten() -> None:
    """One answer ends both approvals; the first takes both regions away."""
    asks = {
        "kind": "approval",
        "on": {"approval.granted": "away", "approval.denied": "away"},
    }
    run = Run(
        machine(
            {
                "ready": {"kind": "input", "on": {"user.message": "model"}},
                "model": MODEL,
                "gate": {"kind": "gate", "on": {"gate.asked": "both"}},
                "both": {"type": "parallel", "states": {"l": asks, "r": asks}},
                "away": {},
            }
        )
    )
    run.tell(UserMessage("x"))
    run.reply("mail")
    run.decide("ask")
    made = run.tell(grant(run, "c2_0"))
    assert (run.leaf, run.snapshot.stuck) == ("away", "")
    assert [(t.event, t.source) for t in made.record.taken] == [("approval.granted", "both.l")]


def test_a_gate_asked_again_lets_a_granted_call_through() -> None:
    run = Run(
        machine(
            {
                "ready": {"kind": "input", "on": {"user.message": "model"}},
                "model": MODEL,
                "gate": {
                    "kind": "gate",
                    "on": {"gate.asked": "ask", "gate.allowed": "tools", "gate.denied": "model"},
                },
                "ask": {"kind": "approval", "on": {"approval.granted": "gate"}},
                "tools": {"kind": "tools", "on": {"tools.settled": "model"}},
            }
        )
    )
    run.tell(UserMessage("x"))
    run.reply("mail", "read")
    run.decide("ask", "deny")
    made = run.tell(grant(run, "c2_0"))
    assert [t.event for t in made.record.taken] == ["approval.granted", "gate.allowed"]
    assert [e.call for e in made.effects if isinstance(e, RunTool)] == ["c2_0"]


LAB = Kind("lab", "one", "perform", "lab", {"lab.done": '{"properties":{"n":{"type":"integer"}}}'})


def lab(guard: str = "event.n > 1") -> Run:
    """Two laboratories side by side, each with its own effect."""
    work = {"kind": "lab", "on": {"lab.done": [{"guard": guard, "target": "good"}, "bad"]}}
    region = {"initial": "work", "states": {"work": work, "good": {}, "bad": {}}}
    return Run(
        machine(
            {"both": {"type": "parallel", "states": {"l": region, "r": region}}},
            kinds={"lab": LAB},
        )
    )


def test_a_plugins_ending_carries_data_and_moves_only_its_own_region() -> None:
    run = lab()
    left, right = run.last.effects
    assert left == Perform("s:0:0", "both.l.work", "lab", "{}")
    made = run.tell(EffectAnswered(right.id, "lab.done", '{"n":2}'), "lab")
    assert made.snapshot.configuration == (
        "both", "both.l", "both.l.work", "both.r", "both.r.good"
    )  # fmt: skip
    assert list(run.snapshot.pending) == [left.id]
    run.tell(EffectAnswered(left.id, "lab.done", '{"n":1}'), "lab")
    assert "both.l.bad" in run.snapshot.configuration


def test_a_plugins_broken_answers_never_raise() -> None:
    for name, data in (
        ("lab.done", "no json"),
        ("lab.done", '{"n":"text"}'),
        ("lab.done", '{"n":99999999999999999999}'),
        ("lab.done", "[" * 5_000 + "]" * 5_000),
        ("model.replied", "{}"),
        ("other", "{}"),
    ):
        run = lab()
        made = run.tell(EffectAnswered("s:0:0", name, data), "lab")
        assert made.snapshot.configuration[2] == "both.l.work" or name == "lab.done"
        assert made.effects == ()
        assert bool(run.snapshot.stuck) is not (data == "no json" or data.startswith("[")), name


def test_leaving_a_parallel_state_cancels_every_region_the_last_first() -> None:
    run = Run(
        machine(
            {
                "both": {
                    "type": "parallel",
                    "on": {"user.interrupted": "off"},
                    "states": {"l": {"kind": "lab"}, "r": {"kind": "lab"}},
                },
                "off": {"on": {"user.resumed": "model"}},
                "model": {"kind": "model"},
            },
            kinds={"lab": LAB},
        )
    )
    made = run.tell(UserInterrupted())
    assert [e.target for e in made.effects if hasattr(e, "target")] == ["s:0:1", "s:0:0"]
    assert run.tell(UserResumed()).effects == ()
    run.tell(EffectAnswered("s:0:1", "lab.done"), "lab")
    assert run.last.effects == ()
    run.tell(EffectAnswered("s:0:0", "lab.done"), "lab")
    assert [type(e) for e in run.last.effects] == [CallModel]


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_a_machine_from_its_bytes_has_the_order_of_the_document(spec: Path) -> None:
    """Canonical bytes sort their keys; regions must be entered, and tools shown, as they were written."""
    machine = launch.load_path(spec, installed()).machine
    assert machine is not None
    again = decode(encode(machine), Machine)
    assert (again, again.digest) == (machine, machine.digest)
    for name in ("states", "inputs", "vars", "models", "tools", "timers", "prompts"):
        assert list(getattr(again, name)) == list(getattr(machine, name)), name
    assert list(machine.states) == sorted(machine.states, key=lambda p: machine.states[p].place.line)
