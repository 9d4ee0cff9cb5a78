"""Arguments: checks a call's arguments against the tool's JSON Schema (draft 2020-12).

Rules of this file:
1. Nothing is fetched: schemas may come from outside; an unknown `$ref` is a fault, not a request.
2. The answer is one line, made of our own words where a fault is common, and bounded.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_MAX_FAULTS: Final = 5
_LENGTH: Final = 200


def validate(schema_text: str, args: dict[str, Any]) -> str:
    """Empty when `args` fit the schema, else one line naming each bad argument (at most five)."""
    try:
        found = list(_validator(schema_text)(args))
    except Exception as error:
        # A foreign schema can fail in many ways (bad regex, unknown reference, endless recursion);
        # a call that could not be checked is not a call that may run.
        return _line(f"the tool's own schema cannot be used: {error}; report it to its author")
    found.sort(key=lambda e: ([str(part) for part in e.absolute_path], str(e.validator)))
    faults = list(dict.fromkeys(fault for error in found for fault in _faults(error)))
    more = len(faults) - _MAX_FAULTS
    return "; ".join(faults[:_MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")


@lru_cache(maxsize=256)
def _validator(schema_text: str) -> "Callable[[dict[str, Any]], Any]":
    # jsonschema takes a tenth of a second to import: only who validates pays.
    from jsonschema import Draft202012Validator
    from referencing import Registry

    schema = json.loads(schema_text)
    Draft202012Validator.check_schema(schema)
    validator: Validator = Draft202012Validator(schema, registry=Registry())
    return validator.iter_errors


def _faults(error: "ValidationError") -> list[str]:
    where = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{where}." if where else ""
    value: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [name for name in value if name not in instance]
            return [_line(f"{prefix}{name}: is missing") for name in missing]
        case "additionalProperties" if isinstance(error.schema, dict):
            known = error.schema.get("properties", {})
            unknown = [name for name in instance if name not in known]
            if value is False and "patternProperties" not in error.schema:
                return [_line(f"{prefix}{name}: is not an argument") for name in unknown]
        case "type":
            names = value if isinstance(value, str) else " or ".join(value)
            return [_line(f"{where or 'arguments'}: must be of type {names}")]
    return [_line(f"{where or 'arguments'}: {error.message}")]


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LENGTH else flat[:_LENGTH] + "…"
