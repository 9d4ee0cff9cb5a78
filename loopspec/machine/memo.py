"""Memo: what the calculator answered, kept as decision trees, so that it is asked once.

Rules of this file:
1. A tree is what one microstep calls, *in order*: actions to apply, guards to ask, and at the end the
   result. The order is part of the answer: an `always` guard may read what was assigned just before.
2. Nothing is kept that depends on values. What a guard gives chooses the branch, every time anew; what
   the hands raise goes straight through, and nothing has moved.
3. A tree grows only by recording the calculator. An unknown branch makes it run once more from the
   beginning: the calls that were made already are answered from the tree, the new ones are recorded.
4. The trees are bounded, and forgetting them changes nothing but the time the next step takes.

A tree is found by all that the structure of a microstep depends on: the configuration, the event, who
may see it, and what is remembered for the history states that a transition of this event leads to.
"""

from collections.abc import Mapping
from typing import Final

from loopspec.machine.calculator import After, Calculator, Hands, Illegal, Scope
from loopspec.machine.model import State, Transition

MAX_NODES: Final = 20_000
"""About 3 MB for each machine. A session of the coding agent comes to less than a hundred. Only many
regions beside each other have more, and then all trees are forgotten and grow again: those in use are
back after one calculation each, while a memo that merely stopped to grow would be slow for ever."""

_LEAF: Final = 0
_ASK: Final = 1
_LEAVE: Final = 2
_TAKE: Final = 3
_ENTER: Final = 4
_DONE: Final = 5
_ILLEGAL: Final = 6

_What = After | State | Transition | str


class _Node:
    """One call, or the result. `yes` is what follows, `no` what follows a guard that does not hold;
    None is not known yet."""

    __slots__ = ("no", "op", "what", "yes")

    def __init__(self, op: int, what: _What) -> None:
        self.op = op
        self.what = what
        self.yes: _Node | None = None
        self.no: _Node | None = None


class _Trees:
    """The trees of one configuration, event and scope: one for each history that matters here."""

    __slots__ = ("past", "roots")

    def __init__(self, past: tuple[str, ...]) -> None:
        self.past = past
        self.roots: dict[tuple[tuple[str, ...] | None, ...], _Node] = {}


_Place = tuple[_Trees, tuple[tuple[str, ...] | None, ...]]


class Memo:
    """Answers like the calculator it stands before, from trees where it can.

    Not for several threads at once; `step` is called by one.
    """

    def __init__(self, calculator: Calculator, limit: int = MAX_NODES) -> None:
        """`limit` is how many nodes may be kept before all of them are forgotten."""
        self.calculator = calculator
        self.limit = limit
        self.nodes = 0
        self._trees: dict[tuple[tuple[str, ...], str | None, Scope], _Trees] = {}

    def begin(self, hands: Hands) -> After:
        """Enter the initial states. Raises what the hands raise, or `Illegal`."""
        return self.microstep((), {}, "", hands, None)

    def microstep(
        self,
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        hands: Hands,
        scope: Scope,
    ) -> After:
        """One microstep, as the calculator's; raises what the hands raise, or `Illegal`."""
        trees = self._trees.get((configuration, event, scope))
        if trees is None:
            trees = self._plant(configuration, event, scope)
        past = tuple(map(history.get, trees.past)) if trees.past else ()
        answers: list[bool] = []
        node = trees.roots.get(past)
        while node is not None:
            what = node.what
            match node.op:
                case 1:
                    gave = hands.guard(what, event)  # type: ignore[arg-type]
                    answers.append(gave)
                    node = node.yes if gave else node.no
                    continue
                case 0:
                    return what  # type: ignore[return-value]
                case 2:
                    hands.leave(what)  # type: ignore[arg-type]
                case 3:
                    hands.take(what, event)  # type: ignore[arg-type]
                case 4:
                    hands.enter(what)  # type: ignore[arg-type]
                case 5:
                    hands.done(what)  # type: ignore[arg-type]
                case _:
                    raise Illegal(str(what))
            node = node.yes
        recorder = _Recorder(self, (trees, past), hands, answers)
        return self._grown(recorder, configuration, history, event, scope)

    def _grown(
        self,
        recorder: "_Recorder",
        configuration: tuple[str, ...],
        history: Mapping[str, tuple[str, ...]],
        event: str | None,
        scope: Scope,
    ) -> After:
        """The calculator's answer; the way to it is recorded."""
        try:
            if configuration:
                found = self.calculator.microstep(configuration, history, event, recorder, scope)
            else:
                found = self.calculator.begin(recorder)
        except Illegal as err:
            recorder.add(_ILLEGAL, str(err))
            raise
        recorder.add(_LEAF, found)
        return found

    def _plant(
        self, configuration: tuple[str, ...], event: str | None, scope: Scope
    ) -> _Trees:
        """A place for the trees of this configuration, event and scope."""
        self.count()
        made = _Trees(self.calculator.remembering(configuration, event) if configuration else ())
        self._trees[(configuration, event, scope)] = made
        return made

    def count(self) -> None:
        """One node more; forgets everything when there are too many."""
        if self.nodes >= self.limit:
            self._trees.clear()
            self.nodes = 0
        self.nodes += 1


class _Recorder:
    """Hands around the hands: answers what was called before from the tree, records what is new."""

    def __init__(self, memo: Memo, place: _Place, hands: Hands, answers: list[bool]) -> None:
        """`answers` are what the guards gave that were asked on the way to the unknown branch."""
        trees, past = place
        self._memo, self._place, self._hands = memo, place, hands
        self._known = trees.roots.get(past)
        self._answers = iter(answers)
        self._last: _Node | None = None
        self._held = True

    def add(self, op: int, what: _What) -> None:
        """Put a new node where the tree ends."""
        made = _Node(op, what)
        self._memo.count()
        if self._last is None:
            trees, past = self._place
            trees.roots[past] = made
        elif self._held:
            self._last.yes = made
        else:
            self._last.no = made
        self._last, self._held = made, True

    def _again(self, op: int, what: _What) -> bool:
        """Whether the tree has this call, so that it was made already; else it is added."""
        node = self._known
        if node is None:
            self.add(op, what)
            return False
        if node.op != op or (node.what is not what and node.what != what):
            raise AssertionError("the calculator has gone another way than it did before")
        self._last, self._held = node, True
        self._known = node.yes
        return True

    def guard(self, transition: Transition, event: str | None) -> bool:
        """Ask, or repeat the answer."""
        known = self._known
        if self._again(_ASK, transition):
            assert known is not None
            self._held = next(self._answers)
            self._known = known.yes if self._held else known.no
        else:
            self._held = bool(self._hands.guard(transition, event))
        return self._held

    def leave(self, state: State) -> None:
        """Leave, unless it was done."""
        if not self._again(_LEAVE, state):
            self._hands.leave(state)

    def take(self, transition: Transition, event: str | None) -> None:
        """Take, unless it was done."""
        if not self._again(_TAKE, transition):
            self._hands.take(transition, event)

    def enter(self, state: State) -> None:
        """Enter, unless it was done."""
        if not self._again(_ENTER, state):
            self._hands.enter(state)

    def done(self, event: str) -> None:
        """Tell, unless it was told."""
        if not self._again(_DONE, event):
            self._hands.done(event)
