"""Options shared by commands: the store, the session, and what `run` and `resume` take."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from loopspec.cli.observing import observe_option
from loopspec.stores.base import Store

F = TypeVar("F", bound=Callable[..., Any])

SCHEME: Final = re.compile(r"([a-z][a-z0-9_+-]*):(.*)", re.DOTALL)


class StorePlace(click.Path):
    """A directory, or `scheme:where`, which stays a text: a path would lose one of two slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The place, as `open_store` takes it."""
        text = str(value)
        return text if SCHEME.fullmatch(text) and not Path(text).exists() else Path(text)


store_option = click.option(
    "--store",
    type=StorePlace(),
    help="Directory of the store, or SCHEME:WHERE of a plugin's. Default: $LOOPSPEC_STORE, else the "
    "user's state directory.",
)

PROGRAM_OPTIONS = (
    click.option("--yes", is_flag=True, help="Answer what is asked with yes; never overrides a deny."),
    click.option(
        "--output-format",
        type=click.Choice(["text", "json", "stream-json"]),
        default="text",
        show_default=True,
        help="What is written to standard output: see docs/programs.md.",
    ),
    click.option(
        "--output-schema",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A JSON Schema the final answer must conform to; else the run fails.",
    ),
    click.option(
        "-o",
        "--output",
        "answer",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the final answer to FILE (0600, replaced whole) when the run ends with 0.",
    ),
    click.option(
        "--max-turns",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most so many model turns; never more than the spec allows.",
    ),
    click.option(
        "--max-usd",
        metavar="AMOUNT",
        help="Spend at most so much; never more than the spec allows.",
    ),
    observe_option,
)


def program_options(command: F) -> F:
    """Add what `run` and `resume` both take."""
    for option in reversed(PROGRAM_OPTIONS):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add the options of `run` (which `demo` takes too)."""
    options = [
        click.option("-i", "--input", multiple=True, metavar="NAME=VALUE", help="An input."),
        click.option(
            "-p",
            "--prompt",
            multiple=True,
            metavar="TEXT",
            help="The first message; the run ends when it rests. `-` is standard input.",
        ),
        click.option(
            "--model",
            multiple=True,
            metavar="NAME=MODEL",
            help="Use another model: main=openai/gpt-5-mini, main=scripted/replies.yaml.",
        ),
        click.option(
            "--workdir", type=click.Path(path_type=Path), help="Where the tools work. Default: here."
        ),
        store_option,
        click.option("--session", metavar="ID", help="The new session's id. Default: made up."),
        program_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def store_path(given: Path | None) -> Path:
    """The store's directory: as given, from the environment, or the user's state directory."""
    from loopspec.drivers import places

    return places.store_path(given)


def open_store(given: Path | str | None, *, readonly: bool = False) -> Store:
    """Open the store; raises `StoreError` with one clear line, `UsageError` for an unknown scheme."""
    from loopspec.drivers import places

    return places.open_store(given, readonly=readonly)


def resolve_session(store: Store, given: str) -> str:
    """A session by its id, by the unique beginning of one, or `last`; raises `NotFound`."""
    from loopspec.drivers import places

    return places.resolve_session(store, given)
