"""Machine: the compiled spec. Frozen plain data with a digest; no plugin code, no file handles.

Rules of this file:
1. A machine is complete: a session runs from it alone, whatever happens to the spec file.
2. No floats: shares are parts per million, money nano-USD, time microseconds.
3. Each thing a message may have to point at carries its `Place` in the YAML.
"""

import json
from functools import cached_property
from typing import Any, Final

import msgspec

from loopspec.codec import canonical_json, digest, encode
from loopspec.machine.rules import ContextRules as ContextRules
from loopspec.machine.rules import ContextWeights as ContextWeights
from loopspec.tokens import estimate

FORMAT: Final = 1
SEMANTICS: Final = 4


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the machine's parts."""


class Place(_Part, frozen=True):
    """Where in the YAML: 1-based line and column."""

    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        """`line:col`."""
        return f"{self.line}:{self.col}"


class Field(_Part, frozen=True):
    """A declared input or var.

    `type` is `string`, `int`, `bool`, `number` or `json`; `default` is JSON text, None when a value
    must be given. `privacy` is the class of an input (empty: public), see `machine.tiering`.
    """

    type: str
    default: str | None = None
    description: str = ""
    privacy: str = ""
    place: Place = Place()


class Action(_Part, frozen=True):
    """One action. `do` is `assign`, `say`, `raise`, `mark` or `log`.

    `name` is the var, event or mark; `text` is CEL for `assign` and Jinja2 for `say` and `log`; `to`
    is `person` or `model` for `say`.
    """

    do: str
    name: str = ""
    text: str = ""
    to: str = "person"
    place: Place = Place()


class Transition(_Part, frozen=True):
    """One transition, in document order. `id` is its index in the machine.

    `on` holds event descriptors (`model.replied`, `tool.*`, `*`); `always` has none. `guard` is CEL
    or empty. `target` is a state path or None (actions only). `internal` as in SCXML.
    """

    id: int
    source: str
    on: tuple[str, ...] = ()
    guard: str = ""
    target: str | None = None
    internal: bool = False
    actions: tuple[Action, ...] = ()
    place: Place = Place()


class Profile(_Part, frozen=True):
    """A way to ask a state's model: the name of its prompt (empty: none) and the tools it offers (None:
    all of the machine's)."""

    name: str
    prompt: str = ""
    tools: tuple[str, ...] | None = None


class State(_Part, frozen=True):
    """One state. `type` is `atomic`, `compound`, `parallel`, `history` or `final`.

    `config` is the kind's configuration as JSON text. `after` names the timers armed on entry.
    `default` is a history state's default target. `outcome` (`done` or `failed`) says what resting
    in a final state, or in one without a kind, means for whoever started the run. `smaller` are the
    profiles for windows that the prompt and all tools do not fit, in the order they are tried. Once the
    state was entered, the conversation is of the class `privacy` (empty: public).
    """

    path: str
    parent: str = ""
    type: str = "atomic"
    initial: str = ""
    deep: bool = False
    default: str = ""
    kind: str = ""
    config: str = "{}"
    model: str = ""
    prompt: str = ""
    boundary: str = ""
    entry: tuple[Action, ...] = ()
    exit: tuple[Action, ...] = ()
    transitions: tuple[int, ...] = ()
    after: tuple[str, ...] = ()
    outcome: str = "done"
    smaller: tuple[Profile, ...] = ()
    privacy: str = ""
    place: Place = Place()


class AfterTimer(_Part, frozen=True):
    """An `after` of a state: raises the event `id` when `delay` microseconds have passed."""

    id: str
    state: str
    delay: int
    clock: str = "wall"
    place: Place = Place()


