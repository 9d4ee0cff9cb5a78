"""Tiering: which tier of a model is asked, and when the next one is asked instead.

Rules of this file:
1. Hard filters come first, and what is not known does not pass one: class of privacy, network, memory,
   what is left of the time, tools, window. Of the tiers that pass them the first is asked: they are
   declared from the cheapest to the dearest, which no table of prices knows better.
2. The class of a call is the highest of everything that may be in the conversation: the session's inputs,
   every state entered so far, the model's own floor. It never falls.
3. What the host is like is a fact with an effect of its own (`host.surveyed`); the choice is made here,
   and each tier that was passed over stands in the record with the reason.
4. A reply that does not hold goes no further than the journal: the next tier is asked, if one passes.
5. Work that only lacks the network waits for it durably (see `outbox`), if the declaration says so.
"""

from typing import Final, NamedTuple

from loopspec.effects import CallModel, SurveyHost
from loopspec.events import AttemptFailed, HostSurveyed, ModelFailed, ModelReplied, name_of
from loopspec.machine import outbox
from loopspec.machine.doing import activation
from loopspec.machine.draft import ELAPSED, Draft
from loopspec.machine.fitting import profiles_of
from loopspec.machine.model import ModelDecl, State, Tier
from loopspec.record import Left
from loopspec.snapshot import Activation

PPM: Final = 1_000_000
CLASSES: Final = ("public", "internal", "secret")
"""Classes of privacy, the lowest first."""
REASONS: Final = ("schema", "refusal", "low_confidence", "tool_need")
"""Faults of a reply that may lead to the next tier; their order is that of the answers to it."""
RULES: Final = "rules/"
"""How the name begins of a model that is rules in the spec."""
OURS: Final = (RULES, "scripted/")
"""How the names of models begin that never leave this process: they may see everything."""
NEAR: Final = (*OURS, "local/")
"""How the names of models begin that need no network, unless they say else. Where a local server stands
is not known here, so it sees public things only, unless it says else."""
NO_MATCH: Final = "no_match"
"""Why an attempt fails whose rules do not match: the next tier is always asked."""
NO_TIER: Final = "no_tier"
"""Why a call fails for which no tier is left."""
OFFLINE: Final = frozenset({"connection", "timeout"})
"""Reasons of failed attempts after which the network is looked at again."""
_PRIVACY: Final = "privacy"
_NETWORK: Final = "network"
_WINDOW: Final = "window"


class Facts(NamedTuple):
    """What the filters ask. `left` are the µs left of the elapsed budget and `memory` the free bytes,
    -1 each for unknown or none; `size` are the tokens of the view, `share` how full a window may be."""

    privacy: str
    network: bool
    memory: int
    left: int
    tools: bool
    size: int
    share: int = PPM


class Why(NamedTuple):
    """Why a tier does not pass: the filter, and the words."""

    filter: str
    words: str


def class_of(*classes: str) -> str:
    """The highest of some classes; none, or an empty one, is public. Unknown ones are secret."""
    ranks = [CLASSES.index(c) if c in CLASSES else len(CLASSES) - 1 for c in classes if c]
    return CLASSES[max(ranks, default=0)]


def failing(tier: Tier, facts: Facts, window: int) -> tuple[Why, ...]:
    """Every filter that `tier`, of this window in tokens (0: unknown), does not pass, the first first."""
    rules = tier.use.startswith(RULES)
    out: list[Why] = []
    if CLASSES.index(class_of(facts.privacy)) > CLASSES.index(tier.privacy):
        out.append(Why(_PRIVACY, f"the conversation is {facts.privacy}, it may see {tier.privacy}"))
    if tier.network and not facts.network:
        out.append(Why(_NETWORK, "there is no network"))
    if tier.memory and facts.memory < tier.memory:
        free = f"{facts.memory:,} bytes are free" if facts.memory >= 0 else "nobody knows what is free"
        out.append(Why("memory", f"it needs {tier.memory:,} bytes, {free}"))
    if tier.latency and 0 <= facts.left < tier.latency:
        out.append(Why("deadline", "it takes longer than is left of the time budget"))
    if facts.tools and not tier.tools and not rules:
        out.append(Why("tools", "the state offers tools, it knows none"))
    if window and facts.size > window * facts.share // PPM:
        out.append(Why(_WINDOW, f"the view has {facts.size:,} tokens, its window {window:,}"))
    return tuple(out)


