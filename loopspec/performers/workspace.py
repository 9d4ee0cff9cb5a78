"""Workspace: records the work directory before anything writes, and puts it back.

Rules of this file:
1. Every outcome is an event; a record that cannot be made is `boundary.failed`, so nothing writes.
2. A ref says which method made it (`git:…`, `copy:…`), and that method restores it.
3. A rollback first records what it is about to undo.
4. One take or restore at a time.
"""

import asyncio
import os
import shutil
from typing import Final

from loopspec.effects import Effect, RestoreBoundary, TakeBoundary
from loopspec.events import (
    BoundaryFailed,
    BoundaryTaken,
    EffectCancelled,
    EffectFailed,
    Kept,
    RollbackDone,
    RollbackFailed,
    RollbackPartial,
)
from loopspec.hooks import World
from loopspec.performers.snapshots import SnapshotFailed, Stop, printable
from loopspec.performers.snapshots_copy import CopySnapshots
from loopspec.performers.snapshots_git import GitSnapshots
from loopspec.tools.supervise import LEFT

MAX_CHANGED: Final = 1000
_FAULTS: Final = (SnapshotFailed, OSError, ValueError, KeyError, TypeError)


class WorkspacePerformer:
    """Does `TakeBoundary` and `RestoreBoundary`: with git where there is one, else as plain copies.

    Recorded are all files, links and directories of the work directory but `.git`, `__pycache__`,
    `.venv`, `node_modules` and the store's own directory; ignored and untracked files too. A file
    above 100 MB or more than 200,000 files are a `boundary.failed`.
    """

    def __init__(self) -> None:
        """A performer for one session."""
        self._lock = asyncio.Lock()

    async def perform(self, effect: Effect, world: World) -> Kept:
        """Record or restore; never raises for what can go wrong with files or git."""
        if not isinstance(effect, TakeBoundary | RestoreBoundary):
            reason = f"the workspace performer does not do {type(effect).__name__}"
            return EffectFailed(effect=effect.id, reason=reason)
        if isinstance(effect, RestoreBoundary) and any(not t.done() for t in LEFT):
            reason = "a tool that did not stop may still be writing; end it, then roll back again"
            return RollbackFailed(effect=effect.id, reason=reason)
        stop = Stop()
        task: asyncio.Task[Kept] | None = None
        try:
            async with self._lock:
                task = asyncio.ensure_future(asyncio.to_thread(_do, effect, world, stop))
                try:
                    return await asyncio.shield(task)
                except asyncio.CancelledError:
                    stop.set()
                    await asyncio.wait({task})
                    raise
        except asyncio.CancelledError:
            return EffectCancelled(
                effect=effect.id, started=task is not None, partial=_partial(effect, task)
            )


def _partial(effect: Effect, task: "asyncio.Task[Kept] | None") -> str:
    """What a cancelled effect has done: a rollback may have been finished all the same."""
    whole = task is not None and not task.cancelled() and task.exception() is None
    if task is None or isinstance(effect, TakeBoundary):
        return ""
    if whole:
        done = isinstance(task.result(), RollbackDone | RollbackPartial)
        return "the workspace was put back" if done else "the workspace could not be put back"
    return "interrupted while the workspace was put back; roll back again to finish"


def _do(effect: TakeBoundary | RestoreBoundary, world: World, stop: Stop) -> Kept:
    if isinstance(effect, TakeBoundary):
        return _take(effect, world, stop)
    return _restore(effect, world, stop)


def _take(effect: TakeBoundary, world: World, stop: Stop) -> Kept:
    try:
        by = _by("git" if _git() else "copy", world, stop)
        ref = by.record(effect.boundary)
    except _FAULTS as error:
        return BoundaryFailed(effect=effect.id, reason=_reason(error))
    return BoundaryTaken(effect=effect.id, boundary=effect.boundary, ref=ref, method=by.method)


def _restore(effect: RestoreBoundary, world: World, stop: Stop) -> Kept:
    method = effect.ref.partition(":")[0]
    try:
        changed = _bounded(_by(method, world, stop).restore(effect.ref))
    except _FAULTS as error:
        return RollbackFailed(effect=effect.id, reason=_reason(error))
    if effect.remaining:
        return RollbackPartial(
            effect=effect.id,
            boundary=effect.boundary,
            changed=changed,
            remaining=list(effect.remaining),
        )
    return RollbackDone(effect=effect.id, boundary=effect.boundary, changed=changed)


def _by(method: str, world: World, stop: Stop) -> GitSnapshots | CopySnapshots:
    match method:
        case "git":
            git = _git()
            if git is None:
                raise SnapshotFailed(
                    "this rollback point was recorded with git, and there is no git on PATH now; "
                    "install git and roll back again"
                )
            return GitSnapshots(git, world.workdir, world.directory, stop)
        case "copy":
            return CopySnapshots(world.workdir, world.directory, stop)
    raise SnapshotFailed(f"no method {method!r} is known for rollback points; refs begin with git:")


def _git() -> str | None:
    return shutil.which("git", path=os.environ.get("PATH", os.defpath))


def _bounded(changed: list[str]) -> list[str]:
    shown = [printable(path) for path in changed[:MAX_CHANGED]]
    more = len(changed) - MAX_CHANGED
    return shown if more <= 0 else [*shown, f"… and {more} more"]


def _reason(error: BaseException) -> str:
    if isinstance(error, SnapshotFailed):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{printable(os.fsdecode(error.filename))}: {error.strerror}"
    return f"the record cannot be used: {type(error).__name__}: {error}"
