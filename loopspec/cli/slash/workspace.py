"""`/diff` and `/rewind`: what changed in the work directory, and the way back.

Rules of this file:
1. The records of rollback points are compared with what is there; the user's git is not asked.
2. `/rewind` says what would change before it asks for anything, and never sends a rollback that the loop
   would refuse: it looks first, with the loop's own rules, whether one leads somewhere.
"""

from typing import Final

from loopspec.cli.slash.desk import Choice, Desk, Reply, joined, refused, told
from loopspec.drivers.changes import Change, Workspace, boundary_of, first_boundary
from loopspec.errors import LoopspecError
from loopspec.events import Kept, RollbackChosen, Stamped, UserInterrupted
from loopspec.machine.step import REFUSED, refusal, step
from loopspec.snapshot import Boundary
from loopspec.views.words import duration, moment, plural, printable

LISTED: Final = 10
NAMED: Final = 4
START: Final = "start"
_NOTHING: Final = (
    "No rollback point was taken yet: no call that writes has run, or the loop takes none"
)
_HOW: Final = {"added": "A", "removed": "D", "changed": "M", "mode": "m"}


def diff(desk: Desk, given: str) -> Reply:
    """What changed since the newest boundary, another one, or since the session began."""
    snapshot = desk.session.snapshot
    if given == START:
        since = first_boundary(desk.store, desk.session.id)
    else:
        since = boundary_of(snapshot, given)
    if since is None:
        if given in ("", START) or not snapshot.boundaries:
            return refused(desk, _NOTHING)
        return _no_boundary(desk, given)
    found = Workspace(desk.workdir, desk.store.directory).changes(since.ref)
    about = f"since {since.id} ({moment(since.at)}, entry {since.seq})"
    if not found.changes:
        return told(desk, f"Nothing has changed {about}.")
    lines = desk.wrapped(f"{plural(len(found.changes), 'path')} changed {about}:")
    lines += [_summary(desk, change) for change in found.changes]
    for change in found.changes:
        if change.lines:
            lines += ["", *(_coloured(desk, line) for line in change.lines)]
    if found.unshown:
        what = f"The lines of {plural(found.unshown, 'more path')} are not shown."
        lines += ["", *desk.wrapped(what)]
    return joined(lines)


def _summary(desk: Desk, change: Change) -> str:
    """One path that changed."""
    counts = f" +{change.plus} -{change.minus}" if change.plus >= 0 else ""
    return printable(f"{_HOW[change.how]} {change.path}{counts}", desk.room)


def _coloured(desk: Desk, line: str) -> str:
    """A line of a diff."""
    shown = printable(line.expandtabs(4), desk.room)
    if line.startswith(("+++", "---")):
        return desk.style.strong(shown)
    if line.startswith("+"):
        return desk.style.good(shown)
    if line.startswith("-"):
        return desk.style.bad(shown)
    return desk.style.dim(shown) if line.startswith(("@@", "[…")) else shown


def _no_boundary(desk: Desk, given: str) -> Reply:
    """There is none of that name."""
    names = ", ".join(b.id for b in desk.session.snapshot.boundaries[: -LISTED - 1 : -1])
    return refused(desk, f"There is no rollback point `{given}`", f"There are: {names or 'none'}")


# ---------------------------------------------------------------- rewind


def rewind(desk: Desk, given: str) -> Reply:
    """The rollback points to pick from; with one, going back to it."""
    boundaries = desk.session.snapshot.boundaries
    if not boundaries:
        return refused(desk, _NOTHING)
    workspace = Workspace(desk.workdir, desk.store.directory)
    if not given:
        return _list(desk, workspace)
    chosen = boundary_of(desk.session.snapshot, given)
    if chosen is None:
        return _no_boundary(desk, given)
    first, why = _before(desk, RollbackChosen(boundary=chosen.id))
    if why:
        return refused(desk, f"The loop takes no rollback here: {why}")
    paths = workspace.paths(chosen.ref)
    lines = desk.wrapped(f"Back to {_about(desk, chosen)}: {_touched(paths)}.")
    if chosen.remaining:
        acts = ", ".join(chosen.remaining)
        lines += [desk.style.warn(x) for x in desk.wrapped(f"Cannot be undone: {acts}.")]
    if first:
        lines += desk.wrapped("The work is interrupted first; the rollback waits until it has stopped.")
    return joined(lines, events=(*first, RollbackChosen(boundary=chosen.id)))


def _list(desk: Desk, workspace: Workspace) -> Reply:
    """The newest rollback points, with what going back to each would change."""
    shown = desk.session.snapshot.boundaries[: -LISTED - 1 : -1]
    lines = desk.wrapped("Going back undoes every change of files since, yours too. Points:")
    choices: list[Choice] = []
    for boundary in shown:
        try:
            what = _touched(workspace.paths(boundary.ref))
        except LoopspecError as err:
            what = f"cannot be gone back to: {err.fault}"
        label = f"{_about(desk, boundary)}: {what}"
        lines += desk.wrapped(label, "  ", "      ")
        choices.append(Choice(printable(label, desk.room), f"/rewind {boundary.id}"))
    _, why = _before(desk, RollbackChosen())
    if why:
        choices = []
        what = f"The loop takes no rollback where it stands: {why}."
        lines += [desk.style.warn(line) for line in desk.wrapped(what)]
    older = len(desk.session.snapshot.boundaries) - len(shown)
    if older:
        lines += desk.wrapped(f"and {plural(older, 'older one')}: /explain, /rewind POINT")
    return joined(lines, choose=tuple(choices))


def _about(desk: Desk, boundary: Boundary) -> str:
    """A boundary in a few words."""
    age = duration(max(0, desk.session.clock.now() - boundary.at))
    where = f" in {boundary.state}" if boundary.state else ""
    return f"{boundary.id}, {age} ago{where} (entry {boundary.seq})"


def _touched(paths: list[str]) -> str:
    """Paths that would change."""
    if not paths:
        return "nothing would change"
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{plural(len(paths), 'path')} would change: {', '.join(paths[:NAMED])}{more}"


def _before(desk: Desk, event: Kept) -> tuple[tuple[Kept, ...], str]:
    """What must be told before `event` so that it is taken, and why it cannot be (empty: it can)."""
    session = desk.session
    why = refusal(session.machine, session.snapshot, event)
    if not why:
        return (), ""
    stop = UserInterrupted(reason="rewind")
    stamped = Stamped(session.clock.now(), session.awake_now(), "person", stop)
    tried = step(session.machine, session.snapshot, stamped)  # pure: nothing comes of it
    if tried.outcome == REFUSED or refusal(session.machine, tried.snapshot, event):
        return (), why
    return (stop,), ""
