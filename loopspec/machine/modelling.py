"""Modelling: which model is asked, and what follows a failed attempt.

Rules of this file:
1. One effect is one attempt; whatever comes after it is chosen here, from facts in the journal.
2. Nothing is random: jitter is stamped on the fact.
3. A wait is never shorter than the server's Retry-After, and grows however short that always is.
4. What was received of a reply that broke off is kept until another text takes its place: continued by
   the same model, asked anew, or shown to the model as an unfinished reply; once.
5. A model that is left or left out is named in the record, with the reason.
"""

from typing import Final

from loopspec.effects import CallModel
from loopspec.events import (
    AttemptFailed,
    ErrorExecution,
    ModelFailed,
    ModelOverloaded,
    ModelRateLimited,
    name_of,
)
from loopspec.machine import breaking, ledger, tiering
from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.fitting import WINDOW, Fit, PromptFault, fit
from loopspec.machine.model import ModelDecl, State
from loopspec.machine.pressing import PPM, pressed, window_of
from loopspec.machine.spending import stopped_by_budget
from loopspec.record import AddPartial, Left
from loopspec.snapshot import Activation, Timer
from loopspec.tokens import estimate

RESTART: Final = "restart"
"""Why an attempt ended whose process was killed; it does not count against the retries."""
OURS: Final = "performer"
"""Why an attempt ended whose performer broke: the service has no part in it."""
REFUSED_PREFILL: Final = "bad_request"
"""What a service answers that does not take the beginning of its own reply."""
STALE: Final = 2
"""Attempts in a row that add nothing to a partial text; the next one asks anew."""


def call_model(draft: Draft, state: State) -> None:
    """Ask the model, unless a budget is spent or the view presses against the window."""
    path, machine = state.path, draft.machine
    if stopped_by_budget(draft, path, turns=True):
        return
    decl = machine.models[state.model]
    ledger.close(draft)
    fits = _fitting(draft, decl, state)
    if fits is None:
        return
    use, fitted = fits
    # Once a provider has counted a request, the count holds prompt and tools, too.
    unseen = 0 if draft.usage.input_tokens else fitted.tokens
    if pressed(draft, decl, path, unseen, use):
        return
    system = fitted.made.digest if fitted.made else ""
    if fitted.made:
        draft.blobs[system] = fitted.made.data
    act = draft.activations[path]
    names = rungs_of(draft, decl)
    draft.emit(
        CallModel(
            id=draft.next_id(),
            state=path,
            model=decl.name,
            use=use,
            system=system,
            attempt=act.attempt + 1,
            rung=names.index(use),
            after=act.after,
            continues=act.continues,
            profile=fitted.name,
            tier=tier.name if (tier := tiering.tier_of(decl, use)) else "",
        )
    )


def _fitting(draft: Draft, decl: ModelDecl, state: State) -> tuple[str, Fit] | None:
    """The model to ask now, with the profile that its window takes.

    None if a prompt could not be rendered, or if no model's window takes any: then that is said.
    """
    path, machine = state.path, draft.machine
    while True:
        if decl.tiers and not tiering.ready(draft, state, decl):
            return None
        use = _taken(draft, decl, path)
        try:
            found = fit(draft, state, use, window_of(draft, decl, use))
        except PromptFault as err:
            place = str(machine.prompt_places.get(err.name, state.place))
            activation(draft, path, phase="ended")
            fault = f"prompt `{err.name}` at {place}: {err}"
            raised = ErrorExecution(place=place, error=fault, event="")
            draft.push(name_of(raised), raised, path)
            return None
        if isinstance(found, Fit):
            return use, found
        draft.left.append(Left(use, WINDOW, WINDOW))
        act = draft.activations[path]
        gone = (*act.gone, use)
        if set(rungs_of(draft, decl)) - set(gone):
            activation(draft, path, attempt=0, use="", gone=gone)
            continue
        _keep_partial(draft, path, "")
        activation(draft, path, phase="ended")
        ended = ModelFailed(reason=WINDOW, detail=str(found), attempts=act.failures)
        draft.push(name_of(ended), ended, path, ending=True)
        return None


def rungs_of(draft: Draft, decl: ModelDecl) -> tuple[str, ...]:
    """The models behind a declared name: the one a person chose, else the declared one and its
    fallbacks. Who chooses a model wants that one and no other."""
    if decl.tiers:
        return tuple(tier.use for tier in tiering.tiers_of(draft, decl))
    chosen = draft.models.get(decl.name)
    return (chosen,) if chosen else tuple(dict.fromkeys((decl.use, *decl.fallbacks)))


def _remaining(draft: Draft, decl: ModelDecl, gone: tuple[str, ...]) -> tuple[str, ...]:
    """The models that still have attempts in this call; the last one, if a choice left none."""
    names = rungs_of(draft, decl)
    return tuple(name for name in names if name not in gone) or names[-1:]


