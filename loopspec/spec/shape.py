"""Shape: does a document have the forms the key tables give it? Finds every fault in one walk.

Rules of this file:
1. Only forms are judged here: keys, kinds of nodes, literals. Names and references come later.
2. A fault is reported at the value, a missing key at the key that owns the map.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, assert_never

from loopspec.spec import literals
from loopspec.spec.diagnose import Diagnostics, Located, listing, nearest, quote
from loopspec.spec.forms import (
    Bag,
    Duration,
    Either,
    Flag,
    Form,
    Json,
    Many,
    Named,
    Record,
    Share,
    Table,
    Text,
    Usd,
    Version,
    Whole,
)
from loopspec.spec.keys import TABLES
from loopspec.spec.source import Entry, Node

_KINDS: Final = {"scalar": "a value", "map": "a map", "list": "a list"}
_WHAT: Final[dict[type | None, str]] = {
    Text: "a choice",
    Whole: "a whole number",
    Version: "the number 1",
    Duration: "a duration",
    Usd: "an amount of USD",
    Share: "a share from 0 to 1",
    Flag: "true or false",
}
# What other state machines and other loops call our keys.
_ELSEWHERE: Final = {
    **dict.fromkeys(("cond", "condition", "if", "when", "where", "in"), ("guard",)),
    **dict.fromkeys(("onDone", "on_done", "finally"), ("done",)),
    **dict.fromkeys(("onEntry", "on_entry", "enter", "before"), ("entry",)),
    **dict.fromkeys(("onExit", "on_exit", "leave"), ("exit",)),
    **dict.fromkeys(("transitions", "events", "routes", "handlers"), ("on",)),
    **dict.fromkeys(("invoke", "do", "run", "activity"), ("kind",)),
    **dict.fromkeys(("goto", "next", "to", "then"), ("target",)),
    **dict.fromkeys(("timeout", "delay", "timeouts", "deadline"), ("after", "deadlines")),
    **dict.fromkeys(("steps", "nodes", "children", "regions"), ("states",)),
    **dict.fromkeys(("start", "entrypoint", "begin"), ("initial",)),
    **dict.fromkeys(("print", "message", "echo"), ("say",)),
    **dict.fromkeys(("variables", "state", "data"), ("vars",)),
    **dict.fromkeys(("params", "parameters", "arguments"), ("inputs", "with")),
    **dict.fromkeys(("limits", "limit", "max_turns", "max_iterations"), ("budgets",)),
    **dict.fromkeys(("permissions", "policy", "policies", "rules"), ("authority",)),
    **dict.fromkeys(("provider", "model", "name", "command", "implementation"), ("use",)),
    **dict.fromkeys(("ignore", "noqa", "disable", "allow_warnings"), ("accept",)),
}
_DOCUMENT: Final = "the document"
LATER: Final = "remove it; this key is reserved for a later version"


def describe(node: Node) -> str:
    """What stands here, in a few words."""
    if node.kind != "scalar":
        return _KINDS[node.kind]
    return "nothing" if node.empty else quote(node.text)


def unknown_key(found: Diagnostics, entry: Entry, owner: str, known: Sequence[str]) -> tuple[str, ...]:
    """Report a key that does not exist, with the ones that do; gives back what may have been meant."""
    fault = f"{quote(entry.key)} is no key of {owner}"
    near = nearest(entry.key, known) or tuple(k for k in _ELSEWHERE.get(entry.key, ()) if k in known)
    remedy = "correct or remove it" if near else f"use one of {listing(known, 20)}"
    found.add("LS101", entry, fault, remedy, near)
    return near


class Shape:
    """Checks nodes against forms and notes what does not fit."""

    def __init__(self, found: Diagnostics) -> None:
        """Faults go to `found`."""
        self._found = found

    def document(self, root: Node) -> None:
        """Check a whole spec."""
        self.check(root, Record("spec"), _DOCUMENT, root)

    def check(self, node: Node, form: Form, label: str, at: Located) -> None:
        """Check one value; `label` names it in messages, `at` is the key that owns it."""
        match form:
            case Json():
                return
            case Record(table):
                if self._is(node, "map", label, form):
                    self._record(node, TABLES[table], label, at)
            case Named():
                if self._is(node, "map", label):
                    self._named(node, form, label)
            case Many(item, least):
                if self._is(node, "list", label):
                    self._least(node, len(node.items), least, label, "item")
                    for inner in node.items:
                        self.check(inner, item, f"an item of {label}", inner)
            case Bag():
                self._is(node, "map", label)
            case Either():
                self._either(node, form, label, at)
            case Text() | Whole() | Version() | Duration() | Usd() | Share() | Flag():
                if self._is(node, "scalar", label, form):
                    self._scalar(node, form, label)
            case other:
                assert_never(other)

    def _is(self, node: Node, kind: str, label: str, form: Form | None = None) -> bool:
        if node.kind == kind and not node.empty:
            return True
        what = _WHAT.get(type(form), _KINDS[kind])
        if isinstance(form, Text) and not form.choices:
            what = form.what
        fault = f"{label} must be {what}, here stands {describe(node)}"
        remedy = "write it, or remove the key" if node.empty else f"write {what}{_such(form)}"
        if label == _DOCUMENT:
            remedy = "begin with `loopspec: 1`; a space follows the colon after each key"
        self._found.add("LS103", node, fault, remedy)
        return False

    def _least(self, node: Node, has: int, least: int, label: str, what: str) -> None:
        if has < least:
            fault = f"{label} must have at least {least} {what}"
            self._found.add("LS103", node, fault, f"add the {what}, or remove the key")

    def _record(self, node: Node, table: Table, label: str, at: Located) -> None:
        meant: set[str] = set()
        for entry in node.entries:
            key = table.key(entry.key)
            if key is not None:
                self.check(entry.value, key.form, f"`{key.name}`", entry)
            elif entry.key in table.reserved:
                fault = f"{quote(entry.key)} is not in this version"
                self._found.add("LS901", entry, fault, LATER)
            elif table.single:
                fault = f"{quote(entry.key)} is no action"
                near = nearest(entry.key, table.names)
                self._found.add("LS312", entry, fault, f"use {listing(table.names)}", near)
            elif not table.open:
                meant.update(unknown_key(self._found, entry, label, table.names)[:1])
        if table.single and len(node.entries) != 1:
            fault = f"{label} must have exactly one key, here are {len(node.entries)}"
            self._found.add("LS312", node, fault, "write each action as an item of its own")
        for key in table.keys:
            if key.required and node.entry(key.name) is None and key.name not in meant:
                fault = f"{label} lacks the key `{key.name}`"
                remedy = f"add `{key.name}: {_sample(key.example)}`, for example"
                self._found.add("LS102", at, fault, remedy)

        there = {entry.key for entry in node.entries} | meant
        if table.either and not there & {*table.either}:
            first, *others = (table.key(name) for name in table.either)
            assert first is not None
            more = "".join(f", or `{other.name}`" for other in others if other is not None)
            fault = f"{label} lacks the key `{first.name}`"
            remedy = f"add `{first.name}: {_sample(first.example)}`, for example{more}"
            self._found.add("LS102", at, fault, remedy)

    def _named(self, node: Node, form: Named, label: str) -> None:
        self._least(node, len(node.entries), form.least, label, "entry")
        for entry in node.entries:
            if form.names.code == "LS105":
                self._duration(entry.key, entry, 1, "the time")
            else:
                self._text(entry.key, entry, form.names, f"a name in {label}")
            self.check(entry.value, form.value, quote(entry.key), entry)

    def _either(self, node: Node, form: Either, label: str, at: Located) -> None:
        forms = {"scalar": form.scalar, "map": form.map, "list": form.list}
        chosen = forms[node.kind]
        if chosen is not None and not node.empty:
            self.check(node, chosen, label, at)
            return
        words = [_word(kind, one) for kind, one in forms.items() if one is not None]
        allowed = ", ".join(words[:-1]) + f" or {words[-1]}"
        fault = f"{label} must be {allowed}, here stands {describe(node)}"
        self._found.add("LS103", node, fault, f"write {allowed}")

    def _scalar(
        self,
        node: Node,
        form: Text | Whole | Version | Duration | Usd | Share | Flag,
        label: str,
    ) -> None:
        match form:
            case Text():
                self._text(node.text, node, form, label)
            case Whole():
                self._whole(node, form, label)
            case Version():
                if literals.whole(node.text) != 1:
                    fault = f"this program reads version 1 of the language, not {quote(node.text)}"
                    self._found.add("LS109", node, fault, "write `loopspec: 1`")
            case Duration(least):
                self._duration(node.text, node, least, label)
            case Usd():
                if not literals.usd(node.text):
                    fault = f"{label} must be an amount of USD above 0, here stands"
                    remedy = "write a decimal with at most nine places, such as 3.00"
                    self._found.add("LS107", node, f"{fault} {quote(node.text)}", remedy)
            case Share():
                if literals.share(node.text) is None:
                    fault = f"{label} must be a share from 0 to 1, here stands {quote(node.text)}"
                    remedy = "write a decimal with at most six places, such as 0.80"
                    self._found.add("LS108", node, fault, remedy)
            case Flag():
                if not isinstance(node.value, bool):
                    fault = f"{label} must be true or false, here stands {quote(node.text)}"
                    self._found.add("LS104", node, fault, "write `true` or `false`")
            case other:
                assert_never(other)

    def _text(self, text: str, at: Located, form: Text, label: str) -> None:
        if form.choices and text not in form.choices:
            fault = f"{label} cannot be {quote(text)}"
            near = nearest(text, form.choices)
            self._found.add(form.code, at, fault, f"use one of {listing(form.choices)}", near)
        elif form.pattern and not _compiled(form.pattern).fullmatch(text):
            fault = f"{label} cannot be {quote(text)}"
            self._found.add(form.code, at, fault, f"write {form.what}")
        elif form.code == "LS110" and not literals.semver(text):
            fault = f"{label} must be a semantic version, here stands {quote(text)}"
            self._found.add("LS110", at, fault, "write three numbers, such as 1.0.0")

    def _whole(self, node: Node, form: Whole, label: str) -> None:
        value = (literals.count if form.units else literals.whole)(node.text)
        if value is not None and form.least <= value <= form.most:
            return
        most = "" if form.most == literals.MAX_INT else f" and at most {form.most}"
        if len(node.text) > 15 and node.text.isdigit():
            most = f" and at most {form.most}"
        fault = (
            f"{label} must be a whole number of at least {form.least}{most}, "
            f"here stands {quote(node.text)}"
        )
        example = "such as 500000, 500k or 1M" if form.units else "such as 10"
        self._found.add("LS106", node, fault, f"write a number {example}")

    def _duration(self, text: str, at: Located, least: int, label: str) -> None:
        value = literals.duration(text)
        if value is not None and value >= least:
            return
        fault = f"{label} must be a duration, here stands {quote(text)}"
        if value is not None:
            fault = f"{label} must be longer than {quote(text)}"
        bare = literals.whole(text) is not None
        remedy = f"write the unit: {text}s, {text}m or {text}h" if bare else "write such as 90s"
        self._found.add("LS105", at, fault, f"{remedy}; units are ms, s, m, h, d")


def _sample(example: str) -> str:
    """An example, which is JSON, as one would write it in YAML: words stand without quotes."""
    return re.sub(r'"([A-Za-z][\w./*-]*|[0-9]+(?:\.[0-9]+)+)"', r"\1", example)


def _word(kind: str, form: Form) -> str:
    """What a value of this kind is called."""
    return form.what if isinstance(form, Text) and not form.choices else _KINDS[kind]


def _such(form: Form | None) -> str:
    """An example of a map that has to have some keys."""
    keys = [key for key in TABLES[form.table].keys if key.required] if isinstance(form, Record) else []
    shown = ", ".join(f"{key.name}: {_sample(key.example)}" for key in keys)
    return f" such as {{{shown}}}" if shown and len(keys) < 4 else ""


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)
