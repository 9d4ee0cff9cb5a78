"""`plugins` and `tools`: what is installed, whose it is, and what is wrong with it."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from loopspec.errors import Exit, UsageError

if TYPE_CHECKING:
    from loopspec.hooks import Tool
    from loopspec.registry import PluginInfo, Registry

SORTS: Final = ("kind", "tool", "performer", "store", "observer", "model")
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.command()
@_format
@click.pass_context
def plugins(ctx: click.Context, form: str) -> None:
    """List the installed plugins: version, distribution, what they bring, what is wrong with them.

    Ends with 1 when one of them cannot be used; no session starts as long as it is installed.
    """
    from loopspec.registry import survey

    found = survey()
    if form == "json":
        _echo(json.dumps([_facts(one) for one in found], indent=2, ensure_ascii=False))
    else:
        _echo("\n".join(_told(one) for one in found))
    ctx.exit(int(Exit.FAILED) if any(one.fault for one in found) else 0)


@click.command()
@click.argument("name", required=False)
@_format
def tools(name: str | None, form: str) -> None:
    """List the tools a spec can `use`, or tell all about the tool NAME: its arguments, its keys."""
    from loopspec.registry import installed

    registry = installed()
    if name is None:
        every = [_tool(registry, tool) for tool in registry.tools.values()]
        text = _rows([(f["name"], f["effect"], f["origin"], _first(f["description"])) for f in every])
        more = "\n\nMore about one of them: loopspec tools NAME"
        _echo(json.dumps(every, indent=2, ensure_ascii=False) if form == "json" else text + more)
        return
    one = registry.tools.get(name)
    if one is None:
        raise _unknown(name, list(registry.tools))
    facts = _tool(registry, one)
    _echo(json.dumps(facts, indent=2, ensure_ascii=False) if form == "json" else _about(facts))


def _unknown(name: str, known: list[str]) -> UsageError:
    """The fault of a tool nobody brings."""
    from loopspec.spec.diagnose import listing, nearest, quote

    near = nearest(name, known)
    remedy = f"did you mean {listing(near)}?" if near else "see all of them: loopspec tools"
    return UsageError(f"there is no tool {quote(name)}", remedy=remedy)


def _facts(one: "PluginInfo") -> dict[str, Any]:
    """A plugin, for programs."""
    return {
        "name": one.name,
        "version": one.version,
        "distribution": one.distribution,
        "module": one.value,
        "brings": {sort: list(one.brings.get(sort, ())) for sort in SORTS},
        "ok": not one.fault,
        "fault": one.fault,
        "remedy": one.remedy,
    }


def _told(one: "PluginInfo") -> str:
    """A plugin, for people."""
    state = "cannot be used" if one.fault else "ok"
    lines = [f"{one.name} {one.version} ({one.distribution or 'unknown'}, {one.value}): {state}"]
    for sort in SORTS:
        if names := one.brings.get(sort):
            lines.append(f"  {sort + 's':<11} {', '.join(names)}")
    if one.fault:
        lines.append(f"  {one.fault}")
    if one.fault and one.remedy:
        lines.append(f"  {one.remedy}")
    return "\n".join(lines)


def _tool(registry: "Registry", tool: "Tool") -> dict[str, Any]:
    """A tool, for programs."""
    plugin = registry.origins[f"tool {tool.name}"]
    return {
        "name": tool.name,
        "plugin": plugin,
        "version": registry.versions[plugin],
        "origin": f"{plugin} {registry.versions[plugin]}",
        "effect": tool.effect,
        "after_crash": tool.after_crash,
        "description": tool.description,
        "total": tool.total,
        "silence": tool.silence,
        "paths": list(tool.paths),
        "command": tool.command,
        "preview": tool.preview is not None,
        "parameters": dict(tool.parameters),
        "config": dict(tool.config_schema),
    }


def _about(facts: dict[str, Any]) -> str:
    """All about one tool, for people."""
    silence = f", {facts['silence']:g} s of silence" if facts["silence"] else ""
    rows = [
        ("from", facts["origin"]),
        ("effect", facts["effect"]),
        ("after a crash", facts["after_crash"]),
        ("deadlines", f"{facts['total']:g} s in all{silence}"),
    ]
    if facts["paths"] or facts["command"]:
        rules = [f"`paths` on {', '.join(facts['paths'])}"] if facts["paths"] else []
        rules += [f"`commands` on {facts['command']}"] if facts["command"] else []
        rows.append(("rules match", "; ".join(rules)))
    parts = [f"{facts['name']}: {facts['description']}", _rows(rows)]
    for title, schema in (("arguments", facts["parameters"]), ("keys (with:)", facts["config"])):
        parts.append(f"{title}\n" + (_properties(schema) or "  none"))
    required = [f"{key}: …" for key in facts["config"].get("required", ())]
    configured = f", with: {{{', '.join(required)}}}" if required else ""
    name = facts["name"].rpartition(".")[2]
    parts.append(f"example\n  tools:\n    {name}: {{use: {facts['name']}{configured}}}")
    return "\n\n".join(parts)


def _properties(schema: dict[str, Any]) -> str:
    """The keys of an object's schema, a row each."""
    required = schema.get("required", ())
    rows = []
    for name, one in schema.get("properties", {}).items():
        one = one if isinstance(one, dict) else {}
        sort = one.get("format") or one.get("type") or ("one of" if "enum" in one else "any")
        sort = "/".join(sort) if isinstance(sort, list) else sort
        choices = f" one of {', '.join(map(str, one['enum']))}." if "enum" in one else ""
        mark = "required" if name in required else "optional"
        rows.append((f"  {name}", sort, mark, (one.get("description", "") + choices).strip()))
    return _rows(rows)


def _rows(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns, all but the last as wide as they must be."""
    if not rows:
        return ""
    wide = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, wide, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


def _first(text: str) -> str:
    """The first sentence of a text."""
    from loopspec.spec.helpwords import first_sentence

    return first_sentence(text)


def _echo(text: str) -> None:
    """Write a text, of which plugins may have written parts, without control characters."""
    from loopspec.cli.style import printable_block

    click.echo(printable_block(text))
