"""Mermaid: the picture of a loop as a `stateDiagram-v2`, for pages that draw such text themselves.

Rules of this file:
1. An id holds only ASCII letters, digits and `_` and starts with `s_`, so that no state's name is a
   word of the diagram language; two states never share one.
2. Every character with a meaning to the reader of the diagram, or to the Markdown in its labels, is
   written as `#NUMBER;`. Control and direction characters are made visible first.
3. An arrow that leads nowhere is a line in its state's box: drawn, it would look like leaving.
4. Of a session's trail, only states without states in them get a class: that is all that every version
   of the diagram language draws.
"""

from collections.abc import Iterator
from typing import Final

from loopspec.views.graph import Act, Arrow, Box, Picture, history_mark, plain
from loopspec.views.graph_trail import Trail

NAME: Final = 60
"""Columns of a state's name."""
GUARD: Final = 40
ACTIONS: Final = 40
TRIGGER: Final = 60
TOGETHER: Final = 4
"""Most labels on one arrow; more between the same two states make another arrow."""
WAITS: Final = 120
_CLASSES: Final = (
    "classDef here fill:#fff8c5,stroke:#9a6700,stroke-width:3px,color:#1f2328",
    "classDef seen fill:#ddf4ff,stroke:#54aeff,color:#1f2328",
)
_SAFE: Final = frozenset(" .,()[]=/+!?'|…→·")


def mermaid(picture: Picture, trail: Trail | None = None) -> str:
    """The whole diagram, ended by a newline. The same picture gives the same text.

    `trail` is the way of a session: how often what was taken, where it was and where it stands.
    """
    ids = _ids(picture)
    title = f"{picture.name} {picture.version}" + (f", {trail.head()}" if trail else "")
    lines = ["---", f"title: {_quoted(plain(title, 4 * NAME))}", "---", "stateDiagram-v2"]
    lines += [f"    {line}" for line in _boxes(picture.boxes, ids, regions=False)]
    lines += [f"    {line}" for line in _arrows(picture, ids, trail.taken if trail else {})]
    if trail is not None:
        lines += [f"    {line}" for line in _standing(picture, ids, trail)]
    return "\n".join(lines) + "\n"


def fenced(picture: Picture, trail: Trail | None = None) -> str:
    """The diagram as a fenced block of a Markdown page."""
    return f"```mermaid\n{mermaid(picture, trail)}```\n"


def _standing(picture: Picture, ids: dict[str, str], trail: Trail) -> Iterator[str]:
    """Where a session was and stands, and what it waits for."""
    leaves = [box.path for box in picture.walk() if not box.children]
    here = [path for path in leaves if path in trail.here]
    seen = [path for path in leaves if path in trail.visited and path not in trail.here]
    yield from _CLASSES
    for name, paths in (("here", here), ("seen", seen)):
        if paths:
            yield f"class {','.join(ids[path] for path in paths)} {name}"
    if here:
        yield f"note right of {ids[here[-1]]}"
        yield f"    {escape(plain(trail.waits, WAITS))}"
        yield "end note"


def escape(text: str) -> str:
    """A printable text as a label that the diagram's parser takes and a reader sees unchanged."""
    out = []
    for n, char in enumerate(text):
        inner = 0 < n < len(text) - 1 and text[n - 1].isalnum() and text[n + 1].isalnum()
        keep = char.isalnum() or char in _SAFE or (not char.isascii() and not char.isspace())
        out.append(char if keep or (char == "_" and inner) else f"#{ord(char)};")
    return "".join(out)


def _quoted(text: str) -> str:
    """A printable text in the double quotes of YAML."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def _ids(picture: Picture) -> dict[str, str]:
    """An id for each path."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for box in picture.walk():
        base = "s_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in box.path)
        made, n = base, 1
        while made in taken:
            n += 1
            made = f"{base}_{n}"
        taken.add(made)
        found[box.path] = made
    return found


def _boxes(boxes: tuple[Box, ...], ids: dict[str, str], *, regions: bool) -> Iterator[str]:
    """The states beside each other, those in them indented. Between regions stands `--`."""
    for box in boxes:
        if box.first:
            yield f"[*] --> {ids[box.path]}"
    parted = False
    for box in boxes:
        if regions and box.type != "history":
            if parted:
                yield "--"
            parted = True
        yield from _box(box, ids)
        if box.type == "final":
            yield f"{ids[box.path]} --> [*]"


def _box(box: Box, ids: dict[str, str]) -> Iterator[str]:
    """One state: its name, what it does, and the states in it."""
    key = ids[box.path]
    mark = history_mark(box)
    name = escape(plain(box.name, NAME))
    shown = f"({escape(mark)}) {name}" if mark else name
    notes = list(_notes(box))
    if box.children:
        yield f'state "{shown}" as {key} {{'
        for line in _boxes(box.children, ids, regions=box.type == "parallel"):
            yield f"    {line}"
        yield "}"
        if notes:
            yield f"note right of {key}"
            yield from (f"    {note}" for note in notes)
            yield "end note"
    else:
        yield f'state "{shown}" as {key}'
        yield from (f"{key} : {note}" for note in notes)


def _notes(box: Box) -> Iterator[str]:
    """What is said inside a box, as labels."""
    if box.kind:
        yield escape(plain(" · ".join((box.kind, *box.details)), 2 * NAME))
    if box.failed and box.type in ("atomic", "final"):
        yield "failed"
    for word, actions in (("entry", box.entry), ("exit", box.exit)):
        if actions:
            yield escape(f"{word} / {_acts(actions)}")
    for arrow in box.arrows:
        if arrow.target is None:
            yield _label(arrow)


def _arrows(picture: Picture, ids: dict[str, str], taken: dict[int, int]) -> Iterator[str]:
    """The arrows between states, those between the same two together."""
    for box in picture.walk():
        labels: dict[str, list[str]] = {}
        for arrow in box.arrows:
            if arrow.target is not None:
                labels.setdefault(arrow.target, []).append(_label(arrow, taken.get(arrow.id, 0)))
        for target, found in labels.items():
            for start in range(0, len(found), TOGETHER):
                label = "<br/>".join(found[start : start + TOGETHER])
                yield f"{ids[box.path]} --> {ids[target]} : {label}"
        if box.default:
            yield f"{ids[box.path]} --> {ids[box.default]} : by default"


def _label(arrow: Arrow, taken: int = 0) -> str:
    """What stands at an arrow: `trigger [guard] / actions ×3`; the last says how often it was taken."""
    text = plain(arrow.trigger, TRIGGER)
    if arrow.guard:
        text += f" [{plain(arrow.guard, GUARD)}]"
    if arrow.actions:
        text += f" / {_acts(arrow.actions)}"
    text += f" ×{taken}" if taken else ""
    return escape(text + (" (stays)" if arrow.target is None else ""))


def _acts(actions: tuple[Act, ...]) -> str:
    """Actions in a few words; what would be said is left out, for it does not fit an arrow."""
    return plain(", ".join(act.short for act in actions), ACTIONS)
