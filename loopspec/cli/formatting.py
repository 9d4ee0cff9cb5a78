"""`loopspec fmt`: spec files in one order and layout, their comments kept.

Rules of this file:
1. A file is replaced whole or not at all, and only when its text changes; its mode stays.
2. A file that cannot be formatted does not keep the others from being formatted.
"""

import contextlib
import difflib
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from loopspec.errors import Exit, LoopspecError, UsageError

STDIN: Final = "-"
_GRAVEST: Final = (Exit.BAD_SPEC, Exit.USAGE, Exit.FAILED, Exit.OK)


@dataclass(frozen=True)
class _File:
    """A file as it was read: its name in messages, where it really is, its bytes, its state."""

    name: str
    path: str
    data: bytes
    state: os.stat_result | None = None


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Write nothing; name the files that would change, exit 1.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
@click.pass_context
def fmt(ctx: click.Context, files: tuple[str, ...], check: bool, diff: bool) -> None:
    """Put spec FILEs into their one order and layout, in place; - reads stdin, writes stdout.

    Keys of records are put in order, and the layout is made even. Comments, quotes and everything
    whose order may mean something (states, events, transitions, actions) stay as they are.

    Exit code 1 if --check finds something to change, 52 if a file is no readable YAML, 2 if it
    cannot be opened or written.
    """
    from loopspec.cli.main import complain

    names = list(dict.fromkeys(files))
    if STDIN in names and len(names) > 1:
        raise UsageError("`-` stands alone", remedy="name files, or give one text on stdin")
    codes = {Exit.OK}
    for name in names:
        try:
            codes.add(_one(name, check=check, diff=diff))
        except LoopspecError as err:
            complain(err)
            codes.add(err.exit)
    if sys.stdout is not None:
        sys.stdout.flush()
    ctx.exit(int(next(code for code in _GRAVEST if code in codes)))


def _one(name: str, *, check: bool, diff: bool) -> Exit:
    """Format one file, or say what would change."""
    from loopspec.spec.diagnose import render_text
    from loopspec.spec.fmt import format_read
    from loopspec.spec.source import scan_bytes

    file = _stdin() if name == STDIN else _open(name)
    read = scan_bytes(file.data, file.name)
    if read.diagnostics:
        click.echo(render_text(read.diagnostics, {file.name: read.source}).rstrip("\n"), err=True)
        return Exit.BAD_SPEC
    made = format_read(read, file.name).encode()
    changed = made != file.data
    if diff and changed:
        _write_out(_difference(file, made))
    if check and changed:
        click.echo(f"would format {file.name}")
    if check or diff:
        return Exit.FAILED if check and changed else Exit.OK
    if name == STDIN:
        _write_out(made)
    elif changed:
        _replace(file, made)
        click.echo(f"formatted {file.name}")
    return Exit.OK


def _stdin() -> _File:
    from loopspec.spec.source import MAX_BYTES

    data = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin is not None else b""
    return _File("<stdin>", "", data)


def _open(name: str) -> _File:
    """Read a file, through a link if it is one; raises `UsageError`."""
    from loopspec.spec.source import MAX_BYTES

    try:
        path = os.path.realpath(name, strict=True)
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode):
            what = "a directory" if stat.S_ISDIR(state.st_mode) else "not a regular file"
            raise UsageError(f"this is {what}", place=name, remedy="name a YAML file")
        with open(path, "rb") as file:
            return _File(name, path, file.read(MAX_BYTES + 1), state)
    except FileNotFoundError:
        raise UsageError(f"there is no file `{name}`", remedy="check the path") from None
    except OSError as err:
        fault = f"the file cannot be read: {err.strerror or err}"
        raise UsageError(fault, place=name, remedy="check path and permissions") from None


def _replace(file: _File, made: bytes) -> None:
    """Put a new text in the place of the file, at once; raises `UsageError`."""
    state = file.state
    if state is None or not state.st_mode & 0o222 or not os.access(file.path, os.W_OK):
        raise UsageError("the file is read-only", place=file.name, remedy="make it writable")
    try:
        folder, base = os.path.split(file.path)
        number, beside = tempfile.mkstemp(prefix=f".{base[:100]}.", suffix=".tmp", dir=folder)
        try:
            with open(number, "wb") as new:
                new.write(made)
                _as(state, number)
                new.flush()
                os.fsync(number)
            now = os.stat(file.path)
            if (now.st_mtime_ns, now.st_size) != (state.st_mtime_ns, state.st_size):
                fault = "the file was changed while it was being formatted"
                raise UsageError(fault, place=file.name, remedy="format it again")
            os.replace(beside, file.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
    except OSError as err:
        fault = f"the file cannot be written: {err.strerror or err}"
        raise UsageError(fault, place=file.name, remedy="it is as it was") from None


def _as(state: os.stat_result, number: int) -> None:
    """Give a new file the owner, where that is allowed, and the mode of the old one."""
    if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(OSError):
            os.fchown(number, state.st_uid, state.st_gid)
    os.fchmod(number, stat.S_IMODE(state.st_mode))


def _difference(file: _File, made: bytes) -> bytes:
    """A unified diff, as `patch` reads it."""
    old, new = (_lines(data.decode()) for data in (file.data, made))
    shown = difflib.unified_diff(old, new, file.name, file.name)
    missing = "\n\\ No newline at end of file\n"
    text = "".join(line if line.endswith("\n") else line + missing for line in shown)
    return text.encode("utf-8", "surrogateescape")


def _lines(text: str) -> Sequence[str]:
    """Lines with their line feeds; other separators do not end a line."""
    *full, rest = text.split("\n")
    return [*(f"{line}\n" for line in full), *([rest] if rest else [])]


def _write_out(data: bytes) -> None:
    """Write bytes to stdout as they are."""
    if sys.stdout is None:
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
