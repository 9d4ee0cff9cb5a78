"""`loopspec simulate`, as a real process: its table, its exit codes, and how a violation is shown."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from cli.kit import Place, kill
from loopspec.journal.chain import check

HELD = """\
loopspec: 1
name: talker
version: 1.0.0
models: {main: {use: scripted/none.yaml}}
budgets: {turns: 20}
initial: ready
states:
  ready: {kind: input, on: {user.message: talking}}
  talking:
    kind: model
    on:
      model.replied: ready
      model.failed: ready
      model.overflowed: ready
      context.pressed: ready
      budget.exhausted: ready
      user.interrupted: ready
"""

BROKEN = """\
loopspec: 1
name: mailer
version: 0.1.0
vars: {tries: {type: int, default: 0}}
models: {main: {use: scripted/none.yaml}}
tools: {send: {use: shell.run, effect: irreversible}}
budgets: {turns: 20}
authority: {allow: [{tools: [send]}]}
initial: ready
states:
  ready:
    kind: input
    on: {user.message: asking}
  asking:
    kind: model
    on:
      model.replied: [{guard: size(event.calls) > 0, target: deciding}, {target: ready}]
      model.failed: ready
      model.overflowed: ready
      context.pressed: ready
      budget.exhausted: ready
      user.interrupted: ready
  deciding:
    kind: gate
    on: {gate.allowed: sending, gate.asked: ready, gate.denied: asking}
  sending:
    kind: tools
    on:
      tools.settled: asking
      user.interrupted: ready
      budget.exhausted: ready
      effect.lost:
        - {guard: 10 / vars.tries > 3, target: ready}
        - {target: unsure}
  unsure:
    kind: approval
    on: {approval.granted: sending, approval.denied: asking, user.interrupted: ready}
"""
"""What it does about a lost mail divides by nothing: only a fault ever leads there."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def spec(place: Place, text: str, name: str = "loop.yaml") -> str:
    """A spec in the work directory."""
    (place.work / name).write_text(text)
    return name


def test_a_loop_that_holds_prints_a_table_and_nothing_else(place: Place) -> None:
    ran = place.run("simulate", spec(place, HELD), "--seeds", "40", "--seed", "100")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "talker 1.0.0, seeds 100 to 139"
    numbers = {line[:34].strip(): int(line[34:].replace(",", "")) for line in lines[1:]}
    assert numbers["seeds"] == numbers["sessions ended"] == numbers["input"] == 40
    assert numbers["violations"] == 0
    assert {"crash between two moves", "slow disk", "driver paused and superseded"} <= numbers.keys()
    kinds = re.compile(r"crash |answer |work |timer |interrupt|host ")
    inner = [n for name, n in numbers.items() if kinds.match(name)]
    assert numbers["faults injected"] >= sum(inner) > 100
    assert not place.store.exists()


def test_the_output_is_the_same_whatever_the_number_of_processes(place: Place) -> None:
    name = spec(place, HELD)
    one, two = (place.run("simulate", name, "--seeds", "60", "--jobs", n) for n in ("1", "2"))
    assert one.out == two.out
    assert (one.code, two.code) == (0, 0)


def test_a_violation_is_shown_with_its_seed_its_journal_and_the_command_again(place: Place) -> None:
    name = spec(place, BROKEN)
    kept = place.path / "kept"
    few = ("--faultless", "100", "--faults", "crashes")
    ran = place.run("simulate", name, "--seeds", "60", "--jobs", "1", *few, "--keep", kept)
    assert (ran.code, ran.err) == (1, "")
    seed = re.search(r"^seed (\d+):$", ran.out, re.MULTILINE)
    assert seed is not None, ran.out
    assert (
        "  violated: the session ends stuck (guard at 33:11: `10 / vars.tries > 3`: divide by zero "
        "(while handling `effect.lost`)) in sending: no run without faults ends so, and no route for "
        "what is lost leads there\n  journal:\n" in ran.out
    )
    command = f"loopspec simulate loop.yaml --seeds 1 {' '.join(few)} --seed {seed[1]}"
    assert f"  again: {command}\n" in ran.out
    count = int(re.findall(r"^violations +(\d+)$", ran.out, re.MULTILINE)[0])
    assert ran.out.endswith(f"\nkept: the journals of {min(20, count)} seeds in {kept}\n")

    again = place.run(*command.split()[1:])
    assert again.code == 1
    block = ran.out[seed.start() :].split("\n\n")[0]
    assert block in again.out

    rows = (kept / f"sim-{seed[1]}.jsonl").read_bytes().splitlines()
    assert [e.seq for e in check(rows, f"sim-{seed[1]}")] == list(range(len(rows)))
    assert any(json.loads(row)["event"]["type"] == "effect.lost" for row in rows)
    told = (kept / f"sim-{seed[1]}.txt").read_text()
    assert told.startswith("violated: the session ends stuck")
    assert not place.store.exists()


def test_without_faults_the_same_loop_holds(place: Place) -> None:
    ran = place.run("simulate", spec(place, BROKEN), "--seeds", "60", "--faults", "none")
    assert (ran.code, ran.err) == (0, "")
    assert "faults injected                               0\n" in ran.out


def test_what_cannot_be_simulated_is_refused_in_one_line(place: Place) -> None:
    name = spec(place, HELD)
    ran = place.run("simulate", name, "--faults", "disk,fire")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("loopspec: there is no fault `fire`. groups: crashes, answers, timers,")
    ran = place.run("simulate", "nowhere.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("loopspec: there is no file `nowhere.yaml`")
    ran = place.run("simulate", spec(place, "loopspec: 1\n", "empty.yaml"))
    assert (ran.code, ran.out) == (52, "")
    assert "empty.yaml:1:1: error LS102" in ran.err
    assert place.run("simulate", name, "--seeds", "0").code == 2


def test_ctrl_c_ends_it_clean_with_what_is_done(place: Place) -> None:
    """At a terminal, so that progress is shown, and the interrupt reaches every process of the group."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        place.argv("simulate", spec(place, HELD), "--seeds", "100000", "--jobs", "2"),
        cwd=place.work,
        env=place.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""
    while "of 100,000 seeds" not in seen:
        seen += os.read(ours, 4096).decode()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    while True:
        try:
            seen += os.read(ours, 4096).decode()
        except OSError:
            break
    os.close(ours)
    assert process.returncode == 130
    done = re.search(r"stopped: ([\d,]+) of 100,000 seeds are done", seen)
    assert done is not None, seen
    assert f"seeds{done[1]:>42}\n" in out
    assert "Traceback" not in out + seen
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_when_the_command_is_killed_its_processes_end_by_themselves(place: Place) -> None:
    process = place.start("simulate", spec(place, HELD), "--seeds", "1000000", "--jobs", "3")
    try:
        command = psutil.Process(process.pid)
        children: list[psutil.Process] = []
        while len(children) < 3:
            assert process.poll() is None
            children = command.children()
        kill(process)  # gives back only when nobody holds its outputs open any more
        _, alive = psutil.wait_procs(children, timeout=30)
        assert [c for c in alive if c.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_is_told_before_the_seeds(place: Place) -> None:
    (place.path / "file").write_text("")
    ran = place.run("simulate", "coding-agent", "--seeds", "1000000", "--keep", place.path / "file" / "x")
    fault = f"loopspec: {place.path}/file/x: journals cannot be kept here: Not a directory."
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"{fault} name a folder that you may write to\n"
