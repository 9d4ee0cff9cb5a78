"""Driving: a session behind a door, from the first event to the exit code.

Rules of this file:
1. Whatever stops the run, a program gets its result object and a person a clear line.
2. The answer's file is written before the result that says how the run ended.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loopspec.cli.answering import AnswerFile
from loopspec.cli.output import is_terminal
from loopspec.cli.signals import keep_to_ourselves, signals
from loopspec.drivers.conforming import QUIET, Verdict, Wanted, bare
from loopspec.drivers.ending import run_to_end
from loopspec.drivers.limiting import Limits
from loopspec.drivers.outcome import answer_of, exit_of
from loopspec.errors import Exit, LoopspecError


@dataclass(frozen=True)
class Manner:
    """How a run is to go: what the options said.

    `ask`: whether a person at a terminal is asked for messages; `limits` are of this run alone (a new
    session has its own in its machine).
    """

    yes: bool = False
    output_format: str = "text"
    ask: bool = False
    wanted: Wanted | None = None
    answer: AnswerFile | None = None
    limits: Limits = field(default_factory=Limits)


class Unheard(LoopspecError):
    """Nobody read the end of the output; the exit code tells whether the session was parked."""

    def __init__(self, fault: str, *, place: str, remedy: str, code: int) -> None:
        """`code` is what the run would have ended with."""
        super().__init__(fault, place=place, remedy=remedy)
        self.exit = Exit.SUSPENDED if code == Exit.SUSPENDED else Exit.FAILED


class Unfit(LoopspecError):
    """The answer does not conform to the output schema."""


def make_door(output_format: str, yes: bool, ask: bool) -> Any:
    """The door for an output format, and for whether a person sits there."""
    from loopspec.cli.program_door import ProgramDoor
    from loopspec.cli.text_door import TextDoor

    if output_format == "text":
        if is_terminal() and os.environ.get("TERM") not in (None, "", "dumb"):
            from loopspec.cli.terminal.fallback import SafeDoor

            return SafeDoor(yes=yes, ask=ask)
        return TextDoor(yes=yes, terminal=is_terminal(), ask=ask)
    return ProgramDoor(yes=yes, stream=output_format == "stream-json")


def drive(begin: Callable[[], Any], store: Any, manner: Manner) -> int:
    """Run a session behind a door until it rests; gives back the exit code. Raises `LoopspecError`."""
    keep_to_ourselves()
    door = make_door(manner.output_format, manner.yes, manner.ask)
    end: list[Verdict] = []
    busy = True
    # Whatever a plugin or a library prints must not stand among the objects a program reads.
    aside = sys.stdout if manner.output_format == "text" else sys.stderr
    try:
        with contextlib.redirect_stdout(aside):
            code, busy = run_to_end(_main(begin, door, manner, end))
    except LoopspecError as err:
        if manner.output_format != "text":
            door.failed(err)
            err.told = True  # type: ignore[attr-defined] # the result object has been written
        raise
    finally:
        door.close()
        with contextlib.suppress(LoopspecError):
            store.close()
    if busy:  # a plugin's code ignores its cancellation; everything is written, so leave it
        os._exit(code)
    if door.gone and code in (Exit.OK, Exit.SUSPENDED):
        raise Unheard(
            "the output was closed before everything was written",
            place=f"session {door.session}",
            remedy=f"go on with: loopspec resume {door.session}",
            code=code,
        )
    if manner.output_format == "text" and end and end[0].faults:
        faults = "; ".join(end[0].faults)
        raise Unfit(f"the answer does not conform to the schema: {faults}", place=door.session)
    return code


async def _main(
    begin: Callable[[], Any], door: Any, manner: Manner, end: list[Verdict]
) -> int:
    """Create or load, drive, show the end; what came of an answer that had to conform goes to `end`."""
    from loopspec.drivers.behind import behind
    from loopspec.drivers.threads import DaemonThreads
    from loopspec.registry import installed

    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    session, first_step, events = await begin()
    made = behind(door, session, installed(), manner.limits, manner.wanted)
    driver, conforming = made.driver, made.conforming
    door.opened(session, driver)
    async with signals(driver, door):
        rest = await driver.run(events, first_step)
    code = exit_of(rest, session.snapshot)
    if conforming is not None and code == Exit.OK and rest.reason in QUIET:
        door.verdict = verdict = conforming.verdict(session)
        end.append(verdict)
        code = Exit.FAILED if verdict.faults else code
    if manner.answer is not None and code == Exit.OK:
        answer = answer_of(session, made.first)
        manner.answer.write(bare(answer) if manner.wanted is not None else answer)
    door.ended(session, rest, code)
    return int(code)
