"""Hooks: everything a plugin may bring. Each docstring is the manual for its author.

A plugin is a module (or object) with some of the functions of `HookSpecs`, marked with `@hook`, and
an entry point in the group `loopspec`:

    [project.entry-points.loopspec]
    mine = "loopspec_mine"

Everything loopspec ships (kinds, tools, performers, stores, observers, offline models) comes through
this same door. An author imports from `loopspec.hooks` (all names he needs stand here), from
`loopspec.errors` the faults he raises, and from `loopspec.testing` what proves his work;
`loopspec new plugin NAME` writes a package to begin with, `docs/plugins.md` goes through it.

Rules of this file:
1. A kind is data; only performers, tools and model providers hold code, and only drivers call them.
2. A performer answers each effect with exactly one event, whatever happens.
3. An observer sees everything and changes nothing.
4. Loading a plugin is cheap: what is heavy is imported by the factories, when a session needs it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pluggy

from loopspec.asked import AskFailed as AskFailed
from loopspec.asked import Reply as Reply
from loopspec.effects import Effect as Effect
from loopspec.effects import Perform as Perform
from loopspec.events import EffectAnswered as EffectAnswered
from loopspec.events import EffectCancelled as EffectCancelled
from loopspec.events import EffectFailed as EffectFailed
from loopspec.events import Kept as Kept
from loopspec.events import Live
from loopspec.events import Progress as Progress
from loopspec.events import TokenUsage as TokenUsage
from loopspec.journal.entry import Entry
from loopspec.machine.model import Kind as Kind
from loopspec.machine.model import Machine
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


def _nothing(handle: str) -> str:
    """There is no conversation to look into."""
    raise ToolFailed("nothing can be recalled here")


@dataclass(frozen=True)
class ToolContext:
    """What a tool may touch while it runs.

    `workdir` is the only directory it may use; `emit` shows a piece of output at once and keeps it
    as partial output; `config` is the tool's own keys in the spec; `people` is None without anybody.
    `sees` says whether the envelope lets this call see a path (relative to `workdir`, posix form): a
    tool that walks a tree must leave out what it does not. `call` is the call's name on this machine,
    the same when it is run again or probed after a crash: a key for whoever must not act twice. `recall`
    gives the whole text of an item of this conversation by its handle; it reads the disk, and raises
    `loopspec.errors.NotFound` for a handle that names nothing.
    """

    workdir: Path
    emit: Callable[[str], None]
    config: Mapping[str, Any] = field(default_factory=dict)
    people: People | None = None
    call: str = ""
    sees: Callable[[str], bool] = _everything
    recall: Callable[[str], str] = _nothing


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

    `config_schema` is the JSON Schema of the tool's own keys (`with`); `loopspec schema --merged` gives
    it to editors, so its descriptions and examples are worth writing. A text of the format `duration`,
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
        """Show a live event at once to whoever watches. Never blocks, never raises.

        Secrets of the environment are taken out here, also one that is cut in two by the pieces.
        """

    def partial(self, effect: str, data: bytes) -> None:
        """Keep what is open of a stream, so that a crash costs little. Never blocks."""

    def last_partial(self, effect: str) -> bytes:
        """What an earlier process kept of this effect's stream (empty: nothing)."""

    def partial_of(self, seq: int) -> str:
        """The text of the reply that broke off in the journal entry `seq`, an `attempt.failed`.

        Reads the disk. Raises `loopspec.errors.NotFound` for any other entry.
        """

    def recall(self, handle: str) -> str:
        """The whole text of an item of this session, whatever stands in the view for it.

        Reads the disk. Raises `loopspec.errors.NotFound` for a handle that names nothing.
        """

    def redact(self, text: str) -> str:
        """`text` without the secrets of the environment."""

    def tool(self, use: str) -> "Tool":
        """The tool a spec `use`s; raises `loopspec.errors.NotFound` when its plugin is gone."""

    async def ask(
        self, effect: Effect, model: str, messages: Sequence[Mapping[str, str]], system: str = ""
    ) -> Reply:
        """Ask a model that the spec declares, once, with no tools.

        `effect` is the one being performed: the reply streams to whoever watches under its id, and what
        is consumed counts in the session's budgets, also when the performer then fails or is cancelled.
        `model` is the declared name; the configuration of the effect's state must name it, in a text its
        kind's schema marks with `"format": "model"`, else nobody could have looked at its key and price
        before the run. `messages` are `{"role": "user" | "assistant", "content": …}`, `system` the system
        text. Deadlines, `params` and `cache` are those of the declaration; its `retry` and `fallbacks`
        are for states of kind `model`.

        Raises `AskFailed`; uncaught, the effect fails with its words. A cancel goes through. A budget is
        looked at before the effect begins, not between two askings: ask a bounded number of times.
        """

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


class StoreFactory(Protocol):
    """Opens a store: what `--store scheme:WHERE` and LOOPSPEC_STORE name."""

    def __call__(self, where: str, *, readonly: bool) -> Any:
        """The store at `where` (what follows `scheme:`), a `loopspec.stores.base.Store`.

        Raises `loopspec.errors.StoreError` with one clear line. `readonly`: nothing may be written.
        """


