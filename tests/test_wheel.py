"""The wheel holds what a user needs: shipped loops, schemas, the demonstration."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_wheel_runs_shipped_loops_from_anywhere(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "loopspec/shipped/specs/coding-agent.yaml" in names
    assert "loopspec/shipped/schemas/loopspec-1.schema.json" in names
    assert "loopspec/shipped/schemas/events-1.schema.json" in names
    assert "loopspec/demo/repo/tests/test_money.py" in names
    assert "loopspec/py.typed" in names
    assert "loopspec/cli/fonts/LICENSE" in names
    assert "loopspec/templates/plugin/pyproject.toml.txt" in names
    assert not [n for n in names if "__pycache__" in n]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        "import loopspec; assert 'site' in loopspec.__file__, loopspec.__file__;"
        "from loopspec.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site), "check", "coding-agent"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("coding-agent.yaml: right")
