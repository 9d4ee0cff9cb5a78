"""Graph: the picture of a loop as plain data: boxes in boxes, and the arrows that leave them.

Rules of this file:
1. The picture is made from the compiled machine, so it shows what runs, never what was meant.
2. Each state is one box and each transition one arrow of its source's box, in the machine's order.
3. Nothing is drawn or shortened here; names and guards are as they stand in the machine, and whoever
   draws makes them printable with `plain`.
"""

import json
from typing import Final

import msgspec

from loopspec.machine.model import Action, Kind, Machine, State, Transition
from loopspec.views.words import printable

_UNITS: Final = (
    (86_400_000_000, "d", 2),
    (3_600_000_000, "h", 1),
    (60_000_000, "m", 1),
    (1_000_000, "s", 1),
    (1_000, "ms", 1),
)
_SORTS: Final = {
    "call_model": "model",
    "run_tool": "tools",
    "decide_calls": "decision",
    "compact_context": "upkeep",
    "restore_boundary": "upkeep",
    "perform": "plugin",
}
_DONE: Final = "done.state."


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the picture's parts."""


class Act(_Part, frozen=True):
    """One action: `text` says it whole, `short` without the words that are said or logged."""

    text: str
    short: str


class Arrow(_Part, frozen=True):
    """One transition. `id` is the machine's; `sort` is `event`, `after`, `always` or `done`.

    `trigger` says what it waits for (`model.replied`, `after 24h`, `always`); `guard` is CEL or empty;
    `target` is a state's path, None for a transition that stays; `internal` is as in SCXML; `line` is
    the line of the spec, 0 when unknown.
    """

    id: int
    source: str
    target: str | None
    sort: str
    trigger: str
    guard: str = ""
    actions: tuple[Act, ...] = ()
    internal: bool = False
    line: int = 0


