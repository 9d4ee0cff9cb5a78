"""Loops run from Python: the same events, the same guarantees, and a reader that may do what it likes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cli.kit import TIMEOUT, Place, small

import loopspec
from loopspec import KeptLine, Line, LiveLine, Opened, Refused, RefusedLine, Result
from loopspec.cli.main import run_cli
from loopspec.errors import BadInput, LoopspecError, NoKey, NotFound, UsageError

CALL = {"tool": "shell", "args": {"command": "echo hi > made.txt"}}
ASKS = ({"reply": "", "calls": [CALL]}, {"reply": "Done."})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def session(place: Place, *turns: dict[str, Any], prompt: str | None = "Do it.", **more: Any) -> Any:
    """A new session of the small loop with these turns."""
    loop = loopspec.load(small(place, *turns))
    return loop.session(prompt, store=place.store, workdir=place.work, **more)


def names(lines: list[Line]) -> list[str]:
    """The names of the kept events."""
    return [line.name for line in lines if isinstance(line, KeptLine)]


def whole(place: Place, key: str) -> bool:
    """Whether the session's journal is whole and its steps are the same when run again."""
    store = ("--store", str(place.store))
    return run_cli(["verify", key, *store]) == run_cli(["replay", key, "--recompute", *store]) == 0



def test_a_run_gives_opened_its_events_and_the_result_last(place: Place) -> None:
    made = session(place, {"reply": "It is seven.", "chunk": 5})
    lines = asyncio.run(read(made))
    assert isinstance(lines[0], Opened) and lines[0].session == made.id
    assert names(lines) == ["session.started", "user.message", "model.replied"]
    live = [x.event for x in lines if isinstance(x, LiveLine) and x.name == "text.delta"]
    assert "".join(getattr(e, "text", "") for e in live) == "It is seven."
    result = lines[-1]
    assert isinstance(result, Result) and made.result == result
    assert (result.status, result.exit, result.answer, result.turns) == ("input", 0, "It is seven.", 1)
    assert whole(place, made.id)


async def read(made: Any) -> list[Line]:
    """All lines of a run."""
    return [line async for line in made.run()]


def test_a_call_is_approved_while_the_run_goes_on(place: Place) -> None:
    made = session(place, *ASKS)

    async def approving() -> list[Line]:
        lines = []
        async for line in made.run():
            lines.append(line)
            if isinstance(line, KeptLine) and line.name == "gate.decided":
                (waiting,) = made.waiting
                assert json.loads(waiting.args) == CALL["args"]
                await made.approve(waiting.call)
        return lines

    lines = asyncio.run(approving())
    assert "approval.given" in names(lines)
    assert made.result.answer == "Done." and (place.work / "made.txt").read_text() == "hi\n"
    assert made.waiting == () and whole(place, made.id)


def test_a_call_that_waits_after_the_run_is_answered_before_the_next_one(place: Place) -> None:
    made = session(place, *ASKS)
    assert made.finish_sync().status == "approval"
    assert [w.tool for w in made.result.waiting] == ["shell"]
    made.deny(reason="not today").wait()
    assert made.finish_sync().answer == "Done."
    (denial,) = made.result.denials
    assert (denial.tool, denial.rule, denial.reason) == ("shell", "person", "not today")
    assert not (place.work / "made.txt").exists()


def test_a_command_that_is_not_taken_raises_and_is_a_line(place: Place) -> None:
    made = session(place, *ASKS)
    lines: list[Line] = []
    for line in made.run_sync():
        lines.append(line)
        if isinstance(line, KeptLine) and line.name == "gate.decided":
            with pytest.raises(Refused, match="scope") as caught:
                made.approve(scope="galaxy").wait(TIMEOUT)
            assert "approval.given" in caught.value.accepted
            with pytest.raises(LoopspecError, match="no call `c9_9` waits"):
                made.approve("c9_9")
    (refused,) = [x for x in lines if isinstance(x, RefusedLine)]
    assert refused.name == "approval.given" and "scope" in refused.reason
    assert made.result.status == "approval"


