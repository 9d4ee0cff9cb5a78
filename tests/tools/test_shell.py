"""The shell: what it says, what it sees, and that nothing of it is left running."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from kit import Shown

from loopspec.hooks import ToolFailed
from loopspec.tools import tree
from loopspec.tools.orphans import end_call
from loopspec.tools.shell import RUN, environment
from loopspec.tools.supervise import Run, run_tool


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path)


def wait_for(file: Path, seconds: float = 10.0) -> int:
    """The pid a command has written into `file`, as soon as it is there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        text = file.read_text() if file.exists() else ""
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.01)
    raise AssertionError(f"{file.name} was not written")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def file_is_there(file: Path) -> int:
    return await asyncio.to_thread(wait_for, file)


def test_output_and_exit_code(shown: Shown) -> None:
    assert shown.run(RUN, command="echo out; echo err >&2; pwd; exit 3") == (
        f"out\nerr\n{shown.workdir}\nexit code 3"
    )
    assert shown.run(RUN, command="printf x") == "x\nexit code 0"
    assert shown.run(RUN, command="true") == "exit code 0"
    assert shown.run(RUN, command="kill -KILL $$") == "exit code 137 (ended by SIGKILL)"
    with pytest.raises(ToolFailed, match="NUL"):
        shown.run(RUN, command="echo \0")


def test_output_is_shown_while_the_command_runs(shown: Shown) -> None:
    async def story() -> str:
        running = asyncio.ensure_future(
            shown.arun(RUN, command="echo first; while [ ! -e go ]; do sleep 0.05; done; echo last")
        )
        while "first\n" not in "".join(shown.texts):
            await asyncio.sleep(0.01)
        assert not running.done()
        (shown.workdir / "go").touch()
        return await running

    assert asyncio.run(story()) == "first\nlast\nexit code 0"
    assert "".join(shown.texts) == "first\nlast\n"


def test_a_character_split_between_reads_stays_whole(shown: Shown) -> None:
    command = r"printf 'a\303'; sleep 0.3; printf '\244b\360\237'; sleep 0.3; printf '\230\200'"
    assert shown.run(RUN, command=command) == "aäb😀\nexit code 0"
    assert "".join(shown.texts) == "aäb😀"
    assert len(shown.texts) >= 2
    assert shown.run(RUN, command=r"printf 'a\377b'") == "a\ufffdb\nexit code 0"


def test_there_is_no_input_and_no_terminal(shown: Shown) -> None:
    began = time.monotonic()
    assert shown.run(RUN, command="cat; read line; echo $?") == "1\nexit code 0"
    assert "exit code 0" not in shown.run(RUN, command="exec cat /dev/tty")
    assert time.monotonic() - began < 5


def test_the_environment_is_small_and_holds_no_secrets(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("BUILD_MODE", "fast")
    shown.config = {"env": ["BUILD_MODE", "NOT_SET"]}
    lines = shown.run(RUN, command="env").splitlines()
    names = {line.split("=")[0] for line in lines[:-1]} - {"PWD", "OLDPWD", "SHLVL", "_"}
    allowed = {"PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR", "USER", "VIRTUAL_ENV"}
    assert names - allowed == {"BUILD_MODE", "LOOPSPEC_CALL"}
    assert "TERM=dumb" in lines and "BUILD_MODE=fast" in lines
    assert shown.run(RUN, command="command -v python").startswith(os.path.dirname(sys.executable))


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", "x", True),
        ("GITHUB_TOKEN", "x", True),
        ("DB_PASSWORD", "x", True),
        ("HARMLESS", "sk-12345", True),
        ("GIT_AUTHOR_NAME", "x", False),
        ("KEYBOARD", "x", False),
    ],
)
def test_what_looks_like_a_secret_is_not_passed_on(name: str, value: str, secret: bool) -> None:
    outside = {"PATH": "/bin", name: value}
    if secret:
        with pytest.raises(ToolFailed, match=f"lists {name}, which looks like a secret"):
            environment([name], outside)
    else:
        assert environment([name], outside)[name] == value


def test_a_deadline_ends_the_whole_tree_and_keeps_the_output(shown: Shown) -> None:
    (shown.workdir / "child.py").write_text(
        "import os, signal, sys, time\n"
        "os.setsid()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "open('deaf.tmp', 'w').write(f'{os.getpid()}\\n')\n"
        "os.rename('deaf.tmp', 'deaf')\n"
        "time.sleep(600)\n"
    )
    # The second grandchild has lost its parents and left the session: only its mark is left.
    command = (
        f"{sys.executable} child.py & "
        "(setsid sh -c 'echo $$ > lost; exec sleep 600' >/dev/null 2>&1 &) ; "
        "while [ ! -s lost ] || [ ! -e deaf ]; do sleep 0.05; done; echo ready; sleep 600"
    )
    began = time.monotonic()
    ended = asyncio.run(run_tool(RUN, {"command": command}, shown.context, 3.0, 0))
    assert time.monotonic() - began < 8
    assert (ended.status, ended.whole) == ("timeout", None)
    assert ended.text == "deaf\nready\n[shell.run was ended: not done within 3 s]"
    pids = [wait_for(shown.workdir / "deaf"), wait_for(shown.workdir / "lost")]
    assert [pid for pid in pids if lives(pid)] == []


