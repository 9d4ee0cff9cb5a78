"""Accept: warnings that a spec takes on with a reason, at the place where they stand.

Rules of this file:
1. An `accept` holds for its own record: a state, a transition, a model, a tool, an input, a var, a
   rule, or the document's top level; never for the records inside it.
2. Errors cannot be accepted, and a reason must be given.
3. An `accept` that accepts nothing is a warning itself, or it would hide the next fault.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loopspec.spec.codes import ACCEPTABLE, CODES
from loopspec.spec.diagnose import Diagnostic, Diagnostics, nearest, quote
from loopspec.spec.forms import Either, Form, Many, Named, Record
from loopspec.spec.keys import TABLES
from loopspec.spec.source import Entry, Node

Place = tuple[int, int]


@dataclass(frozen=True)
class _Owned:
    """A place, and the record that may accept warnings there."""

    place: Place
    owner: Node


def check_accepts(found: Diagnostics, root: Node) -> None:
    """Report LS113: codes that do not exist or are errors, and reasons that say nothing."""
    for owner in _owners(root):
        for entry in _accepts(owner):
            code = entry.key
            if code == "LS790":
                fault = f"{quote(code)} cannot be accepted"
                found.add("LS113", entry, fault, "remove the `accept` that accepts nothing")
            elif code in CODES and code not in ACCEPTABLE:
                fault = f"{quote(code)} is an error and cannot be accepted"
                found.add("LS113", entry, fault, "correct the fault")
            elif not re.fullmatch("LS[0-9]{3}", code):
                continue  # `shape` has reported it
            elif code not in ACCEPTABLE:
                near = nearest(code, sorted(ACCEPTABLE))
                fault = f"no warning has the code {quote(code)}"
                found.add("LS113", entry, fault, "`loopspec explain-code` lists them", near)
            elif entry.value.kind == "scalar" and not entry.value.text.strip():
                fault = f"{quote(code)} is accepted without a reason"
                found.add("LS113", entry, fault, "say why it is right here")


def apply_accepts(
    root: Node, warnings: Sequence[Diagnostic], found: Diagnostics
) -> tuple[Diagnostic, ...]:
    """Which of `warnings` the spec accepts. Reports LS790 for every `accept` without a warning."""
    owners: dict[Place, Node] = {}
    for owned in _walk(root, Record("spec"), root):
        owners[owned.place] = owned.owner  # a block map begins where its first key does: the key wins
    used: set[Place] = set()
    accepted: list[Diagnostic] = []
    for warning in warnings:
        owner = owners.get((warning.line, warning.col))
        mine = [e for e in _accepts(owner) if e.key == warning.code] if owner is not None else []
        if mine:
            accepted.append(warning)
            used.update((e.line, e.col) for e in mine)
    for owner in _owners(root):
        for entry in _accepts(owner):
            if entry.key in ACCEPTABLE and (entry.line, entry.col) not in used:
                fault = f"{quote(entry.key)} is accepted here, and there is no such warning"
                found.add("LS790", entry, fault, "remove it")
    return tuple(accepted)


def _accepts(owner: Node) -> tuple[Entry, ...]:
    accept = owner.get("accept")
    return accept.entries if accept is not None else ()


def _owners(root: Node) -> Iterator[Node]:
    """Every record of the document that may accept warnings."""
    seen: set[int] = set()
    for owned in _walk(root, Record("spec"), root):
        if id(owned.owner) not in seen:
            seen.add(id(owned.owner))
            yield owned.owner


def _walk(node: Node, form: Form | None, owner: Node) -> Iterator[_Owned]:
    """Every place of a tree with its record, outer places first; `form` is None in free data."""
    if isinstance(form, Either):
        form = {"scalar": form.scalar, "map": form.map, "list": form.list}[node.kind]
    table = TABLES[form.table] if isinstance(form, Record) else None
    if table is not None and node.kind == "map" and table.key("accept") is not None:
        owner = node
    yield _Owned((node.line, node.col), owner)
    for item in node.items:
        yield from _walk(item, form.item if isinstance(form, Many) else None, owner)
    for entry in node.entries:
        inner: Form | None = None
        if isinstance(form, Named):
            inner = form.value
        elif table is not None and (key := table.key(entry.key)) is not None:
            inner = key.form
        head = _head(entry.value, inner)
        yield _Owned((entry.line, entry.col), entry.value if head else owner)
        yield from _walk(entry.value, inner, owner)


def _head(node: Node, form: Form | None) -> bool:
    """Whether a key is the head of a record that may accept warnings."""
    if isinstance(form, Either):
        form = form.map
    if not isinstance(form, Record) or node.kind != "map":
        return False
    return TABLES[form.table].key("accept") is not None
