"""Validate: a part of a document against a plugin's JSON Schema, with places and plain words.

Rules of this file:
1. Nothing is fetched: references outside the schema itself do not resolve (`Registry()`).
2. Every message names the place in the document, never the machinery of the validator.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.spec.diagnose import Diagnostics, Located, listing, nearest, quote
from loopspec.spec.shape import describe, unknown_key
from loopspec.spec.source import Node
from loopspec.spec.typed import CODES, FORMATS, WORDS, written

_TYPES: Final = {
    "object": "a map",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def validate(
    found: Diagnostics,
    code: str,
    node: Node,
    at: Located,
    schema: Mapping[str, Any],
    owner: str,
    more: tuple[str, ...] = (),
) -> None:
    """Report where `node` does not fit `schema` as `code`, unknown keys as LS101.

    `at` is where a missing key is reported; `more` are further keys allowed beside the schema's, as
    suggestions only.
    """
    # Imported here: it takes 0.2 s, and many specs configure nothing.
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        formats = FormatChecker(formats=())
        for form, read in FORMATS.items():
            formats.checks(form)(_reader(read))
        checker = Draft202012Validator(schema, registry=Registry(), format_checker=formats)
        for error in checker.iter_errors(written(node, schema)):
            _report(found, code, node, at, error, owner, more)
    except (SchemaError, Unresolvable) as error:
        fault = f"{owner} has a JSON Schema that cannot be used: {quote(str(error))}"
        found.add(code, at, fault, "report this to the plugin's author")


def _reader(read: Callable[[str], int | None]) -> Callable[[object], bool]:
    """Whether a value is no text, or a literal that `read` accepts."""
    return lambda value: not isinstance(value, str) or read(value) is not None


def _report(
    found: Diagnostics,
    code: str,
    node: Node,
    at: Located,
    error: Any,
    owner: str,
    more: tuple[str, ...],
) -> None:
    """One finding of the validator."""
    here, label = _locate(node, list(error.absolute_path))
    known = tuple(error.schema.get("properties", {})) if isinstance(error.schema, dict) else ()
    top = here is node
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            for entry in here.entries:
                if entry.key not in known:
                    name = owner if top else label
                    unknown_key(found, entry, name, (*known, *(more if top else ())))
        case "required":
            meant = {near for e in here.entries if e.key not in known for near in nearest(e.key, known)}
            for key in error.validator_value:
                if here.entry(key) is None and key not in meant:
                    name = owner if top else label
                    fault = f"{name} lacks the key {quote(key)}"
                    found.add(code, at if top else here, fault, _add(key, error.schema))
        case "type":
            wanted = error.validator_value
            names = [wanted] if isinstance(wanted, str) else list(wanted)
            what = " or ".join(_TYPES.get(name, name) for name in names)
            fault = f"{label} must be {what}, here stands {describe(here)}"
            found.add(code, here, fault, f"write {what}")
        case "enum" | "const":
            value = error.validator_value
            choices = value if error.validator == "enum" else [value]
            shown = [c if isinstance(c, str) else canonical_json(c) for c in choices]
            fault = f"{label} cannot be {describe(here)}"
            found.add(code, here, fault, f"use one of {listing(shown)}", nearest(here.text, shown))
        case "format":
            form = str(error.validator_value)
            what, remedy = WORDS[form]
            found.add(CODES[form], here, f"{label} must be {what}, here stands {describe(here)}", remedy)
        case other:
            fault = f"{label} does not fit `{other}: {_short(error.validator_value)}`"
            found.add(code, here, fault, f"see the documentation of {owner}")


def _locate(node: Node, path: list[str | int]) -> tuple[Node, str]:
    """The node at a path and its label."""
    label = "the configuration"
    for part in path:
        inner = node.items[part] if isinstance(part, int) else node.get(part)
        if inner is None:
            break
        label = quote(part) if isinstance(part, str) else label
        node = inner
    return node, label


def _add(key: str, schema: Any) -> str:
    """The remedy for a missing key, with the schema's own example if it has one."""
    prop = schema.get("properties", {}).get(key)
    examples = prop.get("examples") if isinstance(prop, dict) else None
    if isinstance(examples, list) and examples and isinstance(examples[0], str | int):
        return f"add `{key}: {examples[0]}`, for example"
    return f"add {quote(key)}"


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 80 else text[:79] + "…"
