"""Whole screens, compared with golden texts: what a person sees, at the moments that matter."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.kit import Place, small
from cli.screen.kit import CTRL_C, CTRL_D, CTRL_O, ENTER, ESC, UP, golden, screen

EDIT = {"tool": "edit", "args": {"path": "a.txt", "old": "one", "new": "two"}}
SHELL = {"tool": "shell", "args": {"command": "printf 'first\\nsecond\\nthird\\n'"}}
SLOW = {"tool": "shell", "args": {"command": "echo begun; sleep 600"}}
ASKING = "  ask: [{tools: [shell, edit], reason: you may want to look}]"
MARKDOWN = """\
# Plan

I will **edit** `a.txt`, in two steps:

1. read it
2. change `one` to `two`

```python
def change(text: str) -> str:
    return text.replace("one", "two")
```

| file | lines |
|------|-------|
| a.txt | 1 |

> Nothing else is touched.

"""


@pytest.fixture
def place() -> Iterator[Place]:
    """A place whose name is always as long, and short: paths are wrapped on the screen."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as path:
        made = Place(Path(path))
        (made.work / "a.txt").write_text("zero\none\nthree\n")
        yield made


def asking(place: Place, *turns: dict[str, Any]) -> Path:
    """The small loop, where edits are asked too."""
    spec = small(place, *turns)
    text = spec.read_text().replace("[read, edit, write, ask]", "[read, write, ask]")
    spec.write_text(text.replace("  ask: [{tools: [shell]}]", ASKING))
    return spec


def test_streaming_then_an_interrupt_with_its_menu(place: Place) -> None:
    tail = "And so it goes on, word by word, until somebody stops it. " * 40
    long = {"thinking": "It is one word.", "reply": MARKDOWN + tail, "chunk": 7, "delay": 0.01}
    spec = small(place, {"when": "steer", "reply": "As you wish."}, long)
    with screen(place, "run", spec, "-p", "Go", rows=34) as seen:
        seen.until("word by word, until somebody")
        streaming = seen.normal(place)
        assert streaming.index("┊ It is one word.") < streaming.index("Plan")
        assert "the model main (scripted/" in streaming and "Esc interrupts" in streaming
        golden("streaming", streaming.split("And so it goes on")[0])
        seen.type(ESC)
        seen.until("Ctrl-C leaves")
        golden("interrupted", "Interrupted." + seen.normal(place).split("Interrupted.")[-1])
        seen.type("steer it" + ENTER)
        seen.until("As you wish.")
        assert seen.ends() == 0


def test_a_diff_a_reason_the_menu_of_grants_and_a_card(place: Place) -> None:
    turns = [{"reply": "I edit.", "calls": [EDIT]}, {"reply": "", "calls": [SHELL]}]
    spec = asking(place, *turns, {"reply": "Both done."})
    with screen(place, "run", spec, "-p", "Go", rows=30) as seen:
        seen.until("Allow it?")
        golden("approval", seen.normal(place))
        seen.type("?")
        seen.until("Because: you may want to look")
        golden("why", seen.normal(place).split("Why this is asked")[1].replace(str(place.path), "HERE"))
        assert (place.work / "a.txt").read_text() == "zero\none\nthree\n"
        seen.type("y")
        seen.until("printf")
        seen.until("Allow it?")
        seen.type("a")
        seen.until("Always, in this session:")
        golden("always", seen.normal(place).split("Because: you may want to look")[1])
        seen.type("1")
        seen.until("Both done.")
        assert seen.ends() == 0
        assert "✓ shell printf" in seen.text and "3 lines" in seen.text
    assert (place.work / "a.txt").read_text() == "zero\ntwo\nthree\n"


def test_a_running_tool_a_queue_that_is_edited_and_the_whole_output(place: Place) -> None:
    text = "for n in 1 2 3 4 5 6 7 8; do echo row $n; done; while [ ! -e go ]; do sleep 0.1; done"
    wait = {"tool": "shell", "args": {"command": text}}
    turns = [{"when": "later", "reply": "Later it is."}, {"when": "row 8", "reply": "Eight rows."}]
    spec = small(place, *turns, {"reply": "", "calls": [wait]})
    with screen(place, "run", spec, "-p", "Go") as seen:
        seen.until("Allow it?")
        seen.type("y")
        seen.until("row 8")
        seen.type("sooner" + ENTER)
        seen.until("1. sooner")
        seen.type("second" + ENTER)
        seen.until("2. second")
        golden("queue", seen.normal(place))
        seen.type(UP)
        seen.until("> second")
        seen.gone("2. second")
        seen.type("\x15" + UP)
        seen.until("> sooner")
        seen.type("\x15later" + ENTER)
        seen.until("1. later")
        (place.work / "go").touch()
        seen.until("Later it is.")
        seen.until("at rest")
        golden("card", seen.normal(place).split("rollback point")[1].split("\n", 1)[1])
        assert seen.ends() == 0
    said = [e.event.text for e in place.entries() if type(e.event).__name__ == "UserMessage"]
    assert said == ["Go", "sooner", "second", "later"]


def test_twenty_columns_no_colour(place: Place) -> None:
    spec = asking(place, {"reply": MARKDOWN, "calls": [EDIT]}, {"reply": "Edited."})
    with screen(place, "run", spec, columns=20, rows=24, NO_COLOR="1") as seen:
        seen.until("ready · turn 0")
        seen.type("Go, and be quick about it" + ENTER)
        seen.until("y yes")
        golden("narrow", seen.normal(place))
        assert max(map(len, seen.lines)) <= 20
        seen.type("y")
        seen.until("Edited.")
        seen.until("ready · turn 2")
        seen.type(CTRL_O)
        seen.until("edited a.txt: line")
        golden("narrow-after", seen.normal(place))
        seen.type(CTRL_D)
        assert seen.ends() == 0
    colours = [c for c in seen.tty.raw.split("\x1b[") if c[:3].rstrip("m") in ("31", "32", "33", "36")]
    assert colours == []


def test_ascii_and_leaving_by_ctrl_c_twice(place: Place) -> None:
    spec = asking(place, {"thinking": "Hm…", "reply": MARKDOWN + "— “ça va” →", "calls": [SLOW]})
    with screen(place, "run", spec, "-p", "Go", rows=36, LANG="C") as seen:
        seen.until("Allow it?")
        golden("ascii", seen.normal(place))
        assert seen.text.isascii()
        seen.type("y")
        seen.until("begun")
        seen.type(CTRL_C)
        seen.until("Interrupted.")
        seen.until("Ctrl-C leaves")
        seen.type(CTRL_C)
        assert seen.ends() == 130
        assert "go on with: loopspec resume small-" in seen.text
        assert seen.text.isascii()
    assert place.run("verify", "last").code == 0
