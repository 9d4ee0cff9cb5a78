"""kill -9 at any moment: resuming finishes the work, and nothing that was answered runs again."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cli.kit import Place, kill, small, until
from loopspec.effects import RunTool
from loopspec.events import AttemptFailed, EffectClaimed, EffectLost, ToolAnswered

LINES = 150


def kill_after(place: Place, count: int, *args: str | Path) -> bool:
    """Start a run and kill it after `count` lines of its output; whether it was still running."""
    process = place.start(*args)
    assert process.stdout is not None
    for _ in range(count):
        if not process.stdout.readline():
            process.communicate()
            return False
    kill(process)
    return True


def ran_again(place: Place) -> list[str]:
    """Calls that were started (claimed or emitted) after their answer had been journaled."""
    answered: set[str] = set()
    calls: dict[str, str] = {}
    out = []
    for entry in place.entries():
        for effect in entry.effects:
            if isinstance(effect, RunTool):
                calls[effect.id] = effect.call
                if effect.call in answered:
                    out.append(effect.call)
        if isinstance(entry.event, EffectClaimed) and calls[entry.event.effect] in answered:
            out.append(calls[entry.event.effect])
        if isinstance(entry.event, ToolAnswered):
            answered.add(entry.event.call)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_demo_survives_kill_9_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    place = Place(tmp_path)
    moment = random.Random(seed).randrange(2, LINES)
    args = ("demo", place.work / "repo", "--yes", "--output-format", "stream-json")
    kill_after(place, moment, *args)
    ran = place.run("resume", "last", "--yes", "--output-format", "json")
    assert ran.code == 0, ran.err
    assert ran.lines[-1]["answer"].startswith("All tests pass")
    assert ran_again(place) == []
    assert place.run("verify", "last").code == 0
    assert place.run("replay", "last", "--recompute").out.strip().endswith("0 differences")
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=place.work / "repo",
        env=place.env(),
        capture_output=True,
        text=True,
    )
    assert "15 passed" in tests.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_command_runs_once_unless_a_person_said_run_it_again(tmp_path: Path, seed: int) -> None:
    place = Place(tmp_path)
    turns = [
        {
            "reply": "step",
            "calls": [{"tool": "shell", "args": {"command": f"echo {n} >> log; sleep 0.1"}}],
        }
        for n in range(4)
    ]
    spec = small(place, *turns, {"reply": "Done."})
    moment = random.Random(seed).randrange(2, 45)
    kill_after(place, moment, "run", spec, "-p", "Go", "--yes", "--output-format", "stream-json")
    ran = place.run("resume", "last", "--yes", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Done."), ran.err
    again = Counter(
        e.event.call
        for e in place.entries()
        if getattr(e.event, "answer", "") == "rerun"
    )
    counts = Counter((place.work / "log").read_text().split())
    assert set(counts) == {"0", "1", "2", "3"}
    assert sum(counts.values()) <= 4 + sum(again.values())
    assert ran_again(place) == []
    assert place.run("verify", "last").code == 0


def test_the_demo_ends_repaired_and_says_where_everything_is(tmp_path: Path) -> None:
    place = Place(tmp_path)
    ran = place.run("demo", place.work / "repo", "--yes")
    assert ran.code == 0, ran.err
    assert "All tests pass" in ran.out
    for said in ("explain", "replay", "0 differences", "chain whole", str(place.store)):
        assert said in ran.out
    states = {t.target for e in place.entries() for t in e.record.taken}
    assert {"working.deciding", "working.awaiting_approval", "working.tool_running"} <= states
    second = place.run("demo", place.work / "repo", "--yes")
    assert (second.code, "not empty" in second.err) == (2, True)


def test_a_demo_with_a_real_models_name_and_no_key_says_which(tmp_path: Path) -> None:
    place = Place(tmp_path)
    ran = place.run("demo", place.work / "repo", "--model", "main=openai/gpt-5-mini")
    assert ran.code == 41
    assert "OPENAI_API_KEY" in ran.err and "scripted/" in ran.err
    assert json.dumps(ran.err).count("Traceback") == 0


def test_a_command_lost_while_it_was_being_cancelled_is_asked_about(tmp_path: Path) -> None:
    place = Place(tmp_path)
    stubborn = (
        "[ -e once ] && { echo again >> log; exit 0; }; touch once; trap '' TERM; echo begun; "
        "while :; do sleep 0.2; done"
    )
    call = {"tool": "shell", "args": {"command": stubborn}}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "Done."})
    process = place.start("run", spec, "-p", "Go", "--yes", "--output-format", "stream-json")
    until(process, "tool.output")
    process.send_signal(signal.SIGINT)
    until(process, "user.interrupted")
    kill(process)
    asked = place.run("resume", "last", "--output-format", "json")
    assert (asked.code, asked.lines[-1]["waiting"][0]["status"]) == (55, "lost")
    assert not (place.work / "log").exists()
    ran = place.run("resume", "last", "--yes", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Done.")
    assert (place.work / "log").read_text() == "again\n"
    assert place.run("verify", "last").code == 0


def test_what_a_command_had_said_before_a_kill_is_told_with_its_loss(tmp_path: Path) -> None:
    """The command itself kills its driver, once the store has what it said."""
    place = Place(tmp_path)
    kept = (
        f"import sqlite3; c = sqlite3.connect({str(place.store / 'journal.db')!r})\n"
        "while not c.execute('SELECT count(*) FROM partials').fetchone()[0]: pass"
    )
    looks = place.file("kept.py", kept)
    command = f"echo half of it; {sys.executable} {looks}; kill -9 $PPID"
    call = {"tool": "shell", "args": {"command": command}}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "Done."})
    killed = place.run("run", spec, "-p", "Go", "--yes")
    assert killed.code == -signal.SIGKILL
    assert place.run("resume", "last").code == 55
    (lost,) = [e.event for e in place.entries() if isinstance(e.event, EffectLost)]
    assert lost.partial == "half of it\n"


def test_what_had_streamed_before_a_kill_is_kept_and_the_call_is_made_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    spec = small(place, {"reply": "word " * 2500, "chunk": 50, "delay": 0.01})
    process = place.start("run", spec, "-p", "Go", "--output-format", "stream-json")
    until(process, "text.delta", 120)
    kill(process)
    small(place, {"reply": "All of it."})
    ran = place.run("resume", "last", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "All of it."), ran.err
    (failed,) = [e.event for e in place.entries() if isinstance(e.event, AttemptFailed)]
    assert failed.reason == "restart"
    # 120 pieces of 50 were seen; at most the newest 4 KB of them were not kept yet.
    assert failed.partial.startswith("word word") and len(failed.partial) >= 120 * 50 - 4096
    assert place.run("replay", "last", "--recompute").code == 0
