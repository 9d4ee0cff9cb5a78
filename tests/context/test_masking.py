"""Shorter texts of outputs: what is kept of JSON and of lines, and what is said to be missing."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.context.atoms import atoms
from loopspec.context.masking import compacted, mask_text, one_line
from loopspec.tokens import estimate

ROWS = {
    "query": "JFK to SEA",
    "flights": [
        {"number": "HAT069", "date": "2024-05-20", "seats": {"economy": 12, "business": 4}, "ok": True},
        {"number": "HAT083", "date": "2024-05-20", "seats": {"economy": 0, "business": 1}, "ok": False},
    ],
    "cards": {
        "visa_1": {"limit": 250, "name": "Mia Li"},
        "visa_2": {"limit": 90, "name": None},
    },
    "tags": ["a", "b,c"],
    "nothing": [],
}


def test_records_become_a_table_and_what_they_share_is_said_once() -> None:
    assert list(compacted(ROWS)) == [
        "query=JFK to SEA nothing=[]",
        "flights[2] date=2024-05-20 number|seats.economy|seats.business|ok:",
        "HAT069 12 4 true",
        "HAT083 0 1 false",
        "cards[2] |limit|name:",
        'visa_1 250 "Mia Li"',
        "visa_2 90 null",
        'tags[2]: a "b,c"',
    ]


def test_json_that_fits_loses_nothing_but_its_form() -> None:
    text = json.dumps(ROWS, indent=2)
    made = mask_text(text, "4.0", estimate(text), 400, {})
    assert estimate(made) < estimate(text) * 2 // 3
    assert made.splitlines()[-1] == f"[shortened from {estimate(text)} tokens; 4.0 is the whole]"
    assert [atom for atom in atoms(text) if atom not in made] == []


def test_of_lines_stay_both_ends_errors_and_what_later_work_took_up() -> None:
    lines = [f"{n}: passed quietly" for n in range(300)]
    lines[120] = "120: Error: no such table"
    lines[200] = "200: wrote build/engine_7.bin"
    text = "\n".join(lines)
    made = mask_text(text, "4.0", estimate(text), 110, {"build/engine_7.bin": 300_000}).splitlines()
    assert made == [
        "0: passed quietly",
        "1: passed quietly",
        "… 118",
        "120: Error: no such table",
        "… 79",
        "200: wrote build/engine_7.bin",
        "… 97",
        "298: passed quietly",
        "299: passed quietly",
        f"[shortened from {estimate(text)} tokens; 4.0 is the whole]",
    ]


def test_one_long_line_keeps_its_beginning_and_its_atoms() -> None:
    text = "begin " + "word " * 4_000 + "see src/deep/down.py" + " word" * 500
    made = mask_text(text, "4.0", estimate(text), 500, {"src/deep/down.py": 300_000})
    assert made.startswith("begin word") and "… src/deep/down.py" in made


def test_a_mask_of_a_mask_tells_the_size_of_the_first() -> None:
    text = "\n".join(f"{n}: value_{n}" for n in range(400))
    once = mask_text(text, "4.0", estimate(text), 500, {})
    twice = mask_text(once, "4.0", estimate(once), 100, {})
    assert twice.count("is the whole") == 1
    assert twice.endswith(f"[shortened from {estimate(text)} tokens; 4.0 is the whole]")


def test_the_shortest_mask_has_the_handle_and_the_atoms() -> None:
    assert one_line("4.0", 900, (), "output") == "[output, 900 tokens left out; 4.0 is the whole]"
    assert one_line("4.0", 900, ("a_1", "b_2"), "output") == (
        "[output, 900 tokens left out; 4.0 is the whole: a_1, b_2]"
    )


def test_atoms_are_names_numbers_paths_and_quotes() -> None:
    text = (
        'The file src/a.py, line 1474, calls `run it` as "OBUT9V" for Mia and base_unit.seconds (25 %).'
    )
    assert atoms(text) == [
        "src/a.py",
        "1474",
        "OBUT9V",
        "base_unit.seconds",
        "25",
        "run it",
    ]
    assert atoms('{"a": "b c", "n": [12, 3], "deep": {"id": "x_1"}, "t": true}') == ["b c", "12", "x_1"]


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5)
        ),
        max_leaves=30,
    ),
    st.integers(0, 300),
)
def test_any_json_is_masked_within_its_room_and_ends_with_its_handle(value: object, room: int) -> None:
    text = json.dumps(value)
    made = mask_text(text, "4.0", estimate(text), room, {})
    assert made.splitlines()[-1] == f"[shortened from {estimate(text)} tokens; 4.0 is the whole]"
    assert estimate(made) <= max(room, 0) + 40 + made.count("\n")


def test_json_nested_beyond_reason_is_masked_like_any_text() -> None:
    text = "[" * 3_000 + "]" * 3_000
    assert mask_text(text, "4.0", estimate(text), 50, {}).endswith("4.0 is the whole]")
    deep: object = 1
    for _ in range(200):
        deep = {"a": [deep]}
    assert mask_text(json.dumps(deep), "4.0", 900, 50, {}).endswith("4.0 is the whole]")
