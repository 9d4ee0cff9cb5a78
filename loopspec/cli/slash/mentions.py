"""Mentions: `@path` in a message puts the file's text behind the message.

Rules of this file:
1. Only regular files below the work directory, links resolved; what the spec's envelope denies to read,
   `.env`, `.envrc` and `.git` are refused. A person who wants them in has to paste them.
2. Everything that was not put in is told, and its mention stays in the message as it was typed.
3. A file's text stands between fences longer than any run of backticks in it, so it cannot end them.
4. Sizes have limits, of a file and of a message, and nothing more than that is ever read.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from loopspec.cli.slash.desk import Completion
from loopspec.hooks import ToolFailed
from loopspec.machine.globs import matches_path, matches_text
from loopspec.machine.model import Machine, Rule
from loopspec.performers.snapshots import EXCLUDED
from loopspec.tools.confine import inside, open_file, relative
from loopspec.views.words import plural, printable

MOST: Final = 20
LOOKED: Final = 200
"""Mentions that are looked for on the disk: a pasted log may hold any number of `@words`."""
FILE_BYTES: Final = 64 * 1024
ALL_BYTES: Final = 256 * 1024
READ_BYTES: Final = 8 * 1024 * 1024
OFFERED: Final = 50
SCANNED: Final = 5_000
DEPTH: Final = 8

_MENTION: Final = re.compile(r'(?<![^\s(\[{,;])@(?:"([^"\n]+)"((?::\d{1,9}(?:-\d{1,9})?)?)|([^\s"]+))')
_RANGE: Final = re.compile(r"(.+?):(\d{1,9})(?:-(\d{1,9}))?")
_OPEN: Final = re.compile(r'(?:^|(?<=[\s(\[{,;]))@("[^"\n]*|[^\s"]*)$')
_AFTER: Final = ".,;:!?)]}'>"
_TICKS: Final = re.compile(r"`+")


@dataclass(frozen=True)
class _Wanted:
    """A mention: the path as typed, and the lines wanted of it (0: from the start, to the end)."""

    path: str
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        if not self.first:
            return self.path
        return f"{self.path}:{self.first}" + (f"-{self.last}" if self.last != self.first else "")


def expand(text: str, workdir: Path, machine: Machine | None = None) -> tuple[str, tuple[str, ...]]:
    """The message with the files it mentions, and notes on what was put in and what was not.

    `machine` brings the envelope: without it only the rules of this file hold. The notes are printable.
    Never raises for what a file can be.
    """
    notes: list[str] = []
    blocks: list[str] = []
    done: set[str] = set()
    room = ALL_BYTES
    for looked, (quoted, lines, bare) in enumerate(_MENTION.findall(text)):
        if looked == LOOKED:
            notes.append(f"not put in: whatever is mentioned after the first {LOOKED} mentions")
            break
        try:
            wanted = _meant(f"{quoted}{lines}" or bare, workdir, quoted=bool(quoted))
        except ToolFailed as err:
            notes.append(printable(f"not put in: {err}", 300))
            continue
        if str(wanted) in done:
            continue
        done.add(str(wanted))
        try:
            if len(blocks) == MOST:
                raise ToolFailed(f"{wanted}: a message takes {MOST} files at most")
            block, size, about = _block(wanted, workdir, machine, room)
        except ToolFailed as err:
            notes.append(printable(f"not put in: {err}", 300))
            continue
        room -= size
        blocks.append(block)
        notes.append(about)
    return ("\n\n".join([text, *blocks]), tuple(notes))


def _meant(typed: str, workdir: Path, *, quoted: bool) -> _Wanted:
    """The file a mention means: as typed, without a range, without the sentence's punctuation."""
    tries = [typed]
    bare = typed.rstrip(_AFTER)
    if not quoted and bare and bare != typed:
        tries.append(bare)
    for given in tries:
        for wanted in (_Wanted(given), _ranged(given)):
            if wanted is not None and _there(workdir, wanted.path):
                return wanted
    final = _ranged(tries[-1]) or _Wanted(tries[-1])
    inside(workdir, final.path)  # says so when it leads outside
    raise ToolFailed(f"{final.path} names no file here; it stays in the message as it is")


