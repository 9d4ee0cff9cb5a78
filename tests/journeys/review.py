"""The registry of a loop: what loopspec brings and, for the review loop, the plugin from its folder."""

import importlib
import sys
from pathlib import Path

import pytest

from loopspec.registry import Registry, build, installed
from loopspec.version import __version__

ROOT = Path(__file__).parent.parent.parent
NEEDS_A_PLUGIN = {"review-loop"}
ALONE = [p for p in sorted((ROOT / "specs").glob("*.yaml")) if p.stem not in NEEDS_A_PLUGIN]
"""The shipped loops that run with what loopspec itself brings."""
SOURCE = ROOT / "plugins" / "loopspec-review" / "src"


def plugged(loop: str) -> Registry:
    """Everything a shipped loop needs; skips the test when the plugin's folder is not here."""
    if loop not in NEEDS_A_PLUGIN:
        return installed()
    if not (SOURCE / "loopspec_review" / "__init__.py").is_file():
        pytest.skip("plugins/loopspec-review is not here")
    builtin = importlib.import_module("loopspec.performers.builtin")
    sys.path.insert(0, str(SOURCE))
    try:
        plugin = importlib.import_module("loopspec_review")
    finally:
        sys.path.remove(str(SOURCE))
    return build([("builtin", __version__, builtin), ("review", __version__, plugin)])
