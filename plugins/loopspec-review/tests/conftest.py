"""The package as an installed plugin: also when it is only a folder beside loopspec's own tests."""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
ENTRY = "[loopspec]\nreview = loopspec_review\n"
METADATA = "Metadata-Version: 2.1\nName: loopspec-review\nVersion: 0.1.0\n"

if str(SRC) not in sys.path:
    sys.path.insert(0, str(SRC))


def installed() -> bool:
    """Whether loopspec finds the plugin by its entry point."""
    return "review" in {entry.name for entry in entry_points(group="loopspec")}


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What PYTHONPATH must hold for a process of `loopspec` to find the plugin."""
    if installed():
        return ""
    site = tmp_path_factory.mktemp("site")
    info = site / "loopspec_review-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY)
    return os.pathsep.join((str(site), str(SRC)))
