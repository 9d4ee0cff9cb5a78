"""Atoms: the words of a text that later work may need exactly as they are.

Rules of this file:
1. An atom is a path, a name with a digit, capital, dot or underscore inside, a number of at least two
   digits, a short quoted string, or a short string value of JSON. Plain words are none, and neither is
   what holds a line break of any sort, a control character or half a surrogate pair: an atom is written
   into a line of a summary, where it must not begin another one.
2. Linear in the length of the text, and bounded: no atom is longer than `LONGEST`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

LONGEST: Final = 64
"""Longer strings are prose or blobs: nobody repeats them word for word."""
DEEPEST: Final = 40
"""JSON is read so deep; what lies deeper is left out."""

_WORD: Final = re.compile(r"[A-Za-z0-9_/~.][\w./:@+~-]*")
_QUOTED: Final = re.compile(r"\"([^\"\n]{2,64})\"|`([^`\n]{2,64})`|(?<!\w)'([^'\n]{2,64})'(?!\w)")
_TELLING: Final = re.compile(r"[\d_]|\w[./]\w|^[/~]\w|[a-z]-?[A-Z]|^[A-Z]{3}|[^\W\d_]:\w")
_EDGE: Final = ".,:;-+@"
_BREAKING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def parsed(text: str) -> Any:
    """The value of a text that is a JSON object or array, else None."""
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def atoms(text: str) -> list[str]:
    """The atoms of a text, each once, in the order in which they come."""
    value = parsed(text)
    found = _of_text(text) if value is None else _of_value(value, 0)
    return list(dict.fromkeys(found))


def plain_atoms(text: str) -> list[str]:
    """The atoms of a text that is not read as JSON."""
    return list(dict.fromkeys(_of_text(text)))


def _of_text(text: str) -> Iterator[str]:
    """Words that tell something, and what stands between quotes."""
    for match in _WORD.finditer(text):
        word = match[0].strip(_EDGE)
        if 2 <= len(word) <= LONGEST and _TELLING.search(word):
            yield word
    for match in _QUOTED.finditer(text):
        inner = (match[1] or match[2] or match[3]).strip()
        if (" " in inner or inner.isalpha()) and not _BREAKING.search(inner):
            yield inner


def _of_value(value: Any, depth: int) -> Iterator[str]:
    """The string and number values of JSON, and the atoms of its longer texts."""
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        for inner in value.values():
            yield from _of_value(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_value(inner, depth + 1)
    elif isinstance(value, str):
        if 2 <= len(value) <= LONGEST and not _BREAKING.search(value):
            yield value
        if len(value) > LONGEST or " " in value or "\n" in value:
            yield from _of_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        told = json.dumps(value)
        if len(told) > 1:
            yield told
