"""Pressing: when what the model sees is too large for its window, and how far it is made smaller.

Rules of this file:
1. A full window raises `context.pressed` instead of a call; the spec routes it.
2. *One input* is one request until its reply, or until a person says something more. For it pressure
   compacts once (once more for a smaller window: a fallback's, a tier's), and so does a refusal for
   length. A second refusal is a failed attempt that names the arithmetic: nothing goes in circles.
3. Each further compaction before the next reply aims at half as much.
4. Compactions in a row that come to nothing open a breaker (`context.failures`): the next ones are
   `context.stuck` at once, until a reply comes or a person asks (`compaction.requested`).
5. What a provider counts, or refuses, corrects the estimate; the next target is in its tokens.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from loopspec.effects import CallModel, CompactContext
from loopspec.events import (
    CompactionRequested,
    ContextCompacted,
    ContextPressed,
    ContextStuck,
    ErrorExecution,
    Kept,
    ModelChosen,
    ModelOverflowed,
    ModelReplied,
    name_of,
)
from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.model import Machine, ModelDecl, State
from loopspec.machine.named import asides
from loopspec.machine.prompts import prompt_of
from loopspec.machine.spending import stopped_by_budget
from loopspec.machine.texts import TextError
from loopspec.snapshot import Snapshot
from loopspec.tokens import estimate, scaled

PPM: Final = 1_000_000
LEAST: Final = PPM // 4
MOST: Final = PPM * 4
"""Bounds of the correction: beyond them the report is taken to be about something else."""
SMOOTH: Final = 4
"""A new report counts as one of so many, so that one odd request does not tip the estimate."""
UNKNOWN: Final = PPM * 5 // 4
"""What a refusal teaches where no window is known: the request is larger than it was taken for."""
OVERFLOWED: Final = "overflowed"
"""Why an attempt failed whose request was too long again, although the view had been compacted."""

_TOLD_WINDOW: Final = re.compile(
    r"maximum context length (?:is|of) ([\d,]{3,12})|> ?([\d,]{3,12}) maximum"
    r"|context (?:size|window|length)(?! by )[^\d.]{0,24}?([\d,]{3,12}) ?tokens",  # not: reduce it by
    re.IGNORECASE,
)
_TOLD_SIZE: Final = re.compile(
    r"(?:resulted in|requested|prompt is too long:|request \() ?([\d,]{3,12}) tokens", re.IGNORECASE
)


def window_of(draft: Draft, decl: ModelDecl, use: str = "") -> int:
    """The window in tokens of `use` (empty: the model now behind `decl`), 0 if nobody knows.

    The spec's word, then the declaration's for the model it declares, then what was found out about
    `use`, then about `decl`; never more than what `use` itself is known to hold.
    """
    windows = draft.fixed.get("windows", draft.old.windows)
    return _window(draft.machine, windows, decl, use or draft.models.get(decl.name) or decl.use)


def window_known(machine: Machine, snapshot: Snapshot, decl: ModelDecl) -> int:
    """The window in tokens of the model behind `decl` as a snapshot has it, 0 if nobody knows.

    Of tiers it is that of the first one whose window is known.
    """
    chosen = snapshot.models.get(decl.name)
    uses = [tier.use for tier in decl.tiers] if decl.tiers and not chosen else [chosen or decl.use]
    found = (_window(machine, snapshot.windows, decl, use) for use in uses)
    return next((window for window in found if window), 0)


def _window(machine: Machine, windows: Mapping[str, int], decl: ModelDecl, use: str) -> int:
    declared = decl.window if use == decl.use else 0
    declared = next((tier.window for tier in decl.tiers if tier.use == use), declared)
    told = int(windows.get(use, 0))
    known = machine.context.window or declared or told or int(windows.get(decl.name, 0))
    return min(known, told) if told else known


def pressed(draft: Draft, decl: ModelDecl, path: str, unseen: int, use: str = "") -> bool:
    """Raise `context.pressed` instead of calling, once for an input: then the provider has the word.

    `unseen` is what the request holds besides the view, by estimate. A smaller window than the one that
    pressed before presses again.
    """
    window = window_of(draft, decl, use)
    size = draft.usage.context + scaled(unseen, draft.usage.scale)
    if not window or size <= window * draft.machine.context.compact_at // PPM:
        return False
    if (draft.presses or draft.squeezed) and window >= (draft.pressed or 1):
        return False
    draft.presses += 1
    draft.pressed = window
    activation(draft, path, phase="ended")
    pressed = ContextPressed(tokens=size, window=window)
    draft.push(name_of(pressed), pressed, path, ending=True)
    return True


def said(draft: Draft, event: Kept) -> None:
    """A person says something more: what follows is another input."""
    _another(draft)
    if isinstance(event, CompactionRequested):
        draft.unsqueezed = 0
        draft.presses = 1


def replied(draft: Draft, event: ModelReplied) -> None:
    """A reply: the input is done, and what it took corrects the estimate."""
    _another(draft)
    draft.compactions = draft.unsqueezed = 0
    draft.formerly = {}
    used, old = event.usage.input_tokens, draft.usage.scale
    if used > draft.answered.get(event.model, 0):
        draft.answered = {**draft.answered, event.model: used}
    if event.estimated > 0 and used > 0:
        now = _bounded(used * PPM // event.estimated)
        scale = (old * (SMOOTH - 1) + now) // SMOOTH if old else now
        draft.usage = msgspec.structs.replace(draft.usage, scale=scale)


def counted(event: ModelReplied) -> int | None:
    """How large the view is by a reply's own report, in tokens; None if it reports nothing.

    A report beyond the bounds of the correction is about something else: it is taken as far as they go,
    else one absurd number would have the whole view removed.
    """
    asked, said = event.usage.input_tokens, event.usage.output_tokens
    if not asked or event.estimated <= 0:
        return asked + said if asked else None
    texts = (event.text, event.blocks, *(call.args for call in event.calls))
    most = scaled(sum(map(estimate, texts)), MOST)
    asked = min(scaled(event.estimated, MOST), max(scaled(event.estimated, LEAST), asked))
    return asked + min(said, most)


def _another(draft: Draft) -> None:
    """Another input begins."""
    draft.presses = draft.pressed = draft.overflows = draft.squeezed = 0


def chosen(draft: Draft, event: ModelChosen) -> None:
    """Another model behind a declared name; a call that is out is left alone.

    If the view presses against its window, the old one writes the summary.
    """
    decl = draft.machine.models[event.model]
    old, window = draft.models.get(decl.name) or decl.use, window_of(draft, decl)
    others = {name: use for name, use in draft.models.items() if name != event.model}
    draft.models = {**others, event.model: event.use} if event.use else others
    windows = draft.fixed.get("windows", draft.old.windows)
    draft.fixed["windows"] = {**windows, event.model: event.window}
    _remember(draft, event, old, window)
    draft.push(name_of(event), event)


def _remember(draft: Draft, event: ModelChosen, old: str, window: int) -> None:
    """Keep the `old` choice, of a larger `window`, as long as the view does not fit the new one."""
    size = event.window * draft.machine.context.compact_at // PPM
    if not event.window or draft.usage.context <= size or (window and window <= event.window):
        return
    if event.model not in draft.formerly:  # chosen twice: the first one had the room
        draft.formerly = {**draft.formerly, event.model: old}


def overflowed(draft: Draft, event: ModelOverflowed, effect: CallModel) -> str:
    """A provider refused a request for its length; why it must not be compacted again, if so.

    What it teaches is taken in: a window it names, and that the request is larger than was thought.
    """
    decl = draft.machine.models[effect.model]
    told, size = _number(_TOLD_WINDOW, event.detail), _number(_TOLD_SIZE, event.detail)
    window = window_of(draft, decl, effect.use)
    if told < draft.answered.get(effect.use, 0):
        told = 0  # it has answered a larger request than it now says it can take
    if told and (not window or told < window):
        windows = draft.fixed.get("windows", draft.old.windows)
        draft.fixed["windows"] = {**windows, effect.use: told}
        window = told
    _larger(draft, max(size, window + 1) if window else 0)
    draft.overflows += 1
    draft.pressed = min(window or draft.pressed, draft.pressed or window)
    if draft.overflows == 1:
        return ""
    held = f"a window of {window:,}" if window else "a window nobody knows"
    done = f"{draft.squeezed} compaction{'' if draft.squeezed == 1 else 's'}"
    return (
        f"refused again for its length after {done}: about {draft.usage.context:,} tokens against {held}"
        + (f" ({event.detail})" if event.detail else "")
    )


def _larger(draft: Draft, size: int) -> None:
    """The request is at least `size` tokens (0: nobody knows), whatever was estimated."""
    usage = draft.usage
    size = size or usage.context * UNKNOWN // PPM
    if size <= usage.context:
        return
    factor = size * PPM // max(1, usage.context)
    scale = _bounded((usage.scale or PPM) * factor // PPM)
    draft.usage = msgspec.structs.replace(usage, context=size, scale=scale)


def _bounded(scale: int) -> int:
    """A correction within its bounds."""
    return min(MOST, max(LEAST, scale))


def _number(pattern: "re.Pattern[str]", detail: str) -> int:
    """The number of tokens that a provider's words name, 0 without one."""
    found = pattern.search(detail)
    digits = next((g for g in found.groups() if g), "") if found else ""
    return int(digits.replace(",", "") or 0)