def test_a_process_without_the_mark_is_ended_by_its_session(shown: Shown) -> None:
    command = "env -i sh -c 'echo $$ > pid; exec sleep 600' & while [ ! -s pid ]; do :; done"
    assert shown.run(RUN, command=command) == (
        "[1 background process was still running and ended]\nexit code 0"
    )
    assert not lives(wait_for(shown.workdir / "pid"))


def test_a_child_that_was_over_before_anybody_looked_still_has_its_session(tmp_path: Path) -> None:
    """Its pid is free by then; what it left without the mark must be found by the session's number."""
    command = f"env -i sleep 600 & echo $! > {tmp_path}/pid"
    child = subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
    child.wait()
    root = tree.root_of(child.pid)
    assert root == tree.Root(child.pid, None)
    left = wait_for(tmp_path / "pid")
    assert tree.end(root, "no-call:") == 1
    assert not lives(left)


def test_a_grandchild_that_holds_the_pipe_does_not_hang(shown: Shown) -> None:
    began = time.monotonic()
    text = shown.run(RUN, command="setsid sleep 600 & echo $! > pid; echo done")
    assert text == "done\n[1 background process was still running and ended]\nexit code 0"
    assert time.monotonic() - began < 6
    assert not lives(wait_for(shown.workdir / "pid"))


def test_cancelling_ends_the_tree_and_keeps_what_was_said(shown: Shown) -> None:
    async def story() -> tuple[str, str]:
        command = "echo begun; echo $$ > pid; sleep 600"
        run = Run(RUN, {"command": command}, shown.context, 60, 0)
        task = asyncio.ensure_future(run.outcome())
        await file_is_there(shown.workdir / "pid")
        while "begun\n" not in shown.texts:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return run.partial().status, run.partial().text

    assert asyncio.run(story()) == ("cancelled", "begun\n[interrupted before it was done]")
    assert not lives(wait_for(shown.workdir / "pid"))


def test_cancelling_at_once_leaves_nothing(shown: Shown) -> None:
    shown.call = "call-at-once"  # other tests run beside this one
    async def story() -> None:
        for ticks in range(6):
            task = asyncio.ensure_future(shown.arun(RUN, command="touch begun; sleep 600"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    found = [p for p in psutil.process_iter() if _call_of(p).startswith("call-at-once:")]
    assert found == []


def _call_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("LOOPSPEC_CALL", "")
    except psutil.Error:
        return ""


def test_silence_is_noticed(shown: Shown) -> None:
    ended = asyncio.run(
        run_tool(RUN, {"command": "echo a; sleep 0.5; echo b; sleep 600"}, shown.context, 60, 1.5)
    )
    assert ended.status == "timeout"
    assert ended.text == "a\nb\n[shell.run was ended: no output for 1.5 s]"


def test_a_flood_is_bounded(shown: Shown) -> None:
    command = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end"
    ended = asyncio.run(run_tool(RUN, {"command": command}, shown.context, 60, 0))
    assert ended.status == "ok"
    assert ended.text.startswith("x" * 1000)
    assert ended.text.endswith("x\nend\nexit code 0")
    assert "bytes left out; the whole output is in the call's blob]" in ended.text
    assert len(ended.text) < 33_000
    assert ended.whole == b"x" * 3_000_000 + b"\nend\nexit code 0"


def test_a_work_directory_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="cannot be started: No such file or directory"):
        Shown(tmp_path / "gone").run(RUN, command="true")


def test_orphans_of_a_killed_driver_are_ended(shown: Shown) -> None:
    child = subprocess.Popen(["sleep", "600"], env={"LOOPSPEC_CALL": "s:7:0:abc"})
    other = subprocess.Popen(["sleep", "600"], env={"LOOPSPEC_CALL": "s:7:01:abc"})
    try:
        assert (end_call(""), end_call("s:7:0"), end_call("s:7:0")) == (0, 1, 0)
        assert (child.wait(5), other.poll()) == (-15, None)
    finally:
        other.kill()
        other.wait(5)
        child.kill()
        child.wait(5)
