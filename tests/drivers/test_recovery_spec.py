"""A session keeps the compiled machine it started with, whatever becomes of its file."""

from pathlib import Path

import pytest
from cli.kit import Place

OWN = """\
loopspec: 1
name: own
version: 1.0.0
initial: first
states:
  first: {kind: input, on: {user.message: second}}
  second: {kind: input, on: {user.message: over}}
  over: {type: final}
"""
OTHER = """\
loopspec: 1
name: other
version: 2.0.0
initial: elsewhere
states:
  elsewhere: {kind: input, on: {user.message: nowhere}}
  nowhere: {type: final, outcome: failed}
"""


BAD = "states: [no spec at all"


@pytest.mark.parametrize("becomes", [None, OTHER, BAD], ids=["gone", "other", "bad"])
def test_a_session_runs_on_its_own_machine(tmp_path: Path, becomes: str | None) -> None:
    place = Place(tmp_path)
    spec = place.file("own.yaml", OWN)
    assert place.run("run", spec, "--session", "s1").code == 0
    spec.unlink()
    if becomes is not None:
        spec.write_text(becomes)
    ran = [place.run("resume", "s1", "-p", word, "--output-format", "json") for word in ("a", "b")]
    assert [(one.code, one.err) for one in ran] == [(0, ""), (0, "")]
    assert [one.lines[-1]["status"] for one in ran] == ["input", "finished"]
    assert [entry.record.taken[-1].target for entry in place.entries() if entry.record.taken] == [
        "second",
        "over",
    ]
    told = place.run("explain", "s1")
    assert (told.code, "own 1.0.0" in told.out) == (0, True)
    assert place.run("replay", "s1", "--recompute").code == 0