class Kind(_Part, frozen=True):
    """A kind of state, as data a plugin declares.

    `shape`: `none` (waits), `one` (one effect) or `each` (one effect per runnable call).
    `effect`: which effect it emits (a tag of `loopspec.effects`, `perform` for a plugin's own, empty
    for `none`). `performer` does that effect. `endings` maps each event it can end with to the JSON
    Schema (text) of its data; empty text for events of loopspec itself. `offers` are commands it
    usually waits for. `rests`: why a run may stop here (`input`, `approval`, `interrupted`,
    `suspended` or empty). `takes_inbox`: takes the oldest waiting message on entry. `timer`: the
    configuration key that holds a duration after which `wait.over` is raised. `schema` is the JSON
    Schema (text) of its configuration keys; a text of the format `duration`, `size` or `usd` is written
    as in the language and compiled to microseconds, bytes or nano-USD; one of the format `model` names a
    declared model, which the performer may then ask (`World.ask`) while budgets allow; one of the format
    `template` is Jinja2, rendered when a work of the plugin's own begins. A schema may declare `model`,
    `prompt` or `tools`, which are loopspec's in other kinds. `conversation`: it uses the transcript.
    `repeatable`: after a crash the work is begun again; else it is claimed before, and lost.
    """

    name: str
    shape: str
    effect: str = ""
    performer: str = ""
    endings: dict[str, str] = {}
    offers: tuple[str, ...] = ()
    rests: str = ""
    takes_inbox: bool = False
    timer: str = ""
    schema: str = '{"type":"object","additionalProperties":false}'
    conversation: bool = False
    repeatable: bool = True
    doc: str = ""


class Tier(_Part, frozen=True):
    """One of the models behind a tiered declaration; see `machine.tiering`.

    `privacy` is the highest class it may see. `network`: it cannot be asked without one. `memory` is in
    bytes that must be free, `latency` in microseconds that must be left of the elapsed budget (0 each:
    asks for nothing). `tools`: it can propose calls. `window` in tokens (0: ask the tables). `params` is
    JSON text that goes over those of the declaration; a tier of rules holds its rules there.
    """

    name: str
    use: str
    privacy: str = "public"
    network: bool = True
    memory: int = 0
    latency: int = 0
    tools: bool = True
    window: int = 0
    params: str = "{}"
    place: Place = Place()


class ModelDecl(_Part, frozen=True):
    """A declared model. Times in microseconds, `window` in tokens (0: ask the provider's tables).

    A Retry-After over `longest` is not waited for; all waits of one call together take `budget` at
    most. After `breaker` failed attempts in a row (0: never) a model is left out for `cooldown`.
    `params` is JSON text passed to the provider (temperature, max_tokens…). `cache` is how long a
    reply may be replayed from the response cache, 0 for never.

    With `tiers`, `use` is empty. `escalate` are the reasons to go on to the next tier; after `failures`
    failed attempts, too (0: never). A reply does not hold that does not fit `reply_schema` (JSON Schema
    text, empty: any), or whose confidence is below `confidence` (parts per million). `privacy` is the
    least class of what it is asked. Work that waits for the network is given up after `expires` (0: it
    does not wait), and looks for it every `poll`.
    """

    name: str
    use: str
    fallbacks: tuple[str, ...] = ()
    connect: int = 15_000_000
    first_chunk: int = 60_000_000
    between_chunks: int = 90_000_000
    total: int = 600_000_000
    attempts: int = 5
    base: int = 1_000_000
    cap: int = 60_000_000
    longest: int = 300_000_000
    budget: int = 600_000_000
    breaker: int = 5
    cooldown: int = 300_000_000
    window: int = 0
    params: str = "{}"
    unpriced: str = "refuse"
    cache: int = 0
    tiers: tuple[Tier, ...] = ()
    escalate: tuple[str, ...] = ()
    failures: int = 0
    reply_schema: str = ""
    confidence: int = 0
    privacy: str = ""
    expires: int = 0
    poll: int = 30_000_000
    place: Place = Place()

    @property
    def shown(self) -> str:
        """What people are told of it: the model, or the names of its tiers."""
        return self.use or ", then ".join(tier.name for tier in self.tiers)


class ToolDecl(_Part, frozen=True):
    """A declared tool. `parameters` is the JSON Schema (text) of its arguments.

    `effect` is `read`, `write` or `irreversible`; `after_crash` is `rerun`, `probe` or `ask`; `paths`
    names the arguments that are paths in the work directory; `config` is JSON text for the tool.
    """

    name: str
    use: str
    description: str = ""
    parameters: str = '{"type":"object"}'
    effect: str = "irreversible"
    after_crash: str = "ask"
    paths: tuple[str, ...] = ()
    command: str = ""
    total: int = 600_000_000
    silence: int = 0
    config: str = "{}"
    place: Place = Place()


class Rule(_Part, frozen=True):
    """A rule of the envelope. Globs; empty `paths` or `commands` match any."""

    tools: tuple[str, ...]
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    reason: str = ""
    place: Place = Place()


