"""What a person does at a screen: stops and goes on, resizes, pastes, edits, loses a process."""

import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.kit import LOOP, Place, small
from cli.screen.kit import CTRL_D, CTRL_J, CTRL_R, CTRL_Z, ENTER, ESC, TAB, kill, screen, shell
from loopspec.events import ApprovalGiven, UserMessage

ECHO = {"tool": "shell", "args": {"command": "echo hello"}}
EDIT = {"tool": "edit", "args": {"path": "src/a.txt", "old": "one", "new": "two"}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (made.work / "src").mkdir()
    (made.work / "src" / "a.txt").write_text("one\n")
    return made


def asking(place: Place, *turns: dict[str, Any]) -> Path:
    """The small loop, where edits are asked too."""
    loop = LOOP.replace("[read, edit, write, ask]", "[read, write, ask]")
    return small(
        place, *turns, loop=loop.replace("ask: [{tools: [shell]}]", "ask: [{tools: [shell, edit]}]")
    )


def told(place: Place, kind: type) -> list[Any]:
    """The events of a kind in the journal."""
    return [e.event for e in place.entries() if isinstance(e.event, kind)]


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_paints_again(place: Place) -> None:
    spec = small(place, {"when": "more", "reply": "Second."}, {"reply": "First."})
    with shell(place) as seen:
        seen.until("READY>")
        seen.type(f"{sys.executable} -m loopspec run {spec}{ENTER}")
        seen.until("Waits for a message")
        seen.type("Go" + ENTER)
        seen.until("First.")
        seen.until("Enter sends")
        seen.type("mo" + CTRL_Z)
        seen.until("Stopped")
        seen.type("stty -a | grep -o -e '-*icanon'; echo sto''pped" + ENTER)
        seen.until("\nicanon\nstopped\n")
        seen.type("fg" + ENTER)
        seen.until(lambda s: s.text.count("> mo") == 1 and "Enter sends" in s.text.split("fg")[-1])
        seen.type("re" + ENTER)
        seen.until("Second.")
        seen.type(CTRL_D)
        seen.until("at rest")
        seen.type("stty -a | grep -o -e '-*icanon'; echo ov''er" + ENTER)
        seen.until("\nicanon\nover\n")
        seen.type("exit" + ENTER)
        assert seen.ends() == 0


@pytest.mark.slow
def test_a_window_that_changes_its_size_while_text_streams(place: Place) -> None:
    words = " ".join(f"w{n}" for n in range(300))
    spec = small(place, {"reply": words + ".\n\nThe end.", "chunk": 9, "delay": 0.01})
    with screen(place, "run", spec) as seen:
        seen.until("ready · turn 0")
        seen.type("Go" + ENTER)
        seen.until("w20")
        seen.resize(40, 20)
        seen.until("w60")
        seen.resize(100, 30)
        seen.until("The end.")
        seen.until("ready · turn 1")
        said = re.findall(r"\bw\d+\b", seen.scrolled)
        assert said[-300:] == [f"w{n}" for n in range(300)]
        assert max(map(len, seen.lines)) <= 100
        seen.type(CTRL_D)
        assert seen.ends() == 0


@pytest.mark.slow
def test_many_lines_pasted_are_one_message_and_can_be_found_again(place: Place) -> None:
    spec = small(place, {"when": "again", "reply": "Twice."}, {"reply": "Once."})
    secret = "sk-verysecretvalue1234"
    with screen(place, "run", spec, SOME_API_KEY=secret) as seen:
        seen.until("ready · turn 0")
        seen.type("\x1b[200~first line\r\nsecond line\rthird\x1b[201~")
        seen.until("third")
        seen.type(CTRL_J + "fourth" + ENTER)
        seen.until("Once.")
        seen.until("ready · turn 1")
        seen.type(f"again {secret}" + ENTER)
        seen.until("Twice.")
        seen.until("ready · turn 2")
        seen.type(CTRL_R + "second")
        seen.until("second line")
        seen.type(ENTER)
        seen.until("> first line")
        seen.type("\x15" * 4 + "\x0b" * 8)
        seen.type(ESC + "\x7f" * 60)
        seen.gone("> first line\n  second line\n  third\n  fourth\n·")
        seen.tty.hang_up()
        seen.tty.process.wait(60)
    first, second = told(place, UserMessage)
    assert first.text == "first line\nsecond line\nthird\nfourth"
    assert secret not in second.text
    kept = place.store / "typed-lines"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "second line" in kept.read_text() and secret not in kept.read_text()


@pytest.mark.slow
def test_arguments_are_edited_checked_shown_again_and_run_so(place: Place) -> None:
    spec = small(place, {"reply": "", "calls": [ECHO]}, {"when": "exit code", "reply": "Done."})
    with screen(place, "run", spec, "-p", "Go") as seen:
        seen.until("Allow it?")
        seen.type("e")
        seen.until('{"command": "echo hello"}')
        seen.type("\x7f" + ENTER)
        seen.until("no JSON")
        seen.type("\x15" + '{"comand": "x"}' + ENTER)
        seen.until("comand: is not an argument")
        seen.type("\x15" + '{"command": "echo changed > out"}' + ENTER)
        seen.until("Run it so?")
        assert "as you changed it" in seen.text
        seen.type("y")
        seen.until("Done.")
        assert seen.ends() == 0
    (given,) = told(place, ApprovalGiven)
    assert given.args == '{"command":"echo changed > out"}'
    assert (place.work / "out").read_text() == "changed\n"


@pytest.mark.slow
def test_long_arguments_go_to_the_editor(place: Place) -> None:
    text = "echo " + "long " * 60
    editor = place.file("editor", '#!/bin/sh\nsed -i \'s/echo .*/echo short"/\' "$1"\n')
    editor.chmod(0o755)
    call = {"tool": "shell", "args": {"command": text}}
    spec = small(place, {"reply": "", "calls": [call]}, {"when": "short", "reply": "Done."})
    with screen(place, "run", spec, "-p", "Go", EDITOR=str(editor)) as seen:
        seen.until("Allow it?")
        seen.type("e")
        seen.until("Run it so?")
        seen.type("y")
        seen.until("Done.")
        assert seen.ends() == 0
    assert told(place, ApprovalGiven)[0].args == '{"command":"echo short"}'


@pytest.mark.slow
def test_a_grant_within_limits_is_offered_edited_and_holds(place: Place) -> None:
    back = {"tool": "edit", "args": {"path": "src/a.txt", "old": "two", "new": "three"}}
    turns: list[dict[str, Any]] = [{"reply": "", "calls": [EDIT]}, {"reply": "", "calls": [back]}]
    turns.append({"reply": "Both."})
    with screen(place, "run", asking(place, *turns), "-p", "Go") as seen:
        seen.until("Allow it?")
        seen.type("a")
        seen.until("2 edit within limits: src/**")
        seen.type("2")
        seen.until("paths: src/**")
        seen.type(", doc/*" + ENTER)
        seen.until("Both.")
        assert seen.ends() == 0
    (given,) = told(place, ApprovalGiven)
    assert (given.scope, given.paths, given.commands) == ("limited", ("src/**", "doc/*"), ())
    assert (place.work / "src" / "a.txt").read_text() == "three\n"


@pytest.mark.slow
def test_what_was_being_typed_answers_nothing(place: Place) -> None:
    slow = {"reply": "word " * 30, "chunk": 5, "delay": 0.05, "calls": [ECHO]}
    with screen(place, "run", small(place, slow, {"reply": "Done."}), "-p", "Go") as seen:
        seen.until("word word")
        seen.type("yes, yes, y")
        seen.until("Allow it?")
        assert told(place, ApprovalGiven) == []
        seen.type("n")
        seen.until("no, because:")
        seen.type("not now" + ENTER)
        seen.until("> yes, yes, y")
        seen.until("Done.")
        seen.until("ready · turn 2")
        seen.type("\x15" + CTRL_D)
        assert seen.ends() == 0
    (given,) = told(place, ApprovalGiven)
    assert (given.answer, given.reason) == ("deny", "not now")


@pytest.mark.slow
def test_kill_leaves_the_way_on_and_the_next_run_a_sane_terminal(place: Place) -> None:
    spec = small(place, {"hang": True})
    with screen(place, "run", spec, "-p", "Go") as seen:
        seen.until("the model main")
        kill(seen)
        seen.feed()
        assert f"if this process dies: loopspec resume {place.session()}" in seen.text
    small(place, {"reply": "Here again."}, {"reply": "And on."})
    with screen(place, "resume", "last", "-p", "Go on") as seen:
        seen.until("And on.")
        assert "Here again." in seen.text
        assert seen.ends() == 0


@pytest.mark.slow
def test_a_call_of_ones_own_a_command_and_a_path(place: Place) -> None:
    routed = "{user.message: working, user.called: working.deciding}"
    loop = LOOP.replace("{user.message: working}}", routed + "}", 1)
    spec = small(place, {"when": "mine", "reply": "I saw it."}, {"reply": "?"}, loop=loop)
    with screen(place, "run", spec, rows=40) as seen:
        seen.until("ready · turn 0")
        seen.type("/sta" + TAB)
        seen.until("> /stat")
        seen.type("\x15/status" + ENTER)
        seen.until("ready", all=True)
        seen.type("!echo mi''ne" + ENTER)
        seen.until("I saw it.")
        seen.until("ready · turn 1")
        seen.type("look at @src/a" + TAB)
        seen.until("@src/a.txt")
        seen.type("\x15" + CTRL_D)
        assert seen.ends() == 0


def test_a_screen_that_fails_leaves_plain_text_and_a_session_that_goes_on(place: Place) -> None:
    hook = place.path / "sitecustomize.py"
    hook.write_text(
        "import loopspec.cli.terminal.framing as f\n"
        "made = f.Framing.frame\n"
        "def broken(self, columns, rows):\n"
        "    if self.beat > 2 and self._asker.open:\n"
        "        raise RuntimeError('no more paint')\n"
        "    return made(self, columns, rows)\n"
        "f.Framing.frame = broken\n"
    )
    path = os.pathsep.join([str(place.path), str(Path(__file__).parents[3])])
    spec = small(place, {"reply": "", "calls": [ECHO]}, {"reply": "Done."})
    with screen(place, "run", spec, "-p", "Go", PYTHONPATH=path) as seen:
        seen.until("the screen failed (RuntimeError: no more paint)")
        seen.until("[y]es, [n]o")
        seen.type("y\n")
        seen.until("Done.")
        assert seen.ends() == 0
    assert place.run("verify", "last").code == 0


@pytest.mark.slow
def test_a_roll_back_names_what_it_undoes_and_a_lost_call_is_a_persons_matter(place: Place) -> None:
    text = "echo wrecked > src/a.txt; echo be''gun; sleep 600"
    spec = small(place, {"reply": "", "calls": [{"tool": "shell", "args": {"command": text}}]})
    with screen(place, "run", spec, "-p", "Go", rows=34) as seen:
        seen.until("Allow it?")
        seen.type("y")
        seen.until("begun")
        kill(seen)
    small(place, {"when": "was done", "reply": "Then I go on."}, {"reply": "?"})
    with screen(place, "resume", "last", rows=34) as seen:
        seen.until("It may have happened.")
        seen.type("?")
        seen.until("so a person decides")
        seen.type(ESC)
        seen.until("Ctrl-C leaves")
        assert "undoes 1 call: shell echo wrecked" in seen.text
        seen.type("b" + ENTER)
        seen.until("Put the files back as they were")
        seen.type("n")
        seen.until("Ctrl-C leaves")
        assert (place.work / "src" / "a.txt").read_text() == "wrecked\n"
        seen.type("b" + ENTER)
        seen.until("Put the files back as they were")
        seen.type("y")
        seen.until("put back: src/a.txt")
        seen.until("Ctrl-C leaves")
        seen.type("\x03")
        assert seen.ends() == 130
    assert (place.work / "src" / "a.txt").read_text() == "one\n"
    assert place.run("verify", "last").code == 0
