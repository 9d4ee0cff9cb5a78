"""Words: how numbers, times and foreign texts are written for a person. Shared by every view.

Rules of this file:
1. No text from outside reaches a terminal as it is: `printable` makes control and format characters
   visible, so that a model, a tool or a file cannot move the cursor, change colours or turn the
   reading direction.
2. Widths are terminal columns, and no character counts as less than one: a text that fits in
   columns also fits in characters.
3. Money and time arrive as integers and are never turned into floats.
"""

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from loopspec.effects import (
    CallModel,
    Cancel,
    CompactContext,
    DecideCalls,
    Effect,
    Perform,
    RestoreBoundary,
    RunTool,
    SurveyHost,
    TakeBoundary,
)
from loopspec.record import Left

ELLIPSIS: Final = "…"
NANO: Final = 1_000_000_000
STEP: Final = 100_000
"""Nano-USD in the smallest amount shown, $0.0001."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def printable(text: str, width: int) -> str:
    """`text` in at most `width` columns, safe to print; a cut is marked with `…`.

    Control, format (bidirectional overrides, zero-width characters), surrogate, private and
    unassigned characters become `\\n`, `\\x1b`, `\\u202e` and the like, and are never cut in the
    middle. A backslash stays as it is.
    """
    pieces: list[tuple[str, int]] = []
    used = 0
    for char in text:
        piece = _visible(char)
        size = cells(piece)
        if used + size > width:
            while pieces and used >= width:
                used -= pieces.pop()[1]
            if width > 0:
                pieces.append((ELLIPSIS, 1))
            break
        pieces.append((piece, size))
        used += size
    return "".join(piece for piece, _ in pieces)


def _visible(char: str) -> str:
    """One character, or how it is written when it must not be printed."""
    if char in _SHORT:
        return _SHORT[char]
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def cells(text: str) -> int:
    """How many terminal columns a printable text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int) -> str:
    """`text` followed by spaces up to `width` columns."""
    return text + " " * max(0, width - cells(text))


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """A printable text in lines of at most `width` columns, indented by `first`, then by `rest`.

    Breaks at spaces; a word longer than a line is broken anywhere. Indents that leave no room make lines
    too long, of a character each.
    """
    lines: list[str] = []
    line, bare = first, True
    for word in text.split(" "):
        if not bare and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line, bare = rest, True
        if bare and not word:
            continue
        while bare and word and cells(line) + cells(word) > width:
            head = _fitting(word, width - cells(line))
            lines.append(line + head)
            line, word = rest, word[len(head) :]
        line += word if bare else f" {word}"
        bare = False
    return [kept.rstrip(" ") for kept in (*lines, line) if kept.strip(" ")]


def _fitting(word: str, room: int) -> str:
    """The longest head of a word that takes at most `room` columns, at least one character."""
    used = 0
    for n, char in enumerate(word):
        used += cells(char)
        if used > room:
            return word[: max(1, n)]
    return word


def duration(micros: int) -> str:
    """Microseconds as `850 ms`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 04 h`; rounded down.

    A second part that is zero is left out; below zero counts as zero.
    """
    if micros < 1_000_000:
        return f"{max(0, micros) // 1000} ms"
    seconds = micros // 1_000_000
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return _pair(minutes, "min", seconds, "s")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return _pair(hours, "h", minutes, "min")
    return _pair(hours // 24, "d", hours % 24, "h")


def _pair(large: int, one: str, small: int, two: str) -> str:
    """`3 min 05 s`, or `3 min` when there is nothing of the smaller unit."""
    return f"{large} {one} {small:02d} {two}" if small else f"{large} {one}"


def left_out(left: Left) -> str:
    """Why a model is asked no more in a call, in a few words; not yet printable."""
    reason = left.reason or "no answer"
    match left.why:
        case "attempts":
            return f"left {left.use}: {reason}, after {plural(left.attempts, 'attempt')}"
        case "wait":
            return f"left {left.use}: {reason}, it asks for a wait of {duration(left.wait)}"
        case "waited":
            return f"left {left.use}: {reason}, and the call has waited as long as it may"
        case "breaker":
            return f"left {left.use} out: {reason}, {left.attempts} in a row"
        case "window":
            return f"left {left.use} out: its window is too small"
        case "tier":
            return f"passed over {left.use}: {reason}"
        case "escalated":
            return f"left {left.use}: its reply does not hold ({reason.replace('_', ' ')})"
        case _:
            return f"left {left.use}: {reason}, not to be tried again"


def due(left: int) -> str:
    """How far away a time is, `left` in microseconds: `in 12 s` or `overdue by 3 min`."""
    return f"in {duration(left)}" if left > 0 else f"overdue by {duration(-left)}"


def moment(at: int) -> str:
    """UTC microseconds as `2026-11-03 10:00:00 UTC`."""
    try:
        when = _EPOCH + timedelta(seconds=at // 1_000_000)
    except OverflowError:
        return f"{at} µs after 1970"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def usd(nano: int, *, floor: bool = False) -> str:
    """Nano-USD as `$0.0123`, `$3.00`: two to four decimals, rounded half up or down (`floor`).

    An amount too small to show is `under $0.0001`.
    """
    if 0 < nano < STEP and not floor:
        return "under $0.0001"
    units = nano // STEP if floor else (nano + STEP // 2) // STEP
    whole, part = divmod(units, NANO // STEP)
    digits = f"{part:04d}"
    return f"${whole:,}.{digits[:2]}{digits[2:].rstrip('0')}"


def money(cost: int, unpriced: int) -> str:
    """What was spent: `cost` nano-USD, and `unpriced` replies of unknown price beside it."""
    if not unpriced:
        return usd(cost)
    return f"≥ {usd(cost, floor=True)}" if cost else "unknown"


def amount(which: str, value: int) -> str:
    """An amount of a budget in its own unit (turns, tokens, nano-USD, microseconds)."""
    match which:
        case "usd":
            return usd(value)
        case "elapsed":
            return duration(value)
        case _:
            return f"{value:,}"


def plural(count: int, one: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def sentence(text: str) -> str:
    """The first sentence of a text."""
    head, stop, _ = text.partition(". ")
    return f"{head}." if stop else head


def what(effect: Effect) -> str:
    """What an effect does, in a few words."""
    match effect:
        case CallModel():
            return f"ask the model {effect.model} ({effect.use})"
        case DecideCalls():
            return f"decide {plural(len(effect.calls), 'call')}"
        case RunTool():
            return f"run `{effect.tool}` (call {effect.call})"
        case CompactContext():
            return f"compact the context to {effect.target:,} tokens"
        case TakeBoundary():
            return f"take boundary {effect.boundary}"
        case SurveyHost():
            return f"look at the host for the model {effect.model}"
        case RestoreBoundary():
            return f"restore boundary {effect.boundary}"
        case Perform():
            return f"perform `{effect.kind}`"
        case Cancel():
            return f"cancel {effect.target}"
        case _:
            assert_never(effect)