class Authority(_Part, frozen=True):
    """The authority envelope: deny wins over ask, ask over allow; what no rule names is denied."""

    allow: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


class Guidance(_Part, frozen=True):
    """What the people of a repository tell every agent (`AGENTS.md`); prompts read it as `guidance`.

    `files` are the names looked for in the work directory and above it, `max_bytes` the most that all
    together may hold. `text` is what was found at the start of the session and `found` where, relative
    to the work directory: a session keeps the guidance it began with.
    """

    files: tuple[str, ...] = ("AGENTS.md",)
    max_bytes: int = 32_000
    text: str = ""
    found: tuple[str, ...] = ()
    place: Place = Place()


class Budgets(_Part, frozen=True):
    """What a session may consume; None is unlimited. `usd` in nano-USD, `elapsed` in µs awake."""

    turns: int | None = None
    tokens: int | None = None
    usd: int | None = None
    elapsed: int | None = None


def _where(place: Place) -> tuple[int, int]:
    """Sorts by place."""
    return place.line, place.col


class Machine(_Part, frozen=True, dict=True):
    """The compiled spec. Everything a session needs, in one value with one digest.

    Its maps are in the order of the document, also when it comes back from its canonical bytes, which
    sort their keys: parallel states are entered and tools shown to a model in that order.
    """

    name: str
    version: str
    initial: str
    states: dict[str, State]
    transitions: tuple[Transition, ...]
    kinds: dict[str, Kind] = {}
    inputs: dict[str, Field] = {}
    vars: dict[str, Field] = {}
    models: dict[str, ModelDecl] = {}
    tools: dict[str, ToolDecl] = {}
    prompts: dict[str, str] = {}
    prompt_places: dict[str, Place] = {}
    timers: dict[str, AfterTimer] = {}
    budgets: Budgets = Budgets()
    context: ContextRules = ContextRules()
    authority: Authority = Authority()
    guidance: Guidance | None = None
    description: str = ""
    file: str = ""
    format: int = FORMAT
    semantics: int = SEMANTICS

    def __post_init__(self) -> None:
        """Put the maps in the order of the document."""
        for name in ("states", "inputs", "vars", "models", "tools", "timers"):
            found = getattr(self, name)
            placed = sorted(found.items(), key=lambda item: _where(item[1].place))
            msgspec.structs.force_setattr(self, name, dict(placed))
        nowhere = Place()
        texts = sorted(
            self.prompts.items(), key=lambda item: _where(self.prompt_places.get(item[0], nowhere))
        )
        msgspec.structs.force_setattr(self, "prompts", dict(texts))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the machine's canonical bytes."""
        return digest(encode(self))

    @cached_property
    def order(self) -> dict[str, int]:
        """Where each state stands in the document."""
        return {path: n for n, path in enumerate(self.states)}

    @cached_property
    def lines(self) -> dict[str, frozenset[str]]:
        """Each state's path with those of its ancestors."""
        return {path: frozenset(self.ancestry(path)) for path in self.states}

    @cached_property
    def tool_tokens(self) -> dict[str, int]:
        """What each tool's schema takes of a window, by estimate."""
        return {name: estimate(canonical_json(self.tool_schema(name))) for name in self.tools}

    @cached_property
    def resting(self) -> dict[str, str]:
        """The states in which a run may rest, and why it may."""
        kinds = {path: self.kind_of(path) for path in self.states}
        return {path: kind.rests for path, kind in kinds.items() if kind and kind.rests}

    @cached_property
    def where(self) -> tuple[str, ...]:
        """The place of each transition in words, by its id."""
        return tuple(str(transition.place) for transition in self.transitions)

    def tool_schema(self, name: str) -> dict[str, Any]:
        """A declared tool as an OpenAI function tool."""
        tool = self.tools[name]
        parameters = json.loads(tool.parameters)
        told = {"name": name, "description": tool.description, "parameters": parameters}
        return {"type": "function", "function": told}

    def kind_of(self, path: str) -> Kind | None:
        """The kind of the state at `path`, None for a plain state."""
        state = self.states[path]
        return self.kinds[state.kind] if state.kind else None

    def ancestry(self, path: str) -> tuple[str, ...]:
        """`path` and its ancestors, innermost first."""
        out = []
        while path:
            out.append(path)
            path = self.states[path].parent
        return tuple(out)