@dataclass(frozen=True)
class Watched:
    """What an observer is told when a run begins.

    `snapshot` is where the session stood before the first entry the observer will see: empty (`seq`
    -1) in a fresh session, which is seen from entry 0 on.
    """

    session: str
    machine: Machine
    snapshot: Snapshot


class Observer(Protocol):
    """Watches a session's run: every entry once committed, every live event.

    It is called in a thread of its own, behind a bounded queue, with copies: it can change nothing
    and never slows the loop. One that is too slow loses live events first, then entries (`seq` shows
    the gap). One that raises is named, once, and not called again. When a run ends it has five
    seconds for what it still has to do.
    """

    def begin(self, run: Watched) -> None:
        """A process takes the session up: a fresh one, or a resumed one."""

    def kept(self, entry: Entry) -> None:
        """An entry was committed: its event, the effects that start now, what changed."""

    def live(self, event: Live) -> None:
        """A piece of a stream, or a word about what goes on. Never in the journal."""

    def end(self, reason: str) -> None:
        """The run is over: `finished`, `input`, `approval`, `suspended`, … or `broken`."""


@dataclass(frozen=True)
class Piece:
    """A piece of a model's stream; one of its parts is set.

    `call` is a proposed call's index with its tool name (first piece only) and a piece of its argument
    text. `usage` is what the reply consumed (`cost` in nano-USD, None when unknown), told once;
    `finish` is the reason given at the end: `stop`, `tool_calls`, `length`, `content_filter`. A stream
    that ends without one is taken for cut off. `signature` signs the thinking and is sent back.
    `confidence` is how sure the model is of the reply, in parts per million, where it says so.
    """

    text: str = ""
    thinking: str = ""
    signature: str = ""
    call: tuple[int, str, str] | None = None
    usage: TokenUsage | None = None
    finish: str = ""
    confidence: int = -1


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a model before it is asked.

    `window`: the most input tokens, 0 for unknown. `priced`: whether the `cost` of its usage is known
    (a spec with a usd budget is refused otherwise). `key`: the environment variable it needs, empty
    for none; a run without it is refused before it starts. `prefill`: whether it goes on from an
    assistant's message at the end of what it is asked, and answers with what follows, so that a reply
    that broke off need not be made again.
    """

    window: int = 0
    priced: bool = False
    key: str = ""
    prefill: bool = False


@dataclass(frozen=True)
class ModelAsk:
    """One attempt: the model's `name` (what follows the prefix), messages and tools in the form of
    OpenAI's chat API, and the spec's `params`."""

    name: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


class ProviderFailed(Exception):
    """An attempt failed as an HTTP answer would; `step` decides by `status` whether to try again.

    408, 409, 429 and 5xx are tried again, never before `retry_after` seconds; 401 and 403 are a key
    that is refused, 400 a request that is. A message that says the context is too long makes the loop
    compact.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        """Say what went wrong."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class ModelProvider(Protocol):
    """Models of one prefix: `use: prefix/name`. Deadlines, retries and redaction are loopspec's."""

    def facts(self, name: str) -> ModelFacts:
        """What is known about a model; raises `loopspec.errors.LoopspecError` if it cannot be used."""

    def stream(self, ask: ModelAsk) -> AsyncIterator[Piece]:
        """An async generator of the reply's pieces; raises `ProviderFailed`.

        It is closed at any piece (interrupt, deadline) and must then leave nothing open.
        """


class AsksWindow(Protocol):
    """What a model provider may have besides: the window is asked of a server, not read from a table."""

    def window(self, name: str, params: Mapping[str, Any]) -> int:
        """The most input tokens the model takes now, 0 if nobody says; for it `facts` need not know.

        Called before a session begins, and when a person chooses the model: it may ask a server, for a
        few seconds at most. `params` are those of the spec. Raises `loopspec.errors.LoopspecError` if the
        model cannot be used so.
        """


class HookSpecs:
    """The doors a plugin may open. All are optional."""

    @spec
    def loopspec_kinds(self) -> list[Kind]:  # type: ignore[empty-body]
        """Kinds of state, as data. Names must be new. A kind of your own has `effect="perform"`."""

    @spec
    def loopspec_tools(self) -> list[Tool]:  # type: ignore[empty-body]
        """Tools that specs can `use` by name (`files.read`). Importing them must be cheap."""

    @spec
    def loopspec_performers(self) -> dict[str, Callable[[], Performer]]:  # type: ignore[empty-body]
        """Factories of performers by name; called once per session, heavy imports belong inside."""

    @spec
    def loopspec_stores(self) -> dict[str, StoreFactory]:  # type: ignore[empty-body]
        """Factories of stores by scheme: `--store scheme:WHERE` opens one."""

    @spec
    def loopspec_observers(self) -> dict[str, Callable[[], Observer]]:  # type: ignore[empty-body]
        """Factories of observers by name: `--observe NAME` or LOOPSPEC_OBSERVE switches them on.

        Called once per run; raise `loopspec.errors.LoopspecError` if it cannot be used here.
        """

    @spec
    def loopspec_models(self) -> dict[str, Callable[[], ModelProvider]]:  # type: ignore[empty-body]
        """Factories of model providers by prefix, for `use: prefix/name`; called once per process."""
