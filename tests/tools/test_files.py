"""Reading, writing and editing text files."""

import asyncio
import os
import stat
from pathlib import Path

import pytest
from kit import Shown

from loopspec.hooks import ToolFailed
from loopspec.tools.files import EDIT, EDIT_BYTES, PAGE_BYTES, READ, WRITE


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    (tmp_path / "work").mkdir()
    return Shown(tmp_path / "work")


def refusal(shown: Shown, tool: object, **args: object) -> str:
    with pytest.raises(ToolFailed) as refused:
        shown.run(tool, **args)  # type: ignore[arg-type]  # pytest fixtures are untyped
    return str(refused.value)


def probed(shown: Shown, **args: str) -> bool | None:
    async def ask() -> bool | None:
        assert EDIT.probe is not None
        return await EDIT.probe(shown.context, dict(args))

    return asyncio.run(ask())


# ---------------------------------------------------------------- read


def test_a_file_is_read_as_it_is(shown: Shown) -> None:
    (shown.workdir / "a").write_bytes("ä\r\nb\n\tc".encode())
    assert shown.run(READ, path="a") == "ä\r\nb\n\tc"
    (shown.workdir / "empty").touch()
    assert shown.run(READ, path="empty") == "[the file is empty]"


def test_a_long_file_comes_in_pages(shown: Shown) -> None:
    (shown.workdir / "a").write_text("".join(f"{n}\n" for n in range(1, 8)))
    assert shown.run(READ, path="a", limit=2) == (
        "1\n2\n[lines 1 to 2; the file goes on: read from offset 3]"
    )
    assert shown.run(READ, path="a", offset=6, limit=2) == "6\n7\n"
    assert refusal(shown, READ, path="a", offset=8) == ("a has 7 lines; offset 8 is past its end")
    assert refusal(shown, READ, path="a", offset=99) == ("a has 7 lines; offset 99 is past its end")


