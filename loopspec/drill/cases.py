"""Cases: one torture from its fresh directory to its verdict. Runs in a forked process of its own.

Rule of this file: nothing is opened before the last child has ended, so that every fork is clean.
"""

import shutil
import signal
from pathlib import Path
from typing import Final

import msgspec

from loopspec.drill.evidence import Difference, Evidence, compare, gather
from loopspec.drill.job import FULL, HANGUP, KILL, Case, Job
from loopspec.drill.play import PARKED, Ended, Home, play
from loopspec.drill.process import Over, Terminal, fork, wait

RESUMES: Final = 6
SAME: Final = "same"
DIFFERENT: Final = "different"
LED: Final = "led"
MISSED: Final = "missed"


class Verdict(msgspec.Struct, frozen=True):
    """What came of a case: `same`, `different`, `led` (the spec led a loss or an interruption
    elsewhere, and nothing was done twice) or `missed` (its point was not reached). `said` is the
    one message of the harmed process, if it lived to say one."""

    result: str
    differences: tuple[Difference, ...] = ()
    said: str = ""


class Reference(msgspec.Struct, frozen=True):
    """An undisturbed run: how it ended, what it left."""

    ended: Ended
    evidence: Evidence


def prepare(job: Job, path: Path) -> Home:
    """A fresh directory with a copy of the work directory."""
    path.mkdir()
    home = Home(path)
    if job.workdir is None:
        home.work.mkdir()
    else:
        shutil.copytree(job.workdir, home.work, symlinks=True)
    return home


def undisturbed(job: Job, path: Path) -> Reference:
    """Run the loop once, in a child, with nothing done to it."""
    home = prepare(job, path)
    ended = _ended(_child(job, home, None, 0))
    return Reference(ended, gather(home, ended) if not ended.bug else Evidence())


def tortured(job: Job, case: Case, reference: Evidence, path: Path) -> Verdict:
    """Run the loop, do the case's harm, resume to the end, compare."""
    home = prepare(job, path)
    faults: list[Difference] = []
    first = _child(job, home, case, 0)
    if not _reached(case, first):
        return Verdict(MISSED, tuple(_faults(case, first)))
    faults += _faults(case, first)
    said = msgspec.json.decode(first.answer, type=Ended).message if first.code == 0 else ""
    if case.again:
        second = _child(job, home, None, case.again)
        if second.code not in (0, -signal.SIGKILL):
            faults += _faults(Case(KILL, case.point), second)
    ended = Ended(70, bug="it was never resumed")
    for _ in range(RESUMES):
        over = _child(job, home, None, 0)
        ended = _ended(over)
        if ended.reason not in PARKED:
            break
    if ended.bug or ended.message:
        faults.append(Difference("the resume", "an end", ended.bug or ended.message))
        return Verdict(DIFFERENT, tuple(faults), said)
    found = gather(home, ended)
    faults += compare(reference, found)
    good = LED if found.led else SAME
    return Verdict(DIFFERENT if faults else good, tuple(faults), said)


def _child(job: Job, home: Home, case: Case | None, total: int) -> Over:
    """Run one child to its end."""
    terminal = Terminal() if case is not None and case.harm == HANGUP else None

    def body() -> bytes:
        if terminal is not None:
            terminal.enter()
        meet = terminal.meet if terminal is not None else _nobody
        return msgspec.json.encode(play(job, home, case, total, meet))

    child = fork(body, home.log)
    if terminal is not None:
        return terminal.serve(child, job.seconds)
    return wait(child, job.seconds)


def _nobody() -> None:
    """There is no terminal to wait for."""


def _ended(over: Over) -> Ended:
    """How a child that should have come to its own end did."""
    if over.late:
        return Ended(70, bug="it did not end in time and was killed")
    if over.code != 0:
        return Ended(70, bug=f"it ended with {over.code} and said nothing")
    return msgspec.json.decode(over.answer, type=Ended)


def _reached(case: Case, over: Over) -> bool:
    """Whether the harm was done."""
    if over.code != 0:
        return True
    return msgspec.json.decode(over.answer, type=Ended).reached


def _faults(case: Case, over: Over) -> list[Difference]:
    """What is wrong with the way in which the harmed process ended."""
    where = "the harmed process"
    if over.late:
        return [Difference(where, "an end", "it was still running when its time was over")]
    if case.harm == KILL and over.code == -signal.SIGKILL:
        return []
    if over.code < 0 and not (case.harm == HANGUP and over.code == -signal.SIGHUP):
        return [Difference(where, "an end of its own", f"signal {-over.code}")]
    if over.code != 0:
        return [] if over.code < 0 else [Difference(where, "an answer", f"code {over.code}")]
    ended = msgspec.json.decode(over.answer, type=Ended)
    if ended.bug:
        return [Difference(where, "one clear message", ended.bug)]
    if case.harm == FULL:
        return _fullness(ended)
    return [Difference(where, "no message", ended.message)] if ended.message else []


def _fullness(ended: Ended) -> list[Difference]:
    """A full disk must be said, in one line; a run that needed no further page says nothing."""
    if not ended.message or "the disk is full" in ended.message:
        return []
    return [Difference("the harmed process", "`the disk is full`", ended.message)]


def forget(path: Path) -> None:
    """Remove a case's directory."""
    shutil.rmtree(path, ignore_errors=True)
