"""Listing and searching: sorted, bounded, confined, and never a hang."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from kit import Shown

from loopspec.hooks import ToolFailed
from loopspec.tools import scan
from loopspec.tools.find import LIST, MAX_ENTRIES, SEARCH
from loopspec.tools.scan import matches_glob
from loopspec.tools.supervise import run_tool


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    work = tmp_path / "work"
    for directory in ("src/deep/er/est", ".git", "node_modules/pkg"):
        (work / directory).mkdir(parents=True)
    (work / "README.md").write_text("alpha\nbeta\n")
    (work / "src/a.py").write_text("def alpha():\n    return 1\n")
    (work / "src/deep/b.py").write_text("x = alpha()\n")
    (work / "src/deep/er/est/c.txt").write_text("alpha\n")
    (work / ".git/config").write_text("alpha\n")
    (work / "node_modules/pkg/index.js").write_text("alpha\n")
    (tmp_path / "outside").write_text("alpha\n")
    (work / "link").symlink_to("../outside")
    return Shown(work)


def test_a_listing_is_sorted_and_shallow(shown: Shown) -> None:
    assert shown.run(LIST).splitlines() == [
        "README.md",
        "link -> ../outside",
        "node_modules/",
        "src/",
        "src/a.py",
        "src/deep/",
        "src/deep/b.py",
        "src/deep/er/",
    ]
    assert shown.run(LIST, path="src", depth=1) == "a.py\ndeep/"
    assert shown.run(LIST, glob="*.py") == "src/a.py\nsrc/deep/b.py"
    assert shown.run(LIST, glob="src/**/*.txt") == "src/deep/er/est/c.txt"
    assert shown.run(LIST, glob="*.rs") == "[nothing here matches]"


def test_a_listing_is_bounded_and_refuses(shown: Shown) -> None:
    many = shown.workdir / "many"
    many.mkdir()
    for n in range(MAX_ENTRIES + 5):
        (many / f"{n:05}").touch()
    lines = shown.run(LIST, path="many").splitlines()
    assert lines[0] == "00000"
    assert lines[-1] == f"[more than {MAX_ENTRIES} entries; narrow the path, glob or depth]"
    assert len(lines) == MAX_ENTRIES + 1
    for path, fault in (("README.md", "is a file"), ("no", "does not exist"), ("link", "outside")):
        with pytest.raises(ToolFailed, match=fault):
            shown.run(LIST, path=path)


def test_a_search_gives_path_line_and_text(shown: Shown) -> None:
    assert shown.run(SEARCH, pattern=r"\balpha\b").splitlines() == [
        "README.md:1: alpha",
        "src/a.py:1: def alpha():",
        "src/deep/b.py:1: x = alpha()",
        "src/deep/er/est/c.txt:1: alpha",
        "[1 binary, very large or unreadable files and links were not searched]",
    ]
    assert shown.run(SEARCH, pattern="alpha", path="src", glob="*.py").splitlines() == [
        "src/a.py:1: def alpha():",
        "src/deep/b.py:1: x = alpha()",
    ]
    assert shown.run(SEARCH, pattern="alpha", path="README.md") == "README.md:1: alpha"
    assert shown.run(SEARCH, pattern="omega", path="src") == "[no line matches]"


def test_a_search_is_bounded(shown: Shown) -> None:
    (shown.workdir / "many").write_text("hit\n" * (scan.MAX_MATCHES + 1))
    lines = shown.run(SEARCH, pattern="hit").splitlines()
    assert lines[-1] == "[more than 500 matching lines; narrow the pattern or the path]"
    assert len(lines) == scan.MAX_MATCHES + 1
    (shown.workdir / "wide").write_text("." * 5000 + "needle" + "." * 5000)
    text = shown.run(SEARCH, pattern="needle")
    assert "needle" in text and len(text) < 500


def test_a_search_refuses_what_it_cannot_do(shown: Shown) -> None:
    for args, fault in (
        ({"pattern": "("}, "is not a regular expression: missing \\)"),
        ({"pattern": "x", "path": "no"}, "does not exist"),
        ({"pattern": "x", "path": "../outside"}, "leads outside"),
        ({"pattern": "x", "path": "link"}, "leads outside"),
    ):
        with pytest.raises(ToolFailed, match=fault):
            shown.run(SEARCH, **args)


def test_a_pattern_that_backtracks_for_ever_is_ended_and_the_loop_goes_on(shown: Shown) -> None:
    (shown.workdir / "trap").write_text("a" * 60 + "!\n")

    async def story() -> tuple[str, str, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        beside = asyncio.ensure_future(tick())
        args = {"pattern": "alpha|(a+)+$", "path": "."}
        ended = await run_tool(SEARCH, args, shown.context, 1.0, 0)
        beside.cancel()
        return ended.status, ended.text, ticks

    began = time.monotonic()
    status, text, ticks = asyncio.run(story())
    assert status == "timeout"
    assert text.splitlines()[0] == "README.md:1: alpha"
    assert text.splitlines()[-1] == "[files.search was ended: not done within 1 s]"
    assert ticks > 20
    assert time.monotonic() - began < 5


def test_special_files_do_not_stop_a_search(shown: Shown) -> None:
    os.mkfifo(shown.workdir / "pipe")
    assert "README.md:1: alpha" in shown.run(SEARCH, pattern="alpha")


@pytest.mark.parametrize(
    ("path", "glob", "fits"),
    [
        ("src/a.py", "*.py", True),
        ("src/a.py", "src/*.py", True),
        ("src/x/a.py", "src/*.py", False),
        ("src/x/y/a.py", "src/**/*.py", True),
        ("src/a.py", "src/**/*.py", True),
        ("src/x", "src/**", True),
        ("x/src/a.py", "**/a.py", True),
        ("src/a.py", "a?c/*", False),
        ("a" * 200, "*a*a*a*a*a*a*a*a*a*a*a*b", False),
        ("/".join("a" * 100), "/".join(["**", "a"] * 12) + "/b", False),
    ],
)
def test_globs(path: str, glob: str, fits: bool) -> None:
    assert matches_glob(path, glob) is fits
