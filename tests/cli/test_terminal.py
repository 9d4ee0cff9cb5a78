"""A person at a plain terminal, which can only print: approvals, interrupts, a closed window.

What a terminal with a screen shows stands in `screen/`.
"""

from pathlib import Path

import pytest

from cli.kit import TIMEOUT, Place, small
from cli.terminal import terminal
from loopspec.events import ApprovalGiven

EDIT = {"tool": "edit", "args": {"path": "a.txt", "old": "one", "new": "two"}}
ASKING = "  ask: [{tools: [shell, edit]}]"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (made.work / "a.txt").write_text("one\n")
    return made


def asking(place: Place, *turns: dict[str, object]) -> Path:
    """The small loop, where edits are asked too."""
    spec = small(place, *turns)
    text = spec.read_text().replace("[read, edit, write, ask]", "[read, write, ask]")
    spec.write_text(text.replace("  ask: [{tools: [shell]}]", ASKING))
    return spec


def test_a_diff_is_shown_before_an_edit_and_y_allows_it(place: Place) -> None:
    spec = asking(place, {"reply": "I edit.", "calls": [EDIT]}, {"reply": "Edited."})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        shown = tty.until("Allow it?")
        assert "-one" in shown and "+two" in shown and "a.txt" in shown
        assert (place.work / "a.txt").read_text() == "one\n"
        tty.type("y\n")
        tty.until("Edited.")
        assert tty.ends() == 0
    assert (place.work / "a.txt").read_text() == "two\n"


def test_n_with_a_reason_denies_and_the_model_is_told_by_whom(place: Place) -> None:
    spec = asking(place, {"reply": "", "calls": [EDIT]}, {"when": "refused", "reply": "I see."})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("Allow it?")
        tty.type("n not this file\n")
        tty.until("I see.")
        assert tty.ends() == 0
    assert (place.work / "a.txt").read_text() == "one\n"
    (given,) = [e.event for e in place.entries() if isinstance(e.event, ApprovalGiven)]
    assert (given.answer, given.reason) == ("deny", "not this file")


def test_a_writes_a_grant_that_explain_shows_and_is_not_asked_again(place: Place) -> None:
    back = {"tool": "edit", "args": {"path": "a.txt", "old": "two", "new": "three"}}
    turns = [{"reply": "", "calls": [EDIT]}, {"reply": "", "calls": [back]}, {"reply": "Both."}]
    spec = asking(place, *turns)
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("Allow it?")
        tty.type("a\n")
        tty.until("Both.")
        assert tty.ends() == 0
    assert (place.work / "a.txt").read_text() == "three\n"
    text = " ".join(place.run("explain", "last").out.split())
    assert "`edit`: the tool for the rest of the session" in text and "no limit of uses" in text


def test_rubbish_is_asked_again_and_the_end_of_input_leaves_it_resumable(place: Place) -> None:
    spec = asking(place, {"reply": "", "calls": [EDIT]}, {"reply": "Edited."})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("Allow it?")
        tty.type("perhaps\n")
        tty.until("Allow it?")
        tty.type("\x04")
        assert tty.ends() == 55
    assert place.run("resume", "last", "--yes").code == 0
    assert (place.work / "a.txt").read_text() == "two\n"


def test_ctrl_c_interrupts_at_once_enter_goes_on_with_what_was_said(place: Place) -> None:
    long = {"reply": "word " * 2000, "chunk": 5, "delay": 0.02}
    spec = small(place, {"when": "interrupted here", "reply": "Again."}, long)
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("word word word")
        tty.ctrl_c()
        tty.until("Interrupted.")
        tty.type("q\n")
        assert tty.ends() == 130
    assert "interrupted" in place.run("explain", "last").out


def test_a_message_after_an_interrupt_steers(place: Place) -> None:
    long = {"reply": "word " * 2000, "chunk": 5, "delay": 0.02}
    spec = small(place, {"when": "in English", "reply": "As you wish."}, long)
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("word word word")
        tty.ctrl_c()
        tty.until("Interrupted.")
        tty.type("in English, please\n")
        tty.until("As you wish.")
        assert tty.ends() == 0


def test_interrupting_a_command_ends_it_and_roll_back_restores_the_files(place: Place) -> None:
    wreck = {"tool": "shell", "args": {"command": "echo wrecked > a.txt; echo begun; sleep 600"}}
    spec = small(place, {"reply": "", "calls": [wreck]})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("Allow it?")
        tty.type("y\n")
        tty.until("begun")
        tty.ctrl_c()
        tty.until("[b]ack")
        assert (place.work / "a.txt").read_text() == "wrecked\n"
        tty.type("b\n")
        tty.until("put back: a.txt")
        tty.until("Interrupted.")
        tty.type("q\n")
        assert tty.ends() == 130
    assert (place.work / "a.txt").read_text() == "one\n"
    assert place.run("verify", "last").code == 0


def test_a_conversation_goes_on_until_the_end_of_input(place: Place) -> None:
    spec = small(place, {"when": "first", "reply": "One."}, {"when": "second", "reply": "Two."})
    with terminal(place, "run", spec) as tty:
        tty.until("> ")
        tty.type("first\n")
        tty.until("One.")
        tty.until("> ")
        tty.type("second\n")
        tty.until("Two.")
        tty.until("> ")
        tty.type("\x04")
        assert tty.ends() == 0


def test_ctrl_c_at_the_prompt_leaves(place: Place) -> None:
    spec = small(place, {"reply": "x"})
    with terminal(place, "run", spec) as tty:
        tty.until("> ")
        tty.ctrl_c()
        assert tty.ends() == 130


def test_a_tool_asks_the_person(place: Place) -> None:
    ask = {"tool": "ask", "args": {"question": "Which colour?"}}
    spec = small(place, {"when": "green", "reply": "Green it is."}, {"reply": "", "calls": [ask]})
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("Which colour?")
        tty.type("green\n")
        tty.until("Green it is.")
        assert tty.ends() == 0


def test_a_closed_window_parks_the_session(place: Place) -> None:
    long = {"reply": "word " * 2000, "chunk": 5, "delay": 0.02}
    spec = small(place, long)
    with terminal(place, "run", spec, "-p", "Go") as tty:
        tty.until("word word word")
        tty.hang_up()
        assert tty.process.wait(TIMEOUT) == 56
    assert "suspended" in place.run("explain", "last").out
    small(place, {"reply": "Done."})
    assert place.run("resume", "last").out == "Done.\n"


def test_hostile_text_cannot_steer_the_terminal(place: Place) -> None:
    spec = small(place, {"reply": "\u001b[2J\u001b]0;owned\u0007hello\u202e"})
    with terminal(place, "run", spec, "-p", "Go", NO_COLOR="1") as tty:
        tty.until("hello")
        assert tty.ends() == 0
    assert "\x1b" not in tty.raw and "\u202e" not in tty.raw
