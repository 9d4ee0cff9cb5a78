"""Registry: finds plugins by entry point and calls them through pluggy.

Rules of this file:
1. Loading a plugin imports only its declarations: kinds, tools, factories. Nothing heavy.
2. A plugin that cannot be used is named, with what was wrong, before any session starts.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import pluggy

from loopspec.errors import LoopspecError
from loopspec.hooks import PROJECT, HookSpecs, Performer, Tool
from loopspec.machine.model import Kind
from loopspec.spec.declare import CEL_RESERVED

SHAPES = ("none", "one", "each")
EFFECTS = ("read", "write", "irreversible")
AFTER_CRASH = ("rerun", "probe", "ask")
WORK = frozenset(
    {"", "call_model", "decide_calls", "run_tool", "compact_context", "restore_boundary", "perform"}
)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")


class PluginError(LoopspecError):
    """A plugin that cannot be used."""


@dataclass(frozen=True)
class Registry:
    """Everything plugins brought: `origins` maps each kind, tool and performer to its plugin."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    performers: Mapping[str, Callable[[], Performer]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@cache
def installed() -> Registry:
    """The registry of everything installed; raises `PluginError` naming a plugin at fault."""
    found: list[tuple[str, str, Any]] = []
    for entry in sorted(entry_points(group=PROJECT), key=lambda e: (e.name != "builtin", e.name)):
        version = entry.dist.version if entry.dist else "unknown"
        try:
            plugin = entry.load()
        except Exception as err:
            raise PluginError(
                f"the plugin cannot be imported: {type(err).__name__}: {err}",
                place=f"plugin {entry.name} ({entry.value})",
                remedy="repair or uninstall it",
            ) from err
        found.append((entry.name, version, plugin))
    return build(found)


def build(plugins: list[tuple[str, str, Any]]) -> Registry:
    """A registry of `(name, version, plugin)`; raises `PluginError`."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    kinds: dict[str, Kind] = {}
    tools: dict[str, Tool] = {}
    performers: dict[str, Callable[[], Performer]] = {}
    origins: dict[str, str] = {}
    for name, _, plugin in plugins:
        try:
            manager.register(plugin, name=name)
            manager.check_pending()
        except pluggy.PluginValidationError as err:
            raise PluginError(str(err).splitlines()[0], place=f"plugin {name}") from err
        caller = manager.subset_hook_caller
        others = [p for n, p in manager.list_name_plugin() if n != name]
        for kind in _flat(caller("loopspec_kinds", others)()):
            _check_kind(kind, name)
            _add(kinds, kind.name, kind, "kind", name, origins)
        for tool in _flat(caller("loopspec_tools", others)()):
            _check_tool(tool, name)
            _add(tools, tool.name, tool, "tool", name, origins)
        for made in caller("loopspec_performers", others)():
            for key, factory in made.items():
                _add(performers, key, factory, "performer", name, origins)
    for kind in kinds.values():
        if kind.shape != "none" and kind.performer not in performers:
            raise PluginError(
                f"kind `{kind.name}` names the performer `{kind.performer}`, which no plugin brings",
                place=f"plugin {origins[f'kind {kind.name}']}",
            )
    return Registry(kinds, tools, performers, origins, {n: v for n, v, _ in plugins})


def _flat(lists: list[list[Any]]) -> list[Any]:
    """One list out of many."""
    return [item for part in lists for item in part]


def _add(
    into: dict[str, Any], key: str, value: Any, what: str, plugin: str, origins: dict[str, str]
) -> None:
    """Add under a new name; raises `PluginError` when it is taken."""
    if key in into:
        other = origins[f"{what} {key}"]
        raise PluginError(
            f"{what} `{key}` is already brought by plugin {other}", place=f"plugin {plugin}"
        )
    into[key] = value
    origins[f"{what} {key}"] = plugin


def _check_kind(kind: Any, plugin: str) -> None:
    """Refuse a kind that is no kind."""
    where = f"plugin {plugin}"
    if not isinstance(kind, Kind):
        raise PluginError(f"loopspec_kinds gave {type(kind).__name__}, not Kind", place=where)
    if kind.effect not in WORK:
        raise PluginError(
            f"kind `{kind.name}` emits `{kind.effect}`; effects are {', '.join(sorted(WORK))}",
            place=where,
        )
    if (kind.shape == "none") != (kind.effect == "") or (
        (kind.shape == "each") != (kind.effect == "run_tool")
    ):
        raise PluginError(
            f"kind `{kind.name}`: the shape `{kind.shape}` does not fit the effect `{kind.effect}`",
            place=where,
            remedy="none has no effect, each runs the ledger's calls, one is for everything else",
        )
    _check_schema(kind.schema, f"kind `{kind.name}`", where)
    for ending, data in kind.endings.items():
        if data:
            _check_fields(_check_schema(data, f"the ending `{ending}`", where), ending, where)
    if not _NAME.match(kind.name) or kind.shape not in SHAPES:
        raise PluginError(
            f"kind `{kind.name}` has the shape `{kind.shape}`; shapes are {', '.join(SHAPES)}",
            place=where,
        )


def _check_schema(text: str, what: str, where: str) -> dict[str, Any]:
    """The schema of a text; refuse what is no JSON Schema of an object."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise PluginError(f"the schema of {what} is no JSON: {err}", place=where) from None
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise PluginError(f"the schema of {what} does not describe an object", place=where)
    return schema


def _check_fields(schema: dict[str, Any], ending: str, where: str) -> None:
    """Refuse fields of an ending that guards could not read: CEL knows them by name."""
    alike: dict[str, str] = {}
    properties = schema.get("properties", {})
    for name in properties if isinstance(properties, dict) else ():
        other = alike.setdefault(name.replace("_", "").lower(), name)
        if not _FIELD.fullmatch(name) or name in CEL_RESERVED or other != name:
            fault = f"the ending `{ending}` has the field `{name}`, which guards could not read"
            if other != name:
                fault = f"the ending `{ending}` has the fields `{other}` and `{name}`, too much alike"
            remedy = "use letters, digits and `_`, no reserved word of CEL"
            raise PluginError(fault, place=where, remedy=remedy)


def _check_tool(tool: Any, plugin: str) -> None:
    """Refuse a tool that is no tool."""
    where = f"plugin {plugin}"
    if not isinstance(tool, Tool):
        raise PluginError(f"loopspec_tools gave {type(tool).__name__}, not Tool", place=where)
    if not _NAME.match(tool.name):
        raise PluginError(f"`{tool.name}` is no name for a tool; use `family.verb`", place=where)
    if tool.effect not in EFFECTS or tool.after_crash not in AFTER_CRASH:
        raise PluginError(
            f"tool `{tool.name}`: effect {tool.effect!r} / after_crash {tool.after_crash!r}; wanted "
            f"one of {', '.join(EFFECTS)} / {', '.join(AFTER_CRASH)}",
            place=where,
        )
    if tool.after_crash == "probe" and tool.probe is None:
        raise PluginError(f"tool `{tool.name}` says `probe` but brings none", place=where)
