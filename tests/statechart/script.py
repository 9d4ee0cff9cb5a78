"""Runs a case: a spec's body, a script of events, and the whole of what each event is expected to do.

A case is data: `title`, `spec` (the body in the language itself, without name and version), `start`
and `steps`. A step names its `event`, with fields beside it, and expects:

    outcome   moved, noted or refused
    active    every active state, in document order
    order     everything that happened, in order: `leave a`, `a -> b`, `a -> b on always`, `enter b`,
              `raise x`, `mark x`, `say x`, `say x (model)`, `log x`; ` ; ` stands between two
    history   what each history state remembers
    vars      all vars
    armed     timers armed, with how long from now on their clock
    disarmed  timers gone
    effects   what is to be done: `call_model STATE`, `cancel call_model STATE`
    stuck     why nothing can move
    inbox     messages waiting
    finished  whether the session has ended

What is not written is expected to be empty, and compared; only `history` and `vars` are expected to be
as they were.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from machine.builders import SECOND, Run, changed
from spec.kit import TOOLS

from loopspec.codec import args_hash
from loopspec.effects import CallModel, Cancel, DecideCalls, Effect, RunTool
from loopspec.events import (
    ApprovalGiven,
    AttemptFailed,
    BudgetExtended,
    Decision,
    EffectCancelled,
    GateDecided,
    HostSuspended,
    HostWoke,
    Kept,
    ModelReplied,
    ProposedCall,
    TimerFired,
    ToolAnswered,
    UserInterrupted,
    UserMessage,
    UserResumed,
)
from loopspec.machine.dispatch import finished
from loopspec.machine.model import Action, Machine
from loopspec.snapshot import Snapshot
from loopspec.spec import literals
from loopspec.spec.parse import compile_spec

HEAD: Final = "loopspec: 1\nname: case\nversion: 1.0.0\n"
SIGN: Final = "@"
BETWEEN: Final = " ; "
KEYS: Final = frozenset(
    {
        *("outcome", "active", "order", "history", "vars", "armed", "disarmed", "effects", "stuck"),
        *("inbox", "finished"),
    }
)


@dataclass
class Done:
    """What one step did, in the words of a case."""

    outcome: str
    active: list[str]
    order: list[str] = field(default_factory=list)
    history: dict[str, list[str]] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    armed: dict[str, str] = field(default_factory=dict)
    disarmed: list[str] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    stuck: str = ""
    inbox: list[str] = field(default_factory=list)
    finished: bool = False


def told(machine: Machine) -> Machine:
    """The same machine, telling everything it does through `log`, so that one list holds the order."""

    def loud(first: str, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        made = [Action("log", text=SIGN + first)]
        for action in actions:
            made.append(action)
            if action.do in ("raise", "mark"):
                made.append(Action("log", text=f"{SIGN}{action.do} {action.name}"))
        return tuple(made)

    states = {
        path: state
        if state.type == "history"
        else changed(
            state, entry=loud(f"enter {path}", state.entry), exit=loud(f"leave {path}", state.exit)
        )
        for path, state in machine.states.items()
    }
    transitions = tuple(
        changed(t, actions=loud(f"{t.source} -> {t.target or '(stays)'}", t.actions))
        for t in machine.transitions
    )
    return changed(machine, states=states, transitions=transitions)


class Script:
    """One run of a case's spec."""

    def __init__(self, body: str, kinds: Any) -> None:
        """Compile the spec and start a session."""
        made = compile_spec(HEAD + body, kinds=kinds, tools=TOOLS, name="case.yaml")
        self.run = Run(told(made.machine))
        self.done = self._done(None, "session.started")

    def step(self, given: dict[str, Any]) -> Done:
        """Send the event that a step names; what it did."""
        fields = {k: v for k, v in given.items() if k not in KEYS and k not in ("event", "wait")}
        event = self._event(given["event"], fields)
        wait = literals.duration(given["wait"]) if "wait" in given else SECOND
        assert wait is not None
        before = self.run.snapshot
        self.run.tell(event, wait=wait)
        return self._done(before, given["event"])

    def _event(self, name: str, fields: dict[str, Any]) -> Kept:
        """The event of this name; answers find the effect they answer."""
        match name:
            case "user.message":
                return UserMessage(fields.get("text", "x"))
            case "user.interrupted":
                return UserInterrupted()
            case "user.resumed":
                return UserResumed()
            case "host.suspended":
                return HostSuspended()
            case "host.woke":
                return HostWoke()
            case "budget.extended":
                return BudgetExtended("turns", 1)
            case "timer.fired":
                return TimerFired(fields["timer"])
            case "model.replied":
                calls = [ProposedCall(tool) for tool in fields.get("calls", [])]
                return ModelReplied(self._effect(CallModel).id, fields.get("text", ""), calls)
            case "attempt.failed":
                return AttemptFailed(self._effect(CallModel).id, "provider", **fields)
            case "gate.decided":
                effect = self._effect(DecideCalls)
                assert isinstance(effect, DecideCalls)
                pairs = zip(effect.calls, fields["answers"], strict=True)
                return GateDecided(effect.id, [Decision(call, answer) for call, answer in pairs])
            case "approval.given":
                waiting = [c for c in self.run.snapshot.calls.values() if c.status == "asked"]
                return ApprovalGiven(waiting[0].id, args_hash(waiting[0].tool, "{}"), **fields)
            case "tool.answered":
                tool = self.run.running()[0]
                return ToolAnswered(tool.id, tool.call, "ok", "out")
            case "effect.cancelled":
                pending = self.run.snapshot.pending.values()
                (found,) = [p.effect for p in pending if p.status == "cancelling"]
                return EffectCancelled(found.id)
        raise AssertionError(f"no step can send {name}")

    def _effect(self, kind: type[Effect]) -> Effect:
        """The effect of this type that is being done."""
        pending = self.run.snapshot.pending.values()
        found: list[Effect] = [p.effect for p in pending if isinstance(p.effect, kind)]
        assert len(found) == 1, found
        return found[0]

    def _done(self, before: Snapshot | None, event: str) -> Done:
        """What the last step did."""
        last, now = self.run.last, self.run.snapshot
        old = before.timers if before else {}
        armed = {}
        for key, timer in now.timers.items():
            if timer != old.get(key):
                here = now.at if timer.clock == "wall" else now.awake
                armed[key] = f"{(timer.due - here) // SECOND}s"
        return Done(
            outcome=last.outcome,
            active=list(now.configuration),
            order=self._order(event),
            history={k: list(v) for k, v in now.history.items()},
            vars=dict(now.vars),
            armed=armed,
            disarmed=sorted(old.keys() - now.timers.keys()),
            effects=[self._word(e, before) for e in last.effects],
            stuck=now.stuck,
            inbox=[w.text for w in now.inbox],
            finished=finished(self.run.machine, now),
        )

    def _order(self, event: str) -> list[str]:
        """Everything that happened, in the order of the record; its other lists must say the same."""
        record = self.run.last.record
        taken = iter(record.taken)
        out = []
        for said in record.said:
            if said.to != "log":
                out.append(f"say {said.text}" + (" (model)" if said.to == "model" else ""))
            elif not said.text.startswith(SIGN):
                out.append(f"log {said.text}")
            elif " -> " in said.text:
                one = next(taken)
                assert said.text == f"{SIGN}{one.source} -> {one.target or '(stays)'}"
                by = "" if one.event == event else f" on {one.event}"
                out.append(said.text.removeprefix(SIGN) + by)
            else:
                out.append(said.text.removeprefix(SIGN))
        assert not list(taken)
        assert [f"raise {name}" for name in record.raised] == only(out, "raise")
        assert [f"mark {name}" for name in record.marks] == only(out, "mark")
        return out

    def _word(self, effect: Effect, before: Snapshot | None) -> str:
        """An effect in words."""
        tag = type(effect).__struct_config__.tag
        if isinstance(effect, Cancel):
            assert before is not None
            gone = before.pending[effect.target].effect
            return f"cancel {type(gone).__struct_config__.tag} {gone.state}"
        if isinstance(effect, RunTool):
            return f"{tag} {effect.state} {self.run.snapshot.calls[effect.call].tool}"
        return f"{tag} {effect.state}"


def only(order: list[str], *words: str) -> list[str]:
    """What in an order begins with one of these words."""
    return [line for line in order if line.split(" ", 1)[0] in words and " -> " not in line]


def expected(given: dict[str, Any], before: Done | None) -> Done:
    """What a step of a case expects."""
    assert "active" in given, f"a step must say what is active: {given}"
    order = given.get("order", "")
    return Done(
        outcome=given["outcome"] if before else given.get("outcome", "moved"),
        active=given["active"],
        order=order.split(BETWEEN) if order else [],
        history=given.get("history", before.history if before else {}),
        vars=given.get("vars", before.vars if before else {}),
        armed=given.get("armed", {}),
        disarmed=given.get("disarmed", []),
        effects=given.get("effects", []),
        stuck=given.get("stuck", ""),
        inbox=given.get("inbox", []),
        finished=given.get("finished", False),
    )
