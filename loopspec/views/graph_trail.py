"""Trail: where a session went through its loop's picture, and where it stands.

Rules of this file:
1. It is read from the entries alone: what was taken is what they say was taken, and nothing is run.
2. It says how things stood at the newest entry, by that entry's clocks, so that the same journal gives
   the same picture whenever it is drawn.
3. The last path holds no transition twice: it is read backwards from the newest one until one would
   come again, so that each has one place in it.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from loopspec.codec import decode
from loopspec.journal.entry import Entry
from loopspec.machine.model import Machine
from loopspec.snapshot import Snapshot
from loopspec.views.graph import plain
from loopspec.views.waits import waits
from loopspec.views.words import moment, plural

LONGEST: Final = 9
"""Most transitions of the last path: more numbers than this nobody follows."""
_WAITS: Final = 300
_JUST: Final = ", for 0 ms"


class Trail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session's way. All texts are printable, on one line.

    `seq` is the newest entry, `at` its time in UTC microseconds. `here` is the active configuration,
    parents first; `visited` every state that was ever active or passed, in the machine's order.
    `taken` counts how often each transition was taken; `path` are the ids of the last ones, oldest
    first, none twice. `waits` says what the session waits for.
    """

    session: str
    seq: int
    at: int
    here: tuple[str, ...]
    visited: tuple[str, ...]
    taken: dict[int, int]
    path: tuple[int, ...]
    waits: str

    @property
    def leaf(self) -> str:
        """The innermost active state, empty before the first entry."""
        return self.here[-1] if self.here else ""

    def place(self, move: int) -> int:
        """A transition's place in the last path, counted from 1; 0 if it is not in it."""
        return self.path.index(move) + 1 if move in self.path else 0

    def head(self) -> str:
        """Whose way it is, and as of when."""
        return plain(f"Session {self.session}, entry {self.seq}, {moment(self.at)}", _WAITS)


def trail(machine: Machine, snapshot: Snapshot, entries: Iterable[Entry]) -> Trail:
    """The way of a session: `snapshot` is where it stands, `entries` are all it has, oldest first."""
    taken: dict[int, int] = {}
    passed: set[str] = set()
    path: dict[int, None] = {}  # the newest places of transitions, oldest first
    for entry in entries:
        raw = entry.patch.set.get("configuration")
        if raw is not None:
            passed.update(decode(raw, tuple[str, ...]))
        for one in entry.record.taken:
            passed.update((one.source, one.target))
            taken[one.id] = taken.get(one.id, 0) + 1
            if one.id in path:  # it comes again: the path begins behind its last place
                _forget(path, one.id)
            path[one.id] = None
    passed.update(snapshot.configuration)
    _, sentence = waits(machine, snapshot, snapshot.at, snapshot.awake)
    return Trail(
        session=snapshot.session,
        seq=snapshot.seq,
        at=snapshot.at,
        here=snapshot.configuration,
        visited=tuple(path for path in machine.states if path in passed),
        taken=dict(sorted(taken.items())),
        path=tuple(path)[-LONGEST:],
        waits=plain(sentence.replace(_JUST, ""), _WAITS),
    )


def _forget(path: dict[int, None], upto: int) -> None:
    """Leave out a transition and all that came before its last place."""
    for move in list(path):
        del path[move]
        if move == upto:
            return


def told(machine: Machine, found: Trail) -> str:
    """The last path in words, for who cannot see it."""
    if not found.path:
        return "No transition was taken yet."
    steps = [_step(machine, move) for move in found.path]
    return plain(f"The last {plural(len(steps), 'transition')}: {'; '.join(steps)}.", 4 * _WAITS)


def _step(machine: Machine, move: int) -> str:
    one = machine.transitions[move]
    return f"{one.source} → {one.target}" if one.target else f"{one.source} stays"
