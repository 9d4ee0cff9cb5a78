"""Fitting: what is asked and reckoned before a session begins, so that nothing starts that cannot go on.

Rules of this file:
1. Keys, prices and windows are looked at before anything starts; each fault says what helps.
2. A server on this machine is asked for its real window. What it says caps what the spec declares; what
   nobody says is unknown (0), never guessed.
3. A request that cannot fit is refused with its arithmetic. The declared model has to fit, or one of its
   tiers: a fallback or another tier that does not is left out when its turn comes.
"""

from collections.abc import Iterator, Mapping

from loopspec.codec import digest
from loopspec.errors import BadSpec, NoKey
from loopspec.events import SessionStarted
from loopspec.machine.draft import Draft, begin
from loopspec.machine.fitting import Misfit, fit
from loopspec.machine.model import Machine, ModelDecl
from loopspec.machine.named import models_of
from loopspec.machine.pressing import window_of
from loopspec.machine.prompts import Prompt, prompt_of
from loopspec.machine.texts import TextError
from loopspec.machine.tiering import RULES
from loopspec.snapshot import Snapshot
from loopspec.tokens import estimate


def used_models(machine: Machine) -> list[ModelDecl]:
    """The declared models that some state uses, in its own key or in the configuration of its kind."""
    names = {name for path in machine.states for name in models_of(machine, path)}
    return [m for n, m in machine.models.items() if n in names]


def preflight(machine: Machine, inputs: str | None = None, workdir: str = "") -> dict[str, int]:
    """Check keys, prices and windows before anything starts; gives the windows in tokens.

    They are there by the declared name (0: unknown) and, for what a server said and for fallbacks, by the
    name that is asked. With `inputs` (JSON text) and `workdir` it is also reckoned whether each state's
    prompt, tools and reserve fit.

    Raises `NoKey` naming the variable, or `BadSpec` for a usd budget with a model of unknown price, and
    for a request that fits no window in any profile. May ask servers on this machine, for seconds.
    """
    windows: dict[str, int] = {}
    for decl in used_models(machine):
        _check(machine, decl)
        for use, window in _windows(decl):
            windows[use] = min(window, windows.get(use, window))
    if inputs is not None:
        _fits(machine, inputs, workdir, windows)
    return windows


def _check(machine: Machine, decl: ModelDecl) -> None:
    """Parameters, key and price of a declared model. Of tiers one must have its key, all a price."""
    from loopspec.performers.model import check_params, missing_key, priced
    from loopspec.performers.model_request import params_of

    uses = uses_of(decl)
    missing = []
    for use in uses:
        params = params_of(decl, use)
        check_params(params, f"{machine.file}:{decl.place}")
        missing.append((use, missing_key(use, params)))
    if missing and all(variable for _, variable in missing):
        use, variable = missing[0]
        raise NoKey(
            f"model `{decl.name}` ({use}) needs a key: {variable} is not set",
            remedy=f"set it, or run offline with --model {decl.name}=scripted/FILE",
        )
    limited = machine.budgets.usd is not None and decl.unpriced != "allow"
    unknown = next((use for use in uses if not priced(use)), "") if limited else ""
    if unknown:
        raise BadSpec(
            f"the price of {unknown} is unknown, so the usd budget could not be kept",
            remedy=f"check the name, write `unpriced: allow` on model `{decl.name}`, or drop the "
            "usd budget",
        )


def uses_of(decl: ModelDecl) -> tuple[str, ...]:
    """What a declaration may ask first: the model it uses, or its tiers without those that are rules."""
    if not decl.tiers:
        return (decl.use,)
    return tuple(tier.use for tier in decl.tiers if not tier.use.startswith(RULES))


def _windows(decl: ModelDecl) -> Iterator[tuple[str, int]]:
    """The windows of a declared model: by its own name, and by what it asks."""
    from loopspec.performers.model import window_of as known
    from loopspec.performers.model_request import params_of
    from loopspec.performers.windows import asks, window_asked, window_listed

    others = (*uses_of(decl), *decl.fallbacks) if decl.tiers else decl.fallbacks
    for use in others:
        params = params_of(decl, use)
        if found := window_asked(use, params) if asks(use) else window_listed(use):
            yield use, found
    if decl.tiers:
        yield decl.name, decl.window
        return
    told = window_asked(decl.use, params_of(decl, decl.use)) if asks(decl.use) else 0
    if told:
        yield decl.use, told
        yield decl.name, min(told, decl.window or told)
    else:
        yield decl.name, decl.window or (0 if asks(decl.use) else known(decl.use))


def _fits(machine: Machine, inputs: str, workdir: str, windows: Mapping[str, int]) -> None:
    """Refuse a state whose model (or none of its tiers) takes any of its profiles; raises `BadSpec`."""
    started = SessionStarted(machine="", inputs=inputs, workdir=workdir, windows=dict(windows))
    draft = Draft(machine, Snapshot(session="", machine=""), 0, 0, started)
    begin(draft, started)
    for state in machine.states.values():
        decl = machine.models.get(state.model)
        if decl is None or not state.kind or machine.kinds[state.kind].effect != "call_model":
            continue
        found = [fit(draft, state, use, window_of(draft, decl, use), _made) for use in uses_of(decl)]
        misfits = [one for one in found if isinstance(one, Misfit)]
        if misfits and len(misfits) == len(found):
            told = "; ".join(str(one) for one in misfits)
            raise BadSpec(
                f"state `{state.path}` cannot ask its model: {told}",
                place=f"{machine.file}:{state.place}",
                remedy="load the model with a larger window, or give the state a smaller profile "
                "(`smaller: {prompt: …, tools: […]}`)",
            )


def _made(source: str, draft: Draft) -> Prompt:
    """A prompt as it will be at the start; one that cannot be rendered yet counts as it is written."""
    try:
        return prompt_of(source, draft)
    except TextError:
        data = source.encode()
        return Prompt(data, digest(data), estimate(source))