def test_leaving_early_parks_the_session_and_it_goes_on_later(place: Place) -> None:
    made = session(place, {"reply": "word " * 400, "chunk": 5, "delay": 0.02})

    async def leave() -> None:
        async with contextlib.aclosing(made.run()) as run:
            async for line in run:
                if isinstance(line, LiveLine) and line.name == "text.delta":
                    break

    asyncio.run(leave())
    assert made.state == ("suspended",)
    small(place, {"reply": "Done."})
    again = loopspec.resume(made.id, store=place.store)
    assert again.finish_sync().answer == "Done."
    assert whole(place, made.id)


def test_a_cancelled_reader_parks_the_session_too(place: Place) -> None:
    made = session(place, {"hang": True})
    seen = threading.Event()

    async def reading() -> None:
        async for line in made.run():
            if isinstance(line, LiveLine):
                seen.set()

    async def cancel() -> None:
        task = asyncio.create_task(reading())
        await asyncio.to_thread(seen.wait, TIMEOUT)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(cancel())
    assert made.state == ("suspended",)


def test_a_reader_that_stops_reading_holds_up_nothing_and_misses_nothing(place: Place) -> None:
    looks = [{"reply": f"Look {n}", "calls": [{"tool": "read", "args": {"path": "a"}}]} for n in range(9)]
    (place.work / "a").write_text("x")
    made = session(place, *looks, {"reply": "Done."})
    run = made.run_sync()
    lines = [next(run)]
    while not (made.state == ("ready",) and len(place.entries(made.id)) > 20):
        threading.Event().wait(0.02)  # nothing is read meanwhile, and the loop works to its end
    lines += list(run)
    seqs = [line.seq for line in lines if isinstance(line, KeptLine)]
    assert seqs == list(range(len(place.entries(made.id))))
    assert made.result.answer == "Done."


def test_the_sync_run_works_where_an_event_loop_is_running(place: Place) -> None:
    made = session(place, {"reply": "Hello."})

    async def notebook() -> list[Line]:
        return list(made.run_sync())

    assert isinstance(asyncio.run(notebook())[-1], Result)
    made.send("And again?").wait()
    small(place, {"reply": "Hello."}, {"reply": "Again."})
    assert made.finish_sync().answer == "Again."


def test_interrupt_stops_what_hangs_and_the_next_run_goes_on(place: Place) -> None:
    made = session(place, {"hang": True})
    for line in made.run_sync():
        if isinstance(line, LiveLine) and line.name == "effect.started":
            made.interrupt().wait(TIMEOUT)
    assert (made.result.status, made.result.exit) == ("interrupted", 130)
    with pytest.raises(LoopspecError, match="not running"):
        made.interrupt()
    small(place, {"reply": "Done."})
    assert made.finish_sync().answer == "Done."


def test_limits_tighten_a_new_session_and_stop_the_run_of_an_old_one(place: Place) -> None:
    look = {"reply": "", "calls": [{"tool": "read", "args": {"path": "a"}}]}
    (place.work / "a").write_text("x")
    made = session(place, look, look, look, {"reply": "Done."}, max_turns=1)
    assert (made.finish_sync().status, made.result.exit, made.result.turns) == ("budget", 53, 1)
    made.extend(turns=10).wait()
    limited = loopspec.resume(made.id, store=place.store, max_turns=1)
    limited.extend(turns=10)
    result = limited.finish_sync()
    assert (result.status, result.exit, result.turns) == ("budget", 53, 2)
    assert "limit of turns" in result.detail
    rest = loopspec.resume("last", store=place.store).finish_sync()
    assert (rest.answer, rest.turns) == ("Done.", 4)
    assert whole(place, made.id)


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_an_answer_is_corrected_until_it_conforms(place: Place) -> None:
    turns = ({"reply": "Seven."}, {"reply": '{"n": "seven"}'}, {"reply": '```json\n{"n": 7}\n```'})
    made = session(place, *turns, output_schema=SCHEMA)
    result = made.finish_sync()
    assert (result.status, result.output, result.faults, result.turns) == ("input", {"n": 7}, (), 3)
    messages = [e.event.text for e in place.entries() if type(e.event).__name__ == "UserMessage"]
    assert json.dumps(SCHEMA, indent=2) in messages[0]
    assert "no JSON value" in messages[1] and "n: 'seven' is not of type 'integer'" in messages[2]


