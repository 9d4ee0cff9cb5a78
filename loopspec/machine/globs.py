"""Globs of the authority envelope and of grants, for tool names, paths and command lines.

Rules of this file:
1. `*` and `?` are the only wildcards inside a name; brackets stand for themselves. In a path they
   stay within one segment, and a segment that is just `**` is any number of segments, also none.
2. Matching takes time linear in the text (times the glob): the text comes from a model, and a glob
   that backtracks would let it hang the gate.
3. What allows covers all of a call: every path, the whole command. A wildcard never stands for a shell
   operator.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

# What lets one command line do a second thing: sequences, pipes, redirections, substitutions. `${` is one
# where the shell is bash: `${X:=…} ${X@P}` gives a text to a variable, then runs what is in it.
OPERATORS: Final = re.compile(r"[;&|`<>\n\r]|\$[({\[]")
_ANY_DEPTH: Final = "**"
_STARS: Final = re.compile(r"\*+")


def matches_text(glob: str, text: str, *, fold: bool = False) -> bool:
    """Whether the whole of `text` matches; `*` is any run of characters, `?` one of any.

    `fold` ignores case.
    """
    return _compiled(glob, fold).fullmatch(text) is not None


def matches_path(glob: str, path: str, *, fold: bool = False) -> bool:
    """Whether a path relative to the work directory matches; both are in posix form.

    `src/**` matches what is below `src` and `src` itself; `src/` means the same. The work directory
    itself (`.`) has no segments: of the usual globs only `**` matches it. `fold` ignores case.
    """
    return _segments_match(_glob_segments(glob), _path_segments(path), fold)


def covers(
    paths: Sequence[str], commands: Sequence[str], acts_on: Iterable[str], command: str | None
) -> bool:
    """Whether the globs `paths` and `commands` cover all that a call does.

    `acts_on` are its paths, `command` its command line (None: it runs none). Empty globs ask for
    nothing; globs for what a call does not have cover nothing.
    """
    touched = tuple(acts_on)
    if paths and not (touched and all(any(matches_path(g, p) for g in paths) for p in touched)):
        return False
    if not commands:
        return True
    return command is not None and any(allows_command(glob, command.strip()) for glob in commands)


def allows_command(glob: str, command: str) -> bool:
    """Whether a glob that allows covers a command line.

    `pytest*` must not allow `pytest; rm -rf /`, nor `pytest* | tail*` allow `pytest | sh | tail`. So the
    command has exactly the operators that the glob itself spells out, in the same order. Only the bare
    `*` says "any command whatever".
    """
    if glob == "*":
        return True
    if OPERATORS.findall(glob) != OPERATORS.findall(command):
        return False
    return matches_text(glob.strip(), command)


@lru_cache(maxsize=4096)
def _compiled(glob: str, fold: bool) -> re.Pattern[str]:
    """The glob as a regular expression that never backtracks past a part it has found.

    Between two stars the leftmost place of a part is as good as any: the search for it is atomic.
    """
    parts = ["".join("." if c == "?" else re.escape(c) for c in p) for p in _STARS.split(glob)]
    first, *rest = parts
    if not rest:
        return re.compile(first, _flags(fold))
    *middle, last = rest
    searched = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{searched}.*{last}", _flags(fold))


def _flags(fold: bool) -> re.RegexFlag:
    return re.DOTALL | re.IGNORECASE if fold else re.DOTALL


@lru_cache(maxsize=4096)
def _glob_segments(glob: str) -> tuple[str, ...]:
    """The glob's segments; a trailing `/` is `/**`, and `.` segments say nothing."""
    whole = f"{glob}{_ANY_DEPTH}" if glob.endswith("/") else glob
    return _path_segments(whole)


def _path_segments(path: str) -> tuple[str, ...]:
    """The segments that say something: `.` (the work directory itself) has none."""
    return tuple(s for s in path.split("/") if s not in ("", "."))


def _segments_match(glob: tuple[str, ...], path: tuple[str, ...], fold: bool) -> bool:
    """Match segment by segment; after a `**` the leftmost fit is tried first, then one further."""
    g = p = 0
    back: tuple[int, int] | None = None
    while p < len(path):
        if g < len(glob) and glob[g] == _ANY_DEPTH:
            g += 1
            back = (g, p)
        elif g < len(glob) and matches_text(glob[g], path[p], fold=fold):
            g, p = g + 1, p + 1
        elif back is not None:
            g, p = back[0], back[1] + 1
            back = (g, p)
        else:
            return False
    return all(segment == _ANY_DEPTH for segment in glob[g:])
