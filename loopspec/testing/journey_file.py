"""Journey file: the format of a journey, and how one is read. `docs/journeys.md` is its page.

Rules of this file:
1. A journey is data: no code, no expression. What it expects is compared whole, with `…` for what varies.
2. Whatever the file holds, the answer is a `Journey` or a `LoopspecError` with line and column.
3. The JSON Schema is made from the classes here (`schemas/journey-1.schema.json`).
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from loopspec.errors import BadSpec
from loopspec.spec.source import Node, plain, read

PLACE: Final = re.compile(r" - at `([^`]*)`$")
ANSWERS: Final = {
    "approve": "grant",
    "deny": "deny",
    "done": "done",
    "rerun": "rerun",
    "abandon": "abandon",
}
"""Acts that answer for a waiting call, and the answer each of them gives."""
ACTS: Final = (*ANSWERS, "say", "resume", "extend", "rollback", "call", "compact", "later")

Reason = Literal[
    "approval",
    "budget",
    "failed",
    "finished",
    "idle",
    "input",
    "interrupted",
    "left",
    "outbox",
    "stuck",
    "suspended",
]


def about(text: str) -> Any:
    """A description, for the schema."""
    return Meta(description=text)


Tool = Annotated[str, about("The tool whose waiting call this answers.")]


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model replies: a script of the offline model."""

    turns: Annotated[list[dict[str, Any]], about("The replies, as in a script file (`script: 1`).")]
    window: Annotated[int, about("The model's window in tokens; 0 is unknown.")] = 0
    loop: Annotated[bool, about("Begin again after the last turn.")] = False


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the person makes."""

    tool: Annotated[str, about("The tool, by its name in the spec.")]
    args: Annotated[dict[str, Any], about("Its arguments.")] = {}


class During(Struct, frozen=True, forbid_unknown_fields=True):
    """What is done while the loop works, once."""

    state: Annotated[str, about("As soon as work has begun in this state…")]
    seen: Annotated[str, about("…and, if given, this has been streamed there.")] = ""
    do: Annotated[
        Literal["interrupt", "suspend", "leave"] | None,
        about("`leave` ends the run where it is, as if the process were gone."),
    ] = None
    say: Annotated[str | None, about("A message that arrives in the middle of the work.")] = None


class Then(Struct, frozen=True, forbid_unknown_fields=True):
    """What must come of a step. What is not named is not looked at; `…` in a text stands for anything."""

    rest: Annotated[Reason, about("Why nothing happens by itself now.")]
    state: Annotated[str | None, about("The state it rests in: a path, or its end.")] = None
    passed: Annotated[list[str] | None, about("The states it has stood in, in order.")] = None
    calls: Annotated[
        list[str] | None, about("The calls that got a result, as `TOOL STATUS`, in the order proposed.")
    ] = None
    says: Annotated[list[str] | None, about("The texts the spec said during the step.")] = None
    answer: Annotated[str | None, about("The model's newest answer.")] = None
    events: Annotated[list[str] | None, about("Events that came; others may stand between.")] = None
    files: Annotated[
        dict[str, str | None] | None, about("Files of the work directory, whole; null: there is none.")
    ] = None
    vars: Annotated[dict[str, Any] | None, about("Values of vars.")] = None
    turns: Annotated[int | None, about("Turns used since the session began.")] = None
    refused: Annotated[str | None, about("Why the loop refused what was asked of it.")] = None


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing a person does, and what must come of it. The first step begins the session."""

    then: Then
    say: Annotated[str | None, about("A message.")] = None
    approve: Tool | None = None
    deny: Tool | None = None
    done: Tool | None = None
    rerun: Tool | None = None
    abandon: Tool | None = None
    reason: Annotated[str, about("Why, for an answer.")] = ""
    scope: Annotated[str, about("How far an approval reaches: call, exact, limited, tool.")] = "call"
    args: Annotated[dict[str, Any] | None, about("The arguments as the person has changed them.")] = None
    paths: Annotated[list[str], about("Globs of a limited approval.")] = []
    commands: Annotated[list[str], about("Command patterns of a limited approval.")] = []
    resume: Annotated[bool, about("Go on, with nothing more to say.")] = False
    extend: Annotated[dict[str, Any], about("More of a budget: `{turns: 5}`.")] = {}
    rollback: Annotated[str | None, about("The boundary to go back to; empty: the newest.")] = None
    call: Annotated[Call | None, about("A call of the person's own.")] = None
    compact: Annotated[bool, about("Ask for a smaller view.")] = False
    later: Annotated[str, about("Nobody does anything for so long: `24h`.")] = ""
    during: Annotated[During | None, about("And what is done while the loop works on it.")] = None
    replies: Annotated[list[str], about("What the person answers when a tool asks them, in order.")] = []

    def acts(self) -> list[str]:
        """What the person does, by its keys."""
        given = [name for name in ACTS if getattr(self, name) not in (None, False, "", {})]
        return ["rollback"] if self.rollback == "" and not given else given


