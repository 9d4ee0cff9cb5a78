"""Reference YAML: plain data as the YAML a person would write. For examples in pages and commands.

Rules of this file:
1. Whatever is written reads back as the same data; what could be misread is quoted as JSON is.
2. A value that fits its line is written on it, anything else as a block.
"""

import json
import re
from typing import Any, Final

WIDTH: Final = 72
_PLAIN: Final = re.compile(r"[A-Za-z_.][A-Za-z0-9_.()/<>=+ -]*")
_TIME: Final = re.compile(r"[0-9]+(ms|s|m|h|d)")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})


def block(value: Any) -> str:
    """A map, list or scalar as YAML in block style, with a line end."""
    return "\n".join(_lines(value, top=True)) + "\n"


def flow(value: Any) -> str:
    """The same on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(k)}: {flow(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            return _text(value)
        case _:
            return json.dumps(value)


def _lines(value: Any, *, top: bool = False) -> list[str]:
    """The lines of a value; a value inside another may stand on one line."""
    if not isinstance(value, dict | list) or not value or (not top and len(flow(value)) <= WIDTH - 16):
        return [flow(value)]
    if isinstance(value, list):
        return [line for item in value for line in _hung("-", _lines(item))]
    out: list[str] = []
    for key, inner in value.items():
        lines = _lines(inner)
        head = f"{_key(key)}:"
        whole = f"{head} {flow(inner)}"
        if not isinstance(inner, dict | list) or not inner or (len(lines) == 1 and len(whole) < WIDTH):
            out.append(whole)
        else:
            out += [head, *(f"  {line}" for line in _lines(inner, top=True))]
    return out


def _hung(mark: str, lines: list[str]) -> list[str]:
    first, *rest = lines
    return [f"{mark} {first}", *(f"  {line}" for line in rest)]


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) or _TIME.fullmatch(key) else json.dumps(key)


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text == text.strip()
    if plain or _TIME.fullmatch(text):
        return text
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    whole = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in whole)


def _escape(code: int) -> str:
    """A character that YAML refuses or nobody sees, as YAML writes it between double quotes."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
