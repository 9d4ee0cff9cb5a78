"""`new plugin` and `new spec`: something to begin with, that is right from the start."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from loopspec.cli.output import is_terminal

if TYPE_CHECKING:
    from loopspec.registry import Registry

DEFAULT_MODEL: Final = "anthropic/claude-sonnet-4-5"
READING: Final = "files.read,files.list,files.search"


@click.group()
def new() -> None:
    """Begin a plugin or a spec."""


@new.command()
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    help="Where the package's folder is made. Default: here.",
)
def plugin(name: str, folder: Path) -> None:
    """Write the package of a plugin NAME: a tool, a kind, their tests, a loop that uses both.

    It passes its own tests as it is. Nothing that exists is overwritten.
    """
    from loopspec.drivers.making import write_plugin
    from loopspec.registry import installed

    where, written = write_plugin(name, folder, installed())
    for file in written:
        click.echo(f"wrote {where / file}")
    click.echo(f"\ncd {where} && python -m pip install -e . && python -m pytest")


@new.command()
@click.argument("name", required=False)
@click.option("--from", "source", metavar="SPEC", help="empty, chat, or a shipped loop. Default: empty.")
@click.option("--model", metavar="MODEL", help=f"The model. Default: {DEFAULT_MODEL}.")
@click.option("--tools", metavar="LIST", help=f"Tools, e.g. {READING}; see: loopspec tools.")
@click.option("--allow", metavar="LIST", help="Tools that may run without a question.")
@click.option("--ask", metavar="LIST", help="Tools that a person is asked about.")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
@click.option("--yes", is_flag=True, help="Ask nothing: take what is not given by default.")
def spec(
    name: str | None,
    source: str | None,
    model: str | None,
    tools: str | None,
    allow: str | None,
    ask: str | None,
    folder: Path,
    yes: bool,
) -> None:
    """Write a spec NAME.yaml that passes `loopspec check`; at a terminal, asks for what is not given.

    Tools that only read are allowed, the others are asked about, unless --allow or --ask say otherwise.
    """
    from loopspec.drivers.making import Wish, checked_name, compose, sources, write_spec
    from loopspec.registry import installed

    asking = is_terminal() and not yes
    registry = installed()
    if name is None:
        name = click.prompt("Name", default="my-loop") if asking else "my-loop"
    checked_name(str(name), "spec")
    if source is None:
        source = "empty"
        if asking:
            source = click.prompt("From", default=source, type=click.Choice(sources()))
    if model is None and asking:
        model = click.prompt("Model", default=DEFAULT_MODEL)
    named = tools is not None or allow is not None or ask is not None
    if not named and source == "empty":
        tools = _asked_tools(registry) if asking else READING
    wish = Wish(
        name=str(name),
        source=str(source),
        model=model or "",
        tools=_list(tools),
        allow=_list(allow),
        ask=_list(ask),
    )
    text = compose(wish, registry)
    path = folder / f"{name}.yaml"
    write_spec(text, path)
    click.echo(f"wrote {path}")
    click.echo(f"\nloopspec check {path} && loopspec run {path}")


def _asked_tools(registry: "Registry") -> str:
    """Ask for the tools, after showing which there are."""
    for tool in registry.tools.values():
        click.echo(f"  {tool.name:<16} {tool.effect}", err=True)
    given: str = click.prompt("Tools", default=READING)
    return given


def _list(text: str | None) -> tuple[str, ...]:
    """The names in a list such as `files.read,shell.run`; none for `none`."""
    if text is None or text.strip() == "none":
        return ()
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
