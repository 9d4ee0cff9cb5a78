"""Guards and assigned values: CEL, type-checked at load, evaluated without side effects.

Rules of this file:
1. A guard that errs is not false: `evaluate` raises `GuardError` and the caller tries nothing else.
2. `bool(Value)` is always true and runtime errors are values, so both type and value are checked.
3. CEL is stored as source; programs are compiled once per machine and event.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from loopspec.codec import canonical_json
from loopspec.machine.celtypes import MAX_DEPTH, Types, event_fields, too_deep
from loopspec.machine.celwords import complaint, first_line, type_word
from loopspec.machine.model import Field

MAX_SOURCE: Final = 2_000
MAX_VALUE: Final = 65_536
MAX_REPETITIONS: Final = 100
"""A pattern of `matches` is compiled at load, and `x{1000}` is a thousand times as large as `x`."""
_COUNTED: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+)")
_PATH: Final = re.compile(r"\b(?:event|vars|inputs|usage)(?:\.[A-Za-z_]\w*)+")
ROOTS: Final = ("inputs", "vars", "usage", "event")
MAX_SEEN: Final = 200
_WHOLE: Final = re.compile(r"-?[0-9]+")
_MACROS: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")
_LITERAL: Final = re.compile(
    r"""\b(duration|timestamp|int|uint|double|bool)\s*\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\)"""
    r"""|\.\s*(matches)\s*\(\s*([rR]?"(?:[^"\\]|\\.)*"|[rR]?'(?:[^'\\]|\\.)*')\s*\)"""
)
_WANTS: Final[Mapping[str, frozenset[str]]] = {
    "bool": frozenset({"BOOL"}),
    "string": frozenset({"STRING"}),
    "int": frozenset({"INT"}),
    "number": frozenset({"DOUBLE"}),
}


class GuardError(Exception):
    """An expression that could not be compiled or evaluated.

    `line` and `col` are the place in the expression, from 1 (0: unknown). `name` is the name that is
    not there and `known` are those that are.
    """

    def __init__(
        self, fault: str, raw: str = "", name: str = "", known: tuple[str, ...] = ()
    ) -> None:
        """`raw` is the library's own message, in which the place stands."""
        super().__init__(fault)
        found = _PLACE.search(raw)
        self.line, self.col = (int(found[1]), int(found[2])) if found else (0, 0)
        self.name, self.known = name, known


@dataclass(frozen=True)
class Wrong:
    """What is wrong with an expression at load, with the place in it (from 1; 0: unknown)."""

    fault: str
    line: int = 0
    col: int = 0
    name: str = ""
    known: tuple[str, ...] = ()


