"""The stream that programs read: its published schema, and what no line may hold."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

from cli.inside import Inside
from cli.kit import Place, Ran, small
from loopspec.drill.rehearsal import rehearsal
from loopspec.drivers import launch
from loopspec.drivers.lines import SCHEMA_FILE, Line
from loopspec.drivers.lines_schema import render
from loopspec.events import COMMANDS, FACTS, LIVE
from loopspec.registry import installed

ROOT = Path(__file__).parent.parent.parent
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))  # one that needs a plugin gets it, see below
SCHEMA = json.loads((ROOT / SCHEMA_FILE).read_text())
OPEN = Draft202012Validator(SCHEMA, registry=Registry())


def closed(part: Any) -> Any:
    """The schema without what it leaves open: no field and no event that it does not know."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    if "title" in made and "properties" in made and made["title"] in SCHEMA["$defs"]:
        made["additionalProperties"] = False
    if "allOf" in made and "type" in made.get("properties", {}):
        made["properties"]["type"] = {
            "enum": [one["if"]["properties"]["type"]["const"] for one in made["allOf"]]
        }
    return made


CLOSED = Draft202012Validator(closed(SCHEMA), registry=Registry())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


def wrong(ran: Ran) -> list[str]:
    """What is wrong with the lines of a run."""
    return [
        f"{number}: {fault.json_path}: {fault.message[:200]}"
        for number, line in enumerate(ran.lines, 1)
        for fault in CLOSED.iter_errors(line)
    ]


def test_the_stored_schema_is_the_one_made_from_the_classes() -> None:
    assert (ROOT / SCHEMA_FILE).read_text() == render()


def test_the_schema_holds_every_line_and_every_event() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    names = {kind.__name__ for kind in (*get_args(Line), *COMMANDS, *FACTS, *LIVE)}
    assert names <= set(SCHEMA["$defs"])


def with_plugins(place: Inside) -> dict[str, str]:
    """An environment in which the plugins of this repository are installed."""
    paths = [place.path / "site"]
    for project in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        about = tomllib.loads(project.read_text())["project"]
        info = paths[0] / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Name: {about['name']}\nVersion: {about['version']}\n")
        entries = about["entry-points"]["loopspec"].items()
        lines = ["[loopspec]", *(f"{name} = {where}" for name, where in entries)]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        paths += [d for d in (project.parent / "src", project.parent) if any(d.glob("*/__init__.py"))]
    return {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}


REHEARSE = """
import sys
from loopspec.drill.rehearsal import rehearsal
from loopspec.drivers import launch
from loopspec.registry import installed
machine = launch.load(sys.argv[1], installed()).machine
open(sys.argv[2], "w").write(rehearsal(machine, installed().tools))
print(" ".join(machine.models))
"""


def rehearsed(place: Place, spec: Path, script: Path) -> list[str]:
    """Write the script of a loop that needs a plugin; gives back its models' names."""
    done = subprocess.run(
        [sys.executable, "-c", REHEARSE, str(spec), str(script)],
        env=place.env(**with_plugins(place)),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def in_process(place: Place) -> Callable[..., Ran]:
    """`loopspec` as a process in which this repository's plugins are installed."""
    return lambda *args: Place.run(place, *args, **with_plugins(place))


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda p: p.stem)
def test_every_line_of_a_shipped_loop_fits_the_published_schema(place: Inside, spec: Path) -> None:
    script = place.path / "replies.yaml"
    machine = launch.load(str(spec), installed()).machine
    if machine is not None:
        script.write_text(rehearsal(machine, installed().tools))
        names, run = list(machine.models), place.run
    else:  # it needs a plugin: a process of its own, in which that is installed
        names, run = rehearsed(place, spec, script), in_process(place)
    (place.work / "rehearsal.txt").write_text("x\n")
    models = [arg for name in names for arg in ("--model", f"{name}=scripted/{script}")]
    args = ("--yes", "-p", "Do it.", "--output-format", "stream-json")
    ran = run("run", spec, *models, *args)
    assert "Traceback" not in ran.err
    kinds = [line["kind"] for line in ran.lines]
    assert (kinds[0], kinds[-1], kinds.count("result")) == ("opened", "result", 1)
    assert {"kept", "live"} <= set(kinds)
    assert wrong(ran) == []
    seqs = [line["seq"] for line in ran.lines if line["kind"] == "kept"]
    assert seqs == list(range(len(seqs)))


def test_a_refusal_and_an_error_are_lines_of_the_schema_too(place: Inside) -> None:
    spec = small(place, {"reply": "Hi."})
    assert place.run("run", spec, "-p", "Hi").code == 0
    args = ("--extend", "turns=3", "--output-format", "stream-json")
    refused = place.run("resume", "last", *args)
    assert wrong(refused) == []
    gone = place.path / "elsewhere"
    shutil.move(place.work, gone)
    place.work.mkdir()
    shutil.rmtree(place.store)
    failed = place.run("run", spec, "--model", "main=x/y", "--session", "a:b", *args[2:])
    (line,) = failed.lines
    assert wrong(failed) == []
    assert (line["kind"], line["status"], line["exit"]) == ("result", "error", failed.code)
    assert line["error"]["fault"] and "Traceback" not in failed.err


def test_what_a_later_release_may_add_still_fits() -> None:
    line = {"kind": "kept", "v": 1, "session": "s", "seq": 1, "at": 1, "by": "person", "new": [1]}
    event = {"type": "moon.rose", "phase": 3}
    rest = {"name": "moon.rose", "event": event, "outcome": "moved", "state": [], "said": []}
    assert list(OPEN.iter_errors({**line, **rest})) == []
    missing = {k: v for k, v in {**line, **rest}.items() if k != "seq"}
    assert [e.validator for e in OPEN.iter_errors(missing)] == ["required"]
    other = {**line, **rest, "event": {"type": "user.message", "text": 3, "tokens": 0}}
    assert [e.json_path for e in OPEN.iter_errors(other)] == ["$.event.text"]


def test_a_secret_that_the_stream_cuts_in_two_is_in_no_line(place: Inside) -> None:
    secret = "tiger-lily-9041"
    spec = small(place, {"reply": f"The key is {secret}, keep it.", "thinking": secret, "chunk": 4})
    ran = place.run("run", spec, "-p", "Hi", "--output-format", "stream-json", LILY_TOKEN=secret)
    shown = [x["event"]["text"] for x in ran.lines if x.get("name") == "text.delta"]
    thought = [x["event"]["text"] for x in ran.lines if x.get("name") == "thinking.delta"]
    assert "".join(shown) == "The key is [secret:LILY_TOKEN], keep it."
    assert "".join(thought) == "[secret:LILY_TOKEN]"
    assert not any(secret[:6] in piece or secret[-6:] in piece for piece in shown + thought)
    assert secret not in ran.out


def test_a_line_ends_only_at_its_end_and_steers_no_terminal(place: Inside) -> None:
    odd = "one\u2028two\u2029three\x85four\x9b31mfive\x7f\x1b[0m"
    ran = place.run("run", small(place, {"reply": odd}), "-p", "Hi", "--output-format", "stream-json")
    assert ran.lines[-1]["answer"] == odd  # splitlines() splits at all of these
    assert not any(0x7F <= ord(c) < 0xA0 or (ord(c) < 0x20 and c != "\n") for c in ran.out)
    assert wrong(ran) == []
