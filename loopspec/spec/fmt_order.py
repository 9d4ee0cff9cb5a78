"""Order: in which order the keys of a spec's records are written.

Rules of this file:
1. Only the keys of records move: what the key tables call a record. Names that a spec chooses
   (states, tools, vars), events, lists and free data stay as they were written: order may mean
   something there.
2. The order is that of the key tables, save for the tables in `ORDERS`: a reader first wants to
   know what a state does, then where events lead from it.
3. A key that no table knows is never lost: it stands where `...` says, and else at the end.
"""

from functools import cache
from typing import Final

from loopspec.spec.comments import Unit
from loopspec.spec.forms import Either, Form, Json, Many, Named, Record
from loopspec.spec.keys import TABLES

_REST: Final = "..."
_MOVE: Final = ("guard", "target", "internal", "clock", "actions", "say", _REST, "accept")
ORDERS: Final[dict[str, tuple[str, ...]]] = {
    "state": (
        *("kind", "type", "description", "initial", "model", "prompt", "tools", "smaller", "boundary"),
        _REST,
        *("deep", "target", "outcome", "accept", "entry", "exit", "always", "after", "on", "done"),
        "states",
    ),
    "transition": _MOVE,
    "after": _MOVE,
}
"""The tables whose order is another one; `...` stands for the keys that are not named here, among
them those of a state's kind."""


def arrange(unit: Unit, form: Form | None = None) -> None:
    """Put the keys of every record under `unit` into order; `form` is a whole spec's if left out."""
    form = Record("spec") if form is None else form
    if isinstance(form, Either):
        form = {"scalar": form.scalar, "map": form.map, "list": form.list}[unit.value.kind]
    if isinstance(form, Record) and unit.value.kind == "map":
        ranks, rest = _ranks(form.table)
        unit.children.sort(key=lambda child: ranks.get(_name(child), rest))
    for child in unit.children:
        arrange(child, _inner(form, _name(child)))


def _name(unit: Unit) -> str:
    return unit.key.text if unit.key is not None else ""


def _inner(form: Form | None, name: str) -> Form:
    """The form of a value inside a value of this form; free data where there is none."""
    match form:
        case Record(table):
            key = TABLES[table].key(name)
            return key.form if key is not None else Json()
        case Named():
            return form.value
        case Many():
            return form.item
        case _:
            return Json()


@cache
def _ranks(table: str) -> tuple[dict[str, int], int]:
    """Each key's rank in a table, and the rank of keys it does not know."""
    known = TABLES[table].names
    named = ORDERS.get(table, (*known, _REST))
    at = named.index(_REST)
    order = [*named[:at], *(name for name in known if name not in named), *named[at:]]
    return {name: rank for rank, name in enumerate(order)}, order.index(_REST)
