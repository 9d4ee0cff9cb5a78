"""Context: what the model sees now, unit by unit, and why each stays, is shorter, or went.

Rules of this file:
1. Pure: machine, snapshot and entries go in, plain data comes out.
2. What went and why is the newest compaction's plan made again from its effect and the view it met. Where
   that gives another plan than the journal holds (another version wrote it, a model's text changed the
   sizes), the journal is right, and it is said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from loopspec.context.compaction import Plan, UnitView, size_of, standing
from loopspec.context.planning import limits, planned
from loopspec.context.transcript import Item, apply
from loopspec.effects import CompactContext
from loopspec.events import ContextCompacted
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.machine.named import asides
from loopspec.machine.pressing import PPM, window_known
from loopspec.snapshot import Snapshot
from loopspec.tokens import scaled

TEXT: Final = 200


class SeenUnit(msgspec.Struct, frozen=True):
    """Items that stay or leave together. `state` is `whole`, `masked`, `summary` or `went`.

    `handles` are the ids of its items, by which `context.recall` has them back. `tokens` are as the
    provider is likely to count them, `was` before a mask. `score` is parts per million, -1 for what is
    pinned; `why` says in words what gave it.
    """

    handles: tuple[str, ...]
    what: str
    tokens: int
    score: int
    state: str
    why: tuple[str, ...]
    text: str
    was: int = 0


class NewestCompaction(msgspec.Struct, frozen=True):
    """The newest compaction: its entry, how far it went, and what it did. Sizes are tokens."""

    entry: int
    rung: str
    before: int
    after: int
    left: int
    masked: int
    written_by: str
    same_plan: bool


class ContextNow(msgspec.Struct, frozen=True):
    """What fills the window after entry `seq`. Sizes are tokens as the provider is likely to count them.

    `tokens` is the next request as far as it is known, `view` what of it the items take, `beside` the
    rest: system prompt, tools, and what the estimate misses. `scale` is what an estimated token is worth
    in reported ones, in parts per million (0: nothing was reported yet).
    """

    session: str
    seq: int
    model: str
    use: str
    window: int
    compact_at: int
    target: int
    tokens: int
    view: int
    beside: int
    scale: int
    pins: tuple[str, ...]
    units: tuple[SeenUnit, ...]
    went: tuple[SeenUnit, ...] = ()
    newest: NewestCompaction | None = None


@dataclass(frozen=True)
class Compaction:
    """A compaction as the journal tells it: its entry, what asked for it, and the view it met."""

    entry: Entry
    effect: CompactContext | None
    before: tuple[Item, ...]


def gathered(entries: Iterable[Entry]) -> tuple[tuple[Item, ...], Compaction | None]:
    """The view after all of `entries` (from 0 on), and the newest compaction among them."""
    items: list[Item] = []
    asked: dict[str, CompactContext] = {}
    newest: Compaction | None = None
    for entry in entries:
        asked.update({e.id: e for e in entry.effects if isinstance(e, CompactContext)})
        event = entry.event
        if isinstance(event, ContextCompacted) and entry.record.view:
            newest = Compaction(entry, asked.pop(event.effect, None), tuple(items))
        apply(items, entry)
    return tuple(items), newest


def context_now(
    machine: Machine, snapshot: Snapshot, items: tuple[Item, ...], newest: Compaction | None
) -> ContextNow:
    """What fills the window now."""
    scale = snapshot.usage.scale
    by_id = {item.id: item for item in items}
    sizes = {item.id: scaled(size_of(item), scale) for item in items}
    view = sum(sizes.values())
    model, window = _window(machine, snapshot)
    rules = machine.context
    before = {i.id: scaled(size_of(i), scale) for i in newest.before} if newest is not None else {}
    views = standing(items, limits(rules))
    went, told = _went(newest, machine, scale) if newest is not None else ((), None)
    return ContextNow(
        session=snapshot.session,
        seq=snapshot.seq,
        model=model,
        use=(snapshot.models.get(model) or machine.models[model].shown) if model else "",
        window=window,
        compact_at=window * rules.compact_at // PPM,
        target=window * rules.target // PPM,
        tokens=snapshot.usage.context,
        view=view,
        beside=max(0, snapshot.usage.context - view),
        scale=scale,
        pins=rules.pin,
        units=tuple(_seen(unit, by_id, sizes, before) for unit in views),
        went=went,
        newest=told,
    )


def _window(machine: Machine, snapshot: Snapshot) -> tuple[str, int]:
    """The model whose window counts now, and that window: the active state's, else the smallest."""
    others = asides(machine)
    known = {n: window_known(machine, snapshot, d) for n, d in machine.models.items() if n not in others}
    active = [m for path in snapshot.configuration if (m := machine.states[path].model)]
    names = active or [name for name, size in known.items() if size] or list(known)
    model = min(names, key=lambda name: known.get(name, 0), default="")
    return model, known.get(model, 0)


def _seen(
    unit: UnitView, items: Mapping[str, Item], sizes: Mapping[str, int], before: Mapping[str, int]
) -> SeenUnit:
    """A unit that is in view."""
    own = [items[handle] for handle in unit.handles]
    masked = any(item.masked for item in own)
    summary = all(item.role == "summary" for item in own)
    return SeenUnit(
        handles=unit.handles,
        what=_what(own),
        tokens=sum(sizes[i.id] for i in own),
        score=-1 if unit.pinned else unit.score,
        state="masked" if masked else "summary" if summary else "whole",
        why=unit.reasons,
        text=_text(own),
        was=sum(before.get(i.id, sizes[i.id]) for i in own) if masked else 0,
    )


def _went(
    newest: Compaction, machine: Machine, scale: int
) -> tuple[tuple[SeenUnit, ...], NewestCompaction]:
    """What the newest compaction took out of the view, and how it stands."""
    event = newest.entry.event
    assert isinstance(event, ContextCompacted)
    gone = event.gone
    plan = planned(newest.effect, newest.before, machine.context) if newest.effect else None
    same = isinstance(plan, Plan) and frozenset(plan.replaces) == gone
    views = plan.why if isinstance(plan, Plan) else standing(newest.before, limits(machine.context))
    sizes = {i.id: scaled(size_of(i), scale) for i in newest.before}
    by_id = {item.id: item for item in newest.before}
    made = []
    for unit in views:
        own = [by_id[handle] for handle in unit.handles]
        if not any(i.id in gone for i in own):
            continue
        made.append(
            SeenUnit(
                handles=unit.handles,
                what=_what(own),
                tokens=sum(sizes[i.id] for i in own),
                score=unit.score,
                state="went",
                why=unit.reasons,
                text=_text(own),
            )
        )
    told = NewestCompaction(
        entry=newest.entry.seq,
        rung=event.rung,
        before=event.before,
        after=event.after,
        left=len(made),
        masked=len(event.masks),
        written_by=event.written_by,
        same_plan=same,
    )
    return tuple(made), told


def _what(own: list[Item]) -> str:
    """What sort of unit it is, in a word or two."""
    first = own[0]
    if first.calls:
        return "calls " + ", ".join(dict.fromkeys(call.tool for call in first.calls))
    if first.role == "result":
        return f"result of {first.tool}"
    return first.role


def _text(own: list[Item]) -> str:
    """The beginning of its text on a line."""
    text = next((i.text for i in own if i.text.strip()), "")
    text = text or next((call.args for i in own for call in i.calls), "")
    return " ".join(text[: TEXT * 4].split())[:TEXT]
