"""`loopspec run` and `loopspec resume`: a session from its start, or from where it stands."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from loopspec.cli.answering import AnswerFile
from loopspec.cli.driving import Manner, Unheard, drive
from loopspec.cli.options import (
    open_store,
    program_options,
    resolve_session,
    run_options,
    store_option,
)
from loopspec.cli.prompting import joined, said
from loopspec.drivers.conforming import Wanted
from loopspec.drivers.ending import run_to_end as run_to_end
from loopspec.drivers.limiting import Limits, with_limits
from loopspec.errors import BadSpec, Conflict, LoopspecError, UsageError
from loopspec.events import Kept
from loopspec.version import __version__

FRESH = ("input", "session")
"""Options that only a new session takes."""


@click.command()
@click.argument("spec", required=False)
@click.option("-r", "--resume", "again_id", metavar="ID", help="Go on with this session.")
@click.option(
    "-c",
    "--continue",
    "newest",
    is_flag=True,
    help="Go on with the newest session of the work directory (of SPEC, if it is given).",
)
@run_options
@click.pass_context
def run(
    ctx: click.Context, /, spec: str | None, again_id: str | None, newest: bool, **options: Any
) -> None:
    """Run SPEC (a file, or the name of a shipped loop) in the work directory.

    What comes on standard input is the first message, or stands below the one of -p.
    """
    output_format = options["output_format"]

    def work() -> int:
        goes_on = newest or again_id is not None
        waits = not goes_on and not options["input"]
        options["prompt"] = said(options["prompt"], needed=waits)
        if goes_on:
            return _go_on(spec, again_id, newest, options)
        if spec is None:
            raise UsageError(
                "no spec is named",
                remedy="loopspec run SPEC; or -c for the newest session here, -r ID for another",
            )
        return start(spec, **options)

    ctx.exit(reported(output_format, work))


@click.command()
@click.argument("session")
@click.option(
    "-p", "--prompt", multiple=True, metavar="TEXT", help="Say this; `-` is standard input."
)
@click.option(
    "--extend",
    multiple=True,
    metavar="BUDGET=AMOUNT",
    help="More of a budget: turns=20, tokens=100000, usd=1.50, elapsed=30m.",
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME=MODEL",
    help="Use another model from the next call on: main=openai/gpt-5-mini; main=declared goes back.",
)
@store_option
@program_options
@click.pass_context
def resume(
    ctx: click.Context, /, session: str, prompt: tuple[str, ...], store: Path | None, **options: Any
) -> None:
    """Go on with SESSION from where its journal stands."""

    def work() -> int:
        text = said(prompt, needed=True) if "-" in prompt else joined(prompt)
        return again(session, text, store=store, **options)

    ctx.exit(reported(options["output_format"], work))


def reported(output_format: str, work: Callable[[], int]) -> int:
    """Do `work`; what stops it before the run has begun is a result object too, for a program."""
    try:
        return work()
    except LoopspecError as err:
        begun = isinstance(err, Unheard) or getattr(err, "told", False)
        if output_format != "text" and not begun:
            from loopspec.cli.program_door import written
            from loopspec.drivers.outcome import error_result

            sys.stdout.write(written(error_result(err)))
        raise


def start(
    spec: str,
    *,
    input: tuple[str, ...] = (),
    prompt: str | Sequence[str] | None = None,
    model: tuple[str, ...] = (),
    workdir: Path | None = None,
    store: Path | None = None,
    session: str | None = None,
    yes: bool = False,
    output_format: str = "text",
    output_schema: Path | None = None,
    answer: Path | None = None,
    max_turns: int | None = None,
    max_usd: str | None = None,
) -> int:
    """Start a session and run it; gives back the exit code. Raises `LoopspecError`."""
    from loopspec.cli.checking import show_diagnostics
    from loopspec.drivers import launch
    from loopspec.drivers.guidance import guided
    from loopspec.drivers.world import SystemClock, redactor
    from loopspec.registry import installed

    text = joined(prompt)
    manner, wanted = _manner(yes, output_format, output_schema, answer, ask=text is None)
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
    machine = with_limits(machine, _limits(max_turns, max_usd))
    machine = launch.anchored(machine, launch.find(spec).parent)
    inputs = launch.parse_inputs(machine, input)
    events = _said(_with_schema(text, wanted))
    where = _workdir(workdir)
    machine = guided(machine, where, redactor().text)
    windows = launch.preflight(machine, inputs, str(where))
    started = launch.started(machine, registry, inputs, where, windows, __version__)
    opened = open_store(store)
    from loopspec.drivers.session import Session

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
        return made, first, events

    return drive(begin, opened, manner)


def again(
    session: str,
    prompt: str | None,
    *,
    yes: bool = False,
    extend: tuple[str, ...] = (),
    model: tuple[str, ...] = (),
    output_format: str = "text",
    store: Path | None = None,
    output_schema: Path | None = None,
    answer: Path | None = None,
    max_turns: int | None = None,
    max_usd: str | None = None,
) -> int:
    """Resume a session; gives back the exit code. Raises `LoopspecError`."""
    from loopspec.drivers import launch
    from loopspec.drivers.choosing import choices
    from loopspec.drivers.resuming import check_prompt, extensions, first_events
    from loopspec.drivers.session import Session
    from loopspec.drivers.world import SystemClock, redactor

    more = extensions(extend)
    limits = _limits(max_turns, max_usd)
    manner, wanted = _manner(
        yes, output_format, output_schema, answer, ask=prompt is None, limits=limits
    )
    opened = open_store(store)
    key = resolve_session(opened, session)
    loaded = Session.load(opened, key, SystemClock(), redactor())
    _still_possible(loaded)
    text = _with_schema(prompt, wanted)
    check_prompt(loaded, text)
    if limits.usd is not None:  # its models need a price, or the limit would be a promise of nothing
        launch.preflight(with_limits(loaded.machine, limits))

    others = choices(loaded, model, Path.cwd())

    def first(session: Session) -> list[tuple[Kept, str]]:
        return [(event, "person") for event in others] + first_events(session, text, more)

    async def begin() -> Any:
        return loaded, None, first

    return drive(begin, opened, manner)


def _go_on(spec: str | None, given: str | None, newest: bool, options: dict[str, Any]) -> int:
    """`run` with -r or -c: find the session, and go on with it."""
    if given is not None and newest:
        raise UsageError("-r and -c both name a session", remedy="give one of them")
    refused = [f"--{name}" for name in FRESH if options[name]]
    if options["workdir"] is not None and not newest:
        refused.append("--workdir")
    if refused:
        raise UsageError(
            f"{', '.join(refused)}: a session keeps what it started with",
            remedy="leave it out, or start a new session without -r and -c",
        )
    name = _name_of(spec) if spec is not None else ""
    store = open_store(options["store"])
    try:
        if newest:
            found = newest_in(store, _workdir(options["workdir"]), name)
        else:
            found = resolve_session(store, given or "")
            _is_of(store, found, name)
    finally:
        store.close()
    kept = {k: v for k, v in options.items() if k not in (*FRESH, "workdir", "prompt")}
    return again(found, options["prompt"], **kept)


def _name_of(spec: str) -> str:
    """The name that the document `spec` gives its loop; raises `LoopspecError`."""
    from loopspec.drivers import launch
    from loopspec.registry import installed

    machine = launch.load(spec, installed()).machine
    if machine is None:
        raise BadSpec(f"{spec} cannot be read", remedy=f"see: loopspec check {spec}")
    return machine.name


def _is_of(store: Any, session: str, name: str) -> None:
    """A session that is named beside a spec must be that spec's; raises `UsageError`."""
    row = next(r for r in store.sessions() if r.session == session)
    if name and row.name != name:
        raise UsageError(
            f"session {session} is one of `{row.name}`, not of `{name}`",
            remedy=f"go on with: loopspec run -r {session}",
        )


