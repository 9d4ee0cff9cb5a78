"""Live pieces lose their secrets, whole or cut in two, and nothing else."""

from loopspec.drivers.shown import Shown
from loopspec.events import CallDelta, EffectStarted, Live, Progress, TextDelta, ToolOutput
from loopspec.governance.redact import Redactor

SECRET = "tiger-lily-9041"


def made() -> tuple[Shown, list[Live]]:
    seen: list[Live] = []
    return Shown(Redactor.from_environment({"LILY_TOKEN": SECRET}), seen.append), seen


def test_a_secret_cut_in_two_is_shown_as_one_mark() -> None:
    show, seen = made()
    for piece in ("It is tiger-l", "ily-9", "041."):
        show(TextDelta("e", piece))
    show.settled("e")
    assert seen == [TextDelta("e", "It is "), TextDelta("e", "[secret:LILY_TOKEN].")]


def test_what_was_held_back_comes_before_the_next_stream_of_the_same_effect_and_before_its_end() -> None:
    show, seen = made()
    show(TextDelta("e", "I pat a ti"))
    show(CallDelta("e", 0, "read", ""))
    show(CallDelta("e", 0, "", '{"path":"t'))
    show.settled("e")
    assert seen == [
        TextDelta("e", "I pat a "),
        TextDelta("e", "ti"),
        CallDelta("e", 0, "read", ""),
        CallDelta("e", 0, "", '{"path":"'),
        CallDelta("e", 0, "", "t"),
    ]


def test_effects_beside_each_other_do_not_disturb_each_other() -> None:
    show, seen = made()
    show(ToolOutput("a", "c1", "tiger-lily"))
    show(ToolOutput("b", "c2", "-9041"))
    show(ToolOutput("a", "c1", "-9041\n"))
    assert seen == [ToolOutput("b", "c2", "-9041"), ToolOutput("a", "c1", "[secret:LILY_TOKEN]\n")]


def test_events_that_are_whole_are_redacted_at_once() -> None:
    show, seen = made()
    show(EffectStarted("e", f"asks {SECRET}"))
    show(Progress(SECRET))
    assert seen == [EffectStarted("e", "asks [secret:LILY_TOKEN]"), Progress("[secret:LILY_TOKEN]")]


def test_streams_that_take_turns_cut_no_secret_in_two() -> None:
    show, seen = made()
    show(CallDelta("e", 0, "a", "x tiger-"))
    show(CallDelta("e", 1, "b", "{"))
    show(CallDelta("e", 0, "", "lily-9041 y"))
    show(TextDelta("e", "a ti"))
    show(CallDelta("e", 1, "", "}"))
    show(TextDelta("e", "ger-lily-9041!"))
    show(CallDelta("e", 0, "", " ti"))
    show(TextDelta("e", "?"))
    show(CallDelta("e", 0, "", "me"))
    show.settled("e")
    assert seen == [
        CallDelta("e", 0, "a", "x "),
        CallDelta("e", 1, "b", "{"),
        CallDelta("e", 0, "", "[secret:LILY_TOKEN] y"),
        TextDelta("e", "a "),
        TextDelta("e", "ti"),  # three characters at most may be seen before the mark
        CallDelta("e", 1, "", "}"),
        TextDelta("e", "[secret:LILY_TOKEN]!"),
        CallDelta("e", 0, "", " "),
        CallDelta("e", 0, "", "ti"),
        TextDelta("e", "?"),
        CallDelta("e", 0, "", "me"),
    ]


def test_the_name_of_a_tool_loses_its_secrets_too() -> None:
    show, seen = made()
    show(CallDelta("e", 0, SECRET, ""))
    assert seen == [CallDelta("e", 0, "[secret:LILY_TOKEN]", "")]
