"""Graph: every transition of the machine is in the picture once, and nothing in it overlaps.

`LOOPSPEC_GOLDEN=1` writes the golden files anew; read the difference (and look at the picture) before
keeping it.
"""

import os
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journeys.review import plugged
from machine.builders import HOUR, SECOND, changed, coding, machine

from loopspec.drivers import launch
from loopspec.machine.model import Machine, Place
from loopspec.views.graph import Act, Arrow, Box, Picture, picture, span
from loopspec.views.graph_layout import Layout, describe, guard_end, layout
from loopspec.views.graph_mermaid import escape, fenced, mermaid
from loopspec.views.graph_svg import svg
from loopspec.views.graph_width import fit, width

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"title": (18, True), "name": (13, True), "mark": (10, True)}
HOSTILE = (
    *("end", "state", "default", "note", "as", "style", "[*]", "--", "-->", "%%x", ":::x", "`x`"),
    *('<script>alert("1")</script>', "&amp;", "it's", 'x"y', "a;b", "a:b", "#35;", "#", "]]>", "{{x}}"),
    *("שלום", "日本語", "\u202eevil", "\x1b[31m", "\x00", "a\nb", "🙂", "\ud800", "__x__", "**x**"),
    "é" * 90,
)


def regions() -> Machine:
    """Regions, histories, finals, timers, and names that a diagram's language keeps for itself."""
    states: dict[str, Any] = {
        "end": {"kind": "input", "on": {"user.message": {"target": "state", "do": [("mark", "begun")]}}},
        "state": {
            "type": "parallel",
            "done": {"target": "default", "do": [("say", 'Both "done"; <b>ok</b>: #1', "model")]},
            "states": {
                "watching": {
                    "initial": "quiet",
                    "states": {
                        "quiet": {
                            "kind": "wait",
                            "config": '{"for":90000000}',
                            "entry": [("assign", "n", "vars.n + 1")],
                            "exit": [("log", "left {{ vars.n }}"), ("mark", "left")],
                            "on": {"wait.over": "loud", "go.*": {"do": [("raise", "loud")]}},
                        },
                        "loud": {
                            "always": [
                                {"guard": 'vars.n > 10 && vars.note != "שלום; <é>"', "target": "over"},
                                {"target": "quiet"},
                            ]
                        },
                        "over": {"type": "final"},
                        "past": {"type": "history", "target": "quiet"},
                    },
                },
                "talking": {
                    "initial": "streaming",
                    "on": {"go.again": "talking"},
                    "states": {
                        "streaming": {
                            "kind": "model",
                            "prompt": "system",
                            "on": {
                                "model.replied context.pressed": "over",
                                "model.overflowed": "over",
                                "model.failed": "streaming",
                            },
                        },
                        "over": {"type": "final"},
                    },
                },
                "everything": {"type": "history", "deep": True, "target": "talking"},
            },
        },
        "note": {
            "kind": "interrupt",
            "clock": "awake",
            "after": {48 * HOUR: "broken", 90 * SECOND: {"do": [("say", "Still there?")]}},
            "on": {"user.resumed": "state.everything", "user.message": "state.watching.past"},
        },
        "default": {"type": "final"},
        "broken": {"type": "final", "outcome": "failed"},
    }
    return machine(states, vars={"n": ("int", "0")}, description="Two regions beside each other.")


def hostile() -> Machine:
    """Everything that a text could do to a picture, in every place that has a text."""
    guard = " || ".join(f'vars.x == "{text}"' for text in HOSTILE)
    states: dict[str, Any] = {}
    for text in HOSTILE:
        move = {"target": HOSTILE[0], "guard": guard, "do": [("say", text * 99), ("assign", "x", text)]}
        states[text] = {"entry": [("log", text)], "on": {text: [move, {"do": [("mark", text)]}]}}
    made = machine({"all": {"initial": "end", "states": states}})
    return changed(made, name='<&">', version=HOSTILE[-1])


