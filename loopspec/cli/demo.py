"""`loopspec demo`: a loop that is only a YAML file repairs a real, failing repository."""

import importlib.util
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import click

from loopspec.cli.options import run_options
from loopspec.errors import UsageError

TASK: Final = "The tests of this repository fail. Find out why, repair the code, and show it."
SPEC: Final = "coding-agent"


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@run_options
@click.pass_context
def demo(ctx: click.Context, /, directory: Path | None, **options: Any) -> None:
    """Copy a small failing repository into DIRECTORY and let the shipped loop repair it.

    Offline by default: a scripted model speaks through the same code as a real one. With
    `--model main=anthropic/…` and its key set, a real model does the work.
    """
    from loopspec.cli.proving import verify
    from loopspec.cli.running import start

    if options.get("workdir") is not None:
        raise UsageError("the demo makes its own work directory", remedy="name it: loopspec demo DIR")
    if importlib.util.find_spec("pytest") is None:
        raise UsageError(
            "the demo runs pytest with this interpreter, and it is not installed",
            remedy="pip install 'loopspec[demo]'",
        )
    where = prepare(directory or Path("loopspec-demo"))
    if not options["model"]:
        options["model"] = ("main=scripted/demo:repair",)
    if not any(i.startswith("task=") for i in options["input"]):
        options["input"] = (*options["input"], f"task={TASK}")
    code = start(SPEC, **{**options, "workdir": where, "prompt": options["prompt"] or None})
    if options["output_format"] == "text" and code == 0:
        _epilogue(ctx, where, options["store"], verify)
    ctx.exit(code)


def prepare(where: Path) -> Path:
    """Copy the failing repository to a fresh directory; raises `UsageError` if it is not fresh."""
    if where.exists() and (not where.is_dir() or any(where.iterdir())):
        raise UsageError(
            f"{where} is there already and not empty", remedy="give another directory's name after it"
        )
    with as_file(files("loopspec") / "demo" / "repo") as source:
        shutil.copytree(
            source,
            where,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"),
        )
    return where.resolve()


def _epilogue(ctx: click.Context, where: Path, store: Path | None, verify: Any) -> None:
    """Say where the session is and what the journal says of itself."""
    from loopspec.cli.looking import explain
    from loopspec.cli.options import open_store, resolve_session, store_path
    from loopspec.cli.proving import replay

    session = resolve_session(open_store(store, readonly=True), "last")
    flag = f" --store {store}" if store is not None else ""
    click.echo(f"\nThe repository is in {where}, the journal in {store_path(store)}.")
    for command in (f"explain {session}", f"replay {session} --recompute", f"verify {session}"):
        click.echo(f"\n$ loopspec {command}{flag}")
        name, *args = command.split()
        chosen = {"explain": explain, "replay": replay, "verify": verify}[name]
        extra = ["--store", str(store)] if store is not None else []
        chosen.main([*args, *extra], prog_name=f"loopspec {name}", standalone_mode=False)
