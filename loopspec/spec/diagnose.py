"""Diagnostics: every fault of a spec, with its place, the remedy and what may have been meant.

Rules of this file:
1. A diagnostic names the place, the fault and the remedy; its code stands in `codes.CODES`.
2. All faults are collected and shown at once, in the order of their places.
3. Text from the spec is shown without control characters and never longer than a line.
"""

import difflib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from loopspec.errors import BadSpec
from loopspec.spec.codes import CODES
from loopspec.spec.codes import severity as severity_of

LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_WIDTH: Final = 100
_WORD: Final = 60
_CLOSE: Final = 64
_LIKE: Final = {2: 0.5, 3: 0.6}  # one wrong letter of two or three weighs much


@dataclass(frozen=True)
class Diagnostic:
    """One fault. `severity` is `error` or `warning`; line and column count from 1 (0: all).

    `hidden`: the line holds something that must not be shown again, such as a secret.
    """

    code: str
    severity: str
    file: str
    line: int
    col: int
    fault: str
    remedy: str
    near: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def place(self) -> str:
        """`file:line:col`, or the file alone when the fault is about all of it."""
        return f"{self.file}:{self.line}:{self.col}" if self.line else self.file


class Located(Protocol):
    """Anything with a 1-based place in the source."""

    @property
    def line(self) -> int:
        """The line."""

    @property
    def col(self) -> int:
        """The column."""


class SourceError(BadSpec):
    """A document that cannot be used; `diagnostics` holds every fault, the first is the text."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """`diagnostics` holds at least one, in the order they are to be told."""
        first = diagnostics[0]
        super().__init__(first.fault, place=first.place, remedy=first.remedy)
        self.diagnostics = tuple(diagnostics)


class Diagnostics:
    """Collects the faults of one file."""

    def __init__(self, file: str) -> None:
        """`file` is its name in messages."""
        self.file = file
        self._found: dict[Diagnostic, None] = {}

    def add(
        self,
        code: str,
        at: Located | None,
        fault: str,
        remedy: str,
        near: Iterable[str] = (),
        *,
        hidden: bool = False,
    ) -> None:
        """Note a fault at `at` (None: the whole file); raises `KeyError` for an unknown code."""
        severity = severity_of(code)
        line, col = (at.line, at.col) if at is not None else (0, 0)
        found = Diagnostic(
            code, severity, self.file, line, col, fault, remedy, tuple(near), hidden
        )
        self._found.setdefault(found)

    def extend(self, more: Iterable[Diagnostic]) -> None:
        """Take over faults found elsewhere."""
        self._found.update(dict.fromkeys(more))

    def sorted(self) -> list[Diagnostic]:
        """Every fault, ordered by place, then code, then text."""
        return sorted(self._found, key=lambda d: (d.file, d.line, d.col, d.code, d.fault))

    @property
    def failed(self) -> bool:
        """Whether anything found is an error."""
        return any(d.severity == "error" for d in self._found)


def nearest(word: str, names: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The names most like `word`, best first; also those whose last dotted part is like it."""
    if not word or len(word) > _WORD:
        return ()
    known = tuple(dict.fromkeys(names))
    cutoff = _LIKE.get(len(word), 0.7)
    close = difflib.get_close_matches(word, _shortlist(word, known), n=limit, cutoff=cutoff)
    if len(close) < limit and "." not in word:
        tails = _tails(known)
        like = difflib.get_close_matches(word, _shortlist(word, tuple(tails)), n=limit, cutoff=0.75)
        close += [n for name in like for n in tails[name] if n not in close]
    return tuple(close[:limit])


@lru_cache(maxsize=8)
def _tails(known: tuple[str, ...]) -> dict[str, list[str]]:
    """The dotted ones of some names by their last part."""
    made: dict[str, list[str]] = {}
    for name in known:
        if "." in name:
            made.setdefault(name.rsplit(".", 1)[-1], []).append(name)
    return made


