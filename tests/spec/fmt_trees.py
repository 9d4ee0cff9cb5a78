"""Generated YAML texts for the tests of `fmt`: both styles, comments and empty lines anywhere."""

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

KEYS: Final = [
    *("loopspec", "name", "version", "states", "on", "initial", "target", "guard", "actions"),
    *("assign", "say", "kind", "always", "after", "accept", "tools", "models", "params", "x y"),
    *('"quoted"', "'it''s'", "a.b", "9", "é", "model.*", "-k", "working", "ready"),
]
PLAIN: Final = ["1", "text", "two words", "1.50", "true", "null", "a#b", "x:y", "-1", "é 日本"]
QUOTED: Final = ['""', "''", '"a: b # c"', "'it''s'", '"\\"\\ "', '"{{ x }}, [y]"', '"\\u00e9"']
OPEN: Final = ["a, b", "it's", "x] }", "a {b"]
MULTI: Final = [
    '"one\n{}  two \n\n{}three\\\n{}four\\ \n{} x"',
    "'one\n\n{} two'",
    "one\n{}two\n\n{}three",
]
LITERAL: Final = [
    ["one", "two"],
    ["one", "", "  deeper", "# no comment", "", ""],
    ["", "one  ", "     ", "\ttab", ""],
    [],
    ["", ""],
]


class Writer:
    """Writes one random text; every comment has a number of its own."""

    def __init__(self, draw: Callable[[Any], Any], keys: list[str]) -> None:
        self.draw = draw
        self.keys = keys
        self.count = 0
        self.lines: list[str] = []

    def some(self, of: int) -> bool:
        """True once in `of` times."""
        return int(self.draw(st.integers(0, of - 1))) == of - 1

    def one(self, choices: list[Any]) -> Any:
        """One of these."""
        return self.draw(st.sampled_from(choices))

    def comment(self) -> str:
        """The next comment."""
        self.count += 1
        return f"# c{self.count}"

    def beside(self) -> str:
        """A comment behind something, or a space at the end of a line, or nothing."""
        if self.some(5):
            return " " * self.one([1, 2, 7]) + self.comment()
        return self.one(["", "", "", " "])

    def between(self, indent: int) -> None:
        """Comments on lines of their own and empty lines, anywhere."""
        while self.some(4):
            if self.some(2):
                self.lines.append(self.one(["", "", "   "]))
            else:
                self.lines.append(
                    " " * max(0, indent + self.one([0, 0, 0, -2, -4, 2, 3])) + self.comment()
                )

    def flow(self, depth: int) -> str:
        """A value in brackets."""
        gap = "\n" + " " * 30
        kind = self.one(["scalar", "scalar", "map", "list"]) if depth < 3 else "scalar"
        if kind == "scalar":
            return self.one(
                [*PLAIN, *QUOTED, *([MULTI[1].replace("{}", " " * 40)] if self.some(4) else [])]
            )
        parts: list[str] = []
        keys = self.draw(st.lists(st.sampled_from(self.keys), max_size=4, unique=True))
        for key in keys:
            value = self.flow(depth + 1)
            space = self.one(["", " ", "  ", f" {self.comment()}{gap}", gap] if self.some(3) else [""])
            if kind == "list":
                parts.append(space + (f"{key}: {value}" if self.some(6) else value))
            else:
                parts.append(space + (key if self.some(8) else f"{key}: {value}"))
        end = self.one(
            ["", " ", f" {self.comment()}{gap}", f",{gap}"] if parts and self.some(3) else [""]
        )
        joint = self.one([",", ", ", " , "])
        words = joint.join(parts) + end
        return f"{{{words}}}" if kind == "map" else f"[{words}]"

    def scalar(self, first: str, indent: int) -> None:
        """A scalar behind `first`, whose block stands at `indent`."""
        choice = self.one(["plain", "plain", "quoted", "multi", "literal", "flow", "flow", "below"])
        if choice == "literal":
            extra = self.one([1, 2, 3, 4])
            digit = self.one(["", str(extra)])
            sign = self.one(["|", ">"]) + digit + self.one(["", "+", "-"])
            side = f"  {self.comment()}" if self.some(4) else ""
            self.lines.append(f"{first} {sign}{side}")
            for line in self.one(LITERAL):
                self.lines.append(" " * (indent + extra) + line if line else "")
            return
        if choice == "below":
            self.lines.append(first + self.beside())
            self.between(indent + 4)
            self.lines.append(
                " " * (indent + self.one([1, 4])) + self.one([*PLAIN, *QUOTED]) + self.beside()
            )
            return
        words = {
            "plain": lambda: self.one([*PLAIN, *OPEN]),
            "quoted": lambda: self.one(QUOTED),
            "multi": lambda: self.one(MULTI).replace("{}", " " * (indent + self.one([1, 2, 5]))),
            "flow": lambda: self.flow(0),
        }[choice]()
        self.lines.append(f"{first}{self.one([' ', ' ', '   '])}{words}{self.beside()}")

    def block(self, indent: int, depth: int, before: str = "") -> None:
        """A block collection; `before` stands before its first key or dash."""
        listed = depth > 0 and self.some(3)
        keys = self.draw(st.lists(st.sampled_from(self.keys), min_size=1, max_size=4, unique=True))
        for n, key in enumerate(keys):
            if n or not before:
                self.between(indent)
            lead = before if n == 0 and before else " " * indent
            first = lead + "-" if listed else lead + key + ":"
            kind = self.one(["scalar", "scalar", "block", "null"]) if depth < 3 else "scalar"
            if kind == "scalar":
                self.scalar(first, indent)
            elif kind == "null":
                self.lines.append(first + self.beside())
            elif listed and self.some(2):
                self.block(indent + 2, depth + 1, first + " ")
            else:
                self.lines.append(first + self.beside())
                self.block(indent + self.one([1, 2, 4]), depth + 1)
        self.between(indent)


@st.composite
def texts(draw: Callable[[Any], Any], keys: list[str] | None = None) -> str:
    """A YAML text; with `keys` only these keys."""
    writer = Writer(draw, keys or KEYS)
    if writer.some(6):
        writer.lines.append(writer.one(["---", "%YAML 1.1\n---", "--- # begins", "# before\n---"]))
    if writer.some(8):
        writer.between(0)
        writer.lines.append(writer.flow(0) + writer.beside())
        writer.between(0)
    else:
        writer.block(0, 0)
    if writer.some(8):
        writer.lines.append("...")
    text = "\n".join(writer.lines)
    text += writer.one(["\n", "\n", "\n", "", "\n\n\n"])
    return writer.one(["", "", "", "\ufeff"]) + text.replace("\n", writer.one(["\n", "\n", "\r\n"]))
