"""`loopspec torture`: end a loop at every point in turn, resume it, and see whether anything differs."""

import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from loopspec.errors import BadSpec, Exit, UsageError
from loopspec.version import __version__

DEMO: Final = "coding-agent"
HARM_WORDS: Final = {
    "kill": "killed (SIGKILL)",
    "term": "asked to end (SIGTERM)",
    "hangup": "terminal closed",
    "full": "disk full",
}
SHOWN: Final = 10


@click.command()
@click.argument("spec")
@click.option("-i", "--input", multiple=True, metavar="NAME=VALUE", help="An input.")
@click.option(
    "-p", "--prompt", multiple=True, help="Said when the loop rests for a message; may be repeated."
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME=scripted/FILE",
    help="What a model says. Default: the spec's own script, else a rehearsal of every tool.",
)
@click.option(
    "--workdir",
    type=click.Path(path_type=Path),
    help="Where the tools work; copied for every case. Default: an empty directory.",
)
@click.option(
    "--again",
    type=click.IntRange(0, 50),
    default=0,
    metavar="N",
    help="Kill each resume too, at its 1st to Nth point.",
)
@click.option("--only", multiple=True, metavar="CASE", help="Just this case: entry.after-commit#3.")
@click.option("--list", "listed", is_flag=True, help="Name the cases and try none.")
@click.option(
    "--scratch", type=click.Path(path_type=Path), help="Where to work. Default: the system's."
)
@click.pass_context
def torture(ctx: click.Context, /, spec: str, again: int, only: tuple[str, ...], **options: Any) -> None:
    """End SPEC at every point it can be ended at, resume it each time, and compare.

    Each case runs in a directory of its own: a copy of the work directory and a fresh store. The model
    is a script. Exit 0: nothing differed. Exit 1: something did; the report says what, and how to see
    it again.
    """
    from loopspec.cli.signals import as_interrupt
    from loopspec.drill import torture as drill
    from loopspec.drill.job import parse_case

    began = time.monotonic()
    chosen = [parse_case(text) for text in only]
    parent = options["scratch"]
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="loopspec-torture-", dir=parent)).resolve()
    results: list[Any] = []
    try:
        as_interrupt()
        job = make_job(spec, options, scratch)
        found = drill.plan(job, scratch, again)
        cases = chosen or list(found.cases)
        if options["listed"]:
            for case in cases:
                click.echo(str(case))
            return
        told = _progress(len(cases))
        results = drill.run(job, found.reference.evidence, cases, scratch, told)
    finally:
        if all(result.good for result in results):
            shutil.rmtree(scratch, ignore_errors=True)
    bad = report(_command(spec, again, options), found.points, results, time.monotonic() - began)
    ctx.exit(int(Exit.FAILED if bad else Exit.OK))


def _command(spec: str, again: int, options: dict[str, Any]) -> str:
    """The command line that tries the same again, but for the cases."""
    words = ["loopspec", "torture", spec]
    for name in ("input", "prompt", "model"):
        for value in options[name]:
            words += [f"--{name}", value]
    for name in ("workdir", "scratch"):
        if options[name] is not None:
            words += [f"--{name}", str(options[name])]
    if again:
        words += ["--again", str(again)]
    return shlex.join(words)


def make_job(spec: str, options: dict[str, Any], scratch: Path) -> Any:
    """Everything a case needs, read and checked; raises `LoopspecError`."""
    from loopspec.cli.checking import show_diagnostics
    from loopspec.cli.exits import exit_of
    from loopspec.cli.signals import signals
    from loopspec.cli.text_door import TextDoor
    from loopspec.drill.job import PROMPT, Job
    from loopspec.drivers import launch
    from loopspec.drivers.guidance import guided
    from loopspec.drivers.world import redactor
    from loopspec.performers import model_litellm, providers
    from loopspec.registry import installed

    registry = installed()
    loaded = launch.load(spec, registry)
    if loaded.machine is None:
        show_diagnostics([loaded], "text", err=True)
        raise BadSpec(f"{spec} cannot be run as it is", remedy="see the lines above")
    machine, workdir, inputs = loaded.machine, options["workdir"], options["input"]
    models = options["model"]
    if machine.name == DEMO and not models and workdir is None:
        models, workdir, inputs = _demo(models, inputs, scratch)
    if workdir is not None and not workdir.is_dir():
        raise UsageError(f"the work directory {workdir} is no directory")
    machine = launch.anchored(launch.with_models(machine, models), launch.find(spec).parent)
    if workdir is not None:
        machine = guided(machine, workdir, redactor().text)
    real, machine = machine, _rehearsed(machine, registry, scratch)
    if machine is not real and workdir is None:
        workdir = _stage(scratch / "stage")
    given = launch.parse_inputs(machine, inputs)
    windows = launch.preflight(machine)
    if any(providers.find(model.use) is None for model in launch.used_models(machine)):
        model_litellm.load()
    for make in registry.performers.values():
        make()  # imports what it needs, once for all cases
    return Job(
        machine=machine,
        registry=registry,
        started=launch.started(machine, registry, given, scratch, windows, __version__),
        workdir=workdir.resolve() if workdir is not None else None,
        prompts=options["prompt"] or (PROMPT,),
        ends=exit_of,
        signals=signals,
        terminal=lambda: TextDoor(yes=True, terminal=True, ask=False),
    )


