"""Scalars as they are written: verbatim, only indented anew. For `fmt`.

Rules of this file:
1. Quotes, signs and words stay as they were; a text is never wrapped or joined.
2. What YAML drops when it reads (indentation, spaces at the end of folded lines) may change, and
   nothing else.
"""

import re
from typing import Final

from loopspec.spec.diagnose import LINE_BREAK
from loopspec.spec.source import Node

_BREAK: Final = re.compile(f"({LINE_BREAK.pattern})")
_HEADER: Final = re.compile("[|>][0-9+-]*")
_DIGIT: Final = re.compile("[1-9]")
_SIGNS: Final = "\u2028\u2029"
_LONGEST_KEY: Final = 1000


def key_text(text: str, name: Node) -> str | None:
    """A key as it is written; None when it must be written as `? key`."""
    raw = text[name.start : name.end]
    if name.style in {"|", ">"} or len(raw) > _LONGEST_KEY or LINE_BREAK.search(raw):
        return None
    return _quoted(raw) if name.plain and marks(text, name) else raw


def flow_text(text: str, node: Node) -> str | None:
    """A scalar as it is written on one line; None when it takes several."""
    raw = text[node.start : node.end]
    return None if LINE_BREAK.search(raw) else raw


def marks(text: str, node: Node) -> bool:
    """Whether a scalar, at the beginning of a line, would begin or end a document."""
    raw = text[node.start : node.end]
    return raw[:3] in {"---", "..."} and not raw[3:4].strip()


def keeps(text: str, node: Node) -> bool:
    """Whether the empty lines after a scalar belong to it."""
    return node.style in {"|", ">"} and "+" in _header(text, node)


def scalar_lines(text: str, node: Node, column: int, indent: int) -> list[str]:
    """The lines of a scalar, the first without indentation.

    `column` is where, in `text`, the block around it stands, `indent` where it will stand. A line
    that ends with a line separator (U+2028, U+2029) is followed by no line feed.
    """
    if node.style in {"|", ">"}:
        return _block(text, node, column, indent)
    raw = text[node.start : node.end]
    if node.plain and raw == "-":
        return [_quoted(raw)]
    parts = _split(raw)
    last = len(parts) - 1
    lines: list[str] = []
    for number, (line, sign) in enumerate(parts):
        if number:
            line = line.lstrip(" \t")
        if number < last:
            line = _trimmed(line, node)
        lines.append((_indented(line, indent + 2) if number else line) + sign)
    return lines


def _quoted(raw: str) -> str:
    """Quotes for the few plain words that mean something else outside of brackets."""
    return "'" + raw.replace("'", "''") + "'"


def _trimmed(line: str, node: Node) -> str:
    """A folded line without the spaces at its end, save one that a backslash keeps."""
    cut = line.rstrip(" \t")
    slashes = len(cut) - len(cut.rstrip("\\"))
    kept = node.style == '"' and slashes % 2 == 1
    return line[: len(cut) + 1] if kept else cut


def _block(text: str, node: Node, column: int, indent: int) -> list[str]:
    """A block scalar: its header and its lines."""
    header = _header(text, node)
    parts = _split(text[node.start : node.end])[1:]
    if parts and parts[-1] == ("", ""):
        parts.pop()
    digit = _DIGIT.search(header)
    if digit is not None:
        cut = column + int(digit[0])
    else:
        filled = [line for line, _ in parts if line.strip(" ")]
        cut = len(filled[0]) - len(filled[0].lstrip(" ")) if filled else len(text)
    lines = [(line[cut:], sign) for line, sign in parts]
    if "+" not in header:
        while lines and lines[-1] == ("", ""):
            lines.pop()
    at = indent + (int(digit[0]) if digit is not None else 2)
    return [header, *(_indented(line, at) + sign for line, sign in lines)]


def _header(text: str, node: Node) -> str:
    """The signs of a block scalar. A text that ends with the file, without a last line feed, is
    written with `-`, because now a line feed follows it."""
    found = _HEADER.match(text, node.start)
    header = found[0] if found is not None else "|"
    if node.text and not node.text.endswith(("\n", *_SIGNS)) and "-" not in header:
        return header.replace("+", "") + "-"
    return header


def _indented(line: str, indent: int) -> str:
    return " " * indent + line if line else ""


def _split(raw: str) -> list[tuple[str, str]]:
    """Lines, each with the separator that must stay behind it (empty: a line feed)."""
    parts = _BREAK.split(raw)
    breaks = [*parts[1::2], ""]
    return [
        (line, end if end in set(_SIGNS) else "") for line, end in zip(parts[::2], breaks, strict=True)
    ]
