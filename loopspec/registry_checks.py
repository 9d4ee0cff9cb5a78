"""Registry checks: what a plugin brings is held against its manual, `loopspec.hooks`.

Rules of this file:
1. A fault names the plugin, what was seen and what is wanted: a signature beside a signature.
2. Nothing a plugin brings is called here, but for the hooks themselves.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from loopspec.errors import LoopspecError
from loopspec.hooks import PROJECT, HookSpecs, Tool
from loopspec.machine.model import Kind
from loopspec.spec.declare import CEL_RESERVED
from loopspec.spec.diagnose import listing, nearest

SHAPES: Final = ("none", "one", "each")
EFFECTS: Final = ("read", "write", "irreversible")
AFTER_CRASH: Final = ("rerun", "probe", "ask")
WORK: Final = frozenset(
    {"", "call_model", "decide_calls", "run_tool", "compact_context", "restore_boundary", "perform"}
)
HOOKS: Final[Mapping[str, str]] = {
    "loopspec_kinds": "list[Kind]",
    "loopspec_tools": "list[Tool]",
    "loopspec_performers": "dict[str, Callable[[], Performer]]",
    "loopspec_stores": "dict[str, StoreFactory]",
    "loopspec_observers": "dict[str, Callable[[], Observer]]",
    "loopspec_models": "dict[str, Callable[[], ModelProvider]]",
}
"""Each hook with what it gives back."""
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "performer": ("async def perform(self, effect, world)",),
    "observer": (
        "def begin(self, run)",
        "def kept(self, entry)",
        "def live(self, event)",
        "def end(self, reason)",
    ),
    "model": ("def facts(self, name)", "def stream(self, ask)"),
}
"""The methods of what a factory makes."""
PROVIDERS: Final = frozenset(
    {"anthropic", "azure", "bedrock", "cohere", "deepseek", "gemini", "groq", "mistral", "ollama"}
    | {"openai", "openrouter", "vertex_ai", "xai", "together_ai", "fireworks_ai", "perplexity"}
)
"""Prefixes of models that are litellm's. Of one that only litellm's longer list has, the plugin's
is meant: whoever installs it wants it."""
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
SCHEME: Final = re.compile(r"[a-z][a-z0-9_+-]*")
_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})


class PluginError(LoopspecError):
    """A plugin that cannot be used."""


def told(err: BaseException) -> str:
    """An error of a plugin's own code: its class and what it says, if it can say anything."""
    try:
        return f"{type(err).__name__}: {err}"
    except (Exception, SystemExit):
        return f"{type(err).__name__} (which has no text)"


def refuse(plugin: str, fault: str, remedy: str = "") -> NoReturn:
    """Raise the `PluginError` of a plugin."""
    raise PluginError(fault, place=f"plugin {plugin}", remedy=remedy)


# ------------------------------------------------------------ hooks and signatures


def check_hooks(plugin: str, module: Any) -> list[str]:
    """The hooks a plugin fills; raises `PluginError` for one that could not be called."""
    found: list[str] = []
    for name in dir(module):
        given = inspect.getattr_static(module, name, None)
        marked = isinstance(getattr(given, f"{PROJECT}_impl", None), dict)
        if name.startswith("loopspec_") and inspect.isroutine(given) and not marked:
            refuse(plugin, f"`{name}` is not marked as a hook", "write @hook above it")
        if not marked:
            continue
        function = getattr(module, name)
        if not hasattr(HookSpecs, name) or name not in HOOKS:
            near = nearest(name, list(HOOKS))
            hint = f"did you mean {listing(near)}?" if near else f"hooks are {', '.join(HOOKS)}"
            refuse(plugin, f"`{name}` is marked with @hook and is no hook", hint)
        wanted = f"def {name}() -> {HOOKS[name]}"
        plain = not inspect.iscoroutinefunction(function) and not inspect.isgeneratorfunction(function)
        if not plain or inspect.signature(function).parameters:
            refuse(plugin, f"seen `{seen(function)}`, wanted `{wanted}`")
        found.append(name)
    if not found:
        refuse(plugin, "it brings nothing: no function of it is marked with @hook")
    return found


def check_given(plugin: str, hook: str, given: Any) -> None:
    """Refuse what a hook gave back when it is not of the sort it should be."""
    wanted = HOOKS[hook]
    sort: tuple[type, ...] = (list, tuple) if wanted.startswith("list") else (dict,)
    if not isinstance(given, sort):
        refuse(plugin, f"{hook} gave {type(given).__name__}, wanted {wanted}")
    if isinstance(given, dict):
        for key in given:
            if not isinstance(key, str) or not SCHEME.fullmatch(key.replace(".", "_")):
                refuse(plugin, f"{hook} has the key {key!r}", "use lower case letters, digits and `_`")


