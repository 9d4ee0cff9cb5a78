"""Values for a simulated world: JSON that fits a schema, and JSON that does not.

Rules of this file:
1. A generator is a guess; what it gave is held against the schema with the same validator that tools
   are run with, so `valid` is never an opinion of this file.
2. Pools are made once per schema, from a generator of their own: drawing from one costs nothing.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from loopspec.codec import args_hash, canonical_json, encode
from loopspec.machine.model import Field, Machine
from loopspec.tools.arguments import validate

_DEPTH: Final = 6
_TRIES: Final = 40
_SIZE: Final = 6
_WORDS: Final = ("a", "some text", "x = 1", "naïve ☂", "0", "two\nlines", "word " * 40)
_PATHS: Final = (
    *("src/app.py", "README.md", "docs/a/b.txt", ".env", ".git/config", "secret/key", "private/x"),
    *("../outside", "/etc/passwd", ".", "src", "list.txt"),
)
_COMMANDS: Final = ("ls", "pytest -q", "git status", "rm -rf build", "echo a && echo b", "cat x | wc -l")
_FORMATS: Final = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "time": "12:00:00Z",
    "email": "a@example.org",
    "uri": "https://example.org/a?b=c",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "ipv4": "192.0.2.1",
    "hostname": "example.org",
}


@dataclass(frozen=True)
class Pool:
    """Canonical JSON texts: `good` fit the schema, `bad` do not. Either may be empty."""

    good: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass
class Pools:
    """What models and plugins say in a simulated world of one machine.

    `tools` holds arguments by tool, `endings` data by a kind's ending, `inputs` one set of inputs.
    By the hash of arguments, `texts` are those and `faults` what is wrong with them, empty for those
    that fit. `machine` is the machine's canonical bytes.
    """

    machine: bytes = b""

    tools: dict[str, Pool] = field(default_factory=dict)
    endings: dict[tuple[str, str], Pool] = field(default_factory=dict)
    inputs: str = "{}"
    texts: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def pools(machine: Machine) -> Pools:
    """The pools of a machine, made once; the same machine gives the same pools."""
    found = _POOLS.get(machine.digest)
    if found is None:
        if len(_POOLS) >= _KEPT:
            _POOLS.clear()
        found = _POOLS[machine.digest] = _pools(machine)
    return found


def _pools(machine: Machine) -> Pools:
    """Make the pools of a machine."""
    made = Pools(machine=encode(machine), inputs=inputs_of(machine.inputs))
    for name, tool in sorted(machine.tools.items()):
        dice = random.Random(f"{machine.digest}:{name}")
        given: dict[str, tuple[str, ...]] = dict.fromkeys(tool.paths, _PATHS)
        if tool.command:
            given[tool.command] = _COMMANDS
        pool = made.tools[name] = pool_of(tool.parameters, dice, given)
        for text in (*pool.good, *pool.bad):
            key = args_hash(name, text)
            made.texts[key] = text
            made.faults[key] = validate(tool.parameters, json.loads(text))
    for kind in machine.kinds.values():
        for ending, schema in sorted(kind.endings.items()):
            if schema:
                dice = random.Random(f"{machine.digest}:{kind.name}:{ending}")
                made.endings[kind.name, ending] = pool_of(schema, dice, {})
    return made


_POOLS: Final[dict[str, Pools]] = {}
_KEPT: Final = 64
"""Machines whose pools are kept: a test suite may simulate many."""


def inputs_of(declared: Mapping[str, Field]) -> str:
    """Inputs for a run, as canonical JSON: the defaults, and something for what has none."""
    made = {"string": "something", "int": 3, "bool": True, "number": 1.5, "json": {"a": [1]}}
    values = {
        name: made[one.type] if one.default is None else json.loads(one.default)
        for name, one in declared.items()
    }
    return canonical_json(values)


def pool_of(schema_text: str, dice: random.Random, given: Mapping[str, tuple[str, ...]]) -> Pool:
    """Objects that fit a JSON Schema (text), and objects that do not.

    `given` names properties (by `Name`) whose texts are taken from a list.
    """
    schema = json.loads(schema_text)
    good: list[str] = []
    bad: list[str] = []
    for _ in range(_TRIES):
        value = _value(schema, schema, dice, given, _DEPTH)
        value = value if isinstance(value, dict) else {}
        for one in (value, _spoiled(value, dice)):
            text = canonical_json(one)
            into = bad if validate(schema_text, one) else good
            if len(into) < _SIZE and text not in into:
                into.append(text)
    return Pool(tuple(good), tuple(bad))


def _spoiled(value: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """An object with one thing wrong, as models get them wrong: a key too few or too many, a type."""
    made = dict(value)
    how = dice.randrange(3)
    if made and how:
        key = dice.choice(sorted(made))
        if how == 1:
            del made[key]
        else:
            made[key] = [made[key]] if not isinstance(made[key], list) else "text"
    else:
        made["unheard_of"] = 1
    return made


def _value(
    schema: Any, root: Any, dice: random.Random, given: Mapping[str, tuple[str, ...]], depth: int
) -> Any:
    """A guess at a value that fits `schema`, whose references lead into `root`."""
    if not isinstance(schema, dict) or depth <= 0:
        return {} if schema is root else "text"
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return dice.choice(schema["enum"])
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        return _value(_follow(root, reference), root, dice, given, depth - 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _value({**_without(schema, key), **dice.choice(schema[key])}, root, dice, given, depth)
    if schema.get("allOf"):
        return _value(_merged(_without(schema, "allOf"), schema["allOf"]), root, dice, given, depth)
    kind = schema.get("type", "object" if "properties" in schema or schema is root else "string")
    match dice.choice(kind) if isinstance(kind, list) else kind:
        case "object":
            return _object(schema, root, dice, given, depth)
        case "array":
            count = max(schema.get("minItems", 0), min(dice.randint(0, 3), schema.get("maxItems", 3)))
            items = schema.get("items", {})
            return [_value(items, root, dice, given, depth - 1) for _ in range(count)]
        case "integer":
            return _number(schema, dice, whole=True)
        case "number":
            return _number(schema, dice, whole=False)
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
        case _:
            return _text(schema, dice)


def _object(
    schema: Any, root: Any, dice: random.Random, given: Mapping[str, tuple[str, ...]], depth: int
) -> dict[str, Any]:
    """An object: what is required, and now and then what is not."""
    required = schema.get("required", ())
    made: dict[str, Any] = {}
    for name, inner in schema.get("properties", {}).items():
        if name not in required and dice.random() < 0.5:
            continue
        kind = inner.get("type") if isinstance(inner, dict) else None
        if name in given and kind in (None, "string"):
            made[name] = dice.choice(given[name])
        elif name in given and kind == "array":
            made[name] = [dice.choice(given[name])]
        else:
            made[name] = _value(inner, root, dice, given, depth - 1)
    for name in required:
        made.setdefault(name, "text")
    return made


def _number(schema: Any, dice: random.Random, *, whole: bool) -> int | float:
    """A number within its bounds."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 20))
    step = schema.get("multipleOf", 1)
    made = dice.randint(int(low), max(int(low), int(high)))
    made = made if isinstance(step, float) else made // step * step
    return int(made) if whole else made + 0.5 if made + 0.5 <= high else float(made)


def _text(schema: Any, dice: random.Random) -> str:
    """A text of its format and length."""
    known = _FORMATS.get(schema.get("format", ""))
    examples = [e for e in schema.get("examples", ()) if isinstance(e, str)]
    made: str = known or dice.choice([*_WORDS, *examples])
    low, high = int(schema.get("minLength", 0)), int(schema.get("maxLength", 10_000))
    return (made + "x" * max(0, low - len(made)))[:high]


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The schema without one key."""
    return {k: v for k, v in schema.items() if k != key}


def _merged(schema: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
    """One schema that asks for what all parts ask for (as far as keys can be put together)."""
    made = dict(schema)
    for part in parts:
        for key, value in part.items() if isinstance(part, dict) else ():
            old = made.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                made[key] = {**old, **value}
            elif isinstance(old, list) and isinstance(value, list) and key == "required":
                made[key] = [*old, *value]
            else:
                made[key] = value
    return made


def _follow(root: Any, reference: str) -> Any:
    """What a reference within the document points at, nothing if it leads nowhere."""
    here = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            key = part.replace("~1", "/").replace("~0", "~")
            here = here.get(key) if isinstance(here, dict) else None
    return here
