"""`loopspec graph`: the picture of a loop, drawn from what runs.

Rules of this file:
1. A spec with errors has no machine and so no picture: its diagnostics are shown instead.
2. A file is written whole or not at all; what stood there before stays until then.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from loopspec.errors import Exit, LoopspecError, UsageError

ENDINGS: Final = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".md": "mermaid"}


@click.command()
@click.argument("spec")
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "svg"]),
    help="What to write. Default: what FILE's ending says, else mermaid.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write to FILE (.svg, .mmd, or .md for a fenced block) instead of the terminal.",
)
@click.pass_context
def graph(ctx: click.Context, spec: str, form: str | None, output: str | None) -> None:
    """Draw SPEC (a file or the name of a shipped loop): its states and what leads from one to another."""
    from loopspec.cli.checking import show_diagnostics
    from loopspec.drivers import launch
    from loopspec.registry import installed
    from loopspec.views.graph import picture
    from loopspec.views.graph_mermaid import fenced, mermaid
    from loopspec.views.graph_svg import svg

    chosen = chosen_format(form, output)
    loaded = launch.load(spec, installed())
    if loaded.machine is None:
        show_diagnostics([loaded], "text", err=True)
        ctx.exit(int(Exit.BAD_SPEC))
    drawn = picture(loaded.machine)
    if chosen == "svg":
        text = svg(drawn)
    elif output is not None and Path(output).suffix.lower() == ".md":
        text = fenced(drawn)
    else:
        text = mermaid(drawn)
    if output is None or output == "-":
        click.echo(text.encode(), nl=False)
    else:
        write(output, text)


def chosen_format(form: str | None, output: str | None) -> str:
    """`mermaid` or `svg`: what was asked for, else what the file's ending says; raises `UsageError`."""
    if form is not None or output is None or output == "-":
        return form or "mermaid"
    found = ENDINGS.get(Path(output).suffix.lower())
    if found is None:
        remedy = f"end it in {', '.join(ENDINGS)}, or add --format mermaid or --format svg"
        raise UsageError("the ending does not say what to write", place=output, remedy=remedy)
    return found


def write(output: str, text: str) -> None:
    """Put `text` into the file at once; raises `LoopspecError` and leaves nothing half-written.

    A link is followed. What is no file (a pipe, a device) is written to and never replaced.
    """
    try:
        path = Path(output).resolve()
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(text.encode())
        else:
            _replace(path, text.encode())
    except (OSError, ValueError, RuntimeError) as err:
        if isinstance(err, BrokenPipeError):
            raise
        why = getattr(err, "strerror", None) or str(err)
        remedy = "name a file in a folder that exists and that you may write to"
        raise LoopspecError(f"the picture was not written: {why}", place=output, remedy=remedy) from err


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