def seen(function: Any) -> str:
    """The signature a function has, as it is written."""
    name = getattr(function, "__name__", type(function).__name__)
    word = "async def" if inspect.iscoroutinefunction(function) else "def"
    try:
        told = inspect.signature(function)
    except (TypeError, ValueError):
        return f"{word} {name}(…)"
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in told.parameters.values()]
    shown = told.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{word} {name}{shown}"


def takes(function: Any, *args: Any, **named: Any) -> bool:
    """Whether a function can be called so; what cannot be looked into is believed."""
    try:
        told = inspect.signature(function)
    except (TypeError, ValueError):
        return callable(function)
    try:
        told.bind(*args, **named)
    except TypeError:
        return False
    return True


def check_factory(plugin: str, what: str, key: str, factory: Any) -> None:
    """Refuse a factory that could not be called, or a class that lacks what it must have."""
    if not callable(factory):
        refuse(plugin, f"{what} `{key}` is {type(factory).__name__}, wanted something to call")
    if what == "store":
        if not takes(factory, "", readonly=True):
            refuse(
                plugin,
                f"store `{key}`: seen `{seen(factory)}`, wanted `def open(where, *, readonly)`",
            )
        return
    if not takes(factory):
        refuse(plugin, f"{what} `{key}`: seen `{seen(factory)}`, wanted `def make()`")
    if what == "model" and key in PROVIDERS:
        refuse(plugin, f"models of the prefix `{key}` are litellm's", "use another prefix")
    if inspect.isclass(factory):
        check_methods(plugin, what, key, factory)


def check_methods(plugin: str, what: str, key: str, made: Any) -> None:
    """Refuse an object (or a class) that lacks a method, or has one that could not be called."""
    for wanted in METHODS[what]:
        name = wanted.split("def ")[1].split("(")[0]
        arguments = wanted.split("(")[1].rstrip(")").split(", ")
        method = getattr(made, name, None)
        count = len(arguments) if inspect.isclass(made) else len(arguments) - 1
        right = callable(method) and takes(method, *[None] * count)
        if right and wanted.startswith("async") and not inspect.iscoroutinefunction(method):
            right = False
        if not right:
            shown = f"`{seen(method)}`" if callable(method) else f"no `{name}`"
            refuse(plugin, f"{what} `{key}`: seen {shown}, wanted `{wanted}`")


# ------------------------------------------------------------ kinds


def check_kind(kind: Any, plugin: str) -> None:
    """Refuse a kind that is no kind."""
    if not isinstance(kind, Kind):
        refuse(plugin, f"loopspec_kinds gave {type(kind).__name__}, not Kind")
    if not NAME.fullmatch(kind.name):
        refuse(plugin, f"`{kind.name}` is no name for a kind", "use lower case letters and `_`")
    if kind.shape not in SHAPES:
        known = ", ".join(SHAPES)
        refuse(plugin, f"kind `{kind.name}` has the shape `{kind.shape}`; shapes are {known}")
    if kind.effect not in WORK:
        refuse(
            plugin,
            f"kind `{kind.name}` emits `{kind.effect}`; effects are {', '.join(sorted(WORK))}",
        )
    if (kind.shape == "none") != (kind.effect == "") or (
        (kind.shape == "each") != (kind.effect == "run_tool")
    ):
        refuse(
            plugin,
            f"kind `{kind.name}`: the shape `{kind.shape}` does not fit the effect `{kind.effect}`",
            "none has no effect, each runs the ledger's calls, one is for everything else",
        )
    _schema_text(kind.schema, f"kind `{kind.name}`", plugin)
    for ending, data in kind.endings.items():
        if not NAME.fullmatch(ending):
            refuse(plugin, f"the ending `{ending}` of kind `{kind.name}` is no name for an event")
        if data:
            _check_fields(_schema_text(data, f"the ending `{ending}`", plugin), ending, plugin)


def _schema_text(text: str, what: str, plugin: str) -> dict[str, Any]:
    """The schema of a text; refuse what is no JSON Schema of an object."""
    try:
        schema = json.loads(text)
    except (TypeError, ValueError, RecursionError) as err:
        refuse(plugin, f"the schema of {what} is no JSON: {err}")
    return check_schema(schema, f"the schema of {what}", plugin)


def check_schema(schema: Any, what: str, plugin: str) -> dict[str, Any]:
    """Refuse what is no JSON Schema of an object."""
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        refuse(plugin, f"{what} does not describe an object")
    fault = schema_fault(schema)
    if fault:
        refuse(plugin, f"{what} is no JSON Schema: {fault}")
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError) as err:
        refuse(plugin, f"{what} cannot be written as JSON: {told(err)}")
    return dict(schema)


