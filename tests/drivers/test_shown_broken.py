"""Replies that broke off, as they are shown: what is void shows no more, and no break opens a secret."""

from hypothesis import given
from hypothesis import strategies as st

from loopspec.drivers.shown import Shown
from loopspec.events import Live, StreamContinued, StreamDiscarded, TextDelta, ThinkingDelta
from loopspec.governance.redact import Redactor

SECRET = "hunter2-correct-horse"


def shown() -> tuple[Shown, list[Live]]:
    out: list[Live] = []
    return Shown(Redactor.from_environment({"API_TOKEN": SECRET}), out.append), out


def text(events: list[Live]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


def broken(before: str, *after: str) -> list[Live]:
    """A reply that breaks off behind `before` and goes on with `after`."""
    show, out = shown()
    show(TextDelta("a", before))
    show.settled("a")
    show(StreamContinued("b", "a"))
    for piece in after:
        show(TextDelta("b", piece))
    show.settled("b")
    return out


def test_a_reply_goes_on_without_a_repeat_of_what_was_held_back() -> None:
    out = broken("It is hunter", "s who ", "hunt.")
    assert text(out) == "It is hunters who hunt."
    assert StreamContinued("b", "a") in out


def test_a_secret_that_the_break_cuts_in_two_shows_no_more_than_its_beginning() -> None:
    out = broken("It is hunter2-cor", "rect-", "horse, is it?")
    assert "rect-horse" not in text(out) and SECRET not in text(out)
    assert text(out).startswith("It is hunter2-cor") and text(out).endswith(", is it?")


@given(st.text("hunter2 x", max_size=12), st.lists(st.text("hunter2 x", max_size=6), max_size=4))
def test_whatever_the_pieces_are_they_read_as_one_text(before: str, after: list[str]) -> None:
    assert text(broken(before, *after)) == before + "".join(after)


def test_what_is_void_shows_nothing_of_what_was_held_back() -> None:
    show, out = shown()
    show(TextDelta("a", "It is hunt"))
    show(StreamDiscarded("a", "corrupt"))
    show.settled("a")
    assert out == [TextDelta("a", "It is "), StreamDiscarded("a", "corrupt")]


def test_a_pause_for_thinking_repeats_nothing_of_a_reply_that_goes_on() -> None:
    show, out = shown()
    show(TextDelta("a", "a h"))
    show.settled("a")
    show(StreamContinued("b", "a"))
    show(ThinkingDelta("b", "hm"))
    show(TextDelta("b", "um"))
    show.settled("b")
    assert text(out) == "a hum"
