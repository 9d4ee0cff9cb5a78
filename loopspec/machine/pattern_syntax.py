"""Pattern syntax: reads the regular expressions that `patterns` matches.

Rules of this file:
1. What is not known here is refused by name: nothing is taken for a letter that may have meant something.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

MAX_PATTERN: Final = 1_000
MAX_PROGRAM: Final = 2_000
MAX_DEPTH: Final = 30
"""Characters of a pattern, instructions of its program, groups in each other."""
_SPACE: Final = frozenset(" \t\n\r\f\v")
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}

Test: TypeAlias = Callable[[str], bool]


class PatternError(Exception):
    """A pattern that cannot be used; the text says why."""


class Node(NamedTuple):
    """A part of a pattern. `kind` is `char`, `at`, `seq`, `either`, `repeat` or `group`."""

    kind: str
    parts: "tuple[Node, ...]" = ()
    test: Test | None = None
    low: int = 0
    high: int = 0
    greedy: bool = True
    name: str = ""
    number: int = 0


def word(char: str) -> bool:
    """Whether a character belongs to a word."""
    return char == "_" or char.isalnum()


class Reader:
    """Reads a pattern from left to right."""

    def __init__(self, source: str) -> None:
        """`source` is the pattern; raises `PatternError` when it is too long."""
        if len(source) > MAX_PATTERN:
            raise PatternError(f"it is longer than {MAX_PATTERN} characters")
        self._source = source
        self._at = 0
        self._fold = self._dots = False
        self._depth = 0
        self.names: dict[str, int] = {}
        self.count = 0

    def whole(self) -> Node:
        """The pattern, with its flags `(?i)` and `(?s)` in front."""
        while self._source.startswith("(?", self._at):
            end = self._source.find(")", self._at)
            flags = self._source[self._at + 2 : end]
            if not flags or set(flags) - {"i", "s"} or end < 0:
                break
            self._fold, self._dots = self._fold or "i" in flags, self._dots or "s" in flags
            self._at = end + 1
        tree = self._either()
        if self._at < len(self._source):
            raise self._wrong("`)` without a `(`")
        return tree

    def _wrong(self, fault: str) -> PatternError:
        return PatternError(f"{fault}, at character {self._at + 1}")

    def _next(self) -> str:
        return self._source[self._at] if self._at < len(self._source) else ""

    def _take(self) -> str:
        char = self._next()
        if not char:
            raise self._wrong("the pattern ends too early")
        self._at += 1
        return char

    def _either(self) -> Node:
        """Alternatives up to a `)` or the end."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"groups are nested more than {MAX_DEPTH} deep")
        parts = [self._seq()]
        while self._next() == "|":
            self._at += 1
            parts.append(self._seq())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Node("either", tuple(parts))

    def _seq(self) -> Node:
        """Parts that follow one another."""
        parts: list[Node] = []
        while (char := self._next()) and char not in "|)":
            parts.append(self._repeated(self._atom()))
        return Node("seq", tuple(parts))

    def _atom(self) -> Node:
        """A character, a class, a group or an assertion."""
        char = self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return Node("char", test=self._class())
            case ".":
                return Node("char", test=_anything if self._dots else _no_newline)
            case "^" | "$":
                return Node("at", name=char)
            case "*" | "+" | "?":
                self._at -= 1
                raise self._wrong(f"`{char}` has nothing to repeat")
            case "\\":
                if self._next() in ("b", "B"):
                    return Node("at", name=self._take())
                return Node("char", test=self._escape())
            case _:
                return Node("char", test=self._plain(char))

    def _group(self) -> Node:
        """What stands between parentheses."""
        name, number = "", 0
        if self._next() == "?":
            self._at += 1
            kind = self._take()
            if kind == "P" and self._next() == "<":
                self._at += 1
                end = self._source.find(">", self._at)
                name = self._source[self._at : end] if end > 0 else ""
                if not name.isidentifier() or name in self.names:
                    raise self._wrong("a group needs a name of its own")
                self._at = end + 1
            elif kind != ":":
                raise self._wrong(f"`(?{kind}` is not for patterns here")
        if name or self._source[self._at - 2 : self._at] != "?:":
            self.count += 1
            number = self.count
            if name:
                self.names[name] = number
        inner = self._either()
        if self._next() != ")":
            raise self._wrong("`(` without a `)`")
        self._at += 1
        return Node("group", (inner,), number=number) if number else inner

    def _repeated(self, part: Node) -> Node:
        """A part with what stands behind it: `*`, `+`, `?`, `{2,5}`."""
        char, low, high = self._next(), 0, -1
        if char in ("*", "+", "?"):
            self._at += 1
            low, high = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[char]
        elif char == "{" and (bounds := self._bounds()):
            low, high = bounds
        else:
            return part
        greedy = self._next() != "?"
        self._at += not greedy
        if self._next() in ("*", "+", "?"):
            raise self._wrong("two repetitions one after the other")
        return Node("repeat", (part,), low=low, high=high, greedy=greedy)

    def _bounds(self) -> tuple[int, int] | None:
        """The numbers of `{2}`, `{2,}`, `{2,5}`; None for a brace that is none of them."""
        end = self._source.find("}", self._at)
        low, comma, high = self._source[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not (low.isascii() and low.isdigit()) or (high and not high.isdigit()):
            return None
        least = int(low) if len(low) < 5 else MAX_PROGRAM
        most = (int(high) if len(high) < 5 else MAX_PROGRAM) if high else (-1 if comma else least)
        if 0 <= most < least or max(least, most) >= MAX_PROGRAM:
            raise self._wrong("a repetition whose numbers cannot be")
        self._at = end + 1
        return least, most

    def _plain(self, char: str) -> Test:
        """A test for one character."""
        if self._fold:
            folded = char.lower()
            return lambda given: given.lower() == folded
        return lambda given: given == char

    def _escape(self) -> Test:
        """What a backslash means."""
        char = self._take()
        if char.lower() in "dws":
            return _kind(char)
        if char in _ESCAPED:
            return self._plain(_ESCAPED[char])
        if char.isalnum():
            raise self._wrong(f"`\\{char}` is not for patterns here")
        return self._plain(char)

    def _class(self) -> Test:
        """What stands in brackets."""
        tests: list[Test] = []
        other = self._next() == "^"
        self._at += other
        first = True
        while first or self._next() != "]":
            first = False
            tests.append(self._member())
        self._at += 1
        fold = self._fold

        def holds(given: str) -> bool:
            found = any(test(given) for test in tests)
            if not found and fold:
                found = any(test(given.lower()) or test(given.upper()) for test in tests)
            return found != other

        return holds

    def _member(self) -> Test:
        """One part of a class: a character, a range, `\\d`."""
        low = self._take()
        if low == "\\":
            low = self._take()
            if low.lower() in "dws":
                return _kind(low)
            if low.isalnum() and low not in _ESCAPED:
                raise self._wrong(f"`\\{low}` is not for patterns here")
            low = _ESCAPED.get(low, low)
        if self._next() != "-" or self._source[self._at + 1 : self._at + 2] in ("]", ""):
            return lambda given: given == low
        self._at += 1
        high = self._take()
        if high == "\\":
            high = self._take()
            if high.isalnum() and high not in _ESCAPED:
                raise self._wrong("a range ends with a character")
            high = _ESCAPED.get(high, high)
        if high < low:
            raise self._wrong("a range that ends before it begins")
        return lambda given: low <= given <= high


def _anything(given: str) -> bool:
    return True


def _no_newline(given: str) -> bool:
    return given != "\n"


def _kind(char: str) -> Test:
    """A test for `\\d`, `\\w`, `\\s`, or with a capital letter for everything else."""
    tests: dict[str, Test] = {"d": str.isdecimal, "w": word, "s": lambda given: given in _SPACE}
    test = tests[char.lower()]
    return test if char.islower() else lambda given: not test(given)
