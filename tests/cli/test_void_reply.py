"""A reply that broke off, as people and programs see it: called void, or gone on without a repeat."""

from pathlib import Path

import pytest

from cli.inside import Inside
from cli.kit import small
from loopspec.cli.terminal.look import Look
from loopspec.cli.terminal.showing import Showing
from loopspec.drivers.session import Session
from loopspec.drivers.world import SystemClock, redactor
from loopspec.events import StreamContinued, StreamDiscarded, TextDelta
from loopspec.stores.sqlite import SqliteStore

VOID = "the unfinished reply above is void (truncated)"
BROKE = {"reply": "The cause is the rounding.", "truncate": True}


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    return Inside(tmp_path, monkeypatch)


def test_in_text_a_void_reply_is_marked_and_the_answer_stands_alone(place: Inside) -> None:
    ran = place.run("run", small(place, BROKE, {"reply": "It is fixed."}), "-p", "Go")
    assert ran.code == 0, ran.err
    assert ran.out == "It is fixed.\n"
    shown, _, after = ran.err.partition(VOID)
    assert "The cause is the rounding." in shown and "It is fixed." in after
    assert ran.err.count(VOID) == 1


def test_in_text_a_reply_that_goes_on_is_not_said_twice(place: Inside) -> None:
    whole = {"reply": "The cause is the rounding. It is fixed."}
    ran = place.run("run", small(place, BROKE, whole, prefill=True), "-p", "Go")
    assert ran.code == 0, ran.err
    assert ran.out == whole["reply"] + "\n"
    assert VOID not in ran.err and ran.err.count("The cause is") == 1
    assert " It is fixed." in ran.err


def live(place: Inside, *turns: dict[str, object], **head: object) -> list[tuple[str, str]]:
    """Names of the live lines about replies, with their text."""
    spec = small(place, *turns, **head)
    ran = place.run("run", spec, "-p", "Go", "--output-format", "stream-json")
    found = [line for line in ran.lines if line["kind"] == "live"]
    names = ("text.delta", "stream.discarded", "stream.continued")
    return [(x["name"], x["event"].get("text", "")) for x in found if x["name"] in names]


def test_programs_are_told_what_is_void_and_what_goes_on(place: Inside) -> None:
    void = live(place, BROKE, {"reply": "Done."})
    assert [name for name, _ in void] == ["text.delta"] * 2 + ["stream.discarded", "text.delta"]
    on = live(place, BROKE, {"reply": "The cause is the rounding. Done."}, prefill=True)
    at = on.index(("stream.continued", ""))
    assert "".join(text for _, text in on[:at]) == "The cause is the rounding."
    assert "".join(text for _, text in on[at:]) == " Done."


def test_on_the_screen_a_void_reply_is_closed_and_marked_before_the_next_one(place: Inside) -> None:
    place.run("run", small(place, {"reply": "Hello."}), "-p", "Go")
    store = SqliteStore(place.store)
    session = Session.load(store, place.session(), SystemClock(), redactor())
    said: list[str] = []
    showing = Showing(session, Look(color=False, ascii=True), lambda *lines: said.extend(lines))
    showing.live(TextDelta("s:1:0", "The cause is"))
    showing.live(StreamDiscarded("s:1:0", "truncated"))
    showing.live(TextDelta("s:2:0", "It is"))
    showing.live(StreamContinued("s:3:0", "s:2:0"))
    showing.live(TextDelta("s:3:0", " fixed."))
    showing.end()
    store.close()
    shown = [line.strip() for line in said if line.strip()]
    assert shown[0] == "The cause is" and shown[1].endswith(VOID) and shown[1].isascii()
    assert shown[2:] == ["It is fixed."]
