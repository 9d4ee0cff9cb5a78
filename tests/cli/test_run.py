"""Runs through the real command line: what it prints, where, and how it ends."""

import json
from pathlib import Path

import pytest

from cli.kit import Place, small


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_a_terminal_the_answer_is_on_stdout_and_nothing_else(place: Place) -> None:
    spec = small(place, {"reply": "It is seven."})
    ran = place.run("run", spec, "-p", "How much?")
    assert (ran.code, ran.out) == (0, "It is seven.\n")
    assert "\x1b" not in ran.out + ran.err
    assert "at rest" in ran.err


def test_reads_run_and_writes_run_and_the_result_object_says_so(place: Place) -> None:
    (place.work / "a.txt").write_text("one\n")
    spec = small(
        place,
        {"reply": "", "calls": [{"tool": "read", "args": {"path": "a.txt"}}]},
        {
            "reply": "",
            "calls": [
                {"tool": "edit", "args": {"path": "a.txt", "old": "one", "new": "two"}},
                {"tool": "write", "args": {"path": "b/c.txt", "content": "three"}},
            ],
        },
        {"reply": "Done."},
    )
    ran = place.run("run", spec, "-p", "Do it.", "--output-format", "json")
    (result,) = ran.lines
    assert ran.code == 0
    assert {k: result[k] for k in ("status", "exit", "answer", "turns", "state")} == {
        "status": "input",
        "exit": 0,
        "answer": "Done.",
        "turns": 3,
        "state": ["ready"],
    }
    assert (place.work / "a.txt").read_text() == "two\n"
    assert (place.work / "b" / "c.txt").read_text() == "three"


def test_stream_json_is_one_object_a_line_from_opened_to_result(place: Place) -> None:
    spec = small(place, {"reply": "Hello there.", "chunk": 3})
    ran = place.run("run", spec, "-p", "Hi", "--output-format", "stream-json")
    kinds = [line["kind"] for line in ran.lines]
    assert (kinds[0], kinds[-1]) == ("opened", "result")
    deltas = [x["event"]["text"] for x in ran.lines if x.get("name") == "text.delta"]
    assert "".join(deltas) == "Hello there."
    assert len(deltas) > 1
    kept = [line["name"] for line in ran.lines if line["kind"] == "kept"]
    assert kept == ["session.started", "user.message", "model.replied"]


def test_an_ask_without_a_terminal_parks_with_55_and_resume_yes_goes_on(place: Place) -> None:
    call = {"tool": "shell", "args": {"command": "echo hi > made.txt"}}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "Done."})
    ran = place.run("run", spec, "-p", "Do it.", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["waiting"][0]["tool"]) == (55, "shell")
    assert not (place.work / "made.txt").exists()
    again = place.run("resume", "last", "--yes", "--output-format", "json")
    assert (again.code, again.lines[-1]["answer"]) == (0, "Done.")
    assert (place.work / "made.txt").read_text() == "hi\n"


def test_yes_never_overrides_a_deny(place: Place) -> None:
    call = {"tool": "write", "args": {"path": "secret/x", "content": "x"}}
    spec = small(place, {"reply": "", "calls": [call]}, {"reply": "Refused."})
    ran = place.run("run", spec, "-p", "Do it.", "--yes", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["answer"]) == (0, "Refused.")
    assert not (place.work / "secret").exists()
    decided = [e.event for e in place.entries() if type(e.event).__name__ == "GateDecided"]
    assert [d.answer for d in decided[0].decisions] == ["deny"]


def test_a_turn_budget_ends_with_53_and_extending_it_goes_on(place: Place) -> None:
    (place.work / "a.txt").write_text("one\n")
    look = {"reply": "", "calls": [{"tool": "read", "args": {"path": "a.txt"}}]}
    spec = small(place, look, look, look, {"reply": "Done."})
    spec.write_text(spec.read_text().replace("turns: 20", "turns: 2"))
    ran = place.run("run", spec, "-p", "Do it.", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["status"], ran.lines[-1]["turns"]) == (53, "budget", 2)
    more = place.run("resume", "last", "--extend", "turns=5")
    assert (more.code, more.out) == (0, "Done.\n")
    assert "not taken" not in more.err, "the extension alone moves it"


def test_another_budget_ends_with_54(place: Place) -> None:
    (place.work / "a.txt").write_text("one\n")
    look = {
        "reply": "",
        "calls": [{"tool": "read", "args": {"path": "a.txt"}}],
        "usage": {"input": 900, "output": 200},
    }
    spec = small(place, look, look, {"reply": "Done."})
    spec.write_text(spec.read_text().replace("{turns: 20,", "{tokens: 1k,"))
    ran = place.run("run", spec, "-p", "Do it.", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["status"]) == (54, "budget")
    more = place.run("resume", "last", "--extend", "tokens=5000", "--output-format", "json")
    assert (more.code, more.lines[-1]["answer"]) == (0, "Done.")


def test_a_failed_model_ends_with_1_each_attempt_is_a_fact_and_resume_tries_again(
    place: Place,
) -> None:
    down = {"error": {"status": 503, "message": "down"}, "times": 2}
    spec = small(place, down, {"reply": "Back."})
    ran = place.run("run", spec, "-p", "Hi", "--output-format", "json")
    assert (ran.code, ran.lines[-1]["status"]) == (1, "failed")
    names = [type(e.event).__name__ for e in place.entries()]
    assert names.count("AttemptFailed") == 2


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["run", "nothing.yaml"], 2, "no file `nothing.yaml`"),
        (["run", "LOOP", "--input", "x=1"], 42, "no input `x`"),
        (["run", "LOOP", "--model", "other=x/y"], 2, "no model `other`"),
        (["run", "LOOP", "--model", "main=anthropic/claude-sonnet-4-5"], 41, "ANTHROPIC_API_KEY"),
        (["run", "LOOP", "--model", "main=scripted/none.yaml", "-p", "x"], 2, "none.yaml"),
        (["run", "LOOP", "-p", " "], 2, "empty"),
        (["run", "LOOP", "--session", "a:b"], 2, "no session id"),
        (["run", "LOOP", "--workdir", "nowhere"], 2, "no directory"),
        (["resume", "nobody"], 2, "no session `nobody`"),
        (["explain", "nobody"], 2, "no store here"),
        (["frobnicate"], 2, "No such command"),
        (["run", "LOOP", "--bogus"], 2, "No such option"),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_its_own_exit_code(
    place: Place, args: list[str], code: int, said: str
) -> None:
    spec = small(place, {"reply": "x"})
    ran = place.run(*[str(spec) if a == "LOOP" else a for a in args])
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_wrong_spec_exits_with_52_and_says_where(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    spec.write_text(spec.read_text().replace("target: deciding}", "target: decidin}"))
    ran = place.run("run", spec)
    assert ran.code == 52
    assert "decidin" in ran.err and "did you mean" in ran.err
    checked = place.run("check", spec, "--format", "json")
    assert checked.code == 52
    (found,) = json.loads(checked.out)
    assert found["line"] > 0 and found["code"].startswith("LS")


def test_the_shipped_loop_runs_by_name_from_anywhere(place: Place) -> None:
    script = place.file("s.yaml", json.dumps({"script": 1, "turns": [{"reply": "Nothing to do."}]}))
    ran = place.run("run", "coding-agent", "--model", f"main=scripted/{script}", "-p", "Hi")
    assert (ran.code, ran.out) == (0, "Nothing to do.\n")
