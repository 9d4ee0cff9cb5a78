"""The documentation is one place: every page is in it, and it is built without a warning or a network."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.pages import ROOT

HIDDEN = ("errors/LS", "why/0")
"""Pages that are reached from a list of theirs, and are not in the navigation."""


def listed(nav: Any) -> list[str]:
    """The pages of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    if isinstance(nav, dict):
        return [page for part in nav.values() for page in listed(part)]
    return [page for part in nav for page in listed(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    nav = listed(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=yaml.CSafeLoader)["nav"])
    docs = ROOT / "docs"
    pages = sorted(p.relative_to(docs).as_posix() for p in docs.glob("**/*.md"))
    assert sorted(nav) == [page for page in pages if not page.startswith(HIDDEN)]


@pytest.mark.slow
def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    page = (tmp_path / "site" / "guide.html").read_text()
    assert "<code" in page and "not run:" not in page and "```" not in page
    for html in (tmp_path / "site").rglob("*.html"):
        assert 'src="http' not in html.read_text(), f"{html.name} asks the network for something"