def compact(draft: Draft, state: State) -> None:
    """Make the view smaller, unless a budget is spent or it would come to nothing once more."""
    path = state.path
    if stopped_by_budget(draft, path):
        return
    if why := _closed(draft):
        stuck(draft, ContextStuck(effect="", reason=why), path)
        return
    system = ""
    if prompt := json.loads(state.config).get("prompt"):
        try:
            made = prompt_of(prompt, draft)
        except TextError as err:
            fault = f"the prompt of `{path}` at {state.place}: {err}"
            activation(draft, path, phase="ended")
            raised = ErrorExecution(place=str(state.place), error=fault, event="")
            draft.push(name_of(raised), raised, path)
            return
        system = made.digest
        draft.blobs[system] = made.data
    size = draft.pressed or _smallest(draft) or draft.usage.context
    target = size * draft.machine.context.target // PPM >> draft.compactions
    draft.emit(
        CompactContext(
            id=draft.next_id(),
            state=path,
            target=max(1, target),
            level=draft.compactions,
            context=draft.usage.context,
            scale=draft.usage.scale,
            system=system,
        )
    )


def _smallest(draft: Draft) -> int:
    """The smallest window of the models that the conversation goes to, 0 if none is known."""
    others = asides(draft.machine)
    declared = draft.machine.models.items()
    windows = [w for n, m in declared if n not in others and (w := window_of(draft, m))]
    return min(windows, default=0)