def _shortlist(word: str, known: tuple[str, ...]) -> Iterable[str]:
    """Of many names the few that are worth a close look: those that share rare pairs of letters.

    Without it a thousand slips in a spec of a thousand states would take minutes.
    """
    if len(known) <= _CLOSE:
        return known
    shared: Counter[str] = Counter()
    for pair in _pairs(word):
        shared.update(_index(known).get(pair, ()))
    return [name for name, _ in shared.most_common(_CLOSE)] or known[:_CLOSE]


@lru_cache(maxsize=8)
def _index(known: tuple[str, ...]) -> dict[str, list[str]]:
    """Names by the pairs of letters in them; of pairs that many have only a few names."""
    made: dict[str, list[str]] = {}
    for name in known:
        for pair in _pairs(name):
            found = made.setdefault(pair, [])
            if len(found) < 2 * _CLOSE:
                found.append(name)
    return made


def _pairs(text: str) -> set[str]:
    """The pairs of neighbouring letters, the text's beginning and end included."""
    framed = f"^{text[:_WORD]}$"
    return {framed[n : n + 2] for n in range(len(framed) - 1)}


def quote(text: str) -> str:
    """`text` between backticks, on one line, without control characters, at most 60 long."""
    clean = _clean(text)
    return f"`{clean if len(clean) <= _WORD else clean[: _WORD - 1] + '…'}`"


def listing(names: Iterable[str], limit: int = 12) -> str:
    """Names as a sentence fragment: `a`, `b` and 3 more."""
    known = list(names)
    shown = ", ".join(quote(name) for name in known[:limit])
    more = len(known) - limit
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def render_text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> str:
    """For a terminal: each fault with its source line, a caret and the remedy.

    `sources` maps a diagnostic's file to its text; without one the line is left out.
    """
    lines: dict[str, list[str]] = {f: LINE_BREAK.split(text) for f, text in sources.items()}
    return "\n".join(_block(d, lines.get(d.file, [])) for d in diagnostics)


def render_json(diagnostics: Iterable[Diagnostic]) -> str:
    """For a program: a JSON array, one object per fault, in the given order."""
    return json.dumps(
        [
            {
                "code": d.code,
                "title": CODES[d.code],
                "severity": d.severity,
                "file": d.file,
                "line": d.line,
                "col": d.col,
                "fault": d.fault,
                "remedy": d.remedy,
                "near": list(d.near),
            }
            for d in diagnostics
        ],
        indent=2,
        ensure_ascii=False,
    )


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """For GitHub Actions: a workflow command per fault, shown beside the line of a pull request.

    The form is that of GitHub's "Workflow commands": `::error file=F,line=L,col=C,title=T::message`.
    """
    return "\n".join(_command(d) for d in diagnostics)


def _command(d: Diagnostic) -> str:
    where = f",line={d.line},col={d.col}" if d.line else ""
    message = f"{d.fault}\nremedy: {d.remedy}"
    if d.near:
        message += f"\ndid you mean: {listing(d.near)}"
    name = _escaped(d.file, ":,")
    return f"::{d.severity} file={name}{where},title={d.code}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """`text` with what would end a command written as `%XX`."""
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + more else c for c in text)


def _block(d: Diagnostic, lines: Sequence[str]) -> str:
    out = [f"{d.place}: {d.severity} {d.code}: {d.fault}"]
    if 0 < d.line <= len(lines) and not d.hidden:
        shown, caret = _window(lines[d.line - 1], d.col)
        margin = len(str(d.line))
        out += [f"  {d.line} | {shown}".rstrip(), f"  {' ' * margin} | {caret}"]
    out.append(f"  remedy: {d.remedy}")
    if d.near:
        out.append(f"  did you mean: {listing(d.near)}")
    return "\n".join(out) + "\n"


def _window(line: str, col: int) -> tuple[str, str]:
    """The part of a long line around `col`, and the caret under it."""
    start = max(0, col - 1 - _WIDTH // 2) if len(line) > _WIDTH else 0
    part = _clean(line[start : start + _WIDTH])
    before = part[: col - 1 - start]
    cut = "…" if start else ""
    if len(line) > start + _WIDTH:
        part = part[:-1] + "…"
    return cut + part, " " * (_columns(before) + len(cut)) + "^"


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _clean(text: str) -> str:
    return "".join(
        " " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" if _hidden(c) else c for c in text
    )


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
