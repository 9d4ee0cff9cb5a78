"""Making: new plugins and new specs, from templates that travel with loopspec.

Rules of this file:
1. Nothing that is there is ever overwritten.
2. A spec that is made is checked before it is written: it has no fault and no warning.
"""

import json
import keyword
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from loopspec.drivers import launch
from loopspec.errors import LoopspecError, UsageError
from loopspec.hooks import Tool
from loopspec.registry import Registry
from loopspec.spec.diagnose import listing, nearest, quote, render_text
from loopspec.spec.helpwords import sample

OWN: Final = ("empty", "chat")
"""Specs that are composed here; a shipped loop of that name comes first, unless tools are named."""
_MAIN: Final = (
    r"^(  main:\n(?:    (?!use: |tiers:).*\n)*"
    r"(?:    use: |    tiers:\n(?:      .*\n)*?        use: ))\S+"
)
"""What the model `main` uses in a shipped loop; of tiers the first that is a model and no rules."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLUGIN: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "example.yaml": "example.yaml",
    "example-script.yaml": "example-script.yaml",
    "src/@module@/__init__.py": "init.py",
    "src/@module@/count.py": "count.py",
    "src/@module@/performer.py": "performer.py",
    "src/@module@/py.typed": "",
    "tests/test_plugin.py": "test_plugin.py",
}
"""Each file of a new plugin with its template."""


def checked_name(given: str, what: str) -> str:
    """A name for something new; raises `UsageError` saying what names look like."""
    if not _NAME.fullmatch(given) or len(given) > 40:
        raise UsageError(
            f"{quote(given)} is no name for a {what}",
            remedy="use lower case letters, digits and single dashes, a letter first, at most 40",
        )
    return given


# ------------------------------------------------------------ plugins


def write_plugin(name: str, folder: Path, registry: Registry) -> tuple[Path, list[str]]:
    """Write a plugin's package below `folder`; gives back its folder and its files.

    Raises `UsageError` for a name that cannot be one or is taken, or when its folder is there.
    """
    short = checked_name(name.removeprefix("loopspec-"), "plugin")
    family = short.replace("-", "_")
    taken = {f"plugin {n}" for n in registry.versions} | set(registry.origins)
    clash = next((t for t in (f"plugin {family}", f"kind {family}") if t in taken), "")
    if clash or keyword.iskeyword(family) or family in sys.stdlib_module_names:
        why = f"there is a {clash} already" if clash else f"`{family}` means something in Python"
        raise UsageError(why, place=f"plugin {short}", remedy="choose another name")
    where = folder / f"loopspec-{short}"
    if where.exists() or where.is_symlink():
        raise UsageError(
            "it is there already, and nothing is overwritten", place=str(where), remedy="choose another"
        )
    words = {"name": short, "family": family, "module": f"loopspec_{family}"}
    written = []
    for path, template in _PLUGIN.items():
        target = _filled(path, words)
        text = _filled(_template(f"plugin/{template}.txt"), words) if template else ""
        _write(where / target, text)
        written.append(target)
    return where, written


# ------------------------------------------------------------ specs


@dataclass(frozen=True)
class Wish:
    """What a new spec is to be. `tools` are names of installed tools; those in neither `allow` nor
    `ask` are allowed if they only read, and asked about if not. `source` is `empty`, `chat` or the
    name of a shipped loop."""

    name: str
    source: str = "empty"
    model: str = ""
    tools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()


def sources() -> list[str]:
    """What a new spec can be made from."""
    return list(dict.fromkeys([*OWN, *launch.shipped_names()]))


def compose(wish: Wish, registry: Registry) -> str:
    """The text of a new spec, checked; raises `UsageError` for what cannot be."""
    checked_name(wish.name, "spec")
    if wish.source not in sources():
        raise _unknown(wish.source, sources(), "spec to begin from")
    named = bool(wish.tools or wish.allow or wish.ask)
    path = None if named and wish.source in OWN else launch.shipped(wish.source)
    if named and path is not None:
        raise UsageError(
            f"`{wish.source}` has tools of its own",
            remedy="name tools with --from empty, or edit the file afterwards",
        )
    text = _composed(wish, registry) if path is None else _copied(path, wish)
    loaded = launch.load_text(text, registry, f"{wish.name}.yaml")
    if loaded.machine is None or loaded.diagnostics:
        told = render_text(loaded.diagnostics, {loaded.name: loaded.source}).rstrip("\n")
        raise LoopspecError(f"the new spec would not be right:\n{told}", remedy="choose otherwise")
    return text


def write_spec(text: str, path: Path) -> None:
    """Write a spec to a new file; raises `UsageError` when there is one."""
    if path.exists() or path.is_symlink():
        raise UsageError(
            "it is there already, and nothing is overwritten",
            place=str(path),
            remedy="give another name",
        )
    _write(path, text)


def _copied(path: Path, wish: Wish) -> str:
    """A shipped loop under another name, with another model; its comments stay."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\A# yaml-language-server:.*\n", "", text)
    text = re.sub(r"^name: .*$", f"name: {wish.name}", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^version: .*$", "version: 0.1.0", text, count=1, flags=re.MULTILINE)
    if wish.model:
        used, main = json.dumps(wish.model), re.compile(_MAIN, re.MULTILINE)
        text = main.sub(lambda found: found[1] + used, text, count=1)
    return text


def _composed(wish: Wish, registry: Registry) -> str:
    """A spec of our own, with the tools that are wanted."""
    uses = list(dict.fromkeys([*wish.tools, *wish.allow, *wish.ask]))
    both = [use for use in wish.allow if use in wish.ask]
    if both:
        raise UsageError(f"`{both[0]}` cannot be both allowed and asked about")
    tools = [_installed(use, registry) for use in uses]
    words = {
        "name": wish.name,
        "description": "Works with tools." if tools else "Talks.",
        "model": json.dumps(wish.model or "anthropic/claude-sonnet-4-5"),
        "tools": "",
        "authority": "",
        "replied": "          model.replied: ready",
        "acting": "",
    }
    if tools:
        words |= _with_tools(tools, wish)
    return _filled(_template("spec/empty.yaml.txt"), words)


def _with_tools(tools: Sequence[Tool], wish: Wish) -> dict[str, str]:
    """The parts of a spec that its tools ask for."""
    ids = {tool.name: tool.name.replace(".", "_") for tool in tools}
    asked = [
        ids[tool.name]
        for tool in tools
        if tool.name in wish.ask or (tool.name not in wish.allow and tool.effect != "read")
    ]
    allowed = [name for name in ids.values() if name not in asked]
    rules = [f"  {word}: [{{tools: [{', '.join(names)}]}}]" for word, names in _lists(allowed, asked)]
    if any(tool.paths for tool in tools):
        rules.append('  deny: [{tools: ["*"], paths: [".git/**", "**/.env"]}]')
    writes = any(tool.effect != "read" for tool in tools)
    routes = {"tools.settled": "streaming", "effect.lost": "awaiting_approval"}
    failed = '{target: ended, say: "No rollback point could be taken: {{ event.reason }}"}'
    more = {"boundary.failed": failed} if writes else {}
    running = ["        boundary: workspace"] if writes else []
    running += ["        on:", *(f"          {e}: {t}" for e, t in {**routes, **more}.items())]
    acting = _filled(_template("spec/acting.yaml.txt"), {"boundary": "\n".join(running)})
    moves = ("{guard: size(event.calls) > 0, target: deciding}", "{target: ready}")
    guarded = "\n".join(f"            - {move}" for move in moves)
    return {
        "tools": "tools:\n" + "".join(f"  {ids[t.name]}: {_use(t)}\n" for t in tools) + "\n",
        "authority": "authority:\n" + "\n".join(rules) + "\n",
        "replied": f"          model.replied:\n{guarded}",
        "acting": acting,
    }


def _lists(allowed: list[str], asked: list[str]) -> list[tuple[str, list[str]]]:
    """The rules that say something."""
    return [(word, names) for word, names in (("allow", allowed), ("ask", asked)) if names]


def _use(tool: Tool) -> str:
    """How a spec uses a tool; the keys it must have get an example's value."""
    schema = tool.config_schema
    needed = {key: sample(schema["properties"].get(key, {})) for key in schema.get("required", ())}
    more = f", with: {json.dumps(needed)}" if needed else ""
    return f"{{use: {tool.name}{more}}}"


def _installed(use: str, registry: Registry) -> Tool:
    """An installed tool; raises `UsageError`."""
    found = registry.tools.get(use)
    if found is None:
        raise _unknown(use, list(registry.tools), "tool")
    return found


def _unknown(name: str, known: list[str], what: str) -> UsageError:
    """The fault of a name nobody knows."""
    near = nearest(name, known)
    remedy = f"did you mean {listing(near)}?" if near else f"known are {', '.join(known)}"
    return UsageError(f"there is no {what} {quote(name)}", remedy=remedy)


def _template(name: str) -> str:
    """A template's text."""
    return (Path(str(files("loopspec"))) / "templates" / name).read_text(encoding="utf-8")


def _filled(text: str, words: Mapping[str, Any]) -> str:
    """A template with its words."""
    for name, value in words.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _write(path: Path, text: str) -> None:
    """Write a new file and the folders above it; raises `UsageError` if it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise UsageError("it is there already, and nothing is overwritten", place=str(path)) from None
    with open(number, "w", encoding="utf-8") as file:
        file.write(text)
