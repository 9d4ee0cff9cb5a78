"""Real processes in the places programs run in: behind pipes, without a terminal, in the background."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.kit import TIMEOUT, Place, small, until
from loopspec.cli import output
from loopspec.cli.output import Out

BASH = shutil.which("bash") or "bash"
STREAM = ("-p", "Hi", "--output-format", "stream-json")
LONG = {"reply": "word " * 4000, "chunk": 20}
SLOW = {"reply": "word " * 400, "chunk": 10, "delay": 0.02}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def shell(place: Place, script: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in which `loopspec` is this one."""
    start = f'loopspec() {{ "{sys.executable}" -m loopspec "$@"; }}\n'
    return subprocess.run(
        [BASH, "--norc", "-c", start + script],
        cwd=place.work,
        env=place.env(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_head_gets_its_line_and_the_session_stays_whole(place: Place) -> None:
    spec = small(place, SLOW)
    args = " ".join(("-p", "Hi", "--output-format", "stream-json"))
    ran = shell(place, f'loopspec run "{spec}" {args} | head -1; echo "${{PIPESTATUS[0]}}"')
    line, code = ran.stdout.splitlines()
    assert line.startswith('{"kind": "opened"') and code in ("0", "1", "56")
    assert "Traceback" not in ran.stderr
    assert place.run("verify", "last").code == 0


@pytest.mark.slow
def test_closed_and_empty_standard_files_change_nothing(place: Place) -> None:
    spec = small(place, {"reply": "It is seven."})
    for end in ("2>&-", "< /dev/null", "<&-", "2>&- <&-"):
        ran = shell(place, f'loopspec run "{spec}" -p Hi {end}; echo "code $?"')
        assert ran.stdout == "It is seven.\ncode 0\n", end
    gone = shell(place, f'loopspec run "{spec}" -p Hi >&-; echo "code $?"')
    assert gone.stdout == "code 56\n", "nobody would hear the answer: it is parked"
    assert "output was closed" in gone.stderr and "Traceback" not in gone.stderr


@pytest.mark.slow
def test_nohup_survives_the_hangup_that_parks_others(place: Place) -> None:
    spec = small(place, SLOW)
    codes = {}
    for first in (["nohup"], []):
        process = subprocess.Popen(
            [*first, *place.argv("run", spec, *STREAM)],
            cwd=place.work,
            env=place.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # as a shell begins it, also when these tests themselves run under nohup
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        until(process, "text.delta")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=TIMEOUT)
        codes[bool(first)] = process.returncode
    assert codes == {True: 0, False: 56}


@pytest.mark.slow
def test_sigterm_parks_and_says_so_in_the_result(place: Place) -> None:
    process = place.start("run", small(place, SLOW), *STREAM)
    until(process, "text.delta")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=TIMEOUT)
    last = out.splitlines()[-1]
    assert process.returncode == 56 and "Traceback" not in err
    assert '"status": "suspended", "exit": 56' in last
    small(place, {"reply": "Done."})
    again = place.run("resume", "last", "--output-format", "json")
    assert again.lines[-1]["answer"] == "Done."


@pytest.mark.slow
def test_in_the_background_of_a_terminal_nothing_is_asked_and_nothing_stops(place: Place) -> None:
    """A job in the background that read from its terminal would be stopped by SIGTTIN for ever."""
    spec = small(place, {"reply": "It is seven."})
    command = f'"{sys.executable}" -m loopspec run "{spec}"'
    script = f'set -m; {command} & wait $!; echo "one $?"; {command} -p Hi & wait $!; echo "two $?"'
    pid, ours = pty.fork()
    if pid == 0:
        os.chdir(place.work)
        os.execve(BASH, [BASH, "--norc", "-c", script], place.env(TERM="xterm"))
    seen = b""
    try:
        while b"two " not in seen:
            assert select.select([ours], [], [], TIMEOUT)[0], seen
            try:
                data = os.read(ours, 65_536)
            except OSError:
                break
            seen += data
    finally:
        os.close(ours)
        os.waitpid(pid, 0)
    text = seen.decode()
    assert "one 0" in text and "two 0" in text, text
    assert "It is seven." in text and "Stopped" not in text


@pytest.mark.slow
def test_a_silent_pipe_does_not_keep_a_run_that_has_something_to_do(place: Place) -> None:
    spec = small(place, {"reply": "It is seven."})
    process = subprocess.Popen(
        place.argv("run", spec, "-p", "Hi"),
        cwd=place.work,
        env=place.env(),
        stdin=subprocess.PIPE,  # nobody writes to it, and nobody closes it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.wait(TIMEOUT)
        assert process.stdout is not None and process.stderr is not None
        assert (process.returncode, process.stdout.read()) == (0, b"It is seven.\n")
        assert b"going on without it" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_pipe_that_is_slow_is_waited_for_when_there_is_nothing_else_to_do(place: Place) -> None:
    spec = small(place, {"reply": "It is seven."})
    process = subprocess.Popen(
        place.argv("run", spec),
        cwd=place.work,
        env=place.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stderr is not None
    assert b"waiting for standard input" in process.stderr.readline()
    out, _ = process.communicate(b"How much?\n", timeout=TIMEOUT)
    assert (process.returncode, out) == (0, b"It is seven.\n")


@pytest.mark.slow
def test_a_slow_reader_gets_every_line_that_is_kept(place: Place) -> None:
    """The pipe is full long before the end; the loop goes on to its rest, and then the lines come."""
    process = place.start("run", small(place, LONG, LONG), *STREAM)
    assert process.stdout is not None
    process.stdout.readline()
    while not place.store.exists() or len(_entries(place)) < 3:
        threading.Event().wait(0.05)  # it moved to its end while nobody read
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    seqs = [int(n) for n in re.findall(r'"kind": "kept".*?"seq": (\d+)', out)]
    assert seqs == [0, 1, 2] and '"kind": "result"' in out.splitlines()[-1]


def _entries(place: Place) -> list[object]:
    """The entries so far, none while the store is being made."""
    try:
        return place.entries()
    except Exception:
        return []


def test_a_patient_end_waits_for_a_reader_that_takes_longer_than_a_hasty_one_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output, "CLOSE_SECONDS", 0.01)
    ours, theirs = os.pipe()
    text = "x" * 1_000_000
    with os.fdopen(theirs, "w") as stream:
        out = Out(stream)
        out.write(text)
        out.close()
        closing = threading.Thread(target=lambda: out.close(patient=True))
        closing.start()
        got = 0
        while got < len(text):
            got += len(os.read(ours, 65_536))
        closing.join(TIMEOUT)
        assert not closing.is_alive()
    os.close(ours)