def tiers_of(draft: Draft, decl: ModelDecl) -> tuple[Tier, ...]:
    """The tiers behind a declaration: all, or the one model a person chose instead.

    What a person chooses that is no declared tier gets the limits of one that says nothing.
    """
    chosen = draft.models.get(decl.name)
    if not chosen or not decl.tiers:
        return decl.tiers
    found = tuple(tier for tier in decl.tiers if tier.use == chosen)
    return found or (undeclared(chosen),)


def undeclared(use: str) -> Tier:
    """A tier that says nothing of itself: one whose place is not known sees public things only."""
    sees = CLASSES[-1] if use.startswith(OURS) else CLASSES[0]
    return Tier("chosen", use, privacy=sees, network=not use.startswith(NEAR))


def tier_of(decl: ModelDecl, use: str) -> Tier | None:
    """The declared tier of a model's name."""
    return next((tier for tier in decl.tiers if tier.use == use), None)


def attempts_of(decl: ModelDecl, *, last: bool) -> int:
    """How many attempts a model has; after the `last` one there is nothing to escalate to."""
    cut = bool(decl.tiers and decl.failures) and not last
    return min(decl.attempts, decl.failures) if cut else decl.attempts


def entered(draft: Draft, state: State) -> None:
    """A state brings its class into the conversation, for good."""
    if state.privacy and (made := class_of(draft.privacy, state.privacy)) != draft.privacy:
        draft.privacy = made


def facts_of(draft: Draft, state: State, decl: ModelDecl) -> Facts:
    """What the filters ask about a call of `state`, by the last look at the host."""
    machine, act = draft.machine, draft.activations[state.path]
    timer = draft.timers.get(ELAPSED)
    inputs = (field.privacy for field in machine.inputs.values())
    offered = profiles_of(state)[0].tools
    return Facts(
        privacy=class_of(draft.privacy, decl.privacy, *inputs),
        network=act.network == 1,
        memory=act.memory,
        left=max(0, timer.due - draft.awake) if timer is not None else -1,
        tools=bool(machine.tools) if offered is None else bool(offered),
        size=draft.usage.context,
        share=machine.context.compact_at,
    )


def ready(draft: Draft, state: State, decl: ModelDecl) -> bool:
    """Whether a tier of `decl` can be asked now; else what comes first is under way, or it has failed."""
    path = state.path
    act = draft.activations[path]
    if act.network < 0:
        draft.emit(SurveyHost(id=draft.next_id(), state=path, model=decl.name))
        return False
    tiers = [tier for tier in tiers_of(draft, decl) if tier.use not in act.gone]
    facts = facts_of(draft, state, decl)
    why = {tier.use: failing(tier, facts, window(draft, tier)) for tier in tiers}
    if found := _passing(why):
        if act.use not in found:
            _passed_over(draft, tiers, why, found[0])
        outbox.leave(draft, path)
        return True
    if not act.queued:  # a further look says nothing new
        _passed_over(draft, tiers, why, "")
    waiting = [tier for tier in tiers if [w.filter for w in why[tier.use]] == [_NETWORK]]
    if waiting and outbox.wait(draft, decl, path):
        return False
    outbox.leave(draft, path)
    late = bool(waiting and decl.expires)
    _none_left(draft, path, outbox.EXPIRED if late else NO_TIER, tiers, why)
    return False


def fitting(draft: Draft, decl: ModelDecl, path: str) -> tuple[str, ...]:
    """The tiers that may be asked now, in order."""
    state, act = draft.machine.states[path], draft.activations[path]
    facts = facts_of(draft, state, decl)
    left = [tier for tier in tiers_of(draft, decl) if tier.use not in act.gone]
    return _passing({tier.use: failing(tier, facts, window(draft, tier)) for tier in left})


