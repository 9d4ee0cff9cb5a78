"""Reference for a terminal: events, kinds and codes as plain text of at most 80 columns."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from loopspec.spec.helpwords import first_sentence
from loopspec.views.reference_facts import EventHelp, KeyHelp, KindHelp

WIDTH: Final = 80
_SORTS: Final[Mapping[str, str]] = {
    "command": "commands: what a person or a program asks",
    "fact": "facts: what has happened",
    "derived": "derived: raised by the core itself",
    "ending": "endings of plugins' kinds",
}
_ITEM: Final = re.compile(r"\s*([-*]|\d+\.) +")


def rows(pairs: Iterable[tuple[str, str]], indent: int = 0) -> str:
    """Two columns, the second wrapped under itself."""
    known = list(pairs)
    if not known:
        return ""
    margin = " " * indent
    wide = min(max(len(name) for name, _ in known), 24)
    out: list[str] = []
    for name, text in known:
        lead = f"{margin}{name:<{wide}}  "
        if len(name) > wide:
            out.append(f"{margin}{name}")
            lead = " " * len(f"{margin}{'':<{wide}}  ")
        out.append(_filled(text or "-", lead))
    return "\n".join(out)


def kinds_text(kinds: Sequence[KindHelp]) -> str:
    """Every kind with its first sentence."""
    return rows((one.name, first_sentence(one.doc)) for one in kinds) + (
        "\n\nMore about one of them: loopspec kinds NAME"
    )


def kind_text(one: KindHelp) -> str:
    """All about one kind."""
    facts = [("shape", f"{one.shape}: it {one.shape_means}")]
    if one.rests:
        facts.append(("rests", f"a run may rest here; the reason is {one.rests}"))
    facts.append(("endings", ", ".join(one.endings) or "none"))
    if one.raises:
        facts.append(("also raises", ", ".join(one.raises)))
    if one.offers:
        facts.append(("waits for", ", ".join(one.offers)))
    if one.takes:
        facts.append(("it alone takes", ", ".join(one.takes)))
    parts = [_filled(f"{one.name}: {_plain(one.doc)}"), rows(facts)]
    told = [(name, _fields(fields)) for name, fields in one.endings.items()]
    if told:
        parts.append("fields of its endings\n" + rows(told, 2))
    parts.append("own keys\n" + (rows(map(_key, one.keys), 2) or "  none"))
    parts.append("example\n" + textwrap.indent(one.example.rstrip(), "  "))
    return "\n\n".join(parts)


def events_text(events: Sequence[EventHelp]) -> str:
    """Every event with its first sentence, by sort; what `on` cannot name is marked."""
    parts: list[str] = []
    for sort, title in _SORTS.items():
        found = [one for one in events if one.sort == sort]
        if found:
            told = [(one.name + ("" if one.routable else " *"), _first(one.meaning)) for one in found]
            parts.append(f"{title}\n{rows(told, 2)}")
    parts.append("* never reaches a state\nMore about one of them: loopspec events NAME")
    return "\n\n".join(parts)


def event_text(one: EventHelp) -> str:
    """All about one event."""
    meaning = "\n".join(_filled(_plain(line)) for line in one.meaning.splitlines())
    sort = _SORTS[one.sort].partition(":")[0].rstrip("s")
    facts = [("sort", sort), ("raised by", _plain(one.raised_by))]
    parts = [one.name, meaning, rows(facts)]
    parts.append("fields\n" + (rows(one.fields.items(), 2) or "  none"))
    if one.instead:
        parts.append(_filled(f"It never reaches a state: {one.instead}."))
    else:
        parts.append("example\n" + textwrap.indent(one.example.rstrip(), "  "))
    return "\n\n".join(parts)


def codes_text(codes: Mapping[str, str], severity: Mapping[str, str]) -> str:
    """Every code with its severity and title."""
    return rows((code, f"{severity[code]:<7}  {title}") for code, title in codes.items()) + (
        "\n\nMore about one of them: loopspec explain-code CODE"
    )


def page_text(markdown: str) -> str:
    """A page of Markdown with its paragraphs and list items filled anew; blocks, headings and tables
    stay as they are."""
    out: list[str] = []
    open_part: list[str] = []

    def close() -> None:
        if open_part:
            mark = _ITEM.match(open_part[0])
            deep = " " * (len(mark[0]) if mark else 0)
            out.extend(
                textwrap.wrap(
                    " ".join(open_part), WIDTH, subsequent_indent=deep, break_long_words=False
                )
            )
            open_part.clear()

    inside = False
    for line in markdown.rstrip().splitlines():
        fence = line.startswith("```")
        inside = inside != fence
        if inside or fence or not line.strip() or line[0] in "|#":
            close()
            out.append(line)
        elif _ITEM.match(line):
            close()
            open_part.append(line.rstrip())
        else:
            open_part.append(line.strip())
    close()
    return "\n".join(out)


def _key(key: KeyHelp) -> tuple[str, str]:
    known = [_plain(key.type), "required" if key.required else ""]
    known.append(f"default {key.default}" if key.default else "")
    said = f". {_plain(key.description)}" if key.description else ""
    return key.name, ", ".join(filter(None, known)) + said


def _fields(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in fields.items()) or "none"


def _first(text: str) -> str:
    return _plain(first_sentence(text.splitlines()[0] if text else ""))


def _plain(text: str) -> str:
    """A text of pages without the marks of code."""
    return text.replace("`", "")


def _filled(text: str, lead: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
