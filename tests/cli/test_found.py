"""Faults the command line once had; each has a test for ever."""

import os
import subprocess
from pathlib import Path

import pytest

from cli.kit import LOOP, TIMEOUT, Place, kill, small, until
from cli.terminal import terminal
from loopspec.events import ToolAnswered

OPEN = (
    LOOP.replace(
        "  read: {use: files.read}",
        "  read: {use: files.read}\n  list: {use: files.list}\n  find: {use: files.search}",
    )
    .replace("allow: [{tools: [read, edit, write, ask]}]", 'allow: [{tools: ["*"]}]')
    .replace("  ask: [{tools: [shell]}]\n", "")
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (made.work / "secret").mkdir()
    (made.work / "secret" / "k.txt").write_text("TOPSECRET\n")
    (made.work / "a.txt").write_text("not TOPSECRET at all\n")
    return made


def outputs(place: Place) -> list[str]:
    return [e.event.output for e in place.entries() if isinstance(e.event, ToolAnswered)]


def test_tools_that_walk_a_tree_do_not_show_what_the_envelope_denies(place: Place) -> None:
    calls = [{"tool": "list", "args": {}}, {"tool": "find", "args": {"pattern": "TOPSECRET"}}]
    spec = small(place, {"reply": "", "calls": calls}, {"reply": "Done."}, loop=OPEN)
    assert place.run("run", spec, "-p", "Go").code == 0
    assert sorted(outputs(place)) == ["a.txt", "a.txt:1: not TOPSECRET at all"]


def test_a_path_that_changed_since_the_gate_is_judged_again(place: Place) -> None:
    calls = [
        {"tool": "shell", "args": {"command": "ln -s secret d"}},
        {"tool": "write", "args": {"path": "d/k.txt", "content": "OVERWRITTEN"}},
    ]
    spec = small(place, {"reply": "", "calls": calls}, {"reply": "Done."}, loop=OPEN)
    assert place.run("run", spec, "-p", "Go").code == 0
    assert (place.work / "secret" / "k.txt").read_text() == "TOPSECRET\n"
    assert "has changed; it was not run" in outputs(place)[-1]


def test_resuming_a_session_that_is_running_touches_nothing(place: Place) -> None:
    command = {
        "tool": "shell",
        "args": {"command": "echo start; while [ ! -e go ]; do sleep 0.1; done; echo x > done"},
    }
    spec = small(place, {"reply": "", "calls": [command]}, {"reply": "Done."}, loop=OPEN)
    process = place.start("run", spec, "-p", "Go", "--output-format", "stream-json")
    until(process, "tool.output")
    second = place.run("resume", "last", "--yes")
    assert second.code == 1
    assert f"run by process {process.pid}" in second.err
    assert f"run by process {process.pid}" in place.run("explain", "last").out
    (place.work / "go").write_text("")
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert (place.work / "done").read_text() == "x\n"
    assert place.run("verify", "last").code == 0


def test_a_killed_holder_frees_the_session(place: Place) -> None:
    spec = small(place, {"hang": True})
    process = place.start("run", spec, "-p", "Go", "--output-format", "stream-json")
    until(process, "effect.started")
    kill(process)
    small(place, {"reply": "Done."})
    assert place.run("resume", "last").out == "Done.\n"


def test_keys_typed_before_the_question_do_not_answer_it(place: Place) -> None:
    long = {
        "reply": "word " * 40,
        "chunk": 5,
        "delay": 0.02,
        "calls": [{"tool": "shell", "args": {"command": "echo x > ran"}}],
    }
    spec = small(place, long, {"reply": "Done."})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("word word")
        tty.type("y\n")
        tty.until("Allow it?")
        tty.type("n\n")
        tty.until("Done.")
        assert tty.ends() == 0
    assert not (place.work / "ran").exists()


def test_two_questions_at_once_are_asked_one_after_the_other(place: Place) -> None:
    asks = [{"tool": "ask", "args": {"question": q}} for q in ("First?", "Second?")]
    spec = small(place, {"reply": "", "calls": asks}, {"reply": "Done."})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("?\n> ")
        tty.type("one\n")
        tty.until("?\n> ")
        tty.type("two\n")
        tty.until("Done.")
        assert tty.ends() == 0
    assert sorted(outputs(place)) == ["one", "two"]


@pytest.mark.parametrize(
    ("assign", "said"),
    [("1.0 / 0.0", "finite"), ("vars.n * 1e300 * 1e300", "finite")],
)
def test_a_number_that_is_none_is_an_error_of_the_guard(place: Place, assign: str, said: str) -> None:
    loop = LOOP.replace("initial: ready", "vars: {n: {type: number, default: 1.5}}\ninitial: ready", 1)
    loop = loop.replace(
        "on: {user.message: working}",
        f"on: {{user.message: {{target: working, actions: [{{assign: {{n: '{assign}'}}}}]}}}}",
        1,
    )
    spec = small(place, {"reply": "x"}, loop=loop)
    ran = place.run("run", spec, "-p", "Go")
    assert (ran.code, said in ran.err, "Traceback" in ran.err) == (1, True, False)


def test_a_value_that_grows_without_end_is_stopped(place: Place) -> None:
    double = ", ".join(["{assign: {s: 'vars.s + vars.s'}}"] * 24)
    loop = LOOP.replace("initial: ready", "vars: {s: {type: string, default: xxxx}}\ninitial: ready", 1)
    loop = loop.replace(
        "on: {user.message: working}",
        f"on: {{user.message: {{target: working, actions: [{double}]}}}}",
        1,
    )
    spec = small(place, {"reply": "x"}, loop=loop)
    ran = place.run("run", spec, "-p", "Go")
    assert (ran.code, "characters; a var may hold" in ran.err) == (1, True)


def test_deep_arguments_are_that_calls_problem_and_not_the_sessions(place: Place) -> None:
    deep = '{"path": ' + "[" * 60 + "]" * 60 + "}"
    call = {"tool": "read", "raw_args": deep}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "I see."}, loop=OPEN)
    ran = place.run("run", spec, "-p", "Go")
    assert (ran.code, ran.out) == (0, "I see.\n"), ran.err


