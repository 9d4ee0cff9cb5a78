"""The parts of the screen by themselves: blocks, painting, offers, looks, the status, typed lines."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.cli.terminal.blocks import LONG_BLOCK, LONG_PARAGRAPH, Block, Blocks
from loopspec.cli.terminal.editor import editor_of
from loopspec.cli.terminal.history import KEPT, TypedLines
from loopspec.cli.terminal.look import Look, look_of
from loopspec.cli.terminal.offers import command_offers, globs_of, line_of, path_offers
from loopspec.cli.terminal.paint import bare, clip, diff, markdown, plain
from loopspec.cli.terminal.status import short
from loopspec.governance.authority import Target, decide
from loopspec.machine.model import Authority, Machine, Rule, State, ToolDecl
from loopspec.snapshot import Call
from loopspec.views.words import cells

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
LINES = st.sampled_from(
    ["", "# Head", "one two", "- item", "  more", "1. first", "```", "~~~py", "| a | b |", "> q", "    x"]
)
DOCUMENTS = st.lists(LINES, max_size=30).map("\n".join)


def blocks_of(*pieces: str) -> list[Block]:
    """What comes out when a text comes in these pieces."""
    blocks = Blocks()
    out = [block for piece in pieces for block in blocks.feed(piece)]
    return out + blocks.close()


@given(DOCUMENTS, st.integers(1, 9))
def test_blocks_do_not_depend_on_how_the_text_was_cut(text: str, size: int) -> None:
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    assert blocks_of(*pieces) == blocks_of(text)


@given(st.text(st.sampled_from("ab `*.\n-"), max_size=4_000))
def test_no_word_is_lost_or_doubled(text: str) -> None:
    found = "\n".join(block.text for block in blocks_of(*text))
    assert re.findall(r"[ab]", found) == re.findall(r"[ab]", text)


def test_blocks_close_where_markdown_says() -> None:
    text = "# Head\nA line\nof text.\n\n- a\n\n- b\n  more\n\nAfter.\n\n```py\nx = 1\n\ny = 2\n```\nEnd"
    assert [b.text for b in blocks_of(text)] == [
        "# Head",
        "A line\nof text.",
        "- a\n\n- b\n  more",
        "After.",
        "```py\nx = 1\n\ny = 2\n```",
        "End",
    ]


def test_what_is_long_is_cut_and_says_so() -> None:
    fence = blocks_of("```\n" + "x\n" * (2 * LONG_BLOCK) + "```\n")
    assert [b.joined for b in fence] == [False, True, True][: len(fence)]
    assert sum(b.text.count("x") for b in fence) == 2 * LONG_BLOCK
    sentence = "It goes on and on. "
    words = blocks_of(*(sentence * 200))
    assert all(len(b.text) <= LONG_PARAGRAPH for b in words)
    assert [b.joined for b in words] == [False] + [True] * (len(words) - 1)
    assert " ".join(b.text for b in words).strip() == (sentence * 200).strip()


def test_an_open_fence_is_shown_closed() -> None:
    blocks = Blocks()
    assert blocks.feed("````py\nx = 1\n") == []
    assert blocks.open == "````py\nx = 1\n````"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(20, 90), st.booleans())
def test_nothing_a_model_writes_steers_the_terminal(text: str, width: int, color: bool) -> None:
    look = Look(color=color)
    lines = [*markdown(text, width, look), *plain(text, width, look), *diff(text, width, look, 5)]
    for line in lines:
        assert not CONTROL.search(bare(line) if color else line), (text, line)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.integers(20, 90))
def test_painted_lines_are_as_wide_as_asked(text: str, width: int) -> None:
    for line in markdown(text, width, Look()):
        assert cells(bare(line)) <= width
    for line in markdown(text, width, Look(color=False, ascii=True)):
        assert line.isascii() and "\x1b" not in line


@pytest.mark.parametrize(
    "hostile", ["&#27;[2J", "[a](http://x/&#7;b)", "`\x1b]0;owned\x07`", "```\n\x1b[2J\n```", "&#8238;x"]
)
def test_escapes_hidden_in_markdown_stay_text(hostile: str) -> None:
    for line in markdown(hostile, 60, Look(color=False)):
        assert not CONTROL.search(line), line


def test_a_clipped_line_keeps_its_colours_closed() -> None:
    assert clip("\x1b[31mred and long\x1b[0m", 3) == "\x1b[31mred\x1b[0m"
    assert clip("short", 9) == "short"
    assert clip("日本語", 5) == "日本"


COMMANDS = [
    ("pytest -q tests", ("pytest", "pytest *")),
    ("python -m pytest -q", ("python -m pytest", "python -m pytest *")),
    ("python -c 'x'", ("python -c 'x'",)),
    ("git status --short", ("git status", "git status *")),
    ("git -C .. status", ("git -C .. status",)),
    ("rm -rf build", ("rm -rf build",)),
    ("sudo make install", ("sudo make install",)),
    ("make test && make lint", ("make test && make lint",)),
    ("ls", ("ls", "ls *")),
    ("bash", ("bash",)),
    ("echo 'two words'", ("echo 'two words'",)),
    ("A=1 make", ("A=1 make",)),
    ("echo 'unclosed", ("echo 'unclosed",)),
    ("", ()),
]


@pytest.mark.parametrize(("command", "offered"), COMMANDS, ids=[c or "none" for c, _ in COMMANDS])
def test_what_is_offered_for_a_command(command: str, offered: tuple[str, ...]) -> None:
    assert command_offers(Target(command=command)) == offered


def test_what_is_offered_for_paths_is_their_neighbourhood() -> None:
    target = Target(paths=("src/a/b.py", "src/a/c.py", "README.md"))
    assert path_offers(target) == ("src/a/**", "README.md")


@pytest.mark.parametrize("command", [c for c, o in COMMANDS if o])
def test_an_offer_allows_the_very_call_it_was_made_from(command: str) -> None:
    target = Target(paths=("src/a.py",), command=command)
    rule = Rule(tools=("run",), paths=path_offers(target), commands=command_offers(target))
    machine = Machine(
        name="m",
        version="1.0.0",
        initial="s",
        states={"s": State(path="s")},
        transitions=(),
        tools={"run": ToolDecl(name="run", use="x", paths=("path",), command="command")},
        authority=Authority(allow=(rule,)),
    )
    call = Call(id="c", tool="run", args_hash="", seq=0, index=0)
    assert decide(machine, call, target, {}, 0).answer == "allow"


@given(st.lists(st.text("ab,*\\ /", min_size=1).map(str.strip).filter(bool), max_size=4, unique=True))
def test_globs_survive_their_line(globs: list[str]) -> None:
    safe = [g for g in globs if not g.endswith("\\") and "\\," not in g]
    assert globs_of(line_of(tuple(safe))) == tuple(safe)


@pytest.mark.parametrize(
    ("environ", "encoding", "look"),
    [
        ({"LANG": "en_US.UTF-8"}, "utf-8", Look(True, False)),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", Look(True, True)),
        ({}, "utf-8", Look(True, False)),
        ({"LC_ALL": "POSIX"}, "utf-8", Look(True, True)),
        ({"NO_COLOR": "1"}, "ascii", Look(False, True)),
        ({"TERM": "dumb"}, None, Look(False, True)),
    ],
)
def test_what_the_environment_says_of_the_terminal(
    environ: dict[str, str], encoding: str | None, look: Look
) -> None:
    assert look_of(environ, encoding) == look


def test_marks_have_an_ascii_form() -> None:
    look = Look(color=False, ascii=True)
    assert look.plain("✓ a · b… “x” ☃") == '+ a - b... "x" ?'


def test_counts_are_short_and_rounded_down() -> None:
    counts = [0, 999, 1_000, 12_345, 999_999, 2_150_000, 123_456_789]
    assert [short(n) for n in counts] == ["0", "999", "1.0k", "12.3k", "999k", "2.1M", "123M"]


def test_typed_lines_are_kept_in_order_bounded_and_private(tmp_path: Path) -> None:
    kept = TypedLines(tmp_path, lambda text: "secret" in text)
    for n in range(3):
        kept.store_string(f"line {n}\nmore")
    kept.store_string("a secret")
    assert list(kept.load_history_strings()) == ["line 2\nmore", "line 1\nmore", "line 0\nmore"]
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    kept.path.write_bytes(b"not json\n" + b'"x"\n' * (3 * KEPT))
    assert len(list(kept.load_history_strings())) == KEPT
    assert kept.path.read_bytes().count(b"\n") == KEPT
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert list(TypedLines(tmp_path / "none", bool).load_history_strings()) == []


def test_which_editor() -> None:
    assert editor_of({"EDITOR": "vi", "VISUAL": "code --wait"}) == ["code", "--wait"]
    assert editor_of({"EDITOR": "vi 'unclosed"}) == []
    assert editor_of({}) == []
