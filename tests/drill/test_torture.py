"""Torture: a small loop that is killed comes to the same end, and what is wrong with one is found."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loopspec.drill.acts import Act, Acts, count
from loopspec.drill.evidence import ANY, LOST, Difference, Evidence, compare, steady, tree
from loopspec.drill.job import FULL, KILL, TERM, Case, Point, parse_case
from loopspec.drill.play import Trap
from loopspec.errors import UsageError

TORTURER = Path(__file__).with_name("torturer.py")


def torture(scratch: Path, step: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, TORTURER, scratch, str(step)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return torture(tmp_path_factory.mktemp("torture"), 9)


TWICE_PAID = [
    "act.done#1",
    "different",
    [
        "the journal and the world: expected nothing, found begun 2 times, 1 allowed: "
        'world.pay {"amount":3} (call c2_0)'
    ],
]


def test_every_sort_of_write_and_act_is_a_point(found: dict[str, Any]) -> None:
    store = {f"{what}.{when}" for what in ("create", "entry", "lease", "blob") for when in WRITES}
    between = {"entry.acknowledged", "effect.starts", "act.begins", "act.done", "stream.speaks"}
    work = ("call_model", "decide_calls", "run_tool", "take_boundary", "restore_boundary")
    performed = {f"{effect}.{when}" for effect in work for when in ("begins", "answers")}
    recorded = {"prepares", "indexed", "commits", "names", "recorded"}
    put_back = {"puts", "renames", "applied"}
    wanted = store | between | performed | {"signals.on", "signals.off"}
    wanted |= {f"boundary.{name}" for name in recorded} | {f"rollback.{name}" for name in put_back}
    assert {p for p in found["points"] if not p.startswith(("partial.", "beat."))} == wanted


WRITES = ("before-write", "after-write", "after-commit")


def test_an_undisturbed_run_is_known_by_its_end_its_view_and_its_files(found: dict[str, Any]) -> None:
    facts = dict(found["facts"])
    assert facts.pop("file notes.txt").startswith("644 ")
    assert facts.pop("result of call 1 of reply 1").startswith("pay ok: paid 3\na long receipt\n")
    assert facts == {
        "exit code": "0",
        "configuration": "finished",
        "message 1": "user: Go.",
        "reply 1": 'I am paid. [pay {"amount":3}]',
        "reply 2": 'I write. [write_file {"content":"new\\n","path":"notes.txt"}]',
        "result of call 1 of reply 2": "write_file ok: replaced notes.txt: 1 line, 4 bytes",
        "reply 3": "That was all.",
    }


def test_a_loop_that_is_ended_anywhere_comes_to_the_same_end(found: dict[str, Any]) -> None:
    assert [case for case in found["whole"] if case[1] not in ("same", "led")] == []
    killed = [case for case in found["whole"] if "@" not in case[0]]
    assert {verdict for _, verdict, _ in killed} == {"same"}
    assert found["left"] == []


def test_only_a_full_disk_has_something_to_say(found: dict[str, Any]) -> None:
    assert found["messages"], "no case ran out of pages"
    for case, message in found["messages"].items():
        assert case.startswith("full@entry.before-write#")
        assert message.endswith("journal.db: the disk is full. Free some space and try again")


@pytest.mark.slow
def test_a_loop_that_is_killed_at_every_point_comes_to_the_same_end(tmp_path: Path) -> None:
    whole = torture(tmp_path, 1)
    tried = [case[0] for case in whole["whole"] if "@" not in case[0] and "+" not in case[0]]
    reached: Counter[str] = Counter()
    wanted = []
    for name in whole["points"]:
        reached[name] += 1
        wanted.append(f"{name}#{reached[name]}")
    assert tried == wanted
    assert [case for case in whole["whole"] if case[1] not in ("same", "led")] == []


def test_a_store_that_acknowledges_before_it_writes_is_found(found: dict[str, Any]) -> None:
    assert found["early"] == [TWICE_PAID]


def test_a_driver_that_does_not_claim_is_found(found: dict[str, Any]) -> None:
    assert found["unclaimed"] == [TWICE_PAID]


def test_a_tool_that_wrongly_says_it_may_run_again_is_found(found: dict[str, Any]) -> None:
    (done, begun) = found["tally"]
    assert done[:2] == ["act.done#1", "different"]
    assert [line.split(":")[0] for line in done[2]] == ["file tally.txt"]
    assert begun == ["act.begins#1", "same", []]


def test_a_program_that_does_not_listen_to_signals_is_found(found: dict[str, Any]) -> None:
    assert found["deaf"] == [
        [
            "term@act.begins#1",
            "different",
            ["the harmed process: expected an end of its own, found signal 15"],
        ]
    ]


def test_a_point_that_is_not_reached_again_is_not_passed_over(found: dict[str, Any]) -> None:
    assert found["missed"] == [
        [
            "no.such-point#1",
            "missed",
            ["the point: expected to be reached again, found not reached, 3 times"],
        ]
    ]


def test_a_loop_that_never_ends_is_said_before_anything_is_tried(found: dict[str, Any]) -> None:
    assert found["late"] == (
        "the undisturbed run already fails: it did not end in time and was killed. "
        "repair that first; look with: loopspec run"
    )


# ---------------------------------------------------------------- the parts


def test_a_case_is_read_back_from_its_words() -> None:
    for case in (
        Case(KILL, Point("entry.after-commit", 3)),
        Case(KILL, Point("act.done", 1), 12),
        Case(TERM, Point("effect.starts", 2)),
        Case(FULL, Point("entry.before-write", 10)),
    ):
        assert parse_case(str(case)) == case


@pytest.mark.parametrize("text", ["", "x", "x#", "x#0", "#1", "x#1+y", "burn@x#1", "x#one"])
def test_what_names_no_case_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no case"):
        parse_case(text)


def test_a_trap_springs_once_at_the_nth_of_its_name() -> None:
    sprung: list[int] = []
    trap = Trap(lambda: sprung.append(len(trap.seen)), Point("b", 2))
    for name in "abcbab":
        trap(name)
    assert (sprung, trap.reached, "".join(trap.seen)) == ([4], True, "abcbab")


def test_a_trap_can_count_every_point() -> None:
    sprung: list[int] = []
    trap = Trap(lambda: sprung.append(len(trap.seen)), total=3)
    for name in "aab":
        trap(name)
    assert sprung == [3]


def test_acts_are_counted_by_call_and_phase(tmp_path: Path) -> None:
    acts = Acts(tmp_path / "acts")
    assert acts.read() == []
    for phase in ("begun", "begun", "done"):
        acts.note("c1_0", "pay {}", phase)
    acts.note("c1_1", "read {}", "begun")
    assert acts.phases("c1_0") == ["begun", "begun", "done"]
    assert acts.read()[-1] == Act("c1_1", "read {}", "begun")
    assert count(acts.read()) == {"c1_0": {"begun": 2, "done": 1}, "c1_1": {"begun": 1}}


def test_what_already_differs_between_two_undisturbed_runs_is_not_held_against_a_crash() -> None:
    one = Evidence(facts={"a": "same", "b": "took 3 steps", "c": "x", "d": "only here"})
    two = Evidence(facts={"a": "same", "b": "took 14 steps", "c": "y"})
    reference = steady(one, two)
    assert reference.facts["c"] == reference.facts["d"] == ANY
    assert compare(reference, Evidence(facts={"a": "same", "b": "took 7 steps"})) == []
    assert compare(reference, Evidence(facts={"a": "other", "b": "took long", "c": "z"})) == [
        Difference("a", "same", "other"),
        Difference("b", "took # steps", "took long"),
    ]


def test_a_place_a_crash_has_touched_must_still_be_there() -> None:
    reference = Evidence(facts={"result": "ok", "reply": "yes"})
    touched = Evidence(facts={"result": "lost", "reply": "yes"}, free=("result",))
    assert compare(reference, touched) == []
    gone = Evidence(facts={"reply": "yes"}, free=("result",))
    assert compare(reference, gone) == [Difference("result", "ok", "")]


def test_where_the_spec_leads_a_loss_the_rules_of_acts_still_hold() -> None:
    reference = Evidence(facts={"exit code": "0"})
    assert compare(reference, Evidence(facts={"exit code": "1"}, led=LOST)) == []
    broken = Evidence(facts={"exit code": "1"}, led=LOST, broken=("begun 2 times",))
    assert [str(d) for d in compare(reference, broken)] == [
        "the journal and the world: expected nothing, found begun 2 times"
    ]


def test_a_tree_tells_content_mode_links_and_empty_directories_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("x")
    (tmp_path / "a").write_text("1")
    (tmp_path / "a").chmod(0o644)
    (tmp_path / "link").symlink_to("a")
    before = tree(tmp_path)
    assert sorted(before) == ["a", "empty", "link"]
    assert before["empty"] == "directory" and before["link"] == "link to a"
    (tmp_path / "a").chmod(0o600)
    moded = tree(tmp_path)
    (tmp_path / "a").write_text("2")
    assert len({before["a"], moded["a"], tree(tmp_path)["a"]}) == 3
