"""docs/looking.md is true: its commands run and print what it shows; its images are of today."""

import re
import shlex
import struct
from pathlib import Path

import pytest
from cli.kit import Place, Ran
from journeys.review import plugged
from test_docs import like, shown

from loopspec.cli.main import run_cli
from loopspec.drivers import launch
from loopspec.views.graph import picture
from loopspec.views.graph_svg import svg

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "looking.md"
IMAGES = ROOT / "docs" / "images"
GRAPHS = sorted(path for path in IMAGES.glob("*.svg") if path.stem != "demo-graph")  # of loops
SMALL = 200_000
"""Bytes of the largest image."""


def fits(expected: str, got: str) -> bool:
    """Whether a command printed this; a last line of `…` is anything that follows, a space any spaces."""
    expected, got = (re.sub(" +", " ", text) for text in (expected, got))
    if not expected.endswith("…\n"):
        return like(expected, got)
    lines = expected.splitlines()[:-1]
    head = got.splitlines()[: len(lines)]
    return like("\n".join(lines), "\n".join(head))


def test_every_command_of_the_page_runs_and_prints_what_it_shows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    monkeypatch.chdir(place.work)
    monkeypatch.setenv("LOOPSPEC_STORE", str(place.store))
    monkeypatch.delenv("COLUMNS", raising=False)
    wrong: list[str] = []
    for one in shown(PAGE.read_text(encoding="utf-8")):
        program, *argv = shlex.split(one.command)
        assert program == "loopspec", one.command
        if argv[0] == "demo":  # it runs a session; the others only look, and need no process
            ran = place.run(*argv)
        else:
            capfd.readouterr()
            code = run_cli(argv)
            ran = Ran(code, *capfd.readouterr())
        same = not one.output or fits(one.output, ran.out)
        if ran.code != one.code or not same:
            got = f"{ran.out}{ran.err}[exit code {ran.code}]"
            wrong.append(f"$ {one.command}\n{got}\nand the page:\n{one.output}")
    assert not wrong, "\n\n".join(wrong)
    made = {path.name for path in place.work.iterdir()}
    assert {"loop.svg", "loop.png", "loop.md", "session.svg", "session.html"} <= made


@pytest.mark.parametrize("path", GRAPHS, ids=lambda p: p.stem)
def test_a_graph_of_the_documentation_is_what_its_loop_gives_today(path: Path) -> None:
    made = launch.load(path.stem, plugged(path.stem))
    assert made.machine is not None, made.diagnostics
    assert path.read_text(encoding="utf-8") == svg(picture(made.machine)), (
        f"{path.name} is old; make it again: python docs/images/make.py --graphs"
    )


def test_every_image_is_small_and_used_or_a_loop() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/**/*.md"))
    loops = {path.stem for path in (ROOT / "specs").glob("*.yaml")}
    for path in IMAGES.iterdir():
        if path.suffix in (".svg", ".png", ".html"):
            assert path.stat().st_size < SMALL, path.name
            assert f"images/{path.name}" in pages or path.stem in loops, f"{path.name} is shown nowhere"
        if path.suffix == ".png":
            head = path.read_bytes()[:26]
            assert head[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", head[16:20])[0] > 400


def test_the_page_of_the_demo_fetches_nothing() -> None:
    page = (IMAGES / "demo-timeline.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert not re.search(r"/(home|root|tmp|work)/", page)
