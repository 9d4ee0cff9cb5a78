"""Trail: what a session's picture adds to its loop's picture, and that it moves nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from coding_loop import Run, coding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_graph import GOLDEN, GRAMMAR, machines, rows_fit, texts_apart
from test_views_timeline import story

from loopspec.machine.model import Machine
from loopspec.views.graph import picture, plain
from loopspec.views.graph_layout import layout
from loopspec.views.graph_mermaid import mermaid
from loopspec.views.graph_svg import svg
from loopspec.views.graph_trail import LONGEST, Trail, told, trail


def of(run: Run) -> Trail:
    return trail(run.machine, run.snapshot, run.entries)


def names(run: Run, moves: tuple[int, ...]) -> list[str]:
    return [f"{t.source} → {t.target}" for t in (run.machine.transitions[m] for m in moves)]


def golden(name: str, text: str) -> None:
    path = Path(GOLDEN) / name
    if os.environ.get("LOOPSPEC_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_a_session_begun_stands_in_its_first_state_and_has_no_path() -> None:
    run = Run(coding())
    found = of(run)
    assert (found.here, found.visited, found.taken, found.path) == (("ready",), ("ready",), {}, ())
    assert (found.session, found.seq, found.at) == ("s1", 0, run.entries[0].at)
    assert found.waits == "Waits for a message"
    assert told(run.machine, found) == "No transition was taken yet."


def test_the_last_path_begins_where_a_transition_would_come_twice() -> None:
    run = Run(coding())
    run.say()
    for n in (2, 5):  # two rounds of the same transitions
        run.reply("read_file")
        run.decide(**{f"c{n}_0": "deny"})
        assert names(run, of(run).path[-2:]) == [
            "working.streaming → working.deciding",
            "working.deciding → working.streaming",
        ]
        if n == 2:
            assert names(run, of(run).path)[0] == "ready → working"
            run.do(run.entries[1].event)  # a message that waits moves nothing
    found = of(run)
    assert len(found.path) == 2
    assert [found.taken[m] for m in found.path] == [2, 2]
    assert [found.place(m) for m in found.path] == [1, 2]
    assert found.place(10_000) == 0
    assert told(run.machine, found) == (
        "The last 2 transitions: working.streaming → working.deciding; "
        "working.deciding → working.streaming."
    )


def test_a_trail_says_how_things_stood_at_its_newest_entry() -> None:
    run = Run(coding())
    run.say()
    run.now += 10**12  # a picture drawn later is the same
    found = of(run)
    assert found.waits == "Waits for the model main (anthropic/claude-sonnet-4-5), attempt 1"
    assert found.here == ("working", "working.streaming")
    assert found.leaf == "working.streaming"
    assert found.head() == "Session s1, entry 1, 2026-11-03 10:00:10 UTC"


def test_counts_are_of_all_entries() -> None:
    run = story()
    found = of(run)
    taken = [one.id for entry in run.entries for one in entry.record.taken]
    assert found.taken == {move: taken.count(move) for move in sorted(set(taken))}
    assert list(found.path) == taken[-len(found.path) :]
    assert len(set(found.path)) == len(found.path) <= LONGEST


@pytest.mark.parametrize("ending", ["svg", "mmd"])
def test_the_picture_of_a_session_is_the_golden_one(ending: str) -> None:
    run = story()
    drawn, found = picture(run.machine), of(run)
    text = svg(drawn, found, told(run.machine, found)) if ending == "svg" else mermaid(drawn, found)
    golden(f"graph-session.{ending}", text)


def test_the_picture_says_in_words_what_it_shows() -> None:
    run = Run(coding())
    run.say()
    found = of(run)
    text = svg(picture(run.machine), found, told(run.machine, found))
    head = "The loop coding-agent 1.0.0: Session s1, entry 1, 2026-11-03 10:00:10 UTC"
    assert f"<title>{head}</title>" in text
    assert "The session stands in working, working.streaming. Waits for the model main" in text
    assert "The last 1 transition: ready → working.</desc>" in text
    assert " – taken 1 time, number 1 of the last</title>" in text
    assert text.count(">● here</text>") == 2
    assert '<g class="off">' not in svg(picture(run.machine))


def test_the_diagram_marks_where_it_stands_and_was() -> None:
    run = Run(coding())
    run.say()
    lines = [line.strip() for line in mermaid(picture(run.machine), of(run)).splitlines()]
    assert "s_ready --> s_working : user.message ×1" in lines
    assert lines[-5:] == [
        "class s_working_streaming here",
        "class s_ready seen",
        "note right of s_working_streaming",
        "Waits for the model main (anthropic/claude#45;sonnet#45;4#45;5), attempt 1",
        "end note",
    ]
    fixed = ("---", "title:", "stateDiagram-v2", "classDef ", "class ")
    assert all(GRAMMAR.fullmatch(line) for line in lines if not line.startswith(fixed))


@st.composite
def trails(draw: st.DrawFn) -> tuple[Machine, Trail]:
    """Any machine, and any way through it that could be."""
    made = draw(machines())
    paths = st.lists(st.sampled_from(sorted(made.states)), unique=True)
    moves = st.integers(0, max(0, len(made.transitions) - 1))
    counts = st.dictionaries(moves, st.integers(1, 10**6))
    taken: dict[int, int] = draw(counts) if made.transitions else {}
    path = draw(st.permutations(sorted(taken)))[:LONGEST]
    text = st.text(max_size=300)
    here, visited = tuple(draw(paths)), tuple(draw(paths))
    return made, Trail("s", 9, 0, here, visited, taken, tuple(path), plain(draw(text), 300))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(trails())
def test_any_trail_on_any_picture_leaves_texts_apart(found: tuple[Machine, Trail]) -> None:
    made, way = found
    drawn = picture(made)
    placed = layout(drawn, way)
    rows_fit(placed)
    text = svg(drawn, way, told(made, way))
    assert text == svg(picture(made), way, told(made, way))
    texts_apart(text)
    rows: list[Any] = [row for frame in placed.frames for row in frame.rows if row.place]
    assert sorted(row.place for row in rows) == list(range(1, len(way.path) + 1))
