"""Schemas: JSON Schemas from outside, applied within a limit of time.

Rules of this file:
1. Nothing is fetched: every reference is found before a schema is used.
2. What may take for ever (a pattern, references, unique items) is applied in a process of its own, which
   is ended after `SECONDS`: Python's regular expressions cannot be interrupted and hold every thread.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

SECONDS: Final = 10.0
"""The longest a schema may take; an ordinary one takes milliseconds."""
MAX_FAULTS: Final = 8
MOST_SEEN: Final = 1_000
"""Faults that are looked at to find the first ones."""
COSTLY: Final = frozenset({"pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef"})
_DATA: Final = frozenset({"enum", "const", "default", "examples"})
"""Keys whose values are data, not schemas."""
_NAMED: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies"}
)
"""Keys whose values are schemas by names of the schema's author, which may be words of JSON Schema."""


def words(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every word of JSON Schema that a schema uses, with its value."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value
            if key in _NAMED and isinstance(value, dict):
                for named in value.values():
                    yield from words(named)
            elif key not in _DATA:
                yield from words(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from words(item)


def references(schema: Any) -> Iterator[str]:
    """Every `$ref` and `$dynamicRef` of a schema."""
    for key, value in words(schema):
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            yield value


def applied(schema: Any, value: Any) -> tuple[str, ...]:
    """What keeps a JSON value from conforming to a schema, in lines; bounded in time and size."""
    if not any(key in COSTLY for key, _ in words(schema)):
        return faults_of(schema, value)
    given = json.dumps([schema, value])
    command = [sys.executable, "-P", "-m", "loopspec.drivers.schemas"]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=SECONDS, check=True
        )
        return tuple(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return (f"the schema could not be applied within {SECONDS:g} s to this answer",)
    except (subprocess.CalledProcessError, OSError, ValueError) as err:
        return (f"the schema could not be applied: {type(err).__name__}",)


def faults_of(schema: Any, value: Any) -> tuple[str, ...]:
    """As `applied`, here and without a limit of time. Never raises for what a schema can be."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        return tuple(_worded(kind(schema, registry=Registry()).iter_errors(value)))
    except Exception as err:  # a foreign schema: an unknown reference, a bad pattern, no end
        return (f"the schema could not be applied: {type(err).__name__}: {err}"[:300],)


def _worded(errors: Iterable[Any]) -> Iterator[str]:
    """Faults as lines, bounded in number and length."""
    some = islice(errors, MOST_SEEN)  # a long answer may have one for each of its parts
    for n, error in enumerate(sorted(some, key=lambda e: [str(p) for p in e.absolute_path])):
        if n == MAX_FAULTS:
            yield "and more"
            return
        where = "/".join(str(part) for part in error.absolute_path) or "the value"
        text = " ".join(str(error.message).split())
        yield f"{where}: {text if len(text) <= 200 else text[:200] + '…'}"


if __name__ == "__main__":
    import resource

    most = int(SECONDS) + 2  # whoever was to end us may be gone
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    print(json.dumps(faults_of(*json.load(sys.stdin))))
