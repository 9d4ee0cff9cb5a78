"""What a person's yes covers: one call, these arguments, within limits, a tool; and changed arguments."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopspec.effects import Cancel, RunTool
from loopspec.events import (
    ApprovalGiven,
    Decision,
    EffectCancelled,
    GateDecided,
    UserInterrupted,
    UserMessage,
)
from loopspec.machine.given import MAX_NOTE, SECRET_ARGS
from loopspec.machine.grants import LONGEST, MAX_GLOB, MAX_GLOBS, MAX_GRANTS, grant_for, joined
from loopspec.record import AddResult
from loopspec.snapshot import Call, Grant
from machine.builders import SECOND, T0, Run, coding, hash_of
from machine.situations import SITUATIONS, grant, taken

LS = '{"cmd":"ls"}'


def asked(*tools: str, command: str = "ls", paths: tuple[str, ...] = ()) -> Run:
    """Calls that the gate asks about; it says what they act on."""
    run = SITUATIONS["streaming"]()
    run.reply(*tools)
    effect: Any = run.effect
    made = [Decision(c, "ask", "r", "why", paths, command) for c in effect.calls]
    run.tell(GateDecided(effect.id, made), "gate")
    return run


def say(run: Run, call: str = "c2_0", **changes: Any) -> ApprovalGiven:
    """A yes to a call, with other fields."""
    return msgspec.structs.replace(grant(run, call), **changes)


def started(run: Run) -> list[RunTool]:
    """The tools that the last step has started, behind a rollback point if it took one."""
    if any(type(e).__name__ == "TakeBoundary" for e in run.last.effects):
        taken(run)
    return [e for e in run.last.effects if isinstance(e, RunTool)]


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, Grant("g4", "call", "shell", hash_of("shell"), "person", uses=1)),
        ({"scope": "exact"}, Grant("g4", "exact", "shell", hash_of("shell"), "person")),
        ({"scope": "tool"}, Grant("g4", "tool", "shell", approver="person")),
        (
            {"scope": "limited", "paths": ("src/**",), "commands": ("ls*",)},
            Grant("g4", "limited", "shell", "", "person", paths=("src/**",), commands=("ls*",)),
        ),
        (
            {"scope": "tool", "lasts": 5 * SECOND},
            Grant("g4", "tool", "shell", approver="person", expires=T0 + 10 * SECOND),
        ),
    ],
)
def test_a_scope_makes_its_grant(changes: dict[str, Any], made: Grant) -> None:
    run = asked("shell", paths=("src/a",))
    run.tell(say(run, **changes))
    assert run.snapshot.grants == {"g4": made}
    assert [e.call for e in started(run)] == ["c2_0"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, ["asked", "asked", "asked"]),
        ({"scope": "exact"}, ["granted", "asked", "asked"]),
        ({"scope": "limited", "commands": ("l?",)}, ["granted", "granted", "asked"]),
        ({"scope": "tool"}, ["granted", "granted", "asked"]),
    ],
)
def test_a_grant_that_holds_answers_the_other_calls_it_covers(
    changes: dict[str, Any], status: list[str]
) -> None:
    run = asked("shell", "shell", "shell:" + LS, "mail")
    run.tell(say(run, **changes))
    assert [run.status()[f"c2_{n}"] for n in (1, 2, 3)] == status


REFUSALS = [
    ({"scope": "world"}, "`world` is no scope; use call, exact, limited, tool"),
    ({"args_hash": "0"}, "the arguments of `c2_0` are not the ones that were approved"),
    ({"lasts": -1}, "a number of microseconds up to a year; 0 is for the session"),
    ({"lasts": LONGEST + 1}, "a number of microseconds up to a year; 0 is for the session"),
    ({"scope": "limited"}, "name paths or commands, or use the scope tool"),
    ({"paths": ("src/**",)}, "paths and commands go with a `grant` of the scope limited"),
    ({"scope": "tool", "commands": ("ls",)}, "paths and commands go with a `grant` of the scope limited"),
    ({"scope": "limited", "paths": ("",)}, "limits are 1 to 16 globs of 1 to 500 characters"),
    ({"scope": "limited", "paths": ("a" * (MAX_GLOB + 1),)}, "limits are 1 to 16 globs"),
    ({"scope": "limited", "paths": ("**",) * (MAX_GLOBS + 1)}, "limits are 1 to 16 globs"),
    (
        {"scope": "limited", "paths": ("docs/**",)},
        "these limits do not cover call `c2_0` itself, which acts on src/a and runs `ls`; "
        "widen paths and commands, or use the scope exact",
    ),
    ({"scope": "limited", "paths": ("src/*",), "commands": ("pwd",)}, "do not cover call `c2_0`"),
    ({"scope": "tool", "args": LS}, "changed arguments go with the answer `grant` and the scope"),
    (
        {"answer": "deny", "args": LS},
        "changed arguments go with the answer `grant` and the scope",
    ),
    ({"args": "ls"}, "the changed arguments are no JSON that could be passed on"),
    ({"args": "NaN"}, "the changed arguments are no JSON object"),
    ({"args": '{"a":NaN}'}, "the changed arguments are no JSON that could be passed on"),
    ({"args": "[]"}, "the changed arguments are no JSON object"),
    ({"args": '{"b":1, "a":2}'}, "the changed arguments are not canonical; sort the keys"),
    ({"args": '{"a":"\\ud800"}'}, "the changed arguments are not canonical"),
    ({"args": '{"a":' + "[" * 40 + "]" * 40 + "}"}, "the changed arguments are nested more than 32 deep"),
    ({"args": "[" * 100_000}, "the changed arguments are no JSON that could be passed on"),
    ({"args": SECRET_ARGS}, "the changed arguments hold a secret or a broken character"),
]


@pytest.mark.parametrize(("changes", "why"), REFUSALS)
def test_an_answer_that_cannot_be_taken_says_why_and_changes_nothing(
    changes: dict[str, Any], why: str
) -> None:
    run = asked("shell", paths=("src/a",))
    before = run.snapshot
    made = run.tell(say(run, **changes))
    assert made.outcome == "refused"
    assert why in made.refusal
    assert run.snapshot == before
    assert "approval.given" in made.accepted


def test_a_call_of_which_nothing_is_known_cannot_be_granted_within_limits() -> None:
    run = asked("mail", command="")
    made = run.tell(say(run, scope="limited", paths=("**",)))
    assert made.refusal == (
        "what call `c2_0` acts on is not known, or too long to be limited; "
        "use the scope call, exact or tool"
    )


def test_a_grant_that_has_expired_covers_nothing_and_the_call_is_denied() -> None:
    run = asked("shell", "mail")
    run.tell(say(run, lasts=SECOND))
    run.tell(grant(run, "c2_1"), wait=2 * SECOND)
    assert [e.call for e in started(run)] == ["c2_1"]
    assert run.snapshot.calls["c2_0"].reason == "the approval does not cover it any more"


def test_the_oldest_of_too_many_grants_leaves_and_one_for_a_call_never_does() -> None:
    grants: dict[str, Grant] = {"g0": Grant("g0", "call", "t", "h", uses=1)}
    for n in range(1, MAX_GRANTS + 6):
        grants = joined(grants, Grant(f"g{n}", "exact", "t", f"h{n}"))
    assert len(grants) == MAX_GRANTS + 1
    assert "g0" in grants
    assert "g5" not in grants
    assert "g6" in grants


def test_a_grant_stands_for_an_older_one_that_says_the_same() -> None:
    one = Grant("g1", "limited", "t", paths=("a/*",), approver="x")
    assert joined({"g1": one}, msgspec.structs.replace(one, id="g7", approver="y")) == {
        "g7": msgspec.structs.replace(one, id="g7", approver="y")
    }


def test_the_narrowest_grant_lets_a_call_through() -> None:
    call = Call("c", "t", "h", 1, 0, paths=("a/b",))
    given = {
        "g1": Grant("g1", "tool", "t"),
        "g2": Grant("g2", "limited", "t", paths=("a/*",)),
        "g3": Grant("g3", "exact", "t", "h"),
        "g4": Grant("g4", "call", "t", "h", uses=1),
    }
    for key in ("g4", "g3", "g2", "g1"):
        found = grant_for(given, call, 0)
        assert found is not None
        assert found.id == key
        del given[key]
    assert grant_for(given, call, 0) is None


# ---------------------------------------------------------------- changed arguments


def test_changed_arguments_run_in_their_place_and_the_result_says_so() -> None:
    run = asked("shell", "shell:" + LS)
    run.tell(say(run, args='{"cmd":"pwd"}'))
    call = run.snapshot.calls["c2_0"]
    note = 'A person changed the arguments of this call to: {"cmd":"pwd"}'
    assert (call.args_hash, call.edited, call.note) == (hash_of("shell", '{"cmd":"pwd"}'), 4, note)
    assert (call.seq, call.index) == (2, 0), "its place among the calls stays"
    run.tell(grant(run, "c2_1"))
    (effect,) = started(run)
    assert (effect.call, effect.args_hash, effect.seq, effect.index) == ("c2_0", call.args_hash, 4, 0)
    run.answer(output="/w")
    assert run.last.record.view == (AddResult("c2_0", "shell", note=note),)
    (effect,) = run.running()
    assert (effect.call, effect.seq, effect.index) == ("c2_1", 2, 1)


def test_an_answer_names_the_arguments_the_person_saw_before_they_were_changed() -> None:
    run = asked("shell")
    stale = say(run, args_hash=hash_of("shell", LS), args=LS)
    assert run.tell(stale).outcome == "refused"
    assert run.tell(say(run, args=LS)).outcome == "moved"


def test_arguments_that_were_not_really_changed_are_not_called_changed() -> None:
    run = asked("shell:" + LS)
    run.tell(say(run, args=LS))
    call = run.snapshot.calls["c2_0"]
    assert (call.edited, call.note, call.status) == (-1, "", "granted")


def test_an_exact_grant_of_changed_arguments_covers_those_and_not_the_model_s() -> None:
    run = asked("shell", "shell:" + LS, "shell")
    run.tell(say(run, scope="exact", args=LS))
    assert run.status() == {"c2_0": "granted", "c2_1": "granted", "c2_2": "asked"}
    assert run.snapshot.grants["g4"].args_hash == hash_of("shell", LS)


def test_what_is_told_of_changed_arguments_is_bounded() -> None:
    run = asked("shell")
    run.tell(say(run, args=f'{{"cmd":"{"x" * 5_000}"}}'))
    assert len(run.snapshot.calls["c2_0"].note) < MAX_NOTE + 80
    assert run.snapshot.calls["c2_0"].note.endswith("…")


def test_a_changed_call_that_is_interrupted_before_it_runs_says_both() -> None:
    run = asked("shell")
    run.tell(say(run, args=LS))
    target = run.effect.id
    run.tell(UserInterrupted())
    run.tell(EffectCancelled(target, started=False), "workspace")
    made = run.tell(UserMessage("never mind"))
    text = "Not run: the work was interrupted before this call."
    note = f"A person changed the arguments of this call to: {LS}"
    assert AddResult("c2_0", "shell", text, "interrupted", note) in made.record.view


# ---------------------------------------------------------------- any sequence

ARGS = st.sampled_from(["", "", '{"cmd":"pwd"}', LS, "[]", '{"cmd":1}'])
ANSWERS = st.builds(
    dict,
    answer=st.sampled_from(["grant", "grant", "deny", "done"]),
    scope=st.sampled_from(["call", "exact", "limited", "tool"]),
    args=ARGS,
    paths=st.sampled_from([(), ("src/**",), ("docs/*",)]),
    commands=st.sampled_from([(), ("ls",), ("*",)]),
    lasts=st.sampled_from([0, 0, SECOND, 100 * SECOND]),
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 3), ANSWERS), max_size=8))
def test_whatever_people_answer_nothing_runs_that_no_living_grant_covers(
    said: list[tuple[int, dict[str, Any]]],
) -> None:
    run = asked("shell", "shell:" + LS, "mail", "edit", paths=("src/a",))
    begun: list[RunTool] = []
    for number, changes in said:
        key = f"c2_{number}"
        if key not in run.snapshot.calls:
            break
        before = run.snapshot
        made = run.tell(say(run, key, **changes))
        if made.outcome == "refused":
            assert run.snapshot == before
            continue
        begun += [e for e in made.effects if isinstance(e, RunTool)]
        call = run.snapshot.calls.get(key)
        if changes["args"] and call is not None:
            assert call.args_hash == hash_of(call.tool, changes["args"])
        for one in run.snapshot.calls.values():
            if one.status == "granted":
                fits = grant_for(run.snapshot.grants, one, 0)
                assert fits is not None
                assert fits.tool == one.tool
    if run.leaf == "working.tool_running":
        begun += started(run)
    for effect in begun:
        found = run.snapshot.calls[effect.call]
        assert found.args_hash == effect.args_hash
        assert grant_for(run.snapshot.grants, found, run.at) is not None
        assert effect.seq == (found.seq if found.edited < 0 else found.edited)
    assert not [e for e in run.last.effects if isinstance(e, Cancel)]


def test_a_loop_without_own_calls_is_the_loop_it_was() -> None:
    assert "own_call" not in coding().states