def test_an_answer_that_never_conforms_fails_after_a_bounded_number_of_turns(place: Place) -> None:
    made = session(place, *[{"reply": "Seven."}] * 9, output_schema=SCHEMA)
    result = made.finish_sync()
    assert (result.status, result.exit, result.output, result.turns) == ("failed", 1, None, 3)
    assert "no JSON value" in result.faults[0] and result.answer == "Seven."


def test_a_spec_with_faults_raises_all_of_them(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    text = spec.read_text().replace("target: deciding}", "target: decidin}")
    spec.write_text(text.replace("prompt: system", "prompt: sistem"))
    with pytest.raises(loopspec.SpecError) as caught:
        loopspec.load(spec)
    assert len(caught.value.diagnostics) >= 2
    assert "decidin" in str(caught.value) and "sistem" in str(caught.value)


def test_what_cannot_be_is_said_before_anything_starts(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    loop = loopspec.load(spec)
    with pytest.raises(BadInput, match="no input `x`"):
        loop.session(inputs={"x": "1"})
    with pytest.raises(NoKey, match="KEY"):
        loop.session(model="anthropic/claude-sonnet-4-5")
    with pytest.raises(UsageError, match="no model `other`"):
        loop.session(model={"other": "x/y"})
    with pytest.raises(UsageError, match="no amount"):
        loop.session(max_usd="much")
    with pytest.raises(UsageError, match="nothing is fetched"):
        loop.session(output_schema={"$ref": "https://example.org/s.json"})
    with pytest.raises(UsageError, match="no file"):
        loopspec.load("nothing.yaml")
    with pytest.raises(NotFound, match="nobody"):
        loopspec.resume("nobody", store=place.store)


def test_one_session_is_run_once_at_a_time_by_this_process_or_another(place: Place) -> None:
    made = session(place, {"hang": True})
    run = made.run_sync()
    while not isinstance(next(run), LiveLine):
        pass
    with pytest.raises(UsageError, match="being run already"):
        next(made.run_sync())
    with pytest.raises(LoopspecError, match=made.id):
        loopspec.resume(made.id, store=place.store).finish_sync()
    run.close()
    assert made.state == ("suspended",)


CHILD = """
import sys, loopspec
loop = loopspec.load(sys.argv[1])
for line in loop.session("Do it.", store=sys.argv[2], workdir=sys.argv[3], id="killed").run_sync():
    print(getattr(line, "name", ""), flush=True)
"""


def test_a_killed_program_loses_nothing_and_resume_goes_on(place: Place) -> None:
    spec = small(place, {"reply": "word " * 400, "chunk": 5, "delay": 0.02})
    argv = [sys.executable, "-c", CHILD, str(spec), str(place.store), str(place.work)]
    child = subprocess.Popen(argv, env=place.env(), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert any(line.startswith("text.delta") for line in child.stdout)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=TIMEOUT)
    small(place, {"reply": "Done."})
    result = loopspec.resume("killed", store=place.store).finish_sync()
    assert result.answer == "Done." and whole(place, "killed")


def test_importing_loopspec_loads_nothing_and_its_names_are_there() -> None:
    code = (
        "import sys, loopspec\n"
        "print(sorted({'msgspec', 'yaml', 'click', 'jinja2', 'sqlite3'} & set(sys.modules)))\n"
        "from loopspec import load, Session, Result\n"
        "print(sorted({'litellm', 'click', 'rich', 'prompt_toolkit'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr
    assert set(loopspec._API) == set(__import__("loopspec.api").api.__all__)
    with pytest.raises(AttributeError, match="no attribute `lode`"):
        loopspec.lode  # noqa: B018
