"""Journeys notice what goes another way, say where, and refuse files that are no journeys."""

from pathlib import Path

import pytest
from cli.kit import Place

from journeys.review import ROOT
from loopspec.errors import LoopspecError, UsageError
from loopspec.testing import journeys, walk
from loopspec.testing.journey_file import read_journey, schema

HEAD = """\
journey: 1
spec: chat
about: It talks.
models: {main: {turns: [{reply: Good morning.}, {reply: So.}]}}
"""
FIRST = HEAD + "steps:\n  - say: Hi\n    then: {rest: input, answer: Good morning.}\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(text)
    return path


def faults(tmp_path: Path, text: str) -> list[str]:
    """What a journey found, without the folder it was in."""
    found = walk(written(tmp_path, text))
    return [fault.replace(f"{tmp_path}/", "") for fault in found.faults]


def test_a_journey_that_holds_has_no_fault_and_keeps_what_it_made(tmp_path: Path) -> None:
    found = walk(written(tmp_path, FIRST), place=tmp_path / "kept")
    assert (found.faults, found.steps, found.about) == ((), 1, "It talks.")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["models", "store", "work"]
    with pytest.raises(UsageError, match="is there already"):
        walk(written(tmp_path, FIRST), place=tmp_path / "kept")


@pytest.mark.parametrize(
    ("then", "fault"),
    [
        ("{rest: finished}", "one.yaml:7:18: `rest` is 'input in `ready`', expected 'finished'"),
        ("{rest: input, state: working}", "one.yaml:7:32: `state` is 'ready', expected 'working'"),
        (
            "{rest: input, passed: [ready]}",
            'one.yaml:7:33: `passed` is ["ready", "working.streaming", "ready"], expected ["ready"]',
        ),
        ("{rest: input, calls: [a ok]}", 'one.yaml:7:32: `calls` is [], expected ["a ok"]'),
        ("{rest: input, says: [Hm]}", 'one.yaml:7:31: `says` is [], expected ["Hm"]'),
        ("{rest: input, answer: Good}", "one.yaml:7:33: `answer` is 'Good morning.', expected 'Good'"),
        (
            "{rest: input, events: [user.resumed]}",
            'one.yaml:7:33: `events` is ["session.started", "user.message", "model.replied"], '
            'expected ["user.resumed"]',
        ),
        ("{rest: input, turns: 2}", "one.yaml:7:32: `turns` is 1, expected 2"),
        ("{rest: input, vars: {n: 1}}", "one.yaml:7:35: `vars.n` is null, expected 1"),
        ("{rest: input, files: {a.txt: x}}", "one.yaml:7:40: `files.a.txt` is null, expected 'x'"),
        ("{rest: input, refused: …no…}", "one.yaml:7:34: `refused` is [], expected '…no…'"),
    ],
)
def test_each_expectation_that_fails_is_told_with_its_place(
    tmp_path: Path, then: str, fault: str
) -> None:
    assert faults(tmp_path, HEAD + f"steps:\n  - say: Hi\n    then: {then}\n") == [fault]


def test_all_that_differs_is_told_and_no_later_step_is_taken(tmp_path: Path) -> None:
    text = FIRST.replace("answer: Good morning.", "turns: 9").replace("rest: input", "rest: failed")
    text += "  - say: Ho\n    then: {rest: idle}\n"
    assert [fault.split(": ")[1] for fault in faults(tmp_path, text)] == [
        "`rest` is 'input in `ready`', expected 'failed'",
        "`turns` is 1, expected 9",
    ]
    with pytest.raises(AssertionError, match=r"what happened:\n +0 .*session\.started"):
        walk(written(tmp_path, text)).check()


def test_what_is_to_be_done_during_the_work_must_come(tmp_path: Path) -> None:
    text = FIRST + "  - say: Ho\n    during: {state: compacting, do: interrupt}\n"
    text += "    then: {rest: input}\n"
    assert faults(tmp_path, text) == [
        "one.yaml:9:13: `during` never came: no work in `compacting` has begun"
    ]


