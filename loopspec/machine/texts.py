"""Texts: Jinja2 for prompts and what a spec says, in a sandbox that cannot cost time or memory.

Rules of this file:
1. Nothing is evaluated at load: the optimizer is off.
2. `*` and `**` are refused on anything but numbers, loops are bounded, the output is capped, and
   strings have only methods whose result is about as long as what they are given.
3. An undefined name is an error, never an empty string.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT: Final = 200_000
MAX_SOURCE: Final = 100_000
MAX_FACTOR: Final = 1_000_000_000
NAMES: Final = frozenset({"inputs", "vars", "usage", "session", "event"})
_FILTERS: Final = (
    *("abs", "capitalize", "count", "default", "dictsort", "escape", "first", "float", "int"),
    *("items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "string"),
    *("sum", "title", "tojson", "trim", "truncate", "unique", "upper", "wordcount"),
)


_FAULTS: Final = (
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,  # jinja2's `truncate` asserts
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
)


class TextError(Exception):
    """A text that could not be rendered."""


_METHODS: Final = (
    *("capitalize", "count", "endswith", "find", "join", "lower", "lstrip", "removeprefix"),
    *("removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"),
)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2 without globals, with few filters, and with multiplication of numbers only."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse methods such as `ljust` and `format`, which build huge strings out of a number."""
        if isinstance(obj, str) and attr not in _METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Leave `format` to `is_safe_attribute`: even jinja2's own careful version pads at will."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse operators that could build huge values out of small sources."""
        number = (int, float)
        if not isinstance(left, number) or not isinstance(right, number) or operator == "**":
            raise TextError(f"`{operator}` is for numbers only in a text")
        if abs(left) > MAX_FACTOR or abs(right) > MAX_FACTOR:
            raise TextError(f"`{operator}` with a number above {MAX_FACTOR}")
        return super().call_binop(context, operator, left, right)


def _environment() -> _Sandbox:
    """The one environment all texts are compiled in."""
    env = _Sandbox(
        undefined=StrictUndefined,
        optimized=False,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
    )
    env.globals.clear()
    env.filters = {name: env.filters[name] for name in _FILTERS if name in env.filters}
    env.filters["replace"] = _replace
    return env


def _replace(text: object, old: object, new: object) -> str:
    """The `replace` filter, refused where it would blow a text up."""
    source, before, after = str(text), str(old), str(new)
    if len(source) + source.count(before) * len(after) > MAX_OUTPUT:
        raise TextError(f"`replace` would make a text longer than {MAX_OUTPUT} characters")
    return source.replace(before, after)


_ENV: Final = _environment()


@lru_cache(maxsize=512)
def _template(source: str) -> Any:
    """A compiled template; raises jinja2's `TemplateError`."""
    return _ENV.from_string(source)


def render(source: str, data: Mapping[str, Any]) -> str:
    """A text with its names filled in; raises `TextError`."""
    try:
        out: list[str] = []
        size = 0
        for piece in _template(source).generate(**data):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise TextError(f"the text is longer than {MAX_OUTPUT} characters")
            out.append(piece)
        return "".join(out)
    except TemplateError as err:
        raise TextError(str(err)) from None
    except _FAULTS as err:
        raise TextError(f"{type(err).__name__}: {err}") from None


def check(source: str, event: bool) -> str | None:
    """What is wrong with a text at load, None if nothing. `event`: whether `event` is known here."""
    if len(source) > MAX_SOURCE:
        return f"the text is longer than {MAX_SOURCE} characters"
    try:
        tree = _ENV.parse(source)
        unknown = meta.find_undeclared_variables(tree) - NAMES
        _template(source)
    except TemplateError as err:
        return str(err)
    except RecursionError:
        return "the text is nested too deeply"
    if unknown:
        name = min(unknown)
        return f"`{name}` is not known here; a text knows inputs, vars, usage, session and event"
    if not event and "event" in meta.find_undeclared_variables(tree):
        return "`event` is not known here: no single event leads to this text"
    if next(tree.find_all((nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends)), None):
        return "a text cannot include or import another"
    depth = _loop_depth(tree)
    return "loops in a text may be nested two deep at most" if depth > 2 else None


def _loop_depth(node: nodes.Node) -> int:
    """How deep `for` loops are nested."""
    inner = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)
