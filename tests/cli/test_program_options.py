"""What a script says to `run` and `resume`, and what it gets: options, files, results."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cli.inside import Inside
from cli.kit import Ran, small
from loopspec.cli import prompting

LOOPED = {"script": 1, "loop": True}
JSON = ("--output-format", "json")
LOOK = {"reply": "", "calls": [{"tool": "read", "args": {"path": "a"}}]}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    made = Inside(tmp_path, monkeypatch)
    (made.work / "a").write_text("x")
    return made


def result(ran: Ran) -> dict[str, Any]:
    """The one result object of a run."""
    (line,) = ran.lines
    assert line["kind"] == "result" and line["exit"] == ran.code
    return line


def said(place: Inside, key: str | None = None) -> list[str]:
    """What the person said, by the journal."""
    return [e.event.text for e in place.entries(key) if type(e.event).__name__ == "UserMessage"]


# ------------------------------------------------------------ the result


def test_the_result_holds_all_that_a_program_asks_for(place: Inside) -> None:
    denied = {"tool": "write", "args": {"path": "secret/x", "content": "x"}}
    asked = {"tool": "shell", "args": {"command": "echo hi"}}
    usage = {"input": 100, "output": 20, "cost_usd": "0.25"}
    spec = small(place, {"reply": "I try.", "calls": [denied, asked], "usage": usage})
    found = result(place.run("run", spec, "-p", "Do it.", *JSON))
    rules = [one.pop("rule") for one in (*found["denials"], *found["waiting"])]
    assert all(rules), rules
    assert found.pop("duration_seconds") > 0 and found.pop("detail") and found.pop("session")
    assert found == {
        "kind": "result",
        "status": "approval",
        "exit": 55,
        "state": ["working", "working.awaiting_approval"],
        "answer": "I try.",
        "output": None,
        "faults": [],
        "turns": 1,
        "usage": {"input_tokens": 100, "output_tokens": 20, "calls": 0},
        "cost_usd": "0.250000000",
        "denials": [{"call": "c2_0", "tool": "write", "reason": ""}],
        "waiting": [
            {
                "call": "c2_1",
                "tool": "shell",
                "status": "asked",
                "reason": "",
                "args": '{"command":"echo hi"}',
            }
        ],
        "accepts": found["accepts"],
        "error": None,
        "v": 1,
    }
    assert {"approval.given", "user.message"} <= set(found["accepts"])


def test_a_run_that_is_resumed_counts_its_own_denials_only(place: Inside) -> None:
    denied = {"tool": "write", "args": {"path": "secret/x", "content": "x"}}
    spec = small(place, {"reply": "", "calls": [denied]}, {"reply": "No."}, {"reply": "Still no."})
    assert len(result(place.run("run", spec, "-p", "Do it.", *JSON))["denials"]) == 1
    again = result(place.run("run", "-c", "-p", "Once more.", *JSON))
    assert (again["denials"], again["answer"], again["turns"]) == ([], "Still no.", 3)


@pytest.mark.parametrize(
    ("args", "code", "fault"),
    [
        (("nothing.yaml",), 2, "no file `nothing.yaml`"),
        (("LOOP", "--model", "main=anthropic/claude-sonnet-4-5"), 41, "KEY"),
        (("LOOP", "-i", "x=1"), 42, "no input"),
        (("LOOP", "--max-usd", "much"), 2, "no amount"),
        (("LOOP", "-o", "nowhere/answer.txt"), 2, "no such directory"),
        (("LOOP", "--output-schema", "none.json"), 2, "cannot be read"),
        ((), 2, "no spec is named"),
        (("-r", "nobody"), 2, "no session `nobody`"),
        (("-r", "x", "-c"), 2, "-r and -c"),
        (("LOOP", "-c", "-i", "x=1"), 2, "keeps what it started with"),
    ],
)
def test_what_stops_a_run_before_it_begins_is_a_result_too(
    place: Inside, args: tuple[str, ...], code: int, fault: str
) -> None:
    spec = small(place, {"reply": "x"})
    ran = place.run("run", *[str(spec) if a == "LOOP" else a for a in args], "-p", "x", *JSON)
    found = result(ran)
    assert (ran.code, found["status"]) == (code, "error")
    assert fault in found["error"]["fault"] and fault in ran.err
    assert not list(place.store.glob("*.db")) or "nobody" in args


def test_a_session_goes_on_with_another_model_and_back(place: Inside) -> None:
    spec = small(place, *[{"reply": "One."}] * 4)
    assert place.run("run", spec, "-p", "Do it.", *JSON).code == 0
    other = place.file("other.yaml", json.dumps({**LOOPED, "turns": [{"reply": "Other."}]}))
    again = ("-p", "Again.", *JSON)
    ran = place.run("resume", "last", "--model", f"main=scripted/{other}", *again)
    assert result(ran)["answer"] == "Other."
    assert result(place.run("run", "-c", *again))["answer"] == "Other."
    ran = place.run("resume", "last", "--model", "main=declared", *again)
    assert (ran.code, result(ran)["answer"]) == (0, "One.")
    wrong = {"main": "not of the form", "x=a/b": "no model `x`", "main=b": "names no provider"}
    for given, fault in wrong.items():
        ran = place.run("resume", "last", "--model", given, *again)
        assert (ran.code, fault in result(ran)["error"]["fault"]) == (2, True), ran


# ------------------------------------------------------------ what is said


def test_standard_input_is_the_message_or_stands_below_it(place: Inside) -> None:
    spec = small(place, {"reply": "Yes."}, {"reply": "Yes."}, {"reply": "Yes."})
    assert place.run("run", spec, "--session", "one", stdin="How much?\n").out == "Yes.\n"
    assert place.run("run", spec, "--session", "two", "-p", "Explain:", stdin="a\nb\n").code == 0
    assert place.run("run", spec, "--session", "three", "-p", "-", "-p", "Why?", stdin="x\n").code == 0
    assert place.run("resume", "one", "-p", "-", stdin="More\n").code == 0
    assert [said(place, key) for key in ("one", "two", "three")] == [
        ["How much?", "More"],
        ["Explain:\n\na\nb"],
        ["x\n\nWhy?"],
    ]


def test_standard_input_that_is_empty_too_long_or_no_text(place: Inside) -> None:
    spec = small(place, {"reply": "Yes."})
    assert place.run("run", spec, "--session", "one", stdin="").code == 0
    assert said(place, "one") == []
    empty = place.run("run", spec, "-p", "-", stdin="\n")
    assert (empty.code, "is empty" in empty.err) == (2, True)
    long = place.run("run", spec, stdin=b"x" * (prompting.LIMIT + 1))
    assert (long.code, "1024 KiB" in long.err) == (2, True)
    odd = place.run("run", spec, stdin=b"ab\xff")
    assert (odd.code, "no UTF-8 text (byte 2)" in odd.err) == (2, True)
    exact = place.run("run", spec, "--session", "two", stdin=b"x" * prompting.LIMIT)
    assert (exact.code, len(said(place, "two")[0])) == (0, prompting.LIMIT)


# ------------------------------------------------------------ -o


def test_the_answer_goes_to_a_file_that_is_replaced_whole_and_private(place: Inside) -> None:
    spec = small(place, {"reply": "It is seven."})
    (place.work / "real").write_text("old and much longer than the new text is\n")
    (place.work / "real").chmod(0o644)
    (place.work / "link").symlink_to("real")
    ran = place.run("run", spec, "-p", "Hi", "-o", "link", *JSON)
    assert result(ran)["answer"] == "It is seven."
    assert (place.work / "real").read_text() == "It is seven.\n"
    assert stat.S_IMODE((place.work / "real").stat().st_mode) == 0o600
    assert (place.work / "link").is_symlink()
    assert sorted(p.name for p in place.work.iterdir()) == ["a", "link", "real"]
    assert place.run("run", spec, "-p", "Hi", "-o", "/dev/null").code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_the_file_stays_as_it_was_when_the_run_does_not_end_well(place: Inside) -> None:
    spec = small(place, {"reply": "I ask.", "calls": [{"tool": "shell", "args": {"command": "x"}}]})
    (place.work / "out").write_text("old\n")
    assert place.run("run", spec, "-p", "Hi", "-o", "out").code == 55
    assert (place.work / "out").read_text() == "old\n"
    folder = place.run("run", spec, "-p", "Hi", "-o", ".")
    assert (folder.code, "is a directory" in folder.err) == (2, True)


# ------------------------------------------------------------ --output-schema

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_an_answer_that_conforms_is_text_value_and_file(place: Inside) -> None:
    place.file("s.json", json.dumps(SCHEMA))
    spec = small(place, {"reply": "Seven"}, {"reply": '```json\n{"n": 7}\n```'})
    args = ("--output-schema", place.path / "s.json", "-o", "out.json")
    found = result(place.run("run", spec, "-p", "How many?", *args, *JSON))
    assert (found["status"], found["output"], found["turns"]) == ("input", {"n": 7}, 2)
    assert found["answer"].startswith("```")
    assert json.loads((place.work / "out.json").read_text()) == {"n": 7}
    asked = said(place)
    assert asked[0].startswith("How many?\n\nYour final answer must be one JSON value")
    assert len(asked) == 2 and "no JSON value" in asked[1]


def test_an_answer_that_never_conforms_ends_with_1_and_the_faults(place: Inside) -> None:
    place.file("s.json", json.dumps(SCHEMA))
    spec = small(place, *[{"reply": '{"n": "x"}'}] * 8)
    args = ("-p", "Hi", "--output-schema", place.path / "s.json", "-o", "out.json")
    found = result(place.run("run", spec, *args, *JSON))
    assert (found["status"], found["exit"], found["turns"]) == ("failed", 1, 3)
    assert found["faults"] == ["n: 'x' is not of type 'integer'"]
    assert not (place.work / "out.json").exists()
    text = place.run("run", spec, *args)
    assert text.code == 1 and "does not conform" in text.err and "Traceback" not in text.err


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{", "no JSON"),
        ("[1]", "a schema is a JSON object"),
        ('{"type": "number or so"}', "no JSON Schema"),
        ('{"$ref": "http://127.0.0.1:9/x.json"}', "nothing is fetched"),
        ('{"properties": {"a": {"$ref": "other.json"}}}', "nothing is fetched"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_first(place: Inside, schema: str, fault: str) -> None:
    path = place.file("s.json", schema)
    ran = place.run("run", small(place, {"reply": "x"}), "-p", "Hi", "--output-schema", path)
    assert (ran.code, ran.out) == (2, "") and fault in ran.err and "s.json" in ran.err


# ------------------------------------------------------------ -r, -c, limits


def test_continue_is_the_newest_session_of_this_directory(
    place: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(place, *[{"reply": "Yes."}] * 3)
    other = place.path / "other"
    other.mkdir()
    for key, where in (("here-1", place.work), ("here-2", place.work), ("there", other)):
        assert place.run("run", spec, "-p", "Hi", "--session", key, "--workdir", where).code == 0
    assert result(place.run("run", "-c", "-p", "Again", *JSON))["session"] == "here-2"
    assert result(place.run("run", "-r", "here-1", "-p", "Again", *JSON))["session"] == "here-1"
    assert result(place.run("run", spec, "-c", "-p", "Again", *JSON))["session"] == "here-1"
    there = place.run("run", "-c", "--workdir", other, "-p", "Again", *JSON)
    assert result(there)["session"] == "there"
    wrong = place.run("run", "coding-agent", "-r", "there", "-p", "Hi")
    assert (wrong.code, "is one of `small`, not of `coding-agent`" in wrong.err) == (2, True)
    empty = place.path / "empty"
    empty.mkdir()
    none = place.run("run", "-c", "--workdir", empty, "-p", "Hi")
    assert (none.code, "there is no session in" in none.err) == (2, True)


def test_limits_stand_in_the_machine_of_a_new_session_and_only_tighten(place: Inside) -> None:
    spec = small(place, LOOK, LOOK, LOOK, {"reply": "Done."})
    tight = result(place.run("run", spec, "-p", "Hi", "--max-turns", "2", *JSON))
    assert (tight["status"], tight["exit"], tight["turns"]) == ("budget", 53, 2)
    assert tight["state"] == ["over_budget"], "the loop itself routes it"
    assert place.run("replay", "last", "--recompute").code == 0
    loose = result(place.run("run", spec, "-p", "Hi", "--max-turns", "999", *JSON))
    assert (loose["answer"], loose["turns"]) == ("Done.", 4)
    dear = [{**turn, "usage": {"cost_usd": "0.40"}} for turn in (LOOK, LOOK, LOOK)]
    small(place, *dear, {"reply": "Done."})
    spent = result(place.run("run", spec, "-p", "Hi", "--max-usd", "0.50", *JSON))
    assert (spent["status"], spent["exit"], spent["cost_usd"]) == ("budget", 54, "0.800000000")


def test_limits_on_resume_stop_the_run_before_a_call_too_many_and_lose_nothing(place: Inside) -> None:
    spec = small(place, LOOK, LOOK, LOOK, {"reply": "Done."})
    place.run("run", spec, "-p", "Hi", "--max-turns", "1")
    more = ("--extend", "turns=10")
    one = result(place.run("resume", "last", *more, "--max-turns", "1", *JSON))
    assert (one["status"], one["exit"], one["turns"]) == ("budget", 53, 2)
    assert "this run's limit of turns is reached" in one["detail"]
    rest = result(place.run("resume", "last", *JSON))
    assert (rest["answer"], rest["turns"]) == ("Done.", 4)
    assert place.run("verify", "last").code == 0
    assert place.run("replay", "last", "--recompute").code == 0
