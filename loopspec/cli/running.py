"""`loopspec run` and `loopspec resume`: a session from its start, or from where it stands."""

import asyncio
import contextlib
import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loopspec.cli.exits import exit_of
from loopspec.cli.options import open_store, resolve_session, run_options, store_option
from loopspec.cli.output import is_terminal
from loopspec.errors import BadSpec, LoopspecError, UsageError
from loopspec.events import Kept
from loopspec.version import __version__


def _click_path(**kinds: Any) -> Any:
    """A click path type that gives `Path`."""
    return click.Path(path_type=Path, **kinds)


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
    machine = launch.with_models(loaded.machine, model)
    machine = launch.anchored(machine, launch.find(spec).parent)
    inputs = launch.parse_inputs(machine, input)
    where = _workdir(workdir)
    windows = launch.preflight(machine)
    started = launch.started(machine, registry, inputs, where, windows, __version__)
    opened = open_store(store)
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    key = launch.check_id(session) if session else launch.new_id(machine)

    async def begin() -> Any:
        made, first = await Session.create(
            opened, machine, key, started, SystemClock(), redactor()
        )
        return made, first, _said(prompt)

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
    from loopspec.drivers.resuming import extensions, first_events
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    more = extensions(extend)
    opened = open_store(store)
    key = resolve_session(opened, session)
    loaded = Session.load(opened, key, SystemClock(), redactor())
    _still_possible(loaded)
    events: list[tuple[Kept, str]] = [(event, "person") for event in more]
    events += first_events(loaded, prompt)

    async def begin() -> Any:
        return loaded, None, events

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
    from loopspec.events import UserMessage

    if prompt is None:
        return []
    if not prompt.strip():
        raise UsageError("`--prompt` is empty")
    return [(UserMessage(text=prompt), "person")]


def _workdir(given: Path | None) -> Path:
    """The work directory, resolved; raises `UsageError`."""
    where = (given or Path.cwd()).resolve()
    if not where.is_dir():
        raise UsageError(f"the work directory {where} is no directory")
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
    door = make_door(output_format, yes, ask)
    try:
        return asyncio.run(_main(begin, door))
    finally:
        door.close()
        with contextlib.suppress(LoopspecError):
            store.close()


async def _main(begin: Callable[[], Any], door: Any) -> int:
    """Create or load, drive, show the end."""
    from loopspec.drivers.local import LocalDriver
    from loopspec.registry import installed

    session, first_step, events = await begin()
    driver = LocalDriver(session, installed(), door)
    door.opened(session, driver)
    with _signals(driver, door):
        rest = await driver.run(events, first_step)
    code = exit_of(rest, session.snapshot)
    door.ended(session, rest, code)
    return int(code)


@contextlib.contextmanager
def _signals(driver: Any, door: Any) -> Any:
    """Ctrl-C interrupts at once; SIGTERM and a lost terminal park the session."""
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def begin(work: Callable[[], Any]) -> None:
        task = loop.create_task(work())
        pending.add(task)
        task.add_done_callback(pending.discard)

    interrupt = functools.partial(_interrupt, driver, [])
    park = functools.partial(_park, driver)
    loop.add_signal_handler(signal.SIGINT, begin, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, begin, functools.partial(park, number.name))
    door.on_gone(
        lambda: loop.call_soon_threadsafe(
            begin, functools.partial(park, "the output was closed")
        )
    )
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        for task in pending:
            task.cancel()


async def _interrupt(driver: Any, before: list[bool]) -> None:
    """The first Ctrl-C interrupts the work; one that nothing answers to leaves."""
    from loopspec.events import UserInterrupted
    from loopspec.machine.rest import Rest
    from loopspec.machine.step import REFUSED

    if before:
        driver.stop(Rest("interrupted"))
        return
    with contextlib.suppress(LoopspecError):
        step = await driver.tell(UserInterrupted(reason="Ctrl-C"))
        if step.outcome == REFUSED:
            driver.stop(Rest("interrupted"))
            return
    if not is_terminal():
        before.append(True)


async def _park(driver: Any, reason: str) -> None:
    """Ask the session to park; one that does not route this is left as the journal has it."""
    from loopspec.events import HostSuspended
    from loopspec.machine.rest import Rest

    with contextlib.suppress(LoopspecError):
        step = await driver.tell(HostSuspended(reason=reason), "host")
        if step.outcome != "moved":
            driver.stop(Rest("suspended"))


