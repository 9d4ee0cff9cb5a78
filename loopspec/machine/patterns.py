"""Patterns: regular expressions that take time linear in the text, whatever they look like.

Rules of this file:
1. There is no backtracking. A pattern becomes a program of at most `MAX_PROGRAM` instructions, and all of
   its threads go over the text together: at most that many steps for each character.
2. What cannot be matched so (references to groups, looking ahead or behind) is refused when the pattern
   is read, by name; so is everything this file does not know.
3. What matches, and which group holds what, is as in Python's `re`: the first alternative that leads to a
   match counts, greedy before short.

The method is Ken Thompson's (1968) with Rob Pike's groups, as told by Russ Cox in *Regular Expression
Matching: the Virtual Machine Approach* (2009).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from loopspec.machine.pattern_syntax import MAX_PROGRAM, Node, PatternError, Reader, Test, word

MAX_TEXT: Final = 4_000
"""Characters of a text. What is longer matches nothing, so the worst case is seconds, not years."""


class Step(NamedTuple):
    """An instruction: `char` (take one that passes `test`), `at` (assert `name`), `split` (to `x`, then
    `y`), `jump` (to `x`), `save` (the place in slot `x`) or `match`."""

    do: str
    x: int = 0
    y: int = 0
    test: Test | None = None
    name: str = ""


class Pattern:
    """A pattern that was read."""

    def __init__(self, source: str) -> None:
        """Read `source`; raises `PatternError`."""
        reader = Reader(source)
        tree = reader.whole()
        self.names: dict[str, int] = reader.names
        self.groups: int = reader.count
        self._program: list[Step] = []
        self._put(Node("group", (tree,)))
        self._add(Step("match"))
        self._places = 2 * (self.groups + 1)

    def search(self, text: str) -> "dict[str, str] | None":
        """The groups of the first match in `text`, by number (`0` is all of it) and name; those that took
        no part are empty. None without a match, and for a text of more than `MAX_TEXT` characters."""
        found = self._run(text) if len(text) <= MAX_TEXT else None
        if found is None:
            return None
        spans = [(found[2 * n], found[2 * n + 1]) for n in range(self.groups + 1)]
        held = [text[a:b] if a >= 0 and b >= 0 else "" for a, b in spans]
        named = {name: held[number] for name, number in self.names.items()}
        return {**{str(n): part for n, part in enumerate(held)}, **named}

    # ------------------------------------------------------------ the program

    def _add(self, step: Step) -> int:
        """Append an instruction; raises `PatternError` when there are too many."""
        if len(self._program) >= MAX_PROGRAM:
            raise PatternError(f"it is larger than {MAX_PROGRAM} steps, all repetitions written out")
        self._program.append(step)
        return len(self._program) - 1

    def _put(self, node: Node) -> None:
        """Append the instructions of a part."""
        match node.kind:
            case "char":
                self._add(Step("char", test=node.test))
            case "at":
                self._add(Step("at", name=node.name))
            case "seq":
                for part in node.parts:
                    self._put(part)
            case "group":
                self._add(Step("save", 2 * node.number))
                self._put(node.parts[0])
                self._add(Step("save", 2 * node.number + 1))
            case "either":
                self._either(node.parts)
            case _:
                self._repeat(node)

    def _either(self, parts: Sequence[Node]) -> None:
        """Alternatives, the first first."""
        ends: list[int] = []
        for part in parts[:-1]:
            split = self._add(Step("split"))
            self._put(part)
            ends.append(self._add(Step("jump")))
            self._program[split] = Step("split", split + 1, len(self._program))
        self._put(parts[-1])
        for end in ends:
            self._program[end] = Step("jump", len(self._program))

    def _repeat(self, node: Node) -> None:
        """A part so many times: written out, and a loop where there is no end."""
        part = node.parts[0]
        for _ in range(node.low):
            self._put(part)
        splits: list[int] = []
        if node.high < 0:
            splits.append(self._add(Step("split")))
            self._put(part)
            self._add(Step("jump", splits[0]))
        else:
            for _ in range(node.high - node.low):
                splits.append(self._add(Step("split")))
                self._put(part)
        after = len(self._program)
        for at in splits:
            inside, outside = at + 1, after
            first, second = (inside, outside) if node.greedy else (outside, inside)
            self._program[at] = Step("split", first, second)

    # ------------------------------------------------------------ matching

    def _run(self, text: str) -> tuple[int, ...] | None:
        """The slots of the first match."""
        best: tuple[int, ...] | None = None
        empty = (-1,) * self._places
        threads: list[tuple[int, tuple[int, ...]]] = []
        for at in range(len(text) + 1):
            seen: set[int] = set()
            now: list[tuple[int, tuple[int, ...]]] = []
            for place, slots in threads:
                self._follow(place, slots, text, at, seen, now)
            if best is None:
                self._follow(0, empty, text, at, seen, now)
            threads = []
            for place, slots in now:
                step = self._program[place]
                if step.do == "match":
                    best = slots
                    break  # the threads after this one are worse
                if at < len(text) and step.test is not None and step.test(text[at]):
                    threads.append((place + 1, slots))
            if best is not None and not threads:
                return best
        return best

    def _follow(
        self,
        start: int,
        slots: tuple[int, ...],
        text: str,
        at: int,
        seen: set[int],
        out: list[tuple[int, tuple[int, ...]]],
    ) -> None:
        """Every instruction that can be reached without taking a character, the best first."""
        todo = [(start, slots)]
        while todo:
            place, slots = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._program[place]
            match step.do:
                case "jump":
                    todo.append((step.x, slots))
                case "split":
                    todo += [(step.y, slots), (step.x, slots)]
                case "save":
                    todo.append((place + 1, (*slots[: step.x], at, *slots[step.x + 1 :])))
                case "at":
                    if _holds(step.name, text, at):
                        todo.append((place + 1, slots))
                case _:
                    out.append((place, slots))


def _holds(name: str, text: str, at: int) -> bool:
    """Whether an assertion holds at a place."""
    match name:
        case "^":
            return at == 0
        case "$":
            return at == len(text) or (at == len(text) - 1 and text[at] == "\n")
        case _:
            before = at > 0 and word(text[at - 1])
            return (before != (at < len(text) and word(text[at]))) == (name == "b")


@lru_cache(maxsize=512)
def read(source: str) -> Pattern:
    """A pattern, read once; raises `PatternError`."""
    return Pattern(source)
