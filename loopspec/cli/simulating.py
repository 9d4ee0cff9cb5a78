"""`loopspec simulate`: anybody's loop in a seeded world full of faults.

Rules of this file:
1. It touches no store of the user's: simulated sessions live in memory, and are written only where
   `--keep` says.
2. What it prints on stdout is the same for the same seeds, however many processes made it.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopspec.errors import Exit, LoopspecError

if TYPE_CHECKING:
    from loopspec.testing.many import Plan
    from loopspec.testing.report import Report

KEPT: int = 20
"""Seeds with a violation whose journals `--keep` writes."""


@click.command()
@click.argument("spec")
@click.option("--seeds", type=click.IntRange(min=1), default=1_000, show_default=True, help="Sessions.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--ticks", type=click.IntRange(min=1), help="Things that happen before faults end.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one for each CPU.")
@click.option(
    "--faults",
    metavar="LIST",
    default="",
    help="Only these, with commas between: crashes, answers, timers, people, disk, clock, drivers, "
    "single ones, or none. Default: all.",
)
@click.option(
    "--faultless",
    type=click.IntRange(min=1),
    help="Runs without faults that look for an end before it is called wrong. Default: 500.",
)
@click.option("--recompute", is_flag=True, help="Run every step of every seed again, not of one in 16.")
@click.option(
    "--keep", metavar="DIR", type=click.Path(path_type=Path), help="Write journals with a violation here."
)
@click.pass_context
def simulate(
    ctx: click.Context,
    spec: str,
    seeds: int,
    seed: int,
    ticks: int | None,
    jobs: int | None,
    faults: str,
    faultless: int | None,
    recompute: bool,
    keep: Path | None,
) -> None:
    """Simulate SPEC (a file or the name of a shipped loop) and print what held.

    Each seed is a session with a simulated clock, model, tools, people, disk and machine, and with
    faults in all of them. Exit code 1 if anything was violated: then the seed, the journal and the
    command that shows it again are printed.
    """
    from loopspec.cli.checking import show_diagnostics
    from loopspec.drivers import launch
    from loopspec.drivers.sim.ends import RUNS
    from loopspec.drivers.sim.faults import Faults, chosen
    from loopspec.registry import installed
    from loopspec.testing.many import THOROUGH, TICKS, Plan
    from loopspec.testing.report import Report, command_of

    if keep is not None:
        _folder(keep)  # now, and not when the seeds are done
    wanted = chosen(faults.split(",")) if faults else Faults()
    loaded = launch.load(spec, installed())
    if loaded.machine is None:
        show_diagnostics([loaded], "text", err=True)
        ctx.exit(int(Exit.BAD_SPEC))
    plan = Plan(
        loaded.machine,
        wanted,
        ticks=ticks or TICKS,
        thorough=1 if recompute else THOROUGH,
        faultless=faultless or RUNS,
    )
    report = Report(name=loaded.machine.name)
    options = {"ticks": str(ticks or ""), "faultless": str(faultless or ""), "faults": faults}
    report.command = command_of(spec, **options)
    whole = _run(plan, range(seed, seed + seeds), jobs or os.cpu_count() or 1, report)
    click.echo(f"{loaded.machine.name} {loaded.machine.version}, seeds {seed} to {seed + seeds - 1}")
    click.echo(report.table())
    if report.violations:
        click.echo(f"\n{report.explained()}")
        if keep is not None:
            _keep(plan, report, keep)
    if not whole:
        click.echo(f"stopped: {report.seeds:,} of {seeds:,} seeds are done", err=True)
        ctx.exit(int(Exit.INTERRUPTED))
    ctx.exit(int(Exit.FAILED if report.violations else Exit.OK))


def _run(plan: "Plan", seeds: range, jobs: int, report: "Report") -> bool:
    """Simulate, and add to the report as it comes; False when somebody stopped it."""
    from loopspec.testing.many import batches

    shows = sys.stderr is not None and sys.stderr.isatty()
    try:
        for part in batches(plan, seeds, jobs):
            report.add(part)
            if shows:
                bad = f", {len(report.failed)} with a violation" if report.violations else ""
                click.echo(f"\r{report.seeds:,} of {len(seeds):,} seeds{bad} ", err=True, nl=False)
    except KeyboardInterrupt:
        return False
    finally:
        if shows:
            click.echo("\r\x1b[K", err=True, nl=False)
    return True


def _folder(folder: Path) -> None:
    """Make the folder for journals; raises `LoopspecError` when nothing could be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise _unkept(folder, err) from err


def _unkept(folder: Path, err: OSError) -> LoopspecError:
    """Why journals cannot be kept."""
    fault = f"journals cannot be kept here: {err.strerror}"
    return LoopspecError(fault, place=str(folder), remedy="name a folder that you may write to")


def _keep(plan: "Plan", report: "Report", folder: Path) -> None:
    """Write the journals of seeds with a violation: their entries as JSON lines, and as text."""
    from loopspec.testing.many import journal_lines

    try:
        for seed in report.failed[:KEPT]:
            sim = plan.simulation(seed)
            found = plan.run(sim, seed)
            rows = list(sim.store.entries(sim.session))
            (folder / f"sim-{seed}.jsonl").write_bytes(b"".join(row + b"\n" for row in rows))
            told = [f"violated: {what}" for what in found] + journal_lines(sim)
            (folder / f"sim-{seed}.txt").write_text("".join(f"{line}\n" for line in told), "utf-8")
    except OSError as err:
        raise _unkept(folder, err) from err
    click.echo(f"\nkept: the journals of {min(KEPT, len(report.failed))} seeds in {folder}")
