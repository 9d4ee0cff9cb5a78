"""Choosing: another model behind a declared name, for a session that has begun."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loopspec.drivers import fitting, launch
from loopspec.drivers.session import Session
from loopspec.errors import UsageError
from loopspec.events import ModelChosen
from loopspec.machine.model import ModelDecl
from loopspec.machine.step import refusal

DECLARED: Final = "declared"
"""What is written to have the declared model again."""


class NotChosen(UsageError):
    """The loop cannot take this model here."""


def chosen(session: Session, decl: ModelDecl, use: str, folder: Path) -> ModelChosen:
    """The command that puts `use` behind `decl`; a script's relative path is looked for in `folder`.

    Raises `LoopspecError` when the model could not be used: no key, no known price where one is needed,
    no state that calls it.
    """
    from loopspec.performers.model import priced

    again = use == DECLARED
    other = msgspec.structs.replace(decl, use=use, fallbacks=(), tiers=(), window=0)
    wanted = decl if again else other
    only = msgspec.structs.replace(session.machine, models={decl.name: wanted})
    if not again:
        only = launch.anchored(only, folder)
        wanted = only.models[decl.name]
    if "/" not in wanted.use and not again:
        raise NotChosen(f"`{use}` names no provider", remedy="Write it as PROVIDER/MODEL")
    windows = launch.preflight(only, session.snapshot.inputs, session.snapshot.workdir)
    if decl.name not in windows:
        raise NotChosen(f"no state of the loop uses `{decl.name}`, so nothing would change")
    event = ModelChosen(
        model=decl.name,
        use="" if again else wanted.use,
        window=windows[decl.name],
        priced=all(priced(name) for name in fitting.uses_of(wanted)),
    )
    if why := refusal(session.machine, session.snapshot, event):
        raise NotChosen(f"the model was not chosen: {why}")
    return event


def choices(session: Session, given: Sequence[str], folder: Path) -> list[ModelChosen]:
    """The commands for `NAME=PROVIDER/MODEL` texts; raises `LoopspecError`."""
    out: list[ModelChosen] = []
    for text in given:
        name, sep, use = text.partition("=")
        if not sep or not use:
            raise UsageError(f"`--model {text}` is not of the form NAME=PROVIDER/MODEL")
        decl = session.machine.models.get(name)
        if decl is None:
            known = ", ".join(session.machine.models) or "none"
            raise UsageError(f"the spec declares no model `{name}`", remedy=f"declared: {known}")
        out.append(chosen(session, decl, use, folder))
    return out
