"""The excerpt that fixes the language compiles to the machine one would expect of it."""

import json

from msgspec.structs import replace

from loopspec.machine.chart import SILENT, Chart, matches
from loopspec.machine.model import (
    Action,
    AfterTimer,
    Authority,
    Budgets,
    ContextRules,
    Field,
    Machine,
    ModelDecl,
    Place,
    Rule,
    State,
    ToolDecl,
)
from loopspec.spec.routes import INSTEAD, covers

from .kit import HERE, KINDS, compiled

NOWHERE = Place()


def machine() -> Machine:
    """The excerpt's machine."""
    result = compiled(HERE / "excerpt.yaml", "excerpt.yaml")
    assert result.diagnostics == []
    assert result.machine is not None
    return result.machine


def bare(state: State) -> State:
    """A state without its place and transitions."""
    return replace(state, place=NOWHERE, transitions=())


def test_its_head_and_declarations() -> None:
    made = machine()
    assert (made.name, made.version, made.file) == ("coding-agent", "1.0.0", "excerpt.yaml")
    assert made.initial == "ready"
    assert made.inputs == {
        "task": Field("string", place=Place(5, 10)),
        "check": Field("string", '"pytest -q"', place=Place(5, 32)),
    }
    assert made.vars == {"attempts": Field("int", "0", place=Place(6, 10))}
    assert made.models == {
        "main": ModelDecl(
            "main",
            "anthropic/claude-sonnet-4-5",
            fallbacks=("openai/gpt-5-mini",),
            connect=15_000_000,
            first_chunk=60_000_000,
            between_chunks=90_000_000,
            total=600_000_000,
            attempts=5,
            base=1_000_000,
            cap=60_000_000,
            place=Place(9, 3),
        )
    }
    assert made.prompts == {
        "system": "You repair software in {{ session.workdir }}. The task: {{ inputs.task }}\n"
    }
    assert made.prompt_places == {"system": Place(25, 3)}
    assert list(made.kinds) == [
        "input",
        "model",
        "gate",
        "approval",
        "tools",
        "compact",
        "interrupt",
        "suspend",
        "rollback",
    ]
    assert made.kinds["model"] == KINDS["model"]


def test_its_tools_take_what_they_do_not_say_from_the_installed_ones() -> None:
    path = '{"properties":{"path":{"type":"string"}},"type":"object"}'
    command = '{"properties":{"command":{"type":"string"}},"type":"object"}'
    assert machine().tools == {
        "read_file": ToolDecl(
            name="read_file",
            use="files.read",
            description="Reads a file.",
            parameters=path,
            effect="read",
            after_crash="rerun",
            paths=("path",),
            total=30_000_000,
            place=Place(16, 3),
        ),
        "edit_file": ToolDecl(
            name="edit_file",
            use="files.edit",
            description="Edits a file.",
            parameters=path,
            effect="write",
            after_crash="probe",
            paths=("path",),
            total=30_000_000,
            place=Place(17, 3),
        ),
        "shell": ToolDecl(
            name="shell",
            use="shell.run",
            description="Runs a command.",
            parameters=command,
            effect="write",
            after_crash="ask",
            command="command",
            total=600_000_000,
            silence=60_000_000,
            place=Place(18, 3),
        ),
    }


def test_its_limits_are_exact_integers() -> None:
    made = machine()
    assert made.budgets == Budgets(60, 500_000, 3_000_000_000, 2_700_000_000)
    assert made.context == ContextRules(
        800_000, 400_000, ("task", "constraints", "approvals", "open_calls")
    )
    assert made.authority == Authority(
        allow=(
            Rule(("read_file",), place=Place(31, 11)),
            Rule(("edit_file",), ("src/**",), place=Place(31, 33)),
        ),
        ask=(Rule(("shell",), place=Place(32, 11)),),
        deny=(Rule(("*",), (".git/**", "**/.env"), place=Place(33, 11)),),
    )


