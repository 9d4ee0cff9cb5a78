"""Errors that reach a person. Each names the place, the fault and the remedy.

Rules of this file:
1. Whatever stops a command is a `LoopspecError`; anything else that escapes is a bug.
2. The exit codes stand here once, in `Exit`, and nowhere else.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line (DESIGN; `docs/guide.md` lists them for users)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_KEY = 41
    BAD_INPUT = 42
    BAD_SPEC = 52
    TURN_BUDGET = 53
    OTHER_BUDGET = 54
    AWAITING_APPROVAL = 55
    SUSPENDED = 56
    VERIFY_FAILED = 57
    INTERRUPTED = 130


class LoopspecError(Exception):
    """A fault a person can act on.

    `fault` says what is wrong, `place` where (a file, a session, a key), `remedy` what to do.
    """

    exit: Exit = Exit.FAILED

    def __init__(self, fault: str, *, place: str = "", remedy: str = "") -> None:
        """Say what is wrong, where, and what helps."""
        super().__init__(fault)
        self.fault = fault
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        """One line: `place: fault. remedy`."""
        head = f"{self.place}: {self.fault}" if self.place else self.fault
        return f"{head}. {self.remedy}" if self.remedy else head


class UsageError(LoopspecError):
    """The command line asks for something that cannot be."""

    exit = Exit.USAGE


class BadInput(LoopspecError):
    """An `--input` is missing, unknown or of the wrong type."""

    exit = Exit.BAD_INPUT


class NoKey(LoopspecError):
    """A model needs a key that the environment does not hold."""

    exit = Exit.NO_KEY


class BadSpec(LoopspecError):
    """A spec that cannot become a machine. The diagnostics say why."""

    exit = Exit.BAD_SPEC


class StoreError(LoopspecError):
    """The store cannot be read or written. Nothing that was acknowledged is lost."""


class Conflict(StoreError):
    """Somebody else appended to this session first; nothing was written."""


class NotFound(StoreError):
    """No such session, entry or blob."""

    exit = Exit.USAGE


class Damaged(StoreError):
    """The journal does not hold together: an edit, a drop, a swap or a cut."""

    exit = Exit.VERIFY_FAILED
