"""Expressions: CEL and Jinja2 inside a spec, checked against the very event that carries them.

Rules of this file:
1. A fault is shown where it stands inside the expression, if the expression is written on one line.
2. Nothing is evaluated here that could cost time or memory: guards are asked without values, and
   only if they have no loops; texts are only parsed.
"""

from collections.abc import Collection, Mapping

from loopspec.events import BY_NAME
from loopspec.machine import guards, texts
from loopspec.machine.celtypes import USAGE_FIELDS, event_fields
from loopspec.machine.model import Place
from loopspec.spec.diagnose import LINE_BREAK, Located, nearest
from loopspec.spec.job import Job
from loopspec.spec.source import Node


def check_cel(job: Job, node: Node, want: str, event: str | None, label: str) -> None:
    """Report what is wrong with an expression that must give `want`."""
    if not job.typed or node.kind != "scalar":
        return
    wrong = guards.check(node.text, want, job.inputs, job.vars, event, job.foreign)
    if wrong is not None:
        at = _inside(job, node, wrong.line, wrong.col)
        near = near_names(wrong.name, wrong.known)
        job.found.add("LS401", at, f"{label}: {wrong.fault}", "correct the expression; it is CEL", near)


def check_constant(job: Job, node: Node, event: str | None) -> None:
    """Say of a guard that it gives the same whatever the values are."""
    if not job.typed or node.kind != "scalar":
        return
    gives = guards.constant(node.text, job.inputs, job.vars, event, job.foreign)
    if gives is not None:
        fault = f"this guard is always {str(gives).lower()}, whatever the values are"
        remedy = "remove the guard" if gives else "remove the transition, or correct the guard"
        job.found.add("LS710", node, fault, remedy)


def check_text(job: Job, node: Node, event: str | None, label: str) -> None:
    """Report what is wrong with a text; `event` is the one event whose fields it may read."""
    if node.kind != "scalar" or node.empty:
        return
    wrong = texts.check(node.text, _names(job, event))
    if wrong is None:
        return
    code = "LS403" if wrong.name else "LS402"
    near = near_names(wrong.name, wrong.known)
    remedy = "name one that exists" if wrong.name else "correct the text; it is Jinja2"
    job.found.add(code, node, f"{label}: {wrong.fault}", remedy, near)


def near_names(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The known names most like `name`. Of `root.field` only the field counts: roots are alike anyway."""
    root, dot, field = name.rpartition(".")
    if not dot:
        return nearest(name, known)
    fields = [k.removeprefix(f"{root}.") for k in known if k.startswith(f"{root}.")]
    return tuple(f"{root}.{k}" for k in nearest(field, fields))


def _names(job: Job, event: str | None) -> Mapping[str, Collection[str]]:
    """What a text may read here, by root."""
    names: dict[str, Collection[str]] = {
        "inputs": tuple(job.inputs),
        "vars": tuple(job.vars),
        "usage": tuple(USAGE_FIELDS),
        "session": texts.SESSION,
    }
    if event is not None and (event in BY_NAME or event in job.foreign):
        names["event"] = tuple(event_fields(event, job.foreign))
    return names


def _inside(job: Job, node: Node, line: int, col: int) -> Located:
    """The place of a character of a one-line scalar; the scalar's own place when it cannot be told."""
    if line != 1 or "\n" in node.text:
        return node
    lines = LINE_BREAK.split(job.source)
    if node.line > len(lines):
        return node
    start = node.col - 1 + (0 if node.plain else 1)
    written = lines[node.line - 1][start : start + len(node.text)]
    return Place(node.line, start + col) if written == node.text else node
