"""Mutate: one broken spec out of good and bad ones, at the level of bytes, lines, words or the tree.

Rules of this file:
1. All chance comes from the `Random` given; the same one makes the same mutant.
2. Mutants stay small where nothing is gained by size, so that many can be made.
"""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

Tree = Any
_WORD: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*|[0-9][0-9.]*[a-zA-Z]*|\"[^\"\n]*\"|'[^'\n]*'")
_KEYS: Final = (
    *("on", "guard", "target", "actions", "say", "kind", "type", "states", "initial", "always"),
    *("after", "entry", "exit", "done", "deep", "outcome", "model", "prompt", "tools", "boundary"),
    *("accept", "assign", "raise", "mark", "log", "text", "to", "use", "with", "params", "default"),
    *("include", "properties", "tiers", "on_stall", "internal", "clock", "for", "LS708", "*", "x"),
    *("model.*", "budget.exhausted", "5m", "1h", "a.b", "effect.lost", "user.message"),
)
_PLAIN: Final = (
    *("", "~", "null", "true", "on", "010", "1:30", "0x1f", "1e9", "1e999999", "-0", "-1", ".5"),
    *("9" * 400, "0." + "0" * 300 + "1", "1e-400", ".inf", ".nan", "90s", "5m", "0s", "1.5h"),
    *("9" * 30 + "s", "1M", "3.00", "0.80", "1.0.0", "history", "final", "parallel", "compound"),
    *("model", "tools", "gate", "approval", "compact", "interrupt", "wait", "input", "lint"),
    *("working", "working.resume", "ready", "a.b.c.d", ".", "..", "a.", ".a", "*", "model.*"),
    *("user.message", "model.replied", "done.state.working", "after.x.0", "LS701", "LS790", "LS999"),
)
_GUARDS: Final = (
    *("event.text", "size(event.calls) > 0", "vars.attempts + 1", "usage.cost_usd > 1", "1/0 == 1"),
    *("true", "false", "!" * 900 + "true", "(" * 900 + "1" + ")" * 900, "1+" * 900 + "1 > 0"),
    "[" * 400 + "]" * 400 + " == []",
    "{'a': " * 200 + "1" + "}" * 200 + " == {}",
    "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, a+b+c > 0)))",
    "[1,2].map(a, [1,2].map(b, [1,2].map(c, [1,2].map(d, [a,b,c,d])))).size() > 0",
    "event.calls.all(a, event.calls.all(b, event.calls.all(c, a.tool == b.tool)))",
    *("'" + "a" * 900 + "'.matches('(a+)+$')", "event.text.matches('(((((a*)*)*)*)*)*b')"),
    *("event.text.matches('a{1000}{1000}')", "event.text.matches('[')", "duration('xx') > usage.elapsed"),
    *("timestamp('0000') < timestamp('9999-99-99T00:00:00Z')", "int('x') > 1", "'\\u{110000}' == ''"),
    *("has(event.x.y)", "has(vars)", "vars.vars", "in", "event.in", "x.y.z", "a ? b : c", "'''", '"""'),
    *("dyn(1) == 'a'", "type(1) == int", "vars['attempts'] > 1", "b'\\xff' == b''", "r'\\' == ''", "//"),
    *("9223372036854775807 + 1 > 0", "-9223372036854775808 < 0", "1u - 2u > 0u", "ls.Vars{}", "google"),
    *("string(1.0/0.0) == ''", "event.a" + ".a" * 400, "x && " * 300 + "x", "true || " * 200 + "event.q"),
)
_TEXTS: Final = (
    *("{{", "}}", "{%", "{% %}", "{{ }}", "{# ", "{% raw %}", "{{ x }}", "{{ event.reason }}"),
    *(
        "{{ inputs.task * 100000000 }}",
        "{{ 'x' * 100000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ [0] * 9999999 }}",
    ),
    *("{% for a in b %}" * 30 + "{% endfor %}" * 30, "{% if 1 %}" * 300 + "{% endif %}" * 300),
    *(
        "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
        "{{ " + "-" * 900 + "1 }}",
        "{{ 1" + "+1" * 900 + " }}",
    ),
    *(
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% set event = 1 %}{{ event }}",
    ),
    *(
        "{{ ''.__class__.__mro__ }}",
        "{{ inputs.__class__ }}",
        "{{ inputs['task'] }}",
        "{{ vars | tojson }}",
    ),
    *(
        "{{ x | nosuch }}",
        "{{ x is nosuch }}",
        "{{ self }}",
        "{{ caller() }}",
        "{% block a %}{% endblock %}",
    ),
    *("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ 'a'.join(inputs) }}", "{{ {}[1] }}"),
    *(
        "{{ inputs" + ".a" * 400 + " }}",
        "{{ " + "[" * 120 + "]" * 120 + " }}",
        "{{ 9" + "9" * 5000 + " }}",
    ),
    *(
        "{{ '%s' % x }}",
        "{{ x ~ x }}",
        "{% filter upper %}a{% endfilter %}",
        "{% call x() %}{% endcall %}",
    ),
    *(
        "{% for event in [1] %}{{ event.x }}{% endfor %}",
        "{{ inputs.items() }}",
        "{% trans %}",
        "{% do x %}",
    ),
    "{%- set ns = namespace(a=1) -%}",
)
_STRANGE: Final = (
    *("\x00", "\x07", "\x7f", "\x85", "\u2028", "\ufeff", "\u202e", "\u200b", "\U0001f9a5", "é", "한글"),
    *(
        "\ufffe",
        "e\u0301" * 40,
        "\\",
        '"\\ud800"',
        '"\\x00"',
        '"\\u2028"',
        "'",
        '"',
        "`",
        "%",
        "@",
        "|",
        ">-",
    ),
    *(
        "x" * 5_000,
        "a: " * 60,
        "[" * 60,
        "{a: " * 60,
        "[" * 4_000,
        "- " * 120,
        "? " * 60,
        "{" * 40 + "}" * 40,
    ),
    *(
        "&a [*a, *a]",
        "&a",
        "*a",
        "<<: *a",
        "<<: {on: x}",
        "!!python/object/apply:os.getcwd []",
        "!!binary aGk=",
    ),
    *(
        "!!set {a, b}",
        "!<tag:yaml.org,2002:int> 1",
        "!local x",
        "%YAML 1.2\n---",
        "%TAG ! x:\n---",
        "---",
        "...",
    ),
    *(
        "\t",
        "\r",
        "\r\n\r\n",
        "# c",
        ": ",
        "- ",
        ",",
        "?",
        "[]",
        "{}",
        "{[a]: b}",
        "? {a: b}\n: c",
        "[a, b",
    ),
    *("sk-ant-abcdefghijklmnopqrstuvwxyz", "ghp_" + "a" * 36, "AKIAABCDEFGHIJKLMNOP", "https://a:b@c.d/"),
)
_AIMED: Final = frozenset({"guard", "say", "text", "log", "system"})


