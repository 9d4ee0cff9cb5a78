"""API: loops run from Python, with the events and guarantees of the command line.

    >>> import loopspec
    >>> loop = loopspec.load("loop.yaml")
    >>> session = loop.session("How much?")
    >>> session.finish_sync().answer
    'It is seven.'

`Session.run` gives each event as it happens (`Opened`, `KeptLine`, `LiveLine`, `RefusedLine`, and the
`Result` last), as `--output-format stream-json` writes them. docs/programs.md is the page.
"""

from typing import Final

from loopspec.api.handed import Handed, Refused
from loopspec.api.loop import Loop, SpecError, load, resume
from loopspec.api.session import Session
from loopspec.drivers.lines import (
    Denial,
    KeptLine,
    Line,
    LiveLine,
    Opened,
    RefusedLine,
    Result,
    WaitingCall,
)
from loopspec.errors import LoopspecError

__all__: Final = [
    "Denial",
    "Handed",
    "KeptLine",
    "Line",
    "LiveLine",
    "Loop",
    "LoopspecError",
    "Opened",
    "Refused",
    "RefusedLine",
    "Result",
    "Session",
    "SpecError",
    "WaitingCall",
    "load",
    "resume",
]
