"""Forms: what a value may look like. The algebra from which both parser and schema are made.

Rules of this file:
1. A form is plain data; `shape` reads documents by it and `schema` writes JSON Schema from it.
2. A form is chosen by the kind of the node (scalar, map, list) alone, never by trial and error.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from loopspec.spec.literals import MAX_INT

SLUG: Final = "[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?"
NAME: Final = "[A-Za-z][A-Za-z0-9_-]{0,63}"
VARIABLE: Final = "[A-Za-z_][A-Za-z0-9_]{0,63}"
STATE: Final = "[a-z][a-z0-9_]{0,63}"
EVENT: Final = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*"
FILE: Final = r"\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*(/\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*)*"
DESCRIPTOR: Final = rf"\*|{EVENT}(\.\*)?"


@dataclass(frozen=True)
class Text:
    """Text. `what` names it in messages; `pattern` must match all of it; `choices` are all.

    `code` is the diagnostic for a text that does not fit. `loose`: written without quotes it may
    look like a number or a truth value (`guard: true`) and is still text. `meanings` says of each
    choice, in their order, what it means.
    """

    what: str = "text"
    pattern: str = ""
    choices: tuple[str, ...] = ()
    code: str = "LS104"
    loose: bool = False
    meanings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`; with `units` also `500k` and `1M`."""

    least: int = 0
    most: int = MAX_INT
    units: bool = False


@dataclass(frozen=True)
class Version:
    """The version of the language: the number 1."""


@dataclass(frozen=True)
class Duration:
    """A duration such as `90s`, at least `least` microseconds."""

    least: int = 1


@dataclass(frozen=True)
class Usd:
    """An amount of USD above zero."""


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1."""


@dataclass(frozen=True)
class Flag:
    """`true` or `false`."""


@dataclass(frozen=True)
class Json:
    """Any JSON value."""


@dataclass(frozen=True)
class Bag:
    """A map of free JSON values."""


@dataclass(frozen=True)
class Many:
    """A list with at least `least` items."""

    item: "Form"
    least: int = 0


@dataclass(frozen=True)
class Named:
    """A map from names to values; `names` says what a name may be."""

    names: Text
    value: "Form"
    least: int = 0


@dataclass(frozen=True)
class Record:
    """A map with the known keys of the table called `table`."""

    table: str


@dataclass(frozen=True)
class Either:
    """One form per kind of node; a kind without a form is refused."""

    scalar: "Form | None" = None
    map: "Form | None" = None
    list: "Form | None" = None


Form: TypeAlias = (
    Text | Whole | Version | Duration | Usd | Share | Flag | Json | Bag | Many | Named | Record | Either
)


def choice(meanings: dict[str, str], what: str = "a choice") -> Text:
    """The text of one of the given choices; each comes with what it means."""
    return Text(what, choices=tuple(meanings), meanings=tuple(meanings.values()))


@dataclass(frozen=True)
class Key:
    """A key of a table: its value's form, what it means, an example as JSON text.

    `default` is what holds without the key, as JSON text; empty where there is no such value.
    """

    name: str
    form: Form
    doc: str
    example: str
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class Table:
    """A map's known keys. `reserved` ones belong to later versions.

    `single`: exactly one key at a time. `open`: further keys belong to the state's kind. `either`: one of
    these keys at least is needed.
    """

    name: str
    doc: str
    keys: tuple[Key, ...]
    reserved: tuple[str, ...] = ()
    single: bool = False
    open: bool = False
    either: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, in order."""
        return tuple(key.name for key in self.keys)

    def key(self, name: str) -> Key | None:
        """The key called `name`."""
        return next((key for key in self.keys if key.name == name), None)
