"""loopspec: an AI agent's loop as a YAML document, interpreted, durable and replayable.

From Python: `loopspec.load(spec)` gives a `Loop`, `Loop.session(…)` a `Session`, and `Session.run()` its
events (see `loopspec.api`). Importing this package costs nothing; what a name needs is loaded with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopspec.version import __version__ as __version__

if TYPE_CHECKING:
    from loopspec.api import Denial as Denial
    from loopspec.api import Handed as Handed
    from loopspec.api import KeptLine as KeptLine
    from loopspec.api import Line as Line
    from loopspec.api import LiveLine as LiveLine
    from loopspec.api import Loop as Loop
    from loopspec.api import LoopspecError as LoopspecError
    from loopspec.api import Opened as Opened
    from loopspec.api import Refused as Refused
    from loopspec.api import RefusedLine as RefusedLine
    from loopspec.api import Result as Result
    from loopspec.api import Session as Session
    from loopspec.api import SpecError as SpecError
    from loopspec.api import WaitingCall as WaitingCall
    from loopspec.api import load as load
    from loopspec.api import resume as resume

_API = frozenset(
    {"Denial", "Handed", "KeptLine", "Line", "LiveLine", "Loop", "LoopspecError", "Opened", "Refused"}
    | {"RefusedLine", "Result", "Session", "SpecError", "WaitingCall", "load", "resume"}
)


def __getattr__(name: str) -> Any:
    """A name of `loopspec.api`, loaded when it is first used."""
    if name in _API:
        return getattr(import_module("loopspec.api"), name)
    raise AttributeError(f"module `loopspec` has no attribute `{name}`")


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*globals(), *_API])