class Guards:
    """Compiled expressions of one machine."""

    def __init__(
        self, inputs: Mapping[str, Field], vars: Mapping[str, Field], foreign: Mapping[str, str]
    ) -> None:
        """`foreign` maps a plugin's ending to the JSON Schema text of its data."""
        self.types = Types(inputs, vars, foreign)
        self._inputs, self._vars, self._foreign = inputs, vars, foreign
        self._envs: dict[str, cel.Env] = {}
        self._programs: dict[tuple[str, str], cel.Expression] = {}

    def program(self, source: str, event: str | None) -> cel.Expression:
        """The compiled expression; raises `GuardError` in loopspec's words."""
        known = event if event is not None and event in self.types.event_types else ""
        found = self._programs.get((source, known))
        if found is None:
            if len(source) > MAX_SOURCE:
                raise GuardError(f"the expression is longer than {MAX_SOURCE} characters")
            try:
                found = self._env(known).compile(source)
            except RuntimeError as err:
                raise self._explained(str(err), source, event) from None
            self._programs[(source, known)] = found
        return found

    def evaluate(self, source: str, event: str | None, data: Mapping[str, Any]) -> Any:
        """The plain value of an expression; raises `GuardError` when it errs."""
        program = self.program(source, event)
        try:
            value = program.eval(data=data)
        except RuntimeError as err:
            raise GuardError(first_line(str(err))) from None
        if value.type().name() == "ERROR":
            raise GuardError(first_line(str(value.plain_value())))
        return value.plain_value()

    def holds(self, source: str, event: str | None, data: Mapping[str, Any]) -> bool:
        """Whether a guard holds; raises `GuardError` unless it gives a true or false."""
        value = self.evaluate(source, event, data)
        if not isinstance(value, bool):
            raise GuardError(f"gave {type(value).__name__}, not true or false")
        return value

    def assign(
        self, source: str, want: str, event: str | None, data: Mapping[str, Any]
    ) -> str | int | bool:
        """The value of an assignment as the snapshot keeps it; `number` and `json` as JSON text."""
        return stored(self.evaluate(source, event, data), want)

    def _env(self, event: str) -> cel.Env:
        """The typed environment in which expressions about `event` are compiled."""
        found = self._envs.get(event)
        if found is None:
            names = {
                "inputs": cel.Type("ls.Inputs"),
                "vars": cel.Type("ls.Vars"),
                "usage": cel.Type("ls.Usage"),
            }
            if event in self.types.event_types:
                names["event"] = cel.Type(self.types.event_types[event])
            found = cel.NewEnv(self.types.pool, variables=names)
            self._envs[event] = found
        return found

    def _explained(self, raw: str, source: str, event: str | None) -> GuardError:
        """A compiler's complaint in loopspec's words."""
        fields = {root: tuple(self._known(root, event)) for root in ROOTS}
        told = complaint(raw, source, event, fields)
        return GuardError(told.fault, raw, told.name, told.known)

    def _known(self, root: str, event: str | None) -> list[str]:
        """The names known below `root`."""
        if root == "inputs":
            return list(self._inputs)
        if root == "vars":
            return list(self._vars)
        if root == "event":
            return list(event_fields(event or "", self._foreign))
        from_usage: list[str] = [f.name for f in self._usage_fields()]
        return from_usage

    def _usage_fields(self) -> Any:
        """The field descriptors of the usage message."""
        return self.types.pool.FindMessageTypeByName("ls.Usage").fields


def stored(value: Any, want: str) -> str | int | bool:
    """A plain value as the snapshot keeps it; raises `GuardError` if the type is wrong."""
    if want == "bool" and isinstance(value, bool):
        return value
    if want == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if want == "string" and isinstance(value, str):
        return _small(value)
    if want == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise GuardError(f"gave {value}, but a finite number is wanted")
        return canonical_json(float(value))
    if want == "json":
        if too_deep(value):
            raise GuardError(f"the value is nested more than {MAX_DEPTH} deep")
        try:
            return _small(canonical_json(_whole(value)))
        except (TypeError, ValueError) as err:
            raise GuardError(f"the value is not JSON: {err}") from None
    raise GuardError(f"gave {type(value).__name__}, but {want} is wanted")


def _small(text: str) -> str:
    """The text, if it may stand in a snapshot: snapshots are written at every transition."""
    if len(text) > MAX_VALUE:
        raise GuardError(f"the value has {len(text)} characters; a var may hold {MAX_VALUE}")
    return text


def loaded(value: str | int | bool, want: str) -> Any:
    """A kept value as plain data for guards and texts."""
    return json.loads(value) if want in {"number", "json"} and isinstance(value, str) else value


def saw(source: str, plain: Mapping[str, Any]) -> str:
    """The values an expression reads as canonical JSON text, by path, for `explain`."""
    parts = []
    for path, names in paths_of(source):
        value: Any = plain
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        try:
            text = canonical_json(value)
            if len(text) > MAX_SEEN:
                text = f'"({len(text)} characters of JSON)"'
        except (ValueError, RecursionError):
            text = '"(no JSON)"'  # such as an infinite number; the guard itself will say so
        parts.append(f'"{path}":{text}')
    return f"{{{','.join(parts)}}}"