def schema_fault(schema: Any, where: str = "") -> str:
    """What is wrong with the parts of a schema that are commonly got wrong; empty for nothing.

    A full validation takes a tenth of a second to import; `loopspec.testing` does it.
    """
    at = where or "at the top"
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, Mapping):
        return f"{at}: {type(schema).__name__}, wanted an object"
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list | tuple) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"{at}: the type {kind!r}, wanted one of {', '.join(sorted(_TYPES))}"
    required = schema.get("required", [])
    if not isinstance(required, list | tuple) or not all(isinstance(n, str) for n in required):
        return f"{at}: `required` is no list of names"
    for word in ("properties", "$defs", "patternProperties"):
        parts = schema.get(word, {})
        if not isinstance(parts, Mapping):
            return f"{at}: `{word}` is no object"
        for name, part in parts.items():
            if fault := schema_fault(part, f"{where}.{name}".lstrip(".")):
                return fault
    for word in ("items", "additionalProperties", "not", "if", "then", "else"):
        if word in schema and (fault := schema_fault(schema[word], f"{where}.{word}".lstrip("."))):
            return fault
    return ""


def _check_fields(schema: dict[str, Any], ending: str, plugin: str) -> None:
    """Refuse fields of an ending that guards could not read: CEL knows them by name."""
    alike: dict[str, str] = {}
    properties = schema.get("properties", {})
    for name in properties if isinstance(properties, dict) else ():
        other = alike.setdefault(name.replace("_", "").lower(), name)
        if not _FIELD.fullmatch(name) or name in CEL_RESERVED or other != name:
            fault = f"the ending `{ending}` has the field `{name}`, which guards could not read"
            if other != name:
                fault = f"the ending `{ending}` has the fields `{other}` and `{name}`, too much alike"
            refuse(plugin, fault, "use letters, digits and `_`, no reserved word of CEL")


# ------------------------------------------------------------ tools


def check_tool(tool: Any, plugin: str) -> None:
    """Refuse a tool that is no tool."""
    if not isinstance(tool, Tool):
        refuse(plugin, f"loopspec_tools gave {type(tool).__name__}, not Tool")
    if not isinstance(tool.name, str) or not NAME.fullmatch(tool.name):
        refuse(plugin, f"`{tool.name}` is no name for a tool; use `family.verb`")
    what = f"tool `{tool.name}`"
    if tool.effect not in EFFECTS or tool.after_crash not in AFTER_CRASH:
        refuse(
            plugin,
            f"{what}: effect {tool.effect!r} / after_crash {tool.after_crash!r}; wanted "
            f"one of {', '.join(EFFECTS)} / {', '.join(AFTER_CRASH)}",
        )
    if tool.after_crash == "probe" and tool.probe is None:
        refuse(plugin, f"{what} says `probe` but brings none")
    if not isinstance(tool.description, str) or not tool.description.strip():
        refuse(plugin, f"{what} has no description; the model would not know what it is for")
    _check_call(plugin, what, tool.run, "async def run(ctx, args)")
    if tool.preview is not None:
        _check_call(plugin, what, tool.preview, "def preview(ctx, args)")
    if tool.probe is not None:
        _check_call(plugin, what, tool.probe, "async def probe(ctx, args)")
    parameters = check_schema(tool.parameters, f"{what}: `parameters`", plugin)
    check_schema(tool.config_schema, f"{what}: `config_schema`", plugin)
    known = parameters.get("properties", {})
    for name in (*tool.paths, *((tool.command,) if tool.command else ())):
        if name not in known:
            refuse(plugin, f"{what}: `{name}` is named in `paths` or `command` and is no parameter")
    if not 0 < tool.total < math.inf or not 0 <= tool.silence < math.inf:
        refuse(plugin, f"{what}: total {tool.total!r} s, silence {tool.silence!r} s; wanted > 0, >= 0")


def _check_call(plugin: str, what: str, function: Callable[..., Any], wanted: str) -> None:
    """Refuse a function of a tool that could not be called as it will be."""
    right = callable(function) and takes(function, None, None)
    # A callable object may give back a coroutine without showing it: only plain functions are judged.
    if right and inspect.isroutine(function):
        right = inspect.iscoroutinefunction(function) == wanted.startswith("async")
    if not right:
        shown = seen(function) if callable(function) else type(function).__name__
        refuse(plugin, f"{what}: seen `{shown}`, wanted `{wanted}`")