def newest_in(store: Any, workdir: Path, name: str = "") -> str:
    """The session of a work directory (and of the loop `name`) that moved last; raises `NotFound`."""
    from loopspec.drivers.session import read_snapshot
    from loopspec.errors import Damaged, NotFound

    for row in sorted(store.sessions(), key=lambda r: r.updated, reverse=True):
        if name and row.name != name:
            continue
        head = store.head(row.session)
        try:
            found = head is not None and read_snapshot(head.snapshot, row.session).workdir
        except Damaged:
            continue
        if found == str(workdir):
            return str(row.session)
    of = f" of `{name}`" if name else ""
    raise NotFound(f"there is no session{of} in {workdir}", remedy="see: loopspec sessions")


def _manner(
    yes: bool,
    output_format: str,
    schema: Path | None,
    answer: Path | None,
    *,
    ask: bool,
    limits: Limits | None = None,
) -> tuple[Manner, Wanted | None]:
    """How the run is to go, and what its answer must conform to; raises `UsageError`."""
    wanted = Wanted.read(schema) if schema is not None else None
    place = AnswerFile(answer) if answer is not None else None
    asks = ask and wanted is None
    return Manner(yes, output_format, asks, wanted, place, limits or Limits()), wanted


def _limits(turns: int | None, usd: str | None) -> Limits:
    """The limits of the options; raises `UsageError`."""
    from loopspec.spec.literals import usd as read

    amount = read(usd) if usd is not None else None
    if usd is not None and not amount:
        raise UsageError(f"`--max-usd {usd}` is no amount", remedy="write --max-usd 1.50")
    return Limits(turns, amount)


def _still_possible(session: Any) -> None:
    """The work directory must still be there; raises `LoopspecError`."""
    where = Path(session.snapshot.workdir)
    if not where.is_dir():
        raise LoopspecError(
            "the session's work directory is gone",
            place=str(where),
            remedy="put it back, then resume",
        )


def _with_schema(prompt: str | None, wanted: Wanted | None) -> str | None:
    """The message with what the answer must conform to."""
    if wanted is None:
        return prompt
    return wanted.told if prompt is None else f"{prompt}\n\n{wanted.told}"


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