def test_a_refusal_is_a_fault_unless_it_is_expected(tmp_path: Path) -> None:
    step = "  - rollback: ''\n    then: {rest: input%s}\n"
    (told,) = faults(tmp_path, FIRST + step % "")
    assert told.startswith("one.yaml:8:5: it refused what was asked of it: rollback.chosen: ")
    assert faults(tmp_path, FIRST + step % ", refused: 'rollback.chosen: …'") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("journey: 2\n", "one.yaml:1:10: invalid enum value 2"),
        (FIRST.replace("about", "abuot"), "one.yaml:1:1: this contains unknown field `abuot`"),
        (FIRST.replace("rest: input", "rest: sleepy"), "one.yaml:7:18: invalid enum value 'sleepy'"),
        (FIRST.replace("say: Hi", "resume: true"), "one.yaml:6:5: the first step begins the session"),
        (FIRST.replace("say: Hi", "say: Hi\n    compact: true"), "one.yaml:6:5: a step does one thing"),
        (FIRST.replace("say: Hi", "say: Hi\n    during: {state: x}"), "one.yaml:7:13: `during` needs"),
        (FIRST.replace("steps:", "steps: [\n"), "one.yaml:"),
    ],
)
def test_what_is_no_journey_is_refused_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(LoopspecError) as caught:
        read_journey(written(tmp_path, text))
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(fault)


def test_a_model_without_a_script_is_named_and_never_called(tmp_path: Path) -> None:
    text = FIRST.replace("main: {turns", "other: {turns")
    with pytest.raises(LoopspecError, match="nothing says what the model `main` replies"):
        walk(written(tmp_path, text))


def test_a_file_outside_the_work_directory_is_refused(tmp_path: Path) -> None:
    text = FIRST.replace("steps:", "files: {../x: y}\nsteps:")
    with pytest.raises(LoopspecError, match="leads out of the work directory"):
        walk(written(tmp_path, text))
    assert not (tmp_path / "x").exists()


def test_an_answer_for_a_call_that_does_not_wait_is_told(tmp_path: Path) -> None:
    text = FIRST + "  - approve: shell\n    then: {rest: input}\n"
    assert faults(tmp_path, text) == [
        "one.yaml:8:14: the answer is for a call of `shell`, and no call waits for one. "
        "answer the calls in the order in which they were proposed"
    ]


def test_journeys_are_found_beside_their_spec(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text((ROOT / "specs" / "chat.yaml").read_text())
    folder = tmp_path / "journeys" / "my"
    folder.mkdir(parents=True)
    assert journeys(tmp_path / "my.yaml") == []
    (folder / "b.yaml").write_text(FIRST)
    (folder / "a.yaml").write_text(FIRST)
    assert journeys(tmp_path / "my.yaml") == journeys(folder) == [folder / "a.yaml", folder / "b.yaml"]
    assert journeys(folder / "a.yaml") == [folder / "a.yaml"]
    with pytest.raises(UsageError):
        journeys(tmp_path / "none.yaml")


def test_the_command_says_what_held_and_what_did_not(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.work / "good.yaml").write_text(FIRST)
    (place.work / "bad.yaml").write_text(FIRST.replace("answer: Good", "answer: Bad"))
    ran = place.run("test", "good.yaml", "bad.yaml")
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("  good: held, 1 step, ") and lines[0].endswith(" · It talks.")
    assert lines[1].startswith("  bad: went another way, 1 step, ")
    assert lines[2] == "    bad.yaml:7:33: `answer` is 'Good morning.', expected 'Bad morning.'"
    assert lines[-1] == "2 journeys, 1 went another way"
    none = place.run("test", "chat", "-k", "nothing-like-it")
    assert none.code == 2
    assert "`chat` has no journey with `nothing-like-it` in its name" in none.err


def test_the_stored_schema_is_made_from_the_classes() -> None:
    assert (ROOT / "schemas" / "journey-1.schema.json").read_text() == schema()