class Mutator:
    """Makes one mutant."""

    def __init__(self, chance: Random, corpus: list[bytes], trees: list[Tree]) -> None:
        """`corpus` are texts of specs; `trees` the plain data of those that are YAML."""
        self._r = chance
        self._corpus = corpus
        self._trees = trees

    def make(self) -> bytes:
        """The mutant's bytes."""
        r = self._r
        if r.random() < 0.5:
            data, rounds = self._from_tree(), r.choice((0, 0, 0, 0, 1, 2))
        else:
            data, rounds = r.choice(self._corpus), r.choice((1, 1, 1, 2, 2, 3, 6))
        ways: tuple[Callable[[bytes], bytes], ...] = (self._bytes, self._lines, self._words)
        for _ in range(rounds):
            data = r.choices(ways, (1, 3, 6))[0](data)
        return data[:60_000]

    # ------------------------------------------------------------ bytes

    def _bytes(self, data: bytes) -> bytes:
        r = self._r
        at, to = self._span(len(data), 40)
        part = data[at:to]
        return r.choice(
            (
                data[:at] + data[to:],
                data[:to] + part + data[to:],
                data[:at],
                data[:at] + bytes([r.randrange(256)]) + data[at + 1 :],
                data[:at] + bytes(r.randrange(256) for _ in range(3)) + data[at:],
                data[:at] + part[::-1] + data[to:],
                data[:at] + self._nasty().encode("utf-8", "surrogatepass") + data[to:],
            )
        )

    def _span(self, size: int, most: int) -> tuple[int, int]:
        at = self._r.randint(0, size)
        return at, min(size, at + self._r.randint(0, most))

    # ------------------------------------------------------------ lines

    def _lines(self, data: bytes) -> bytes:
        r = self._r
        lines = data.split(b"\n")
        at, to = self._span(len(lines), 4)
        other, more = r.randint(0, len(lines)), self._strange_lines()
        part = lines[at:to]
        rest = lines[:at] + lines[to:]
        made = r.choice(
            (
                rest,
                lines[:to] + part + lines[to:],
                rest[:other] + part + rest[other:],
                lines[:at] + [b"  " + x for x in part] + lines[to:],
                lines[:at] + [x.removeprefix(b"  ") for x in part] + lines[to:],
                lines[:at] + more + lines[to:],
                lines[:at] + part[::-1] + lines[to:],
            )
        )
        return b"\n".join(made)

    def _strange_lines(self) -> list[bytes]:
        lines = self._r.choice(self._corpus).split(b"\n")
        at, to = self._span(len(lines), 6)
        return lines[at:to]

    # ------------------------------------------------------------ words

    def _words(self, data: bytes) -> bytes:
        r = self._r
        found = list(_WORD.finditer(data))
        if not found:
            return data + self._nasty().encode("utf-8", "surrogatepass")
        hit = r.choice(found)
        new = r.choice((self._typo, self._borrowed, self._same, self._evil))(hit[0], data)
        return data[: hit.start()] + new + data[hit.end() :]

    def _typo(self, word: bytes, _: bytes) -> bytes:
        if len(word) < 2:
            return word + word
        at = self._r.randrange(len(word) - 1)
        swapped = word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]
        return self._r.choice((swapped, word[:at] + word[at + 1 :], word[: at + 1] + word[at:]))

    def _borrowed(self, _: bytes, __: bytes) -> bytes:
        words = _WORD.findall(self._r.choice(self._corpus)) or [b"x"]
        return bytes(self._r.choice(words))

    def _same(self, _: bytes, data: bytes) -> bytes:
        return bytes(self._r.choice(_WORD.findall(data)))

    def _evil(self, _: bytes, __: bytes) -> bytes:
        text = self._nasty()
        if self._r.random() < 0.6:
            text = json.dumps(text, ensure_ascii=self._r.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")

    def _nasty(self) -> str:
        return self._r.choice(self._r.choice((_PLAIN, _GUARDS, _TEXTS, _STRANGE)))

    # ------------------------------------------------------------ trees

    def _from_tree(self) -> bytes:
        r = self._r
        tree = json.loads(json.dumps(r.choice(self._trees)))
        for _ in range(r.choice((1, 1, 2, 3, 5))):
            tree = self._changed(tree)
        text = json.dumps(tree, ensure_ascii=r.random() < 0.5, indent=r.choice((None, 1)))
        return text.encode("utf-8", "surrogatepass")

    def _changed(self, tree: Tree) -> Tree:
        r = self._r
        places = list(_places(tree))
        if not places:
            return r.choice(self._trees)
        owner, key = r.choice(places)
        aimed = [(o, k) for o, k in places if k in _AIMED and isinstance(o[k], str)]
        what = r.randrange(10)
        if what >= 8 and aimed:
            owner, key = r.choice(aimed)
            owner[key] = r.choice(_GUARDS if key == "guard" else _TEXTS)
        elif what == 0:
            del owner[key]
        elif what == 1:
            owner[key] = self._leaf()
        elif what == 2:
            owner[key] = self._subtree()
        elif what == 3:
            again, at = r.choice(places)
            owner[key], again[at] = again[at], owner[key]
            if _deep(tree):  # a subtree put into itself
                again[at] = self._leaf()
                return None if _deep(tree) else tree
        elif what == 4 and isinstance(owner, dict):
            owner[self._key()] = owner[key]
        elif what == 5 and isinstance(owner, dict):
            owner[self._key()] = r.choice((self._leaf, self._subtree))()
        elif what == 6:
            owner[key] = r.choice(([owner[key]], {self._key(): owner[key]}, [owner[key]] * 3))
        else:
            owner[key] = self._leaf()
        return json.loads(json.dumps(tree))

    def _key(self) -> str:
        return self._r.choice(_KEYS) if self._r.random() < 0.8 else self._nasty()

    def _leaf(self) -> Tree:
        r = self._r
        if r.random() < 0.15:
            return r.choice((None, True, 0, -1, 10**30, 1.5, 1e300, [], {}, "", [[]], {"": None}))
        return self._nasty()

    def _subtree(self) -> Tree:
        owner, key = self._r.choice(list(_places(self._r.choice(self._trees))) or [([0], 0)])
        return owner[key]


def _places(tree: Tree) -> Any:
    """Every place in a tree, as its owner and the key there."""
    stack = [tree]
    while stack:
        here = stack.pop()
        keys = (
            list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        )
        for key in keys:
            yield here, key
            stack.append(here[key])


def _deep(tree: Tree) -> bool:
    """Whether a tree holds itself."""
    try:
        json.dumps(tree)
    except (ValueError, RecursionError):
        return True
    return False
