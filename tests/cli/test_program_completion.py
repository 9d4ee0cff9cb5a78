"""Completion in a real bash: what the shell itself would offer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.kit import Place, small
from loopspec.cli.main import COMMANDS, run_cli

BASH = shutil.which("bash")
ASK = """
eval "$(loopspec completion bash 2>/dev/null)"
COMP_WORDS=({words}); COMP_CWORD={at}
_loopspec_completion loopspec "${{COMP_WORDS[{at}]}}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p loopspec
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    starter = bin_ / "loopspec"
    starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m loopspec "$@"\n')
    starter.chmod(0o755)
    return made


def offered(place: Place, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    if BASH is None:
        pytest.skip("there is no bash")
    line = " ".join(f"'{w}'" for w in ("loopspec", *words))
    path = f"{place.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "--norc", "-c", ASK.format(words=line, at=len(words))],
        cwd=place.work,
        env=place.env(PATH=path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    *found, registered = done.stdout.splitlines()
    assert "_loopspec_completion" in registered, done.stderr
    return [word for word in found if word]


def test_commands_options_loops_files_and_sessions_complete(place: Place) -> None:
    spec = small(place, {"reply": "Hi."})
    run_cli(["run", str(spec), "-p", "Hi", "--store", str(place.store), "--session", "blue-1"])
    (place.work / "mine.yaml").write_text("loopspec: 1\n")
    (place.work / "below").mkdir()
    (place.work / "below" / "deep.yaml").write_text("loopspec: 1\n")
    assert offered(place, "ex") == ["explain", "export", "explain-code"]
    assert "--output-format" in offered(place, "run", "--out")
    assert offered(place, "run", "--output-format", "str") == ["stream-json"]
    assert offered(place, "run", "coding") == ["coding-agent"]
    assert offered(place, "run", "m") == ["mine.yaml"]
    assert offered(place, "run", "below/") == ["below/deep.yaml"]
    for words in (("resume", "bl"), ("explain", "bl"), ("run", "-r", "bl"), ("graph", "bl")):
        assert "blue-1" in offered(place, *words), words


def test_a_store_that_is_not_there_completes_to_nothing_and_is_not_made(place: Place) -> None:
    assert offered(place, "resume", "") == []
    assert not place.store.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_LOOPSPEC_COMPLETE" in out and out.startswith("# Put this into")
    assert "completion" in COMMANDS
