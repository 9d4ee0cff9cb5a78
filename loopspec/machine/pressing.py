"""Pressing: when what the model sees is too large for its window, and how far it is made smaller.

Rules of this file:
1. A full window raises `context.pressed` instead of a call; the spec routes it.
2. Each further compaction before the next reply aims at half as much.
"""

from typing import Final

from loopspec.effects import CompactContext
from loopspec.events import ContextPressed, name_of
from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.model import ModelDecl, State
from loopspec.machine.named import asides
from loopspec.machine.spending import stopped_by_budget

PPM: Final = 1_000_000


def window_of(draft: Draft, decl: ModelDecl) -> int:
    """The window in tokens, 0 if nobody knows: the spec's word, else what the driver found."""
    windows = draft.fixed.get("windows", draft.old.windows)
    declared = 0 if decl.name in draft.models else decl.window
    return draft.machine.context.window or declared or int(windows.get(decl.name, 0))


def pressed(draft: Draft, decl: ModelDecl, path: str, unseen: int) -> bool:
    """Raise `context.pressed` instead of calling, once per reply: then the provider has the word.

    `unseen` is what the request holds besides the view.
    """
    window = window_of(draft, decl)
    size = draft.usage.context + unseen
    limit = window * draft.machine.context.compact_at // PPM
    if not window or size <= limit or draft.compactions:
        return False
    activation(draft, path, phase="ended")
    pressed = ContextPressed(tokens=size, window=window)
    draft.push(name_of(pressed), pressed, path, ending=True)
    return True


def compact(draft: Draft, state: State) -> None:
    """Make the view smaller; each further time since the last reply aims at half as much."""
    if stopped_by_budget(draft, state.path):
        return
    declared, others = draft.machine.models, asides(draft.machine)
    windows = [w for n, m in declared.items() if n not in others and (w := window_of(draft, m))]
    size = min(windows) if windows else draft.usage.context
    target = size * draft.machine.context.target // PPM >> draft.compactions
    draft.emit(
        CompactContext(
            id=draft.next_id(), state=state.path, target=max(1, target), level=draft.compactions
        )
    )
