"""Machines and histories for tests, written as nested dicts and short calls.

A state is `{kind, on, after, always, done, states, initial, type, entry, exit, …}`; a transition is a
target, a dict `{target, guard, do, internal}`, or a list of those; an action is a tuple such as
`("assign", "n", "vars.n + 1")`. Targets are siblings, siblings of an ancestor, or whole paths.
"""

from typing import Any

import msgspec

from loopspec.codec import args_hash, decode_snapshot, digest, encode
from loopspec.effects import Effect, RunTool
from loopspec.events import (
    Decision,
    GateDecided,
    Kept,
    ModelReplied,
    ProposedCall,
    SessionStarted,
    Stamped,
    TokenUsage,
    ToolAnswered,
)
from loopspec.journal.fold import empty
from loopspec.machine.draft import effect_order
from loopspec.machine.model import (
    Action,
    AfterTimer,
    Budgets,
    ContextRules,
    Field,
    Machine,
    ModelDecl,
    Place,
    State,
    ToolDecl,
    Transition,
)
from loopspec.machine.step import Step, step
from loopspec.performers.builtin import KINDS
from loopspec.snapshot import Snapshot

SECOND = 1_000_000
HOUR = 3_600 * SECOND
T0 = 1_700_000_000 * SECOND

TOOLS = {
    "read": ToolDecl("read", "sim.read", effect="read", after_crash="rerun"),
    "edit": ToolDecl("edit", "sim.edit", effect="write", after_crash="rerun"),
    "shell": ToolDecl("shell", "sim.shell", effect="write", after_crash="ask"),
    "mail": ToolDecl("mail", "sim.mail", effect="irreversible", after_crash="ask"),
    "post": ToolDecl("post", "sim.post", effect="irreversible", after_crash="probe"),
}