def test_a_resume_says_only_what_is_new(place: Place) -> None:
    spec = small(place, {"reply": "One."})
    assert place.run("run", spec, "-p", "Go").out == "One.\n"
    assert place.run("resume", "last").out == ""


@pytest.mark.parametrize(
    ("closing", "code"), [(">&-", 56), ("2>&-", 0), ("> /dev/full", 1), ("< /dev/null", 0)]
)
def test_odd_standard_files_give_no_traceback_and_an_honest_code(
    place: Place, closing: str, code: int
) -> None:
    spec = small(place, {"reply": "One."})
    words = " ".join(f"'{w}'" for w in place.argv("run", spec, "-p", "Go"))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} {closing}"],
        cwd=place.work,
        env=place.env(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "destroyed" not in done.stderr


def test_bytes_that_are_no_text_are_refused(place: Place) -> None:
    spec = small(place, {"reply": "One."})
    argv = [os.fsencode(a) for a in place.argv("run", spec, "-p")]
    done = subprocess.run(
        [*argv, b"a\xffb"], cwd=place.work, env=place.env(), capture_output=True, timeout=TIMEOUT
    )
    assert (done.returncode, b"no UTF-8" in done.stderr) == (2, True)


def test_one_damaged_session_does_not_hide_the_others(place: Place) -> None:
    import sqlite3

    spec = small(place, {"reply": "One."})
    for name in ("good", "bad"):
        assert place.run("run", spec, "-p", "Go", "--session", name).code == 0
    db = sqlite3.connect(place.store / "journal.db")
    db.execute("update sessions set snapshot = ? where id = 'bad'", (b"{",))
    db.commit()
    db.close()
    ran = place.run("sessions")
    assert ran.code == 0
    assert "good" in ran.out and "damaged" in ran.out


def test_the_blob_of_an_output_is_verified_too(place: Place) -> None:
    import sqlite3

    call = {"tool": "shell", "args": {"command": "seq 1 40000"}}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "Done."}, loop=OPEN)
    assert place.run("run", spec, "-p", "Go").code == 0
    (answer,) = [e.event for e in place.entries() if isinstance(e.event, ToolAnswered)]
    assert answer.blob
    db = sqlite3.connect(place.store / "journal.db")
    db.execute("update blobs set data = ? where digest = ?", (b"forged", answer.blob))
    db.commit()
    db.close()
    ran = place.run("verify", "last")
    assert (ran.code, "blob" in ran.err) == (57, True)


def test_a_refused_command_leaves_no_session(place: Place) -> None:
    spec = small(place, {"reply": "One."})
    assert place.run("run", spec, "-p", " ").code == 2
    assert "no sessions yet" in place.run("sessions").out


def test_explain_says_that_nobody_runs_a_killed_session(place: Place) -> None:
    spec = small(place, {"hang": True})
    process = place.start("run", spec, "-p", "Go", "--output-format", "stream-json")
    until(process, "effect.started")
    kill(process)
    assert "Nobody is running it; go on with: loopspec resume small-" in place.run("explain", "last").out


def test_a_slow_reader_of_a_non_blocking_pipe_gets_everything(tmp_path: Path) -> None:
    import fcntl
    import threading

    from loopspec.cli.output import Out

    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETFL, fcntl.fcntl(theirs, fcntl.F_GETFL) | os.O_NONBLOCK)
    text = "x" * 300_000
    with os.fdopen(theirs, "w") as stream:
        out = Out(stream)
        out.write(text)
        got: list[bytes] = []

        def read() -> None:
            while sum(map(len, got)) < len(text):
                got.append(os.read(ours, 4096))

        reader = threading.Thread(target=read)
        reader.start()
        out.close()
        reader.join(TIMEOUT)
        assert (sum(map(len, got)), out.gone) == (len(text), False)
    os.close(ours)


def test_a_reader_that_is_gone_already_is_told_to_who_listens_later() -> None:
    from loopspec.cli.output import Out

    out = Out(None)
    told: list[str] = []
    out.when_gone(lambda: told.append("gone"))
    assert told == ["gone"]


def test_a_task_that_swallows_its_cancellation_does_not_keep_the_process() -> None:
    import asyncio

    from loopspec.cli.running import run_to_end

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def work() -> int:
        kept.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)
        return 7

    kept: list[asyncio.Task[None]] = []
    assert run_to_end(work()) == (7, True)
    kept[0]._log_destroy_pending = False  # type: ignore[attr-defined] # it is meant to be left
