"""A coding loop as a machine, and a driver that steps it from a real start."""

import json
from typing import Any

from loopspec.codec import digest_of
from loopspec.events import (
    Decision,
    GateDecided,
    Kept,
    ModelReplied,
    ProposedCall,
    SessionStarted,
    Stamped,
    TokenUsage,
    UserMessage,
    name_of,
)
from loopspec.journal.chain import make_entry
from loopspec.journal.entry import GENESIS, Entry
from loopspec.journal.fold import empty
from loopspec.machine.model import (
    Action,
    AfterTimer,
    Authority,
    Budgets,
    Field,
    Machine,
    ModelDecl,
    Place,
    State,
    ToolDecl,
    Transition,
)
from loopspec.machine.step import REFUSED, Step, step
from loopspec.performers.builtin import KINDS
from loopspec.snapshot import Snapshot

START = 1_793_700_000_000_000
SECOND = 1_000_000
TIMEOUT = "after.working.awaiting_approval.0"

# path, fields, transitions as (event, guard, target); None as event is `always`
_STATES: list[tuple[str, dict[str, Any], list[tuple[str | None, str, str]]]] = [
    ("ready", {"kind": "input"}, [("user.message", "", "working")]),
    (
        "working",
        {"type": "compound", "initial": "working.streaming"},
        [
            ("user.interrupted", "", "interrupted"),
            ("host.suspended", "", "suspended"),
            ("budget.exhausted", "", "over_budget"),
        ],
    ),
    (
        "working.streaming",
        {"kind": "model", "model": "main", "prompt": "system"},
        [
            ("model.replied", "size(event.calls) > vars.most", "over_budget"),
            ("model.replied", "size(event.calls) > 0", "working.deciding"),
            ("model.replied", "", "ready"),
            ("context.pressed", "", "working.compacting"),
            ("model.overflowed", "", "working.compacting"),
            ("model.failed", "", "ready"),
        ],
    ),
    (
        "working.deciding",
        {"kind": "gate"},
        [
            ("gate.allowed", "", "working.tool_running"),
            ("gate.asked", "", "working.awaiting_approval"),
            ("gate.denied", "", "working.streaming"),
        ],
    ),
    (
        "working.awaiting_approval",
        {"kind": "approval", "after": (TIMEOUT,)},
        [
            (TIMEOUT, "", "working.streaming"),
            ("approval.granted", "", "working.tool_running"),
            ("approval.denied", "", "working.streaming"),
        ],
    ),
    (
        "working.tool_running",
        {"kind": "tools", "boundary": "workspace"},
        [
            ("tools.settled", "", "working.streaming"),
            ("effect.lost", "", "working.awaiting_approval"),
            ("boundary.failed", "", "ready"),
        ],
    ),
    (
        "working.compacting",
        {"kind": "compact"},
        [("context.compacted", "", "working.streaming"), ("context.stuck", "", "ready")],
    ),
    (
        "working.resume",
        {"type": "history", "deep": True, "default": "working.streaming"},
        [],
    ),
    (
        "interrupted",
        {"kind": "interrupt"},
        [
            ("user.resumed", "", "working.resume"),
            ("user.message", "", "working"),
            ("rollback.chosen", "", "rolling_back"),
        ],
    ),
    (
        "suspended",
        {"kind": "suspend"},
        [("host.woke", "", "working.resume"), ("user.resumed", "", "working.resume")],
    ),
    (
        "rolling_back",
        {"kind": "rollback"},
        [
            ("rollback.done", "", "interrupted"),
            ("rollback.partial", "", "interrupted"),
            ("rollback.failed", "", "interrupted"),
        ],
    ),
    ("over_budget", {}, [("budget.extended", "", "working.resume")]),
    ("finished", {"type": "final"}, []),
]