class _Build:
    """Turns the nested dicts into the machine's flat tables."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.states: dict[str, State] = {}
        self.transitions: list[Transition] = []
        self.timers: dict[str, AfterTimer] = {}
        self.raw: dict[str, dict[str, Any]] = {}
        self._name(tree, "")
        for path, raw in self.raw.items():
            self._state(path, raw)

    def _name(self, tree: dict[str, Any], parent: str) -> None:
        for name, raw in tree.items():
            path = f"{parent}.{name}" if parent else name
            self.raw[path] = raw
            self._name(raw.get("states", {}), path)

    def _state(self, path: str, raw: dict[str, Any]) -> None:
        first = len(self.transitions)
        for event, given in raw.get("on", {}).items():
            self._all(path, tuple(event.split()), given)
        names = []
        for delay, given in raw.get("after", {}).items():
            key = f"after.{path}.{len(names)}"
            self.timers[key] = AfterTimer(key, path, delay, raw.get("clock", "wall"))
            self._all(path, (key,), given)
            names.append(key)
        if "done" in raw:
            self._all(path, (f"done.state.{path}",), raw["done"])
        if "always" in raw:
            self._all(path, (), raw["always"])
        parent = path.rpartition(".")[0]
        kids = raw.get("states", {})
        self.states[path] = State(
            path=path,
            parent=parent,
            type=raw.get("type", "compound" if kids else "atomic"),
            initial=f"{path}.{raw['initial']}" if "initial" in raw else "",
            deep=raw.get("deep", False),
            default=self._target(path, raw["target"]) if raw.get("type") == "history" else "",
            kind=raw.get("kind", ""),
            config=raw.get("config", "{}"),
            model=raw.get("model", "main" if raw.get("kind") == "model" else ""),
            prompt=raw.get("prompt", ""),
            boundary=raw.get("boundary", ""),
            entry=_actions(raw.get("entry", ()), 0),
            exit=_actions(raw.get("exit", ()), 0),
            transitions=tuple(range(first, len(self.transitions))),
            after=tuple(names),
            outcome=raw.get("outcome", "done"),
        )

    def _all(self, path: str, on: tuple[str, ...], given: Any) -> None:
        for one in given if isinstance(given, list) else [given]:
            plain = {"target": one} if isinstance(one, str) else one
            number = len(self.transitions)
            goal = plain.get("target")
            self.transitions.append(
                Transition(
                    id=number,
                    source=path,
                    on=on,
                    guard=plain.get("guard", ""),
                    target=self._target(path, goal) if goal else None,
                    internal=plain.get("internal", False),
                    actions=_actions(plain.get("do", ()), number + 1),
                    place=Place(number + 1, 1),
                )
            )

    def _target(self, source: str, name: str) -> str:
        scope = source
        while scope:
            scope = scope.rpartition(".")[0]
            path = f"{scope}.{name}" if scope else name
            if path in self.raw:
                return path
        raise KeyError(name)


def _actions(given: Any, line: int) -> tuple[Action, ...]:
    """Actions from tuples: `assign name cel`, `say text [to]`, `log text`, `raise|mark name`."""
    out = []
    for do, first, *rest in given:
        place = Place(line, 2)
        if do == "assign":
            out.append(Action(do, name=first, text=rest[0], place=place))
        elif do in ("say", "log"):
            out.append(Action(do, text=first, to=rest[0] if rest else "person", place=place))
        else:
            out.append(Action(do, name=first, place=place))
    return tuple(out)


def machine(states: dict[str, Any], **changes: Any) -> Machine:
    """A machine of these states (the first is initial) with our kinds and some tools."""
    made = _Build(states)
    plain: dict[str, Any] = {
        "name": "test",
        "version": "1.0.0",
        "initial": next(iter(states)),
        "kinds": {k.name: k for k in KINDS},
        "models": {"main": ModelDecl("main", "sim/one", attempts=3)},
        "tools": TOOLS,
        "budgets": Budgets(),
        "context": ContextRules(),
    }
    plain["kinds"] |= changes.pop("kinds", {})
    if "vars" in changes:
        changes["vars"] = {n: Field(t, d) for n, (t, d) in changes["vars"].items()}
    return Machine(
        states=made.states,
        transitions=tuple(made.transitions),
        timers=made.timers,
        **{**plain, **changes},
    )


WORKING: dict[str, Any] = {
    "streaming": {
        "kind": "model",
        "prompt": "system",
        "on": {
            "context.pressed": "compacting",
            "model.replied": [
                {"guard": "size(event.calls) > 0", "target": "deciding"},
                {"guard": 'event.text == "bye"', "target": "finished"},
                {"target": "ready"},
            ],
            "model.overflowed": "compacting",
            "model.failed": {
                "target": "ready",
                "do": [("say", "The model could not be reached: {{ event.reason }}")],
            },
        },
    },
    "deciding": {
        "kind": "gate",
        "on": {
            "gate.allowed": "tool_running",
            "gate.asked": "awaiting_approval",
            "gate.denied": "streaming",
        },
    },
    "awaiting_approval": {
        "kind": "approval",
        "after": {24 * HOUR: "streaming"},
        "on": {"approval.granted": "tool_running", "approval.denied": "streaming"},
    },
    "tool_running": {
        "kind": "tools",
        "boundary": "workspace",
        "on": {
            "tools.settled": "streaming",
            "effect.lost": "awaiting_approval",
            "boundary.failed": {"target": "ready", "do": [("say", "No: {{ event.reason }}")]},
        },
    },
    "compacting": {
        "kind": "compact",
        "on": {"context.compacted": "streaming", "context.stuck": "ready"},
    },
    "resume": {"type": "history", "deep": True, "target": "streaming"},
}


OWN_CALL: dict[str, Any] = {
    "initial": "judging",
    "on": {"user.interrupted": "own_call.done"},
    "states": {
        "judging": {
            "kind": "gate",
            "on": {"gate.allowed": "running", "gate.asked": "asking", "gate.denied": "done"},
        },
        "running": {
            "kind": "tools",
            "boundary": "workspace",
            "on": {"tools.settled": "done", "effect.lost": "asking", "boundary.failed": "done"},
        },
        "asking": {
            "kind": "approval",
            "after": {24 * HOUR: "done"},
            "on": {"approval.granted": "running", "approval.denied": "done"},
        },
        "done": {"always": [{"guard": "vars.stopped", "target": "interrupted"}, {"target": "ready"}]},
    },
}


def coding(*, own: bool = False, **changes: Any) -> Machine:
    """The loop of the design: streaming, deciding, approval, tools, compaction, rollback, budgets.

    With `own`, a person may make calls of their own when it is ready or interrupted.
    """
    states = {
        "ready": {"kind": "input", "on": {"user.message": "working"}},
        "working": {
            "initial": "streaming",
            "on": {
                "user.interrupted": "interrupted",
                "host.suspended": "suspended",
                "budget.exhausted": "over_budget",
                "error.execution": {"target": "ready", "do": [("say", "{{ event.error }}")]},
            },
            "states": WORKING,
        },
        "interrupted": {
            "kind": "interrupt",
            "on": {
                "user.resumed": "working.resume",
                "user.message": "working",
                "rollback.chosen": "rolling_back",
            },
        },
        "suspended": {
            "kind": "suspend",
            "on": {"host.woke": "working.resume", "user.resumed": "working.resume"},
        },
        "rolling_back": {
            "kind": "rollback",
            "on": {
                "rollback.done": "interrupted",
                "rollback.partial": {
                    "target": "interrupted",
                    "do": [("say", "Left: {{ event.remaining | join(', ') }}", "model")],
                },
                "rollback.failed": "interrupted",
            },
        },
        "over_budget": {
            "on": {"budget.extended": "working.resume", "user.resumed": "working.resume"}
        },
        "finished": {"type": "final"},
    }
    if own:
        for name, stopped in (("ready", "false"), ("interrupted", "true")):
            on: dict[str, Any] = states[name]["on"]  # type: ignore[assignment]
            on["user.called"] = {"target": "own_call", "do": [("assign", "stopped", stopped)]}
        states["own_call"] = OWN_CALL
        changes = {"vars": {"stopped": ("bool", "false")}, **changes}
    return machine(states, **{"prompts": {"system": "You work."}, **changes})


class Run:
    """A session stepped in memory: `tell` steps an event, the clocks move a second each time."""

    def __init__(self, made: Machine, *, windows: dict[str, int] | None = None) -> None:
        self.machine = made
        self.snapshot: Snapshot = empty("s")
        self.at = T0
        self.awake = 0
        started = SessionStarted(
            machine=made.digest, inputs="{}", workdir="/w", windows=windows or {}
        )
        self.last: Step = self.tell(started)

    def tell(self, event: Kept, by: str = "person", wait: int = SECOND) -> Step:
        """Step one event; what a store would do to the snapshot is done to it too."""
        self.at += wait
        self.awake += wait
        self.last = step(self.machine, self.snapshot, Stamped(self.at, self.awake, by, event))
        self.snapshot = decode_snapshot(encode(self.last.snapshot))
        return self.last

    @property
    def leaf(self) -> str:
        """The innermost active state."""
        return self.snapshot.configuration[-1]

    @property
    def effect(self) -> Effect:
        """The one effect that is pending and not being cancelled."""
        (found,) = [p.effect for p in self.snapshot.pending.values() if p.status != "cancelling"]
        return found

    def reply(self, *tools: str, text: str = "", **changes: Any) -> Step:
        """The model replies, proposing these tools (`name` or `name:json`)."""
        calls = [ProposedCall(n, a or "{}") for n, _, a in (t.partition(":") for t in tools)]
        event = ModelReplied(effect=self.effect.id, text=text, calls=calls, **changes)
        return self.tell(event, "model")

    def decide(self, *answers: str) -> Step:
        """The gate answers for the proposed calls, in order."""
        effect: Any = self.effect
        pairs = zip(effect.calls, answers, strict=True)
        made = [Decision(c, a, rule=f"r-{a}") for c, a in pairs]
        return self.tell(GateDecided(effect=effect.id, decisions=made), "gate")

    def answer(self, status: str = "ok", output: str = "out", which: int = 0) -> Step:
        """A running tool answers: the oldest, or the one `which` names."""
        effect = self.running()[which]
        made = ToolAnswered(effect=effect.id, call=effect.call, status=status, output=output)
        return self.tell(made, "tools")

    def running(self) -> list[RunTool]:
        """The tools that run, oldest first."""
        found = [p.effect for p in self.snapshot.pending.values()]
        return sorted(
            (e for e in found if isinstance(e, RunTool)), key=lambda e: effect_order(e.id)
        )

    def status(self) -> dict[str, str]:
        """The ledger: each call's status."""
        return {c.id: c.status for c in self.snapshot.calls.values()}

    def view(self) -> list[tuple[str, str]]:
        """The results the last step put into the view: call and status."""
        return [(op.call, op.status) for op in self.last.record.view if hasattr(op, "call")]


def hash_of(tool: str, args: str = "{}") -> str:
    """What an approval of this call binds to."""
    return args_hash(tool, args)


PROMPT = digest(b"You work.")
PAID = TokenUsage(input_tokens=100, output_tokens=10, cost=5_000)


def changed(value: Any, **changes: Any) -> Any:
    """A frozen value with other fields."""
    return msgspec.structs.replace(value, **changes)
