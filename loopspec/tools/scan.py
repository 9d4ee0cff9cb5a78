"""Scan: the child process of `files.search`. Standard library only; runs as a script.

Why a process: the `re` module holds the interpreter while it matches, so a pattern that backtracks
for ever would stop the whole loop from a thread, past any deadline. A child can be ended.

Rules of this file:
1. It reads one JSON request on standard input and writes lines on standard output.
2. It never follows a symbolic link, and reads regular files only.
3. Every bound that cut something short is said in a last line in brackets.
"""

import fnmatch
import json
import os
import re
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

MAX_MATCHES: Final = 500
MAX_FILE: Final = 5 * 1024 * 1024
MAX_LINE: Final = 10_000
SHOWN: Final = 300
SKIPPED: Final = frozenset({".git", "__pycache__", "node_modules", ".venv"})
BAD_PATTERN: Final = 3
_MEMORY: Final = 1 << 30


def matches_glob(path: str, glob: str) -> bool:
    """Whether `path` (with `/`) matches `glob`: `*` and `?` stay in one name, `**` spans names.

    A glob without `/` is matched against the last name alone. Linear per name, so no glob hangs.
    """
    if "/" not in glob:
        return fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], glob)
    names, parts = path.split("/"), glob.strip("/").split("/")
    # reach[j]: the names seen so far can be matched by the first j parts.
    reach = _through([True] + [False] * len(parts), parts)
    for name in names:
        after = [False] * (len(parts) + 1)
        for j, part in enumerate(parts):
            if not reach[j]:
                continue
            if part == "**":
                after[j] = True
            elif fnmatch.fnmatchcase(name, part):
                after[j + 1] = True
        reach = _through(after, parts)
    return reach[-1]


def _through(reach: list[bool], parts: list[str]) -> list[bool]:
    for j, part in enumerate(parts):
        if reach[j] and part == "**":
            reach[j + 1] = True
    return reach


def files(root: str, below: str) -> Iterator[str]:
    """Paths relative to `root` of the files at or below `below`, sorted, links not followed."""
    start = os.path.join(root, below) if below != "." else root
    if not os.path.isdir(start):
        yield below
        return
    for directory, names, found in os.walk(start):
        names[:] = sorted(name for name in names if name not in SKIPPED)
        for name in sorted(found):
            yield os.path.relpath(os.path.join(directory, name), root).replace(os.sep, "/")


def read(path: str) -> bytes | None:
    """A file's bytes; None for what is no regular file, cannot be opened, is binary or large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE:
            return None
        data = file.read(MAX_FILE)
    return None if b"\0" in data[:8192] else data


def search(request: dict[str, Any]) -> Iterator[str]:
    """The lines of the answer. Raises `re.error` for a bad pattern."""
    pattern = re.compile(request["pattern"])
    root, glob = request["root"], request["glob"]
    start = "" if request["path"] == "." else request["path"] + "/"
    count = passed = 0
    for path in request["files"]:
        if glob and not matches_glob(path.removeprefix(start), glob):
            continue
        data = read(os.path.join(root, path))
        if data is None:
            passed += 1
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
            found = pattern.search(line[:MAX_LINE])
            if found is None:
                continue
            if count == MAX_MATCHES:
                yield f"[more than {MAX_MATCHES} matching lines; narrow the pattern or the path]"
                return
            count += 1
            yield f"{path}:{number}: {_shown(line.rstrip(), found.start())}"
    if passed:
        yield f"[{passed} binary, very large or unreadable files and links were not searched]"


def _shown(line: str, at: int) -> str:
    if len(line) <= SHOWN:
        return line
    begin = max(0, min(at - SHOWN // 3, len(line) - SHOWN))
    return ("…" if begin else "") + line[begin : begin + SHOWN] + "…"


def main() -> int:
    """Answer the request on standard input."""
    with suppress(ValueError, OSError):  # a lower limit set from outside is as good
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    request = json.load(sys.stdin)
    out = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - until exit
    try:
        for line in search(request):
            out.write(line + "\n")
            out.flush()
    except (re.error, RecursionError, OverflowError) as error:
        out.write(f"{error}\n")
        out.flush()
        return BAD_PATTERN
    return 0


if __name__ == "__main__":
    sys.exit(main())