def coding(*, turns: int = 60, drop: tuple[str, ...] = (), guard: str = "") -> Machine:
    """The loop; without the transitions on the events in `drop`; `guard` replaces the first one."""
    states: dict[str, State] = {}
    transitions: list[Transition] = []
    line = 40
    for path, fields, routes in _STATES:
        mine = []
        place = Place(line, 3)
        for event, said, target in routes:
            line += 1
            if event in drop:
                continue
            mine.append(len(transitions))
            replied = event == "model.replied"
            actions: tuple[Action, ...] = ()
            if event == "budget.exhausted":
                actions = (Action(do="say", text="{{ event.which }} spent", place=Place(line, 9)),)
            transitions.append(
                Transition(
                    id=len(transitions),
                    source=path,
                    on=(event,) if event else (),
                    guard=guard if guard and replied and "most" in said else said,
                    target=target,
                    actions=actions,
                    place=Place(line, 7),
                )
            )
        states[path] = State(
            path=path,
            parent=path.rpartition(".")[0],
            transitions=tuple(mine),
            place=place,
            **fields,
        )
        line += 1
    return Machine(
        name="coding-agent",
        version="1.0.0",
        initial="ready",
        states=states,
        transitions=tuple(transitions),
        kinds={kind.name: kind for kind in KINDS},
        vars={"most": Field(type="int", default="8")},
        models={
            "main": ModelDecl(
                name="main", use="anthropic/claude-sonnet-4-5", fallbacks=("openai/gpt-5-mini",)
            )
        },
        tools={
            "shell": ToolDecl(name="shell", use="shell.run", effect="write"),
            "read_file": ToolDecl(name="read_file", use="files.read", effect="read"),
        },
        prompts={"system": "You repair software."},
        timers={
            TIMEOUT: AfterTimer(
                id=TIMEOUT, state="working.awaiting_approval", delay=24 * 3600 * SECOND
            )
        },
        budgets=Budgets(turns=turns, tokens=500_000, usd=3_000_000_000, elapsed=45 * 60 * SECOND),
        authority=Authority(),
        file="loops/coding-agent.yaml",
    )


class Run:
    """A session that is stepped and journaled in memory. Each event comes 10 s after the last."""

    def __init__(self, machine: Machine, window: int = 200_000) -> None:
        self.machine = machine
        self.snapshot: Snapshot = empty("s1")
        self.entries: list[Entry] = []
        self.refusals: list[dict[str, Any]] = []
        self.now = START
        self.by_whom = {"user.message": "person", "model.replied": "model"}
        self.do(
            SessionStarted(machine=machine.digest, inputs=json.dumps({}), windows={"main": window})
        )

    @property
    def awake(self) -> int:
        """Microseconds since the start; this host never sleeps."""
        return self.now - START

    def do(self, event: Kept, by: str = "", wait: int = 10 * SECOND) -> Step:
        """Step one event; journal it, or keep its refusal."""
        by = by or self.by_whom.get(name_of(event), "driver")
        stamped = Stamped(at=self.now, awake=self.awake, by=by, event=event)
        made = step(self.machine, self.snapshot, stamped)
        if made.outcome == REFUSED:
            self.refusals.append(
                {"at": self.now, "event": name_of(event), "by": by, "why": made.refusal}
            )
        else:
            self.entries.append(
                make_entry(
                    old=self.snapshot,
                    new=made.snapshot,
                    stamped=stamped,
                    outcome=made.outcome,
                    record=made.record,
                    effects=made.effects,
                    blobs=made.blobs,
                    prev=self.entries[-1].hash if self.entries else GENESIS,
                    semantics=1,
                ).entry
            )
            assert self.entries[-1].snapshot == digest_of(made.snapshot)
            self.snapshot = made.snapshot
        self.now += wait
        return made

    def pending(self) -> str:
        """The id of the newest effect without an answer."""
        return list(self.snapshot.pending)[-1]

    def say(self, text: str = "Repair the parser.") -> Step:
        """A person's message."""
        return self.do(UserMessage(text=text, tokens=12))

    def reply(self, *tools: str, text: str = "", size: int = 1_200) -> Step:
        """The model's reply with calls of `tools`."""
        return self.do(
            ModelReplied(
                effect=self.pending(),
                text=text,
                calls=[ProposedCall(tool=t, args=f'{{"n":{n}}}') for n, t in enumerate(tools)],
                model="claude-sonnet-4-5",
                usage=TokenUsage(input_tokens=size, output_tokens=80, cost=12_345_678),
            )
        )

    def decide(self, **answers: str) -> Step:
        """The gate's answers, by call id."""
        return self.do(
            GateDecided(
                effect=self.pending(),
                decisions=[
                    Decision(call=call, answer=answer, rule=f"{answer}[0]", reason="by the book")
                    for call, answer in answers.items()
                ],
            )
        )