LOOPS = {"coding": coding, "regions": regions, "one": lambda: machine({"only": {"type": "final"}})}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("ending", ["mmd", "svg"])
def test_the_pictures_are_the_golden_ones(name: str, ending: str) -> None:
    drawn = picture(LOOPS[name]())
    text = svg(drawn) if ending == "svg" else mermaid(drawn)
    path = GOLDEN / f"graph-{name}.{ending}"
    if os.environ.get("LOOPSPEC_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_picture_says_what_the_machine_says() -> None:
    states: dict[str, Any] = {
        "a": {
            "kind": "model",
            "prompt": "system",
            "on": {"model.replied": {"guard": "true", "target": "b", "do": [("say", "Hi")]}},
            "after": {24 * HOUR: {"do": [("assign", "n", "1")]}},
        },
        "b": {"initial": "c", "done": "a", "states": {"c": {"type": "final", "outcome": "failed"}}},
    }
    made = machine(states, description="Two.")
    said, set_n = Act('say "Hi"', "say"), Act("n := 1", "n := 1")
    a = (
        Arrow(0, "a", "b", "event", "model.replied", "true", (said,), line=1),
        Arrow(1, "a", None, "after", "after 24h", "", (set_n,), line=2),
    )
    inner = Box("b.c", "c", "final", first=True, failed=True)
    done = (Arrow(2, "b", "a", "done", "done", line=3),)
    assert picture(made) == Picture(
        "test",
        "1.0.0",
        "Two.",
        (
            Box("a", "a", "atomic", "model", "model", ("main", "prompt system"), first=True, arrows=a),
            Box("b", "b", "compound", arrows=done, children=(inner,)),
        ),
    )


def test_short_names_are_as_short_as_they_can_be_and_never_mean_two_states() -> None:
    inner = {"initial": "x", "states": {"x": {}, "only": {}}}
    made = picture(machine({"a": inner, "b": {"initial": "x", "states": {"x": {}}}}))
    assert made.short_names() == {
        **{"a": "a", "a.x": "a.x", "a.only": "only", "b": "b", "b.x": "b.x"},
    }


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        *((0, "0s"), (1, "1us"), (1_500, "1500us"), (850_000, "850ms"), (90 * SECOND, "90s")),
        *((600 * SECOND, "10m"), (24 * HOUR, "24h"), (36 * HOUR, "36h"), (48 * HOUR, "2d")),
    ],
)
def test_a_time_is_written_as_in_a_spec(micros: int, text: str) -> None:
    assert span(micros) == text


@pytest.mark.parametrize("name", launch.shipped_names())
def test_every_shipped_loop_can_be_drawn(name: str) -> None:
    made = launch.load(name, plugged(name)).machine
    assert made is not None
    sound(made)


def test_hostile_texts_harm_no_picture() -> None:
    sound(hostile())


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """Any tree of states of any types, any transitions between them, texts of any sort."""
    text = st.sampled_from(HOSTILE) | st.text(max_size=8) | st.just("x > 1 && " * 220)
    names = [draw(st.sampled_from(("s", *HOSTILE))).replace(".", "") + str(n) for n in range(draw(sizes))]
    parents = [draw(st.none() | st.integers(0, n - 1)) if n else None for n in range(len(names))]
    trees: list[dict[str, Any]] = [{} for _ in names]
    paths: list[str] = []
    for n, (name, parent) in enumerate(zip(names, parents, strict=True)):
        paths.append(name if parent is None else f"{paths[parent]}.{name}")
        if parent is not None:
            trees[parent].setdefault("initial", name)
            trees[parent].setdefault("states", {})[name] = trees[n]
    move = st.fixed_dictionaries(
        {"target": st.none() | st.sampled_from(paths), "guard": st.just("") | text},
        optional={"do": st.lists(st.tuples(st.sampled_from(("say", "mark")), text), max_size=3)},
    )
    for tree in trees:
        if "states" in tree:
            tree["type"] = draw(st.sampled_from(("compound", "parallel")))
        elif draw(st.booleans()):
            tree["type"] = draw(st.sampled_from(("final", "history")))
            tree["target"] = draw(st.sampled_from(paths))
            tree["deep"] = draw(st.booleans())
        else:
            tree["kind"] = draw(st.sampled_from(("model", "tools", "gate", "input", "wait", "")))
        tree["on"] = draw(st.dictionaries(text.filter(str.split), st.lists(move, max_size=3), max_size=3))
        tree["after"] = draw(st.dictionaries(st.integers(0, 10**14), move, max_size=2))
        if draw(st.booleans()):
            tree |= {"always": draw(move), "done": draw(move), "entry": [("log", draw(text))]}
    tops = {name: trees[n] for n, name in enumerate(names) if parents[n] is None}
    return machine(tops, description=draw(text))


sizes = st.integers(1, 9)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(machines())
def test_any_machine_is_drawn_whole_and_without_overlaps(made: Machine) -> None:
    sound(made)


