"""Registry: finds plugins by entry point and calls them through pluggy.

Rules of this file:
1. Loading a plugin imports only its declarations: kinds, tools, factories. Nothing heavy.
2. A plugin that cannot be used is named, with what was wrong, before any session starts.
3. All of a plugin is taken or nothing of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

from loopspec.hooks import PROJECT, HookSpecs, ModelProvider, Observer, Performer, StoreFactory, Tool
from loopspec.machine.model import Kind
from loopspec.registry_checks import PluginError as PluginError
from loopspec.registry_checks import (
    check_factory,
    check_given,
    check_hooks,
    check_kind,
    check_tool,
    refuse,
    told,
)

SORTS: Final[Mapping[str, str]] = {
    "loopspec_kinds": "kind",
    "loopspec_tools": "tool",
    "loopspec_performers": "performer",
    "loopspec_stores": "store",
    "loopspec_observers": "observer",
    "loopspec_models": "model",
}
"""Each hook with one word for what it brings."""


@dataclass(frozen=True)
class PluginInfo:
    """An installed plugin: its entry point's name and value, the distribution that brought it, and the
    names of what it brings, by sort (`kind`, `tool`, …). `fault` is why it cannot be used."""

    name: str
    version: str = ""
    distribution: str = ""
    value: str = ""
    brings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fault: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Registry:
    """Everything plugins brought: `origins` maps `kind NAME`, `tool NAME`, … to its plugin."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    performers: Mapping[str, Callable[[], Performer]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    stores: Mapping[str, StoreFactory] = field(default_factory=dict)
    observers: Mapping[str, Callable[[], Observer]] = field(default_factory=dict)
    models: Mapping[str, Callable[[], ModelProvider]] = field(default_factory=dict)


@cache
def installed() -> Registry:
    """The registry of everything installed; raises `PluginError` naming a plugin at fault."""
    gathering = _Gathering()
    for info, entry in _found():
        gathering.add(info, _load(info, entry))
    return gathering.registry()


def survey() -> list[PluginInfo]:
    """Every installed plugin and whether it can be used, each as if the faulty ones were not there."""
    gathering = _Gathering()
    listed: list[PluginInfo] = []
    for info, entry in _found():
        try:
            listed.append(gathering.add(info, _load(info, entry)))
        except PluginError as err:
            listed.append(replace(info, fault=err.fault, remedy=err.remedy))
    faults = dict(gathering.without_performer())
    return [replace(one, fault=one.fault or faults.get(one.name, "")) for one in listed]


def build(plugins: list[tuple[str, str, Any]]) -> Registry:
    """A registry of `(name, version, plugin)`; raises `PluginError`."""
    gathering = _Gathering()
    for name, version, plugin in plugins:
        gathering.add(PluginInfo(name, version), plugin)
    return gathering.registry()


def _found() -> Iterator[tuple[PluginInfo, EntryPoint]]:
    """The entry points of installed plugins, our own first."""
    for entry in sorted(entry_points(group=PROJECT), key=lambda e: (e.name != "builtin", e.name)):
        version = entry.dist.version if entry.dist else "unknown"
        yield PluginInfo(entry.name, version, entry.dist.name if entry.dist else "", entry.value), entry


def _load(info: PluginInfo, entry: EntryPoint) -> Any:
    """Import a plugin; raises `PluginError`."""
    try:
        return entry.load()
    except (Exception, SystemExit) as err:
        raise PluginError(
            f"the plugin cannot be imported: {told(err)}",
            place=f"plugin {info.name} ({info.value})",
            remedy="repair or uninstall it",
        ) from err


class _Gathering:
    """What plugins brought so far."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self._by_sort: dict[str, dict[str, Any]] = {sort: {} for sort in SORTS.values()}
        self._origins: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def add(self, info: PluginInfo, plugin: Any) -> PluginInfo:
        """Take all a plugin brings, or raise `PluginError` and take nothing."""
        name = info.name
        if name in self._versions:
            other = "another distribution" if not info.distribution else f"not {info.distribution}"
            refuse(name, f"a plugin of this name is installed already, by {other}")
        hooks = check_hooks(name, plugin)
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
            brought = {SORTS[hook]: self._asked(hook, name, plugin) for hook in hooks}
            for sort, things in brought.items():
                for key in things:
                    self._is_new(sort, key, name)
        except PluginError:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise
        except (pluggy.PluginValidationError, ValueError) as err:
            raise PluginError(str(err).splitlines()[0], place=f"plugin {name}") from err
        for sort, things in brought.items():
            self._by_sort[sort] |= things
            self._origins |= {f"{sort} {key}": name for key in things}
        self._versions[name] = info.version
        return replace(info, brings={sort: tuple(things) for sort, things in brought.items()})

    def registry(self) -> Registry:
        """All of it; raises `PluginError` for a kind that nothing performs."""
        for name, fault in self.without_performer():
            refuse(name, fault)
        by = self._by_sort
        return Registry(
            kinds=by["kind"],
            tools=by["tool"],
            performers=by["performer"],
            origins=self._origins,
            versions=self._versions,
            stores=by["store"],
            observers=by["observer"],
            models=by["model"],
        )

    def without_performer(self) -> Iterator[tuple[str, str]]:
        """Plugins with a kind whose performer nobody brings, and the fault."""
        for kind in self._by_sort["kind"].values():
            if kind.shape != "none" and kind.performer not in self._by_sort["performer"]:
                yield (
                    self._origins[f"kind {kind.name}"],
                    f"kind `{kind.name}` names the performer `{kind.performer}`, which no plugin brings",
                )

    def _asked(self, hook: str, name: str, plugin: Any) -> dict[str, Any]:
        """What one hook of a plugin gives, checked, by name."""
        others = [p for n, p in self._manager.list_name_plugin() if n != name]
        try:
            given = self._manager.subset_hook_caller(hook, others)()
        except (Exception, SystemExit) as err:
            refuse(name, f"{hook} raised {told(err)}")
        try:
            return self._checked(hook, name, given[0] if given else None)
        except PluginError:
            raise
        except (Exception, SystemExit) as err:  # of the plugin's own objects, or wrong types in them
            fault = f"what {hook} gave cannot be used: {told(err)}"
            refuse(name, fault, "hold it against the manual: pydoc loopspec.hooks")

    def _checked(self, hook: str, name: str, made: Any) -> dict[str, Any]:
        """What one hook of a plugin gave, by name; raises `PluginError` for what cannot be."""
        check_given(name, hook, made)
        sort = SORTS[hook]
        if isinstance(made, dict):
            for key, factory in made.items():
                check_factory(name, sort, key, factory)
            return dict(made)
        found: dict[str, Any] = {}
        for thing in made or ():
            (check_kind if sort == "kind" else check_tool)(thing, name)
            if thing.name in found:
                refuse(name, f"it brings the {sort} `{thing.name}` twice")
            found[thing.name] = thing
        return found

    def _is_new(self, sort: str, key: str, name: str) -> None:
        """Refuse a name that is taken."""
        other = self._origins.get(f"{sort} {key}")
        if other is not None:
            remedy = f"uninstall one of them: this one, or {other}"
            refuse(name, f"{sort} `{key}` is already brought by plugin {other}", remedy)
