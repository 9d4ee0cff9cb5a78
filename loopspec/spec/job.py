"""Job: what the steps of one compilation share, and lenient readers over checked nodes.

Rules of this file:
1. Forms were checked by `shape` before; a reader gives the default for what is missing or wrong, so
   that one fault is reported once.
2. Places in the machine are those of keys, or of list items.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loopspec.machine.model import (
    AfterTimer,
    Field,
    Kind,
    ModelDecl,
    Place,
    State,
    ToolDecl,
    Transition,
)
from loopspec.spec import literals
from loopspec.spec.diagnose import Diagnostics, Located
from loopspec.spec.source import Entry, Node

_NO_CONFIG: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": False}


@dataclass(frozen=True)
class ToolInfo:
    """What the spec reader must know of an installed tool; `total` and `silence` are seconds.

    The words are those of `loopspec.hooks.Tool`. `probes`: the tool can tell after a crash whether
    a call happened, so a spec may choose `after_crash: probe`.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    effect: str = "irreversible"
    after_crash: str = "ask"
    paths: tuple[str, ...] = ()
    command: str = ""
    total: float = 600.0
    silence: float = 0.0
    config_schema: Mapping[str, Any] = field(default_factory=lambda: dict(_NO_CONFIG))
    probes: bool = False


@dataclass
class Job:
    """One compilation: what is given, what was found, and what has been made so far.

    `raised` are the events the spec raises, in order; `routes` the keys of each state's `on`.
    `typed`: the names of inputs and vars allow expressions to be checked. `source` is the text read.
    """

    found: Diagnostics
    root: Node
    kinds: Mapping[str, Kind]
    tools: Mapping[str, ToolInfo]
    inputs: dict[str, Field] = field(default_factory=dict)
    vars: dict[str, Field] = field(default_factory=dict)
    models: dict[str, ModelDecl] = field(default_factory=dict)
    declared: dict[str, ToolDecl] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    prompt_places: dict[str, Place] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    used: dict[str, Kind] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    timers: dict[str, AfterTimer] = field(default_factory=dict)
    raised: dict[str, None] = field(default_factory=dict)
    source: str = ""
    routes: dict[str, list[Entry]] = field(default_factory=dict)
    typed: bool = True

    @property
    def foreign(self) -> dict[str, str]:
        """The endings of the plugins' kinds in use, with the JSON Schema text of their data."""
        return {n: s for kind in self.used.values() for n, s in kind.endings.items() if s}


def place(at: Located) -> Place:
    """The machine's place of a node or key."""
    return Place(at.line, at.col)


def entries(node: Node | None, key: str) -> tuple[Entry, ...]:
    """The entries of the map under `key`, none when it is missing or no map."""
    value = node.get(key) if node is not None else None
    return value.entries if value is not None else ()


def items(node: Node | None, key: str) -> tuple[Node, ...]:
    """The items of the list under `key`, none when it is missing or no list."""
    value = node.get(key) if node is not None else None
    return value.items if value is not None else ()


def scalar(node: Node | None, key: str) -> Node | None:
    """The scalar under `key`, None when it is missing, empty or no scalar."""
    value = node.get(key) if node is not None else None
    return value if value is not None and value.kind == "scalar" and not value.empty else None


def text(node: Node | None, key: str, default: str = "") -> str:
    """The text under `key`."""
    value = scalar(node, key)
    return value.text if value is not None else default


def texts(node: Node | None, key: str) -> tuple[str, ...]:
    """The texts of the list under `key`."""
    return tuple(item.text for item in items(node, key) if item.kind == "scalar")


def count(node: Node | None, key: str, default: int = 0) -> int:
    """The whole number under `key`."""
    value = literals.count(text(node, key))
    return value if value is not None else default


def duration(node: Node | None, key: str, default: int = 0) -> int:
    """The duration under `key`, in microseconds."""
    value = literals.duration(text(node, key))
    return value if value is not None else default


def flag(node: Node | None, key: str) -> bool:
    """The truth value under `key`, false when it is missing."""
    value = scalar(node, key)
    return value is not None and value.value is True
