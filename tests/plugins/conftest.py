"""One clean environment for all tests of plugins: making it takes seconds."""

import shutil

import pytest

from plugins.clean import ROOT, Clean

IGNORED = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache")


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """An environment with both first-party plugins and one that `loopspec new plugin` wrote."""
    folder = tmp_path_factory.mktemp("clean")
    made = Clean(folder / "env")
    done = made.loopspec("new", "plugin", "words", "--dir", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    copies = []
    for name in ("loopspec-http", "loopspec-review"):
        copies.append(folder / name)
        shutil.copytree(ROOT / "plugins" / name, copies[-1], ignore=IGNORED)
    made.install(*copies, folder / "loopspec-words")
    return made
