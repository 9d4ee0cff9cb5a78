"""Check: a spec read, compiled and looked at as a whole. The one door for whoever wants a machine.

Rules of this file:
1. Errors stop a machine; warnings do not, and can be accepted at the place with a reason.
2. What needs the loop as a whole is asked only of a draft whose references hold, so that one slip is
   told once.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from loopspec.check.accept import apply_accepts, check_accepts
from loopspec.check.care import check_care
from loopspec.check.flow import Flow, sound
from loopspec.check.reach import check_reach
from loopspec.check.retrying import check_retrying
from loopspec.check.secrets import Secrets
from loopspec.check.unused import check_shadowed, check_unused
from loopspec.machine.model import Kind
from loopspec.spec.diagnose import Diagnostic, Diagnostics
from loopspec.spec.parse import Compiled, Draft, ToolInfo, compile_spec

_STRUCTURE: Final = ("LS0", "LS1", "LS2", "LS3", "LS5", "LS901")
"""Faults after which the loop as a whole is not what its author meant."""


def check_spec(
    path_or_text: Path | str,
    *,
    kinds: Mapping[str, Kind],
    tools: Mapping[str, ToolInfo],
    name: str = "",
) -> Compiled:
    """Compile a spec as `compile_spec` does, and look at the loop as a whole.

    Warnings that the spec accepts are in `accepted`, all others in `diagnostics`. Never raises for
    what is in a spec.
    """
    made = compile_spec(path_or_text, kinds=kinds, tools=tools, name=name)
    found = Diagnostics(name or (str(path_or_text) if isinstance(path_or_text, Path) else "<text>"))
    found.extend(made.diagnostics)
    secrets = Secrets(made.root, made.source)
    secrets.report(found)
    if made.draft is not None:
        check_accepts(found, made.draft.job.root)
        _whole(found, made.draft)
    accepted: tuple[Diagnostic, ...] = ()
    if made.draft is not None:
        warnings = [d for d in found.sorted() if d.severity == "warning"]
        spare = Diagnostics(found.file)
        accepted = apply_accepts(made.draft.job.root, warnings, spare)
        # With errors, or in a state that is never entered, not every warning was looked for.
        if not found.failed and all(d.code != "LS701" for d in warnings):
            found.extend(spare.sorted())
    told = secrets.hide(d for d in found.sorted() if d not in accepted)
    machine = None if found.failed else made.machine
    return replace(made, machine=machine, diagnostics=told, accepted=accepted)


def _whole(found: Diagnostics, draft: Draft) -> None:
    """What can be said of the loop as a whole."""
    check_shadowed(found, draft)
    broken = [d for d in found.sorted() if d.severity == "error" and d.code.startswith(_STRUCTURE)]
    if any(d.code not in _HARMLESS for d in broken) or not sound(draft.machine):
        return
    flow = Flow(draft.machine)
    check_reach(found, draft, flow)
    check_care(found, draft, flow)
    if not any(d.code.startswith(_MISSPELT) for d in found.sorted()):
        check_unused(found, draft)
        check_retrying(found, draft)


_HARMLESS: Final = frozenset(
    {"LS105", "LS106", "LS107", "LS108", "LS112", "LS113", "LS202", "LS203", "LS204", "LS205", "LS206"}
    | {"LS306", "LS307", "LS308", "LS313"}
)
"""Faults of structure that leave the rest of the loop readable."""
_MISSPELT: Final = ("LS4", "LS202", "LS203", "LS204", "LS206")
"""Faults of a name: what was meant by it is not unused."""
