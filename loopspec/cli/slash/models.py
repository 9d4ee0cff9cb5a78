"""`/model` and `/compact`: another model behind a declared name, and a smaller view."""

import difflib
import json

from loopspec.cli.slash.desk import Choice, Desk, Reply, joined, refused, told
from loopspec.drivers.choosing import DECLARED
from loopspec.events import CompactionRequested
from loopspec.machine.model import ModelDecl
from loopspec.machine.step import refusal
from loopspec.views.words import printable


def model(desk: Desk, given: str) -> Reply:
    """The declared models; with a name and a model, that model behind the name."""
    models = desk.session.machine.models
    if not models:
        return refused(desk, "The loop declares no model")
    words = given.replace("=", " ", 1).split()
    if not words:
        return _list(desk)
    if len(words) == 1 and words[0] in models:
        return Reply(
            lines=tuple(desk.wrapped(_about(desk, models[words[0]]))), fill=f"/model {words[0]} "
        )
    if len(words) == 1 and len(models) == 1:
        words = [*models, *words]
    if len(words) != 2 or words[0] not in models:
        near = difflib.get_close_matches(words[0], list(models), n=1)
        hint = f"Did you mean `{near[0]}`? " if near else ""
        known = f"{hint}Declared: {', '.join(models)}. Write: /model NAME PROVIDER/MODEL"
        what = "That is not a name and a model" if words[0] in models else f"No model `{words[0]}`"
        return refused(desk, what, known)
    return _choose(desk, models[words[0]], words[1])


def _choose(desk: Desk, decl: ModelDecl, use: str) -> Reply:
    """Look whether a model could be used, then ask for it; raises `LoopspecError` when it cannot."""
    from loopspec.drivers.choosing import NotChosen, chosen

    session = desk.session
    try:
        event = chosen(session, decl, use, desk.workdir)
    except NotChosen as err:
        return refused(desk, err.fault[:1].upper() + err.fault[1:], err.remedy)
    tokens = f"{event.window:,} tokens" if event.window else "of unknown size"
    known = "its price is known" if event.priced else "its price is unknown"
    text = f"{decl.name} is {event.use or decl.shown} from the next call on; window {tokens}, {known}."
    lines = desk.wrapped(text)
    if not event.window and not event.priced:
        unsure = "No table knows this model: look whether its name is right."
        lines += [desk.style.warn(line) for line in desk.wrapped(unsure)]
    held = session.snapshot.usage.context
    if event.window and held > event.window * session.machine.context.compact_at // 1_000_000:
        full = f"The view holds {held:,} tokens already: it is compacted before the next call."
        lines += [desk.style.warn(line) for line in desk.wrapped(full)]
    return joined(lines, events=(event,))


def _list(desk: Desk) -> Reply:
    """The declared models and what stands behind each now."""
    models = desk.session.machine.models
    lines = [line for decl in models.values() for line in desk.wrapped(_about(desk, decl))]
    lines += desk.wrapped("Another one: /model NAME PROVIDER/MODEL, back: /model NAME declared")
    chosen = [n for n in models if n in desk.session.snapshot.models]
    choices = [Choice(printable(f"{n} as declared", 60), f"/model {n} {DECLARED}") for n in chosen]
    return joined(lines, choose=tuple(choices))


def _about(desk: Desk, decl: ModelDecl) -> str:
    """A declared model in a line."""
    snapshot = desk.session.snapshot
    chosen = snapshot.models.get(decl.name)
    text = f"{decl.name}: {chosen or decl.shown}"
    if chosen:
        text += f" (declared: {decl.shown})"
    elif decl.fallbacks:
        text += f", then {', '.join(decl.fallbacks)}"
    window = snapshot.windows.get(decl.name, 0)
    text += f"; window {window:,} tokens" if window else "; window unknown"
    params = json.loads(decl.params)
    named = [f"{key} {value}" for key, value in sorted(params.items()) if isinstance(value, int | float)]
    return f"{text}; {', '.join(named)}" if named else text


def compact(desk: Desk, given: str) -> Reply:
    """Ask for a smaller view."""
    event = CompactionRequested()
    session = desk.session
    why = refusal(session.machine, session.snapshot, event)
    if why:
        how = "The loop must route `compaction.requested` where it stands; /explain shows its ways"
        return refused(desk, f"Nothing was compacted: {why}", how)
    held = session.snapshot.usage.context
    return joined(told(desk, f"Compacting {held:,} tokens.").lines, events=(event,))
