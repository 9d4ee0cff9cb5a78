"""Modelling: which model is asked, and what follows a failed attempt.

Rules of this file:
1. One effect is one attempt; whatever comes after it is chosen here, from facts in the journal.
2. Nothing is random: jitter is stamped on the fact.
"""

from typing import Final

from loopspec.effects import CallModel
from loopspec.events import AttemptFailed, ErrorExecution, ModelFailed, name_of
from loopspec.machine import ledger
from loopspec.machine.doing import activation
from loopspec.machine.draft import Draft
from loopspec.machine.model import ModelDecl, State
from loopspec.machine.pressing import PPM, pressed
from loopspec.machine.prompts import prompt_of
from loopspec.machine.spending import stopped_by_budget
from loopspec.machine.texts import TextError
from loopspec.snapshot import Timer

RESTART: Final = "restart"
"""Why an attempt ended whose process was killed; it does not count against the retries."""


def call_model(draft: Draft, state: State) -> None:
    """Ask the model, unless a budget is spent or the view presses against the window."""
    path, machine = state.path, draft.machine
    if stopped_by_budget(draft, path, turns=True):
        return
    decl = machine.models[state.model]
    ledger.close(draft)
    system, unseen = "", 0
    if state.prompt:
        try:
            made = prompt_of(machine.prompts[state.prompt], draft)
        except TextError as err:
            place = str(machine.prompt_places.get(state.prompt, state.place))
            fault = f"prompt `{state.prompt}` at {place}: {err}"
            activation(draft, path, phase="ended")
            raised = ErrorExecution(place=place, error=fault, event="")
            draft.push(name_of(raised), raised, path)
            return
        system = made.digest
        draft.blobs[system] = made.data
        # Once a provider has counted a request, the count holds the prompt too.
        unseen = 0 if draft.usage.input_tokens else made.tokens
    if pressed(draft, decl, path, unseen):
        return
    act = draft.activations[path]
    names = rungs_of(draft, decl)
    draft.emit(
        CallModel(
            id=draft.next_id(),
            state=path,
            model=decl.name,
            use=names[min(act.rung, len(names) - 1)],
            system=system,
            attempt=act.attempt + 1,
            rung=act.rung,
        )
    )


def rungs_of(draft: Draft, decl: ModelDecl) -> tuple[str, ...]:
    """The models behind a declared name: the one a person chose, else the declared one and its
    fallbacks. Who chooses a model wants that one and no other."""
    chosen = draft.models.get(decl.name)
    return (chosen,) if chosen else (decl.use, *decl.fallbacks)


def retry_or_fail(draft: Draft, event: AttemptFailed, path: str) -> None:
    """Choose the next rung after a failed attempt: retry later, the next model, or `model.failed`."""
    act = draft.activations.get(path)
    if act is None:
        return
    if event.reason == RESTART:  # no fault of the model's: the same attempt once more
        activation(draft, path, phase="held")
        return
    decl = draft.machine.models[draft.machine.states[path].model]
    tried, failures = act.attempt + 1, act.failures + 1
    if event.retryable and tried < decl.attempts:
        backoff = min(decl.cap, decl.base << min(tried - 1, 40)) * event.jitter // PPM
        delay = max(event.retry_after, backoff)
        activation(draft, path, phase="retrying", attempt=tried, failures=failures)
        timer = Timer(
            id=f"retry:{path}",
            state=path,
            clock="awake",
            due=draft.awake + delay,
            purpose="retry",
        )
        draft.arm(timer)
    elif act.rung < len(rungs_of(draft, decl)) - 1:
        activation(
            draft, path, phase="held", attempt=0, rung=act.rung + 1, failures=failures
        )
    else:
        activation(draft, path, phase="ended", failures=failures)
        ended = ModelFailed(reason=event.reason, detail=event.detail, attempts=failures)
        draft.push(name_of(ended), ended, path, ending=True)
