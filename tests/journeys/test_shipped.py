"""Every journey of every shipped loop is walked, offline, with the real driver, store and tools."""

import json
from pathlib import Path

import jsonschema
import pytest
import referencing
import yaml

from journeys.review import plugged
from loopspec.testing.journeys import journeys, walk

ROOT = Path(__file__).parent.parent.parent
LOOPS = sorted(p.stem for p in (ROOT / "specs").glob("*.yaml"))
JOURNEYS = [path for loop in LOOPS for path in journeys(ROOT / "specs" / f"{loop}.yaml")]
NEEDED = {"interrupt", "budget", "unreachable", "long"}
"""What every loop must be shown to survive: Ctrl-C, a spent budget, no model, a full window."""


@pytest.mark.parametrize("path", JOURNEYS, ids=[f"{p.parent.name}/{p.stem}" for p in JOURNEYS])
def test_a_journey_comes_out_as_it_says(path: Path) -> None:
    walk(path, registry=plugged(path.parent.name)).check()


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_has_a_journey_for_what_can_always_happen(loop: str) -> None:
    names = {path.stem for path in JOURNEYS if path.parent.name == loop}
    assert names >= NEEDED
    if "shell.run" in (ROOT / "specs" / f"{loop}.yaml").read_text():
        assert {"denied", "tool-fails"} <= names


def test_every_journey_fits_the_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "journey-1.schema.json").read_text())
    known = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    for path in JOURNEYS:
        assert [e.message for e in known.iter_errors(yaml.safe_load(path.read_text()))] == [], path
    assert not known.is_valid({"journey": 1, "spec": "chat", "about": "x", "models": {}, "steps": []})


def test_every_journey_leads_an_editor_to_the_schema() -> None:
    for path in JOURNEYS:
        head = path.read_text().splitlines()[0]
        assert head.startswith("# yaml-language-server: $schema="), path
        named = path.parent / head.partition("$schema=")[2]
        assert named.resolve() == ROOT / "schemas" / "journey-1.schema.json"
