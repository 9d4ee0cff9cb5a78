"""`loopspec`: the command line's front door. Commands are imported when they are called.

Rules of this file:
1. Starting costs little: `--version` and `--help` import click and nothing else of weight.
2. Whatever goes wrong ends in one clear line on stderr and an exit code of `Exit`, never a traceback.
"""

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from loopspec.errors import Exit, LoopspecError
from loopspec.version import __version__

COMMANDS: Final = {
    "run": ("loopspec.cli.running", "run"),
    "resume": ("loopspec.cli.running", "resume"),
    "demo": ("loopspec.cli.demo", "demo"),
    "sessions": ("loopspec.cli.looking", "sessions"),
    "explain": ("loopspec.cli.looking", "explain"),
    "timeline": ("loopspec.cli.looking", "timeline"),
    "context": ("loopspec.cli.contexting", "context"),
    "outbox": ("loopspec.cli.outboxing", "outbox"),
    "stats": ("loopspec.cli.counting", "stats"),
    "replay": ("loopspec.cli.proving", "replay"),
    "verify": ("loopspec.cli.proving", "verify"),
    "torture": ("loopspec.cli.torturing", "torture"),
    "fork": ("loopspec.cli.forking", "fork"),
    "export": ("loopspec.cli.moving", "export"),
    "import": ("loopspec.cli.moving", "import_"),
    "backup": ("loopspec.cli.moving", "backup"),
    "check": ("loopspec.cli.checking", "check"),
    "fmt": ("loopspec.cli.formatting", "fmt"),
    "graph": ("loopspec.cli.drawing", "graph"),
    "simulate": ("loopspec.cli.simulating", "simulate"),
    "test": ("loopspec.cli.journeying", "test"),
    "kinds": ("loopspec.cli.helping", "kinds"),
    "events": ("loopspec.cli.helping", "events"),
    "explain-code": ("loopspec.cli.helping", "explain_code"),
    "schema": ("loopspec.cli.helping", "schema"),
    "completion": ("loopspec.cli.completing", "completion"),
    "plugins": ("loopspec.cli.plugging", "plugins"),
    "tools": ("loopspec.cli.plugging", "tools"),
    "new": ("loopspec.cli.making", "new"),
}


COMPLETING: Final = "_LOOPSPEC_COMPLETE"
"""Set by a shell that asks how a line could go on (see `completing`)."""


class Lazy(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and give back one command."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        command: click.Command = getattr(import_module(where[0]), where[1])
        if COMPLETING in os.environ:
            command = import_module("loopspec.cli.completing").completed(command)
        return command


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loopspec")
def cli() -> None:
    """Run an agent's loop that is a YAML document: explicit, durable, replayable."""


def main(argv: list[str] | None = None) -> None:
    """The program's entry point; exits with a code of `Exit`."""
    fill_standard_files()
    sys.exit(run_cli(argv))


def fill_standard_files() -> None:
    """Open what was closed (`>&-`) on nothing, so that no file of ours takes number 0, 1 or 2."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def run_cli(argv: list[str] | None = None) -> int:
    """Run a command line and give back its exit code."""
    code = _run(argv)
    _flush()
    return code


def _run(argv: list[str] | None) -> int:
    """Run a command line; every fault becomes a line and a code."""
    try:
        code: Any = cli.main(args=argv, prog_name="loopspec", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as err:
        return err.exit_code
    except click.ClickException as err:
        err.show()
        return int(Exit.USAGE)
    except click.Abort:
        return int(Exit.INTERRUPTED)
    except LoopspecError as err:
        complain(err)
        return int(err.exit)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        silence()
        return int(Exit.FAILED)
    except OSError as err:
        complain(LoopspecError(f"{err.strerror or err}", place=str(err.filename or "")))
        return int(Exit.FAILED)
    except Exception as err:
        if os.environ.get("LOOPSPEC_TRACEBACK"):
            raise
        fault = f"this is a bug in loopspec or a plugin: {type(err).__name__}: {err}"
        complain(LoopspecError(fault, remedy="set LOOPSPEC_TRACEBACK=1 to see where, and report it"))
        return int(Exit.FAILED)


def complain(err: LoopspecError) -> None:
    """One line on stderr, which steers no terminal; a closed stderr changes nothing."""
    from loopspec.cli.style import printable_block

    try:
        click.echo(f"loopspec: {printable_block(str(err))}", err=True)
    except OSError:
        silence()


def _flush() -> None:
    """Flush now, so that a closed pipe shows itself here and not while Python ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            silence()


def silence() -> None:
    """Point closed outputs at nothing, so that ending the process does not complain again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(nothing, stream.fileno())
    os.close(nothing)


if __name__ == "__main__":
    main()