def _demo(
    models: tuple[str, ...], inputs: tuple[str, ...], scratch: Path
) -> tuple[tuple[str, ...], Path, tuple[str, ...]]:
    """The shipped loop's own story: its script, its failing repository, its task."""
    from loopspec.cli.demo import TASK, prepare

    if not any(item.startswith("task=") for item in inputs):
        inputs = (*inputs, f"task={TASK}")
    return (*models, "main=scripted/demo:repair"), prepare(scratch / "repository"), inputs


def _stage(folder: Path) -> Path:
    """A work directory for a rehearsal: its file is there, so that writing it again after a kill reads as
    writing it once does."""
    from loopspec.drill.rehearsal import FILE

    folder.mkdir()
    (folder / FILE).write_text("before\n", encoding="utf-8")
    return folder


def _rehearsed(machine: Any, registry: Any, scratch: Path) -> Any:
    """The machine with every model that is a real one replaced by a rehearsal of the tools."""
    from loopspec.drill.rehearsal import rehearsal
    from loopspec.drivers import launch

    real = [m.name for m in launch.used_models(machine) if not m.use.startswith(launch.SCRIPTED)]
    if not real:
        return machine
    script = scratch / "rehearsal.yaml"
    script.write_text(rehearsal(machine, registry.tools), encoding="utf-8")
    return launch.with_models(machine, [f"{name}={launch.SCRIPTED}{script}" for name in real])


def _progress(many: int) -> Any:
    """Counts on a terminal's standard error; silent elsewhere."""
    done, bad = 0, 0
    watched = sys.stderr.isatty()

    def told(result: Any) -> None:
        nonlocal done, bad
        done, bad = done + 1, bad + (not result.good)
        if watched:
            end = "\n" if done == many else ""
            click.echo(f"\r{done} of {many} cases, {bad} different", nl=False, err=True)
            click.echo(end, nl=False, err=True)

    return told


def report(command: str, points: tuple[str, ...], results: list[Any], seconds: float) -> int:
    """Print the table and every difference; gives back how many cases differed."""
    rows: dict[str, list[Any]] = {}
    for result in results:
        kill = result.case.harm == "kill"
        name = result.case.point.name if kill else HARM_WORDS[result.case.harm]
        name += " (and the resume killed)" if result.case.again else ""
        rows.setdefault(name, []).append(result)
    width = max((len(name) for name in rows), default=0)
    width = max(width, len("point"))
    click.echo(f"{'point':<{width}}  reached  cases   same     led  different")
    for name, found in rows.items():
        results_of = [r.verdict.result for r in found]
        reached = str(points.count(name)) if name in points else ""
        different = sum(not r.good for r in found)
        click.echo(
            f"{name:<{width}}  {reached:>7}  {len(found):>5}  {results_of.count('same'):>5}"
            f"  {results_of.count('led'):>6}  {different:>9}"
        )
    bad = [r for r in results if not r.good]
    kills = sum(result.case.harm == "kill" for result in results)
    click.echo(
        f"\n{len(points)} points reached undisturbed; {len(results)} cases ({kills} kills), "
        f"{len(bad)} differences, {seconds:.0f} s"
    )
    for result in bad[:SHOWN]:
        click.echo(f"\n{result.case}: {HARM_WORDS[result.case.harm]} at {result.case.point}")
        for difference in result.verdict.differences[:SHOWN]:
            click.echo(f"  {difference}")
        click.echo(f"  kept: {result.kept}")
        click.echo(f"  again: {command} --only '{result.case}'")
    if len(bad) > SHOWN:
        click.echo(f"\n… and {len(bad) - SHOWN} more")
    return len(bad)
