"""A whole loop with the kind `review`, run as people run it: real processes, a real store."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TIMEOUT = 240


class Place:
    """A directory with the loop, its scripts and a store."""

    def __init__(self, path: Path, found: str) -> None:
        self.path = path
        for name in ("loop.yaml", "work.yaml", "judge.yaml"):
            shutil.copy(HERE / name, path)
        keep = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        self.without = {k: v for k, v in os.environ.items() if k in keep} | {"LANG": "C.UTF-8"}
        self.without["LOOPSPEC_STORE"] = str(path / "store")
        self.env = self.without | ({"PYTHONPATH": found} if found else {})

    def start(self, *args: str, plugin: bool = True) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "loopspec", *args],
            cwd=self.path,
            env=self.env if plugin else self.without,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, plugin: bool = True) -> tuple[int, str, str]:
        process = self.start(*args, plugin=plugin)
        out, err = process.communicate(timeout=TIMEOUT)
        return process.returncode, out, err

    def events(self) -> list[dict[str, Any]]:
        """The journal's events, by the program's own stream of a finished session."""
        code, out, err = self.run("export", "s1", "-o", "s1.jsonl")
        assert code == 0, (out, err)
        lines = [json.loads(line) for line in (self.path / "s1.jsonl").read_text().splitlines()]
        return [found for line in lines if (found := _event(line))]


def _event(line: Any) -> dict[str, Any]:
    """The event an exported line holds, wherever it stands in it."""
    if isinstance(line, dict):
        if isinstance(line.get("event"), dict):
            return dict(line["event"])
        for value in line.values():
            if found := _event(value):
                return found
    return {}


@pytest.fixture
def place(tmp_path: Path, path: str) -> Place:
    return Place(tmp_path, path)


def test_faults_go_back_until_the_work_passes_and_the_proof_needs_no_plugin(
    place: Place, path: str
) -> None:
    code, out, err = place.run("run", "loop.yaml", "-p", "Write it.", "--session", "s1")
    assert code == 0, (out, err)
    assert "A reviewer found: It is about rain. – Snow.; It has one sentence. – Two." in err
    assert "Passed with 100: Good." in err
    made = [e for e in place.events() if e["type"] == "effect.answered"]
    assert [(e["name"], e["usage"]) for e in made] == [
        (
            "review.failed",
            {"input_tokens": 100, "output_tokens": 30, "cached_tokens": 0, "cost": 1_000_000},
        ),
        (
            "review.passed",
            {"input_tokens": 350, "output_tokens": 45, "cached_tokens": 0, "cost": 3_000_000},
        ),
    ]
    bare = not path  # installed for good: there is no environment without it to try
    for command in (("verify", "s1"), ("replay", "s1", "--recompute"), ("explain", "s1")):
        code, out, err = place.run(*command, plugin=bare)
        assert code == 0, (out, err)


def test_the_checker_and_the_help_know_the_kind(place: Place) -> None:
    assert place.run("check", "loop.yaml")[0] == 0
    code, out, _ = place.run("kinds", "review")
    assert code == 0 and "review.passed, review.failed, review.unclear" in out
    loop = place.path / "loop.yaml"
    text = loop.read_text().replace("model: judge", "model: jugde")
    loop.write_text(text.replace("criteria:", "criterea:"))
    code, out, err = place.run("check", "loop.yaml")
    told = out + err
    assert code == 52
    assert "loop.yaml:30:16" in told and "no model called `jugde` is declared" in told
    assert "loop.yaml:31:9" in told and "`criterea`" in told and "criteria" in told


def test_the_merged_schema_completes_its_keys(place: Place) -> None:
    code, out, err = place.run("schema", "--merged")
    assert code == 0, err
    rules = json.loads(out)["$defs"]["state"]["allOf"]
    when = {"properties": {"kind": {"const": "review"}}, "required": ["kind"]}
    (mine,) = [rule for rule in rules if rule.get("if") == when]
    own = mine["then"]["properties"]
    assert {"model", "criteria", "about", "most", "instructions"} <= {k for k, v in own.items() if v}
    assert mine["then"]["required"] == ["model", "criteria"]


@pytest.mark.slow
def test_a_killed_review_is_asked_again(place: Place) -> None:
    judge = place.path / "judge.yaml"
    good = judge.read_text()
    judge.write_text("script: 1\nturns:\n  - {when: newest, reply: 'It is ', stall_after: 4}\n")
    process = place.start(
        "run", "loop.yaml", "-p", "Write it.", "--session", "s1", "--output-format", "stream-json"
    )
    assert process.stdout is not None
    judging = False
    for line in process.stdout:
        judging = judging or "review" in line
        if judging and "It i" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)
    judge.write_text(good)
    code, out, err = place.run("resume", "s1")
    assert code == 0, (out, err)
    names = [e["name"] for e in place.events() if e["type"] == "effect.answered"]
    assert names == ["review.failed", "review.passed"]
