"""`loopspec check`: what is wrong with a spec, before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loopspec.cli.output import standard_input
from loopspec.errors import Exit, UsageError


@click.command()
@click.argument("specs", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="github: annotations of a pull request.",
)
@click.option("--lenient", is_flag=True, help="Warnings alone do not fail.")
@click.pass_context
def check(ctx: click.Context, specs: tuple[str, ...], form: str, lenient: bool) -> None:
    """Check SPECs (files, names of shipped loops, - for standard input): all that is wrong, by place.

    Exit code 52 if anything is found. A warning can be accepted where it stands, with a reason:
    `accept: {LS706: why it is right here}`.
    """
    from loopspec.registry import installed

    registry = installed()
    alone = len(specs) == 1 and form == "text"
    loaded = [_load(spec, registry, alone) for spec in specs]
    show_diagnostics(loaded, form, lenient=lenient)
    wrong = any(x.machine is None or (x.diagnostics and not lenient) for x in loaded)
    ctx.exit(int(Exit.BAD_SPEC if wrong else Exit.OK))


def _load(spec: str, registry: Any, alone: bool) -> Any:
    """Read one spec; among others, or for a program, a missing file is a fault like any other."""
    from loopspec.drivers import launch

    if spec == "-":
        return launch.load_text(standard_input(), registry)
    try:
        return launch.load(spec, registry)
    except UsageError:
        if alone:
            raise
        return launch.load_path(Path(spec), registry)


def show_diagnostics(
    loaded: Sequence[Any], form: str, *, err: bool = False, lenient: bool = False
) -> None:
    """Write the diagnostics of read specs, and how each spec stands (not with `err`)."""
    from loopspec.spec.diagnose import render_github, render_json, render_text

    found = [d for x in loaded for d in x.diagnostics]
    if form != "text":
        text = render_json(found) if form == "json" else render_github(found)
        if text:
            click.echo(text, err=err)
        return
    for x in loaded:
        if x.diagnostics:
            click.echo(render_text(x.diagnostics, {x.name: x.source}).rstrip("\n"), err=err)
        if not err:
            click.echo(_verdict(x, lenient))


def _verdict(x: Any, lenient: bool) -> str:
    """How a spec stands, in a line."""
    errors = sum(d.severity == "error" for d in x.diagnostics)
    warnings = len(x.diagnostics) - errors
    counts = " and ".join(_counted(n, w) for n, w in ((errors, "error"), (warnings, "warning")) if n)
    if errors:
        return f"{x.name}: {counts}"
    if warnings and not lenient:
        return f"{x.name}: {counts}; correct it, or accept it at the place with a reason (`accept`)"
    m = x.machine
    noted = [counts] if warnings else []
    noted += [f"{_counted(len(x.accepted), 'warning')} accepted"] if x.accepted else []
    return (
        f"{x.name}: right: {m.name} {m.version}, {_counted(len(m.states), 'state')}, "
        f"{_counted(len(m.transitions), 'transition')}, "
        f"{''.join(f'{n}, ' for n in noted)}machine {m.digest[:12]}"
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