def _ranged(given: str) -> _Wanted | None:
    """`path:10` or `path:10-40`, None for anything else."""
    found = _RANGE.fullmatch(given)
    if found is None:
        return None
    first = int(found[2])
    if not first:
        return None  # lines count from 1
    return _Wanted(found[1], first, int(found[3] or first))


def _there(workdir: Path, given: str) -> bool:
    """Whether a path below the work directory exists."""
    try:
        return inside(workdir, given).exists()
    except (ToolFailed, OSError):
        return False


def _block(
    wanted: _Wanted, workdir: Path, machine: Machine | None, room: int
) -> tuple[str, int, str]:
    """The fenced text of a file, its size in bytes, and the note on it; raises `ToolFailed`."""
    path = relative(workdir, wanted.path)
    why = refusal(path, machine)
    if why:
        raise ToolFailed(f"{wanted.path}: {why}")
    if wanted.last < wanted.first:
        raise ToolFailed(f"{wanted}: the range ends before it begins")
    data, first, count, more = _read(wanted, workdir, min(FILE_BYTES, room))
    if b"\0" in data:
        raise ToolFailed(f"{wanted.path} is a binary file; only text is put in")
    try:
        body = data.decode()
    except UnicodeDecodeError:
        raise ToolFailed(f"{wanted.path} is not UTF-8 text; only text is put in") from None
    shown = printable(path, 300).replace("`", "'")
    ticks = max([2, *(len(run) for run in _TICKS.findall(body))])
    fence = "`" * (ticks + 1)
    part = f", lines {first} to {first + count - 1}" if wanted.first else ""
    end = "" if body.endswith("\n") or not body else "\n"
    block = f"File `{shown}`{part}, put in by the person:\n{fence}\n{body}{end}{fence}"
    about = f"{shown}{part}: {plural(count, 'line')} put in"
    if more:
        about += " (the file goes on)"
    return block, len(data), about


def _read(wanted: _Wanted, workdir: Path, room: int) -> tuple[bytes, int, int, bool]:
    """The wanted lines, the first one's number, how many, and whether the file goes on.

    Raises `ToolFailed` when they do not fit into `room` bytes or are not there.
    """
    with (
        open_file(workdir, wanted.path) as descriptor,
        open(descriptor, "rb", closefd=False) as file,
    ):
        if not wanted.first:
            data = file.read(room + 1)
            if len(data) > room:
                size = os.fstat(descriptor).st_size
                raise ToolFailed(
                    f"{wanted.path} has {size:,} bytes, and {room:,} are left; name lines: "
                    f"@{wanted.path}:1-200"
                )
            return data, 1, len(data.splitlines()), False
        return _lines(wanted, file.readline, room)


def _lines(wanted: _Wanted, readline: object, room: int) -> tuple[bytes, int, int, bool]:
    """A range of lines; raises `ToolFailed`."""
    assert callable(readline)
    number, taken, seen = 0, bytearray(), 0
    while number < wanted.last:
        line = readline(room + 1)
        seen += len(line)
        if not line:
            break
        if seen > READ_BYTES:
            raise ToolFailed(f"{wanted}: the lines begin beyond {READ_BYTES:,} bytes")
        if len(line) > room and not line.endswith(b"\n"):
            raise ToolFailed(f"{wanted.path}: line {number + 1} alone has more than {room:,} bytes")
        number += 1
        if number >= wanted.first:
            taken += line
            if len(taken) > room:
                raise ToolFailed(f"{wanted} has more than the {room:,} bytes that are left")
    if number < wanted.first:
        raise ToolFailed(f"{wanted.path} has {plural(number, 'line')}; {wanted.first} is past its end")
    return bytes(taken), wanted.first, number - wanted.first + 1, bool(readline(1))


# ---------------------------------------------------------------- what may be read


