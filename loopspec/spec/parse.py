"""Parse: a spec becomes a machine, or the list of everything that is wrong with it.

Rules of this file:
1. Whatever the document holds, the answer is `Compiled`; no exception leaves for what is in it.
2. There is a machine only when there is no error; warnings do not stand in the way.
3. The machine holds the kinds it uses and no others, so installing a plugin changes no digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loopspec.machine.model import Kind, Machine
from loopspec.spec import limits
from loopspec.spec.declare import declare
from loopspec.spec.diagnose import Diagnostic, Diagnostics
from loopspec.spec.job import Job, ToolInfo, text
from loopspec.spec.moves import connect
from loopspec.spec.routes import check_routes
from loopspec.spec.shape import Shape
from loopspec.spec.source import Node, scan, scan_text
from loopspec.spec.states import Raw, build, collect, initial

__all__ = ["Compiled", "Draft", "ToolInfo", "compile_spec"]


@dataclass(frozen=True)
class Draft:
    """What was understood of a spec, faults or not: for whoever looks at the loop as a whole.

    References in it may lead nowhere.
    """

    job: Job
    raws: tuple[Raw, ...]
    machine: Machine


@dataclass(frozen=True)
class Compiled:
    """The machine (None when there is an error), every diagnostic by place, and the text read.

    `root` is the tree that was read, `draft` what was made of it. `accepted` are warnings that the
    spec accepts with a reason.
    """

    machine: Machine | None
    diagnostics: list[Diagnostic]
    source: str
    root: Node | None = None
    draft: Draft | None = None
    accepted: tuple[Diagnostic, ...] = ()


def compile_spec(
    path_or_text: Path | str,
    *,
    kinds: Mapping[str, Kind],
    tools: Mapping[str, ToolInfo],
    name: str = "",
) -> Compiled:
    """Compile a spec file (`Path`) or its text (`str`).

    `kinds` and `tools` are what is installed, by the names specs use. `name` is the file's name in
    messages and in the machine; empty: the path, or `<text>`. Never raises for what is in a spec.
    """
    if isinstance(path_or_text, Path):
        name = name or str(path_or_text)
        result = scan(path_or_text, name)
    else:
        name = name or "<text>"
        result = scan_text(path_or_text, name)
    found = Diagnostics(name)
    found.extend(result.diagnostics)
    draft = None
    if result.node is not None:
        draft = _compile(result.node, found, kinds, tools, result.source)
    machine = draft.machine if draft is not None and not found.failed else None
    told = _told(found.sorted())
    return Compiled(machine, told, result.source, result.node, draft)


def _told(found: list[Diagnostic]) -> list[Diagnostic]:
    """Without what only follows from another fault at the same place: of the YAML, or of a name."""
    read = {(d.line, d.col) for d in found if d.code < "LS1"}
    named = {(d.line, d.col) for d in found if d.code == "LS206"}
    rest = [d for d in found if d.code < "LS1" or (d.line, d.col) not in read]
    return [d for d in rest if d.code != "LS111" or (d.line, d.col) not in named]


def _compile(
    root: Node,
    found: Diagnostics,
    kinds: Mapping[str, Kind],
    tools: Mapping[str, ToolInfo],
    source: str,
) -> Draft | None:
    Shape(found).document(root)
    if root.kind != "map":
        return None
    job = Job(found=found, root=root, kinds=kinds, tools=tools, source=source)
    declare(job)
    raws = collect(root)
    build(job, raws)
    start = initial(job, root, "", root)
    connect(job, raws)
    budgets = limits.budgets(job)
    check_routes(job, raws, budgets)
    made = Machine(
        name=text(root, "name"),
        version=text(root, "version"),
        description=text(root, "description"),
        initial=start,
        states=job.states,
        transitions=tuple(job.transitions),
        kinds=job.used,
        inputs=job.inputs,
        vars=job.vars,
        models=job.models,
        tools=job.declared,
        prompts=job.prompts,
        prompt_places=job.prompt_places,
        timers=job.timers,
        budgets=budgets,
        guidance=limits.guidance(job),
        context=limits.context(job),
        authority=limits.authority(job),
        file=found.file,
    )
    return Draft(job, tuple(raws), made)
