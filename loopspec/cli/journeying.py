"""`loopspec test`: walks a loop's journeys and says where one went another way.

Rules of this file:
1. It touches no store of the user's: a journey has a store and a work directory of its own.
2. Every journey is walked, also after one that failed; the exit code says whether all held.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopspec.errors import Exit, LoopspecError, UsageError

if TYPE_CHECKING:
    from loopspec.testing.journeys import Walk


@click.command()
@click.argument("spec", nargs=-1, required=True)
@click.option("-k", "only", metavar="TEXT", default="", help="Only journeys with this in their name.")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep the work directories and stores of the journeys here.",
)
@click.pass_context
def test(ctx: click.Context, spec: tuple[str, ...], only: str, keep: Path | None) -> None:
    """Walk the journeys of SPEC: a spec, a shipped loop, a journey, or a directory of journeys.

    A journey is a YAML file: what the model replies, what a person does, and what must come of it.
    Those of `my-loop.yaml` are in `journeys/my-loop/` beside it. Exit code 1 if one went another way.
    """
    from loopspec.testing.journeys import journeys
    from loopspec.views.words import plural

    failed = walked = 0
    for one in spec:
        paths = [path for path in journeys(one) if only in path.stem]
        if not paths:
            named = f" with `{only}` in its name" if only else ""
            remedy = "write one in journeys/NAME/ beside NAME.yaml (docs/journeys.md)"
            raise UsageError(f"`{one}` has no journey{named}", remedy=remedy)
        for path in paths:
            walked += 1
            failed += not _walked(path, keep)
    said = f"{failed} went another way" if failed else "all held"
    click.echo(f"{plural(walked, 'journey')}, {said}")
    ctx.exit(int(Exit.FAILED if failed else Exit.OK))


def _walked(path: Path, keep: Path | None) -> bool:
    """Walk one and print a line, and what happened if it went another way; whether it held."""
    from loopspec.testing.journeys import walk
    from loopspec.views.words import plural, printable

    began = time.monotonic()
    place = None if keep is None else keep / path.parent.name / path.stem
    try:
        found: Walk = walk(path, place=place)
    except LoopspecError as err:
        click.echo(f"  {path.stem}: cannot be walked\n    {printable(str(err), 2_000)}")
        return False
    took = time.monotonic() - began
    steps = plural(found.steps, "step")
    said = "held" if not found.faults else "went another way"
    click.echo(f"  {path.stem}: {said}, {steps}, {took:.1f} s · {printable(found.about, 80)}")
    if found.faults:
        click.echo("\n".join(f"    {printable(line, 500)}" for line in found.explained().splitlines()))
    return not found.faults
