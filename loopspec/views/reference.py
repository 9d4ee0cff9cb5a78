"""Reference: the page of the language, written from the key tables the parser reads by.

Rules of this file:
1. Every table of the language has a section; every key a row with its form, default and an example.
2. The block under a table is made of the keys' own examples, so nothing is said twice.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, assert_never

from loopspec.spec.forms import (
    Bag,
    Duration,
    Either,
    Flag,
    Form,
    Json,
    Key,
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
from loopspec.spec.literals import MAX_INT
from loopspec.spec.tierkeys import MODEL_KEYS
from loopspec.views import reference_prose as prose
from loopspec.views.reference_page import bullets, code, fence, head, page, table
from loopspec.views.reference_yaml import block, flow

TITLES: Final[Mapping[str, str]] = {
    "spec": "The document",
    "input": "An input",
    "var": "A var",
    "model": "A model",
    "deadlines": "Deadlines of a model",
    "retry": "Retries of a model",
    "breaker": "A model that is left out",
    "tier": "A tier of a model",
    "tier_rule": "A rule of a tier",
    "tier_call": "A call of a rule",
    "escalation": "Escalation",
    "outbox": "The outbox",
    "tool": "A tool",
    "tool_deadlines": "Deadlines of a tool",
    "guidance": "Guidance",
    "budgets": "Budgets",
    "context": "Context",
    "weights": "Weights of the context",
    "authority": "Authority",
    "rule": "A rule of the authority",
    "state": "A state",
    "smaller": "A smaller profile",
    "transition": "A transition",
    "after": "A transition after a time",
    "say": "A text to show",
    "action": "An action",
}
# In a block of examples: keys that do not go with the others, and values that do.
_APART: Final = {"accept", "guard", "internal", *("rules", "privacy"), *(k.name for k in MODEL_KEYS)}
_TOGETHER: Final[Mapping[tuple[str, str], Any]] = {
    ("tool", "use"): "shell.run",
    ("tool", "description"): "Runs a command of the project.",
}


def language_page() -> str:
    """`language.md`: the whole language."""
    parts = [
        head(
            "The language, version 1",
            "A spec is one YAML document. Its keys are all here; a key that is not here is refused, "
            "with the near ones named. What a state does is told by its [kind](kinds.md), what can "
            "happen by the [events](events.md), what the model can do by the [tools](tools.md).",
            "An editor with a YAML language server shows the same words, completes keys and marks "
            "faults, when the first line of a spec names the schema:",
        ),
        "```yaml\n# yaml-language-server: $schema=../schemas/loopspec-1.schema.json\n```",
        "`loopspec schema` writes that schema; `loopspec schema --merged` writes one that also knows "
        "every installed plugin, and no other kinds and tools.",
    ]
    links = [f"[{TITLES[name]}](#{anchor(TITLES[name])})" for name in TABLES]
    parts.append(bullets(links))
    for one in TABLES.values():
        parts += _section(one)
        if one.name == "state":
            parts += prose.type_parts()
        if one.name == "after":
            parts += prose.transition_parts()
    parts += [*prose.literal_parts(), *prose.guard_parts(), *prose.text_parts()]
    return page(parts)


def anchor(title: str) -> str:
    """The anchor of a heading, as Markdown pages make them."""
    return title.lower().replace(" ", "-")


def words(form: Form) -> str:
    """What a value must be, in words."""
    match form:
        case Json():
            return "any JSON value"
        case Bag():
            return "a map of free values"
        case Record(name):
            title = TITLES[name]
            return f"[{title[:1].lower()}{title[1:]}](#{anchor(title)})"
        case Many(item, least):
            some = " with at least one item" if least else ""
            return f"a list{some}, each {words(item)}"
        case Named(names, value, least):
            some = " with at least one entry" if least else ""
            return f"a map{some}: {names.what} → {words(value)}"
        case Either(scalar, map_form, list_form):
            return ", or ".join(words(f) for f in (scalar, map_form, list_form) if f is not None)
        case Text():
            return "one of " + code(form.choices) if form.choices else form.what
        case Whole():
            most = "" if form.most == MAX_INT else f" to {form.most}"
            return f"a whole number from {form.least}{most}" + (", `500k` or `1M`" if form.units else "")
        case Version():
            return "the number 1"
        case Duration(least):
            return "a duration such as `90s`" + ("" if least else ", also `0s`")
        case Usd():
            return "an amount of USD above 0"
        case Share():
            return "a share from 0 to 1"
        case Flag():
            return "`true` or `false`"
        case other:
            assert_never(other)


def example(one: Table) -> Any:
    """An example of a whole table, of the examples of its keys; for actions a list of all of them."""
    made = {
        key.name: _TOGETHER.get((one.name, key.name), json.loads(key.example))
        for key in one.keys
        if key.name not in _APART
    }
    return [{name: value} for name, value in made.items()] if one.single else made


def _section(one: Table) -> list[str]:
    parts = [f"## {TITLES[one.name]}", one.doc]
    parts.append(table(("Key", "Value", "Default", "Meaning", "Example"), map(_row, one.keys)))
    parts += [_choices(key) for key in one.keys]
    if one.reserved:
        parts.append(f"Reserved, and refused in this version: {code(one.reserved)}.")
    if one.name == "spec":
        parts.append(fence("spec", prose.WHOLE))
    elif one.name != "state":
        parts.append(fence(f"table={one.name}", block(example(one))))
    return parts


def _row(key: Key) -> tuple[str, ...]:
    default = "**required**" if key.required else ""
    if key.default:
        default = f"`{flow(json.loads(key.default))}`"
    shown = flow({key.name: json.loads(key.example)})[1:-1]
    return f"`{key.name}`", words(key.form), default, key.doc, f"`{shown}`"


def _choices(key: Key) -> str:
    """What each choice of a key means."""
    form = key.form.item if isinstance(key.form, Many) else key.form
    if not isinstance(form, Text) or not form.meanings:
        return ""
    told = zip(form.choices, form.meanings, strict=True)
    return f"`{key.name}` is one of:\n\n" + bullets(f"`{name}`: {said}" for name, said in told)
