"""Reference lists: the pages of events, kinds and tools, each from the facts of every single one."""

from collections.abc import Iterable, Mapping
from typing import Final

from loopspec.machine.model import Kind
from loopspec.spec.helpwords import first_sentence
from loopspec.spec.job import ToolInfo
from loopspec.views.reference_facts import EventHelp, KeyHelp, event_helps, kind_help, tool_help
from loopspec.views.reference_page import bullets, code, fence, head, page, table

SORTS: Final[Mapping[str, str]] = {
    "command": "Commands: what a person or a program asks. Only commands can be refused.",
    "fact": "Facts: what has happened. They are never refused; one that nobody routes is noted.",
    "derived": "Derived events: raised by the core itself, within the step of what caused them.",
    "ending": "Endings of the plugins' kinds.",
}


def events_page(kinds: Mapping[str, Kind]) -> str:
    """`events.md`: every event, by sort."""
    helps = event_helps(kinds).values()
    parts = [
        head(
            "Events",
            "An event is something that happened. `on` of a state names events and says where they lead; "
            "a guard there reads the fields of that very event below `event`, with the types given here. "
            "*Any JSON* is not checked at load, and a guard that misjudges it errs when it runs. Times "
            "are microseconds and money is nano-USD, both whole numbers. `loopspec events NAME` shows "
            "the same in a terminal.",
        )
    ]
    for sort, words in SORTS.items():
        found = [one for one in helps if one.sort == sort]
        if found:
            title, _, said = words.partition(": ")
            parts += [f"## {title.rstrip('.')}", f"{said[:1].upper()}{said[1:]}"]
            parts += [part for one in found for part in _event(one)]
    return page(parts)


def _event(one: EventHelp) -> list[str]:
    said = [f"### `{one.name}`", *one.meaning.splitlines(), f"Raised by {one.raised_by}."]
    said.append(table(("Field", "Type"), ((f"`{n}`", t) for n, t in one.fields.items())))
    if one.instead:
        said.append(f"It never reaches a state: {one.instead}.")
    else:
        said.append(fence("on", one.example))
    return said


def kinds_page(kinds: Mapping[str, Kind]) -> str:
    """`kinds.md`: every kind of state."""
    parts = [
        head(
            "Kinds of states",
            "A kind says what a state does while it is active. Each of its endings is routed by the "
            "state or by one around it, else `loopspec check` refuses the spec. `loopspec kinds NAME` "
            "shows the same in a terminal, also for the kinds of installed plugins.",
        ),
        bullets(f"[`{kind.name}`](#{kind.name}): {first_sentence(kind.doc)}" for kind in kinds.values()),
    ]
    for kind in kinds.values():
        parts += _kind(kind)
    return page(parts)


def _kind(kind: Kind) -> list[str]:
    one = kind_help(kind)
    known = [f"Shape: `{one.shape}`; it {one.shape_means}."]
    if one.rests:
        known.append(f"A run may rest here; the reason is `{one.rests}`.")
    if one.raises:
        known.append(f"Its work can also raise {code(one.raises)}.")
    if one.offers:
        known.append(f"It usually waits for {code(one.offers)}.")
    if one.takes:
        known.append(f"Of the keys of a state, it alone takes {code(one.takes)}.")
    endings = ((f"`{n}`", _fields(fields)) for n, fields in one.endings.items())
    return [
        f"## {one.name}",
        one.doc,
        bullets(known),
        table(("Ending", "Fields"), endings),
        keys_table("Own key", one.keys),
        fence("states", one.example),
    ]


def tools_page(tools: Mapping[str, ToolInfo]) -> str:
    """`tools.md`: every tool."""
    parts = [
        head(
            "Tools",
            "A spec declares a tool under a name of its own and says with `use` which one it is. "
            "*Effect* is what a call may change; a spec may make it stricter. *After a crash* is what "
            "a restart does with a call that had begun and has no answer. Paths are relative to the "
            "work directory and cannot leave it.",
        ),
        table(
            ("Tool", "Effect", "After a crash", "Longest time"),
            (
                (f"[`{one.name}`](#{one.name.replace('.', '')})", one.effect, one.after_crash, one.total)
                for one in map(tool_help, tools.values())
            ),
        ),
    ]
    for info in tools.values():
        parts += _tool(info)
    return page(parts)


def _tool(info: ToolInfo) -> list[str]:
    one = tool_help(info)
    known = [
        f"Effect: `{one.effect}`.",
        f"After a crash: `{one.after_crash}`.",
        f"Deadlines: {one.total} in total, {one.silence or 'any'} silence.",
    ]
    if one.paths:
        known.append(f"Rules with `paths` match on {code(one.paths)}.")
    if one.command:
        known.append(f"Rules with `commands` match on `{one.command}`.")
    return [
        f"## {one.name}",
        one.description,
        bullets(known),
        keys_table("Argument", one.parameters),
        keys_table("Configuration (`with`)", one.config),
        fence("tools", one.example),
    ]


def keys_table(title: str, keys: Iterable[KeyHelp]) -> str:
    """The keys of a kind or tool as a table."""
    rows = (
        (
            f"`{key.name}`",
            key.type,
            "yes" if key.required else "",
            f"`{key.default}`" if key.default else "",
            key.description,
        )
        for key in keys
    )
    return table((title, "Value", "Required", "Default", "Meaning"), rows)


def _fields(fields: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` ({kind})" for name, kind in fields.items()) or "none"
