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
