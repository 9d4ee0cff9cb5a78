"""What CEL's compiler complains of, in loopspec's words.

Rules of this file:
1. A message names what stands there and what to write; no grammar, no internal type is shown.
2. What is not recognised is given as the compiler says it, on one line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_UNDEFINED: Final = re.compile(r"undefined field '([^']*)' not found in struct 'ls\.([^']*)'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD: Final = re.compile(r"no matching overload for '([^']*)' applied to '\(([^']*)\)'")
_SELECT: Final = re.compile(r"expression of type '([^']*)' cannot be the operand of a select")
_RESERVED: Final = re.compile(r"reserved identifier: (\w+)")
_SYNTAX: Final = re.compile(r"Syntax error: (.*?)(?: expecting (.*))?$", re.MULTILINE)
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+)")
_TYPES: Final[Mapping[str, str]] = {
    "double": "a number",
    "int": "an int",
    "string": "a string",
    "bool": "a bool",
    "ls.Call": "a call",
    "ls.Inputs": "`inputs`",
    "ls.Vars": "`vars`",
    "ls.Usage": "`usage`",
    "google.protobuf.Duration": "a duration",
    "google.protobuf.Timestamp": "a timestamp",
}
_FUNCTIONS: Final = (
    *("size", "matches", "contains", "startsWith", "endsWith", "has", "int", "double", "string"),
    *("bool", "duration", "timestamp", "all", "exists", "exists_one", "map", "filter"),
)
_MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("len", "length", "count"), "size"),
    **dict.fromkeys(("includes", "indexOf", "find"), "contains"),
    **dict.fromkeys(("match", "test", "search", "regex"), "matches"),
    **dict.fromkeys(("any", "some"), "exists"),
    **dict.fromkeys(("every",), "all"),
    **dict.fromkeys(("str", "String", "toString"), "string"),
    **dict.fromkeys(("float", "number", "parseFloat"), "double"),
    **dict.fromkeys(("parseInt", "Number", "round"), "int"),
    **dict.fromkeys(("None", "nil", "undefined"), "null"),
    **dict.fromkeys(("True", "TRUE"), "true"),
    **dict.fromkeys(("False", "FALSE"), "false"),
}
_OPERATORS: Final[Mapping[str, str]] = {"and": "&&", "or": "||", "not": "!", "is": "=="}


@dataclass(frozen=True)
class Complaint:
    """A fault in words; `name` is the name that is not there and `known` are those that are."""

    fault: str
    name: str = ""
    known: tuple[str, ...] = ()


def type_word(name: str) -> str:
    """What a type of CEL is called: `a string`, `an int`."""
    return _TYPES.get(name, "`event`" if name.startswith("ls.") else name)


def complaint(
    raw: str, source: str, event: str | None, fields: Mapping[str, tuple[str, ...]]
) -> Complaint:
    """What is wrong with `source`.

    `raw` is the compiler's message, `event` the event the expression is about, `fields` the names below
    each root; the root `event` is missing where no event's fields are known.
    """
    if match := _UNDEFINED.search(raw):
        return _no_field(match[1], match[2], event, fields)
    if match := _UNDECLARED.search(raw):
        return _no_name(match[1], raw, source, event, fields)
    if match := _OVERLOAD.search(raw):
        return Complaint(_no_overload(match[1], match[2].split(", ")))
    if match := _SELECT.search(raw):
        return Complaint(f"{type_word(match[1])} has no fields; `size(…)` gives a length")
    if match := _RESERVED.search(raw):
        return Complaint(f"`{match[1]}` is a reserved word of CEL; write `a ? b : c`, `&&`, `||`")
    if "has() argument" in raw:
        return Complaint("`has(…)` asks for a field, such as `has(event.calls)`")
    if match := _SYNTAX.search(raw):
        return Complaint(_syntax(match[1], match[2] or "", source))
    return Complaint(first_line(raw))


def _no_field(
    field: str, where: str, event: str | None, fields: Mapping[str, tuple[str, ...]]
) -> Complaint:
    if where == "Call":
        return Complaint(f"a call has no field `{field}`; it has `tool`, `args` and `problem`")
    root = where.lower() if where in {"Inputs", "Vars", "Usage"} else "event"
    known = fields.get(root, ())
    owner = f"`{event}`" if root == "event" else f"`{root}`"
    fault = f"`{root}.{field}`: {owner} has no such field; it has {listing(known)}"
    return Complaint(fault, f"{root}.{field}", tuple(f"{root}.{k}" for k in known))


def _no_name(
    name: str, raw: str, source: str, event: str | None, fields: Mapping[str, tuple[str, ...]]
) -> Complaint:
    root, dot, rest = name.partition(".")
    if root == "event":
        if event is not None:
            return Complaint(f"`{event}` has no fields, so there is no `event` here; use vars instead")
        return Complaint("`event` is known only where exactly one event leads here; use vars instead")
    if root == "session":
        return Complaint("`session` is known in texts only, not in CEL")
    if _called(raw, source):
        if name in _FUNCTIONS:
            return Complaint(f"`{name}` is not called like this; see the functions of CEL")
        meant = _MEANT.get(name, name)
        fault = f"CEL has no function `{name}`; it has {listing(_FUNCTIONS)}"
        return Complaint(fault, name if meant == name else meant, _FUNCTIONS)
    if name in _MEANT:
        return Complaint(f"`{name}` is not CEL; write `{_MEANT[name]}`")
    roots = ("inputs", "vars", "usage", "event")
    fault = f"`{name}` is not known here; use inputs, vars, usage or event"
    below = [f"{r}.{f}" for r, known in fields.items() for f in known if f == name or (dot and f == rest)]
    return Complaint(fault, below[0] if below else root, (*below, *roots))


def _called(raw: str, source: str) -> bool:
    """Whether the place of a message is the bracket of a call."""
    found = _PLACE.search(raw)
    lines = source.split("\n")
    if found is None or int(found[1]) > len(lines):
        return False
    return lines[int(found[1]) - 1][int(found[2]) - 1 :].startswith("(")


def _no_overload(op: str, kinds: list[str]) -> str:
    if op == "_[_]" and kinds[0].startswith("ls."):
        return f"fields of {type_word(kinds[0])} are written with a point, such as `.NAME`"
    if op == "_?_:_":
        return "before the `?` must stand a bool, and both sides of the `:` must be of one type"
    shown = op.strip("_@") or op
    words = [type_word(kind) for kind in kinds]
    hint = ""
    if {"double", "int"} <= set(kinds):
        hint = "; write the whole number with a point (1.0), or double(…) around it"
    elif {"string", "int"} <= set(kinds) and shown != "contains":
        hint = "; write string(…) or int(…) around one of them"
    return f"`{shown}` cannot be applied to {' and '.join(words)}{hint}"


def _syntax(what: str, expecting: str, source: str) -> str:
    if "{{" in source:
        return "CEL needs no braces around names; write such as `vars.n > 3`"
    if "<EOF>" in what:
        closing = re.search(r"missing '(.)'|^'(.)'$", f"{what}" if "missing" in what else expecting)
        if closing:
            return f"a `{closing[1] or closing[2]}` is missing"
        return "the expression ends too early"
    found = re.search(r"(?:input|at:) '(.*?)'\s*$|(?:input|at) '(.+)'", what)
    word = (found[1] or found[2] or "").strip() if found else ""
    if word in _OPERATORS:
        return f"`{word}` is no operator of CEL; write `{_OPERATORS[word]}`"
    if source.lstrip().startswith("not "):
        return "`not` is no operator of CEL; write `!`"
    if word == "=":
        return "`=` is no operator of CEL; write `==`"
    if word[:1] in ("'", '"'):
        return "a quoted text has no end"
    return f"`{word}` does not belong here" if word else f"syntax error: {first_line(what)}"


def listing(names: tuple[str, ...]) -> str:
    """`a, b and c`, or `no fields`."""
    if not names:
        return "no fields"
    return ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]


def first_line(text: str) -> str:
    """The first line of a library's message without its prefix."""
    line = text.splitlines()[0] if text else "failed"
    return re.sub(r"^(?:[A-Z_]+: )?(?:ERROR: <input>:(\d+):(\d+): )?", "", line).strip()
