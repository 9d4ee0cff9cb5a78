"""`kinds`, `events`, `explain-code` and `schema`: the language, explained where one sits."""

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from loopspec.errors import UsageError

_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.command()
@click.argument("name", required=False)
@_format
def kinds(name: str | None, form: str) -> None:
    """List the kinds of states, or tell all about the kind NAME."""
    from loopspec.registry import installed
    from loopspec.views.reference_facts import kind_help
    from loopspec.views.reference_terminal import kind_text, kinds_text

    known = installed().kinds
    if name is None:
        every = [kind_help(kind) for kind in known.values()]
        _show(every, kinds_text(every), form)
        return
    one = kind_help(known[_known(name, known, "kind", "loopspec kinds")])
    _show(one, kind_text(one), form)


@click.command()
@click.argument("name", required=False)
@_format
def events(name: str | None, form: str) -> None:
    """List the events, or tell all about the event NAME: its fields, who raises it, a guard."""
    from loopspec.registry import installed
    from loopspec.views.reference_facts import event_helps
    from loopspec.views.reference_terminal import event_text, events_text

    known = event_helps(installed().kinds)
    if name is None:
        every = list(known.values())
        _show(every, events_text(every), form)
        return
    one = known[_known(name, known, "event", "loopspec events")]
    _show(one, event_text(one), form)


@click.command("explain-code")
@click.argument("code", required=False)
def explain_code(code: str | None) -> None:
    """Explain the diagnostic CODE (LS012), or list every code."""
    from loopspec.spec.codes import CODES
    from loopspec.spec.codes import severity as severity_of
    from loopspec.views.reference_terminal import codes_text, page_text

    if code is None:
        _echo(codes_text(CODES, {known: severity_of(known) for known in CODES}))
        return
    found = _known(code.upper(), CODES, "code", "loopspec explain-code")
    page = page_of(found)
    if page is None:
        _echo(f"{found}: {CODES[found]}\n\nThis {severity_of(found)} has no page of its own.")
        return
    _echo(page_text(page.read_text(encoding="utf-8")))


@click.command()
@click.option("--merged", is_flag=True, help="Every installed kind and tool, and no others.")
def schema(merged: bool) -> None:
    """Write the JSON Schema of the language, for editors."""
    from loopspec.cli.generated import open_schema
    from loopspec.drivers.launch import tool_infos
    from loopspec.registry import installed
    from loopspec.spec.schema import build, render

    if merged:
        registry = installed()
        made = build(registry.kinds, tool_infos(registry))
    else:
        made = open_schema()
    click.echo(render(made), nl=False)


def page_of(code: str) -> Path | None:
    """The page about a code, in an installed package or in the source tree; None without one."""
    package = Path(str(files("loopspec")))
    for folder in (package / "shipped" / "errors", package.parent / "docs" / "errors"):
        page = folder / f"{code}.md"
        if page.is_file():
            return page
    return None


def _known(name: str, known: Iterable[str], what: str, command: str) -> str:
    """The name, if it is known; raises `UsageError` naming the near ones."""
    from loopspec.spec.diagnose import listing, nearest, quote

    names = list(known)
    if name in names:
        return name
    near = nearest(name, names)
    remedy = f"did you mean {listing(near)}?" if near else f"see all of them: {command}"
    raise UsageError(f"there is no {what} {quote(name)}", remedy=remedy)


def _show(data: Any, text: str, form: str) -> None:
    """Write facts as text for a person or as JSON for a program."""
    import msgspec

    if form == "json":
        click.echo(json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False))
    else:
        _echo(text)


def _echo(text: str) -> None:
    """Write a text, of which plugins may have written parts, without control characters."""
    from loopspec.cli.style import printable_block

    click.echo(printable_block(text))
