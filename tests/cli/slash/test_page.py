"""The page of the terminal says what the code does: every command, every key."""

import ast
import re
import shlex
from pathlib import Path

from cli.slash.sessions import DONE, begun, go_on, opened, place
from loopspec.cli.slash.commands import _ALSO, COMMANDS
from loopspec.cli.slash.mentions import ALL_BYTES, FILE_BYTES
from loopspec.drivers.forking import ON_ITS_WAY
from loopspec.events import BudgetExtended, UserMessage

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "terminal.md").read_text()
WORDS = " ".join(PAGE.split())
KEYS = {
    "enter": "Enter",
    "c-j": "Ctrl-J",
    "escape": "Esc",
    "escape enter": "Esc Enter",
    "tab": "Tab",
    "up": "Up",
    "c-d": "Ctrl-D",
    "c-o": "Ctrl-O",
    "c-z": "Ctrl-Z",
}


def test_every_command_stands_on_the_page_as_its_help_says_it() -> None:
    section = PAGE.split("\n## Commands\n")[1].split("\n## ")[0]
    listed = section.split("\n\n")[0].split("\n- ")
    assert [" ".join(item.removeprefix("- ").split()) for item in listed if item] == [
        f"`{c.usage}`: {c.does} {c.more}".rstrip() for c in COMMANDS.values()
    ]
    for short, name in _ALSO.items():
        assert re.search(rf"`/{re.escape(short)}`[^.;]* `/{name}`", section), short


def test_every_key_stands_on_the_page() -> None:
    tree = ast.parse((ROOT / "loopspec" / "cli" / "terminal" / "keys.py").read_text())
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add":
            bound.add(" ".join(str(a.value) for a in node.args if isinstance(a, ast.Constant)))
    table = PAGE.split("\n## Keys\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    named = {name.strip() for row in rows for name in row.split(",")}
    assert len(bound) > 5 and {KEYS.get(key, key) for key in bound if key} - named == set()


def test_limits_and_conditions_on_the_page_are_those_of_the_code() -> None:
    one, every = FILE_BYTES // 1024, ALL_BYTES // 1024
    assert f"A file may have {one} KiB, all files of a message {every} KiB" in WORDS
    *most, last = ON_ITS_WAY
    assert f"a call is {', '.join(most)} or {last}" in WORDS


def test_the_fork_commands_on_the_page_do_what_it_says(tmp_path: Path) -> None:
    where = place(tmp_path)
    store = opened(where)
    begun(where, store, [DONE] * 8)
    go_on(store, [BudgetExtended("turns", 1)])  # so that entry 7 is a rest
    for n in range(6):
        go_on(store, [UserMessage(f"message {n}")])
    store.close()
    lines = re.findall(r"^\$ loopspec (fork .*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        ran = where.run(*shlex.split(line))
        assert (ran.code, ran.err) == (0, ""), line
