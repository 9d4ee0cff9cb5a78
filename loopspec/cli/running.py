"""`loopspec run` and `loopspec resume`: a session from its start, or from where it stands."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import click

from loopspec.cli.exits import exit_of
from loopspec.cli.options import open_store, resolve_session, run_options, store_option
from loopspec.cli.output import is_terminal
from loopspec.cli.signals import keep_to_ourselves, signals
from loopspec.errors import BadSpec, Conflict, Exit, LoopspecError, UsageError
from loopspec.events import Kept
from loopspec.version import __version__

GRACE: Final = 3.0
"""Seconds that work which was cancelled may take to end once the run is over."""


@click.command()
@click.argument("spec")
@run_options
@click.pass_context
def run(ctx: click.Context, /, spec: str, **options: Any) -> None:
    """Run SPEC (a file, or the name of a shipped loop) in the work directory."""
    ctx.exit(start(spec, **options))


@click.command()
@click.argument("session")
@click.option("-p", "--prompt", help="Say this to the session.")
@click.option("--yes", is_flag=True, help="Answer what is asked with yes; never overrides a deny.")
@click.option(
    "--extend",
    multiple=True,
    metavar="BUDGET=AMOUNT",
    help="More of a budget: turns=20, tokens=100000, usd=1.50, elapsed=30m.",
)
@click.option(
    "--output-format",
    type=click.Choice(["text", "json", "stream-json"]),
    default="text",
    show_default=True,
)
@store_option
@click.pass_context
def resume(
    ctx: click.Context,
    session: str,
    prompt: str | None,
    yes: bool,
    extend: tuple[str, ...],
    output_format: str,
    store: Path | None,
) -> None:
    """Go on with SESSION from where its journal stands."""
    ctx.exit(again(session, prompt, yes, extend, output_format, store))


def start(
    spec: str,
    *,
    input: tuple[str, ...] = (),
    prompt: str | None = None,
    model: tuple[str, ...] = (),
    workdir: Path | None = None,
    store: Path | None = None,
    session: str | None = None,
    yes: bool = False,
    output_format: str = "text",
) -> int:
    """Start a session and run it; gives back the exit code. Raises `LoopspecError`."""
    from loopspec.cli.checking import show_diagnostics
    from loopspec.drivers import launch
    from loopspec.registry import installed

    registry = installed()
    loaded = launch.load(spec, registry)
    if loaded.machine is None:
        show_diagnostics([loaded], "text", err=True)
        raise BadSpec(f"{spec} cannot be run as it is", remedy="see the lines above")
    if loaded.diagnostics and output_format == "text":
        many = len(loaded.diagnostics)
        what = "a warning" if many == 1 else f"{many} warnings"
        click.echo(f"{spec} has {what}: loopspec check {spec}", err=True)
    machine = launch.with_models(loaded.machine, model)
    machine = launch.anchored(machine, launch.find(spec).parent)
    inputs = launch.parse_inputs(machine, input)
    said = _said(prompt)
    where = _workdir(workdir)
    windows = launch.preflight(machine)
    started = launch.started(machine, registry, inputs, where, windows, __version__)
    opened = open_store(store)
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    key = launch.check_id(session) if session else launch.new_id(machine)

    async def begin() -> Any:
        try:
            made, first = await Session.create(
                opened, machine, key, started, SystemClock(), redactor()
            )
        except Conflict:
            raise UsageError(
                f"there is a session `{key}` already", remedy=f"go on with: loopspec resume {key}"
            ) from None
        return made, first, said

    return _drive(begin, opened, yes, output_format, ask=prompt is None)


def again(
    session: str,
    prompt: str | None,
    yes: bool,
    extend: tuple[str, ...],
    output_format: str,
    store: Path | None,
) -> int:
    """Resume a session; gives back the exit code. Raises `LoopspecError`."""
    from loopspec.drivers.resuming import check_prompt, extensions, first_events
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    more = extensions(extend)
    opened = open_store(store)
    key = resolve_session(opened, session)
    loaded = Session.load(opened, key, SystemClock(), redactor())
    _still_possible(loaded)
    check_prompt(loaded, prompt)

    def first(session: Session) -> list[tuple[Kept, str]]:
        return first_events(session, prompt, more)

    async def begin() -> Any:
        return loaded, None, first

    return _drive(begin, opened, yes, output_format, ask=prompt is None)


def _still_possible(session: Any) -> None:
    """The work directory must still be there; raises `LoopspecError`."""
    where = Path(session.snapshot.workdir)
    if not where.is_dir():
        raise LoopspecError(
            "the session's work directory is gone",
            place=str(where),
            remedy="put it back, then resume",
        )


def _said(prompt: str | None) -> list[tuple[Any, str]]:
    """The first message, if one was given."""
    from loopspec.drivers.resuming import plain_prompt
    from loopspec.events import UserMessage

    if prompt is None:
        return []
    return [(UserMessage(text=plain_prompt(prompt)), "person")]


def _workdir(given: Path | None) -> Path:
    """The work directory, resolved; raises `UsageError`."""
    where = (given or Path.cwd()).resolve()
    if not where.is_dir():
        raise UsageError(f"the work directory {where} is no directory")
    try:
        str(where).encode()
    except UnicodeEncodeError:
        raise UsageError("the work directory's name is no UTF-8 text") from None
    return where


def make_door(output_format: str, yes: bool, ask: bool) -> Any:
    """The door for an output format, and for whether a person sits there."""
    from loopspec.cli.program_door import ProgramDoor
    from loopspec.cli.text_door import TextDoor

    if output_format == "text":
        return TextDoor(yes=yes, terminal=is_terminal(), ask=ask)
    return ProgramDoor(yes=yes, stream=output_format == "stream-json")


def _drive(
    begin: Callable[[], Any], store: Any, yes: bool, output_format: str, *, ask: bool
) -> int:
    """Run a session behind a door until it rests; gives back the exit code."""
    keep_to_ourselves()
    door = make_door(output_format, yes, ask)
    busy = True
    try:
        code, busy = run_to_end(_main(begin, door))
    finally:
        door.close()
        with contextlib.suppress(LoopspecError):
            store.close()
    if busy:  # a plugin's code ignores its cancellation; everything is written, so leave it
        os._exit(code)
    if door.gone and code in (Exit.OK, Exit.SUSPENDED):
        raise Unheard(
            "the output was closed before everything was written",
            place=f"session {door.session}",
            remedy=f"go on with: loopspec resume {door.session}",
            code=code,
        )
    return code


def run_to_end(work: Coroutine[Any, Any, int]) -> tuple[int, bool]:
    """Run the event loop; gives back the code and whether something would not stop.

    `asyncio.run` waits without a limit for tasks that swallow their cancellation.
    """
    loop = asyncio.new_event_loop()
    try:
        code = loop.run_until_complete(work)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=GRACE))
        return code, any(not task.done() for task in left)
    finally:
        if not any(not task.done() for task in asyncio.all_tasks(loop)):
            loop.close()


class Unheard(LoopspecError):
    """Nobody read the end of the output; the exit code tells whether the session was parked."""

    def __init__(self, fault: str, *, place: str, remedy: str, code: int) -> None:
        """`code` is what the run would have ended with."""
        super().__init__(fault, place=place, remedy=remedy)
        self.exit = Exit.SUSPENDED if code == Exit.SUSPENDED else Exit.FAILED


async def _main(begin: Callable[[], Any], door: Any) -> int:
    """Create or load, drive, show the end."""
    from loopspec.drivers.local import LocalDriver
    from loopspec.drivers.threads import DaemonThreads
    from loopspec.registry import installed

    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    session, first_step, events = await begin()
    driver = LocalDriver(session, installed(), door)
    door.opened(session, driver)
    async with signals(driver, door):
        rest = await driver.run(events, first_step)
    code = exit_of(rest, session.snapshot)
    door.ended(session, rest, code)
    return int(code)
