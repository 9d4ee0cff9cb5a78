"""Edits of a text as pure functions: apply, say what is near, tell whether it happened, show it.

Rule of this file: nothing here touches the disk, and every result is bounded.
"""

import difflib
from typing import Final

from loopspec.hooks import ToolFailed

_NEAR_LINES: Final = 5000
_NEAR_LENGTH: Final = 300
_DIFF_LINES: Final = 5000
_SHOWN_LINES: Final = 200
_SHOWN_LENGTH: Final = 500
_MAX_PLACES: Final = 10


def edited(given: str, text: str, old: str, new: str, every: bool) -> tuple[str, list[int]]:
    """`text` with `old` replaced by `new`, and the line numbers (first is 1) where.

    `old` must occur exactly once unless `every`. In a file whose every line ends in CR LF, `old`
    and `new` may be given with LF. Raises `ToolFailed` naming `given`, the fault and the remedy.
    """
    old, new = _fit(text, old), _fit(text, new)
    if not old:
        raise ToolFailed("`old` is empty; give the text to replace, or write the whole file")
    if old == new:
        raise ToolFailed("`old` and `new` are the same; there is nothing to change")
    found = _occurrences(text, old, overlapping=not every)
    if not found:
        raise ToolFailed(f"`old` does not occur in {given}; {_near(text, old)}")
    lines = _line_numbers(text, found)
    if len(found) > 1 and not every:
        raise ToolFailed(
            f"`old` occurs {len(found)} times in {given} ({_listed(lines)}); "
            "give more of the text around it, or set `all`"
        )
    return text.replace(old, new), lines


def places(lines: list[int]) -> str:
    """`line 7`, or `3 places, lines 1, 4, 9`."""
    return f"line {lines[0]}" if len(lines) == 1 else f"{len(lines)} places, {_listed(lines)}"


def was_edited(text: str, old: str, new: str) -> bool | None:
    """Whether an edit of old into new happened: True, False, or None when the text does not tell.

    `old` counts as gone when it is only seen inside `new` (text was added around it). A deletion
    whose `old` is gone is None: nothing shows that it was ever there.
    """
    old, new = _fit(text, old), _fit(text, new)
    if old not in text:
        return True if new and new in text else None
    if not new or new not in text:
        return False
    if old in new:
        return True if old not in text.replace(new, "\0") else None
    return None if new in text.replace(old, "\0") else False


def unified(given: str, before: str, after: str) -> str:
    """A unified diff, bounded in lines and line length; large files are only counted."""
    if before == after:
        return f"{given}: no change"
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if len(old) > _DIFF_LINES or len(new) > _DIFF_LINES:
        return f"{given}: from {len(old)} to {len(new)} lines (too large to show as a diff)"
    shown: list[str] = []
    for line in difflib.unified_diff(
        old, new, f"a/{given}" if before else "/dev/null", f"b/{given}"
    ):
        if len(shown) == _SHOWN_LINES:
            shown.append(f"[… the diff goes on; only {_SHOWN_LINES} lines are shown]")
            break
        body = line.rstrip("\r\n")
        shown.append(body if len(body) <= _SHOWN_LENGTH else body[:_SHOWN_LENGTH] + " […]")
    return "\n".join(shown)


def _fit(text: str, piece: str) -> str:
    ends = text.count("\n")
    if ends and ends == text.count("\r\n") and "\r" not in piece:
        return piece.replace("\n", "\r\n")
    return piece


def _occurrences(text: str, old: str, *, overlapping: bool) -> list[int]:
    """Where `old` begins. Overlapping ones count where exactly one is wanted: `aa` in `aaa`."""
    found, at = [], text.find(old)
    while at >= 0:
        found.append(at)
        at = text.find(old, at + (1 if overlapping else len(old)))
    return found


def _line_numbers(text: str, found: list[int]) -> list[int]:
    numbers, line, before = [], 1, 0
    for at in found:
        line += text.count("\n", before, at)
        before = at
        numbers.append(line)
    return numbers


def _listed(lines: list[int]) -> str:
    shown = ", ".join(str(n) for n in lines[:_MAX_PLACES])
    return f"lines {shown}" + (", …" if len(lines) > _MAX_PLACES else "")


def _near(text: str, old: str) -> str:
    """What comes nearest to `old`: the same text with other spaces, else the closest line."""
    lines, wanted = text.splitlines()[:_NEAR_LINES], [line.strip() for line in old.splitlines()]
    wanted = [line for line in wanted if line]
    if not wanted or not text:
        return "read the file again" if text else "the file is empty"
    kept = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    for start in range(len(kept) - len(wanted) + 1):
        if all(kept[start + i][1] == line for i, line in enumerate(wanted)):
            return f"the same text with other spaces or line ends begins at line {kept[start][0]}"
    first = wanted[0][:_NEAR_LENGTH]
    near = difflib.get_close_matches(first, [line[:_NEAR_LENGTH] for _, line in kept], n=1)
    if not near:
        return "no line comes near its first line; read the file again"
    number = next(n for n, line in kept if line[:_NEAR_LENGTH] == near[0])
    return f"the closest line is {number}: {lines[number - 1][:_NEAR_LENGTH]}"