def sound(made: Machine) -> None:
    """The picture of a machine is whole, the same twice, well-formed, and nothing in it overlaps."""
    drawn = picture(made)
    whole(made, drawn)
    placed = layout(drawn)
    lines_apart(placed)
    rows_fit(placed)
    text = svg(drawn)
    assert text == svg(picture(made))
    texts_apart(text)
    lines = mermaid(drawn)
    assert lines == mermaid(picture(made))
    diagram(lines, made)


def whole(made: Machine, drawn: Picture) -> None:
    """Each state is a box, in the machine's order, and each transition one arrow of its source."""
    boxes = drawn.walk()
    assert sorted(b.path for b in boxes) == sorted(made.states)
    arrows = [(b.path, a.id, a.target) for b in boxes for a in b.arrows]
    assert sorted(a[1] for a in arrows) == list(range(len(made.transitions)))
    assert all(a == (t.source, t.id, t.target) for a in arrows for t in [made.transitions[a[1]]])
    for box in boxes:
        inner = [s.path for s in made.states.values() if s.parent == box.path]
        assert [child.path for child in box.children] == inner


def lines_apart(placed: Layout) -> None:
    """No two lines lie on each other; each row that leads on has its line."""
    rows = [(f.right, row.y) for f in placed.frames for row in f.rows if row.target]
    assert sorted(rows) == sorted(start for wire in placed.wires for start in wire.starts)
    for one, other in combinations(placed.wires, 2):
        for a in one.segments():
            assert not any(along(a, b) for b in other.segments()), (one.target, other.target)


def along(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two horizontal or two vertical segments of one line share a point."""
    for x in (0, 1):
        y = 1 - x
        if a[x] == a[x + 2] == b[x] == b[x + 2]:
            first, second = sorted((a[y], a[y + 2])), sorted((b[y], b[y + 2]))
            if first[0] <= second[1] and second[0] <= first[1]:
                return True
    return False


def rows_fit(placed: Layout) -> None:
    """Each text of a row ends before the next begins, and inside its box."""
    for frame in placed.frames:
        assert frame.x + frame.w <= placed.width
        assert frame.y + frame.h <= placed.height
        for row in frame.rows:
            assert frame.y < row.y - 9 < row.y + 9 < frame.y + frame.h
            assert frame.x + 16 + width(row.trigger, 12) < frame.column
            assert not row.guard or frame.column + width(row.guard, 12) < guard_end(frame, row)
            free = frame.right - 16 - width(row.goal, 12)
            assert guard_end(frame, row) + width(row.acts, 12) < free


def texts_apart(text: str) -> None:
    """Well-formed; all inside the picture; no two texts of one height meet; nothing is fetched."""
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("role"), root[0].tag, root[1].tag) == (
        *(f"{SVG}svg", "img", f"{SVG}title", f"{SVG}desc"),
    )
    w, h = (int(n) for n in root.get("viewBox", "").split()[2:])
    found: dict[int, list[tuple[int, int]]] = {}
    for one in root.iter(f"{SVG}text"):
        found.setdefault(int(one.get("y", "")), []).append(extent(one))
    for spans in found.values():
        spans.sort()
        assert all(0 <= start <= end <= w for start, end in spans)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for one in root.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML](\d+) (\d+)", one.get("d", "")):
            assert 0 <= int(x) <= w and 0 <= int(y) <= h
        assert all(int(x) <= w for x in re.findall(r"H(\d+)", one.get("d", "")))
        assert all(int(y) <= h for y in re.findall(r"V(\d+)", one.get("d", "")))
    tags = {one.tag.removeprefix(SVG) for one in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "path", "circle", "g"}
    shapes = re.sub(r"<(text|title|desc).*?</\1>", "", text)
    assert not re.search(r"href=|url\(|@import| on\w+=\"", shapes)


def extent(one: ElementTree.Element) -> tuple[int, int]:
    """From where to where a text goes at most."""
    looks = (one.get("class") or "").split()
    size, bold = SIZES.get(looks[0], (12, False))
    x, room = int(one.get("x", "")), width(one.text or "", size, bold=bold)
    if looks[0] == "goal":
        return x - room, x
    return (x - room // 2, x + room // 2) if looks[0] == "mark" else (x, x + room)


ID = r"s_\w+"
LABEL = r'(?:[^:;"{}<>#%`$*\\~^@&]|#\d+;|<br/>)*'
GRAMMAR = re.compile(
    rf'\[\*\] --> {ID}|{ID} --> \[\*\]|{ID} --> {ID} : (?P<arrow>{LABEL})|state "{LABEL}" as {ID}( \{{)?'
    rf"|\}}|--|{ID} : (?P<said>{LABEL})|note right of {ID}|end note|(?P<noted>{LABEL})",
    re.ASCII,
)


def diagram(text: str, made: Machine) -> None:
    """Only lines the diagram's language has, and each transition in one of them."""
    head, title, end, kind, *lines = text.split("\n")
    assert (head, end, kind, lines.pop()) == ("---", "---", "stateDiagram-v2", "")
    assert re.fullmatch(r'title: "([^"\\]|\\.)*"', title)
    arrows = stays = 0
    for line in lines:
        match = GRAMMAR.fullmatch(line.strip())
        assert match, line
        if match["arrow"] is not None:
            arrows += 1 + match["arrow"].count("<br/>")
        stays += (match["said"] or match["noted"] or "").endswith("(stays)")
    moving = [t for t in made.transitions if t.target is not None]
    defaults = [s for s in made.states.values() if s.default]
    assert (arrows, stays) == (len(moving) + len(defaults), len(made.transitions) - len(moving))


def test_two_states_never_share_an_id() -> None:
    lines = mermaid(picture(machine({"a": {"initial": "b", "states": {"b": {}}}, "a_b": {}, "a-b": {}})))
    names = re.findall(r'state "(.*)" as (\w+)', lines)
    assert names == [("a", "s_a"), ("b", "s_a_b"), ("a_b", "s_a_b_2"), ("a#45;b", "s_a_b_3")]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("model.replied [size(event.calls) > 0]", "model.replied [size(event.calls) #62; 0]"),
        ('a: "b"; #c', "a#58; #34;b#34;#59; #35;c"),
        ("awaiting_approval __x__", "awaiting_approval #95;#95;x#95;#95;"),
        ("שלום é 日本", "שלום é 日本"),
        ("a-->b", "a#45;#45;#62;b"),
    ],
)
def test_a_label_keeps_its_words_and_hides_its_signs(text: str, label: str) -> None:
    assert escape(text) == label