def test_its_states_stand_in_document_order() -> None:
    made = machine()
    assert {path: bare(state) for path, state in made.states.items()} == {
        "ready": State("ready", kind="input"),
        "working": State("working", type="compound", initial="working.streaming"),
        "working.streaming": State(
            "working.streaming", "working", kind="model", model="main", prompt="system"
        ),
        "working.deciding": State("working.deciding", "working", kind="gate"),
        "working.awaiting_approval": State(
            "working.awaiting_approval",
            "working",
            kind="approval",
            after=("after.working.awaiting_approval.0",),
        ),
        "working.tool_running": State(
            "working.tool_running", "working", kind="tools", boundary="workspace"
        ),
        "working.compacting": State("working.compacting", "working", kind="compact"),
        "working.resume": State(
            "working.resume", "working", "history", deep=True, default="working.streaming"
        ),
        "interrupted": State("interrupted", kind="interrupt"),
        "suspended": State("suspended", kind="suspend"),
        "rolling_back": State("rolling_back", kind="rollback"),
        "over_budget": State("over_budget", kind="input"),
        "finished": State("finished", type="final"),
    }
    assert list(made.states)[:4] == ["ready", "working", "working.streaming", "working.deciding"]
    assert made.timers == {
        "after.working.awaiting_approval.0": AfterTimer(
            "after.working.awaiting_approval.0",
            "working.awaiting_approval",
            86_400_000_000,
            place=Place(57, 51),
        )
    }


def test_its_transitions_stand_in_document_order() -> None:
    made = machine()
    moves = [(t.source, *t.on, t.guard, t.target) for t in made.transitions]
    streaming, deciding = "working.streaming", "working.deciding"
    assert moves[:12] == [
        ("ready", "user.message", "", "working"),
        ("working", "user.interrupted", "", "interrupted"),
        ("working", "host.suspended", "", "suspended"),
        ("working", "budget.exhausted", "", "over_budget"),
        (streaming, "context.pressed", "", "working.compacting"),
        (streaming, "model.replied", "size(event.calls) > 0", deciding),
        (streaming, "model.replied", "", "ready"),
        (streaming, "model.overflowed", "", "working.compacting"),
        (streaming, "model.failed", "", "ready"),
        (deciding, "gate.allowed", "", "working.tool_running"),
        (deciding, "gate.asked", "", "working.awaiting_approval"),
        (deciding, "gate.denied", "", streaming),
    ]
    assert moves[12:15] == [
        ("working.awaiting_approval", "approval.granted", "", "working.tool_running"),
        ("working.awaiting_approval", "approval.denied", "", streaming),
        ("working.awaiting_approval", "after.working.awaiting_approval.0", "", streaming),
    ]
    assert moves[20] == ("interrupted", "user.resumed", "", "working.resume")
    assert made.states[streaming].transitions == (4, 5, 6, 7, 8)
    assert made.transitions[8].place == Place(55, 11)
    assert made.transitions[8].actions == (
        Action(
            "say",
            text="The model could not be reached: {{ event.reason }}",
            place=Place(55, 41),
        ),
    )


def test_the_calculator_accepts_it() -> None:
    Chart(machine())


def test_it_says_the_same_in_json() -> None:
    from loopspec.spec.source import plain, read

    text = json.dumps(plain(read(HERE / "excerpt.yaml")))
    again = compiled(text).machine
    assert again is not None
    assert [t.target for t in again.transitions] == [t.target for t in machine().transitions]


def test_descriptors_match_as_in_the_calculator() -> None:
    events = ["tool.answered", "tools.settled", "model.replied", "model.replied.late", "model"]
    for descriptor in ["tool.*", "*", "model.replied", "model.*", "model.replied.*"]:
        assert [covers(descriptor, e) for e in events] == [matches(descriptor, e) for e in events]


def test_every_event_the_core_digests_has_a_word_of_advice() -> None:
    assert set(INSTEAD) == set(SILENT)
