"""`loopspec context`: what the model sees, by the real command line."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cli.kit import Place, small

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A session whose view was made smaller."""
    place = Place(tmp_path_factory.mktemp("talked"))
    spec = small(place, {"when": ".", "reply": f"{WORDS} {WORDS} {WORDS}"})
    spec.write_text(spec.read_text().replace("retry: {", "window: 900, retry: {"))
    place.run("run", spec, "--session", "s1", "-p", "Keep this: the task.")
    for n in range(9):
        done = place.run("resume", "s1", "-p", f"question {n}: {WORDS}")
        assert done.code == 0, done.err
    return place


def told(place: Place, *more: str) -> Any:
    done = place.run("context", "s1", "--output-format", "json", *more)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_every_unit_of_the_view_and_all_that_went_is_told(talked: Place) -> None:
    found = told(talked)
    assert (found["model"], found["window"], found["compact_at"]) == ("main", 900, 720)
    assert found["tokens"] <= 900
    assert found["view"] == sum(u["tokens"] for u in found["units"])
    newest = found["newest"]
    assert newest["left"] == len(found["went"]) > 0
    assert newest["same_plan"]
    assert newest["after"] < newest["before"]
    task = [u for u in found["units"] if u["text"] == "Keep this: the task."]
    assert [u["score"] for u in task] == [-1]
    entries = talked.entries("s1")
    event = entries[newest["entry"]].event
    gone = {h for u in found["went"] for h in u["handles"]}
    assert gone == event.gone


def test_it_shows_how_it_stood_before(talked: Place) -> None:
    now, then = told(talked), told(talked, "--at", "2")
    assert (then["seq"], then["newest"], then["went"]) == (2, None, [])
    assert [u["handles"] for u in then["units"]] == [["1.0"], ["2.0"]]
    assert now["seq"] > 2


def test_the_text_is_for_people(talked: Place) -> None:
    done = talked.run("context", "s1")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("window ")
    assert set(lines[1]) <= set("[#.]")
    assert "in view, oldest first" in lines
    assert any(line.startswith("went at entry ") for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_an_entry_that_is_not_there_and_a_session_that_is_not_are_refused(talked: Place) -> None:
    done = talked.run("context", "s1", "--at", "9999")
    assert done.code == 2
    assert "none 9999" in done.err
    assert talked.run("context", "nobody").code != 0


def test_what_a_model_wrote_steers_no_terminal(tmp_path: Path) -> None:
    place = Place(tmp_path)
    spec = small(place, {"when": ".", "reply": "\u001b[31mred\u0007 \u202e"})
    place.run("run", spec, "--session", "s2", "-p", "\u001b]0;title\u0007 hi")
    out = place.run("context", "s2").out
    assert "\u001b" not in out and "\u0007" not in out and "\u202e" not in out


def test_an_entry_that_was_edited_is_told_although_the_view_is_shown(
    talked: Place, tmp_path: Path
) -> None:
    store = tmp_path / "copy"
    shutil.copytree(talked.store, store)
    with sqlite3.connect(store / "journal.db") as base:
        (row, body) = base.execute("SELECT row, body FROM entries WHERE seq = 1").fetchone()
        assert b"the task." in body
        base.execute("UPDATE entries SET body = ? WHERE row = ?", (body.replace(b"task.", b"tusk."), row))
    done = talked.run("context", "s1", "--store", store)
    assert done.code == 0
    assert "entry 1: this does not hold" in done.err
