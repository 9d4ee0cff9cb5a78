"""Options shared by commands: the store, the session, and what `run` takes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from loopspec.errors import NotFound, UsageError
from loopspec.stores.base import Store

F = TypeVar("F", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Directory of the store. Default: $LOOPSPEC_STORE, else the user's state directory.",
)


def run_options(command: F) -> F:
    """Add the options of `run` (which `demo` takes too)."""
    options = [
        click.option("-i", "--input", multiple=True, metavar="NAME=VALUE", help="An input."),
        click.option("-p", "--prompt", help="The first message; the run ends when it rests."),
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
        click.option(
            "--yes", is_flag=True, help="Answer what is asked with yes; never overrides a deny."
        ),
        click.option(
            "--output-format",
            type=click.Choice(["text", "json", "stream-json"]),
            default="text",
            show_default=True,
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def store_path(given: Path | None) -> Path:
    """The store's directory: as given, from the environment, or the user's state directory."""
    named = os.environ.get("LOOPSPEC_STORE")
    if given is None and named:
        given = Path(named)
    if given is None:
        state = os.environ.get("XDG_STATE_HOME")
        given = (Path(state) if state else Path.home() / ".local" / "state") / "loopspec"
    return given.absolute()


def open_store(given: Path | None, *, readonly: bool = False) -> Store:
    """Open the store; raises `StoreError` with one clear line."""
    from loopspec.stores.sqlite import SqliteStore

    return SqliteStore(store_path(given), readonly=readonly)


def resolve_session(store: Store, given: str) -> str:
    """A session by its id, by the unique beginning of one, or `last`; raises `NotFound`."""
    rows = store.sessions()
    begun = [row for row in rows if row.head >= 0]
    if given == "last" and begun:
        return max(begun, key=lambda r: r.updated).session
    names = [r.session for r in rows]
    if given in names:
        return given
    close = [n for n in names if n.startswith(given)]
    if len(close) == 1:
        return close[0]
    if close:
        raise UsageError(f"`{given}` fits {len(close)} sessions: {', '.join(sorted(close)[:5])}")
    raise NotFound(f"there is no session `{given}`", remedy="see: loopspec sessions")
