"""Reading YAML: what is accepted, what is refused, and that nothing ever escapes."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.errors import BadSpec, Exit, LoopspecError
from loopspec.spec.diagnose import Diagnostics, SourceError, nearest, quote, render_text
from loopspec.spec.source import (
    MAX_BYTES,
    MAX_DEPTH,
    Entry,
    Node,
    load_plain,
    read,
    read_text,
    scan,
    scan_text,
)


def plain_of(tmp_path: Path, text: str | bytes) -> object:
    """Write a file and load it."""
    file = tmp_path / "data.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_plain(file)


def codes(text: str) -> list[str]:
    """The codes of what is wrong with a text."""
    return [d.code for d in scan_text(text, "x").diagnostics]


def test_plain_scalars_follow_the_core_schema_and_everything_else_is_text(tmp_path: Path) -> None:
    assert plain_of(
        tmp_path,
        "on: no\nyes: off\n1: 010\ntime: 1:30\nhex: 0x1f\noct: 0o17\ndate: 2026-11-23\n"
        "inf: .inf\nnan: .nan\nhuge: 1e999\nlong: 99999999999999999999\nunder: 1_000\n"
        "int: -12\nfloat: 1.5\nexp: 2e3\ntrue_: true\nno_: False\nnull_: ~\nempty:\n"
        "quoted: '12'\nversion: 1.0.0\n",
    ) == {
        "on": "no",
        "yes": "off",
        "1": "010",
        "time": "1:30",
        "hex": "0x1f",
        "oct": "0o17",
        "date": "2026-11-23",
        "inf": ".inf",
        "nan": ".nan",
        "huge": "1e999",
        "long": "99999999999999999999",
        "under": "1_000",
        "int": -12,
        "float": 1.5,
        "exp": 2000.0,
        "true_": True,
        "no_": False,
        "null_": None,
        "empty": None,
        "quoted": "12",
        "version": "1.0.0",
    }


def test_nodes_and_keys_know_their_places() -> None:
    node = read_text("a: 1\nb:\n  - x\n  - {c: 'd'}\n", "x")
    inner = Node("map", 4, 5, entries=(Entry("c", 4, 6, Node("scalar", 4, 9, "d")),))
    items = (Node("scalar", 3, 5, "x", True), inner)
    assert node == Node(
        "map",
        1,
        1,
        entries=(
            Entry("a", 1, 1, Node("scalar", 1, 4, "1", True)),
            Entry("b", 2, 1, Node("list", 3, 3, items=items)),
        ),
    )


def test_byte_order_marks_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    same = {"a": "x\ny\n", "b": 2}
    assert plain_of(tmp_path, "a: |\n  x\n  y\nb: 2\n") == same
    assert plain_of(tmp_path, b"\xef\xbb\xbfa: |\r\n  x\r\n  y\r\nb: 2\r\n") == same
    assert read_text("a: 1\r\nb: 2\r\n", "x").entries[1].line == 2


@pytest.mark.parametrize(
    ("text", "code", "line", "col"),
    [
        ("a: 1\nb: \x00\n", "LS004", 2, 4),
        ("a: \x1b[31m", "LS004", 1, 4),
        ("a: \ufeff", "LS004", 1, 4),
        ('a: "\\ud800"', "LS005", 1, 7),
        ("a: [1", "LS005", 1, 4),
        ("a: {b: 1", "LS005", 1, 4),
        ("a: 'open", "LS005", 1, 4),
        ('a: "\\q"', "LS005", 1, 5),
        ("a: b: c", "LS005", 1, 5),
        ("a: @at", "LS005", 1, 4),
        ("a: 1\n\tb: 2", "LS006", 2, 1),
        ("a: &x 1", "LS008", 1, 4),
        ("a: !!str 1", "LS009", 1, 4),
        ("a: !own {}", "LS009", 1, 4),
        ("a: 1\n---\nb: 1", "LS010", 2, 1),
        ("a: 1\n'a': 2", "LS011", 2, 1),
        ("[1]: 2", "LS012", 1, 1),
        ("{}: 2", "LS012", 1, 1),
        ("a: 1\n?\n: 3", "LS012", 2, 2),
    ],
)
def test_each_trap_is_refused_with_its_place(text: str, code: str, line: int, col: int) -> None:
    found = scan_text(text, "x").diagnostics
    assert (code, line, col) in [(d.code, d.line, d.col) for d in found]


def test_aliases_cannot_multiply_and_are_all_reported() -> None:
    bomb = "a: &a [x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(3))
    assert codes(bomb) == ["LS008"] * 7


def test_nesting_is_capped_for_blocks_and_for_brackets() -> None:
    fits, over = MAX_DEPTH, MAX_DEPTH + 1
    assert codes("[" * fits + "]" * fits) == []
    assert codes("[" * over + "]" * over) == ["LS007"]
    assert codes("[" * 100_000) == ["LS007"]
    assert codes("".join(" " * n + "a:\n" for n in range(200))) == ["LS007"]


def test_size_is_capped_in_bytes(tmp_path: Path) -> None:
    assert codes("#" * MAX_BYTES) == ["LS013"]
    assert codes("é" * (MAX_BYTES // 2 + 1)) == ["LS002"]
    file = tmp_path / "big.yaml"
    file.write_bytes(b" " * (MAX_BYTES + 1))
    assert [d.code for d in scan(file).diagnostics] == ["LS002"]


@pytest.mark.parametrize("text", ["", "\n", "# words\n", "~", "---\n", "---\n...\n"])
def test_a_document_with_nothing_in_it_is_refused(text: str) -> None:
    assert codes(text) == ["LS013"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    faults = {
        "missing.yaml": "there is no such file",
        ".": "this is a directory",
        "pipe": "this is not a regular file",
        "nul\0byte": "the file cannot be read: embedded null byte",
        "x" * 5000: "the file cannot be read: File name too long",
    }
    for name, fault in faults.items():
        path = tmp_path / name
        [found] = scan(path).diagnostics
        assert (found.code, found.file, found.fault) == ("LS001", str(path), fault)


def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: 1\nbé: ".encode() + b"\xe9\n")
    [found] = scan(file).diagnostics
    assert (found.code, found.line, found.col) == ("LS003", 2, 5)
    file.write_bytes("a: 1\n".encode("utf-16"))
    assert [d.code for d in scan(file).diagnostics] == ["LS003"]


def test_load_plain_raises_one_error_that_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(LoopspecError) as caught:
        plain_of(tmp_path, "a: 1\na: 2\n")
    error = caught.value
    assert isinstance(error, SourceError) and isinstance(error, BadSpec)
    assert error.exit == Exit.BAD_SPEC
    assert str(error) == (
        f"{tmp_path}/data.yaml:2:1: the key `a` stands here twice, first in line 1. "
        "remove or rename one of them"
    )
    assert [d.code for d in error.diagnostics] == ["LS011"]


def test_read_gives_the_tree_or_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: &x 1\nb: !t 2\n")
    with pytest.raises(SourceError) as caught:
        read(file)
    assert [d.code for d in caught.value.diagnostics] == ["LS008", "LS009"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="abc:-[]{}#&*!|>'\"%@`,? \n\t\\0", max_size=60))
def test_any_text_gives_a_tree_or_diagnostics(text: str) -> None:
    result = scan_text(text, "x")
    assert (result.node is None) <= bool(result.diagnostics)
    lines = render_text(result.diagnostics, {"x": result.source})
    assert not any(c in lines for c in "\x00\x1b\x85\u2028")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_tree_or_diagnostics(tmp_path_factory: object, data: bytes) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(data)
    result = scan(file)
    assert (result.node is None) <= bool(result.diagnostics)


def test_the_caret_stands_under_wide_characters_and_in_long_lines() -> None:
    found = Diagnostics("x")
    found.add("LS005", read_text("日本: x", "x").entries[0].value, "a fault", "a remedy")
    assert render_text(found.sorted(), {"x": "日本: x"}) == (
        "x:1:5: error LS005: a fault\n  1 | 日本: x\n    |       ^\n  remedy: a remedy\n"
    )
    long = "k: " + "[" * 40 + "x" * 200
    node = Node("scalar", 1, 180)
    found = Diagnostics("x")
    found.add("LS005", node, "a fault", "a remedy")
    shown = render_text(found.sorted(), {"x": long}).splitlines()
    assert shown[2].index("^") == len("  1 | …") + 50
    assert len(shown[1]) <= len("  1 | …") + 100


def test_words_are_quoted_without_control_characters_and_cut() -> None:
    assert quote("a\x1b[31m\nb") == "`a\N{REPLACEMENT CHARACTER}[31m b`"
    assert quote("x" * 100) == "`" + "x" * 59 + "…`"


def test_near_names_are_found_by_their_last_part_too() -> None:
    known = ["ready", "working", "working.streaming"]
    assert nearest("redy", known) == ("ready",)
    assert nearest("streaming", known) == ("working.streaming",)
    assert nearest("x" * 10_000, known) == ()
    assert nearest("", known) == ()
