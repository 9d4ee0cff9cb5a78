"""`loopspec graph`: the picture of a loop, drawn from what runs, or of a session in it.

Rules of this file:
1. A spec with errors has no machine and so no picture: its diagnostics are shown instead.
2. A session is drawn from the machine it started with, never from a file that has changed since.
3. A file is written whole or not at all; what stood there before stays until then.
"""

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from loopspec.cli.options import store_option
from loopspec.cli.output import standard_input
from loopspec.errors import Exit, LoopspecError, NotFound, UsageError

ENDINGS: Final = {
    ".svg": "svg",
    ".png": "png",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".md": "mermaid",
}
FORMATS: Final = ("mermaid", "svg", "png")


@click.command()
@click.argument("target", metavar="SPEC|ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What to write. Default: what FILE's ending says, else mermaid.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write to FILE (.svg, .png, .mmd, or .md for a fenced block) instead of the terminal.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0.1, 8),
    default=1.5,
    show_default=True,
    help="How much larger a png is than the svg.",
)
@store_option
@click.pass_context
def graph(
    ctx: click.Context,
    target: str,
    form: str | None,
    output: str | None,
    scale: float,
    store: Path | None,
) -> None:
    """Draw a loop: its states and what leads from one to another.

    SPEC is a file, the name of a shipped loop, or - for standard input. ID is a session (the beginning
    of an id is enough; `last`): then the picture shows where it stands, what it waits for, its last
    path in numbers, and how often it took which transition.
    """
    from loopspec.views.graph import picture
    from loopspec.views.graph_mermaid import fenced, mermaid

    chosen = chosen_format(form, output)
    machine, trail = _found(ctx, target, store)
    drawn = picture(machine)
    if chosen == "png":
        data = _raster(machine, drawn, trail, output, scale)
    elif chosen == "svg":
        data = _vector(machine, drawn, trail).encode()
    elif output is not None and Path(output).suffix.lower() == ".md":
        data = fenced(drawn, trail).encode()
    else:
        data = mermaid(drawn, trail).encode()
    if output is None or output == "-":
        click.echo(data, nl=False)
    else:
        write(output, data, "the picture")


def _found(ctx: click.Context, target: str, store: Path | None) -> tuple[Any, Any]:
    """The machine to draw, and of a session its trail; a spec with errors ends the command."""
    from loopspec.cli.checking import show_diagnostics
    from loopspec.drivers import launch
    from loopspec.registry import installed

    try:
        if target == "-":
            loaded = launch.load_text(standard_input(), installed())
        else:
            loaded = launch.load(target, installed())
    except UsageError as err:
        return _session(target, store, err)
    if loaded.machine is None:
        show_diagnostics([loaded], "text", err=True)
        ctx.exit(int(Exit.BAD_SPEC))
    return loaded.machine, None


def _session(target: str, store: Path | None, no_spec: UsageError) -> tuple[Any, Any]:
    """The machine and the trail of a session; raises what is wrong with it, or that it is no spec."""
    from loopspec.cli.looking import doubting, opened
    from loopspec.drivers.verifying import looked_at
    from loopspec.views.graph_trail import trail

    try:
        kept, loaded = opened(target, store)
    except NotFound:
        if store is None and ("/" in target or target.lower().endswith((".yaml", ".yml"))):
            raise no_spec from None
        remedy = f"{no_spec.remedy}; sessions are listed by: loopspec sessions".removeprefix("; ")
        raise UsageError(f"{no_spec.fault}, and no session `{target}`", remedy=remedy) from None
    with doubting() as doubt:
        found = trail(loaded.machine, loaded.snapshot, looked_at(kept, loaded.id, 0, doubt))
    return loaded.machine, found


def _vector(machine: Any, drawn: Any, trail: Any, **font: str) -> str:
    """The picture as svg."""
    from loopspec.views.graph_svg import svg
    from loopspec.views.graph_trail import told

    return svg(drawn, trail, told(machine, trail) if trail is not None else "", **font)


def _raster(machine: Any, drawn: Any, trail: Any, output: str | None, scale: float) -> bytes:
    """The picture as png, which is nothing for a terminal; raises `UsageError`."""
    from loopspec.cli.rastering import FONT, png
    from loopspec.views.graph_layout import layout

    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a png is nothing a terminal shows", remedy="write it to a file: -o loop.png")
    placed = layout(drawn, trail)
    return png(_vector(machine, drawn, trail, font=FONT), placed.width, placed.height, scale)


def chosen_format(form: str | None, output: str | None) -> str:
    """One of `FORMATS`: what was asked for, else what the file's ending says; raises `UsageError`."""
    if form is not None or output is None or output == "-":
        return form or "mermaid"
    found = ENDINGS.get(Path(output).suffix.lower())
    if found is None:
        remedy = f"end it in {', '.join(ENDINGS)}, or add --format {', '.join(FORMATS[:-1])} or png"
        raise UsageError("the ending does not say what to write", place=output, remedy=remedy)
    return found


def write(output: str, data: bytes, what: str) -> None:
    """Put `data` into the file at once; raises `LoopspecError` and leaves nothing half-written.

    A link is followed. What is no file (a pipe, a device) is written to and never replaced. `what` is
    what is written, for the message.
    """
    try:
        path = Path(output).resolve()
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(data)
        else:
            _replace(path, data)
    except (OSError, ValueError, RuntimeError) as err:
        if isinstance(err, BrokenPipeError):
            raise
        why = getattr(err, "strerror", None) or str(err)
        remedy = "name a file in a folder that exists and that you may write to"
        raise LoopspecError(f"{what} was not written: {why}", place=output, remedy=remedy) from err


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file, then put the new one in its place; an old one's mode is kept."""
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
