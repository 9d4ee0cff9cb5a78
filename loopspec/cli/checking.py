"""`loopspec check` and `loopspec schema`: what is wrong with a spec, before anything runs."""

import json
from collections.abc import Sequence
from typing import Any

import click

from loopspec.errors import Exit


@click.command()
@click.argument("specs", nargs=-1, required=True)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.pass_context
def check(ctx: click.Context, specs: tuple[str, ...], form: str) -> None:
    """Check SPECs (files or names of shipped loops): everything that is wrong, by place."""
    from loopspec.drivers import launch
    from loopspec.registry import installed

    registry = installed()
    loaded = [launch.load(spec, registry) for spec in specs]
    show_diagnostics(loaded, form)
    ctx.exit(int(Exit.BAD_SPEC if any(x.machine is None for x in loaded) else Exit.OK))


def show_diagnostics(loaded: Sequence[Any], form: str, *, err: bool = False) -> None:
    """Write the diagnostics of read specs, and a line for each spec that is right."""
    from loopspec.spec.diagnose import render_json, render_text

    if form == "json":
        found = [d for x in loaded for d in x.diagnostics]
        click.echo(render_json(found), err=err)
        return
    for x in loaded:
        if x.diagnostics:
            click.echo(render_text(x.diagnostics, {x.name: x.source}).rstrip("\n"), err=err)
        if x.machine is not None and not err:
            m = x.machine
            click.echo(
                f"{x.name}: right: {m.name} {m.version}, {len(m.states)} states, "
                f"{len(m.transitions)} transitions, machine {m.digest[:12]}"
            )


@click.command()
@click.option("--merged", is_flag=True, help="With the keys of every installed kind and tool.")
def schema(merged: bool) -> None:
    """Write the JSON Schema of the language, for editors."""
    from loopspec.drivers.launch import tool_infos
    from loopspec.registry import installed
    from loopspec.spec.schema import build

    if merged:
        registry = installed()
        made = build(registry.kinds, tool_infos(registry))
    else:
        made = build()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
