"""`loopspec graph` as a person calls it: what it writes, where, and how it refuses."""

import os
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli.kit import LOOP, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.file("loop.yaml", LOOP)
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_more_words_a_diagram_goes_to_the_terminal(place: Place) -> None:
    ran = place.run("graph", place.path / "loop.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith('---\ntitle: "small 1.0.0"\n---\nstateDiagram-v2\n    [*] --> s_ready\n')
    assert "    s_working_streaming --> s_working_deciding : model.replied [size(ev" in ran.out
    assert "    s_working_awaiting_approval --> s_working_streaming : after 24h" not in ran.out
    assert " : approval.denied<br/>after 24h\n" in ran.out
    assert ran.out == place.run("graph", place.path / "loop.yaml", "--format", "mermaid").out


def test_a_shipped_loop_is_drawn_by_its_name_and_points_at_lines(place: Place) -> None:
    ran = place.run("graph", "coding-agent", "--format", "svg", PYTHONIOENCODING="ascii")
    assert (ran.code, ran.err) == (0, "")
    assert ElementTree.fromstring(ran.out).get("class") == "loopspec"
    assert "<title>ready → working on user.message (line " in ran.out


def test_the_ending_of_the_file_says_what_is_written(place: Place) -> None:
    spec = place.path / "loop.yaml"
    for name in ("a.svg", "a.mmd", "a.md", "A.SVG"):
        ran = place.run("graph", spec, "-o", name)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = place.run("graph", spec, "--format", "svg", "--output", "a.txt")
    assert ran.code == 0
    svg, mmd, md, upper, txt = (
        (place.work / name).read_text(encoding="utf-8")
        for name in ("a.svg", "a.mmd", "a.md", "A.SVG", "a.txt")
    )
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert mmd == place.run("graph", spec).out
    assert md == f"```mermaid\n{mmd}```\n"
    assert svg == upper == txt
    assert names(place.work) == ["A.SVG", "a.md", "a.mmd", "a.svg", "a.txt"]


def test_an_ending_that_says_nothing_is_refused(place: Place) -> None:
    ran = place.run("graph", place.path / "loop.yaml", "-o", "a.gif")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "loopspec: a.gif: the ending does not say what to write. "
        "end it in .svg, .png, .mmd, .mermaid, .md, or add --format mermaid, svg or png\n"
    )
    assert names(place.work) == []


def test_a_wrong_spec_is_refused_with_what_is_wrong_and_no_picture(place: Place) -> None:
    spec = place.file("bad.yaml", LOOP.replace("user.message: working}}", "user.message: wroking}}"))
    (place.work / "a.svg").write_text("the old one")
    ran = place.run("graph", spec, "-o", "a.svg")
    assert (ran.code, ran.out) == (52, "")
    assert "error LS201" in ran.err and "did you mean" in ran.err
    assert (place.work / "a.svg").read_text() == "the old one"


def test_a_spec_that_is_not_there_is_one_line(place: Place) -> None:
    ran = place.run("graph", "nothing.yaml")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("loopspec: there is no file `nothing.yaml`")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no/such/folder/a.svg", "No such file or directory"),
        ("folder.svg", "Is a directory"),
        ("file.txt/a.svg", "Not a directory"),
        ("x" * 300 + ".svg", "File name too long"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(place: Place, name: str, why: str) -> None:
    (place.work / "folder.svg").mkdir()
    (place.work / "file.txt").write_text("x")
    ran = place.run("graph", place.path / "loop.yaml", "-o", name)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"loopspec: {name}: the picture was not written: {why}. "
        "name a file in a folder that exists and that you may write to\n"
    )
    assert names(place.work) == ["file.txt", "folder.svg"]
    assert names(place.work / "folder.svg") == []


def test_a_file_is_replaced_through_its_link_and_keeps_its_mode(place: Place) -> None:
    real = place.work / "real.mmd"
    real.write_text("the old one")
    real.chmod(0o640)
    (place.work / "link.mmd").symlink_to("real.mmd")
    assert place.run("graph", place.path / "loop.yaml", "-o", "link.mmd").code == 0
    assert real.read_text().startswith("---\ntitle:")
    assert real.stat().st_mode & 0o777 == 0o640
    assert names(place.work) == ["link.mmd", "real.mmd"]
    assert (place.work / "link.mmd").is_symlink()


def test_a_pipe_is_written_to_and_not_replaced(place: Place) -> None:
    pipe = place.work / "pipe.mmd"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    assert place.run("graph", place.path / "loop.yaml", "-o", "pipe.mmd").code == 0
    reader.join(timeout=30)
    assert got and got[0].startswith("---\ntitle:")
    assert pipe.is_fifo()