class Journey(Struct, frozen=True, forbid_unknown_fields=True):
    """A way through a loop: what its models reply, what a person does, and what must come of it."""

    journey: Annotated[Literal[1], about("The version of this format.")]
    spec: Annotated[str, about("The loop: a path from this file, or the name of a shipped loop.")]
    about: Annotated[str, Meta(description="What this journey shows, in a sentence.", min_length=1)]
    models: Annotated[dict[str, Script], about("What each declared model replies.")]
    steps: Annotated[list[Step], Meta(description="What happens, in order.", min_length=1)]
    inputs: Annotated[dict[str, Any], about("The session's inputs.")] = {}
    files: Annotated[dict[str, str], about("The work directory at the start.")] = {}


class Located:
    """A journey, its file, and where in the file its parts stand."""

    def __init__(self, path: Path, journey: Journey, node: Node) -> None:
        """Use `read_journey`."""
        self.path = path
        self.journey = journey
        self._node = node

    def place(self, *keys: str | int) -> str:
        """`file:line:col` of a part, or of what is around it when it is not written out."""
        node = found(self._node, keys)
        return f"{self.path}:{node.line}:{node.col}"


def found(node: Node, keys: tuple[str | int, ...]) -> Node:
    """The node below `node` that `keys` lead to; the last one there is."""
    for key in keys:
        below = node.get(key) if isinstance(key, str) else None
        if isinstance(key, int) and key < len(node.items):
            below = node.items[key]
        if below is None:
            return node
        node = below
    return node


def read_journey(path: Path) -> Located:
    """Read a journey; raises `LoopspecError` naming file, line and column."""
    node = read(path)
    try:
        journey = msgspec.convert(plain(node), Journey)
    except msgspec.ValidationError as err:
        told = str(err)
        at = PLACE.search(told)
        keys = tuple(
            int(part) if part.isdigit() else part
            for part in re.findall(r"[^.\[\]$]+", at[1] if at else "")
            if part != "..."
        )
        where = found(node, keys)
        fault = PLACE.sub("", told).replace("Object ", "this ").replace("object", "map")
        raise BadSpec(
            fault[0].lower() + fault[1:],
            place=f"{path}:{where.line}:{where.col}",
            remedy="docs/journeys.md lists the keys of a journey",
        ) from None
    located = Located(path, journey, node)
    _acts(located)
    return located


def _acts(located: Located) -> None:
    """At most one act in a step, and one that a beginning can have; raises `BadSpec`."""
    for number, step in enumerate(located.journey.steps):
        acts = step.acts()
        if len(acts) > 1:
            raise BadSpec(
                f"a step does one thing, and this one does {' and '.join(acts)}",
                place=located.place("steps", number),
                remedy="write a step for each of them",
            )
        if number == 0 and acts not in ([], ["say"], ["call"]):
            raise BadSpec(
                f"the first step begins the session, so there is nothing yet to {acts[0]}",
                place=located.place("steps", 0),
                remedy="begin with `say`, or with `then` alone when the inputs are enough",
            )
        during = step.during
        if during is not None and (during.do is None) == (during.say is None):
            raise BadSpec(
                "`during` needs either `do` or `say`", place=located.place("steps", number, "during")
            )


def schema() -> str:
    """The JSON Schema of a journey, as text."""
    made = msgspec.json.schema(Journey)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A journey of loopspec, version 1",
    }
    return json.dumps({**head, **made}, indent=2, ensure_ascii=False) + "\n"