def refusal(path: str, machine: Machine | None) -> str:
    """Why a path, resolved and relative to the work directory, is not put in; empty if it is."""
    parts = [part.lower() for part in PurePosixPath(path).parts]
    if ".git" in parts:
        return "what is in .git is not put in"
    if parts and (parts[-1] in (".env", ".envrc") or parts[-1].startswith((".env.", ".envrc."))):
        return "environment files hold secrets and are not put in"
    rule = _denied(path, machine) if machine is not None else None
    if rule is None:
        return ""
    reason = f": {rule.reason}" if rule.reason else ""
    return f"the spec denies reading it (rule at {rule.place}){reason}"


def _denied(path: str, machine: Machine) -> Rule | None:
    """The deny rule that keeps the model's tools from reading a path."""
    readers = [t.name for t in machine.tools.values() if t.effect == "read" and t.paths]
    for rule in machine.authority.deny:
        if rule.commands:
            continue
        covered = [tool for tool in readers if any(matches_text(g, tool) for g in rule.tools)]
        if rule.paths:
            named = covered or any(set(g) == {"*"} for g in rule.tools)
            if named and any(matches_path(glob, path, fold=True) for glob in rule.paths):
                return rule
        elif readers and len(covered) == len(readers):
            return rule
    return None


# ---------------------------------------------------------------- completion


def complete(text: str, workdir: Path, machine: Machine | None = None) -> list[Completion]:
    """Ways to finish the mention that stands open at the end of `text`; few, and quickly."""
    found = _OPEN.search(text)
    if found is None:
        return []
    typed = found[1].removeprefix('"')
    back = len(found[1]) + 1
    offered: list[Completion] = []
    for path in _candidates(workdir, typed, machine):
        if printable(path, 4000) != path or '"' in path or path.endswith(tuple(_AFTER)):
            continue  # no name that a person could type
        spaced = any(char.isspace() for char in path) or found[1].startswith('"')
        closing = "" if path.endswith("/") else '"'
        offered.append(Completion(f'@"{path}{closing}' if spaced else f"@{path}", back))
        if len(offered) == OFFERED:
            break
    return offered


def _candidates(workdir: Path, typed: str, machine: Machine | None) -> list[str]:
    """Paths that begin like what was typed, then, for a bare name, files further down that hold it."""
    folder, _, start = typed.rpartition("/")
    here = _listed(workdir, folder)
    near = [path for path, name in here if name.lower().startswith(start.lower())]
    if not start.startswith("."):
        near = [path for path in near if not PurePosixPath(path).name.startswith(".")]
    deep: list[str] = []
    if start.strip(".") and not folder and len(near) < OFFERED:
        deep = [path for path in _below(workdir) if start.lower() in PurePosixPath(path).name.lower()]
    merged = dict.fromkeys([*sorted(near), *sorted(deep, key=lambda p: (p.count("/"), p))])
    return [path for path in merged if not refusal(path.rstrip("/"), machine)]


def _listed(workdir: Path, folder: str) -> list[tuple[str, str]]:
    """The paths in a folder below the work directory, each with its name; folders end in `/`."""
    try:
        where = inside(workdir, folder or ".")
        with os.scandir(where) as entries:
            some = [entry for entry, _ in zip(entries, range(SCANNED), strict=False)]
    except (ToolFailed, OSError):
        return []
    prefix = f"{folder}/" if folder else ""
    out: list[tuple[str, str]] = []
    for entry in some:
        if entry.name in EXCLUDED or entry.name.lower() == ".git":
            continue
        if entry.is_symlink() and not _there(workdir, prefix + entry.name):
            continue
        try:
            tail = "/" if entry.is_dir() else ""
        except OSError:
            continue
        out.append((f"{prefix}{entry.name}{tail}", entry.name))
    return out


def _below(workdir: Path) -> list[str]:
    """Files below the work directory, breadth first, no links followed, at most `SCANNED` names seen."""
    waiting, found, seen = [("", 0)], [], 0
    while waiting and seen < SCANNED:
        folder, depth = waiting.pop(0)
        try:
            with os.scandir(workdir / folder) as entries:
                some = sorted(
                    (e for e, _ in zip(entries, range(SCANNED - seen), strict=False)),
                    key=lambda e: e.name,
                )
        except OSError:
            continue
        for entry in some:
            seen += 1
            if entry.name in EXCLUDED or entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if depth < DEPTH:
                    waiting.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
    return found
