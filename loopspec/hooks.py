"""Hooks: everything a plugin may bring. Each docstring is the manual for its author.

A plugin is a module (or object) with some of the functions of `HookSpecs`, marked with `@hook`, and
an entry point in the group `loopspec`. The state kinds, tools and performers that loopspec ships
come through this same door.

Rules of this file:
1. A kind is data; only performers and tools hold code, and only drivers call them.
2. A performer answers each effect with exactly one event, whatever happens.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pluggy

from loopspec.effects import Effect
from loopspec.events import Kept, Live
from loopspec.machine.model import Kind, Machine
from loopspec.snapshot import Call, Snapshot

PROJECT: Final = "loopspec"
hook: Final = pluggy.HookimplMarker(PROJECT)
spec: Final = pluggy.HookspecMarker(PROJECT)


class ToolFailed(Exception):
    """A tool could not do what it was asked; the message is what the model is told."""


class People(Protocol):
    """How a performer reaches a person. Absent when nobody is there to answer."""

    async def answer(self, question: str) -> str:
        """Ask the person a question in plain text and give back what they said."""


def _everything(path: str) -> bool:
    """Nothing is hidden."""
    return True


@dataclass(frozen=True)
class ToolContext:
    """What a tool may touch while it runs.

    `workdir` is the only directory it may use; `emit` shows a piece of output at once and keeps it
    as partial output; `config` is the tool's own keys in the spec; `people` is None without anybody.
    `sees` says whether the envelope lets this call see a path (relative to `workdir`, posix form): a
    tool that walks a tree must leave out what it does not. `call` is the call's name on this machine,
    the same when it is run again or probed after a crash: a key for whoever must not act twice.
    """

    workdir: Path
    emit: Callable[[str], None]
    config: Mapping[str, Any] = field(default_factory=dict)
    people: People | None = None
    call: str = ""
    sees: Callable[[str], bool] = _everything


ToolRun = Callable[[ToolContext, dict[str, Any]], Awaitable[str]]
Preview = Callable[[ToolContext, dict[str, Any]], str]
Probe = Callable[[ToolContext, dict[str, Any]], Awaitable[bool | None]]


@dataclass(frozen=True)
class Tool:
    """A tool a spec may `use`.

    `parameters` is the JSON Schema of its arguments: loopspec validates before `run` is called.
    `effect` is `read` (changes nothing), `write` (changes the workspace, can be rolled back) or
    `irreversible`. `after_crash` says what a restart does when it finds the call begun and without an
    answer: `rerun`, `probe` (ask `probe` whether it happened) or `ask` (a person); left out, it follows
    from the rest: `rerun` for what only reads, `probe` where there is one, else `ask`. `paths` names the
    arguments that are paths below the work directory, `command` the one that is a command line: rules
    of the envelope match on them. `total` and `silence` are seconds; 0 silence is off.

    `config_schema` is the JSON Schema of the tool's own keys (`with`). A text of the format `duration`,
    `size` or `usd` is written as in the language (`90s`, `64KB`, `2.50`) and arrives in `config` as
    microseconds, bytes or nano-USD.

    `run` gives back the whole output as text; it raises `ToolFailed` with what the model should know;
    it may be cancelled at any await and must then leave nothing running. `preview` shows a person what
    the call would do (a diff), without doing it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: ToolRun
    effect: str = "irreversible"
    after_crash: str = ""
    paths: tuple[str, ...] = ()
    command: str = ""
    total: float = 600.0
    silence: float = 0.0
    preview: Preview | None = None
    probe: Probe | None = None
    config_schema: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "additionalProperties": False}
    )

    def __post_init__(self) -> None:
        """Settle what a restart does, if it was left out."""
        if not self.after_crash:
            careful = "probe" if self.probe is not None else "ask"
            object.__setattr__(self, "after_crash", "rerun" if self.effect == "read" else careful)


class World(Protocol):
    """What a performer sees of the session and the machine it runs on."""

    machine: Machine
    workdir: Path
    people: People | None

    @property
    def snapshot(self) -> Snapshot:
        """Where the session stands now."""

    @property
    def items(self) -> "tuple[Any, ...]":
        """The view: `loopspec.context.transcript.Item` values, oldest first."""

    def args(self, call: Call) -> str:
        """The canonical JSON arguments of a call, read from the journal."""

    def blob(self, digest: str) -> bytes:
        """A blob's bytes; raises `loopspec.errors.NotFound`."""

    def put_blob(self, data: bytes) -> str:
        """Keep bytes for good; gives back their digest."""

    def watch(self, event: Live) -> None:
        """Show a live event at once to whoever watches. Never blocks, never raises."""

    def partial(self, effect: str, data: bytes) -> None:
        """Keep what is open of a stream, so that a crash costs little. Never blocks."""

    def last_partial(self, effect: str) -> bytes:
        """What an earlier process kept of this effect's stream (empty: nothing)."""

    def redact(self, text: str) -> str:
        """`text` without the secrets of the environment."""

    def tool(self, use: str) -> "Tool":
        """The tool a spec `use`s; raises `loopspec.errors.NotFound` when its plugin is gone."""

    def draw(self) -> int:
        """A fresh draw in 0..1,000,000 for jitter."""

    @property
    def directory(self) -> Path:
        """The store's own directory, for shadow repositories and caches."""


class Performer(Protocol):
    """Does one sort of effect in the world and answers with an event.

    Must not raise for what can go wrong in the world: failures are events. When its task is
    cancelled it stops at once, leaves nothing running, and gives back `EffectCancelled` with what was
    done so far.
    """

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Do `effect` and give back its one answer."""


class HookSpecs:
    """The doors a plugin may open. All are optional."""

    @spec
    def loopspec_kinds(self) -> list[Kind]:  # type: ignore[empty-body]
        """Kinds of state, as data. Names must be new."""

    @spec
    def loopspec_tools(self) -> list[Tool]:  # type: ignore[empty-body]
        """Tools that specs can `use` by name (`files.read`). Importing them must be cheap."""

    @spec
    def loopspec_performers(self) -> dict[str, Callable[[], Performer]]:  # type: ignore[empty-body]
        """Factories of performers by name; called once per session, heavy imports belong inside."""
