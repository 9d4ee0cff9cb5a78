"""`--observe`: which observers watch a run. They are made here: a fault shows before any session."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _choose(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> None:
    """Make the observers that are named here, or else in the environment; raises `LoopspecError`."""
    text = ",".join(names) or os.environ.get("LOOPSPEC_OBSERVE", "")
    if not text or ctx.resilient_parsing:
        return
    from loopspec.drivers.observing import choose, named
    from loopspec.registry import installed

    choose(named(text), installed())


observe_option: Callable[[F], F] = click.option(
    "--observe",
    multiple=True,
    metavar="NAME",
    expose_value=False,
    callback=_choose,
    help="Let an observer watch: otel, or a plugin's (loopspec plugins). Also $LOOPSPEC_OBSERVE.",
)