def _closed(draft: Draft) -> str:
    """Why nothing may be compacted now, empty if it may."""
    if draft.unsqueezed >= draft.machine.context.failures:
        return (
            f"{draft.unsqueezed} compactions in a row came to nothing; the next one waits for a reply or "
            "for a person to ask"
        )
    if draft.squeezed >= max(1, draft.presses + draft.overflows):
        return "this request was compacted already, and nothing was asked since"
    return ""


def compacted(draft: Draft, event: ContextCompacted) -> None:
    """The view was made smaller."""
    before = draft.usage.context
    context = max(0, before - max(0, event.before - event.after))
    draft.usage = msgspec.structs.replace(draft.usage, context=context)
    draft.compacted = draft.seq
    draft.compactions += 1
    draft.squeezed += 1
    draft.formerly = {}
    limit = draft.pressed * draft.machine.context.compact_at // PPM
    gained = context < before and (context <= limit or not limit)
    draft.unsqueezed = 0 if gained else draft.unsqueezed + 1


def stuck(draft: Draft, event: ContextStuck, path: str) -> None:
    """The view could not be made smaller."""
    if event.effect:  # else it was not even tried
        draft.squeezed += 1
        draft.unsqueezed += 1
    draft.formerly = {}
    activation(draft, path, phase="ended")
    draft.push(name_of(event), event, path, ending=True)
