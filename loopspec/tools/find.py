"""`files.list` and `files.search`: finding one's way in the work directory.

Rules of this file:
1. Links are shown, never followed.
2. Answers are sorted and bounded, and say when they were cut.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from loopspec.hooks import Tool, ToolContext, ToolFailed
from loopspec.tools import process, scan
from loopspec.tools.aside import Stop, work
from loopspec.tools.confine import inside, relative

MAX_ENTRIES: Final = 1000
_MAX_VISITED: Final = 200_000
_DEPTH: Final = 3
_DEEP: Final = 64


async def _list(ctx: ToolContext, args: dict[str, Any]) -> str:
    given, glob = args.get("path", "."), args.get("glob", "")
    depth = int(args.get("depth", _DEEP if glob else _DEPTH))
    return await work(lambda stop: list_files(ctx.workdir, given, glob, depth, stop, ctx.sees))


def list_files(
    workdir: Path,
    given: str,
    glob: str,
    depth: int,
    stop: Stop,
    sees: Callable[[str], bool] = lambda path: True,
) -> str:
    """One path per line, relative to `given`; directories end in `/`, links show their target.

    Paths that `sees` refuses (relative to `workdir`) are left out, with all below them.
    Raises `ToolFailed` when `given` is no directory or leads outside.
    """
    start = inside(workdir, given)
    if not start.is_dir():
        fault = "is a file; read it instead" if start.exists() else "does not exist"
        raise ToolFailed(f"{given} {fault}")
    found: list[str] = []
    top = start.relative_to(workdir.resolve()).as_posix()
    above = "" if top == "." else top + "/"
    visited = 0
    cut = ""
    waiting = [(start, "", 1)]
    while waiting and not cut:
        directory, prefix, level = waiting.pop()
        below: list[tuple[Path, str, int]] = []
        for entry in _entries(directory):
            stop.check()
            visited += 1
            path = prefix + entry.name
            if not sees(above + path):
                continue
            is_directory = entry.is_dir(follow_symlinks=False)
            if is_directory and level < depth and entry.name not in scan.SKIPPED:
                below.append((Path(entry.path), path + "/", level + 1))
            if not glob or scan.matches_glob(path, glob):
                found.append(_line(entry, path, is_directory))
            if len(found) > MAX_ENTRIES or visited > _MAX_VISITED:
                cut = f"\n[more than {len(found) - 1} entries; narrow the path, glob or depth]"
                break
        waiting.extend(reversed(below))
    lines = sorted(found)[:MAX_ENTRIES]
    return "\n".join(lines) + cut if lines else "[nothing here matches]"


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted((e for e in found if e.name != ".git"), key=lambda e: e.name)
    except OSError:
        return []  # unreadable or gone meanwhile: its own line is still shown


def _line(entry: os.DirEntry[str], path: str, is_directory: bool) -> str:
    if is_directory:
        return path + "/"
    if entry.is_symlink():
        try:
            return f"{path} -> {os.readlink(entry.path)}"
        except OSError:
            return path
    return path


async def _search(ctx: ToolContext, args: dict[str, Any]) -> str:
    given = args.get("path", ".")
    below = relative(ctx.workdir, given)
    root = ctx.workdir.resolve()
    if not (root / below).exists():
        raise ToolFailed(f"{given} does not exist; list the work directory to see what is there")
    files = await work(lambda stop: _visible(root, below, ctx.sees, stop))
    request = {
        "pattern": args["pattern"],
        "root": str(root),
        "path": below,
        "glob": args.get("glob", ""),
        "files": files,
    }
    # -I and -S: nothing of the work directory, the environment or site-packages is imported.
    ended = await process.run(
        [sys.executable, "-I", "-S", scan.__file__],
        workdir=root,
        env={"LC_ALL": "C.UTF-8"},
        emit=ctx.emit,
        call=ctx.call,
        stdin=json.dumps(request).encode(),
    )
    text = ended.output.decode("utf-8", "replace").rstrip("\n")
    if ended.code == scan.BAD_PATTERN:
        raise ToolFailed(f"the pattern is not a regular expression: {text}")
    if ended.code != 0:
        raise ToolFailed(f"the search ended early ({ended.meaning}); narrow the pattern or path")
    return text or "[no line matches]"


def _visible(root: Path, below: str, sees: Callable[[str], bool], stop: Stop) -> list[str]:
    """The files to search: those the envelope lets this call see."""
    out: list[str] = []
    for path in scan.files(str(root), below):
        stop.check()
        if sees(path):
            out.append(path)
    return out


LIST: Final = Tool(
    name="files.list",
    description=(
        "List files and directories. Without `glob` three levels deep, with it all levels; "
        "directories such as node_modules are named but not entered."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "directory, default the work directory"},
            "glob": {"type": "string", "description": "e.g. *.py or src/**/*.py"},
            "depth": {"type": "integer", "minimum": 1, "maximum": _DEEP},
        },
        "additionalProperties": False,
    },
    run=_list,
    effect="read",
    after_crash="rerun",
    paths=("path",),
    total=30.0,
)

SEARCH: Final = Tool(
    name="files.search",
    description=(
        "Search text files for lines that match a Python regular expression; gives back "
        "`path:line: text`. Skips .git, __pycache__, node_modules, .venv and binary files."
    ),
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "minLength": 1},
            "path": {"type": "string", "description": "file or directory, default everything"},
            "glob": {"type": "string", "description": "which files, e.g. *.py or src/**/*.py"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
    run=_search,
    effect="read",
    after_crash="rerun",
    paths=("path",),
    total=60.0,
)