def _taken(draft: Draft, decl: ModelDecl, path: str) -> str:
    """Choose the model of the next attempt and say which ones were left out for it."""
    act = draft.activations[path]
    names = tiering.fitting(draft, decl, path) if decl.tiers else _remaining(draft, decl, act.gone)
    use = breaking.choose(draft, decl, names, act.use)
    if use == act.use:
        return use
    for name in names:
        passed = names.index(name) < names.index(use) or name == act.use
        if passed and (until := breaking.open_until(draft, decl, name)):
            made = draft.breakers[name]
            draft.left.append(Left(name, "breaker", made.reason, made.failures, until=until))
    activation(
        draft,
        path,
        use=use,
        rung=rungs_of(draft, decl).index(use),
        attempt=0,
        continues=-1,
        stale=0,
        # One that is left with attempts to go has had its turn in this call.
        gone=(*act.gone, act.use) if act.use in names else act.gone,
    )
    return use


def retry_or_fail(draft: Draft, event: AttemptFailed, path: str) -> None:
    """Choose the next rung after a failed attempt: retry later, the next model, or `model.failed`."""
    act = draft.activations.get(path)
    if act is None:
        return
    decl = draft.machine.models[draft.machine.states[path].model]
    use = act.use or rungs_of(draft, decl)[0]
    _remember(draft, event, act, path)
    tiering.failed(draft, decl, event, path)
    if event.reason == RESTART:  # no fault of the model's: the same attempt once more
        activation(draft, path, phase="held")
        return
    breaking.failed(draft, decl, use, event.reason)
    tried, failures = act.attempt + 1, act.failures + 1
    backoff = min(decl.cap, decl.base << min(tried - 1, 40)) * event.jitter // PPM
    wait = event.retry_after + backoff
    left = _why_left(draft, event, act, decl, use, wait)
    _notice(draft, event, path, use, failures, 0 if left else wait)
    if left is None:
        activation(
            draft,
            path,
            phase="retrying",
            attempt=tried,
            failures=failures,
            use=use,
            waited=act.waited + wait,
        )
        timer = Timer(
            id=f"retry:{path}", state=path, clock="awake", due=draft.awake + wait, purpose="retry"
        )
        draft.arm(timer)
        return
    draft.left.append(left)
    gone = (*act.gone, use)
    if set(rungs_of(draft, decl)) - set(gone) and tiering.goes_on(decl, event.reason):
        activation(draft, path, phase="held", attempt=0, failures=failures, use="", gone=gone)
        return
    _keep_partial(draft, path, event.partial)
    activation(draft, path, phase="ended", failures=failures)
    ended = ModelFailed(reason=event.reason, detail=event.detail, attempts=failures)
    draft.push(name_of(ended), ended, path, ending=True)


def _why_left(
    draft: Draft, event: AttemptFailed, act: Activation, decl: ModelDecl, use: str, wait: int
) -> Left | None:
    """Why the model `use` is not asked again in this call, None if it is, after `wait`."""
    tried = act.attempt + 1
    anew = event.reason == REFUSED_PREFILL and act.continues >= 0  # it may take the request as it was
    why, until = "", 0
    if not event.retryable and not anew:
        why = "final"
    elif tried >= tiering.attempts_of(decl, last=not set(rungs_of(draft, decl)) - {*act.gone, use}):
        why = "attempts"
    elif event.retry_after > decl.longest:
        why = "wait"
    elif act.waited + wait > decl.budget:
        why = "waited"
    else:
        names = _remaining(draft, decl, act.gone)
        until = breaking.open_until(draft, decl, use)
        if until and breaking.choose(draft, decl, names, use) != use:
            why = "breaker"
    if not why:
        return None
    asked = event.retry_after if why == "wait" else 0
    count = draft.breakers[use].failures if why == "breaker" else tried
    return Left(use, why, event.reason, count, asked, until if why == "breaker" else 0)


def _remember(draft: Draft, event: AttemptFailed, act: Activation, path: str) -> None:
    """Keep what had come of the reply, and choose whether the next attempt goes on from it.

    An attempt that went on from a text, and brought none itself, leaves that text as it was.
    """
    continued = act.continues >= 0
    partial, seq = event.partial, draft.seq if event.resumable else -1
    if not partial.strip():
        partial, seq = act.partial, act.continues
    stale = act.stale + 1 if continued and len(partial) <= len(act.partial) else 0
    if stale >= STALE or event.reason == REFUSED_PREFILL:
        stale, seq = 0, -1
    activation(draft, path, after=event.effect, continues=seq, partial=partial, stale=stale)


def _keep_partial(draft: Draft, path: str, stored: str) -> None:
    """The call has failed for good: what had come stays visible to the model, as unfinished.

    `stored` is the text that this entry's own event holds.
    """
    text = draft.activations[path].partial
    if text.strip():
        own = "" if text == stored else text  # the entry's own text is stored once
        draft.show(AddPartial(text=own), estimate(text))
    activation(draft, path, partial="", continues=-1)


def _notice(draft: Draft, event: AttemptFailed, path: str, use: str, attempts: int, wait: int) -> None:
    """Tell the state of a service that limits us or cannot keep up; `wait` is until the next attempt."""
    made: ModelRateLimited | ModelOverloaded
    match event.reason:
        case "rate_limited":
            made = ModelRateLimited(use=use, detail=event.detail, attempts=attempts, wait=wait)
        case "overloaded":
            made = ModelOverloaded(use=use, detail=event.detail, attempts=attempts, wait=wait)
        case _:
            return
    draft.push(name_of(made), made, path)