def test_a_huge_file_costs_one_page(shown: Shown) -> None:
    line = "x" * 1023 + "\n"
    with open(shown.workdir / "huge", "w") as file:
        for _ in range(20_000):
            file.write(line)
    text = shown.run(READ, path="huge", offset=15_001)
    assert text == line * 30 + "[lines 15001 to 15030; the file goes on: read from offset 15031]"
    (shown.workdir / "long").write_text("ä" * PAGE_BYTES)
    assert shown.run(READ, path="long") == (
        "ä" * (PAGE_BYTES // 2) + f"\n[line 1 is longer than {PAGE_BYTES} bytes and was cut here]"
    )


def test_what_is_no_text_is_refused(shown: Shown) -> None:
    (shown.workdir / "bin").write_bytes(b"\x7fELF\0\0")
    (shown.workdir / "latin").write_bytes("caf\xe9\n".encode("latin-1"))
    assert refusal(shown, READ, path="bin") == "bin is a binary file; only text can be read"
    assert refusal(shown, READ, path="latin") == (
        "latin is not UTF-8 text (byte 0xe9); convert it to UTF-8 first or treat it as binary"
    )
    assert refusal(shown, EDIT, path="bin", old="E", new="F").startswith("bin is a binary file")
    assert "leads outside" in refusal(shown, READ, path="../x")


# ---------------------------------------------------------------- write


def test_a_file_is_created_with_its_directories(shown: Shown) -> None:
    assert shown.run(WRITE, path="a/b/c.txt", content="one\ntwo") == (
        "created a/b/c.txt: 2 lines, 7 bytes"
    )
    assert (shown.workdir / "a/b/c.txt").read_text() == "one\ntwo"
    assert os.listdir(shown.workdir / "a/b") == ["c.txt"]


def test_replacing_keeps_the_mode_and_goes_through_a_link_inside(shown: Shown) -> None:
    script = shown.workdir / "run.sh"
    script.write_text("old")
    script.chmod(0o750)
    (shown.workdir / "link").symlink_to("run.sh")
    assert shown.run(WRITE, path="link", content="new\n") == "replaced link: 1 line, 4 bytes"
    assert (script.read_text(), stat.S_IMODE(script.stat().st_mode)) == ("new\n", 0o750)
    assert os.readlink(shown.workdir / "link") == "run.sh"


def test_replacing_does_not_reach_a_hard_link_outside(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept")
    os.link(tmp_path / "outside", shown.workdir / "in")
    shown.run(WRITE, path="in", content="new")
    assert (tmp_path / "outside").read_text() == "kept"


def test_writing_is_refused_where_it_would_do_harm(shown: Shown, tmp_path: Path) -> None:
    (shown.workdir / "dir").mkdir()
    (shown.workdir / "out").symlink_to(tmp_path)
    kept = shown.workdir / "kept"
    kept.write_text("kept")
    kept.chmod(0o444)
    os.mkfifo(shown.workdir / "pipe")
    for path, fault in (
        ("dir", "is a directory"),
        (".", "is a directory"),
        ("out/x", "leads outside"),
        ("kept", "is read-only"),
        ("pipe", "is not a regular file"),
        ("kept/below", "cannot be written: Not a directory"),
    ):
        assert fault in refusal(shown, WRITE, path=path, content="x")
    assert "not valid Unicode" in refusal(shown, WRITE, path="new", content="\ud800")
    assert sorted(os.listdir(shown.workdir)) == ["dir", "kept", "out", "pipe"]
    assert kept.read_text() == "kept"


def test_previews_show_a_diff_and_do_nothing(shown: Shown) -> None:
    (shown.workdir / "a").write_text("one\ntwo\n")
    assert WRITE.preview is not None and EDIT.preview is not None
    diff = "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n one\n-two\n+three"
    assert WRITE.preview(shown.context, {"path": "a", "content": "one\nthree\n"}) == diff
    assert EDIT.preview(shown.context, {"path": "a", "old": "two", "new": "three"}) == diff
    assert WRITE.preview(shown.context, {"path": "new", "content": "x\n"}) == (
        "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x"
    )
    assert EDIT.preview(shown.context, {"path": "a", "old": "x", "new": "y"}).startswith(
        "this edit would fail: `old` does not occur in a"
    )
    long = WRITE.preview(shown.context, {"path": "a", "content": "x\n" * 1000})
    assert long.endswith("\n[… the diff goes on; only 200 lines are shown]")
    assert (shown.workdir / "a").read_text() == "one\ntwo\n"


# ---------------------------------------------------------------- edit


def test_an_edit_replaces_the_one_place(shown: Shown) -> None:
    file = shown.workdir / "a.py"
    file.write_text("a = 1\nb = 2\nc = 3\n")
    assert shown.run(EDIT, path="a.py", old="b = 2\n", new="b = 4\nd = 5\n") == (
        "edited a.py: line 2"
    )
    assert file.read_text() == "a = 1\nb = 4\nd = 5\nc = 3\n"


def test_an_ambiguous_edit_says_where_and_changes_nothing(shown: Shown) -> None:
    file = shown.workdir / "a"
    file.write_text("x\ny\nx\n")
    assert refusal(shown, EDIT, path="a", old="x", new="z") == (
        "`old` occurs 2 times in a (lines 1, 3); give more of the text around it, or set `all`"
    )
    assert file.read_text() == "x\ny\nx\n"
    assert shown.run(EDIT, path="a", old="x", new="z", all=True) == (
        "edited a: 2 places, lines 1, 3"
    )
    assert file.read_text() == "z\ny\nz\n"


def test_an_edit_that_finds_nothing_says_what_is_near(shown: Shown) -> None:
    (shown.workdir / "a").write_text("def one():\n    return total\n\ndef two():\n    pass\n")
    assert refusal(shown, EDIT, path="a", old="  return total\ndef two():", new="") == (
        "`old` does not occur in a; the same text with other spaces or line ends begins at line 2"
    )
    assert refusal(shown, EDIT, path="a", old="    return totals\n", new="") == (
        "`old` does not occur in a; the closest line is 2:     return total"
    )
    assert refusal(shown, EDIT, path="a", old="@@@@", new="") == (
        "`old` does not occur in a; no line comes near its first line; read the file again"
    )
    assert "the same" in refusal(shown, EDIT, path="a", old="pass", new="pass")
    with open(shown.workdir / "big", "wb") as file:
        file.truncate(EDIT_BYTES + 1)
    assert "are not edited" in refusal(shown, EDIT, path="big", old="a", new="b")


def test_an_edit_given_with_lf_fits_a_file_with_crlf(shown: Shown) -> None:
    file = shown.workdir / "a"
    file.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    args = {"path": "a", "old": "one\ntwo\n", "new": "1\n2\n"}
    shown.run(EDIT, **args)
    assert file.read_bytes() == b"1\r\n2\r\nthree\r\n"
    assert probed(shown, **args) is True


@pytest.mark.parametrize(
    ("text", "old", "new", "happened"),
    [
        ("a\nold\nb\n", "old", "fresh", False),
        ("a\nfresh\nb\n", "old", "fresh", True),
        ("a\nb\n", "old", "fresh", None),
        ("old fresh\n", "old", "fresh", None),
        ("import os\n", "import os\n", "import os\nimport re\n", False),
        ("import os\nimport re\n", "import os\n", "import os\nimport re\n", True),
        ("foo bar\n", "foo bar", "foo", False),
        ("foo\n", "foo bar", "foo", True),
        ("keep drop\n", " drop", "", False),
        ("keep\n", " drop", "", None),
    ],
)
def test_the_probe_tells_whether_an_edit_happened(
    shown: Shown, text: str, old: str, new: str, happened: bool | None
) -> None:
    (shown.workdir / "a").write_text(text)
    assert probed(shown, path="a", old=old, new=new) is happened
    assert probed(shown, path="missing", old=old, new=new) is None
