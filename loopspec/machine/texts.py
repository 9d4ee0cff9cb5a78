"""Texts: Jinja2 for prompts and what a spec says, in a sandbox that cannot cost time or memory.

Rules of this file:
1. Nothing is evaluated at load: the optimizer is off.
2. `*` and `**` are refused on anything but numbers, loops are bounded, the output is capped, and
   strings have only methods whose result is about as long as what they are given.
3. An undefined name is an error, never an empty string.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT: Final = 200_000
MAX_SOURCE: Final = 100_000
MAX_FACTOR: Final = 1_000_000_000
NAMES: Final = frozenset({"inputs", "vars", "usage", "session", "event", "guidance"})
SESSION: Final = ("id", "workdir", "name")
"""The fields of `session`."""
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
    SyntaxError,  # more blocks in each other than Python's compiler takes
)


_MAP_METHODS: Final = frozenset({"get", "items", "keys", "values"})


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


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a text, in which of its lines (from 1; 0: unknown).

    `name` is what is not there and `known` are those that are; `unknown`: it is a name the text reads.
    """

    fault: str
    name: str = ""
    known: tuple[str, ...] = ()
    unknown: bool = False
    line: int = 0


def check(source: str, names: Mapping[str, Collection[str]]) -> Wrong | None:
    """The first thing that is wrong with a text at load, None if nothing. See `check_all`."""
    return next(iter(check_all(source, names)), None)


def check_all(source: str, names: Mapping[str, Collection[str]]) -> list[Wrong]:
    """Everything that is wrong with a text at load: each unknown name, or why it does not compile.

    `names` are the roots the text may read (`inputs`, `event`…), each with its fields. What lies
    below a field is free JSON and is not checked.
    """
    if len(source) > MAX_SOURCE:
        return [Wrong(f"the text is longer than {MAX_SOURCE} characters")]
    try:
        return list(dict.fromkeys(_wrong(source, names)))
    except TemplateSyntaxError as err:
        return [_syntax(err)]
    except TemplateError as err:
        return [Wrong((err.message or type(err).__name__).splitlines()[0])]
    except (RecursionError, SyntaxError, MemoryError):
        return [Wrong("the text is nested too deeply")]  # Python's compiler has limits of its own
    except ValueError:
        return [Wrong("a number in the text has too many digits")]


def _syntax(err: TemplateSyntaxError) -> Wrong:
    """What jinja2 cannot read, in plain words where the usual slips are known."""
    said = (err.message or "").splitlines()[0].rstrip(".") if err.message else type(err).__name__
    if match := re.fullmatch("No (filter|test) named '(.*)'", said):
        known = _FILTERS if match[1] == "filter" else tuple(_ENV.tests)
        return Wrong(f"no {match[1]} is called `{match[2]}`", match[2], known, line=err.lineno)
    if match := re.fullmatch("Encountered unknown tag '(.*?)'.*", said):
        return Wrong(f"no tag is called `{match[1]}`", match[1], line=err.lineno)
    if match := re.search("innermost block that needs to be closed is '(.*)'", said):
        return Wrong(f"`{{% {match[1]} … %}}` has no `{{% end{match[1]} %}}`", line=err.lineno)
    if "expected 'end of print statement'" in said and said.startswith("unexpected end"):
        return Wrong("a `{{` has no `}}`", line=err.lineno)
    if "expected 'end of statement block'" in said and said.startswith("unexpected end"):
        return Wrong("a `{%` has no `%}`", line=err.lineno)
    return Wrong(said[:1].lower() + said[1:], line=err.lineno)


def _wrong(source: str, names: Mapping[str, Collection[str]]) -> Iterator[Wrong]:
    """What `check_all` gives; raises what jinja2 and Python raise for what they cannot compile."""
    tree = _ENV.parse(source)
    unknown = meta.find_undeclared_variables(tree) - names.keys()
    _template(source)
    for word in tree.find_all(nodes.Name):
        if word.ctx != "load" and word.name in NAMES:
            yield Wrong(
                f"`{word.name}` is loopspec's own name and cannot be set in a text", line=word.lineno
            )
    for name in sorted(unknown):
        yield _no_name(name, names)
    for root, field in reads(tree):
        known = names.get(root)
        if known is not None and field and field not in known and field not in _MAP_METHODS:
            has = ", ".join(known) or "no fields"
            fault = f"`{root}.{field}`: `{root}` has no `{field}` here; it has {has}"
            yield Wrong(fault, f"{root}.{field}", tuple(f"{root}.{k}" for k in known), unknown=True)
    if next(tree.find_all((nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends)), None):
        yield Wrong("a text cannot include or import another")
    if _loop_depth(tree) > 2:
        yield Wrong("loops in a text may be nested two deep at most")


def _no_name(name: str, names: Mapping[str, Collection[str]]) -> Wrong:
    """A name the text reads and nobody gives it."""
    if name == "event":
        fault = "`event` is not known here: no single event leads to this text"
        return Wrong(fault, "event", unknown=True)
    if name == "guidance":
        fault = "`guidance` is not known here: the spec has no key `guidance`"
        return Wrong(fault, "guidance", unknown=True)
    below = tuple(f"{root}.{name}" for root, fields in names.items() if name in fields)
    fault = f"`{name}` is not known here; a text knows {', '.join(names)}"
    return Wrong(fault, name, below or tuple(names), unknown=True)


def reads(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    """The names a text reads, as `(root, field)`; the field is empty where the whole root is read."""
    inner: set[int] = set()
    for dotted in tree.find_all(nodes.Getattr):
        if isinstance(dotted.node, nodes.Name) and dotted.node.name in NAMES:
            inner.add(id(dotted.node))
            yield dotted.node.name, dotted.attr
    for item in tree.find_all(nodes.Getitem):
        owner, key = item.node, item.arg
        plain = isinstance(key, nodes.Const) and isinstance(key.value, str)
        if plain and isinstance(owner, nodes.Name) and owner.name in NAMES:
            inner.add(id(owner))
            yield owner.name, str(getattr(key, "value", ""))
    for name in tree.find_all(nodes.Name):
        if name.name in NAMES and id(name) not in inner:
            yield name.name, ""


def reads_of(source: str) -> frozenset[tuple[str, str]]:
    """`reads` of a text's source; nothing when it does not compile."""
    try:
        return frozenset(reads(_ENV.parse(source)))
    except (TemplateError, *_FAULTS):
        return frozenset()


def _loop_depth(node: nodes.Node) -> int:
    """How deep `for` loops are nested."""
    inner = max((_loop_depth(child) for child in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)
