"""Masking: a shorter text of what a tool put out, and where the whole is to be had.

Rules of this file:
1. JSON keeps its keys and values in a closer form: records of the same keys become a table, values that
   are the same in every record are said once. Nothing is left out as long as it fits.
2. Of other text stay the first and last lines, lines about errors, and lines with atoms that later work
   took up. What is left out is counted.
3. Every mask ends with the handle of the whole.
"""

import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from loopspec.context.atoms import parsed, plain_atoms
from loopspec.context.scoring import ERROR
from loopspec.tokens import ITEM_OVERHEAD, estimate

HEAD: Final = 2
TAIL: Final = 2
LINE: Final = 160
DEEP: Final = 30
SPARSE: Final = 8
"""A table of more than so many places for each value would be mostly dashes: records that share few names
are told by name. Without it, records that share none take the square of their number."""

_FOOTER: Final = re.compile(r"\[shortened from (\d{1,12}) tokens; \S+ is the whole\]$")


def footer(handle: str, size: int) -> str:
    """How a mask ends: whose it is, and how much it stands for."""
    return f"[shortened from {size} tokens; {handle} is the whole]"


def mask_text(text: str, handle: str, size: int, room: int, weight: Mapping[str, int]) -> str:
    """A text of at most about `room` tokens in place of one of `size` tokens."""
    text, size = _once_more(text, size)
    end = footer(handle, size)
    room -= estimate(end)
    value = parsed(text)
    lines = list(compacted(value)) if value is not None else text.split("\n")
    shown = chosen(lines, room, weight)
    # Half a surrogate pair, which JSON can escape, can be written into no journal.
    return "\n".join([*shown, end]).encode("utf-8", "replace").decode()


def _once_more(text: str, size: int) -> tuple[str, int]:
    """The text of a mask without its end, and the size it stands for; any other text as it is."""
    body, _, last = text.rpartition("\n")
    told = _FOOTER.match(last)
    return (body, max(size, int(told[1]))) if told else (text, size)


def one_line(handle: str, size: int, atoms: Sequence[str], label: str) -> str:
    """The shortest mask: what it was, the handle, and atoms if there is room for any."""
    more = ": " + ", ".join(atoms) if atoms else ""
    return f"[{label}, {size} tokens left out; {handle} is the whole{more}]"