@lru_cache(maxsize=4_096)
def paths_of(source: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The dotted paths an expression names, sorted, each with its names."""
    return tuple((path, tuple(path.split("."))) for path in sorted(set(_PATH.findall(source))))


@lru_cache(maxsize=4_096)
def needs(source: str) -> tuple[frozenset[str], frozenset[str] | None]:
    """The roots an expression may read, and which fields of the event (None: it may read any)."""
    roots = frozenset(root for root in ROOTS if re.search(rf"\b{root}\b", source))
    named = re.findall(r"\bevent\b(?:\.([A-Za-z_]\w*))?", source)
    return roots, frozenset(named) if all(named) else None


@lru_cache(maxsize=32)
def _cached(
    inputs: tuple[tuple[str, Field], ...],
    vars: tuple[tuple[str, Field], ...],
    foreign: tuple[tuple[str, str], ...],
) -> Guards:
    """One set of message types per set of declarations, however many expressions are checked."""
    return Guards(dict(inputs), dict(vars), dict(foreign))


def check(
    source: str,
    want: str,
    inputs: Mapping[str, Field],
    vars: Mapping[str, Field],
    event: str | None,
    foreign: Mapping[str, str],
) -> Wrong | None:
    """What is wrong with an expression at load, None if nothing.

    `want` is `bool` for guards or a field type for assignments; `event` is the one event whose fields
    may be read, None where there is none.
    """
    guards = _cached(tuple(inputs.items()), tuple(vars.items()), tuple(foreign.items()))
    patterns = [m.group(4) for m in _LITERAL.finditer(source[:MAX_SOURCE]) if m.group(4)]
    if sum(map(_repetitions, patterns)) > MAX_REPETITIONS:  # before anything compiles them
        return Wrong(f"`matches`: patterns may repeat {MAX_REPETITIONS} times at most, all told")
    try:
        program = guards.program(source, event)
    except GuardError as err:
        return Wrong(str(err), err.line, err.col, err.name, err.known)
    if wrong := _literals(source, guards):
        return wrong
    gives = program.return_type().name()
    if want == "json" or gives == "DYN":
        if want != "bool":
            return None
        return Wrong("a guard must give true or false; compare the value")
    if gives not in _WANTS[want]:
        hint = "; write double(…)" if want == "number" and gives == "INT" else ""
        if gives == "INT" and _WHOLE.fullmatch(source.strip()):
            hint = f"; write {source.strip()}.0"
        word = type_word(gives.lower()).removeprefix("a ").removeprefix("an ").strip("`")
        if program.return_type().name().startswith("ls."):
            word = "a whole group of values"
        return Wrong(f"gives {word}, but {want} is wanted{hint}")
    return None


def _repetitions(pattern: str) -> int:
    """How often the counted repetitions of a pattern repeat, all told: each makes it that much larger."""
    return sum(int(high or low or 0) for low, high in _COUNTED.findall(pattern))


def _literals(source: str, guards: Guards) -> Wrong | None:
    """A literal inside an expression that would fail at every run, such as `duration('xx')`."""
    for found in _LITERAL.finditer(source):
        call, text, _, pattern = found.groups()
        alone = f"{call}({text})" if call else f"''.matches({pattern})"
        try:
            guards.evaluate(alone, None, {})
        except GuardError as err:
            at = source.count("\n", 0, found.start()) + 1
            col = found.start() - (source.rfind("\n", 0, found.start()) + 1) + 1
            shown = alone if call else pattern
            what = "fails whenever it is asked" if call else "is no regular expression"
            return Wrong(f"`{shown}` {what}: {first_line(str(err))}", at, col)
    return None


def constant(
    source: str,
    inputs: Mapping[str, Field],
    vars: Mapping[str, Field],
    event: str | None,
    foreign: Mapping[str, str],
) -> bool | None:
    """What a guard gives whatever the values are, None when it depends on them or errs.

    It is asked without any values: CEL's `&&` and `||` give an answer if one side decides it. Loops
    (`all`, `map`…) over literals could take long and are not tried.
    """
    if _MACROS.search(source):
        return None
    guards = _cached(tuple(inputs.items()), tuple(vars.items()), tuple(foreign.items()))
    try:
        value = guards.evaluate(source, event, {})
    except GuardError:
        return None
    return value if isinstance(value, bool) else None


def read_by(source: str) -> frozenset[tuple[str, str]]:
    """The inputs, vars, usage and event fields an expression names, as `(root, field)`."""
    return frozenset((p[0], p[1]) for p in (path.split(".") for path in _PATH.findall(source)))


def _whole(value: Any) -> Any:
    """Doubles that are whole numbers as integers: `Struct` turns every number into a double."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _whole(v) for k, v in value.items()}
    return value
