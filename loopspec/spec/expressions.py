"""Expressions: CEL and Jinja2 inside a spec, checked against the very event that carries them.

Rules of this file:
1. A fault is shown where it stands inside the expression, if the expression is written on one line.
2. Nothing is evaluated here that could cost time or memory: guards are asked without values, and
   only if they have no loops; texts are only parsed.
"""

import re
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
        at = _named(job, node, wrong.name) or _inside(job, node, wrong.line, wrong.col)
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
    for wrong in texts.check_all(node.text, _names(job, event)):
        code = "LS403" if wrong.unknown else "LS402"
        near = near_names(wrong.name, wrong.known)
        remedy = "name one that exists" if wrong.unknown else "correct the text; it is Jinja2"
        at = _named(job, node, wrong.name) or _inside(job, node, wrong.line, 0)
        job.found.add(code, at, f"{label}: {wrong.fault}", remedy, near)


def near_names(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The known names most like `name`. Of `root.field` only the field counts: roots are alike anyway."""
    root, dot, field = name.rpartition(".")
    if name in known:
        return (name,)
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
    if job.root.get("guidance") is not None:
        names["guidance"] = ()
    if event is not None and (event in BY_NAME or event in job.foreign):
        names["event"] = tuple(event_fields(event, job.foreign))
    return names


def _named(job: Job, node: Node, name: str) -> Located | None:
    """The place of a name inside a scalar, however it is written; None when it does not stand there."""
    written = job.source[node.start : node.end]
    for word in dict.fromkeys((name, name.rpartition(".")[2])):
        found = re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", written) if word else None
        if found is not None:
            lines = LINE_BREAK.split(written[: found.start()])
            first = node.col if len(lines) == 1 else 1
            return Place(node.line + len(lines) - 1, first + len(lines[-1]))
    return None


def _inside(job: Job, node: Node, line: int, col: int) -> Located:
    """The place of a character of a scalar: where it can be told of a one-line one, the line of a `|`.

    `line` and `col` count from 1 inside the scalar; a column of 0 is the line's first character.
    """
    lines = LINE_BREAK.split(job.source)
    if node.style == "|" and 0 < line <= len(lines) - node.line:
        here = lines[node.line + line - 1]
        indent = len(here) - len(here.lstrip())
        return Place(node.line + line, indent + max(col, 1))
    if line != 1 or not col or "\n" in node.text or node.line > len(lines):
        return node
    start = node.col - 1 + (0 if node.plain else 1)
    written = lines[node.line - 1][start : start + len(node.text)]
    return Place(node.line, start + col) if written == node.text else node