def test_a_page_gets_a_fenced_block() -> None:
    drawn = picture(machine({"a": {}}))
    assert fenced(drawn) == f"```mermaid\n{mermaid(drawn)}```\n"


def test_pointing_at_a_row_says_it_whole() -> None:
    arrow = Arrow(0, "a.b", "a.c", "event", "model.replied", "x > 1", (Act('say "Hi"', "say"),), line=73)
    assert describe(arrow) == 'a.b → a.c on model.replied [x > 1] / say "Hi" (line 73)'
    assert describe(Arrow(0, "a", None, "after", "after 24h")) == "a stays after 24h"
    assert describe(Arrow(0, "a", "a.b", "always", "always", internal=True, line=2)) == (
        "a → a.b (internal) always (line 2)"
    )


def test_a_text_is_cut_to_its_room() -> None:
    assert fit("short", 100, 12) == "short"
    for room in (20, 50, 200):
        cut = fit("wide words " * 40, room, 12)
        assert cut.endswith("…") and room - 25 < width(cut, 12) <= room
    assert fit("\x1b[31m\nred\u202e", 400, 12) == "\\x1b[31m red\\u202e"


def test_a_state_that_many_rows_lead_to_has_one_wire() -> None:
    many = {f"s{n}": {"on": {"error.execution": "failed"}} for n in range(40)}
    (wire,) = layout(picture(machine({**many, "failed": {}}))).wires
    assert (wire.target, len(wire.starts), wire.lane) == ("failed", 40, 0)


def test_wires_that_do_not_touch_share_a_lane() -> None:
    states = {f"s{n}": {"on": {"go": f"s{n + 1}"}} if n % 2 == 0 else {} for n in range(8)}
    assert [wire.lane for wire in layout(picture(machine(states))).wires] == [0, 0, 0, 0]


def test_the_line_of_the_spec_is_where_one_points() -> None:
    made = machine({"a": {"on": {"go": "b"}}, "b": {}})
    moved = changed(made, transitions=(changed(made.transitions[0], place=Place(73, 5)),))
    assert "<title>a → b on go (line 73)</title>" in svg(picture(moved))
