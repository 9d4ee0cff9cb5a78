"""Behind: a driver behind a door, with what the run alone limits and what its answer must conform to."""

from dataclasses import dataclass
from typing import Any

from loopspec.drivers.conforming import Conforming, Wanted
from loopspec.drivers.limiting import Limiting, Limits
from loopspec.drivers.local import LocalDriver
from loopspec.drivers.session import Session
from loopspec.registry import Registry


@dataclass(frozen=True)
class Behind:
    """A driver ready to run; `first` is the first entry of this run, `conforming` judges its answer."""

    driver: LocalDriver
    first: int
    conforming: Conforming | None


def behind(
    door: Any, session: Session, registry: Registry, limits: Limits, wanted: Wanted | None
) -> Behind:
    """A driver of `session` behind `door`: limits stand before the door, a judge before both."""
    first = session.snapshot.seq + 1
    front: Any = door
    limiting = conforming = None
    if limits:
        front = limiting = Limiting(front, limits, session)
    if wanted is not None:
        front = conforming = Conforming(front, wanted, first)
    driver = LocalDriver(session, registry, front)
    if limiting is not None:
        limiting.driver = driver
    return Behind(driver, first, conforming)