def _passing(why: dict[str, tuple[Why, ...]]) -> tuple[str, ...]:
    """The tiers that pass; if none does, those for which the view only has to be made smaller."""
    found = tuple(use for use, faults in why.items() if not faults)
    small = (use for use, faults in why.items() if [w.filter for w in faults] == [_WINDOW])
    return found or tuple(small)


def window(draft: Draft, tier: Tier) -> int:
    """The window of a tier in tokens, 0 if nobody knows."""
    windows = draft.fixed.get("windows", draft.old.windows)
    told = int(windows.get(tier.use, 0))
    known = min(tier.window, told) if tier.window and told else tier.window or told
    limit = draft.machine.context.window
    return min(known, limit) if known and limit else known or limit


def _passed_over(
    draft: Draft, tiers: list[Tier], why: dict[str, tuple[Why, ...]], chosen: str
) -> None:
    """Say why the tiers before the chosen one are not asked (all, if none is)."""
    for tier in tiers:
        if tier.use == chosen:
            return
        if why[tier.use]:
            left = Left(tier.use, "tier", "; ".join(w.words for w in why[tier.use]))
            if left not in draft.left:
                draft.left.append(left)


def _none_left(
    draft: Draft, path: str, reason: str, tiers: list[Tier], why: dict[str, tuple[Why, ...]]
) -> None:
    """No tier is left: the call has failed, and says why not one of them was asked."""
    told = [f"{t.name}: {'; '.join(w.words for w in why[t.use])}" for t in tiers if why[t.use]]
    act = draft.activations[path]
    activation(draft, path, phase="ended")
    ended = ModelFailed(
        reason=reason, detail=" | ".join(told) or "every tier was asked", attempts=act.failures
    )
    draft.push(name_of(ended), ended, path, ending=True)


def surveyed(draft: Draft, event: HostSurveyed, path: str) -> None:
    """The host was looked at: the choice can be made."""
    activation(draft, path, phase="held", network=int(event.network), memory=event.memory)


def unsurveyed(draft: Draft, path: str) -> None:
    """The host could not be looked at: then there is no network, and no memory is known to be free."""
    activation(draft, path, phase="held", network=0, memory=-1)


def failed(draft: Draft, decl: ModelDecl, event: AttemptFailed, path: str) -> None:
    """An attempt of a tier failed: where the network may be the reason, it is looked at again."""
    if decl.tiers and event.reason in OFFLINE:
        activation(draft, path, network=-1)


def goes_on(decl: ModelDecl, reason: str) -> bool:
    """Whether a call goes on to the next model after this one has failed for good, for `reason`."""
    if not decl.tiers or reason in (NO_MATCH, _WINDOW):
        return True
    return "refusal" in decl.escalate if reason == "refused" else decl.failures > 0


def escalates(draft: Draft, event: ModelReplied, effect: CallModel) -> str:
    """Why a reply is left for the next tier, empty if it stands: the first declared fault of it.

    It stands with its faults, too, when no tier that passes the filters is left.
    """
    path, decl = effect.state, draft.machine.models[effect.model]
    act = draft.activations.get(path)
    faults = [fault for fault in REASONS if fault in event.faults and fault in decl.escalate]
    if not effect.tier or not faults or act is None or not _another(draft, decl, act, effect):
        return ""
    draft.left.append(Left(effect.use, "escalated", faults[0]))
    gone = (*act.gone, effect.use)
    activation(
        draft, path, phase="held", use="", attempt=0, gone=gone, after=effect.id, continues=-1, partial=""
    )
    return faults[0]


def _another(draft: Draft, decl: ModelDecl, act: Activation, effect: CallModel) -> bool:
    """Whether another tier passes the filters now."""
    facts = facts_of(draft, draft.machine.states[effect.state], decl)
    left = [t for t in tiers_of(draft, decl) if t.use not in (*act.gone, effect.use)]
    return any(not failing(tier, facts, window(draft, tier)) for tier in left)

