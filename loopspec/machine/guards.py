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
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from loopspec.codec import canonical_json
from loopspec.machine.celtypes import MAX_DEPTH, Types, event_fields, too_deep
from loopspec.machine.model import Field

MAX_SOURCE: Final = 2_000
MAX_VALUE: Final = 65_536
_PATH: Final = re.compile(r"\b(?:event|vars|inputs|usage)(?:\.[A-Za-z_]\w*)+")
_UNDEFINED: Final = re.compile(r"undefined field '([^']*)' not found in struct 'ls\.([^']*)'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD: Final = re.compile(r"no matching overload for '_?([^'_]*)_?' applied to '\(([^']*)\)'")
_WANTS: Final[Mapping[str, frozenset[str]]] = {
    "bool": frozenset({"BOOL"}),
    "string": frozenset({"STRING"}),
    "int": frozenset({"INT"}),
    "number": frozenset({"DOUBLE"}),
}


class GuardError(Exception):
    """An expression that could not be compiled or evaluated."""


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
                raise GuardError(self._explain(str(err), event)) from None
            self._programs[(source, known)] = found
        return found

    def evaluate(self, source: str, event: str | None, data: Mapping[str, Any]) -> Any:
        """The plain value of an expression; raises `GuardError` when it errs."""
        program = self.program(source, event)
        try:
            value = program.eval(data=data)
        except RuntimeError as err:
            raise GuardError(_first_line(str(err))) from None
        if value.type().name() == "ERROR":
            raise GuardError(_first_line(str(value.plain_value())))
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

    def _explain(self, raw: str, event: str | None) -> str:
        """A compiler's complaint in loopspec's words."""
        if match := _UNDEFINED.search(raw):
            field, where = match.groups()
            root = where.lower() if where in {"Inputs", "Vars", "Usage"} else "event"
            known = self._known(root, event)
            owner = f"`{event}`" if root == "event" else f"`{root}`"
            return f"`{root}.{field}`: {owner} has no such field; it has {_listing(known)}"
        if match := _UNDECLARED.search(raw):
            name = match.group(1)
            if name == "event":
                return "`event` is known only where exactly one event leads here; use vars instead"
            return f"`{name}` is not known here; use inputs, vars, usage or event"
        if match := _OVERLOAD.search(raw):
            op, kinds = match.groups()
            hint = "; write the number with a point, such as 1.0" if "double" in kinds else ""
            return f"`{op}` cannot be applied to {kinds.replace(', ', ' and ')}{hint}"
        return _first_line(raw)

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


def seen(source: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The values an expression read, by path, for `explain`."""
    out: dict[str, Any] = {}
    for path in dict.fromkeys(_PATH.findall(source)):
        value: Any = plain
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        try:
            text = canonical_json(value)
        except (ValueError, RecursionError):
            value = text = "(no JSON)"  # such as an infinite number; the guard itself will say so
        out[path] = value if len(text) <= 200 else f"({len(text)} characters of JSON)"
    return out


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
) -> str | None:
    """What is wrong with an expression at load, None if nothing.

    `want` is `bool` for guards or a field type for assignments; `event` is the one event whose fields
    may be read, None where there is none.
    """
    guards = _cached(tuple(inputs.items()), tuple(vars.items()), tuple(foreign.items()))
    try:
        program = guards.program(source, event)
    except GuardError as err:
        return str(err)
    gives = program.return_type().name()
    if want == "json" or gives == "DYN":
        return None if want != "bool" else "a guard must give true or false; compare the value"
    if gives not in _WANTS[want]:
        hint = "; write double(…)" if want == "number" and gives == "INT" else ""
        return f"gives {gives.lower()}, but {want} is wanted{hint}"
    return None


def _whole(value: Any) -> Any:
    """Doubles that are whole numbers as integers: `Struct` turns every number into a double."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _whole(v) for k, v in value.items()}
    return value


def _listing(names: list[str]) -> str:
    """`a, b and c`, or `no fields`."""
    if not names:
        return "no fields"
    return ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]


def _first_line(text: str) -> str:
    """The first line of a library's message without its prefix."""
    line = text.splitlines()[0] if text else "failed"
    return re.sub(r"^(?:[A-Z_]+: )?(?:ERROR: <input>:(\d+):(\d+): )?", "", line).strip()
