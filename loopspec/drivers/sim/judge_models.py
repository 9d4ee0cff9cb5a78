"""Judge of models: what the attempts of a simulated session must never do.

Rules of this file:
1. It reads entries only, and what the world holds for whole; never what the core keeps for itself.
2. A *call* is the chain of attempts that `after` ties together: it ends with a reply, or for good.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loopspec.context.transcript import Item
from loopspec.effects import CallModel
from loopspec.events import (
    AttemptFailed,
    EffectCancelled,
    EffectFailed,
    EffectLost,
    ModelOverflowed,
    ModelReplied,
)
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine, ModelDecl
from loopspec.machine.modelling import OURS, RESTART
from loopspec.record import AddPartial, AddReply
from loopspec.snapshot import Snapshot


@dataclass(frozen=True)
class Failure:
    """A failed attempt: in which entry, when on the awake clock, and what it said."""

    seq: int
    awake: int
    event: AttemptFailed


@dataclass
class ModelJudge:
    """Follows the entries of one session; `follow` says what is wrong with each."""

    machine: Machine
    whole: Mapping[str, set[str]]
    _asked: dict[str, CallModel] = field(default_factory=dict)
    _failed: dict[str, Failure] = field(default_factory=dict)
    _tried: dict[str, dict[str, int]] = field(default_factory=dict)  # by effect, how often by model
    _came: dict[str, str] = field(default_factory=dict)  # by state, a text nobody has been shown

    def follow(self, entry: Entry, before: Snapshot, after: Snapshot, items: list[Item]) -> Iterator[str]:
        """What is wrong with an entry. `before` and `after` are where it led from and to; `items` is the
        view after it."""
        event = entry.event
        effect = self._asked.get(getattr(event, "effect", ""))
        if effect is not None and effect.id in before.pending:
            if isinstance(event, AttemptFailed):
                self._failed[effect.id] = Failure(entry.seq, entry.awake, event)
            elif isinstance(event, EffectFailed | EffectCancelled | ModelOverflowed):
                broke = AttemptFailed(effect.id, OURS)
                self._failed[effect.id] = Failure(entry.seq, entry.awake, broke)
            if isinstance(event, AttemptFailed | EffectCancelled | EffectLost) and event.partial.strip():
                self._came[effect.state] = event.partial
            if isinstance(event, ModelReplied):
                self._came.pop(effect.state, None)
        yield from self._shown(entry, items)
        for made in entry.effects:
            if isinstance(made, CallModel):
                yield from self._begins(made, entry, after)

    def _shown(self, entry: Entry, items: list[Item]) -> Iterator[str]:
        """What enters the view: whole replies as such, unfinished ones once and marked."""
        event = entry.event
        for n, op in enumerate(entry.record.view):
            key = f"{entry.seq}.{n}"
            item = next((i for i in items if i.id == key), None)
            if isinstance(op, AddReply):
                known = self.whole.get(event.effect, set()) if isinstance(event, ModelReplied) else set()
                if item is not None and item.text not in known:
                    yield f"item {key} is shown as a reply, and no model said it: {item.text!r}"
            if isinstance(op, AddPartial):
                found = [state for state, text in self._came.items() if item and text == item.text]
                if item is None or not item.partial or not found:
                    yield f"item {key} is shown as unfinished, and nothing such had come"
                for state in found[:1]:
                    del self._came[state]

    def _begins(self, effect: CallModel, entry: Entry, after: Snapshot) -> Iterator[str]:
        """A model is asked: whether it may be, and whether nothing was forgotten before."""
        self._asked[effect.id] = effect
        decl, name = self.machine.models[effect.model], f"{effect.id} ({effect.use})"
        last = self._failed.get(effect.after)
        tried = dict(self._tried.get(effect.after, {}))
        if last is None:
            if effect.after or effect.continues >= 0:
                yield f"{name} follows {effect.after}, which has not failed"
            if text := self._came.get(effect.state, ""):
                yield f"what had come of a reply was forgotten: {text!r}"
        else:
            yield from self._follows(effect, self._asked[effect.after], last, entry)
            if last.event.reason == RESTART:
                tried[effect.use] = tried.get(effect.use, 1) - 1
        yield from self._left_out(effect, decl, tried, after)
        tried[effect.use] = tried.get(effect.use, 0) + 1
        self._tried[effect.id] = tried
        if tried[effect.use] > decl.attempts:
            yield f"{name} is attempt {tried[effect.use]} of {decl.attempts}"

    def _follows(
        self, effect: CallModel, failed: CallModel, last: Failure, entry: Entry
    ) -> Iterator[str]:
        """An attempt after a failed one: not before Retry-After, and from what text it goes on."""
        same = effect.use == failed.use
        if same and entry.awake < last.awake + last.event.retry_after:
            early = last.awake + last.event.retry_after - entry.awake
            yield f"{effect.id} asks {early} µs before the server's Retry-After"
        if effect.continues < 0:
            return
        source = next((f for f in self._failed.values() if f.seq == effect.continues), None)
        if source is None or not source.event.resumable or not same:
            yield f"{effect.id} goes on from entry {effect.continues}, which cannot be continued"
        elif source.event.partial != self._came.get(effect.state):
            yield f"{effect.id} goes on from a text that is not the one that came last"

    def _left_out(
        self, effect: CallModel, decl: ModelDecl, tried: Mapping[str, int], after: Snapshot
    ) -> Iterator[str]:
        """Whether a model whose breaker is open is asked although another one could be."""
        if effect.model in after.models:
            return
        shut = {
            use
            for use, made in after.breakers.items()
            if 0 < made.until - after.at <= decl.cooldown and decl.breaker
        }
        free = [use for use in (decl.use, *decl.fallbacks) if use not in shut and not tried.get(use)]
        if effect.use in shut and free:
            yield f"{effect.id} asks {effect.use}, whose breaker is open, and not {free[0]}"