class Box(_Part, frozen=True):
    """One state with its arrows and its children.

    `type` as in the machine. `work` is the sort of work: `model`, `tools`, `decision`, `upkeep`,
    `plugin`, `person` (waits for somebody), `wait`, or empty. `details` are the kind's model, prompt,
    boundary and time. `first`: entered first by its parent. `default` is where a history state leads
    at first. `failed`: resting here means failure.
    """

    path: str
    name: str
    type: str
    kind: str = ""
    work: str = ""
    details: tuple[str, ...] = ()
    first: bool = False
    deep: bool = False
    default: str = ""
    failed: bool = False
    entry: tuple[Act, ...] = ()
    exit: tuple[Act, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    children: tuple["Box", ...] = ()
    line: int = 0

    def walk(self) -> "tuple[Box, ...]":
        """This box and every box in it, parents before children."""
        return (self, *(box for child in self.children for box in child.walk()))


class Picture(_Part, frozen=True):
    """A loop's picture: its outermost boxes, and what the loop is called."""

    name: str
    version: str
    description: str
    boxes: tuple[Box, ...]

    def walk(self) -> tuple[Box, ...]:
        """Every box, parents before children."""
        return tuple(box for top in self.boxes for box in top.walk())

    def short_names(self) -> dict[str, str]:
        """For each path the shortest ending of it that names one state only."""
        paths = [box.path for box in self.walk()]
        counts: dict[str, int] = {}
        for path in paths:
            for tail in _tails(path):
                counts[tail] = counts.get(tail, 0) + 1
        return {p: next((t for t in _tails(p) if counts[t] == 1), p) for p in paths}


def picture(machine: Machine) -> Picture:
    """The picture of a machine. Never raises on a machine that compiled."""
    children: dict[str, list[str]] = {}
    for path, state in machine.states.items():
        children.setdefault(state.parent, []).append(path)
    made: dict[str, Box] = {}
    for path in reversed(machine.states):  # children stand after their parents
        inner = tuple(made[child] for child in children.get(path, ()))
        made[path] = _box(machine, machine.states[path], inner)
    tops = tuple(made[path] for path in children.get("", ()))
    return Picture(machine.name, machine.version, machine.description, tops)


def plain(text: str, limit: int) -> str:
    """A text on one line of at most `limit` columns, safe to show; what is cut ends with `…`."""
    return printable(" ".join(text.split()), limit)


def span(micros: int) -> str:
    """Microseconds as a spec writes them, in the largest unit that divides them: `24h`, `90s`."""
    for size, unit, least in _UNITS:
        if micros % size == 0 and micros // size >= least:
            return f"{micros // size}{unit}"
    return f"{micros}us" if micros else "0s"


def history_mark(box: Box) -> str:
    """`H` for a shallow history, `H*` for a deep one, empty for other states."""
    if box.type != "history":
        return ""
    return "H*" if box.deep else "H"


def _tails(path: str) -> list[str]:
    """The endings of a path, shortest first: `c`, `b.c`, `a.b.c`."""
    parts = path.split(".")
    return [".".join(parts[n:]) for n in range(len(parts) - 1, -1, -1)]


def _box(machine: Machine, state: State, inner: tuple[Box, ...]) -> Box:
    parent = machine.states.get(state.parent)
    kind = machine.kinds.get(state.kind)
    return Box(
        path=state.path,
        name=state.path.removeprefix(f"{state.parent}.") if state.parent else state.path,
        type=state.type,
        kind=state.kind,
        work=_work(kind) if state.kind else "",
        details=_details(state, kind),
        first=state.path == (parent.initial if parent else machine.initial),
        deep=state.deep,
        default=state.default,
        failed=state.outcome == "failed",
        entry=tuple(_action(one) for one in state.entry),
        exit=tuple(_action(one) for one in state.exit),
        arrows=tuple(_arrow(machine, machine.transitions[n]) for n in state.transitions),
        children=inner,
        line=state.place.line,
    )


def _work(kind: Kind | None) -> str:
    """The sort of work a kind does."""
    if kind is None:
        return "plugin"
    if kind.shape == "none":
        return "person" if kind.rests else "wait"
    return _SORTS.get(kind.effect, "plugin")


def _details(state: State, kind: Kind | None) -> tuple[str, ...]:
    """What a kind works with: the model, the prompt, the boundary, the time it waits."""
    found = []
    if state.model:
        found.append(state.model if state.kind == "model" else f"model {state.model}")
    if state.prompt:
        found.append(f"prompt {state.prompt}")
    if state.boundary:
        found.append(f"boundary {state.boundary}")
    if kind is not None and kind.timer:
        micros = json.loads(state.config).get(kind.timer)
        if isinstance(micros, int):
            found.append(f"{kind.timer} {span(micros)}")
    return tuple(found)


def _arrow(machine: Machine, move: Transition) -> Arrow:
    sort, trigger = _trigger(machine, move)
    return Arrow(
        id=move.id,
        source=move.source,
        target=move.target,
        sort=sort,
        trigger=trigger,
        guard=move.guard,
        actions=tuple(_action(one) for one in move.actions),
        internal=move.internal,
        line=move.place.line,
    )


def _trigger(machine: Machine, move: Transition) -> tuple[str, str]:
    """The sort of a transition and what it waits for, in words."""
    if not move.on:
        return "always", "always"
    sorts, texts = set(), []
    for name in move.on:
        timer = machine.timers.get(name)
        if timer is not None:
            awake = " awake" if timer.clock == "awake" else ""
            sorts.add("after")
            texts.append(f"after {span(timer.delay)}{awake}")
        elif name.startswith(_DONE):
            whose = name.removeprefix(_DONE)
            sorts.add("done")
            texts.append("done" if whose == move.source else f"done of {whose}")
        else:
            sorts.add("event")
            texts.append(name)
    return sorts.pop() if len(sorts) == 1 else "event", ", ".join(texts)


def _action(action: Action) -> Act:
    """An action in a few words."""
    match action.do:
        case "assign":
            text = f"{action.name} := {action.text}"
            return Act(text, text)
        case "say" | "log":
            word = "say to model" if action.do == "say" and action.to == "model" else action.do
            return Act(f'{word} "{action.text}"', word)
        case _:
            return Act(f"{action.do} {action.name}", f"{action.do} {action.name}")