def chosen(lines: Sequence[str], room: int, weight: Mapping[str, int]) -> list[str]:
    """The lines that fit: the first and last, then those that weigh most for their size; gaps counted."""
    lines = [line if len(line) <= LINE * 4 else clipped(line, LINE * 2, weight) for line in lines]
    sizes = [estimate(line) - ITEM_OVERHEAD + 1 for line in lines]
    if sum(sizes) <= room:
        return list(lines)
    order: list[tuple[int, int]] = []
    for n, line in enumerate(lines):
        worth = sum(weight.get(atom, 0) for atom in set(plain_atoms(line)))
        if ERROR.search(line):
            worth += 400_000
        if n < HEAD or n >= len(lines) - TAIL:
            worth += 200_000
        if worth:
            order.append((-worth // (sizes[n] + 4), n))
    heapq.heapify(order)
    keep: set[int] = set()
    while order:
        _, n = heapq.heappop(order)
        if sizes[n] <= room - 3:
            keep.add(n)
            room -= sizes[n] + (0 if n - 1 in keep or n + 1 in keep else 3)
    return list(_with_gaps(lines, keep))


def _with_gaps(lines: Sequence[str], keep: set[int]) -> Iterator[str]:
    """The lines kept, and between them how many are not."""
    missing = 0
    for n, line in enumerate(lines):
        if n not in keep:
            missing += 1
            continue
        if missing:
            yield f"… {missing}"
        missing = 0
        yield line
    if missing:
        yield f"… {missing}"


def clipped(line: str, length: int, weight: Mapping[str, int]) -> str:
    """A long line: its beginning, and the atoms of the rest that weigh most."""
    start, rest = line[:length], line[length : length * 200]
    found = sorted(plain_atoms(rest), key=lambda atom: -weight.get(atom, 0))[:12]
    return f"{start}… {' '.join(found)}"


def compacted(value: Any) -> Iterator[str]:
    """A JSON value in a closer form, line by line."""
    if isinstance(value, dict):
        yield from _object(value)
    elif isinstance(value, list):
        yield from _array("", value, 0)
    else:
        yield scalar(value)


def scalar(value: Any) -> str:
    """A plain value; quotes only where the text could be taken for something else."""
    if isinstance(value, str):
        plain = value and value == value.strip() and not set(value) & set('"\n\r\t,;=|')
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _cell(value: Any) -> str:
    """A plain value in a row of a table, whose cells are parted by spaces."""
    told = scalar(value)
    return told if " " not in told or told[0] in '"{[' else json.dumps(told, ensure_ascii=False)


def flat(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The plain values of nested objects by dotted path; arrays and what is too deep stay as they are."""
    if isinstance(value, dict) and value and depth < DEEP:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key), depth + 1)
    else:
        yield path, value


def _object(value: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[str]:
    """An object: its plain values on a line, records of the same form as a table, arrays after it."""
    plain: list[str] = []
    rest: list[tuple[str, Any]] = []
    for key, inner in value.items():
        name = f"{path}.{key}" if path else str(key)
        if inner and (isinstance(inner, list) or (isinstance(inner, dict) and depth < DEEP)):
            rest.append((name, inner))
        else:
            plain.append(f"{key}={scalar(inner)}")
    if plain:
        yield (f"{path}: " if path else "") + " ".join(plain)
    for name, inner in rest:
        if isinstance(inner, list):
            yield from _array(name, inner, depth)
        elif len(inner) > 1 and all(isinstance(one, dict) and one for one in inner.values()):
            yield from _array(name, _keyed(inner), depth)
        else:
            yield from _object(inner, name, depth + 1)


def _keyed(value: dict[str, dict[str, Any]]) -> list[Any]:
    """Records by name as an array; the name comes along unless the record tells it itself."""
    if all(key in row.values() for key, row in value.items()):
        return list(value.values())
    return [{"": key, **row} for key, row in value.items()]


def _array(path: str, value: list[Any], depth: int) -> Iterator[str]:
    """An array: records as a table, plain values on a line."""
    rows = list(_records(value)) if depth < DEEP else []
    if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
        if not any(isinstance(one, dict | list) for one in value):
            yield f"{path}[{len(value)}]: " + " ".join(scalar(one) for one in value)
            return
        for n, one in enumerate(value):
            name = f"{path}[{n}]"
            if isinstance(one, dict) and one and depth < DEEP:
                yield from _object(one, name, depth + 1)
            else:
                yield f"{name}: {scalar(one)}"
        return
    yield from _table(path, rows)


def _records(value: list[Any]) -> Iterator[Any]:
    """The records of an array, those of arrays inside it too."""
    for one in value:
        if isinstance(one, list) and one and all(isinstance(inner, dict) for inner in one):
            yield from one
        else:
            yield one


def _table(path: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Records as a table: what all share once, the names of the others once, then a line for each."""
    made = [{key: _cell(one) for key, one in flat(row)} for row in rows]
    names = list(dict.fromkeys(key for row in made for key in row))
    # Row by row of the first one's names: each look ends at the first record that differs, so all of them
    # together are no more than the cells there are.
    shared = {name: one for name, one in made[0].items() if all(row.get(name) == one for row in made)}
    columns = [name for name in names if name not in shared]
    said = "".join(f" {name}={one}" for name, one in shared.items())
    if len(columns) * len(rows) > SPARSE * sum(map(len, made)):
        yield f"{path}[{len(rows)}]{said}:"
        for row in made:
            yield " ".join(f"{name}={one}" for name, one in row.items() if name not in shared) or "-"
        return
    yield f"{path}[{len(rows)}]{said} {'|'.join(columns)}".rstrip() + ":"
    if columns:
        for row in made:
            yield " ".join(row.get(name, "-") for name in columns)
